//! The way to a connection on the right host: waits for a writer, passes over readers that do not answer.
//!
//! What lives here: what an acquire of the pool does, from the destination to the verified connection. What may not: how
//! a connection comes out of a host's pool (`hosts`), what is done with it.

use std::error::Error as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use wrapper_core::driver::ConnectTarget;
use wrapper_core::env::Deadline;
use wrapper_core::host::{HostInfo, HostKey, HostRole};
use wrapper_core::plugin::{Call, ConnectContext, Connected};
use wrapper_core::topology::Published;
use wrapper_core::{Error, ErrorClass, ErrorKind, Result, TransactionOutcome};

use super::backend::Backend;
use super::hosts::closed;
use super::inner::Inner;
use super::leased::Leased;
use super::route::Destination;

/// After a failed attempt; with jitter, so that those who wait do not march in step.
const PAUSE: Duration = Duration::from_millis(30);
/// After refused credentials: the server must not be flooded with failing logins.
const LOGIN_PAUSE: Duration = Duration::from_secs(1);
/// How long the first connect may take before the host is asked past the pool whether it answers: a connect of sqlx's
/// that was refused pauses, and tells nobody.
const SUSPICIOUS: Duration = Duration::from_millis(300);
/// How long a connect to a reader may take before the same.
const READER_SUSPICIOUS: Duration = Duration::from_secs(1);
/// How long a reader may take to answer that question.
const READER_PROBE: Duration = Duration::from_secs(1);

impl<DB: Backend> Inner<DB> {
    /// A connection for `call`, on a host of the kind that the route says.
    ///
    /// # Errors
    /// At the `acquire_timeout` of the pool options, what the last attempt failed with; refused credentials that no host
    /// accepts; the pool was closed.
    ///
    /// # Cancellation
    /// Safe: a connection goes back, one that was being opened is closed.
    pub(super) async fn connect(&self, call: &Call<'_>) -> Result<Connected> {
        let deadline = Deadline::after(self.acquire_timeout, "acquire_timeout");
        let last = LastRefusal::default();
        let connected = async {
            match self.route.route(call) {
                Destination::Writer => self.writer(deadline, &last).await,
                Destination::Reader => self.reader(deadline, &last).await,
            }
        };
        tokio::select! {
            biased;
            () = self.hosts.closed().cancelled() => Err(closed()),
            connected = deadline.run("acquiring a connection", connected) => {
                connected.map_err(|error| last.explain(error))
            }
        }
    }

    async fn writer(&self, deadline: Deadline, last: &LastRefusal) -> Result<Connected> {
        let cluster = self.core.cluster();
        let mut in_doubt = false;
        let mut patience = SUSPICIOUS;
        loop {
            let known = cluster.topology().filter(|published| published.verified && !in_doubt);
            let published = match known {
                Some(published) => published,
                None => match cluster.core().search_writer(deadline).await {
                    Ok(published) => published,
                    Err(error) if error.class() == ErrorClass::Login && !deadline.is_over() => {
                        self.env().sleep(LOGIN_PAUSE).await;
                        continue;
                    }
                    Err(error) => return Err(error),
                },
            };
            let Some(writer) = published.topology.writer().cloned() else {
                in_doubt = true;
                continue;
            };
            let attempt = tokio::select! {
                biased;
                () = self.moved(&writer.key) => {
                    in_doubt = false;
                    continue;
                }
                attempt = self.connect_to(&writer, HostRole::Writer, deadline) => attempt,
                () = self.suspicious(&writer, patience) => {
                    // A writer that answers the search is connected to anew, with all the time that a connect may take.
                    patience = cluster.options().connect_timeout.max(SUSPICIOUS);
                    in_doubt = true;
                    continue;
                }
            };
            match attempt {
                // The writer may have changed during the connect's last answer.
                Ok(connected) if self.is_writer(&writer.key) => return Ok(connected),
                Ok(_) => {}
                Err(error) if is_final(&error) || deadline.is_over() => return Err(error),
                Err(error) => {
                    in_doubt = true;
                    self.pause_after(&error).await;
                    last.note(error);
                }
            }
        }
    }

    /// Whether the monitor takes this host for the writer.
    pub(super) fn is_writer(&self, host: &HostKey) -> bool {
        let published: Option<Published> = self.core.cluster().topology();
        let writer = published.as_ref().and_then(|published| published.topology.writer());
        writer.is_some_and(|writer| writer.key == *host)
    }

    /// Ends when another host than `from` has shown itself to be the writer.
    async fn moved(&self, from: &HostKey) {
        let mut topology = self.core.cluster().subscribe();
        let moved = topology.wait_for(|published| {
            let verified = published.as_ref().filter(|published| published.verified);
            verified.and_then(|published| published.topology.writer()).is_some_and(|now| now.key != *from)
        });
        if moved.await.is_err() {
            std::future::pending().await
        }
    }

    /// Ends when a connect has taken `patience` although the host's pool had a place for it.
    async fn suspicious(&self, host: &HostInfo, patience: Duration) {
        loop {
            self.env().sleep(patience).await;
            if self.hosts.known(&host.key).is_none_or(|home| !home.is_exhausted()) {
                return;
            }
        }
    }

    async fn reader(&self, deadline: Deadline, last: &LastRefusal) -> Result<Connected> {
        let mut tried: Vec<HostKey> = Vec::new();
        loop {
            let cluster = self.core.cluster();
            let Some(host) = self.choose(&tried) else {
                // The next round begins with what is known by then.
                tried.clear();
                cluster.core().request_search();
                self.env().sleep(self.env().jitter(PAUSE * 4, 50)).await;
                continue;
            };
            if host.role == HostRole::Writer {
                return self.writer(deadline, last).await;
            }
            match self.reader_at(&host, deadline).await {
                Ok(connected) => return Ok(connected),
                Err(error) if is_final(&error) || deadline.is_over() => return Err(error),
                Err(error) => {
                    if error.class() == ErrorClass::Login {
                        self.env().sleep(LOGIN_PAUSE).await;
                    }
                    tried.push(host.key);
                    last.note(error);
                }
            }
        }
    }

    /// A reader that may be asked and was not tried in this round; the writer when none of them may be asked at all.
    fn choose(&self, tried: &[HostKey]) -> Option<HostInfo> {
        let topology = self.core.cluster().topology()?.topology;
        let may_be_asked = |host: &HostInfo| {
            let is_closed = self.hosts.known(&host.key).is_none_or(|home| home.may_be_asked());
            is_closed && !tried.contains(&host.key)
        };
        let eligible: Vec<&HostInfo> = topology.readers().filter(|host| may_be_asked(host)).collect();
        match self.selector.pick(&eligible, self.env()) {
            Some(reader) => Some(reader.clone()),
            None if self.strict_reader => None,
            None => topology.writer().cloned(),
        }
    }

    async fn reader_at(&self, host: &HostInfo, deadline: Deadline) -> Result<Connected> {
        let cluster = self.core.cluster();
        let mut patience = READER_SUSPICIOUS;
        loop {
            tokio::select! {
                biased;
                attempt = self.connect_to(host, HostRole::Unknown, deadline) => return attempt,
                () = self.suspicious(host, patience) => {}
            }
            let limit = deadline.cap(READER_PROBE, "the limit of a probe");
            match cluster.core().open_monitor(host, limit).await {
                // Alive: slow, or its connections are used past the pool.
                Ok(_) => patience = cluster.options().connect_timeout.max(READER_SUSPICIOUS),
                Err(error) => {
                    if let Some(home) = self.hosts.known(&host.key) {
                        home.note_stuck();
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Takes a connection of the host's pool, through the plugins that go around a connect; one that was just opened, or
    /// whose host has not said so since the writer last changed, is asked for its role.
    async fn connect_to(&self, host: &HostInfo, role: HostRole, deadline: Deadline) -> Result<Connected> {
        let cluster = self.core.cluster();
        let epoch = cluster.writer_epoch();
        let mut cx = ConnectContext::new(cluster, ConnectTarget::session(host.clone()), deadline);
        cx.role = role;
        cx.initial = true;
        let connected = self.chain.connect(&mut cx).await?;
        if role == HostRole::Unknown {
            return Ok(connected);
        }
        let leased = connected.connection.as_any().downcast_ref::<Leased<DB>>();
        let proved = leased.is_none_or(|leased| !leased.is_new() && leased.home().is_proved(epoch));
        if proved {
            return Ok(connected);
        }
        let verified = cluster.verify(
            connected,
            role,
            deadline.cap(cluster.options().connect_timeout, "connect_timeout"),
        );
        let verified = verified.await?;
        if let Some(leased) = verified.connection.as_any().downcast_ref::<Leased<DB>>() {
            leased.home().note_proved(epoch);
        }
        Ok(verified)
    }

    async fn pause_after(&self, error: &Error) {
        let pause =
            if error.class() == ErrorClass::Login { LOGIN_PAUSE } else { self.env().jitter(PAUSE, 50) };
        self.env().sleep(pause).await;
    }
}

/// What the last attempt of an acquire has failed with.
#[derive(Default)]
struct LastRefusal(Mutex<Option<Error>>);

impl LastRefusal {
    fn note(&self, error: Error) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    /// The error for the caller: an acquire that was late has sent nothing, and the last refusal says why it was.
    fn explain(&self, error: Error) -> Error {
        if error.kind() != ErrorKind::Timeout {
            return error;
        }
        let error = error.with_outcome(TransactionOutcome::NotSent);
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(last) if error.source().is_none() => error.with_source(last),
            _ => error,
        }
    }
}

/// Whether another attempt makes no sense.
fn is_final(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Closed
            | ErrorKind::Config
            | ErrorKind::Unsupported
            | ErrorKind::Grant
            | ErrorKind::Plugin
            | ErrorKind::Driver
    )
}
