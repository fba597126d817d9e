//! How a cluster comes up: one empty data folder, three copies of it, three servers at once.

use std::process::Stdio;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::cluster::{Inner, MySqlCluster};
use super::conf::{HARNESS_SCHEMA, Role, SUPERUSER};
use super::front::Front;
use super::options::Options;
use super::place::Programs;
use super::server::Server;
use super::topology::{Row, Topology};
use super::{Error, control::Control};
use crate::local::cluster::Tuning;
use crate::local::place::{self, Account, Network};
use crate::local::watchdog::Watchdog;
use crate::names::NameTable;
use crate::proxy::FaultProxy;
use crate::verbs::{Flavour, NodeId};

/// How long a server may take to come up; generous, for crowded test machines.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(60);

impl MySqlCluster {
    pub(crate) async fn start(options: Options) -> Result<Self, Error> {
        let [first, others @ ..] = NodeId::ALL;
        let programs = Programs::find()?;
        let account = Account::choose()?;
        let network = Network::free()?;
        let mut draw = options.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        let root = place::folder(account, &options.parent)?;
        // Before anything that would have to be cleaned up.
        let watchdog = Watchdog::start(account, &root, options.keep_files)?;

        let instances: Vec<String> =
            NodeId::ALL.iter().map(|node| format!("{}-{}", options.name, node.index() + 1)).collect();
        let mut letters = |count: usize| -> String { (0..count).map(|_| draw.char('a'..='z')).collect() };
        let random = format!("c{}", letters(11));
        let hash = options.hash.clone().unwrap_or(random);
        let secret = letters(24);
        // Different ones, of the length that RDS's have.
        let base = draw.u32(100_000_000..1_000_000_000);
        let server_ids = [base, base + 1_000_003, base + 2_000_029];

        let clients_reach = [network.client(0), network.client(1), network.client(2)];
        let with_front = options.flavour != Flavour::Plain;
        let mut servers = Vec::new();
        for node in NodeId::ALL {
            let index = node.index() as u8;
            let address = match (options.with_proxy, with_front) {
                (false, false) => network.client(index),
                (true, false) | (false, true) => network.server(index),
                (true, true) => network.server(10 + index),
            };
            let id = server_ids[node.index()];
            let aside = network.server(20 + index);
            servers.push(Server::new(node, [address, aside], id, &root, &programs, account)?);
        }
        let rows = NodeId::ALL.iter().map(|node| {
            let (instance, server_id) = (instances[node.index()].clone(), server_ids[node.index()]);
            Row { instance, server_id, lost_at: None }
        });
        let topology = Topology::new(rows.collect(), first);
        let (mut fronts, mut proxies) = (Vec::new(), Vec::new());
        for server in &servers {
            let index = server.node.index();
            let mut behind = server.address;
            if with_front {
                let at = if options.with_proxy { network.server(index as u8) } else { clients_reach[index] };
                let front =
                    Front::start(at, server, options.flavour, topology.clone(), options.tls.as_ref())?;
                fronts.push(front);
                behind = at;
            }
            if options.with_proxy {
                let address = clients_reach[index];
                let proxy = FaultProxy::start(address, behind).await;
                proxies.push(proxy.map_err(Error::io(format!("listen on {address} for the proxy")))?);
            }
        }
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
            fronts,
            proxies,
            clients_reach,
            names: NameTable::new(),
            topology,
            secret,
            programs,
            writer: AtomicUsize::new(first.index()),
            reader: AtomicUsize::new(others[0].index()),
            promotions: Mutex::default(),
            draw: Mutex::new(draw),
            tuning: Mutex::new(tuning),
            returning: Mutex::default(),
            turn: tokio::sync::Mutex::new(()),
            stopped: CancellationToken::new(),
            watchdog: Mutex::new(Some(watchdog)),
            options,
        };
        // From here on dropping it cleans up.
        let cluster = MySqlCluster { inner: Arc::new(inner) };
        cluster.inner.enter_names();
        cluster.inner.create_data(account).await?;
        cluster.inner.come_up(first, others).await?;
        Ok(cluster)
    }
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

    /// Where the empty data folder is kept.
    pub(crate) fn seed(&self) -> std::path::PathBuf {
        self.root.join("seed")
    }

    async fn create_data(self: &Arc<Self>, account: Account) -> Result<(), Error> {
        let seed = self.seed();
        let programs = &self.programs;
        let program = programs.installer.as_ref().unwrap_or(&programs.server);
        let mut command = account.command(program);
        command.arg("--no-defaults").arg(format!("--datadir={}", seed.display()));
        command.arg(format!("--tmpdir={}", self.root.display()));
        command.args(["--skip-name-resolve", "--innodb-use-native-aio=OFF", "--innodb-flush-method=fsync"]);
        command.args(self.kind().installs());
        command.current_dir(&self.root).env("LC_ALL", "C").stdin(Stdio::null());
        let run = tokio::process::Command::from(command).kill_on_drop(true).output();
        let program = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let output = match tokio::time::timeout(START_LIMIT, run).await {
            Ok(output) => output.map_err(Error::io(format!("run {program}")))?,
            Err(_) => return Err(Error::Deadline { what: format!("{program} ends"), limit: START_LIMIT }),
        };
        if !output.status.success() {
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&text);
            let tail: Vec<&str> = text.lines().rev().take(12).collect();
            let output_end = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
            let status = output.status.to_string();
            return Err(Error::Program { program, status, output: output_end });
        }
        // MySQL's identity of a server; each makes its own, again when it is built anew.
        match std::fs::remove_file(seed.join("auto.cnf")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("remove auto.cnf")(error));
            }
            _ => {}
        }
        let inner = Arc::clone(self);
        let copied = tokio::task::spawn_blocking(move || {
            NodeId::ALL.into_iter().try_for_each(|node| inner.server(node).install(&inner.seed()))
        });
        copied.await.map_err(|_| Error::Stopped)?
    }

    async fn come_up(&self, first: NodeId, others: [NodeId; 2]) -> Result<(), Error> {
        self.configure(first, Role::LoneWriter)?;
        for node in others {
            self.configure(node, Role::Reader)?;
        }
        let [a, b, c] = NodeId::ALL;
        let up = |node| self.bring_up(node, START_LIMIT);
        let (mut writer, two, three) = tokio::try_join!(biased; up(a), up(b), up(c))?;
        for statement in self.users_and_schemas() {
            writer.run("set up", &statement).await?;
        }
        let source = self.server(first).address;
        let written = writer.written().await?;
        let attach = async |node: NodeId, mut control: Control| {
            control.follow(source, &self.secret).await?;
            self.until_streaming(node, &mut control, &written, START_LIMIT).await
        };
        tokio::try_join!(biased; attach(others[0], two), attach(others[1], three))?;
        self.configure(first, Role::Writer)?;
        // From now on commits wait for a replica, the first one of which is this.
        writer.wait_for_replicas(true).await?;
        writer.run("first write", &first_write()).await
    }

    fn users_and_schemas(&self) -> Vec<String> {
        let (user, database) = (&self.options.user, &self.options.database);
        let password = self.options.password.replace('\\', "\\\\").replace('\'', "''");
        let mut statements: Vec<String> =
            self.kind().drop_installed_users().iter().map(|sql| (*sql).to_owned()).collect();
        statements.extend([
            format!("CREATE USER '{SUPERUSER}'@'%' IDENTIFIED BY '{}'", self.secret),
            format!("GRANT ALL PRIVILEGES ON *.* TO '{SUPERUSER}'@'%' WITH GRANT OPTION"),
            format!("CREATE USER '{user}'@'%' IDENTIFIED BY '{password}'"),
            format!("CREATE DATABASE `{database}`"),
            format!("GRANT ALL PRIVILEGES ON `{database}`.* TO '{user}'@'%'"),
            format!("CREATE DATABASE {HARNESS_SCHEMA}"),
            format!(
                "CREATE TABLE {HARNESS_SCHEMA}.accepting (at timestamp(6) NOT NULL DEFAULT now(6)) ENGINE=InnoDB"
            ),
        ]);
        if self.options.flavour == Flavour::MultiAz {
            statements.push(
                "CREATE TABLE mysql.rds_topology (id varchar(32) NOT NULL PRIMARY KEY, \
                 endpoint varchar(255) NOT NULL, port int NOT NULL) ENGINE=InnoDB"
                    .to_owned(),
            );
            for node in NodeId::ALL {
                let (id, endpoint) = (self.server(node).server_id, self.instance_endpoint(node));
                let row =
                    format!("INSERT INTO mysql.rds_topology VALUES ('{id}', '{endpoint}', {})", self.port);
                statements.push(row);
            }
            statements.push(format!("GRANT SELECT ON mysql.rds_topology TO '{user}'@'%'"));
            let rights = self.kind().replication_rights();
            statements.push(format!("GRANT {rights} ON *.* TO '{user}'@'%'"));
        }
        statements
    }
}

/// A write of the harness.
pub(crate) fn first_write() -> String {
    format!("INSERT INTO {HARNESS_SCHEMA}.accepting () VALUES ()")
}
