//! Where a cluster lives on this machine: programs, account, addresses, folder.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::statvfs::statvfs;
use nix::unistd::{Uid, User};

use super::error::Error;

const PROGRAMS: [&str; 4] = ["initdb", "postgres", "pg_rewind", "pg_basebackup"];

/// The folder with the server programs.
///
/// Looked for in `PGBIN`, then `pg_config --bindir`, then the folders of `PATH`, then the newest
/// `/usr/lib/postgresql/*/bin`.
pub(crate) fn programs() -> Result<PathBuf, Error> {
    if let Some(folder) = std::env::var_os("PGBIN") {
        // A wish that cannot be met is an error, not a reason to run another version.
        let searched = format!("PGBIN={}", folder.display());
        return complete(Path::new(&folder)).ok_or(Error::NoBinaries { searched });
    }
    let mut searched = vec!["PGBIN (unset)".to_owned()];
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if let Some(found) = complete(Path::new(&folder)) {
            return Ok(found);
        }
        searched.push(format!("`pg_config --bindir` ({folder})"));
    } else {
        searched.push("`pg_config --bindir` (no such program)".to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    if let Some(found) = std::env::split_paths(&path).find_map(|folder| complete(&folder)) {
        return Ok(found);
    }
    searched.push("PATH".to_owned());
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort();
    if let Some(found) = versions.iter().rev().find_map(|(_, folder)| complete(folder)) {
        return Ok(found);
    }
    searched.push("/usr/lib/postgresql/*/bin".to_owned());
    Err(Error::NoBinaries { searched: searched.join(", ") })
}

/// The real folder behind `folder`, if all programs are in it. A folder of links leads to where they point:
/// PostgreSQL finds its other programs and its library files from there.
fn complete(folder: &Path) -> Option<PathBuf> {
    let real = fs::canonicalize(folder.join("postgres")).ok()?;
    let real = real.parent()?;
    PROGRAMS.iter().all(|program| real.join(program).is_file()).then(|| real.to_owned())
}

/// As whom the servers run: as ourselves or, since they refuse root, as an unprivileged user.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account(Option<(u32, u32)>);

impl Account {
    pub(crate) fn choose() -> Result<Self, Error> {
        if !Uid::effective().is_root() {
            return Ok(Self(None));
        }
        let user = ["postgres", "nobody"].iter().find_map(|name| User::from_name(name).ok().flatten());
        let user = user.ok_or(Error::NoAccount)?;
        Ok(Self(Some((user.uid.as_raw(), user.gid.as_raw()))))
    }

    /// A command that will run as this account.
    pub(crate) fn command(self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        if let Some((uid, gid)) = self.0 {
            command.uid(uid).gid(gid);
        }
        // A group of its own: Ctrl-C and a test runner's kill reach us alone; the watchdog does the rest.
        command.process_group(0);
        command
    }

    pub(crate) fn give(self, path: &Path) -> io::Result<()> {
        match self.0 {
            Some((uid, gid)) => chown(path, Some(uid), Some(gid)),
            None => Ok(()),
        }
    }

    pub(crate) fn create_dir(self, path: &Path) -> io::Result<()> {
        fs::DirBuilder::new().mode(0o700).create(path)?;
        self.give(path)
    }

    /// Writes a file so that a reader sees the old or the new text, never a part.
    pub(crate) fn write(self, path: &Path, text: &str) -> io::Result<()> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{:08x}", fastrand::u32(..)));
        let fresh = path.with_file_name(name);
        // Some of it is secret, and PostgreSQL takes no key that others may read.
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        drop(file);
        self.give(&fresh)?;
        fs::rename(&fresh, path)
    }

    /// Copies a folder with everything in it.
    pub(crate) fn copy_dir(self, from: &Path, to: &Path) -> io::Result<()> {
        self.create_dir(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            let target = to.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                self.copy_dir(&entry.path(), &target)?;
            } else {
                fs::copy(entry.path(), &target)?;
                self.give(&target)?;
            }
        }
        Ok(())
    }
}

/// A free 127.x.y.0/24 and a port free on its addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Network {
    x: u8,
    y: u8,
    port: u16,
}

impl Network {
    /// Takes one at random, so that clusters of several processes do not meet, and tries it out.
    pub(crate) fn free() -> Result<Self, Error> {
        const ATTEMPTS: u32 = 50;
        let mut last = io::Error::other("none tried");
        for _ in 0..ATTEMPTS {
            // Below the range from which the kernel takes ports for outgoing connections.
            let network = Network {
                x: fastrand::u8(1..=254),
                y: fastrand::u8(..),
                port: fastrand::u16(10_000..30_000),
            };
            let tried = (0..3).flat_map(|i| [network.client(i), network.server(i)]).map(TcpListener::bind);
            // All at once, dropped together: the servers bind them next.
            match tried.collect::<Result<Vec<_>, _>>() {
                Ok(_) => return Ok(network),
                Err(e) => last = e,
            }
        }
        Err(Error::NoAddress { attempts: ATTEMPTS, last })
    }

    /// Where clients reach node `index`.
    pub(crate) fn client(self, index: u8) -> SocketAddr {
        (Ipv4Addr::new(127, self.x, self.y, 1 + index), self.port).into()
    }

    /// Where the server of node `index` listens when a proxy stands before it.
    pub(crate) fn server(self, index: u8) -> SocketAddr {
        (Ipv4Addr::new(127, self.x, self.y, 11 + index), self.port).into()
    }

    pub(crate) fn port(self) -> u16 {
        self.port
    }
}

/// Where clusters are made by default: in memory, if there is room for some, else where temporary files go.
/// A cluster is some 100 MiB and grows by what is written to it.
pub(crate) fn parent() -> PathBuf {
    const ROOM: u64 = 1 << 30;
    let memory = Path::new("/dev/shm");
    match statvfs(memory) {
        Ok(free) if free.blocks_available() * free.fragment_size() >= ROOM => memory.to_owned(),
        _ => std::env::temp_dir(),
    }
}

/// A new private folder for one cluster.
pub(crate) fn folder(account: Account, parent: &Path) -> Result<PathBuf, Error> {
    let name: String = std::iter::repeat_with(fastrand::alphanumeric).take(10).collect();
    let root = parent.join(format!("local-cluster-{name}"));
    account.create_dir(&root).map_err(Error::io(format!("create the folder {}", root.display())))?;
    Ok(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_the_same_port_on_different_addresses() {
        let network = Network::free().unwrap();
        let all: std::collections::BTreeSet<_> =
            (0..3).flat_map(|i| [network.client(i), network.server(i)]).collect();
        assert_eq!(all.len(), 6);
        assert!(all.iter().all(|a| a.port() == network.port() && a.ip().is_loopback()));
    }

    #[test]
    fn a_folder_without_all_programs_is_not_taken() {
        assert_eq!(complete(Path::new("/nonexistent")), None);
        let found = programs().unwrap();
        assert!(found.join("pg_rewind").is_file());
    }
}
