//! One PostgreSQL server of a cluster: its folder, its settings, its process.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::conf::Settings;
use super::control::Control;
use super::error::Error;
use super::place::Account;
use super::processes;
use crate::verbs::{FreezeScope, NodeId};

/// How often a wait looks again.
pub(crate) const TICK: Duration = Duration::from_millis(5);

/// How long one connect to a server that comes up may take: somebody else may listen on its port and never answer.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// How the harness's own lines in a server's log begin.
const NOTE: &str = "harness: ";

/// In which way a server comes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// As it was: a writer, or a standby.
    AsItIs,
    /// A standby: replays what it has, leaves its upstream's timeline, and is the writer.
    AsPromoted,
}

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) node: NodeId,
    pub(crate) instance: String,
    pub(crate) address: SocketAddr,
    folder: PathBuf,
    programs: PathBuf,
    account: Account,
    process: Mutex<Process>,
    /// The number of promotions that its data has followed.
    epoch: AtomicU64,
}

#[derive(Debug, Default)]
struct Process {
    child: Option<Child>,
    frozen: Option<FreezeScope>,
    /// The cluster ends: nothing is started any more.
    closed: bool,
}

impl Server {
    pub(crate) fn new(
        node: NodeId,
        instance: String,
        address: SocketAddr,
        root: &Path,
        programs: &Path,
        account: Account,
    ) -> Result<Self, Error> {
        let folder = root.join(format!("node-{}", node.index() + 1));
        account.create_dir(&folder).map_err(Error::io(format!("create {}", folder.display())))?;
        let (programs, process) = (programs.to_owned(), Mutex::default());
        Ok(Self { node, instance, address, folder, programs, account, process, epoch: AtomicU64::new(0) })
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    pub(crate) fn set_epoch(&self, epoch: u64) {
        self.epoch.store(epoch, Ordering::Release);
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The server's log file.
    pub(crate) fn log_file(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    fn lock(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the settings; a running server reads them at [`reload`](Self::reload).
    pub(crate) fn configure(&self, settings: &Settings<'_>) -> Result<(), Error> {
        let data = self.data();
        let write = |name: &str, text: &str| {
            let file = data.join(name);
            self.account.write(&file, text).map_err(Error::io(format!("write {}", file.display())))
        };
        write("postgresql.conf", &settings.postgresql_conf())?;
        if let Some(tls) = &settings.options.tls {
            write("server.crt", &tls.certificate)?;
            write("server.key", &tls.key)?;
        }
        write("pg_hba.conf", &settings.pg_hba_conf())
    }

    pub(crate) fn reload(&self) {
        if let Some(child) = &self.lock().child {
            processes::signal(child.id(), Signal::SIGHUP);
        }
    }

    /// Marks the data folder as a standby's.
    pub(crate) fn mark_standby(&self) -> Result<(), Error> {
        let file = self.data().join("standby.signal");
        self.account.write(&file, "").map_err(Error::io(format!("write {}", file.display())))
    }

    /// Whether the data folder is a standby's.
    pub(crate) fn is_standby(&self) -> bool {
        self.data().join("standby.signal").exists()
    }

    /// Takes all marks from the data folder: what starts from it is a writer.
    pub(crate) fn unmark(&self) -> Result<(), Error> {
        for name in ["standby.signal", "recovery.signal"] {
            let file = self.data().join(name);
            match fs::remove_file(&file) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io(format!("remove {}", file.display()))(e));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Starts the process; does not wait for it.
    pub(crate) fn spawn(&self, start: Start) -> Result<(), Error> {
        let what = || format!("start the server of {}", self.node);
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_file())
            .map_err(Error::io(what()))?;
        self.account.give(&self.log_file()).map_err(Error::io(what()))?;
        let mut command = self.account.command(self.programs.join("postgres"));
        command.arg("-D").arg(self.data()).current_dir(&self.folder);
        if start == Start::AsPromoted {
            // Recovery from its own files, with no archive to ask, ends in a promotion.
            self.unmark()?;
            let mark = self.data().join("recovery.signal");
            self.account.write(&mark, "").map_err(Error::io(what()))?;
            command.args(["-c", "restore_command=false"]);
        }
        let errors = log.try_clone().map_err(Error::io(what()))?;
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
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

    /// Waits until the server takes a superuser's connection, and gives this connection.
    pub(crate) async fn accepting(
        &self,
        password: &str,
        database: &str,
        limit: Duration,
    ) -> Result<Control, Error> {
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let connect = Control::connect(self.node, self.address, password, database, left);
            let error = match tokio::time::timeout(left.min(CONNECT_LIMIT), connect).await {
                Ok(Ok(control)) => return Ok(control),
                Ok(Err(error)) => error,
                Err(_) => {
                    let what = format!("{} answers a connect", self.node);
                    Error::Deadline { what, limit: CONNECT_LIMIT }
                }
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

    pub(crate) fn is_running(&self) -> bool {
        self.ended().is_none()
    }

    pub(crate) fn frozen(&self) -> Option<FreezeScope> {
        self.lock().frozen
    }

    pub(crate) fn freeze(&self, scope: FreezeScope) -> Result<(), Error> {
        let mut process = self.lock();
        let Some(child) = &process.child else {
            let reason = "it is not running".to_owned();
            return Err(Error::WrongState { verb: "freeze", node: self.node, reason });
        };
        processes::freeze(child.id(), scope);
        process.frozen = Some(scope);
        Ok(())
    }

    pub(crate) fn thaw(&self) {
        let mut process = self.lock();
        if let (Some(child), Some(_)) = (&process.child, process.frozen) {
            processes::thaw(child.id());
        }
        process.frozen = None;
    }

    /// Kills all processes of the server, frozen or not, and waits until the first of them has gone.
    pub(crate) fn kill(&self) {
        let mut process = self.lock();
        process.frozen = None;
        if let Some(mut child) = process.child.take() {
            processes::kill_all(child.id());
            let _ = child.wait();
        }
    }

    /// Stops the server as an administrator does: connections are ended, standbys get everything first.
    pub(crate) async fn stop(&self, limit: Duration) -> Result<(), Error> {
        if let Some(child) = &self.lock().child {
            processes::signal(child.id(), Signal::SIGINT);
        }
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
        process.frozen = None;
        Ok(())
    }

    /// Promotes a running standby where it stands, as `pg_ctl promote` does.
    pub(crate) fn promote(&self) -> Result<(), Error> {
        let file = self.data().join("promote");
        self.account.write(&file, "").map_err(Error::io(format!("write {}", file.display())))?;
        if let Some(child) = &self.lock().child {
            processes::signal(child.id(), Signal::SIGUSR1);
        }
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

    /// Enters an error into the server's log, where it explains what comes after it.
    pub(crate) fn note(&self, error: &Error) {
        use std::io::Write;
        if let Ok(mut log) = fs::OpenOptions::new().append(true).open(self.log_file()) {
            // A note; nothing depends on it.
            let _ = writeln!(log, "{NOTE}{error}");
        }
    }

    /// Removes the data of a server that does not run.
    pub(crate) async fn remove_data(&self) -> Result<(), Error> {
        let data = self.data();
        self.release_shared_memory().await;
        let removed = tokio::task::spawn_blocking(move || fs::remove_dir_all(data)).await;
        removed.map_err(|_| Error::Stopped)?.map_err(Error::io(format!("remove the data of {}", self.node)))
    }

    /// A killed server leaves a shared memory segment, named in its lock file. Its next start takes it over;
    /// without a next start from this data it would stay for ever.
    async fn release_shared_memory(&self) {
        let lock_file = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        let segment = lock_file.lines().nth(6).and_then(|line| line.split_ascii_whitespace().nth(1));
        if let Some(segment) = segment {
            let mut command = tokio::process::Command::from(self.account.command("ipcrm"));
            // It may have gone already.
            let _ = command.args(["-m", segment]).stderr(Stdio::null()).status().await;
        }
    }

    /// Allows no further start. The watchdog kills what runs.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
    }

    /// Takes the ended process off the system's table.
    pub(crate) fn reap(&self) {
        if let Some(mut child) = self.lock().child.take() {
            // Normally it has ended already.
            processes::kill_all(child.id());
            let _ = child.wait();
        }
    }

    /// Runs one of PostgreSQL's programs in the server's folder.
    pub(crate) async fn program(&self, name: &str, arguments: &[&str], limit: Duration) -> Result<(), Error> {
        let mut command = self.account.command(self.programs.join(name));
        command.args(arguments).current_dir(&self.folder).stdin(Stdio::null());
        command.env_remove("PGPASSWORD").env("LC_ALL", "C");
        let mut command = tokio::process::Command::from(command);
        let run = command.kill_on_drop(true).output();
        let output = match tokio::time::timeout(limit, run).await {
            Ok(output) => output.map_err(Error::io(format!("run {name}")))?,
            Err(_) => return Err(Error::Deadline { what: format!("{name} of {} ends", self.node), limit }),
        };
        if output.status.success() {
            return Ok(());
        }
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let tail: Vec<&str> = text.lines().rev().take(12).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        Err(Error::Program {
            program: name.to_owned(),
            status: output.status.to_string(),
            output: tail.join("\n"),
        })
    }
}
