//! The driver as core sees it: opens connections, classifies errors.
//!
//! What lives here: [`PgDriver`] and its builder, the steps of a connect. What may not: calls on an open connection.

mod dial;
mod open;
mod spawner;
mod task;

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use tokio_postgres::Config;
use wrapper_core::dialect::DialectId;
use wrapper_core::driver::{ConnectTarget, DriverConnection, DriverDialect};
use wrapper_core::env::{Deadline, Environment};
use wrapper_core::{ErrorClass, Result};

pub(crate) use dial::Address;
pub use spawner::Spawner;

use crate::connection::PgConnection;
use crate::error::{Phase, classify};
use crate::tls::{Tls, TlsSettings};

/// The `application_name` under which the library's own connections show up in `pg_stat_activity`.
pub const MONITOR_APPLICATION_NAME: &str = "aws-advanced-rust-wrapper-monitor";

/// What every connection of a driver needs.
pub(crate) struct Shared {
    config: Config,
    tls: Tls,
    environment: Environment,
    spawner: Spawner,
    login_is_network: AtomicBool,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("config", &self.config).field("tls", &self.tls).finish_non_exhaustive()
    }
}

/// tokio-postgres as a driver. Cheap to clone.
///
/// Takes a [`Config`] as it is. Of its hosts the one it is asked for is dialled, at its `hostaddr` if it has one;
/// `connect_timeout` bounds each address that is tried, as a part of the connect's deadline; `target_session_attrs`
/// is checked on connections for the application.
#[derive(Clone, Debug)]
pub struct PgDriver {
    shared: Arc<Shared>,
}

impl PgDriver {
    /// Starts from the driver's configuration and a place for the tasks of connections.
    pub fn builder(config: Config, spawner: Spawner) -> PgDriverBuilder {
        PgDriverBuilder { config, spawner, tls: TlsSettings::new(), environment: Environment::default() }
    }

    /// The driver's configuration.
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// Who encrypts connections, and with which crypto provider, in a line.
    pub fn tls(&self) -> String {
        self.shared.tls.describe()
    }

    /// Whether SQLSTATE 28000 means that the host is not ready rather than that the login is wrong: so on RDS
    /// Multi-AZ DB clusters, which answer it while they restart. Off by default.
    pub fn set_login_is_network(&self, on: bool) {
        self.shared.login_is_network.store(on, Ordering::Relaxed);
    }

    /// Opens a connection, as [`DriverDialect::connect`] does, with its own type.
    ///
    /// # Errors
    /// A classified error with the host in it.
    ///
    /// # Cancellation
    /// Dropping the future closes the socket; nothing stays open on the server.
    pub async fn open(&self, target: &ConnectTarget, deadline: Deadline) -> Result<Arc<PgConnection>> {
        open::open(&self.shared, target, deadline).await
    }
}

#[async_trait]
impl DriverDialect for PgDriver {
    fn name(&self) -> &'static str {
        "tokio-postgres"
    }

    fn user(&self) -> Option<&str> {
        self.shared.config.get_user()
    }

    async fn connect(&self, target: &ConnectTarget, deadline: Deadline) -> Result<Arc<dyn DriverConnection>> {
        let connection: Arc<dyn DriverConnection> = self.open(target, deadline).await?;
        Ok(connection)
    }

    fn dialect_known(&self, dialect: DialectId) {
        self.set_login_is_network(dialect == DialectId::RdsMultiAzPgCluster);
    }

    fn classify(&self, error: &(dyn StdError + 'static)) -> ErrorClass {
        classify(error, Phase::Session)
    }
}

/// Builds a [`PgDriver`].
#[derive(Debug)]
#[must_use]
pub struct PgDriverBuilder {
    config: Config,
    spawner: Spawner,
    tls: TlsSettings,
    environment: Environment,
}

impl PgDriverBuilder {
    /// Sets how connections are encrypted.
    pub fn tls(mut self, tls: TlsSettings) -> Self {
        self.tls = tls;
        self
    }

    /// Sets resolver, clock and randomness.
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// The driver.
    ///
    /// # Errors
    /// A configuration error: TLS is asked for and not compiled in, or a file of certificates or keys cannot be read.
    pub fn build(self) -> Result<PgDriver> {
        let shared = Shared {
            tls: self.tls.build()?,
            config: self.config,
            environment: self.environment,
            spawner: self.spawner,
            login_is_network: AtomicBool::new(false),
        };
        Ok(PgDriver { shared: Arc::new(shared) })
    }
}
