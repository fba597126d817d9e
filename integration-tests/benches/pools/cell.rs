//! The rows of the report: which pool, on which cluster, with TLS or without, and how the writer is lost.

use std::collections::BTreeSet;

use integration_tests::{Flavour, LocalCluster, MySqlCluster, NodeId};
use mysql_async::prelude::Queryable;

use crate::support::Outcome;
use crate::support::engine::{Engine, Loss, Setup};
use crate::support::server_log::Mark;

/// Connections of a pool.
pub(crate) const SIZE: u32 = 20;
/// Tasks that want one.
pub(crate) const TASKS: usize = 50;
/// How often the monitor looks where the row does not say another: the library's default is 1 s.
pub(crate) const REFRESH: &str = "50ms";

/// A kind of pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlx09Pg,
    Sqlx08Pg,
    ClusterPg,
    DeadpoolPg,
    Bb8Pg,
    DeadpoolPostgres,
    Sqlx09MySql,
    Sqlx08MySql,
    ClusterMySql,
    DeadpoolMySql,
    Bb8MySql,
}

impl Kind {
    /// What `--pool` takes.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Sqlx09Pg => "sqlx-0.9-pg",
            Self::Sqlx08Pg => "sqlx-0.8-pg",
            Self::ClusterPg => "cluster-pg",
            Self::DeadpoolPg => "deadpool-pg",
            Self::Bb8Pg => "bb8-pg",
            Self::DeadpoolPostgres => "deadpool-postgres",
            Self::Sqlx09MySql => "sqlx-0.9-mysql",
            Self::Sqlx08MySql => "sqlx-0.8-mysql",
            Self::ClusterMySql => "cluster-mysql",
            Self::DeadpoolMySql => "deadpool-mysql",
            Self::Bb8MySql => "bb8-mysql",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Sqlx09Pg => "`PgPool` of sqlx 0.9",
            Self::Sqlx08Pg => "`PgPool` of sqlx 0.8",
            Self::ClusterPg => "`PgClusterPool`",
            Self::DeadpoolPg => "deadpool of `wrapper_pg::Client`",
            Self::Bb8Pg => "bb8 of `wrapper_pg::Client`",
            Self::DeadpoolPostgres => "`deadpool_postgres::Pool`",
            Self::Sqlx09MySql => "`MySqlPool` of sqlx 0.9",
            Self::Sqlx08MySql => "`MySqlPool` of sqlx 0.8",
            Self::ClusterMySql => "`MySqlClusterPool`",
            Self::DeadpoolMySql => "deadpool of `wrapper_mysql::Conn`",
            Self::Bb8MySql => "bb8 of `wrapper_mysql::Conn`",
        }
    }

    pub(crate) const fn is_mysql(self) -> bool {
        matches!(
            self,
            Self::Sqlx09MySql | Self::Sqlx08MySql | Self::ClusterMySql | Self::DeadpoolMySql | Self::Bb8MySql
        )
    }

    const fn is_of_sqlx(self) -> bool {
        !matches!(
            self,
            Self::DeadpoolPg | Self::Bb8Pg | Self::DeadpoolPostgres | Self::DeadpoolMySql | Self::Bb8MySql
        )
    }
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    pub(crate) kind: Kind,
    pub(crate) tls: bool,
    pub(crate) loss: Loss,
    /// How often the monitor looks.
    pub(crate) refresh: &'static str,
}

impl Cell {
    /// Whether it is the one that gets the most failovers.
    pub(crate) fn is_main(&self) -> bool {
        self.kind == Kind::Sqlx09Pg && self.tls && self.loss == Loss::Crash && self.refresh == REFRESH
    }

    /// The row's first cell.
    pub(crate) fn title(&self) -> String {
        let tls = if self.tls { ", TLS" } else { "" };
        let loss = match self.loss {
            Loss::Crash => "crash",
            Loss::Planned => "planned",
            Loss::Freeze => "frozen",
        };
        let refresh =
            if self.refresh == REFRESH { String::new() } else { format!(", monitor every {}", self.refresh) };
        format!("{}{tls}, {loss}{refresh}", self.kind.title())
    }
}

/// All rows. Pools of deadpool and bb8 open their connections through the library's own connector, whose TLS is not the
/// pool's business: they are measured without.
pub(crate) fn all() -> Vec<Cell> {
    use Kind::{
        Bb8MySql, Bb8Pg, ClusterMySql, ClusterPg, DeadpoolMySql, DeadpoolPg, DeadpoolPostgres, Sqlx08MySql,
        Sqlx08Pg, Sqlx09MySql, Sqlx09Pg,
    };
    let kinds = [
        Sqlx09Pg,
        Sqlx08Pg,
        ClusterPg,
        DeadpoolPg,
        Bb8Pg,
        DeadpoolPostgres,
        Sqlx09MySql,
        Sqlx08MySql,
        ClusterMySql,
        DeadpoolMySql,
        Bb8MySql,
    ];
    let mut cells = Vec::new();
    for kind in kinds {
        let tls: &[bool] = if kind.is_of_sqlx() { &[false, true] } else { &[false] };
        for &tls in tls {
            for loss in [Loss::Crash, Loss::Planned] {
                cells.push(Cell { kind, tls, loss, refresh: REFRESH });
            }
        }
    }
    for loss in [Loss::Crash, Loss::Planned] {
        cells.push(Cell { kind: Sqlx09Pg, tls: true, loss, refresh: "1s" });
    }
    cells
}

/// A cluster whose writer is replaced a second after its loss, and the authority of its certificates.
///
/// # Errors
/// When it does not start.
pub(crate) async fn start<E: Ground>(tls: bool) -> Outcome<(E, Option<String>)> {
    let certificate = tls.then(crate::sqlx_support::certificate);
    let authority = certificate.as_ref().map(|(authority, _)| authority.clone());
    let second = std::time::Duration::from_secs(1);
    let setup = Setup {
        flavour: Flavour::Aurora,
        promotion: second..=second,
        restart: false,
        tls: certificate,
        settings: E::SETTINGS,
    };
    Ok((E::start(setup).await?, authority))
}

/// What these benches need of a cluster beside what others need.
pub(crate) trait Ground: Engine + crate::sqlx_support::site::Ground {
    /// So that the servers' logs say who connects.
    const SETTINGS: &'static [(&'static str, &'static str)];

    /// Makes the empty table `t`.
    async fn make_t(&self) -> Outcome;
    /// What is in it, asked from the present writer.
    async fn t(&self) -> Outcome<BTreeSet<i64>>;
    /// The logs of the servers, if they say who connects.
    fn logs(&self) -> Outcome<Vec<(NodeId, Mark)>>;
    fn app_user(&self) -> String;
}

impl Ground for LocalCluster {
    const SETTINGS: &'static [(&'static str, &'static str)] = &[("log_connections", "on")];

    async fn make_t(&self) -> Outcome {
        let writer = self.connect_app(self.writer()).await?;
        Ok(writer.batch_execute("DROP TABLE IF EXISTS t; CREATE TABLE t (id bigint PRIMARY KEY)").await?)
    }

    async fn t(&self) -> Outcome<BTreeSet<i64>> {
        let writer = self.connect_app(self.writer()).await?;
        let rows = writer.query("SELECT id FROM t", &[]).await?;
        Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
    }

    fn logs(&self) -> Outcome<Vec<(NodeId, Mark)>> {
        let mark = |node| Ok((node, Mark::at_end(self.log_file(node))?));
        self.nodes().into_iter().map(mark).collect()
    }

    fn app_user(&self) -> String {
        self.app().user
    }
}

impl Ground for MySqlCluster {
    const SETTINGS: &'static [(&'static str, &'static str)] = &[];

    async fn make_t(&self) -> Outcome {
        let mut writer = self.connect_app(self.writer()).await?;
        writer.query_drop("DROP TABLE IF EXISTS t").await?;
        Ok(writer.query_drop("CREATE TABLE t (id bigint PRIMARY KEY)").await?)
    }

    async fn t(&self) -> Outcome<BTreeSet<i64>> {
        let mut writer = self.connect_app(self.writer()).await?;
        let ids: Vec<i64> = writer.query("SELECT id FROM t").await?;
        Ok(ids.into_iter().collect())
    }

    fn logs(&self) -> Outcome<Vec<(NodeId, Mark)>> {
        Ok(Vec::new())
    }

    fn app_user(&self) -> String {
        self.app().user
    }
}
