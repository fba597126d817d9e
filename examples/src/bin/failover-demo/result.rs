//! What a run of the demo found out.

use std::sync::Arc;
use std::time::Duration;

use wrapper_core::observe::SwitchReport;

use crate::tally::{Gap, Tally};

/// One client and what was found of its writes.
#[derive(Debug)]
pub(crate) struct ClientResult {
    pub(crate) name: &'static str,
    pub(crate) tally: Arc<Tally>,
    /// `None` when the table could not be read.
    pub(crate) found: Option<Found>,
}

/// The table compared with what was acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Acknowledged writes that are not there.
    pub(crate) lost: usize,
    /// Rows more than one for a write.
    pub(crate) doubled: usize,
}

/// The failover on the demo's clock.
#[derive(Clone, Debug)]
pub(crate) struct Timeline {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) lost: Duration,
    pub(crate) accepting: Duration,
}

/// A whole run.
#[derive(Debug)]
pub(crate) struct RunResult {
    pub(crate) end: Duration,
    /// Of a failover that the demo triggered.
    pub(crate) timeline: Option<Timeline>,
    pub(crate) wrapped: ClientResult,
    pub(crate) bare: ClientResult,
    pub(crate) reports: Vec<Arc<SwitchReport>>,
}

impl ClientResult {
    pub(crate) fn gap(&self, end: Duration) -> Option<Gap> {
        self.tally.longest_gap(end)
    }

    /// Milliseconds from the cluster's accepting writes again to the client's first write; `None` when there was none.
    pub(crate) fn late(&self, timeline: &Timeline, end: Duration) -> Option<f64> {
        let gap = self.gap(end)?;
        let overlaps = gap.closed && gap.from <= timeline.accepting && gap.to >= timeline.lost;
        overlaps.then_some((gap.to.as_secs_f64() - timeline.accepting.as_secs_f64()) * 1000.0)
    }
}

impl RunResult {
    /// Whether the wrapper kept its promise: it writes again after the failover, and nothing acknowledged is lost.
    pub(crate) fn is_good(&self) -> bool {
        let back = self.timeline.as_ref().is_none_or(|timeline| {
            self.wrapped.late(timeline, self.end).is_some()
                || self.wrapped.tally.first_after(timeline.accepting).is_some()
        });
        back && self.wrapped.found.is_some_and(|found| found.lost == 0 && found.doubled == 0)
    }
}
