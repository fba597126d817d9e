//! Publishing topologies, and waiting for the one that answers a search.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::ClusterCore;
use crate::env::{Deadline, watch};
use crate::error::{Error, ErrorKind, Result};
use crate::host::HostInfo;
use crate::observe::Event;
use crate::plugin::TopologyChange;
use crate::topology::{Published, Topology};

impl ClusterCore {
    /// The topology as it was last published.
    pub fn topology(&self) -> Option<Published> {
        self.topology.borrow().clone()
    }

    /// Follows the publications.
    pub fn subscribe(&self) -> watch::Receiver<Option<Published>> {
        self.topology.subscribe()
    }

    /// Publishes a topology whose writer was asked itself; `answers` is the number of the last search that had been
    /// asked for when the question was sent.
    pub(super) fn publish_verified(&self, topology: Topology, answers: u64) {
        self.publish(topology, Some(answers));
    }

    /// Publishes what a host says of others; the writer in it is a hint only.
    pub(super) fn publish_hint(&self, topology: Topology) {
        self.publish(topology, None);
    }

    fn publish(&self, topology: Topology, answers: Option<u64>) {
        let mut demotion: Option<(Option<HostInfo>, HostInfo)> = None;
        let mut change = None;
        self.topology.send_modify(|slot| {
            let before = slot.take();
            let sequence = before.as_ref().map_or(1, |before| before.sequence + 1);
            // A hint never takes a verified answer away from those who wait for it: only the hosts are taken over.
            let (topology, verified, answers) = match (&before, answers) {
                (_, Some(answers)) => (topology, true, answers),
                (Some(before), None) if before.verified => match before.topology.writer() {
                    Some(writer) => (topology.with_writer(writer), true, before.answers),
                    None => (topology, false, before.answers),
                },
                (before, None) => (topology, false, before.as_ref().map_or(0, |before| before.answers)),
            };
            // A hint counts too: a session may have been opened on that writer, and verified it, before this search.
            let old = before.as_ref().and_then(|before| before.topology.writer());
            let new = topology.writer().filter(|_| verified);
            if let Some(new) = new {
                if old.is_none_or(|old| old.key != new.key) {
                    demotion = Some((old.cloned(), new.clone()));
                }
            }
            if let Some((Some(old), _)) = &demotion {
                // Connections compare epochs before their next use: the demotion is recorded before the epoch moves.
                let epoch = self.writer_epoch.load(Ordering::Acquire) + 1;
                self.registry.demote(&old.key, epoch);
                self.writer_epoch.store(epoch, Ordering::Release);
            }
            let next = Published::new(Arc::new(topology), sequence, verified, answers, self.env.now());
            change = Some(TopologyChange::new(before, next.clone()));
            *slot = Some(next);
        });
        if let Some(change) = change {
            self.for_each_chain(|chain| chain.topology_changed(&change));
            self.emit(&Event::Topology(change.now));
        }
        if let Some((from, to)) = demotion {
            self.emit(&Event::WriterChanged { from, to });
        }
    }

    /// Asks the monitor for a search of the writer and waits for one that began after this call.
    ///
    /// All callers share one search. The topology returned is verified and has a writer.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] at the deadline, with what is known by then; [`ErrorKind::Login`] as soon as no host can
    /// be asked and one of them has refused the credentials; [`ErrorKind::Closed`] when the cluster is shut down.
    ///
    /// # Cancellation
    /// Safe: the search goes on for the others and ends by itself.
    pub async fn search_writer(self: &Arc<Self>, deadline: Deadline) -> Result<Published> {
        if self.is_shut_down() {
            return Err(closed());
        }
        self.waiters.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(self);
        let request = self.request_search();
        let mut topology = self.topology.subscribe();
        let answered = async {
            topology
                .wait_for(|published| published.as_ref().is_some_and(|p| p.verified && p.answers >= request))
                .await
                .map(|published| published.clone())
                .map_err(|_| closed())
        };
        let mut refused = self.refused.subscribe();
        let refused = async {
            let refused =
                refused.wait_for(|refused| refused.as_ref().is_some_and(|(last, _)| *last >= request));
            match refused.await.as_deref() {
                Ok(Some((_, error))) => error.clone(),
                _ => closed(),
            }
        };
        let found = tokio::select! {
            biased;
            () = self.shut_down() => Err(closed()),
            error = refused => Err(error),
            found = deadline.run("the search for a writer", answered) => found,
        };
        match found {
            Ok(Some(published)) => Ok(published),
            Ok(None) => Err(closed()),
            Err(error) if error.kind() == ErrorKind::Timeout => {
                let known = self.topology().map_or_else(|| "nothing".to_owned(), |p| p.topology.to_string());
                Err(Error::new(
                    ErrorKind::Timeout,
                    format!("no host has shown itself to be the writer; known: {known}"),
                )
                .with_source(error))
            }
            Err(error) => Err(error),
        }
    }
}

impl ClusterCore {
    /// Asks the monitor for a search of the writer without waiting for it; gives the number of the request.
    pub fn request_search(self: &Arc<Self>) -> u64 {
        let mut request = 0;
        self.requests.send_modify(|last| {
            *last += 1;
            request = *last;
        });
        self.ensure_monitor();
        request
    }
}

struct Waiting<'a>(&'a ClusterCore);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiters.fetch_sub(1, Ordering::Relaxed);
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the cluster was shut down; make a new connector")
}
