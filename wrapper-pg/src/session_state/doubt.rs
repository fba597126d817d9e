//! What a statement may have set whose caller dropped the call: asked of the server, right behind it.
//!
//! What lives here: the question, and the reading of its answer. What may not: when it is asked, and what becomes of
//! the answer.
//!
//! The server answers requests in their order. So the question is answered when the statement has run or failed, and
//! before any later statement of the session is.

use std::fmt;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, Stream, TryStreamExt};
use tokio_postgres::SimpleQueryMessage;

use super::change::{AUTHORIZATION, Change, LISTEN};
use super::quoted;

/// What the server says; nothing when it refused to, as it does in a transaction that has failed.
type Answer = BoxFuture<'static, Option<Told>>;

/// A statement of which nobody has heard how it ended.
pub(super) struct Doubt {
    /// What it does if it succeeds.
    pub(super) changes: Vec<Change>,
    /// How many transactions had ended when it was given up.
    pub(super) ends: u32,
    answer: Option<Answer>,
}

/// What the server says behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Whether a transaction was open.
    pub(super) inside: bool,
    /// The settings that were asked for, and their values where the session has one of its own.
    pub(super) settings: Vec<(String, Option<String>)>,
    /// The channels that are listened to, if they were asked for.
    pub(super) channels: Vec<String>,
}

impl Doubt {
    pub(super) fn new(changes: Vec<Change>, ends: u32) -> Self {
        Self { changes, ends, answer: None }
    }

    /// The question; `known` are the settings and channels that are set so far. None where nothing can have changed.
    pub(super) fn question<'k>(&'k self, known: impl Iterator<Item = &'k str> + Clone) -> Option<String> {
        let mut keys: Vec<&str> = Vec::new();
        let mut channels = false;
        for change in &self.changes {
            match change {
                Change::Set { key, .. } | Change::Reset(key) => {
                    channels |= key.starts_with(LISTEN);
                    keys.push(key);
                }
                Change::ResetAll => keys.extend(known.clone()),
                Change::DiscardAll => {
                    channels = true;
                    keys.extend(known.clone());
                }
                Change::UnlistenAll => channels = true,
                Change::Savepoint(_) | Change::RollbackTo(_) | Change::Commit | Change::Rollback => {}
            }
        }
        // Who the session is the server reports by itself.
        keys.retain(|key| !key.starts_with(LISTEN) && *key != AUTHORIZATION);
        keys.sort_unstable();
        keys.dedup();
        if keys.is_empty() && !channels {
            return None;
        }
        // Outside of a transaction the statement begins its own.
        let mut sql = "SELECT 'inside' AS kind, NULL AS name, \
            CAST(pg_catalog.now() OPERATOR(pg_catalog.<>) pg_catalog.statement_timestamp() AS pg_catalog.text) AS value, \
            NULL AS source"
            .to_owned();
        if !keys.is_empty() {
            let names: Vec<String> =
                keys.iter().map(|key| format!("(CAST({} AS pg_catalog.text))", quoted(key))).collect();
            sql.push_str(
                " UNION ALL SELECT 'setting', k.name, pg_catalog.current_setting(k.name, true), s.source FROM (VALUES ",
            );
            sql.push_str(&names.join(", "));
            sql.push_str(
                ") AS k(name) LEFT JOIN pg_catalog.pg_settings AS s \
                 ON pg_catalog.lower(s.name) OPERATOR(pg_catalog.=) k.name",
            );
        }
        if channels {
            sql.push_str(
                " UNION ALL SELECT 'channel', c.name, NULL, NULL FROM pg_catalog.pg_listening_channels() AS c(name)",
            );
        }
        Some(sql)
    }

    /// The question was sent; its answer comes from `rows`.
    pub(super) fn asked<E: Send + 'static>(
        &mut self,
        rows: impl Stream<Item = Result<SimpleQueryMessage, E>> + Send + 'static,
    ) {
        self.answered_by(Box::pin(async move {
            let rows: Vec<SimpleQueryMessage> = rows.try_collect().await.ok()?;
            Some(read(&rows))
        }));
    }

    pub(super) fn answered_by(&mut self, answer: Answer) {
        self.answer = Some(answer);
    }

    /// The answer, if it has come: by then all that was answered before is known too.
    pub(super) fn answer(&mut self) -> Option<Option<Told>> {
        match &mut self.answer {
            Some(answer) => answer.now_or_never(),
            // The connection took no question: it is lost.
            None => Some(None),
        }
    }
}

fn read(rows: &[SimpleQueryMessage]) -> Told {
    let mut told = Told::default();
    for row in rows {
        let SimpleQueryMessage::Row(row) = row else { continue };
        let text = |column: usize| row.get(column).map(str::to_owned);
        match (row.get(0), text(1), text(2)) {
            (Some("inside"), _, value) => told.inside = value.as_deref() == Some("true"),
            (Some("setting"), Some(name), value) => told.settings.push((name, own(value, row.get(3)))),
            (Some("channel"), Some(name), _) => told.channels.push(name),
            _ => {}
        }
    }
    told
}

/// The value of a setting that the session itself has set. Settings with a name of the application's own, and the role,
/// have no source; without a value they are empty, and `none`.
fn own(value: Option<String>, source: Option<&str>) -> Option<String> {
    let value = value?;
    match source {
        Some("session") => Some(value),
        Some(_) => None,
        None if value.is_empty() || value == "none" => None,
        None => Some(value),
    }
}

impl fmt::Debug for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Doubt")
            .field("changes", &self.changes)
            .field("ends", &self.ends)
            .finish_non_exhaustive()
    }
}
