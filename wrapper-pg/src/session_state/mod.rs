//! Session state: which settings a new connection must be given so that it is like the old one.
//!
//! What lives here: [`SessionState`]. What may not: running SQL.
//!
//! Two sources. Settings that the server reports by itself (time zone, date style, application name, from
//! PostgreSQL 14 on `default_transaction_read_only`, from 18 on `search_path`) are taken from its reports, whatever
//! changed them. The others are read off the text of statements that succeeded: `SET`, `RESET`, `LISTEN`, `UNLISTEN`,
//! `DISCARD ALL`, and a `SELECT` of nothing but `set_config()` calls with literals. Not covered, and so written into the
//! documentation of [`Connector`](crate::Connector): other calls of `set_config()` and functions that set what is not
//! reported; statements whose caller dropped the call; temporary tables, advisory locks, cursors.

mod change;
mod tokens;

use change::{AUTHORIZATION, Change, LISTEN, ROLE, changes, may_change};
use wrapper_core::driver::TransactionStatus;

use crate::tap::{Parameter, Probe};

/// Reported settings that a session may change and another one can be given.
const REPORTED: [&str; 9] = [
    "TimeZone",
    "DateStyle",
    "IntervalStyle",
    "application_name",
    "default_transaction_read_only",
    "search_path",
    "standard_conforming_strings",
    "scram_iterations",
    AUTHORIZATION,
];

/// What statements have set, in the order of the last time each setting was set.
#[derive(Debug, Default)]
pub(crate) struct SessionState {
    settled: Vec<(String, String)>,
    /// Changes of a transaction that was open when they were made.
    pending: Vec<Change>,
    /// How many transactions had ended when the first of them was made.
    since: u32,
}

impl SessionState {
    /// Whether [`SessionState::observe`] would find anything in `sql`; cheap.
    pub(crate) fn concerns(sql: &str) -> bool {
        may_change(sql)
    }

    /// Takes in statements that have succeeded.
    pub(crate) fn observe(&mut self, sql: &str, probe: &Probe) {
        self.resolve(probe);
        let found = changes(sql);
        // What one COMMIT did is told better by the server; it may have rolled back.
        let several = found.len() > 1;
        for change in found {
            match change {
                Change::Commit if several => self.end(true),
                Change::Rollback if several => self.end(false),
                Change::Commit | Change::Rollback => {}
                Change::RollbackTo(name) => self.roll_back_to(&name),
                change => self.pending.push(change),
            }
        }
        if probe.status() == TransactionStatus::Idle {
            self.end(true);
        } else if !self.pending.is_empty() {
            self.since = probe.ends();
        }
    }

    /// The statements that listen to this session's channels. Apart from the others: a reader refuses them.
    pub(crate) fn listens(&mut self, probe: &Probe) -> Vec<String> {
        self.resolve(probe);
        let listens = self.settled.iter().filter(|(key, _)| key.starts_with(LISTEN));
        listens.map(|(_, sql)| sql.clone()).collect()
    }

    /// Takes in statements that were left out on this connection, for the one after it.
    pub(crate) fn remember(&mut self, sql: &str) {
        for change in changes(sql) {
            self.apply(change);
        }
    }

    /// The statements that make another session like this one, but for [`SessionState::listens`].
    pub(crate) fn statements(&mut self, probe: &Probe) -> Vec<String> {
        self.resolve(probe);
        let parameters = probe.parameters();
        let is_reported =
            |key: &str| parameters.iter().any(|parameter| parameter.name.eq_ignore_ascii_case(key));
        let mut statements: Vec<String> = Vec::new();
        let mut identity: Option<String> = None;
        for parameter in &parameters {
            if parameter.settled == parameter.first || !REPORTED.contains(&parameter.name.as_str()) {
                continue;
            }
            if parameter.name == AUTHORIZATION {
                identity = Some(format!("SET SESSION AUTHORIZATION {}", quoted(&parameter.settled)));
            } else {
                statements.push(set_config(parameter));
            }
        }
        let told = self.settled.iter().filter(|(key, _)| !is_reported(key) && !key.starts_with(LISTEN));
        let (who, what): (Vec<_>, Vec<_>) = told.partition(|(key, _)| key == ROLE || key == AUTHORIZATION);
        statements.extend(what.into_iter().map(|(_, sql)| sql.clone()));
        // Who the session is comes last: the settings may need the rights that it began with.
        statements.extend(identity);
        let mut who = who;
        who.sort_by_key(|(key, _)| key == ROLE);
        statements.extend(who.into_iter().map(|(_, sql)| sql.clone()));
        statements
    }

    /// Keeps or drops the changes of a transaction that has ended since.
    fn resolve(&mut self, probe: &Probe) {
        if self.pending.is_empty() {
            return;
        }
        match probe.committed_after(self.since) {
            Some(committed) => self.end(committed),
            // More transactions have ended than are remembered: one that was given up would have taken its
            // connection with it, or been followed by statements that say so.
            None if probe.ends() != self.since => self.end(true),
            None => {}
        }
    }

    fn end(&mut self, committed: bool) {
        for change in std::mem::take(&mut self.pending) {
            if committed {
                self.apply(change);
            }
        }
    }

    fn roll_back_to(&mut self, name: &str) {
        let named = |change: &Change| matches!(change, Change::Savepoint(known) if known == name);
        if let Some(at) = self.pending.iter().rposition(named) {
            self.pending.truncate(at + 1);
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Set { key, sql } => {
                self.forget(&key);
                self.settled.push((key, sql));
            }
            Change::Reset(key) => self.forget(&key),
            Change::ResetAll => {
                self.settled.retain(|(key, _)| key == ROLE || key == AUTHORIZATION || key.starts_with(LISTEN))
            }
            Change::UnlistenAll => self.settled.retain(|(key, _)| !key.starts_with(LISTEN)),
            Change::DiscardAll => self.settled.clear(),
            Change::Savepoint(_) | Change::RollbackTo(_) | Change::Commit | Change::Rollback => {}
        }
    }

    fn forget(&mut self, key: &str) {
        // A session that becomes another one acts as itself.
        self.settled.retain(|(known, _)| known != key && !(key == AUTHORIZATION && known == ROLE));
    }
}

/// Takes the value as the server reports it, also where it is a list.
fn set_config(parameter: &Parameter) -> String {
    format!("SELECT pg_catalog.set_config('{}', {}, false)", parameter.name, quoted(&parameter.settled))
}

fn quoted(value: &str) -> String {
    let doubled = value.replace('\'', "''");
    if doubled.contains('\\') {
        // Read the same whatever `standard_conforming_strings` says.
        return format!("E'{}'", doubled.replace('\\', "\\\\"));
    }
    format!("'{doubled}'")
}

#[cfg(test)]
mod tests;
