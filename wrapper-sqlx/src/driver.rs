//! sqlx as a driver: opens connections, classifies errors.
//!
//! What lives here: [`SqlxDriver`], and how connect options become those of one host. What may not: calls on an open
//! connection; pools.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use wrapper_core::credentials::Credential;
use wrapper_core::dialect::{DialectId, Engine, Phase};
use wrapper_core::driver::{ConnectPurpose, ConnectTarget, DriverConnection, DriverDialect};
use wrapper_core::env::Deadline;
use wrapper_core::host::HostInfo;
use wrapper_core::{Error, ErrorClass, ErrorKind, Result};

use super::connection::SqlxConnection;
use super::error::{classify, late, map_connect_error};
use super::family::{Family, OptionsOf};
use super::sqlx::ConnectOptions;

/// How a host is reached, where that is not by its name and port.
pub(crate) struct Reach<DB: Family>(Option<Arc<ReachFn<DB>>>);

type ReachFn<DB> = dyn Fn(&HostInfo, OptionsOf<DB>) -> OptionsOf<DB> + Send + Sync;

impl<DB: Family> Reach<DB> {
    pub(crate) fn new(
        reach: impl Fn(&HostInfo, OptionsOf<DB>) -> OptionsOf<DB> + Send + Sync + 'static,
    ) -> Self {
        Self(Some(Arc::new(reach)))
    }

    /// `options` for a connect to exactly `host`.
    pub(crate) fn options(&self, host: &HostInfo, options: OptionsOf<DB>) -> OptionsOf<DB> {
        let options = DB::lead(options, host.host(), host.port());
        match &self.0 {
            Some(reach) => reach(host, options),
            None => options,
        }
    }
}

impl<DB: Family> Clone for Reach<DB> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<DB: Family> Default for Reach<DB> {
    fn default() -> Self {
        Self(None)
    }
}

impl<DB: Family> fmt::Debug for Reach<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "by the application's word" } else { "by name" })
    }
}

/// sqlx as a driver. Cheap to clone.
///
/// Takes sqlx's connect options as they are; host and port are replaced by those of the host that is asked for. sqlx
/// looks names up by itself: the resolver of an [`Environment`](wrapper_core::env::Environment) is not asked.
pub struct SqlxDriver<DB: Family> {
    options: OptionsOf<DB>,
    reach: Reach<DB>,
    login_is_network: Arc<AtomicBool>,
}

impl<DB: Family> SqlxDriver<DB> {
    /// A driver that connects with `options`.
    pub fn new(options: OptionsOf<DB>) -> Self {
        Self { options, reach: Reach::default(), login_is_network: Arc::new(AtomicBool::new(false)) }
    }

    /// Says how a host is reached where that is not by its name and port: through a tunnel, a forwarded port, a socket
    /// of a relay. Gets the host and the options that lead to its name, gives the options that are used.
    ///
    /// ```
    /// # #[cfg(all(feature = "postgres", feature = "sqlx-0-9"))] {
    /// use sqlx::postgres::PgConnectOptions;
    /// use wrapper_sqlx::postgres::SqlxPgDriver;
    ///
    /// let driver = SqlxPgDriver::new(PgConnectOptions::new_without_pgpass())
    ///     .reach(|host, options| match host.short_name() {
    ///         "instance-1" => options.host("127.0.0.1").port(15432),
    ///         _ => options.host("127.0.0.1").port(15433),
    ///     });
    /// # let _ = driver; }
    /// ```
    #[must_use]
    pub fn reach(
        mut self,
        reach: impl Fn(&HostInfo, OptionsOf<DB>) -> OptionsOf<DB> + Send + Sync + 'static,
    ) -> Self {
        self.reach = Reach::new(reach);
        self
    }

    pub(crate) fn options(&self) -> &OptionsOf<DB> {
        &self.options
    }

    pub(crate) fn reached(&self) -> &Reach<DB> {
        &self.reach
    }

    pub(crate) fn with_reach(mut self, reach: Reach<DB>) -> Self {
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
    pub async fn open(&self, target: &ConnectTarget, deadline: Deadline) -> Result<Arc<SqlxConnection<DB>>> {
        let mut options = self.reach.options(&target.host, self.options.clone());
        if target.purpose == ConnectPurpose::Monitor {
            options = DB::for_monitor(options);
        }
        if let Some(credential) = &target.credential {
            options = log_in::<DB>(options, &target.host, credential)?;
        }
        if let Some(address) = target.address {
            if let Some([strict, less]) = DB::verifies_name(&options) {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!(
                        "{address} was to be dialled for {}, and `ssl_mode` is `{strict}`: sqlx verifies the name \
                         that it dials; use `{less}`, or leave the plugin out that chooses addresses",
                        target.host.key
                    ),
                )
                .with_host(target.host.host()));
            }
            let port = DB::port(&options);
            options = DB::lead(options, &address.to_string(), port);
        }
        let login_is_network = self.login_is_network.load(Ordering::Relaxed);
        let connection = connect::<DB>(&options, login_is_network, deadline).await;
        let connection = connection
            .map_err(|error| error.with_operation("connect").with_host(target.host.key.to_string()))?;
        Ok(Arc::new(SqlxConnection::new(connection, target.host.clone())))
    }
}

/// The options that log in at `host` with this credential.
///
/// # Errors
/// It may be sent over TLS only, and these options do not insist on that.
pub(crate) fn log_in<DB: Family>(
    options: OptionsOf<DB>,
    host: &HostInfo,
    credential: &Credential,
) -> Result<OptionsOf<DB>> {
    if credential.needs_tls && !DB::insists_on_tls(&options) {
        return Err(Error::config(format!(
            "the credential for {} may be sent over TLS only, and `ssl_mode` of the connect options allows a connection \
             without; set it to the strictest one",
            host.key
        )));
    }
    Ok(DB::log_in(options, credential))
}

/// Connects with these options by `deadline`.
pub(crate) async fn connect<DB: Family>(
    options: &OptionsOf<DB>,
    login_is_network: bool,
    deadline: Deadline,
) -> Result<DB::Connection> {
    let connected =
        async { options.connect().await.map_err(|error| map_connect_error::<DB>(error, login_is_network)) };
    // On the heap: sqlx's connect is large, and all that wait for one would carry it.
    deadline.run("connecting", Box::pin(connected)).await.map_err(late)
}

#[async_trait]
impl<DB: Family> DriverDialect for SqlxDriver<DB> {
    fn name(&self) -> &'static str {
        DB::DRIVER
    }

    fn engine(&self) -> Engine {
        DB::ENGINE
    }

    fn user(&self) -> Option<&str> {
        Some(DB::user(&self.options).0)
    }

    async fn connect(&self, target: &ConnectTarget, deadline: Deadline) -> Result<Arc<dyn DriverConnection>> {
        let connection: Arc<dyn DriverConnection> = self.open(target, deadline).await?;
        Ok(connection)
    }

    fn dialect_known(&self, dialect: DialectId) {
        self.login_is_network.store(DB::login_is_network(dialect), Ordering::Relaxed);
    }

    fn classify(&self, error: &(dyn StdError + 'static)) -> ErrorClass {
        classify::<DB>(error, Phase::Session)
    }
}

impl<DB: Family> Clone for SqlxDriver<DB> {
    fn clone(&self) -> Self {
        Self {
            options: self.options.clone(),
            reach: self.reach.clone(),
            login_is_network: Arc::clone(&self.login_is_network),
        }
    }
}

impl<DB: Family> fmt::Debug for SqlxDriver<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the options: they print their password.
        let (user, database) = DB::user(&self.options);
        f.debug_struct("SqlxDriver")
            .field("driver", &DB::DRIVER)
            .field("user", &user)
            .field("database", &database)
            .field("reach", &self.reach)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "postgres"))]
mod tests {
    use wrapper_core::host::HostRole;

    use super::super::sqlx::Postgres;
    use super::super::sqlx::postgres::{PgConnectOptions, PgSslMode};
    use super::*;

    #[test]
    fn a_driver_prints_no_password() {
        let options = PgConnectOptions::new_without_pgpass().username("app").password("hunter2");
        let text = format!("{:?}", SqlxDriver::<Postgres>::new(options));
        assert!(text.contains("app") && !text.contains("hunter2"), "{text}");
    }

    #[tokio::test]
    async fn an_address_and_a_name_to_verify_exclude_each_other() {
        let options = PgConnectOptions::new_without_pgpass().ssl_mode(PgSslMode::VerifyFull);
        let host = HostInfo::new("instance-1.xyz.us-east-2.rds.amazonaws.com", 5432, HostRole::Unknown);
        let mut target = ConnectTarget::session(host);
        target.address = "127.0.0.1".parse().ok();
        let deadline = Deadline::after(std::time::Duration::from_secs(5), "connect_timeout");
        let error = SqlxDriver::<Postgres>::new(options).open(&target, deadline).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("verify-ca"), "{error}");
    }

    #[tokio::test]
    async fn a_credential_of_the_target_logs_in_and_needs_tls_where_it_says_so() {
        use wrapper_core::credentials::Credential;
        let token = Credential::new("hunter2").with_user("jane").in_clear_text();
        let options = PgConnectOptions::new_without_pgpass().username("app");
        let url = Postgres::log_in(options.clone(), &token).to_url_lossy();
        assert_eq!((url.username(), url.password()), ("jane", Some("hunter2")));
        let driver = SqlxDriver::<Postgres>::new(options.ssl_mode(PgSslMode::Prefer));
        assert_eq!(driver.user(), Some("app"));
        let host = HostInfo::new("instance-1.xyz.us-east-2.rds.amazonaws.com", 5432, HostRole::Unknown);
        let mut target = ConnectTarget::session(host);
        target.credential = Some(token);
        let deadline = Deadline::after(std::time::Duration::from_secs(5), "connect_timeout");
        let error = driver.open(&target, deadline).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("TLS only") && !error.to_string().contains("hunter2"), "{error}");
    }
}
