//! Where the server programs are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Error;
use super::kind::MySqlKind;

/// The oldest MySQL whose replication has only the words that this cluster uses.
const OLDEST_MYSQL: [u32; 2] = [8, 4];

/// The programs that a cluster is made of.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) kind: MySqlKind,
    /// As the server gives it, without what the packager added: `10.11.14`.
    pub(crate) version: String,
    /// The server, `mariadbd` or `mysqld`.
    pub(crate) server: PathBuf,
    /// The script that makes a data folder, `mariadb-install-db`; MySQL's server makes its own.
    pub(crate) installer: Option<PathBuf>,
}

impl Programs {
    /// Looks in `MYSQLD` (the path of the server); then for `mariadbd`, and after it for `mysqld`, in `PATH` and in
    /// `/usr/sbin`.
    pub(crate) fn find() -> Result<Self, Error> {
        if let Some(server) = std::env::var_os("MYSQLD") {
            // A wish that cannot be met is an error, not a reason to run another version.
            let searched = format!("MYSQLD={}", server.display());
            return Self::at(Path::new(&server)).map_err(|why| not_found(&format!("{searched} ({why})")));
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders: Vec<PathBuf> = std::env::split_paths(&path).chain(["/usr/sbin".into()]).collect();
        let mut reasons = vec!["MYSQLD (unset)".to_owned(), "PATH".to_owned(), "/usr/sbin".to_owned()];
        for name in ["mariadbd", "mysqld"] {
            for server in folders.iter().map(|folder| folder.join(name)).filter(|file| file.is_file()) {
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
        let told = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let (kind, version) =
            parse_version(&told).ok_or_else(|| format!("it is no MariaDB or MySQL server: {told:?}"))?;
        let installer = match kind {
            MySqlKind::MySql if numbers(&version) < OLDEST_MYSQL.to_vec() => {
                return Err(format!("it is MySQL {version}; expected 8.4 or newer"));
            }
            MySqlKind::MySql => None,
            MySqlKind::MariaDb => {
                let folder = server.parent().unwrap_or(Path::new("/"));
                // As in Debian, in an unpacked archive, and in an installation prefix.
                let folders = [folder.to_owned(), folder.join("../bin"), folder.join("../scripts")];
                let mut files = folders.iter().map(|folder| folder.join("mariadb-install-db"));
                Some(files.find(|file| file.is_file()).ok_or("no mariadb-install-db beside it")?)
            }
        };
        Ok(Self { kind, version, server, installer })
    }
}

/// Reads what a server says to `--version`, such as `mysqld  Ver 8.4.3 for Linux on x86_64 (MySQL Community Server)`.
fn parse_version(told: &str) -> Option<(MySqlKind, String)> {
    let (_, after) = told.split_once(" Ver ")?;
    let word = after.split_whitespace().next()?;
    let end = word.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(word.len());
    let version = &word[..end];
    let kind = if word.contains("MariaDB") { MySqlKind::MariaDb } else { MySqlKind::MySql };
    version.contains('.').then(|| (kind, version.to_owned()))
}

fn numbers(version: &str) -> Vec<u32> {
    version.split('.').map_while(|part| part.parse().ok()).collect()
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
        assert!(why.contains("no MariaDB or MySQL server"), "{why}");
        let found = Programs::find().unwrap();
        assert_eq!(found.installer.is_some(), found.kind == MySqlKind::MariaDb);
    }

    #[test]
    fn servers_tell_their_kind_and_version() {
        for (told, expected) in [
            (
                "mariadbd  Ver 10.11.14-MariaDB-0+deb12u2 for debian-linux-gnu on x86_64 (Debian 12)",
                Some((MySqlKind::MariaDb, "10.11.14")),
            ),
            (
                "/opt/bin/mysqld  Ver 8.4.3 for Linux on x86_64 (MySQL Community Server - GPL)",
                Some((MySqlKind::MySql, "8.4.3")),
            ),
            (
                "/opt/bin/mysqld  Ver 8.4.3-3 for Linux on x86_64 (Percona Server (GPL), Release 3)",
                Some((MySqlKind::MySql, "8.4.3")),
            ),
            ("ls (GNU coreutils) 9.1", None),
            ("a tool Ver unknown", None),
        ] {
            let found = parse_version(told);
            let found = found.as_ref().map(|(kind, version)| (*kind, version.as_str()));
            assert_eq!(found, expected, "{told}");
        }
        assert!(numbers("8.0.39") < OLDEST_MYSQL.to_vec());
        assert!(numbers("8.4.0") > OLDEST_MYSQL.to_vec() && numbers("10.1") > OLDEST_MYSQL.to_vec());
    }
}
