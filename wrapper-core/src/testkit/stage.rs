//! A connector on a scripted cluster, and the questions whether a client is clean and whether anything is left.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::balance::Balance;
use super::client::FakeClient;
use super::cluster::ScriptedCluster;
use super::connection::FakeConnection;
use super::connectors::parts;
use super::statement::Statement;
use crate::config::{Settings, SettingsBuilder};
use crate::connector::ConnectorCore;
use crate::driver::{DriverConnection, TransactionStatus};
use crate::env::Deadline;
use crate::error::{Error, ErrorClass, ErrorKind, Result};
use crate::host::{HostInfo, HostRole};
use crate::plugin::PluginFactory;
use crate::session::SessionOptions;

const NAME: &str = "application_name";
const VALUE: &str = "stage";

/// Statements of the checks have numbers from here on; those of a test stay below.
const FIRST: u64 = 1 << 40;

/// A connector on a [`ScriptedCluster`] with the plugins under test, and the two checks that follow each drop of an
/// operation: the next user of a client meets a clean session or a discarded one, and nothing is left in the end.
///
/// See [`enumerate_cancellations`](super::enumerate_cancellations).
#[derive(Debug)]
pub struct Stage {
    cluster: ScriptedCluster,
    core: ConnectorCore,
    balance: Balance,
    numbers: AtomicU64,
    options: SessionOptions,
}

impl Stage {
    /// A connector to the writer endpoint of `cluster` with `plugins` and settings at their defaults.
    ///
    /// # Errors
    /// A configuration error.
    pub fn new(cluster: ScriptedCluster, plugins: Vec<Arc<dyn PluginFactory>>) -> Result<Self> {
        Self::with_settings(cluster, Settings::builder(), plugins)
    }

    /// The same with `settings`.
    ///
    /// # Errors
    /// A configuration error that names the setting.
    pub fn with_settings(
        cluster: ScriptedCluster,
        settings: SettingsBuilder,
        mut plugins: Vec<Arc<dyn PluginFactory>>,
    ) -> Result<Self> {
        let balance = Balance::new();
        plugins.push(Arc::new(balance.clone()));
        let core = ConnectorCore::new(parts(&cluster, settings, plugins, Vec::new())?)?;
        let options = SessionOptions {
            socket_timeout: core.settings().socket_timeout,
            transfer_state: true,
            ..SessionOptions::default()
        };
        Ok(Self { cluster, core, balance, numbers: AtomicU64::new(FIRST), options })
    }

    /// The cluster.
    pub fn cluster(&self) -> &ScriptedCluster {
        &self.cluster
    }

    /// The connector.
    pub fn core(&self) -> &ConnectorCore {
        &self.core
    }

    /// The count of calls and waits.
    pub fn balance(&self) -> &Balance {
        &self.balance
    }

    /// Opens a session, without setting anything in it.
    ///
    /// # Errors
    /// Whatever the connect returns.
    ///
    /// # Cancellation
    /// Closes whatever it opened.
    pub async fn open(&self) -> Result<FakeClient> {
        Ok(FakeClient::new(self.core.open::<FakeConnection>(self.options.clone()).await?))
    }

    /// Opens a session and sets a value in it, which [`check_next_user`](Self::check_next_user) looks for.
    ///
    /// # Errors
    /// Whatever the connect returns.
    ///
    /// # Cancellation
    /// Closes whatever it opened.
    pub async fn client(&self) -> Result<FakeClient> {
        let client = self.open().await?;
        client.run(&Statement::set(self.number(), NAME, VALUE)).await?;
        Ok(client)
    }

    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Uses a client of [`client`](Self::client) as its next user would: the answers are those to the questions, no
    /// transaction is open, the session's value is there, a write is written once; or else the connection is
    /// discarded and says so by a typed error, after which the client is closed or stands on another connection.
    ///
    /// # Errors
    /// What the next user would trip over.
    pub async fn check_next_user(&self, client: &FakeClient) -> Result<(), String> {
        // A session that is switched answers the first call with an error, the next ones on the new connection.
        for _ in 0..4 {
            let before = client.session().pin();
            let number = self.number();
            let answer = match client.run(&Statement::show(number, NAME)).await {
                Ok(answer) => answer,
                Err(error) => {
                    if client.session().load().generation != before.generation {
                        continue;
                    }
                    // A time-out and a demotion are the host's doing.
                    let of_the_host = matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Demoted);
                    if !before.connection.is_closed() && !of_the_host {
                        return Err(format!(
                            "the connection is open, but refuses the next statement: {error}"
                        ));
                    }
                    return typed(&error);
                }
            };
            if answer.statement != number {
                return Err(format!("a stale answer: statement {number} got that of {}", answer.statement));
            }
            if answer.value.as_deref() != Some(VALUE) {
                return Err(format!("the session's value {NAME} is {:?}, was {VALUE}", answer.value));
            }
            let status = client.session().load().connection.transaction_status();
            if status != TransactionStatus::Idle {
                return Err(format!("the transaction status is {status:?} for the next user"));
            }
            return self.check_write(client).await;
        }
        Err("the session was switched by each of four calls".to_owned())
    }

    async fn check_write(&self, client: &FakeClient) -> Result<(), String> {
        let number = self.number();
        match client.run(&Statement::append(number)).await {
            Ok(answer) if answer.statement != number => {
                Err(format!("a stale answer: statement {number} got that of {}", answer.statement))
            }
            Ok(_) => self.check_written(number),
            // The host may be lost, or lose its role, between the two statements.
            Err(error) if error.class() == ErrorClass::ReadOnly => Ok(()),
            Err(error) => typed(&error),
        }
    }

    fn check_written(&self, number: u64) -> Result<(), String> {
        let executed = self.cluster.executed();
        if executed.iter().any(|executed| executed.statement == number && executed.in_transaction) {
            return Err("a transaction is open on the server for the next user".to_owned());
        }
        let written = self.cluster.log().iter().filter(|written| written.statement == number).count();
        let lost = self.cluster.lost().iter().filter(|written| written.statement == number).count();
        if written + lost != 1 {
            return Err(format!("the next user's write was acknowledged and is there {written} times"));
        }
        Ok(())
    }

    /// Drops the client, gives the rest three seconds to end, shuts the connector down, and looks for what is left.
    ///
    /// # Errors
    /// What is left: a call or a wait that was entered and not left, a caller held, a socket, a lease, a permit, a
    /// task, the cluster itself; or a statement that was run twice.
    pub async fn check_at_rest(self, client: impl Sized) -> Result<(), String> {
        drop(client);
        let Self { cluster, core, balance, .. } = self;
        cluster.env().sleep(Duration::from_secs(3)).await;
        let mut left = Left::default();
        left.count("calls entered and not left", balance.calls());
        left.count("waits begun and not ended", balance.waits());
        left.count("callers held", core.cluster().held());
        left.count("sockets of sessions that were dropped", cluster.sessions().open);
        let endpoints = [cluster.endpoint(), cluster.reader_endpoint()];
        let port = cluster.flavour().port();
        let named = endpoints.iter().map(|name| HostInfo::new(name, port, HostRole::Unknown).key);
        let hosts = (0..cluster.len()).map(|host| cluster.host(host).key);
        let leases: usize = hosts.chain(named).map(|host| core.cluster().registry().open(&host)).sum();
        left.count("leases of sessions that were dropped", leases);
        let limit = Deadline::after(Duration::from_secs(10), "the check");
        let ended = limit
            .run("the shutdown", async {
                core.shutdown().await;
                Ok(())
            })
            .await;
        left.count("shutdowns that do not end", usize::from(ended.is_err()));
        left.count("tasks after the shutdown", core.cluster().task_count());
        left.count("sockets of monitors after the shutdown", cluster.monitors().open);
        left.count("permits of monitors after the shutdown", core.cluster().budget().used());
        let weak = Arc::downgrade(core.cluster().core());
        drop(core);
        left.count("circles of references around the cluster", usize::from(weak.strong_count() > 0));
        let mut seen = BTreeSet::new();
        for executed in
            cluster.executed().iter().filter(|executed| executed.accepted && executed.statement != 0)
        {
            left.count("statements run twice", usize::from(!seen.insert(executed.statement)));
        }
        left.verdict()
    }
}

#[derive(Debug, Default)]
struct Left(Vec<String>);

impl Left {
    fn count<N: Default + PartialEq + std::fmt::Display>(&mut self, what: &str, number: N) {
        if number != N::default() {
            self.0.push(format!("{what}: {number}"));
        }
    }

    fn verdict(self) -> Result<(), String> {
        if self.0.is_empty() { Ok(()) } else { Err(self.0.join("; ")) }
    }
}

/// Whether an error is one that a discarded connection may answer with.
fn typed(error: &Error) -> Result<(), String> {
    let kinds = [
        ErrorKind::Closed,
        ErrorKind::Demoted,
        ErrorKind::FailoverFailed,
        ErrorKind::FailoverSucceeded,
        ErrorKind::HostSilent,
        ErrorKind::Network,
        ErrorKind::Timeout,
    ];
    if kinds.contains(&error.kind()) {
        return Ok(());
    }
    Err(format!("a discarded connection answers the next user with another's error: {error}"))
}
