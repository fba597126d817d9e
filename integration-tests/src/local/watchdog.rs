//! The process that cleans up after a cluster, whatever becomes of ours.
//!
//! A shell waits for the end of a pipe that only our process holds. Dropping the [`Watchdog`] closes it, and so
//! does any death of our process, SIGKILL included. It runs as the servers' account and in a process group of
//! its own.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::error::Error;
use super::place::Account;

const SCRIPT: &str = include_str!("watchdog.sh");

/// How long a clean-up may take before we no longer wait for it (it goes on by itself).
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Watchdog(Child);

impl Watchdog {
    pub(crate) fn start(account: Account, root: &Path, keep_files: bool) -> Result<Self, Error> {
        let mut command = account.command("sh");
        command.args(["-c", SCRIPT, "local-cluster-watchdog"]).arg(root);
        command.arg(if keep_files { "keep" } else { "remove" }).current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().map(Self).map_err(Error::io("start the shell that cleans up"))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let end = Instant::now() + PATIENCE;
        while let Ok(None) = self.0.try_wait() {
            if Instant::now() >= end {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
