//! Dropping an operation at each of its await points, and looking at what that leaves (R6).

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::env::Deadline;

/// Longer than anything takes that ends at all, on a clock that is paused.
const FOREVER: Duration = Duration::from_secs(24 * 3600);

/// Most polls of one operation: it is a loop otherwise.
const MOST_POLLS: usize = 10_000;

/// Where in its life an operation was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DropPoint {
    /// Before its first poll.
    Unpolled,
    /// Right after the poll with this number, counted from 1: what it has sent is on its way.
    Polled(usize),
    /// After it was woken from the wait that began with this poll, before it could look: what it waited for has come,
    /// and nobody takes it.
    Woken(usize),
    /// Not at all: it ended with this poll.
    Ended(usize),
}

impl fmt::Display for DropPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unpolled => f.write_str("dropped before its first poll"),
            Self::Polled(poll) => write!(f, "dropped after poll {poll}"),
            Self::Woken(poll) => write!(f, "dropped when it was woken after poll {poll}"),
            Self::Ended(poll) => write!(f, "ended with poll {poll}"),
        }
    }
}

/// What an enumeration has gone through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Enumeration {
    /// The polls that the operation needs when it is left alone.
    pub polls: usize,
    /// How often it was dropped before its end.
    pub drops: usize,
}

/// An operation was dropped, and the check did not like what it left.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Poisoned {
    /// Where it was dropped.
    pub at: DropPoint,
    /// What the check said.
    pub what: String,
}

impl fmt::Display for Poisoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.what)
    }
}

impl std::error::Error for Poisoned {}

/// Runs an operation once to its end, counting its polls; then as often again as there are points at which it can be
/// dropped, each time in a world made afresh by `prepare`; and each time asks `check` what is left.
///
/// It is dropped before its first poll, right after each poll, and at each point where it was woken but has not looked
/// yet. Call it under paused time on a current-thread runtime, and have `prepare` use the same seed each time: then
/// the runs are equal up to the point of the drop. [`Stage`](super::Stage) prepares worlds and checks them.
///
/// ```
/// use wrapper_core::testkit::{ScriptedCluster, Stage, Statement, enumerate_cancellations};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// let found = enumerate_cancellations(
///     async || {
///         let stage = Stage::new(ScriptedCluster::new(2, 7), Vec::new()).unwrap();
///         let client = stage.client().await.unwrap();
///         (stage, client)
///     },
///     async |(_, client)| client.run(&Statement::append(1)).await,
///     async |(stage, client), _| {
///         stage.check_next_user(&client).await?;
///         stage.check_at_rest(client).await
///     },
/// )
/// .await
/// .unwrap();
/// assert!(found.polls >= 2 && found.drops >= 3);
/// # });
/// ```
///
/// # Errors
/// The first point at which the check failed, with its words; an operation or a check that does not end.
pub async fn enumerate_cancellations<W, T>(
    prepare: impl AsyncFn() -> W,
    operation: impl AsyncFn(&W) -> T,
    check: impl AsyncFn(W, DropPoint) -> Result<(), String>,
) -> Result<Enumeration, Poisoned> {
    let once = async |stop: Option<(usize, bool)>| {
        let world = prepare().await;
        let at = {
            let running = pin!(operation(&world));
            let ended = ends(drive(running, stop)).await;
            ended.ok_or_else(|| poisoned(DropPoint::Unpolled, "the operation does not end"))?
        };
        let judged = ends(check(world, at)).await;
        match judged {
            Some(Ok(())) => Ok(at),
            Some(Err(what)) => Err(poisoned(at, what)),
            None => Err(poisoned(at, "the check does not end: somebody waits for what nobody sends")),
        }
    };
    let polls = match once(None).await? {
        DropPoint::Ended(polls) => polls,
        at => return Err(poisoned(at, format!("the operation has not ended after {MOST_POLLS} polls"))),
    };
    let mut drops = 0;
    for poll in 0..polls {
        for woken in [false, true] {
            if poll == 0 && woken {
                continue;
            }
            if !matches!(once(Some((poll, woken))).await?, DropPoint::Ended(_)) {
                drops += 1;
            }
        }
    }
    Ok(Enumeration { polls, drops })
}

fn poisoned(at: DropPoint, what: impl Into<String>) -> Poisoned {
    Poisoned { at, what: what.into() }
}

/// What `future` gives, unless it never ends.
async fn ends<T>(future: impl Future<Output = T>) -> Option<T> {
    let deadline = Deadline::after(FOREVER, "the enumerator");
    deadline.run("the step", async { Ok(future.await) }).await.ok()
}

/// Polls `future` up to a number of times, and further until it is woken again if that is asked for. Dropping it is
/// the caller's part; it happens in the same poll.
async fn drive<F: Future>(mut future: std::pin::Pin<&mut F>, stop: Option<(usize, bool)>) -> DropPoint {
    let mut done = 0;
    let (stop, woken) = stop.unwrap_or((MOST_POLLS, false));
    poll_fn(|cx| {
        if done == stop {
            return Poll::Ready(if done == 0 { DropPoint::Unpolled } else { DropPoint::Woken(done) });
        }
        done += 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(_) => Poll::Ready(DropPoint::Ended(done)),
            Poll::Pending if done == stop && !woken => Poll::Ready(DropPoint::Polled(done)),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
