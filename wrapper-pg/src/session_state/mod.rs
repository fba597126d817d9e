//! Session state: which settings a new connection must be given so that it is like the old one.
//!
//! What lives here: [`SessionState`]. What may not: running SQL.
//!
//! Two sources. Settings that the server reports by itself (time zone, date style, application name, from
//! PostgreSQL 14 on `default_transaction_read_only`, from 18 on `search_path`) are taken from its reports, whatever
//! changed them. The others are read off the text of statements that succeeded: `SET`, `RESET`, `LISTEN`, `UNLISTEN`,
//! `DISCARD ALL`, and a `SELECT` of nothing but `set_config()` calls with literals. When the caller of such a statement
//! drops the call, the server is asked right behind it what the settings are. Not covered, and so written into the
//! documentation of [`Connector`](crate::Connector): other calls of `set_config()` and functions that set what is not
//! reported; temporary tables, advisory locks, cursors.

mod change;
mod doubt;
mod tokens;

use change::{AUTHORIZATION, Change, LISTEN, ROLE, changes, may_change};
use doubt::{Doubt, Told};
use futures_util::Stream;
use tokio_postgres::SimpleQueryMessage;
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
    /// Statements whose callers have not waited for the end, in their order.
    doubts: Vec<Doubt>,
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

    /// Takes in statements that were sent and whose caller dropped the call; gives the question that is to be sent behind
    /// them, if they may have changed anything. What becomes of it is told by [`asked`](Self::asked).
    pub(crate) fn doubt(&mut self, sql: &str, probe: &Probe) -> Option<String> {
        self.resolve(probe);
        let doubt = Doubt::new(changes(sql), probe.ends());
        let question = doubt.question(self.settled.iter().map(|(key, _)| &**key))?;
        self.doubts.push(doubt);
        Some(question)
    }

    /// The question of the last [`doubt`](Self::doubt) was sent.
    pub(crate) fn asked<E: Send + 'static>(
        &mut self,
        rows: impl Stream<Item = Result<SimpleQueryMessage, E>> + Send + 'static,
    ) {
        if let Some(doubt) = self.doubts.last_mut() {
            doubt.asked(rows);
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

    /// Takes in what is known by now of dropped calls and of transactions that have ended.
    fn resolve(&mut self, probe: &Probe) {
        while let Some(told) = self.doubts.first_mut().and_then(Doubt::answer) {
            let doubt = self.doubts.remove(0);
            self.resolve_pending(probe);
            if let Some(told) = told {
                self.take_in(doubt, told, probe);
            }
        }
        self.resolve_pending(probe);
    }

    /// What a dropped call has really done.
    fn take_in(&mut self, doubt: Doubt, told: Told, probe: &Probe) {
        let Doubt { changes: given_up, ends, .. } = doubt;
        if told.inside && given_up.iter().any(|change| matches!(change, Change::Commit | Change::Rollback)) {
            // Whose transaction it was in then cannot be told.
            return;
        }
        let mut found: Vec<Change> = Vec::new();
        for (key, value) in told.settings {
            found.push(match value {
                Some(value) => {
                    let sql =
                        format!("SELECT pg_catalog.set_config({}, {}, false)", quoted(&key), quoted(&value));
                    Change::Set { key, sql }
                }
                None => Change::Reset(key),
            });
        }
        if told.inside {
            // What is listened to changes at the commit. The question was answered, so the statement had not failed.
            let channels = |change: &Change| match change {
                Change::Set { key, .. } | Change::Reset(key) => key.starts_with(LISTEN),
                Change::UnlistenAll => true,
                _ => false,
            };
            found.extend(given_up.into_iter().filter(channels));
        } else {
            let heard = |key: &str| {
                key.strip_prefix(LISTEN).is_some_and(|name| told.channels.iter().any(|heard| heard == name))
            };
            for change in given_up {
                match change {
                    Change::Set { key, sql } if key.starts_with(LISTEN) && heard(&key) => {
                        found.push(Change::Set { key, sql });
                    }
                    Change::Reset(key) if key.starts_with(LISTEN) && !heard(&key) => {
                        found.push(Change::Reset(key));
                    }
                    Change::UnlistenAll | Change::DiscardAll => {
                        self.settled.retain(|(key, _)| !key.starts_with(LISTEN) || heard(key));
                    }
                    _ => {}
                }
            }
        }
        if told.inside && probe.ends() == ends {
            self.pending.extend(found);
            self.since = ends;
        } else if !told.inside || probe.committed_after(ends) != Some(false) {
            found.into_iter().for_each(|change| self.apply(change));
        }
    }

    /// Keeps or drops the changes of a transaction that has ended since.
    fn resolve_pending(&mut self, probe: &Probe) {
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
