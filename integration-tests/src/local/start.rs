//! How a cluster comes up: one `initdb`, two copies of its folder, three servers at once.

use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::cluster::{Inner, LocalCluster, Tuning};
use super::conf::{DATABASE, HARNESS};
use super::control::Control;
use super::error::Error;
use super::flavour;
use super::options::Options;
use super::place::{self, Account, Network};
use super::server::{Server, Start};
use super::topology::{Row, Topology};
use super::watchdog::Watchdog;
use crate::names::NameTable;
use crate::proxy::FaultProxy;
use crate::verbs::NodeId;

/// How long a server may take to come up; generous, for crowded test machines.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(60);

/// How often a start is tried: another program may take a port between the look for a free one and the server's
/// start, and a crowded machine may let a step run out of its time.
const ATTEMPTS: u32 = 3;

impl LocalCluster {
    pub(crate) async fn start(options: Options) -> Result<Self, Error> {
        Self::start_in(options, Network::free).await
    }

    async fn start_in(
        options: Options,
        mut network: impl FnMut() -> Result<Network, Error>,
    ) -> Result<Self, Error> {
        for _ in 1..ATTEMPTS {
            match Self::start_once(options.clone(), network()?).await {
                Err(error) if may_pass(&error) => {}
                result => return result,
            }
        }
        Self::start_once(options, network()?).await
    }

    async fn start_once(options: Options, network: Network) -> Result<Self, Error> {
        let [first, others @ ..] = NodeId::ALL;
        let programs = place::programs()?;
        let account = Account::choose()?;
        let mut draw = options.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        let root = place::folder(account, &options.parent)?;
        // Before anything that would have to be cleaned up.
        let watchdog = Watchdog::start(account, &root, options.keep_files)?;

        let instances: Vec<String> =
            NodeId::ALL.iter().map(|node| format!("{}-{}", options.name, node.index() + 1)).collect();
        let mut letters = |count, upper: bool| -> String {
            let letters = std::iter::repeat_with(|| draw.char(if upper { 'A'..='Z' } else { 'a'..='z' }));
            letters.take(count).collect()
        };
        let random = format!("c{}", letters(11, false));
        let hash = options.hash.clone().unwrap_or(random);
        let resources: Vec<String> =
            NodeId::ALL.iter().map(|_| format!("db-{}", letters(26, true))).collect();
        let superuser_password = letters(24, false);

        let clients_reach = [network.client(0), network.client(1), network.client(2)];
        let mut servers = Vec::new();
        for node in NodeId::ALL {
            let index = node.index() as u8;
            let address = if options.with_proxy { network.server(index) } else { network.client(index) };
            let instance = instances[node.index()].clone();
            servers.push(Server::new(node, instance, address, &root, &programs, account)?);
        }
        let mut proxies = Vec::new();
        if options.with_proxy {
            for server in &servers {
                let address = clients_reach[server.node.index()];
                let proxy = FaultProxy::start(address, server.address).await;
                proxies.push(proxy.map_err(Error::io(format!("listen on {address} for the proxy")))?);
            }
        }
        let rows = NodeId::ALL.iter().map(|node| {
            let (instance, resource_id) = (instances[node.index()].clone(), resources[node.index()].clone());
            let endpoint = format!("{instance}.{hash}.us-east-2.rds.amazonaws.com");
            Row { instance, resource_id, endpoint, port: network.port(), lost_at: None }
        });
        let topology = Topology::create(account, root.join("topology"), rows.collect(), first)?;
        let names = NameTable::new();
        let tuning = Tuning {
            promotion_time: options.promotion_time.clone(),
            restart_on_promote: options.restart_on_promote,
            restart_readers: options.restart_readers,
            rejoin_after: options.rejoin_after,
        };
        let inner = Inner {
            root,
            port: network.port(),
            hash,
            servers,
            instances,
            proxies,
            clients_reach,
            names,
            topology,
            superuser_password,
            writer: AtomicUsize::new(first.index()),
            reader: AtomicUsize::new(others[0].index()),
            promotions: AtomicU64::new(0),
            draw: Mutex::new(draw),
            tuning: Mutex::new(tuning),
            returning: Mutex::default(),
            turn: tokio::sync::Mutex::new(()),
            stopped: CancellationToken::new(),
            watchdog: Mutex::new(Some(watchdog)),
            options,
        };
        // From here on dropping it cleans up.
        let cluster = LocalCluster { inner: Arc::new(inner) };
        cluster.inner.enter_names();
        cluster.inner.create_data(account, first, others).await?;
        cluster.inner.come_up(first, others).await?;
        Ok(cluster)
    }
}

/// Whether a start that failed so may succeed in another place, or with the machine less crowded.
fn may_pass(error: &Error) -> bool {
    matches!(
        error,
        Error::ServerEnded { .. }
            | Error::Sql { .. }
            | Error::Deadline { .. }
            | Error::Program { .. }
            | Error::Io { .. }
    )
}

impl Inner {
    fn enter_names(&self) {
        for node in NodeId::ALL {
            self.names.insert(&self.instance_endpoint(node), self.clients_reach[node.index()].ip());
        }
        let [writer, reader, ..] = self.clients_reach;
        self.names.insert(&self.cluster_endpoint(), writer.ip());
        self.names.insert(&self.reader_endpoint(), reader.ip());
        self.names.set_lag(self.options.dns_lag);
    }

    async fn create_data(
        self: &Arc<Self>,
        account: Account,
        first: NodeId,
        others: [NodeId; 2],
    ) -> Result<(), Error> {
        let secret = self.root.join("node-1").join("password");
        account.write(&secret, &self.superuser_password).map_err(Error::io("write a file for initdb"))?;
        let arguments = [
            "-D",
            "data",
            "-U",
            HARNESS,
            "--pwfile=password",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "--no-instructions",
            "--wal-segsize=4",
        ];
        self.server(first).program("initdb", &arguments, START_LIMIT).await?;
        std::fs::remove_file(&secret).map_err(Error::io("remove a file of initdb"))?;
        let inner = Arc::clone(self);
        let copied = tokio::task::spawn_blocking(move || {
            for node in others {
                let (from, to) = (inner.server(first).data(), inner.server(node).data());
                account.copy_dir(&from, &to).map_err(Error::io(format!("copy {}", from.display())))?;
                inner.server(node).mark_standby()?;
            }
            Ok(())
        });
        copied.await.map_err(|_| Error::Stopped)?
    }

    async fn come_up(&self, first: NodeId, others: [NodeId; 2]) -> Result<(), Error> {
        self.configure(first, None)?;
        self.server(first).spawn(Start::AsItIs)?;
        for node in others {
            self.configure(node, Some(first))?;
            self.server(node).spawn(Start::AsItIs)?;
        }
        let password = &self.superuser_password;
        let writer = self.server(first).accepting(password, DATABASE, START_LIMIT).await?;
        for statement in flavour::roles_and_databases(&self.options, password) {
            writer.run("set up", &statement).await?;
        }
        let folder = self.topology.folder().to_string_lossy();
        if let Some(functions) = flavour::functions(&self.options, &folder) {
            for database in [DATABASE, &self.options.database] {
                let address = self.server(first).address;
                let control = Control::connect(first, address, password, database, START_LIMIT).await?;
                control.run("create the metadata functions", "SET synchronous_commit = local").await?;
                control.run("create the metadata functions", &functions).await?;
            }
        }
        let written = writer.text("position", "SELECT pg_current_wal_lsn()").await?.unwrap_or_default();
        for node in others {
            let standby = self.server(node).accepting(password, DATABASE, START_LIMIT).await?;
            self.until_replayed(&standby, node, &written, START_LIMIT).await?;
        }
        // A first write that waits for a standby: from now on commits are acknowledged.
        writer.run("first write", "INSERT INTO public.accepting DEFAULT VALUES").await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_port_that_was_taken_meanwhile_costs_another_attempt() {
        let mut taken: Vec<TcpListener> = Vec::new();
        let cluster = LocalCluster::start_in(Options::default(), || {
            let network = Network::free()?;
            if taken.is_empty() {
                // The second node's: the first one is up already.
                taken.push(TcpListener::bind(network.client(1)).unwrap());
            }
            Ok(network)
        });
        let cluster = cluster.await.unwrap();
        let client = cluster.connect_app(cluster.writer()).await.unwrap();
        client.batch_execute("CREATE TABLE t (id int)").await.unwrap();
        assert_ne!(cluster.port(), taken[0].local_addr().unwrap().port());
    }

    #[tokio::test]
    async fn what_no_other_attempt_can_mend_is_not_tried_again() {
        let mut asked = 0;
        let refused = LocalCluster::start_in(Options::default(), || {
            asked += 1;
            Err(Error::Stopped)
        });
        assert!(matches!(refused.await, Err(Error::Stopped)));
        assert_eq!(asked, 1);
    }
}
