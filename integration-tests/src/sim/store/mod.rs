//! The data of the simulated cluster: one synchronous store, seen by each node through its own replica.
//!
//! What may not live here: SQL, sessions, sockets. A commit reaches every replica in the same order; a reader
//! applies it after its replica lag, a promoted reader applies all of it first. So an acknowledged write is
//! never lost by a failover, and what was not committed is nowhere.

mod table;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(crate) use table::{Column, Database, Default as ColumnDefault, Op, Row, RowId, Table, no_such_table};

use crate::sim::error::SqlError;

/// The shared store; one a cluster.
#[derive(Debug)]
pub(crate) struct Store {
    inner: Mutex<Inner>,
    /// The writer again, for those who must not wait for the lock; [`NO_WRITER`] for none.
    writer: AtomicUsize,
}

const NO_WRITER: usize = usize::MAX;

/// What the lock of the store protects.
#[derive(Debug)]
pub(crate) struct Inner {
    replicas: Vec<Replica>,
    writer: Option<usize>,
    next_row: RowId,
    next_version: u64,
    sequences: BTreeMap<String, i64>,
}

#[derive(Debug, Default)]
struct Replica {
    data: Database,
    pending: VecDeque<(Instant, Arc<Vec<Op>>)>,
    lag: Duration,
}

impl Store {
    /// A store for this many nodes; node 0 writes.
    pub(crate) fn new(nodes: usize) -> Self {
        let replicas = (0..nodes).map(|_| Replica::default()).collect();
        let sequences = BTreeMap::new();
        let inner = Inner { replicas, writer: Some(0), next_row: 1, next_version: 1, sequences };
        Store { inner: Mutex::new(inner), writer: AtomicUsize::new(0) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node that may commit; does not wait for running statements.
    pub(crate) fn writer(&self) -> Option<usize> {
        Some(self.writer.load(Ordering::Acquire)).filter(|writer| *writer != NO_WRITER)
    }

    /// From here on no node's commit is accepted, until [`promote`](Self::promote).
    pub(crate) fn fence(&self) {
        let mut inner = self.lock();
        inner.writer = None;
        self.writer.store(NO_WRITER, Ordering::Release);
    }

    /// Makes a node the writer, with every commit applied first.
    pub(crate) fn promote(&self, node: usize) {
        let mut inner = self.lock();
        inner.replicas[node].catch_up(None);
        inner.writer = Some(node);
        self.writer.store(node, Ordering::Release);
    }

    pub(crate) fn set_lag(&self, node: usize, lag: Duration) {
        self.lock().replicas[node].lag = lag;
    }
}

impl Inner {
    /// What a node sees now.
    pub(crate) fn view(&mut self, node: usize) -> &Database {
        let writes = self.writer == Some(node);
        let replica = &mut self.replicas[node];
        let until = (!writes).then(|| Instant::now().checked_sub(replica.lag)).flatten();
        replica.catch_up(until);
        &replica.data
    }

    /// Commits on behalf of a node: applies all of it, or nothing.
    ///
    /// # Errors
    /// 25006 when the node is not (or no longer) the writer, 40001 when a row was changed by another transaction
    /// in the meantime, 23505 for a duplicate key.
    pub(crate) fn commit(&mut self, node: usize, ops: Vec<Op>) -> Result<(), SqlError> {
        if ops.is_empty() {
            return Ok(());
        }
        if self.writer != Some(node) {
            return Err(SqlError::read_only("COMMIT"));
        }
        let ops = Arc::new(ops);
        let version = self.next_version;
        self.replicas[node].data.check(&ops)?;
        self.next_version += 1;
        self.replicas[node].data.apply(&ops, version);
        let now = Instant::now();
        for (index, replica) in self.replicas.iter_mut().enumerate() {
            if index != node {
                replica.pending.push_back((now, Arc::clone(&ops)));
                let due = now.checked_sub(replica.lag).unwrap_or(now);
                replica.catch_up(Some(due));
            }
        }
        Ok(())
    }

    pub(crate) fn new_row_id(&mut self) -> RowId {
        self.next_row += 1;
        self.next_row
    }

    /// The next number of a sequence; never given back, as in PostgreSQL.
    pub(crate) fn next_of(&mut self, sequence: &str) -> i64 {
        let next = self.sequences.entry(sequence.to_owned()).or_insert(0);
        *next += 1;
        *next
    }

    /// Lets a sequence go on after a number that was given by hand.
    pub(crate) fn reach(&mut self, sequence: &str, number: i64) {
        let last = self.sequences.entry(sequence.to_owned()).or_insert(0);
        *last = number.max(*last);
    }
}

impl Replica {
    /// Applies what was committed until then; everything for `None`.
    fn catch_up(&mut self, until: Option<Instant>) {
        while self.pending.front().is_some_and(|(at, _)| until.is_none_or(|until| *at <= until)) {
            if let Some((_, ops)) = self.pending.pop_front() {
                self.data.apply(&ops, 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::sql::value::Value;
    use pgwire::api::Type;

    fn table() -> Op {
        let column = Column { name: "id".into(), ty: Type::INT4, not_null: true, default: None };
        let mut table = Table::new("t", vec![column]);
        table.add_key(true, vec![0]);
        Op::Create(Arc::new(table))
    }

    fn insert(id: RowId, number: i64) -> Op {
        Op::Insert { table: "t".into(), id, row: Arc::from([Value::Int(number)]) }
    }

    fn count(store: &Store, node: usize) -> usize {
        store.lock().view(node).table("t").map_or(0, |table| table.rows().len())
    }

    #[test]
    fn a_lagging_reader_sees_commits_late_and_all_of_them_once_promoted() {
        let store = Store::new(2);
        store.set_lag(1, Duration::from_secs(3600));
        store.lock().commit(0, vec![table(), insert(1, 7)]).unwrap();
        assert_eq!((count(&store, 0), count(&store, 1)), (1, 0));
        store.fence();
        assert_eq!(store.lock().commit(0, vec![insert(2, 8)]).unwrap_err().code, "25006");
        store.promote(1);
        assert_eq!(count(&store, 1), 1);
    }

    #[test]
    fn a_commit_is_applied_whole_or_not_at_all() {
        let store = Store::new(1);
        store.lock().commit(0, vec![table(), insert(1, 7)]).unwrap();
        let error = store.lock().commit(0, vec![insert(2, 8), insert(3, 7)]).unwrap_err();
        assert_eq!((error.code.as_ref(), count(&store, 0)), ("23505", 1));
    }
}
