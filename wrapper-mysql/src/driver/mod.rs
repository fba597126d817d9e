//! The driver as core sees it: opens connections, classifies errors.
//!
//! What lives here: [`MysqlDriver`] and its builder, the steps of a connect. What may not: calls on an open connection.

mod credentials;
mod open;

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use mysql_async::Opts;
use wrapper_core::dialect::{Engine, Phase};
use wrapper_core::driver::{ConnectTarget, DriverConnection, DriverDialect};
use wrapper_core::env::{Deadline, Environment};
use wrapper_core::{Error, ErrorClass, Result};

pub use credentials::{ConfiguredCredential, Credential, CredentialSource};

use crate::connection::MysqlConnection;
use crate::error::classify;
use crate::tls::{Tls, TlsSettings};

/// The name under which the library's own connections show up in `performance_schema.session_connect_attrs`
/// (`program_name`).
pub const MONITOR_PROGRAM_NAME: &str = "aws-advanced-rust-wrapper-monitor";

/// What every connection of a driver needs.
pub(crate) struct Shared {
    opts: Opts,
    tls: Tls,
    environment: Environment,
    credentials: Arc<dyn CredentialSource>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("tls", &self.tls)
            .field("credentials", &self.credentials)
            .finish_non_exhaustive()
    }
}

/// mysql_async as a driver. Cheap to clone.
///
/// Takes [`Opts`] as they are, but for host, port and addresses, which are those of the host it is asked for, and for
/// `prefer_socket`, which is always off: a driver that changes over to the server's socket cannot be told which host it
/// talks to.
#[derive(Clone, Debug)]
pub struct MysqlDriver {
    shared: Arc<Shared>,
}

impl MysqlDriver {
    /// Starts from the driver's options.
    pub fn builder(opts: impl Into<Opts>) -> MysqlDriverBuilder {
        MysqlDriverBuilder {
            opts: opts.into(),
            tls: TlsSettings::new(),
            environment: Environment::default(),
            credentials: Arc::new(ConfiguredCredential),
        }
    }

    /// Who encrypts connections, and with which crypto provider, in a line.
    pub fn tls(&self) -> String {
        self.shared.tls.describe()
    }

    /// Opens a connection, as [`DriverDialect::connect`] does, with its own type.
    ///
    /// # Errors
    /// A classified error with the host in it.
    ///
    /// # Cancellation
    /// Dropping the future closes the socket; the driver tells the server in a task of its own, which ends at once.
    pub async fn open(&self, target: &ConnectTarget, deadline: Deadline) -> Result<Arc<MysqlConnection>> {
        open::open(&self.shared, target, deadline).await
    }
}

#[async_trait]
impl DriverDialect for MysqlDriver {
    fn name(&self) -> &'static str {
        "mysql_async"
    }

    fn engine(&self) -> Engine {
        Engine::Mysql
    }

    async fn connect(&self, target: &ConnectTarget, deadline: Deadline) -> Result<Arc<dyn DriverConnection>> {
        let connection: Arc<dyn DriverConnection> = self.open(target, deadline).await?;
        Ok(connection)
    }

    fn classify(&self, error: &(dyn StdError + 'static)) -> ErrorClass {
        classify(error, Phase::Session)
    }
}

/// Builds a [`MysqlDriver`].
#[must_use]
pub struct MysqlDriverBuilder {
    opts: Opts,
    tls: TlsSettings,
    environment: Environment,
    credentials: Arc<dyn CredentialSource>,
}

impl MysqlDriverBuilder {
    /// Sets how connections are encrypted; it takes the place of the options' `ssl_opts`.
    pub fn tls(mut self, tls: TlsSettings) -> Self {
        self.tls = tls;
        self
    }

    /// Sets resolver, clock and randomness.
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// Sets where passwords come from; the options by default.
    pub fn credentials(mut self, credentials: Arc<dyn CredentialSource>) -> Self {
        self.credentials = credentials;
        self
    }

    /// The driver.
    ///
    /// # Errors
    /// A configuration error: TLS is asked for and not compiled in, a file of certificates cannot be read, a password in
    /// clear text without TLS, a socket that all connections would lead to.
    pub fn build(self) -> Result<MysqlDriver> {
        if self.opts.socket().is_some() {
            return Err(Error::config(
                "`socket` leads every connection to one server; leave it out, or give the socket's path as the host",
            ));
        }
        let tls = self.tls.build(&self.opts)?;
        let shared =
            Shared { tls, opts: self.opts, environment: self.environment, credentials: self.credentials };
        Ok(MysqlDriver { shared: Arc::new(shared) })
    }
}

impl fmt::Debug for MysqlDriverBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MysqlDriverBuilder").field("tls", &self.tls).finish_non_exhaustive()
    }
}
