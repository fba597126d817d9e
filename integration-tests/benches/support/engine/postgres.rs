//! PostgreSQL: `LocalCluster`, wrapper-pg, bare tokio-postgres.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use integration_tests::names::NameTable;
use integration_tests::{FailoverRecord, Fault, FreezeScope, LocalCluster};
use tokio_postgres::NoTls;
use wrapper_core::observe::Observer;

use super::{BARE_CONNECT, Client, Connector, Endpoint, Engine, Loss, Setup, Writes, verbs};
use crate::support::{Outcome, cluster};

const INSERT: &str = "INSERT INTO writes (id) VALUES ($1)";

impl Engine for LocalCluster {
    type Connector = wrapper_pg::Connector;
    type Endpoint = Bare;

    verbs!();

    fn section(name: &str, _: &str) -> String {
        name.to_owned()
    }

    async fn server(&self) -> Outcome<String> {
        let direct = self.connect_superuser(self.writer()).await?;
        let version: String = direct.query_one("SHOW server_version", &[]).await?.try_get(0)?;
        Ok(format!("PostgreSQL {}", version.split(' ').next().unwrap_or_default()))
    }

    async fn make_table(&self) -> Outcome {
        let writer = self.connect_app(self.writer()).await?;
        let sql = "DROP TABLE IF EXISTS writes; CREATE TABLE writes (id bigint PRIMARY KEY)";
        Ok(writer.batch_execute(sql).await?)
    }

    async fn ids(&self) -> Outcome<BTreeSet<i64>> {
        let writer = self.connect_app(self.writer()).await?;
        let rows = writer.query("SELECT id FROM writes", &[]).await?;
        Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
    }

    fn connector(
        &self,
        observer: impl Observer + 'static,
        settings: &[(&str, &str)],
    ) -> Outcome<Self::Connector> {
        let builder = cluster::connector(self).observer(observer);
        Ok(settings.iter().fold(builder, |builder, (name, value)| builder.set(name, value)).build()?)
    }

    fn endpoint(&self) -> Bare {
        let app = self.app();
        let mut login = tokio_postgres::Config::new();
        login.user(&app.user).password(&app.password).dbname(&app.database).connect_timeout(BARE_CONNECT);
        Bare { names: self.names(), host: self.cluster_endpoint(), port: self.port(), login }
    }
}

/// The writer endpoint, for the bare driver.
#[derive(Debug)]
pub(crate) struct Bare {
    names: NameTable,
    host: String,
    port: u16,
    login: tokio_postgres::Config,
}

impl Endpoint for Bare {
    type Client = BareClient;

    async fn connect(&self) -> Option<BareClient> {
        let address = SocketAddr::new(self.names.lookup(&self.host)?, self.port);
        let mut config = self.login.clone();
        config.host(address.ip().to_string()).port(address.port());
        let (client, connection) =
            tokio::time::timeout(BARE_CONNECT, config.connect(NoTls)).await.ok()?.ok()?;
        tokio::spawn(async move {
            // Its error reaches the client's calls.
            let _ = connection.await;
        });
        let insert = client.prepare(INSERT).await.ok()?;
        Some(BareClient { client, insert })
    }
}

/// A connection of the bare driver.
pub(crate) struct BareClient {
    client: tokio_postgres::Client,
    insert: tokio_postgres::Statement,
}

impl Writes for BareClient {
    async fn insert(&mut self, id: i64) -> Result<(), String> {
        match self.client.execute(&self.insert, &[&id]).await {
            Ok(_) => Ok(()),
            Err(error) => Err(error.code().map_or("closed", |code| code.code()).to_owned()),
        }
    }
}

/// The library's client, and its statement once it was needed.
pub(crate) struct Wrapped {
    client: wrapper_pg::Client,
    insert: Option<wrapper_pg::Statement>,
}

fn kind(error: &wrapper_pg::Error) -> String {
    format!("{:?}", error.kind())
}

impl Writes for Wrapped {
    async fn insert(&mut self, id: i64) -> Result<(), String> {
        let insert = match &self.insert {
            Some(insert) => insert,
            None => {
                let prepared = self.client.prepare(INSERT).await.map_err(|error| kind(&error))?;
                self.insert.insert(prepared)
            }
        };
        self.client.execute(insert, &[&id]).await.map(drop).map_err(|error| kind(&error))
    }
}

impl Client for Wrapped {
    fn generation(&self) -> u64 {
        self.client.generation()
    }

    async fn sleep(&mut self, seconds: u32) -> Result<(), String> {
        let sql = format!("SELECT pg_sleep({seconds})");
        self.client.query(&sql, &[]).await.map(drop).map_err(|error| kind(&error))
    }
}

impl Connector for wrapper_pg::Connector {
    type Client = Wrapped;

    async fn connect(&self) -> Outcome<Wrapped> {
        Ok(Wrapped { client: Self::connect(self).await?, insert: None })
    }

    fn reports(&self) -> Vec<String> {
        Self::reports(self).iter().map(ToString::to_string).collect()
    }

    async fn shutdown(self) {
        Self::shutdown(&self).await;
    }
}
