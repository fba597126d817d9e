//! sqlx as a driver: opens connections, classifies errors.
//!
//! What lives here: [`SqlxPgDriver`], and how connect options become those of one host. What may not: calls on an open
//! connection; pools.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use wrapper_core::dialect::{DialectId, Phase};
use wrapper_core::driver::{ConnectPurpose, ConnectTarget, DriverConnection, DriverDialect};
use wrapper_core::env::Deadline;
use wrapper_core::host::HostInfo;
use wrapper_core::{Error, ErrorClass, ErrorKind, Result};

use super::connection::SqlxPgConnection;
use super::error::{classify, late, map_connect_error};

/// The `application_name` under which the library's own connections show up in `pg_stat_activity`.
pub const MONITOR_APPLICATION_NAME: &str = "aws-advanced-rust-wrapper-monitor";

/// How a host is reached, where that is not by its name and port.
#[derive(Clone, Default)]
pub(crate) struct Reach(Option<Arc<ReachFn>>);

type ReachFn = dyn Fn(&HostInfo, PgConnectOptions) -> PgConnectOptions + Send + Sync;

impl Reach {
    pub(crate) fn new(
        reach: impl Fn(&HostInfo, PgConnectOptions) -> PgConnectOptions + Send + Sync + 'static,
    ) -> Self {
        Self(Some(Arc::new(reach)))
    }

    /// `options` for a connect to exactly `host`.
    pub(crate) fn options(&self, host: &HostInfo, options: PgConnectOptions) -> PgConnectOptions {
        let options = options.host(host.host()).port(host.port());
        match &self.0 {
            Some(reach) => reach(host, options),
            None => options,
        }
    }
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "by the application's word" } else { "by name" })
    }
}

/// sqlx as a driver for PostgreSQL. Cheap to clone.
///
/// Takes [`PgConnectOptions`] as they are; host and port are replaced by those of the host that is asked for. sqlx
/// looks names up by itself: the resolver of an [`Environment`](wrapper_core::env::Environment) is not asked.
#[derive(Clone)]
pub struct SqlxPgDriver {
    options: PgConnectOptions,
    reach: Reach,
    login_is_network: Arc<AtomicBool>,
}

impl SqlxPgDriver {
    /// A driver that connects with `options`.
    pub fn new(options: PgConnectOptions) -> Self {
        Self { options, reach: Reach::default(), login_is_network: Arc::new(AtomicBool::new(false)) }
    }

    /// Says how a host is reached where that is not by its name and port: through a tunnel, a forwarded port, a socket
    /// of a relay. Gets the host and the options that lead to its name, gives the options that are used.
    ///
    /// ```
    /// use sqlx::postgres::PgConnectOptions;
    /// use wrapper_sqlx::postgres::SqlxPgDriver;
    ///
    /// let driver = SqlxPgDriver::new(PgConnectOptions::new_without_pgpass())
    ///     .reach(|host, options| match host.short_name() {
    ///         "instance-1" => options.host("127.0.0.1").port(15432),
    ///         _ => options.host("127.0.0.1").port(15433),
    ///     });
    /// # let _ = driver;
    /// ```
    #[must_use]
    pub fn reach(
        mut self,
        reach: impl Fn(&HostInfo, PgConnectOptions) -> PgConnectOptions + Send + Sync + 'static,
    ) -> Self {
        self.reach = Reach::new(reach);
        self
    }

    pub(crate) fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    pub(crate) fn reached(&self) -> &Reach {
        &self.reach
    }

    pub(crate) fn with_reach(mut self, reach: Reach) -> Self {
        self.reach = reach;
        self
    }

    /// Opens a connection, as [`DriverDialect::connect`] does, with its own type.
    ///
    /// # Errors
    /// A classified error with the host in it.
    ///
    /// # Cancellation
    /// Dropping the future closes the socket; nothing stays open on the server.
    pub async fn open(&self, target: &ConnectTarget, deadline: Deadline) -> Result<Arc<SqlxPgConnection>> {
        let mut options = self.reach.options(&target.host, self.options.clone());
        if target.purpose == ConnectPurpose::Monitor {
            options = options.application_name(MONITOR_APPLICATION_NAME);
        }
        if let Some(address) = target.address {
            if matches!(options.get_ssl_mode(), PgSslMode::VerifyFull) {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!(
                        "{address} was to be dialled for {}, and `ssl_mode` is `verify-full`: sqlx verifies the name \
                         that it dials; use `verify-ca`, or leave the plugin out that chooses addresses",
                        target.host.key
                    ),
                )
                .with_host(target.host.host()));
            }
            options = options.host(&address.to_string());
        }
        let login_is_network = self.login_is_network.load(Ordering::Relaxed);
        let connection = connect(&options, login_is_network, deadline).await;
        let connection = connection
            .map_err(|error| error.with_operation("connect").with_host(target.host.key.to_string()))?;
        Ok(Arc::new(SqlxPgConnection::new(connection, target.host.clone())))
    }
}

/// Connects with these options by `deadline`.
pub(crate) async fn connect(
    options: &PgConnectOptions,
    login_is_network: bool,
    deadline: Deadline,
) -> Result<PgConnection> {
    let connected =
        async { options.connect().await.map_err(|error| map_connect_error(error, login_is_network)) };
    // On the heap: sqlx's connect is large, and all that wait for one would carry it.
    deadline.run("connecting", Box::pin(connected)).await.map_err(late)
}

#[async_trait]
impl DriverDialect for SqlxPgDriver {
    fn name(&self) -> &'static str {
        "sqlx-postgres"
    }

    async fn connect(&self, target: &ConnectTarget, deadline: Deadline) -> Result<Arc<dyn DriverConnection>> {
        let connection: Arc<dyn DriverConnection> = self.open(target, deadline).await?;
        Ok(connection)
    }

    /// SQLSTATE 28000 means on RDS Multi-AZ DB clusters that the host is not ready rather than that the login is wrong.
    fn dialect_known(&self, dialect: DialectId) {
        self.login_is_network.store(dialect == DialectId::RdsMultiAzPgCluster, Ordering::Relaxed);
    }

    fn classify(&self, error: &(dyn StdError + 'static)) -> ErrorClass {
        classify(error, Phase::Session)
    }
}

impl fmt::Debug for SqlxPgDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the options: they print their password.
        f.debug_struct("SqlxPgDriver")
            .field("user", &self.options.get_username())
            .field("database", &self.options.get_database())
            .field("reach", &self.reach)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use wrapper_core::host::HostRole;

    use super::*;

    #[test]
    fn a_driver_prints_no_password() {
        let options = PgConnectOptions::new_without_pgpass().username("app").password("hunter2");
        let text = format!("{:?}", SqlxPgDriver::new(options));
        assert!(text.contains("app") && !text.contains("hunter2"), "{text}");
    }

    #[tokio::test]
    async fn an_address_and_a_name_to_verify_exclude_each_other() {
        let options = PgConnectOptions::new_without_pgpass().ssl_mode(PgSslMode::VerifyFull);
        let host = HostInfo::new("instance-1.xyz.us-east-2.rds.amazonaws.com", 5432, HostRole::Unknown);
        let mut target = ConnectTarget::session(host);
        target.address = "127.0.0.1".parse().ok();
        let deadline = Deadline::after(std::time::Duration::from_secs(5), "connect_timeout");
        let error = SqlxPgDriver::new(options).open(&target, deadline).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("verify-ca"), "{error}");
    }
}
