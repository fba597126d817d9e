//! What a bench needs to know of an engine: its cluster, the library's client, the bare driver.
//!
//! What may not live here: what is measured. Each engine has a file of its own, and no bench names one.

mod mysql;
mod postgres;

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use integration_tests::{FailoverRecord, Flavour};
use wrapper_core::observe::{Event, Observer};

use super::Outcome;

/// The time that the bare driver has for a connect.
const BARE_CONNECT: Duration = Duration::from_secs(1);

/// What cluster is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) flavour: Flavour,
    pub(crate) promotion: RangeInclusive<Duration>,
    /// Whether a promoted server restarts.
    pub(crate) restart: bool,
    /// Certificate and key of the servers, in PEM, for hosts of a cluster with the hash `cxyz`.
    pub(crate) tls: Option<(String, String)>,
    /// Settings of the servers.
    pub(crate) settings: &'static [(&'static str, &'static str)],
}

/// How a writer is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    Crash,
    Planned,
    Freeze,
}

/// A local cluster of one engine, and the clients that can be had for it.
pub(crate) trait Engine: Sized + Sync {
    type Connector: Connector;
    type Endpoint: Endpoint;

    /// The section of the page of figures, and the file of single figures, for what a bench calls by a name; each
    /// server, as [`server`](Self::server) gives it, has its own.
    fn section(name: &str, server: &str) -> String;

    /// Starts a cluster whose names are late by 30 s, and whose old writers come back soon.
    async fn start(setup: Setup) -> Outcome<Self>;
    async fn stop(self);
    /// The server's name and version.
    async fn server(&self) -> Outcome<String>;

    /// Loses the writer; returns when another one accepts writes.
    async fn lose_writer(&self, loss: Loss) -> Outcome<FailoverRecord>;
    /// Brings the cluster back to three nodes, and its names up to date.
    async fn mend(&self, loss: Loss, record: &FailoverRecord) -> Outcome;
    /// Freezes the writer, without a promotion.
    async fn freeze_writer(&self) -> Outcome;
    /// Lets the writer go on.
    async fn thaw_writer(&self) -> Outcome;

    /// Makes an empty table for [`Writes::insert`].
    async fn make_table(&self) -> Outcome;
    /// What is in it, asked from the present writer.
    async fn ids(&self) -> Outcome<BTreeSet<i64>>;

    /// The library on the writer endpoint: as the application's user, with default settings but these.
    fn connector(
        &self,
        observer: impl Observer + 'static,
        settings: &[(&str, &str)],
    ) -> Outcome<Self::Connector>;
    /// The bare driver on the writer endpoint.
    fn endpoint(&self) -> Self::Endpoint;
}

/// Looks at nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blind;

impl Observer for Blind {
    fn on_event(&self, _: &Event) {}
}

/// The library's connector.
pub(crate) trait Connector {
    type Client: Client;
    async fn connect(&self) -> Outcome<Self::Client>;
    /// The reports of all switches, as text.
    fn reports(&self) -> Vec<String>;
    async fn shutdown(self);
}

/// Where the bare driver connects to: a name that is looked up anew each time.
pub(crate) trait Endpoint: Send + Sync + 'static {
    type Client: Writes;
    fn connect(&self) -> impl Future<Output = Option<Self::Client>> + Send;
}

/// Whoever writes rows.
pub(crate) trait Writes: Send + 'static {
    /// Writes a row by a prepared statement; else says in a word what the call failed with.
    fn insert(&mut self, id: i64) -> impl Future<Output = Result<(), String>> + Send;
}

/// The library's client.
pub(crate) trait Client: Writes {
    /// Counts the client's connections, from 1.
    fn generation(&self) -> u64;
    /// A call that takes so long on the server; else the kind of its error.
    async fn sleep(&mut self, seconds: u32) -> Result<(), String>;
}

/// Runs a bench on the cluster that `--engine` names.
#[allow(unused_macros, reason = "each bench has this module, and not each runs on both engines")]
macro_rules! on_engine {
    ($arguments:expr, $($run:tt)+) => {{
        let arguments: &$crate::support::Arguments = $arguments;
        match arguments.value::<String>("--engine")?.as_deref() {
            None | Some("postgres") => $($run)+::<integration_tests::LocalCluster>(arguments).await,
            Some("mysql") => $($run)+::<integration_tests::MySqlCluster>(arguments).await,
            Some(other) => Err(format!("`--engine {other}`: expected postgres or mysql").into()),
        }
    }};
}
#[allow(unused_imports, reason = "as above")]
pub(crate) use on_engine;

/// The verbs of a cluster: both kinds have the same, and no trait of their own.
macro_rules! verbs {
    () => {
        async fn start(setup: Setup) -> Outcome<Self> {
            let builder = Self::builder()
                .flavour(setup.flavour)
                .promotion_time(setup.promotion)
                .restart_on_promote(setup.restart)
                .rejoin_after(Some(Duration::from_millis(300)))
                .dns_lag(Duration::from_secs(30));
            let builder = match setup.tls {
                Some((certificate, key)) => builder.hash("cxyz").tls(certificate, key),
                None => builder,
            };
            let builder = setup
                .settings
                .iter()
                .fold(builder, |builder, (name, value)| builder.server_setting(*name, *value));
            Ok(builder.start().await?)
        }

        async fn stop(self) {
            Self::stop(self).await;
        }

        async fn lose_writer(&self, loss: Loss) -> Outcome<FailoverRecord> {
            Ok(match loss {
                Loss::Crash => self.fail_over().await?,
                Loss::Planned => self.planned_switchover(self.readers()[0]).await?,
                Loss::Freeze => self.fail_over_after(Fault::Freeze(FreezeScope::AllProcesses)).await?,
            })
        }

        async fn mend(&self, loss: Loss, record: &FailoverRecord) -> Outcome {
            if loss == Loss::Freeze {
                self.thaw(record.old_writer).await?;
                self.rejoin(record.old_writer).await?;
            }
            self.wait_until_healthy(Duration::from_secs(60)).await?;
            // What a run leaves in the names would be another run's lag.
            self.names().insert(&self.cluster_endpoint(), self.address(self.writer()).ip());
            Ok(())
        }

        async fn freeze_writer(&self) -> Outcome {
            Ok(self.freeze(self.writer(), FreezeScope::AllProcesses).await?)
        }

        async fn thaw_writer(&self) -> Outcome {
            Ok(self.thaw(self.writer()).await?)
        }
    };
}
use verbs;
