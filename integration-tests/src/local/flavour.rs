//! What makes a cluster answer as Aurora or as an RDS Multi-AZ DB cluster: the SQL that is run in it once.

use super::conf::SUPERUSER;
use super::options::Options;
use crate::verbs::Flavour;

/// The metadata functions for one database; none for plain PostgreSQL.
pub(crate) fn functions(options: &Options, topology_folder: &str) -> Option<String> {
    let own = match options.flavour {
        Flavour::Plain => return None,
        Flavour::Aurora => include_str!("sql/aurora.sql"),
        Flavour::MultiAz => include_str!("sql/multi_az.sql"),
    };
    let text = [include_str!("sql/common.sql"), own].concat();
    let folder = topology_folder.replace('\'', "''");
    Some(text.replace("{folder}", &folder).replace("{user}", &identifier(&options.user)))
}

/// The application's user and database, and the table on which the harness tries writes.
pub(crate) fn roles_and_databases(options: &Options, superuser_password: &str) -> [String; 5] {
    let (user, database) = (identifier(&options.user), identifier(&options.database));
    [
        "SET synchronous_commit = local".to_owned(),
        format!("CREATE ROLE {SUPERUSER} LOGIN SUPERUSER PASSWORD {}", literal(superuser_password)),
        format!("CREATE ROLE {user} LOGIN PASSWORD {}", literal(&options.password)),
        format!("CREATE DATABASE {database} OWNER {user}"),
        "CREATE TABLE public.accepting (at timestamptz NOT NULL DEFAULT now())".to_owned(),
    ]
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
