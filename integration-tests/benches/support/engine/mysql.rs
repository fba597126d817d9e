//! The MySQL family: `MySqlCluster`, wrapper-mysql, bare mysql_async.

use std::collections::BTreeSet;
use std::time::Duration;

use integration_tests::names::NameTable;
use integration_tests::{FailoverRecord, Fault, FreezeScope, MySqlCluster};
use mysql_async::OptsBuilder;
use mysql_async::prelude::Queryable;
use wrapper_core::observe::Observer;

use super::{BARE_CONNECT, Client, Connector, Endpoint, Engine, Loss, Setup, Writes, verbs};
use crate::support::{Outcome, cluster};

const INSERT: &str = "INSERT INTO writes (id) VALUES (?)";

impl Engine for MySqlCluster {
    type Connector = wrapper_mysql::Connector;
    type Endpoint = Bare;

    verbs!();

    fn section(name: &str, server: &str) -> String {
        let family = if server.starts_with("MariaDB") { "mariadb" } else { "mysql" };
        format!("{name}_{family}")
    }

    async fn server(&self) -> Outcome<String> {
        // Past the front, which gives another version.
        let mut direct = self.connect_superuser(self.writer()).await?;
        let version: String = direct.query_first("SELECT VERSION()").await?.ok_or("no version")?;
        let number = version.split('-').next().unwrap_or_default();
        let name = if version.contains("MariaDB") { "MariaDB" } else { "MySQL" };
        Ok(format!("{name} {number}"))
    }

    async fn make_table(&self) -> Outcome {
        let mut writer = self.connect_app(self.writer()).await?;
        writer.query_drop("DROP TABLE IF EXISTS writes").await?;
        Ok(writer.query_drop("CREATE TABLE writes (id bigint PRIMARY KEY)").await?)
    }

    async fn ids(&self) -> Outcome<BTreeSet<i64>> {
        let mut writer = self.connect_app(self.writer()).await?;
        let ids: Vec<i64> = writer.query("SELECT id FROM writes").await?;
        Ok(ids.into_iter().collect())
    }

    fn connector(
        &self,
        observer: impl Observer + 'static,
        settings: &[(&str, &str)],
    ) -> Outcome<Self::Connector> {
        let builder = cluster::mysql_connector(self).observer(observer);
        Ok(settings.iter().fold(builder, |builder, (name, value)| builder.set(name, value)).build()?)
    }

    fn endpoint(&self) -> Bare {
        Bare { names: self.names(), host: self.cluster_endpoint(), login: self.app_config(self.writer()) }
    }
}

/// The writer endpoint, for the bare driver.
#[derive(Debug)]
pub(crate) struct Bare {
    names: NameTable,
    host: String,
    login: OptsBuilder,
}

impl Endpoint for Bare {
    type Client = BareClient;

    async fn connect(&self) -> Option<BareClient> {
        let address = self.names.lookup(&self.host)?;
        let options = self.login.clone().ip_or_hostname(address.to_string());
        let conn = mysql_async::Conn::new(options);
        tokio::time::timeout(BARE_CONNECT, conn).await.ok()?.ok().map(BareClient)
    }
}

/// A connection of the bare driver, which prepares a text once.
pub(crate) struct BareClient(mysql_async::Conn);

impl Writes for BareClient {
    async fn insert(&mut self, id: i64) -> Result<(), String> {
        self.0.exec_drop(INSERT, (id,)).await.map_err(|error| match error {
            mysql_async::Error::Server(error) => error.code.to_string(),
            _ => "closed".to_owned(),
        })
    }
}

fn kind(error: &wrapper_mysql::Error) -> String {
    format!("{:?}", error.kind())
}

impl Writes for wrapper_mysql::Conn {
    async fn insert(&mut self, id: i64) -> Result<(), String> {
        self.exec_drop(INSERT, (id,)).await.map_err(|error| kind(&error))
    }
}

impl Client for wrapper_mysql::Conn {
    fn generation(&self) -> u64 {
        Self::generation(self)
    }

    async fn sleep(&mut self, seconds: u32) -> Result<(), String> {
        self.query_drop(format!("SELECT SLEEP({seconds})")).await.map_err(|error| kind(&error))
    }
}

impl Connector for wrapper_mysql::Connector {
    type Client = wrapper_mysql::Conn;

    async fn connect(&self) -> Outcome<Self::Client> {
        Ok(Self::connect(self).await?)
    }

    fn reports(&self) -> Vec<String> {
        Self::reports(self).iter().map(ToString::to_string).collect()
    }

    async fn shutdown(self) {
        Self::shutdown(&self).await;
    }
}
