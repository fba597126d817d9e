//! The text of statements: what only Aurora and RDS have is replaced by SQL that a community server answers.
//!
//! Replaced are names, not whole statements: conditions, joins, rights and errors stay the server's own.

use super::tokens::{Kind, Token, tokens};
use crate::mysql::MySqlKind;
use crate::mysql::conf::IMITATED_VERSION;
use crate::mysql::topology::{Topology, View};
use crate::verbs::{Flavour, NodeId};

/// The version of Aurora that the cluster claims.
const AURORA_VERSION: &str = "3.08.0";

/// What `version_comment` says on RDS and Aurora.
const COMMENT: &str = "Source distribution";

/// What a front answers with.
#[derive(Clone, Debug)]
pub(crate) struct Metadata {
    pub(crate) node: NodeId,
    pub(crate) kind: MySqlKind,
    pub(crate) flavour: Flavour,
    pub(crate) topology: Topology,
}

/// What becomes of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It goes on as it is.
    Unchanged,
    /// It goes on as it is, and the columns of its answer get MySQL's names.
    Renamed,
    /// This goes on in its place.
    Changed(String),
}

impl Metadata {
    pub(super) fn rewrite(&self, sql: &str) -> Outcome {
        let lower = sql.to_ascii_lowercase();
        // Most statements have none of it; they are not taken apart.
        if !["show", "@@", "replica_host_status", "version"].iter().any(|mark| lower.contains(mark)) {
            return Outcome::Unchanged;
        }
        let mut tokens = tokens(sql);
        while tokens.last().is_some_and(|token| token.is(";")) {
            tokens.pop();
        }
        if tokens.first().is_some_and(|token| token.is("show")) {
            return self.show(sql, &tokens);
        }
        self.replace(sql, &tokens).map_or(Outcome::Unchanged, Outcome::Changed)
    }

    /// `SHOW [GLOBAL | SESSION] VARIABLES [LIKE … | WHERE …]` and `SHOW REPLICA STATUS`.
    fn show(&self, sql: &str, tokens: &[Token]) -> Outcome {
        let word = |at: usize| tokens.get(at).map(|token| token.lower.as_str()).unwrap_or_default();
        if matches!(word(1), "replica" | "slave") && word(2) == "status" && tokens.len() == 3 {
            let view = self.topology.seen_by(self.node);
            return match self.flavour {
                Flavour::MultiAz if view.stale => Outcome::Changed(self.stale_status(&view)),
                _ if word(1) == "replica" && self.kind == MySqlKind::MariaDb => Outcome::Renamed,
                _ => Outcome::Unchanged,
            };
        }
        let (scope, next) = match word(1) {
            "global" => ("GLOBAL", 2),
            "session" | "local" => ("SESSION", 2),
            _ => ("SESSION", 1),
        };
        if word(next) != "variables" {
            return Outcome::Unchanged;
        }
        let Some(end) = tokens.last().map(|token| token.end) else { return Outcome::Unchanged };
        let condition = match tokens.get(next + 1) {
            None => String::new(),
            Some(token) if token.is("like") => format!(" WHERE Variable_name {}", &sql[token.start..end]),
            Some(token) if token.is("where") => format!(" {}", &sql[token.start..end]),
            Some(_) => return Outcome::Unchanged,
        };
        let variables = self.variables();
        let names: Vec<String> = variables.iter().map(|(name, _)| format!("'{name}'")).collect();
        let own: String =
            variables.iter().map(|(name, value)| format!(" UNION ALL SELECT '{name}', {value}")).collect();
        Outcome::Changed(format!(
            "SELECT Variable_name, Value FROM (SELECT LOWER(VARIABLE_NAME) AS Variable_name, VARIABLE_VALUE AS Value \
             FROM {} WHERE LOWER(VARIABLE_NAME) NOT IN ({}){own}) AS variables_{condition} ORDER BY Variable_name",
            self.kind.variables(scope),
            names.join(", ")
        ))
    }

    /// The variables that the server lacks or has otherwise, with their values as `SHOW VARIABLES` gives them.
    fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables =
            vec![("version", format!("'{IMITATED_VERSION}'")), ("version_comment", format!("'{COMMENT}'"))];
        if self.flavour == Flavour::Aurora {
            variables.push(("aurora_version", format!("'{AURORA_VERSION}'")));
            variables.push(("aurora_server_id", format!("'{}'", self.instance())));
            variables.push(("innodb_read_only", "IF(@@GLOBAL.read_only, 'ON', 'OFF')".to_owned()));
        }
        variables
    }

    /// The expression for a system variable, by its name without `@@` and scope.
    fn variable(&self, name: &str) -> Option<String> {
        if name == "innodb_read_only" && self.flavour == Flavour::Aurora {
            return Some("@@GLOBAL.read_only".to_owned());
        }
        self.variables().into_iter().find_map(|(own, value)| (own == name).then_some(value))
    }

    fn instance(&self) -> String {
        let view = self.topology.seen_by(self.node);
        view.rows.get(self.node.index()).map(|row| row.instance.clone()).unwrap_or_default()
    }

    /// Replaces what is the flavour's own wherever it stands; `None` when there is none.
    fn replace(&self, sql: &str, tokens: &[Token]) -> Option<String> {
        let is = |at: usize, text: &str| tokens.get(at).is_some_and(|token| token.is(text));
        let (mut text, mut done) = (String::new(), 0);
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            let (count, replacement) = if token.kind == Kind::Variable {
                let name = token.lower.trim_start_matches('@');
                let name = name.rsplit('.').next().unwrap_or(name).trim_matches('`');
                (1, self.variable(name).map(|value| value + &alias(sql, tokens, at, at)))
            } else if is(at, "version") && is(at + 1, "(") && is(at + 2, ")") {
                (3, Some(format!("'{IMITATED_VERSION}'{}", alias(sql, tokens, at, at + 2))))
            } else if self.flavour != Flavour::Aurora {
                (1, None)
            } else if is(at, "aurora_version") && is(at + 1, "(") && is(at + 2, ")") {
                (3, Some(format!("'{AURORA_VERSION}'{}", alias(sql, tokens, at, at + 2))))
            } else if is(at, "information_schema") && is(at + 1, ".") && is(at + 2, "replica_host_status") {
                (3, Some(self.replica_host_status() + default_name(tokens, at + 3)))
            } else {
                (1, None)
            };
            if let (Some(replacement), Some(last)) = (replacement, tokens.get(at + count - 1)) {
                text.push_str(&sql[done..token.start]);
                text.push_str(&replacement);
                done = last.end;
            }
            at += count;
        }
        (done > 0).then(|| text + &sql[done..])
    }

    /// The table `information_schema.replica_host_status` as this node knows it.
    fn replica_host_status(&self) -> String {
        let view = self.topology.seen_by(self.node);
        let rows = view.rows.iter().enumerate().map(|(index, row)| {
            let is_writer = index == view.writer.index();
            let session = if is_writer {
                "MASTER_SESSION_ID".to_owned()
            } else {
                format!("{:08x}-0000-4000-8000-00000000000{index}", row.server_id)
            };
            let lag = if is_writer { "0.0" } else { "12.5" };
            let seen = row.lost_at.map_or("NOW(6)".to_owned(), |at| format!("FROM_UNIXTIME({at:.6})"));
            format!(
                "SELECT '{}' AS SERVER_ID, '{session}' AS SESSION_ID, {lag} AS REPLICA_LAG_IN_MILLISECONDS, \
                 {seen} AS LAST_UPDATE_TIMESTAMP, {}.25 AS CPU, {} AS IS_CURRENT",
                row.instance,
                index + 3,
                u8::from(row.lost_at.is_none()),
            )
        });
        format!("({})", rows.collect::<Vec<_>>().join(" UNION ALL "))
    }

    /// `SHOW REPLICA STATUS` of a node that was told to know nothing new.
    fn stale_status(&self, view: &View) -> String {
        let writer = view.rows.get(view.writer.index()).map_or(0, |row| row.server_id);
        let none = if view.writer == self.node { " FROM DUAL WHERE FALSE" } else { "" };
        format!(
            "SELECT 'Waiting for source to send event' AS Replica_IO_State, 'Yes' AS Replica_IO_Running, \
             'Yes' AS Replica_SQL_Running, {writer} AS Source_Server_Id{none}"
        )
    }
}

/// Keeps the name of a column that is nothing but these tokens.
fn alias(sql: &str, tokens: &[Token], first: usize, last: usize) -> String {
    let begins = first.checked_sub(1).and_then(|before| tokens.get(before));
    let begins = begins.is_some_and(|token| token.is("select") || token.is(","));
    let ends =
        tokens.get(last + 1).is_none_or(|token| [",", "from", "limit", ";"].iter().any(|end| token.is(end)));
    match (tokens.get(first), tokens.get(last)) {
        (Some(first), Some(last)) if begins && ends => {
            format!(" AS `{}`", sql[first.start..last.end].replace('`', ""))
        }
        _ => String::new(),
    }
}

/// The name of a table that has been replaced by a query, unless the statement gives it one.
fn default_name(tokens: &[Token], after: usize) -> &'static str {
    const GO_ON: [&str; 16] = [
        "where",
        "order",
        "group",
        "having",
        "limit",
        "join",
        "inner",
        "left",
        "right",
        "cross",
        "natural",
        "on",
        "using",
        "union",
        "for",
        "straight_join",
    ];
    match tokens.get(after) {
        Some(token) if token.kind == Kind::Word && !GO_ON.contains(&token.lower.as_str()) => "",
        _ => " AS replica_host_status",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mysql::topology::Row;

    fn metadata(flavour: Flavour) -> Metadata {
        metadata_of(MySqlKind::MariaDb, flavour)
    }

    fn metadata_of(kind: MySqlKind, flavour: Flavour) -> Metadata {
        let rows =
            [1_u32, 2, 3].map(|id| Row { instance: format!("shop-{id}"), server_id: id, lost_at: None });
        let [first, second, _] = NodeId::ALL;
        Metadata { node: second, kind, flavour, topology: Topology::new(rows.to_vec(), first) }
    }

    fn changed(flavour: Flavour, sql: &str) -> String {
        match metadata(flavour).rewrite(sql) {
            Outcome::Changed(text) => text,
            outcome => format!("{outcome:?}"),
        }
    }

    #[test]
    fn a_users_statement_is_left_alone() {
        for sql in [
            "SELECT * FROM t WHERE a = '@@aurora_server_id'",
            "INSERT INTO t VALUES ('information_schema.replica_host_status') -- @@innodb_read_only",
            "SELECT @@read_only, @a, @`@@aurora_server_id`",
            "SHOW TABLES LIKE 'variables'",
            "SET @@session.sql_mode = ''",
        ] {
            assert_eq!(metadata(Flavour::Aurora).rewrite(sql), Outcome::Unchanged, "{sql}");
        }
        let sql = "SELECT @@aurora_server_id";
        assert_eq!(metadata(Flavour::MultiAz).rewrite(sql), Outcome::Unchanged, "an unknown variable there");
    }

    #[test]
    fn variables_keep_their_columns_names() {
        assert_eq!(
            changed(Flavour::Aurora, "SELECT @@aurora_server_id"),
            "SELECT 'shop-2' AS `@@aurora_server_id`"
        );
        assert_eq!(
            changed(Flavour::Aurora, "select @@GLOBAL.innodb_read_only as r, 1"),
            "select @@GLOBAL.read_only as r, 1"
        );
        assert_eq!(changed(Flavour::MultiAz, "SELECT VERSION()"), "SELECT '8.0.39' AS `VERSION()`");
        assert_eq!(
            changed(Flavour::MultiAz, "SELECT 1 WHERE @@version_comment = 'x'"),
            "SELECT 1 WHERE 'Source distribution' = 'x'"
        );
    }

    #[test]
    fn the_status_table_becomes_a_query_with_a_name() {
        let bare =
            changed(Flavour::Aurora, "SELECT server_id FROM INFORMATION_SCHEMA.replica_host_status WHERE 1");
        assert!(bare.contains(") AS replica_host_status WHERE 1"), "{bare}");
        let named =
            changed(Flavour::Aurora, "SELECT s.cpu FROM `information_schema`.`REPLICA_HOST_STATUS` s;");
        assert!(named.ends_with(") s;"), "{named}");
        assert!(named.contains("'shop-1' AS SERVER_ID, 'MASTER_SESSION_ID'"), "{named}");
    }

    #[test]
    fn show_keeps_its_condition() {
        let like = changed(Flavour::Aurora, "SHOW VARIABLES LIKE 'aurora_version';");
        assert!(like.contains("SESSION_VARIABLES"), "{like}");
        assert!(like.contains("WHERE Variable_name LIKE 'aurora_version' ORDER"), "{like}");
        let filter = changed(Flavour::MultiAz, "show global variables where variable_name in ('a', 'b')");
        assert!(filter.contains("GLOBAL_VARIABLES") && filter.contains("where variable_name in ('a', 'b')"));
        assert!(!filter.contains("aurora_version"), "{filter}");
        let mysql = metadata_of(MySqlKind::MySql, Flavour::Aurora).rewrite("SHOW SESSION VARIABLES");
        assert!(
            matches!(&mysql, Outcome::Changed(sql) if sql.contains("FROM performance_schema.session_variables")),
            "{mysql:?}"
        );
    }

    #[test]
    fn a_stale_replica_names_the_old_source() {
        let metadata = metadata(Flavour::MultiAz);
        assert_eq!(metadata.rewrite("SHOW REPLICA STATUS"), Outcome::Renamed);
        assert_eq!(metadata.rewrite("SHOW SLAVE STATUS"), Outcome::Unchanged);
        let mysql = metadata_of(MySqlKind::MySql, Flavour::MultiAz);
        assert_eq!(mysql.rewrite("SHOW REPLICA STATUS"), Outcome::Unchanged, "its names are MySQL's");
        metadata.topology.delay(&NodeId::ALL, None);
        metadata.topology.publish(|_, writer| *writer = NodeId::ALL[1]);
        let Outcome::Changed(sql) = metadata.rewrite("SHOW REPLICA STATUS") else { panic!("unchanged") };
        assert!(sql.ends_with("1 AS Source_Server_Id"), "{sql}");
    }
}
