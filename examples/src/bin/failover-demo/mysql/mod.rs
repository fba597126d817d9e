//! MySQL: wrapper-mysql beside bare mysql_async.

mod bare;
mod url;
mod wrapped;

use std::sync::Arc;

use async_trait::async_trait;
use mysql_async::OptsBuilder;
use wrapper_core::env::{Environment, SystemResolver};
use wrapper_core::observe::SwitchReport;
use wrapper_mysql::{Connector, ErrorKind};

use crate::drivers::{Address, Drivers};
use crate::writer::Client;
use bare::{Bare, Target};
use wrapped::Wrapped;

pub(crate) struct Mysql {
    connector: Connector,
    bare: Target,
}

/// The drivers for a cluster that the demo has started, which has no TLS.
pub(crate) fn at(address: &Address) -> Result<Mysql, String> {
    let Address { host, port, user, password, database, resolver, settings } = address.clone();
    let mut builder = Connector::builder_at(&host, port)
        .user(&user)
        .dbname(&database)
        .set("ssl_mode", "disabled")
        .environment(Environment::builder().resolver(resolver.clone()).build());
    let options = OptsBuilder::default().user(Some(user)).pass(password.clone()).db_name(Some(database));
    if let Some(password) = password {
        builder = builder.password(password);
    }
    let builder = settings.iter().fold(builder, |builder, (name, value)| builder.set(name, value));
    let connector = builder.build().map_err(|error| format!("the connector could not be made: {error}"))?;
    // A test cluster's socket file is nobody's business.
    let options = options.prefer_socket(false);
    Ok(Mysql { connector, bare: Target { options, host, port, resolver: Arc::new(resolver) } })
}

/// The drivers for a cluster of the user's.
pub(crate) fn by_url(url: &str) -> Result<Mysql, String> {
    let connector = Connector::from_url(url).map_err(|error| format!("--url: {error}"))?;
    let settings = connector.settings();
    let Some((host, port)) = settings.hosts().first().cloned() else {
        return Err("--url: it names no host".to_owned());
    };
    let options = url::options(settings, &host).prefer_socket(false);
    Ok(Mysql { connector, bare: Target { options, host, port, resolver: Arc::new(SystemResolver) } })
}

#[async_trait]
impl Drivers for Mysql {
    fn names(&self) -> [&'static str; 2] {
        ["wrapper-mysql", "bare mysql_async"]
    }

    fn host(&self) -> &str {
        &self.bare.host
    }

    fn wrapped(&self, table: &str) -> Box<dyn Client> {
        Box::new(Wrapped::new(self.connector.clone(), table))
    }

    fn bare(&self, table: &str) -> Box<dyn Client> {
        Box::new(Bare::new(self.bare.clone(), table))
    }

    async fn run(&self, statements: &[String]) -> Result<(), String> {
        let run = async {
            let mut conn = self.connector.connect().await?;
            for statement in statements {
                conn.query_drop(statement).await?;
            }
            Ok(())
        };
        run.await.map_err(|error: wrapper_mysql::Error| error.to_string())
    }

    async fn numbers(&self, table: &str) -> Result<Vec<i64>, String> {
        let read = async {
            let mut conn = self.connector.connect().await?;
            let query = format!("SELECT id FROM {table}");
            match conn.query(&query).await {
                // Reading again does no harm.
                Err(error) if error.kind() == ErrorKind::FailoverSucceeded => conn.query(&query).await,
                answer => answer,
            }
        };
        read.await.map_err(|error: wrapper_mysql::Error| error.to_string())
    }

    fn reports(&self) -> Vec<Arc<SwitchReport>> {
        self.connector.reports()
    }

    async fn shutdown(&self) {
        self.connector.shutdown().await;
    }
}
