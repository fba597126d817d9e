//! Where the server programs are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Error;

/// The programs that a cluster is made of.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    /// The server, `mariadbd`.
    pub(crate) server: PathBuf,
    /// The script that makes a data folder, `mariadb-install-db`.
    pub(crate) installer: PathBuf,
}

impl Programs {
    /// Looks in `MYSQLD` (the path of the server), then in `PATH`, then in `/usr/sbin`.
    pub(crate) fn find() -> Result<Self, Error> {
        if let Some(server) = std::env::var_os("MYSQLD") {
            // A wish that cannot be met is an error, not a reason to run another version.
            let searched = format!("MYSQLD={}", server.display());
            return Self::at(Path::new(&server)).map_err(|why| not_found(&format!("{searched} ({why})")));
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
        let mut reasons = vec!["MYSQLD (unset)".to_owned(), "PATH".to_owned(), "/usr/sbin".to_owned()];
        for folder in folders {
            let server = folder.join("mariadbd");
            if server.is_file() {
                match Self::at(&server) {
                    Ok(programs) => return Ok(programs),
                    Err(why) => reasons.push(format!("{} ({why})", server.display())),
                }
            }
        }
        Err(not_found(&reasons.join(", ")))
    }

    fn at(server: &Path) -> Result<Self, String> {
        let server = fs::canonicalize(server).map_err(|error| error.to_string())?;
        let output = Command::new(&server).arg("--version").output().map_err(|error| error.to_string())?;
        let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if !version.contains("MariaDB") {
            return Err(format!("it is no MariaDB server: {version:?}"));
        }
        let folder = server.parent().unwrap_or(Path::new("/"));
        // As in Debian, in an unpacked archive, and in an installation prefix.
        let folders = [folder.to_owned(), folder.join("../bin"), folder.join("../scripts")];
        let installer =
            folders.iter().map(|folder| folder.join("mariadb-install-db")).find(|file| file.is_file());
        let installer = installer.ok_or("no mariadb-install-db beside it")?;
        Ok(Self { server, installer })
    }
}

fn not_found(searched: &str) -> Error {
    Error::NoMySql { searched: searched.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_program_is_not_taken_for_a_server() {
        assert!(Programs::at(Path::new("/nonexistent")).is_err());
        let why = Programs::at(Path::new("/bin/ls")).unwrap_err();
        assert!(why.contains("no MariaDB server"), "{why}");
        let found = Programs::find().unwrap();
        assert!(found.installer.is_file());
    }
}
