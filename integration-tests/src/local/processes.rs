//! The processes of one server: found by their parent, stopped, continued, killed.
//!
//! PostgreSQL's children leave the postmaster's process group, so they are found in `/proc`.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::verbs::FreezeScope;

/// Sends a signal; a process that has gone meanwhile is no error.
pub(crate) fn signal(pid: u32, signal: Signal) {
    if let Ok(pid) = i32::try_from(pid) {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// State letter and parent of a process.
fn stat(pid: u32) -> Option<(char, u32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; the fields after it do not.
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// The postmaster's children.
fn children(postmaster: u32) -> Vec<u32> {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| stat(*pid).is_some_and(|(_, parent)| parent == postmaster)).collect()
}

/// Stops a server. The postmaster first, so that no child appears after they were listed.
pub(crate) fn freeze(postmaster: u32, scope: FreezeScope) {
    signal(postmaster, Signal::SIGSTOP);
    let end = Instant::now() + Duration::from_secs(1);
    while stat(postmaster).is_some_and(|(state, _)| !matches!(state, 'T' | 't' | 'Z')) && Instant::now() < end
    {
        std::thread::sleep(Duration::from_micros(200));
    }
    if scope == FreezeScope::AllProcesses {
        children(postmaster).into_iter().for_each(|pid| signal(pid, Signal::SIGSTOP));
    }
}

/// Lets a stopped server go on, children first: the postmaster must not take their silence for anything.
pub(crate) fn thaw(postmaster: u32) {
    children(postmaster).into_iter().for_each(|pid| signal(pid, Signal::SIGCONT));
    signal(postmaster, Signal::SIGCONT);
}

/// Kills a server, as a loss of power would, except that its sockets are closed by the kernel.
///
/// Returns when they have gone: what still lives holds the shared memory that a new server of the same data needs.
pub(crate) fn kill_all(postmaster: u32) {
    freeze(postmaster, FreezeScope::PostmasterOnly);
    let children = children(postmaster);
    children.iter().for_each(|pid| signal(*pid, Signal::SIGKILL));
    signal(postmaster, Signal::SIGKILL);
    let end = Instant::now() + GONE_LIMIT;
    while Instant::now() < end && children.iter().any(|pid| stat(*pid).is_some_and(|(state, _)| state != 'Z'))
    {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// How long killed processes may take to go; only the kernel's work is left then.
const GONE_LIMIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_found_by_their_parent() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert!(children(std::process::id()).contains(&child.id()));
        freeze(child.id(), FreezeScope::AllProcesses);
        assert_eq!(stat(child.id()).map(|(state, _)| state), Some('T'));
        kill_all(child.id());
        assert!(!child.wait().unwrap().success());
    }
}
