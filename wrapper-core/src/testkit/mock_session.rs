//! A session for plugins under test: a connection, and scripted switches.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;

use super::mock_connect::unexpected;
use crate::cluster::Cluster;
use crate::driver::DriverConnection;
use crate::error::Result;
use crate::host::HostInfo;
use crate::observe::SwitchReport;
use crate::plugin::{Call, CallContext, Chain};
use crate::session::{Attempt, SessionSeam, SwitchPlan};

/// The session that a plugin under test sees. A switch answers what was put in, and keeps the plan.
#[derive(Debug)]
pub struct MockSession {
    cluster: Cluster,
    chain: Arc<Chain>,
    current: Mutex<Attempt>,
    answers: Mutex<VecDeque<Result<Attempt>>>,
    plans: Mutex<Vec<SwitchPlan>>,
}

impl MockSession {
    /// A session of `cluster` that stands on `connection` to `host`, generation 1.
    ///
    /// # Errors
    /// Never, as long as an empty chain is a valid one.
    pub fn new(cluster: &Cluster, connection: Arc<dyn DriverConnection>, host: HostInfo) -> Result<Self> {
        let epoch = cluster.writer_epoch();
        Ok(Self {
            cluster: cluster.clone(),
            chain: Arc::new(Chain::new(Vec::new(), true)?),
            current: Mutex::new(Attempt { generation: 1, host, connection, epoch }),
            answers: Mutex::default(),
            plans: Mutex::default(),
        })
    }

    /// The next switch succeeds: the session stands on `connection` to `host` then.
    #[must_use]
    pub fn switches_to(self, connection: Arc<dyn DriverConnection>, host: HostInfo) -> Self {
        let next = Attempt { generation: 0, host, connection, epoch: self.cluster.writer_epoch() };
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).push_back(Ok(next));
        self
    }

    /// The next switch fails.
    #[must_use]
    pub fn fails(self, error: crate::Error) -> Self {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).push_back(Err(error));
        self
    }

    /// A call on its way through the chain, on the current connection.
    pub fn call<'a>(&'a self, call: Call<'a>) -> CallContext<'a> {
        CallContext::new(call, self, self.current())
    }

    /// The switches that were asked for, in order; they are taken out.
    pub fn plans(&self) -> Vec<SwitchPlan> {
        std::mem::take(&mut *self.plans.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl SessionSeam for MockSession {
    fn current(&self) -> Attempt {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    fn chain(&self) -> &Arc<Chain> {
        &self.chain
    }

    fn switch(&self, plan: SwitchPlan) -> BoxFuture<'_, Result<Arc<SwitchReport>>> {
        Box::pin(async move {
            let mut report = SwitchReport::new(&plan.cause, &plan.failed.host, self.cluster.env());
            self.plans.lock().unwrap_or_else(PoisonError::into_inner).push(plan);
            let answer = self.answers.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let mut next = answer.unwrap_or_else(|| Err(unexpected("a switch", "session")))?;
            report.chose(&next.host, "the mock says so");
            let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            next.generation = current.generation + 1;
            *current = next;
            Ok(Arc::new(report))
        })
    }
}
