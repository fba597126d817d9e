//! The one flight that all callers of a failed generation share (R5).

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, PoisonError, Weak};

use futures_util::FutureExt;

use super::{Disposal, Search, Session, SwitchContext, SwitchPlan};
use crate::driver::DriverConnection;
use crate::env::{Deadline, watch};
use crate::error::{Error, ErrorClass, ErrorKind, Result};
use crate::observe::{Event, SwitchReport, in_failover_span};
use crate::plugin::{Connected, panicked};

type Landing = Option<Result<Arc<SwitchReport>>>;

/// A switch under way, or the last one.
pub(super) struct Flight {
    generation: u64,
    landing: watch::Receiver<Landing>,
}

impl Flight {
    fn can_be_joined(&self, generation: u64) -> bool {
        self.generation == generation
            && self.landing.has_changed().is_ok()
            && !matches!(*self.landing.borrow(), Some(Err(_)))
    }
}

impl<C: DriverConnection> Session<C> {
    /// See [`SessionSeam::switch`](super::SessionSeam::switch).
    pub(super) async fn fly(&self, plan: SwitchPlan) -> Result<Arc<SwitchReport>> {
        let generation = plan.failed.generation;
        let mut landing = {
            // Check and start under one lock: a caller that failed before the swap and comes after it must not
            // start a second flight.
            let mut slot = self.flight.lock().unwrap_or_else(PoisonError::into_inner);
            self.check_open()?;
            let current = self.load();
            if current.generation != generation {
                let mut report = SwitchReport::new(&plan.cause, &plan.failed.host, self.cluster.env());
                report.chose(&current.host, "another call had switched the session already");
                return Ok(Arc::new(report));
            }
            match &*slot {
                Some(flight) if flight.can_be_joined(generation) => flight.landing.clone(),
                _ => {
                    let landing = self.launch(plan);
                    *slot = Some(Flight { generation, landing: landing.clone() });
                    landing
                }
            }
        };
        self.cluster.callers_held(1);
        let held = scopeguard(|| self.cluster.callers_held(-1));
        let landed = match landing.wait_for(Option::is_some).await {
            Ok(landed) => landed.clone().unwrap_or_else(|| Err(ended())),
            // The task is gone without a word: its runtime was shut down, or the cluster was.
            Err(_) => Err(ended()),
        };
        drop(held);
        landed
    }

    fn launch(&self, plan: SwitchPlan) -> watch::Receiver<Landing> {
        let (sender, receiver) = watch::channel(None);
        let session = Weak::clone(&self.me);
        let mut closed = self.closed.subscribe();
        let SwitchPlan { failed, cause, disposal, deadline, search } = plan;
        let report = SwitchReport::new(&cause, &failed.host, self.cluster.env());
        let from = failed.host.key.clone();
        let cx = SwitchContext::new(self.cluster.clone(), Arc::clone(&self.chain), failed, deadline, report);
        let flight = async move {
            let result = tokio::select! {
                biased;
                _ = closed.wait_for(|closed| *closed) => Err(Error::new(ErrorKind::Closed, "the session was closed")),
                // A hook or a search that panics must not leave the callers without a word.
                result = AssertUnwindSafe(land(&session, &cx, &disposal, search)).catch_unwind() => {
                    result.unwrap_or_else(|panic| Err(panicked("a hook of the switch", &*panic)))
                }
            };
            let mut report = cx.report(|report| report.clone());
            report.end(cx.cluster.env(), result.as_ref().err(), cx.cluster.held());
            let report = Arc::new(report);
            cx.cluster.emit(&Event::Switched(Arc::clone(&report)));
            sender.send_replace(Some(result.map(|()| report)));
        };
        self.cluster.spawn("switch", in_failover_span(&from, flight));
        receiver
    }

    async fn carry_state(&self, cx: &SwitchContext, connected: &Connected) -> Result<()> {
        let old = &cx.failed.connection;
        let new = &connected.connection;
        let deadline =
            cx.deadline.cap(self.cluster.options().auxiliary_query_timeout, "auxiliary_query_timeout");
        if let Some(hook) = &self.options.hook {
            if deadline.run("the switch hook", hook.carry(old, new, deadline)).await? {
                return Ok(());
            }
        }
        if self.options.transfer_state {
            let statements = old.session_state_sql();
            if !statements.is_empty() {
                new.run_sql(&statements.join("; "), deadline).await?;
            }
        }
        Ok(())
    }
}

/// Searches, carries the state over and installs, until it is done or the deadline passes.
async fn land<C: DriverConnection>(
    session: &Weak<Session<C>>,
    cx: &SwitchContext,
    disposal: &Disposal,
    mut search: Box<dyn Search>,
) -> Result<()> {
    let deadline: Deadline = cx.deadline;
    loop {
        let connected = deadline.run("the search for another host", search.find(cx)).await?;
        let session = session.upgrade().ok_or_else(ended)?;
        match session.carry_state(cx, &connected).await {
            Ok(()) => {}
            Err(error) if error.class() == ErrorClass::Network && !deadline.is_over() => {
                cx.report(|report| {
                    report.step(cx.cluster.env(), format!("carrying the session over failed: {error}"))
                });
                continue;
            }
            Err(error) => return Err(error),
        }
        cx.report(|report| report.step(cx.cluster.env(), "session state carried over".to_owned()));
        session.install(cx.failed.generation, connected, disposal)?;
        return Ok(());
    }
}

fn ended() -> Error {
    Error::new(
        ErrorKind::Closed,
        "the switch of the session ended without a result: the session, the cluster or its runtime was shut down",
    )
}

fn scopeguard<F: FnMut()>(f: F) -> impl Drop {
    struct Guard<F: FnMut()>(F);
    impl<F: FnMut()> Drop for Guard<F> {
        fn drop(&mut self) {
            (self.0)();
        }
    }
    Guard(f)
}
