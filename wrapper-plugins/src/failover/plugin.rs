//! The plugin: which failures lead to a switch, and what the caller is told.

use async_trait::async_trait;
use wrapper_core::config::FailoverMode;
use wrapper_core::driver::TransactionStatus;
use wrapper_core::env::Deadline;
use wrapper_core::host::SelectorOptions;
use wrapper_core::observe::Event;
use wrapper_core::plugin::{
    CallContext, ConnectContext, ConnectNext, Connected, MethodSet, OrderClass, Plugin, Recovery,
};
use wrapper_core::session::{Disposal, Search, SwitchPlan};
use wrapper_core::{Error, ErrorClass, ErrorKind, Result, TransactionOutcome};

use super::config::Effective;
use super::reader::ReaderSearch;
use super::writer::{WriterSearch, find_writer};

#[derive(Debug)]
pub(super) struct FailoverPlugin {
    settings: Effective,
    selector: SelectorOptions,
}

impl FailoverPlugin {
    pub(super) fn new(settings: Effective, selector: SelectorOptions) -> Self {
        Self { settings, selector }
    }

    fn search(&self) -> Box<dyn Search> {
        match self.settings.mode {
            FailoverMode::StrictWriter => Box::new(WriterSearch::default()),
            mode => Box::new(ReaderSearch::new(
                mode == FailoverMode::StrictReader,
                self.settings.reader_strategy,
                self.selector.clone(),
                self.settings.reader_connect_timeout,
            )),
        }
    }

    /// Whether a failure leads to a switch.
    async fn triggers(&self, cx: &CallContext<'_>, error: &Error) -> bool {
        match error.class() {
            ErrorClass::Network => true,
            ErrorClass::ReadOnly if self.settings.mode == FailoverMode::StrictWriter => {
                !self.is_writer(cx).await
            }
            _ => false,
        }
    }

    /// Asks the host of the failed attempt whether it is the writer. A host that cannot be asked is not.
    async fn is_writer(&self, cx: &CallContext<'_>) -> bool {
        let cluster = cx.session().cluster();
        let deadline = Deadline::after(cluster.options().auxiliary_query_timeout, "auxiliary_query_timeout");
        let ask = async {
            let provider = cluster.learn(cx.connection(), deadline).await?;
            if cx.connection().transaction_status() == TransactionStatus::Idle {
                return provider.status(&**cx.connection(), deadline).await;
            }
            // Inside a failed transaction nothing can be asked, and inside an open one nothing should be.
            let fresh = cluster.core().open_monitor(cx.host(), deadline).await?;
            provider.status(&**fresh.connection(), deadline).await
        };
        deadline.run("asking the host for its role", ask).await.is_ok_and(|status| status.accepts_writes)
    }
}

#[async_trait]
impl Plugin for FailoverPlugin {
    fn name(&self) -> &'static str {
        "failover"
    }

    fn class(&self) -> OrderClass {
        OrderClass::Failover
    }

    fn subscriptions(&self) -> MethodSet {
        match (self.settings.enabled, self.settings.on_connect) {
            (false, _) => MethodSet::NONE,
            (true, false) => MethodSet::RECOVER,
            (true, true) => MethodSet::RECOVER | MethodSet::CONNECT,
        }
    }

    async fn connect(&self, cx: &mut ConnectContext<'_>, next: ConnectNext<'_>) -> Result<Connected> {
        let error = match next.run(cx).await {
            Err(error) if error.class() == ErrorClass::Network || error.kind() == ErrorKind::Timeout => error,
            result => return result,
        };
        cx.cluster.emit(&Event::Decision { error: error.clone(), action: "connect to another host" });
        let deadline = Deadline::after(self.settings.timeout, "failover_timeout");
        // The connect's own time was for the host that failed.
        cx.deadline = deadline;
        let found = match self.settings.mode {
            FailoverMode::StrictWriter => {
                find_writer(cx.cluster, deadline, |cluster, host, role, limit| async move {
                    let mut inner = ConnectContext::new(
                        &cluster,
                        wrapper_core::driver::ConnectTarget::session(host),
                        limit.cap(cluster.options().connect_timeout, "connect_timeout"),
                    );
                    inner.role = role;
                    let connected = next.run(&mut inner).await?;
                    cluster.verify(connected, role, limit).await
                })
                .await
            }
            _ => {
                ReaderSearch::new(
                    self.settings.mode == FailoverMode::StrictReader,
                    self.settings.reader_strategy,
                    self.selector.clone(),
                    self.settings.reader_connect_timeout,
                )
                .connect(cx.cluster, deadline, next)
                .await
            }
        };
        found.map_err(|failure| failed(&failure, &error, self.settings.timeout))
    }

    async fn recover(&self, cx: &mut CallContext<'_>, error: Error) -> Recovery {
        if !self.triggers(cx, &error).await {
            return Recovery::Fail(error);
        }
        let error = match error.kind() {
            // The call was refused before the driver saw it; what the transaction loses, the connection knows.
            ErrorKind::Demoted => error.with_outcome(cx.connection().outcome_if_lost()),
            _ => error,
        };
        // A BEGIN that was queued and never sent makes the status *open*: *not sent* says that nothing is lost.
        let in_transaction = cx.call().pinned
            || (error.outcome() != TransactionOutcome::NotSent
                && matches!(
                    cx.connection().transaction_status(),
                    TransactionStatus::Open | TransactionStatus::Failed
                ));
        cx.session().cluster().emit(&Event::Decision { error: error.clone(), action: "fail over" });
        let plan = SwitchPlan {
            failed: cx.attempt().clone(),
            cause: error.clone(),
            disposal: Disposal::Kill(
                Error::new(ErrorKind::Network, "the session was switched to another host")
                    .with_source(error.clone()),
            ),
            deadline: Deadline::after(self.settings.timeout, "failover_timeout"),
            search: self.search(),
        };
        let method = cx.call().method;
        let told = match cx.session().switch(plan).await {
            Ok(report) => {
                let to = report.to.as_ref().map_or("another host", |host| host.host());
                let (kind, what) = if in_transaction {
                    (ErrorKind::TransactionStateUnknown, "the transaction is over; repeat it as a whole")
                } else {
                    (
                        ErrorKind::FailoverSucceeded,
                        "the call was not repeated; see `outcome` before repeating it",
                    )
                };
                Error::new(kind, format!("the connection was lost and the session switched to {to}: {what}"))
                    .with_outcome(error.outcome())
                    .with_source(error)
            }
            Err(closed) if closed.kind() == ErrorKind::Closed => closed.with_outcome(error.outcome()),
            Err(failure) => failed(&failure, &error, self.settings.timeout),
        };
        Recovery::Fail(told.with_operation(method).with_host(cx.host().host()))
    }
}

fn failed(failure: &Error, cause: &Error, timeout: std::time::Duration) -> Error {
    Error::new(
        ErrorKind::FailoverFailed,
        format!("no suitable host was reached (`failover_timeout` is {timeout:?}); the connection was lost by: {cause}"),
    )
    .with_outcome(cause.outcome())
    .with_source(failure.clone())
    .giving_up()
}

/// Whether another attempt on another host makes sense after `error`.
pub(super) fn is_final(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Login
            | ErrorKind::Config
            | ErrorKind::Unsupported
            | ErrorKind::Closed
            | ErrorKind::Grant
            | ErrorKind::Plugin
    )
}
