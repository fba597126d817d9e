//! 50 tasks over one pool, and what each acquire gave.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use integration_tests::NodeId;

use crate::sqlx_support::site::Site;

/// A caller's own limit for its statements: a plain pool has none, and a silent host answers nothing.
const STATEMENT: Duration = Duration::from_secs(5);

/// An acquire that gave a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acquired {
    pub(crate) task: usize,
    pub(crate) got: Instant,
    pub(crate) node: NodeId,
    /// Whether a write over it was acknowledged.
    pub(crate) wrote: bool,
}

/// What the tasks have seen.
#[derive(Default)]
pub(crate) struct Seen {
    stop: Cell<bool>,
    next: Cell<i64>,
    pub(crate) acquired: RefCell<Vec<Acquired>>,
    /// Connections to a host that the monitor knew to be demoted before the acquire began.
    pub(crate) demoted: Cell<usize>,
    pub(crate) refused: RefCell<Vec<String>>,
    pub(crate) acknowledged: RefCell<BTreeSet<i64>>,
}

impl Seen {
    /// Ends the tasks, each after what it is at.
    pub(crate) fn stop(&self) {
        self.stop.set(true);
    }

    /// Writes over the pool until it is told to stop.
    pub(crate) async fn write(&self, task: usize, site: &impl Site) {
        while !self.stop.get() {
            let known = site.known_writer();
            let mut connection = match site.acquire().await {
                Ok(connection) => connection,
                Err(error) => {
                    self.refused.borrow_mut().push(format!("{error:?}"));
                    // A pool may refuse at once.
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    continue;
                }
            };
            let got = Instant::now();
            let asked = tokio::time::timeout(STATEMENT, site.node_of(&mut connection)).await;
            let Ok(Some(node)) = asked else { continue };
            if Some(node) != known && Some(node) != site.known_writer() {
                self.demoted.set(self.demoted.get() + 1);
            }
            let id = self.next.replace(self.next.get() + 1);
            let written = tokio::time::timeout(STATEMENT, site.insert(&mut connection, id)).await;
            let wrote = matches!(written, Ok(true));
            if wrote {
                self.acknowledged.borrow_mut().insert(id);
            }
            self.acquired.borrow_mut().push(Acquired { task, got, node, wrote });
        }
    }
}
