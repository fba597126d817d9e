//! A real PostgreSQL server for the tests of this crate.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says so")]
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

pub mod certificates;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use wrapper_core::driver::{ConnectTarget, DriverConnection};
use wrapper_core::env::Deadline;
use wrapper_core::host::{HostInfo, HostRole};
use wrapper_pg::{PgConnection, PgDriver, PgDriverBuilder, Spawner};

pub const PASSWORD: &str = "correct-horse-battery";

/// The folder of the server's programs.
fn programs() -> PathBuf {
    if let Some(folder) = std::env::var_os("PGBIN") {
        return folder.into();
    }
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    versions.sort();
    versions.pop().expect("a PostgreSQL server is installed, or PGBIN names the folder of one")
}

/// The user to run the server as: it refuses to be root.
fn server_user() -> Option<(u32, u32)> {
    let number = |args: &[&str]| -> Option<u32> {
        let out = Command::new("id").args(args).output().ok()?;
        String::from_utf8(out.stdout).ok()?.trim().parse().ok()
    };
    (number(&["-u"])? == 0).then(|| {
        (number(&["-u", "postgres"]).expect("user postgres"), number(&["-g", "postgres"]).expect("its group"))
    })
}

fn command(program: &str) -> Command {
    let mut command = Command::new(programs().join(program));
    if let Some((user, group)) = server_user() {
        command.uid(user).gid(group);
    }
    command.current_dir("/").stdin(Stdio::null());
    command
}

pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap();
    assert!(status.success(), "kill -{name} {pid}");
}

/// A server of its own; stopped when dropped.
pub struct Server {
    folder: PathBuf,
    pub port: u16,
    process: Child,
}

static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
static COUNT: AtomicU32 = AtomicU32::new(0);

impl Server {
    /// The server that tests share; it lives as long as one of them holds it.
    pub fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::start(&[]));
            *shared = Arc::downgrade(&server);
            server
        })
    }

    /// A server with settings (`name=value`) of its own.
    pub fn start(settings: &[String]) -> Self {
        Self::start_with(|_| settings.to_vec())
    }

    /// A server whose settings need its data folder.
    pub fn start_with(settings: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("wrapper-pg-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        if let Some((user, group)) = server_user() {
            std::os::unix::fs::chown(&folder, Some(user), Some(group)).unwrap();
        }
        let password = folder.join("password");
        fs::write(&password, PASSWORD).unwrap();
        give(&password);
        let data = folder.join("data");
        let made = command("initdb")
            .args(["--no-sync", "--no-instructions", "-A", "scram-sha-256", "-U", "postgres", "--pwfile"])
            .arg(&password)
            .arg("-D")
            .arg(&data)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let mut server = command("postgres");
        server.arg("-D").arg(&data).args(["-p", &port.to_string()]);
        server.args(["-c", "fsync=off", "-c", "listen_addresses=127.0.0.1"]);
        server.arg("-c").arg(format!("unix_socket_directories={}", folder.display()));
        for setting in settings(&data) {
            server.args(["-c", &setting]);
        }
        let log = fs::File::create(folder.join("log")).unwrap();
        let process = server.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let mut server = Self { folder, port, process };
        server.wait_until_ready();
        server
    }

    fn wait_until_ready(&mut self) {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let ready = command("pg_isready")
                .args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()])
                .status()
                .unwrap();
            if ready.success() {
                return;
            }
            let exited = self.process.try_wait().unwrap();
            assert!(exited.is_none() && Instant::now() < end, "the server did not start: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    pub fn socket_folder(&self) -> &Path {
        &self.folder
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    pub fn config(&self) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config.user("postgres").password(PASSWORD).dbname("postgres");
        config
    }

    pub fn host(&self) -> HostInfo {
        HostInfo::new("127.0.0.1", self.port, HostRole::Unknown)
    }

    pub fn target(&self) -> ConnectTarget {
        ConnectTarget::session(self.host())
    }

    pub fn builder(&self) -> PgDriverBuilder {
        builder(self.config())
    }

    pub fn driver(&self) -> PgDriver {
        self.builder().build().unwrap()
    }

    pub async fn connect(&self) -> Arc<PgConnection> {
        self.driver().open(&self.target(), deadline(10)).await.unwrap()
    }

    /// Asks the server itself, over a connection of the bare driver, how many connections fit.
    pub async fn count(&self, condition: &str) -> i64 {
        let mut config = self.config();
        config.host("127.0.0.1").port(self.port).application_name("observer");
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
        let task = tokio::task::spawn(connection);
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity \
             WHERE backend_type = 'client backend' AND application_name <> 'observer' AND ({condition})"
        );
        let count = client.query_one(&sql, &[]).await.unwrap().get(0);
        drop(client);
        task.await.unwrap().unwrap();
        count
    }

    /// Waits until the number of connections that fit is `wanted`.
    pub async fn wait_for_count(&self, condition: &str, wanted: i64) {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let count = self.count(condition).await;
            if count == wanted {
                return;
            }
            assert!(Instant::now() < end, "{count} connections with {condition}, {wanted} wanted");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A stopped process takes no signal but these.
        signal(self.pid(), "CONT");
        signal(self.pid(), "QUIT");
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Makes a file the server's.
pub fn give(path: &Path) {
    if let Some((user, group)) = server_user() {
        std::os::unix::fs::chown(path, Some(user), Some(group)).unwrap();
    }
}

pub fn builder(config: tokio_postgres::Config) -> PgDriverBuilder {
    PgDriver::builder(config, Spawner::on_runtime(tokio::runtime::Handle::current()))
}

pub fn deadline(seconds: u64) -> Deadline {
    Deadline::after(Duration::from_secs(seconds), "connect_timeout")
}

/// Answers every name with the same addresses.
#[derive(Debug)]
pub struct Fixed(pub Vec<IpAddr>);

#[async_trait::async_trait]
impl wrapper_core::env::Resolver for Fixed {
    async fn resolve(&self, _: &str, port: u16) -> std::io::Result<Vec<std::net::SocketAddr>> {
        Ok(self.0.iter().map(|address| (*address, port).into()).collect())
    }
}

pub async fn text(connection: &PgConnection, sql: &str) -> Option<String> {
    let rows = connection.fetch_text(sql, deadline(10)).await.unwrap();
    let column = rows.columns().first()?.clone();
    rows.get(0, &column).map(str::to_owned)
}

pub async fn pid(connection: &PgConnection) -> u32 {
    text(connection, "SELECT pg_backend_pid()").await.unwrap().parse().unwrap()
}
