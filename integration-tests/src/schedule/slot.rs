//! One session of the workload, and what its owner has set on it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wrapper_core::testkit::FakeClient;

/// What a setting of the session must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Value(String),
    /// A `SET` was cancelled or lost: both values may be there.
    Anything,
}

#[derive(Debug, Default)]
struct Inner {
    client: Option<FakeClient>,
    settings: BTreeMap<String, Expected>,
}

/// A session that several workers may use; the owner opens it again when it is beyond repair.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot(Arc<Mutex<Inner>>);

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn client(&self) -> Option<FakeClient> {
        self.lock().client.clone()
    }

    /// Puts a new session in; what was set on the one before is gone with it.
    pub(super) fn put(&self, client: FakeClient) {
        let before = {
            let mut inner = self.lock();
            inner.settings.clear();
            inner.client.replace(client)
        };
        drop(before);
    }

    pub(super) fn clear(&self) {
        let before = self.lock().client.take();
        drop(before);
    }

    pub(super) fn expect(&self, name: &str, expected: Expected) {
        self.lock().settings.insert(name.to_owned(), expected);
    }

    pub(super) fn expected(&self, name: &str) -> Option<Expected> {
        self.lock().settings.get(name).cloned()
    }
}
