//! One server of a cluster: its folder, its settings, its process.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::Error;
use super::conf::Settings;
use super::control::Control;
use super::kind::MySqlKind;
use super::place::Programs;
use crate::local::place::Account;
use crate::local::processes;
use crate::verbs::{FreezeScope, NodeId};

/// How often a wait looks again.
pub(crate) const TICK: Duration = Duration::from_millis(5);

/// How the harness's own lines in a server's log begin.
const NOTE: &str = "harness: ";

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) node: NodeId,
    pub(crate) address: SocketAddr,
    /// Where it listens while no client shall reach it.
    pub(crate) aside: SocketAddr,
    pub(crate) server_id: u32,
    folder: PathBuf,
    programs: Programs,
    account: Account,
    process: Mutex<Process>,
    /// The number of promotions that its data has followed.
    epoch: AtomicUsize,
}

#[derive(Debug, Default)]
struct Process {
    child: Option<Child>,
    frozen: bool,
    /// The cluster ends: nothing is started any more.
    closed: bool,
}

impl Server {
    pub(crate) fn new(
        node: NodeId,
        [address, aside]: [SocketAddr; 2],
        server_id: u32,
        root: &Path,
        programs: &Programs,
        account: Account,
    ) -> Result<Self, Error> {
        let folder = root.join(format!("node-{}", node.index() + 1));
        for made in [&folder, &folder.join("tmp")] {
            account.create_dir(made).map_err(Error::io(format!("create {}", made.display())))?;
        }
        Ok(Self {
            node,
            address,
            aside,
            server_id,
            folder,
            programs: programs.clone(),
            account,
            process: Mutex::default(),
            epoch: AtomicUsize::new(0),
        })
    }

    pub(crate) fn kind(&self) -> MySqlKind {
        self.programs.kind
    }

    pub(crate) fn epoch(&self) -> usize {
        self.epoch.load(Ordering::Acquire)
    }

    pub(crate) fn set_epoch(&self, epoch: usize) {
        self.epoch.store(epoch, Ordering::Release);
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The server's log file.
    pub(crate) fn log_file(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    fn lock(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a copy of the empty data folder in the place of the data of a server that does not run.
    pub(crate) fn install(&self, seed: &Path) -> Result<(), Error> {
        let data = self.data();
        if data.exists() {
            fs::remove_dir_all(&data).map_err(Error::io(format!("remove {}", data.display())))?;
        }
        self.account.copy_dir(seed, &data).map_err(Error::io(format!("copy {}", seed.display())))
    }

    /// Writes the settings, and the statements of the server's start; they hold from its next start on.
    pub(crate) fn configure(&self, settings: &Settings<'_>, first: &str) -> Result<(), Error> {
        let write = |file: PathBuf, text: &str| {
            self.account.write(&file, text).map_err(Error::io(format!("write {}", file.display())))
        };
        write(self.folder.join("my.cnf"), &settings.my_cnf())?;
        write(self.folder.join("first.sql"), first)?;
        if let Some(tls) = &settings.options.tls {
            write(self.data().join("server.crt"), &tls.certificate)?;
            write(self.data().join("server.key"), &tls.key)?;
        }
        Ok(())
    }

    /// Starts the process; does not wait for it.
    pub(crate) fn spawn(&self) -> Result<(), Error> {
        let what = || format!("start the server of {}", self.node);
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_file())
            .map_err(Error::io(what()))?;
        self.account.give(&self.log_file()).map_err(Error::io(what()))?;
        let mut command = self.account.command(&self.programs.server);
        let path = |name: &str, file: &str| format!("--{name}={}", self.folder.join(file).display());
        command.arg(path("defaults-file", "my.cnf")).arg(path("datadir", "data"));
        command.arg(path("tmpdir", "tmp")).arg(path("init-file", "first.sql"));
        let errors = log.try_clone().map_err(Error::io(what()))?;
        command.current_dir(&self.folder).stdin(Stdio::null()).stdout(log).stderr(errors);
        let mut process = self.lock();
        if process.closed {
            return Err(Error::Stopped);
        }
        if process.child.is_some() {
            let reason = "it is running".to_owned();
            return Err(Error::WrongState { verb: "start", node: self.node, reason });
        }
        process.child = Some(command.spawn().map_err(Error::io(what()))?);
        Ok(())
    }

    /// Waits until the server takes a connection of the harness, and gives this connection.
    pub(crate) async fn accepting(
        &self,
        address: SocketAddr,
        password: &str,
        limit: Duration,
    ) -> Result<Control, Error> {
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let error = match Control::connect((self.node, self.kind()), address, password, left).await {
                Ok(control) => return Ok(control),
                Err(error) => error,
            };
            if let Some(status) = self.ended() {
                return Err(Error::ServerEnded { node: self.node, status, log: self.log_end() });
            }
            if Instant::now() + TICK >= end {
                let what = format!("{} accepts connections ({error})", self.node);
                return Err(Error::Deadline { what, limit });
            }
            tokio::time::sleep(TICK).await;
        }
    }

    /// How the process ended; none while it runs. A stopped server counts as ended.
    fn ended(&self) -> Option<String> {
        match self.lock().child.as_mut() {
            None => Some("stopped".to_owned()),
            Some(child) => match child.try_wait() {
                Ok(status) => status.map(|status| status.to_string()),
                Err(e) => Some(e.to_string()),
            },
        }
    }

    pub(crate) fn log_end(&self) -> String {
        let text = fs::read(self.log_file()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(12)..).unwrap_or_default().join("\n")
    }

    /// The last error that the harness entered into the log.
    pub(crate) fn last_note(&self) -> Option<String> {
        let text = fs::read(self.log_file()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        text.lines().rev().find_map(|line| line.strip_prefix(NOTE)).map(str::to_owned)
    }

    /// Enters a line into the server's log, where it explains what comes after it.
    pub(crate) fn note(&self, text: &str) {
        use std::io::Write;
        if let Ok(mut log) = fs::OpenOptions::new().append(true).open(self.log_file()) {
            // A note; nothing depends on it.
            let _ = writeln!(log, "{NOTE}{text}");
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.ended().is_none()
    }

    pub(crate) fn is_frozen(&self) -> bool {
        self.lock().frozen
    }

    pub(crate) fn freeze(&self) -> Result<(), Error> {
        let mut process = self.lock();
        let Some(child) = &process.child else {
            let reason = "it is not running".to_owned();
            return Err(Error::WrongState { verb: "freeze", node: self.node, reason });
        };
        // The server is one process of many threads: there is nothing beside it that could go on.
        processes::freeze(child.id(), FreezeScope::PostmasterOnly);
        process.frozen = true;
        Ok(())
    }

    pub(crate) fn thaw(&self) {
        let mut process = self.lock();
        if let (Some(child), true) = (&process.child, process.frozen) {
            processes::signal(child.id(), Signal::SIGCONT);
        }
        process.frozen = false;
    }

    /// Kills the server, frozen or not, and waits until it has gone.
    pub(crate) fn kill(&self) {
        let mut process = self.lock();
        process.frozen = false;
        if let Some(mut child) = process.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks the server to end, without waiting for it.
    pub(crate) fn terminate(&self) {
        if let Some(child) = &self.lock().child {
            processes::signal(child.id(), Signal::SIGTERM);
        }
    }

    /// Waits until the server has ended.
    pub(crate) async fn until_ended(&self, limit: Duration) -> Result<(), Error> {
        let end = Instant::now() + limit;
        while self.is_running() {
            if Instant::now() >= end {
                let what = format!("{} stops; the end of its log: {}", self.node, self.log_end());
                return Err(Error::Deadline { what, limit });
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let mut process = self.lock();
        process.child = None;
        process.frozen = false;
        Ok(())
    }

    /// Takes note that a process ended by itself, so that it can be started again.
    pub(crate) fn forget_ended(&self) {
        let mut process = self.lock();
        if let Some(child) = &mut process.child
            && matches!(child.try_wait(), Ok(Some(_)))
        {
            process.child = None;
        }
    }

    /// Allows no further start. The watchdog kills what runs.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
    }

    /// Takes the ended process off the system's table.
    pub(crate) fn reap(&self) {
        self.kill();
    }
}
