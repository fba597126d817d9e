//! What the cluster says of itself: the file that the metadata functions of all servers read.
//!
//! One file for all nodes, replaced by rename. A node whose topology is delayed reads a file of its own that
//! comes before the shared one.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::error::Error;
use super::place::Account;
use crate::verbs::NodeId;

/// What is published of one node.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) instance: String,
    pub(crate) resource_id: String,
    pub(crate) endpoint: String,
    pub(crate) port: u16,
    /// When it was lost, in seconds of the epoch; none while it runs.
    pub(crate) lost_at: Option<f64>,
}

/// The published topology of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Topology {
    account: Account,
    folder: PathBuf,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    rows: Vec<Row>,
    writer: NodeId,
    /// By node: how late it is, and a number by which an overtaken order is known.
    late: [Option<Late>; 3],
    orders: u64,
}

#[derive(Clone, Copy, Debug)]
struct Late {
    by: Option<Duration>,
    order: u64,
}

impl Topology {
    pub(crate) fn create(
        account: Account,
        folder: PathBuf,
        rows: Vec<Row>,
        writer: NodeId,
    ) -> Result<Self, Error> {
        account.create_dir(&folder).map_err(Error::io("create the folder of the topology"))?;
        let state = State { rows, writer, late: [None; 3], orders: 0 };
        let topology = Self { account, folder, state: Arc::new(Mutex::new(state)) };
        topology.publish(|_, _| {})?;
        Ok(topology)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Changes the topology and publishes it; a no-op change publishes the same again.
    pub(crate) fn publish(&self, change: impl FnOnce(&mut [Row], &mut NodeId)) -> Result<(), Error> {
        let mut state = self.lock();
        let State { rows, writer, .. } = &mut *state;
        change(rows, writer);
        let text = state.json(None);
        self.write(&self.folder.join("topology.json"), &text)?;
        for node in NodeId::ALL {
            if let Some(Late { by: Some(by), order }) = state.late[node.index()] {
                let (topology, text) = (self.clone(), state.json(Some(now())));
                tokio::spawn(async move {
                    tokio::time::sleep(by).await;
                    let state = topology.lock();
                    if state.late[node.index()].is_some_and(|late| late.order == order) {
                        // A folder that has gone is a cluster that has gone.
                        let _ = topology.write(&topology.own_file(&state, node), &text);
                    }
                });
            }
        }
        Ok(())
    }

    /// From now on these nodes learn of changes `by` later; `None`: never.
    pub(crate) fn delay(&self, nodes: &[NodeId], by: Option<Duration>) -> Result<(), Error> {
        let mut state = self.lock();
        state.orders += 1;
        for &node in nodes {
            let order = state.orders;
            let fresh = state.late[node.index()].is_none();
            state.late[node.index()] = Some(Late { by, order });
            if fresh {
                self.write(&self.own_file(&state, node), &state.json(Some(now())))?;
            }
        }
        Ok(())
    }

    /// From now on these nodes know what all know.
    pub(crate) fn catch_up(&self, nodes: &[NodeId]) -> Result<(), Error> {
        let mut state = self.lock();
        for &node in nodes {
            if state.late[node.index()].take().is_some() {
                let file = self.own_file(&state, node);
                std::fs::remove_file(&file).map_err(Error::io(format!("remove {}", file.display())))?;
            }
        }
        Ok(())
    }

    fn own_file(&self, state: &State, node: NodeId) -> PathBuf {
        let instance = state.rows.get(node.index()).map_or("", |row| &row.instance);
        self.folder.join(format!("{instance}.json"))
    }

    fn write(&self, file: &Path, text: &str) -> Result<(), Error> {
        self.account.write(file, text).map_err(Error::io(format!("write {}", file.display())))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The topology as text; with `seen`, as it was known then.
    fn json(&self, seen: Option<f64>) -> String {
        let mut text = String::from("[");
        for (index, row) in self.rows.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let seen = row.lost_at.or(seen).map_or("null".to_owned(), |at| format!("{at:.3}"));
            // Names and ids are made of letters, digits and hyphens: nothing to escape.
            let _ = write!(
                text,
                "{comma}\n {{\"server_id\": \"{}\", \"resource_id\": \"{}\", \"endpoint\": \"{}\", \"port\": {}, \
                 \"writer\": {}, \"seen\": {seen}}}",
                row.instance,
                row.resource_id,
                row.endpoint,
                row.port,
                index == self.writer.index(),
            );
        }
        text.push_str("\n]\n");
        text
    }
}

/// Seconds of the epoch.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
