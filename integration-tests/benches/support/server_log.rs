//! Connections as the new writer's own log has them (`log_connections`).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use super::Outcome;

/// A place in a server's log: what comes later is read.
pub(crate) struct Mark {
    file: PathBuf,
    from: u64,
}

/// Connections that a server let in.
pub(crate) struct Opened {
    /// The application's user, the library's own connections included.
    pub(crate) all: usize,
    /// Those of the library's monitor.
    pub(crate) monitors: usize,
    /// Most that were let in within one of the log's tenths of a second.
    pub(crate) busiest_tenth: usize,
}

impl Mark {
    /// The present end of the log.
    pub(crate) fn at_end(file: PathBuf) -> Outcome<Self> {
        let from = std::fs::metadata(&file)?.len();
        Ok(Self { file, from })
    }

    /// The connections of `user` since the mark.
    pub(crate) fn opened_by(&self, user: &str) -> Outcome<Opened> {
        let mut file = File::open(&self.file)?;
        file.seek(SeekFrom::Start(self.from))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let wanted = format!("connection authorized: user={user} ");
        let mut tenths: BTreeMap<&str, usize> = BTreeMap::new();
        let (mut all, mut monitors) = (0, 0);
        for line in text.lines().filter(|line| line.contains(&wanted)) {
            all += 1;
            monitors += usize::from(line.contains(wrapper_pg::MONITOR_APPLICATION_NAME));
            // `2026-01-31 12:00:00.123 UTC …`, cut after the tenths of a second.
            *tenths.entry(line.get(..21).unwrap_or(line)).or_default() += 1;
        }
        Ok(Opened { all, monitors, busiest_tenth: tenths.into_values().max().unwrap_or(0) })
    }
}
