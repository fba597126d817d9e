//! The flight recorder: the last switches of a cluster.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::SwitchReport;

/// How many reports are kept.
const KEPT: usize = 64;

/// The last 64 switch reports of a cluster, oldest first.
#[derive(Debug, Default)]
pub struct FlightRecorder(Mutex<VecDeque<Arc<SwitchReport>>>);

impl FlightRecorder {
    /// Keeps a report; the oldest one goes when the ring is full.
    pub fn record(&self, report: Arc<SwitchReport>) {
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ring.len() == KEPT {
            ring.pop_front();
        }
        ring.push_back(report);
    }

    /// The reports, oldest first.
    pub fn reports(&self) -> Vec<Arc<SwitchReport>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().map(Arc::clone).collect()
    }

    /// The last report.
    pub fn last(&self) -> Option<Arc<SwitchReport>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).back().map(Arc::clone)
    }
}
