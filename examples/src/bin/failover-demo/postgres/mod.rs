//! PostgreSQL: wrapper-pg beside bare tokio-postgres.

mod bare;
mod tls;
mod wrapped;

use std::sync::Arc;

use async_trait::async_trait;
use tokio_postgres::Config;
use wrapper_core::env::{Environment, SystemResolver};
use wrapper_core::observe::SwitchReport;
use wrapper_pg::{Connector, ErrorKind};

use crate::drivers::{Address, Drivers};
use crate::writer::Client;
use bare::{Bare, Target};
use wrapped::Wrapped;

pub(crate) struct Postgres {
    connector: Connector,
    bare: Target,
}

/// The drivers for a cluster that the demo has started, which has no TLS.
pub(crate) fn at(address: &Address) -> Result<Postgres, String> {
    let Address { host, port, user, password, database, resolver, settings } = address.clone();
    let mut builder = Connector::builder_at(&host, port)
        .user(&user)
        .dbname(&database)
        .set("sslmode", "disable")
        .environment(Environment::builder().resolver(resolver.clone()).build());
    let mut config = Config::new();
    config.user(&user).dbname(&database);
    if let Some(password) = password {
        config.password(&password);
        builder = builder.password(password);
    }
    let builder = settings.iter().fold(builder, |builder, (name, value)| builder.set(name, value));
    let connector = builder.build().map_err(|error| format!("the connector could not be made: {error}"))?;
    let bare = Target { config, host, port, resolver: Arc::new(resolver), tls: None };
    Ok(Postgres { connector, bare })
}

/// The drivers for a cluster of the user's.
pub(crate) fn by_url(url: &str) -> Result<Postgres, String> {
    let connector = Connector::from_url(url).map_err(|error| format!("--url: {error}"))?;
    let settings = connector.settings();
    let Some((host, port)) = settings.hosts().first().cloned() else {
        return Err("--url: it names no host".to_owned());
    };
    let (config, tls) = tls::bare(settings, &host)?;
    let bare = Target { config, host, port, resolver: Arc::new(SystemResolver), tls };
    Ok(Postgres { connector, bare })
}

#[async_trait]
impl Drivers for Postgres {
    fn names(&self) -> [&'static str; 2] {
        ["wrapper-pg", "bare tokio-postgres"]
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
            let client = self.connector.connect().await?;
            for statement in statements {
                client.batch_execute(statement).await?;
            }
            Ok(())
        };
        run.await.map_err(|error: wrapper_pg::Error| error.to_string())
    }

    async fn numbers(&self, table: &str) -> Result<Vec<i64>, String> {
        let read = async {
            let client = self.connector.connect().await?;
            let query = format!("SELECT id FROM {table}");
            match client.query(&query, &[]).await {
                // Reading again does no harm.
                Err(error) if error.kind() == ErrorKind::FailoverSucceeded => client.query(&query, &[]).await,
                answer => answer,
            }
        };
        let rows = read.await.map_err(|error: wrapper_pg::Error| error.to_string())?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    fn reports(&self) -> Vec<Arc<SwitchReport>> {
        self.connector.reports()
    }

    async fn shutdown(&self) {
        self.connector.shutdown().await;
    }
}
