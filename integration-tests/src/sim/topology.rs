//! What the cluster knew of itself, and when: the source of the topology rows, also of stale ones.
//!
//! What may not live here: the rows' SQL form (`sql/catalog.rs`), the truth about the writer (`store`).

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

/// How many past states are kept; a delay that reaches further back sees the oldest.
const KEPT: usize = 256;

/// The states of the cluster's topology over time.
#[derive(Debug)]
pub(crate) struct History(VecDeque<(Instant, Snapshot)>);

/// The topology at one time.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) writer: usize,
    pub(crate) nodes: Vec<NodeView>,
}

/// One node in a snapshot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NodeView {
    pub(crate) up: bool,
    /// When a node that is down was last heard of.
    pub(crate) last_seen: SystemTime,
}

impl History {
    pub(crate) fn new(nodes: usize) -> Self {
        let view = NodeView { up: true, last_seen: SystemTime::now() };
        History(VecDeque::from([(Instant::now(), Snapshot { writer: 0, nodes: vec![view; nodes] })]))
    }

    /// Records a change.
    pub(crate) fn change(&mut self, edit: impl FnOnce(&mut Snapshot)) {
        let mut next = self.at(Duration::ZERO);
        edit(&mut next);
        self.0.push_back((Instant::now(), next));
        if self.0.len() > KEPT {
            self.0.pop_front();
        }
    }

    /// What was known this long ago; nodes that were up then were last heard of then.
    pub(crate) fn at(&self, delay: Duration) -> Snapshot {
        let until = Instant::now().checked_sub(delay);
        let found = self.0.iter().rev().find(|(at, _)| until.is_some_and(|until| *at <= until));
        let (_, snapshot) = found
            .or(self.0.front())
            .cloned()
            .unwrap_or_else(|| (Instant::now(), Snapshot { writer: 0, nodes: Vec::new() }));
        let then = SystemTime::now().checked_sub(delay).unwrap_or(SystemTime::UNIX_EPOCH);
        let seen = |node: NodeView| if node.up { NodeView { last_seen: then, ..node } } else { node };
        Snapshot { nodes: snapshot.nodes.into_iter().map(seen).collect(), ..snapshot }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delayed_view_shows_the_past() {
        let mut history = History::new(2);
        std::thread::sleep(Duration::from_millis(20));
        history.change(|snapshot| snapshot.writer = 1);
        assert_eq!(history.at(Duration::ZERO).writer, 1);
        let old = history.at(Duration::from_millis(15));
        assert_eq!(old.writer, 0);
        assert!(old.nodes[0].last_seen.elapsed().unwrap() >= Duration::from_millis(15));
    }
}
