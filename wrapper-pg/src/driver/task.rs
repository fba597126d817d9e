//! The task of one connection: moves its messages, and ends when it is told to.
//!
//! What lives here: [`run`]. What may not: decisions about why a connection ends; the flags on the link say so.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::Connection;
use wrapper_core::driver::TransactionStatus;
use wrapper_core::env::Environment;
use wrapper_core::{Error, ErrorKind};

use crate::link::Link;
use crate::tap::Probe;

/// How long the goodbye of a released connection may take before its socket is closed without one.
const GOODBYE: Duration = Duration::from_secs(2);
/// How long a draining connection must have been idle before it is closed although somebody still holds it.
const DRAIN_IDLE: Duration = Duration::from_secs(1);

type Timer = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The timers of a connection that is to end; none exists before.
struct Ending {
    environment: Environment,
    goodbye: Option<Timer>,
    idle: Option<Timer>,
    seen: u64,
}

impl Ending {
    #[cold]
    fn poll(&mut self, cx: &mut Context<'_>, link: &Link, probe: &Probe) {
        if link.is_released() {
            let sleep = || sleep(&self.environment, GOODBYE);
            if self.goodbye.get_or_insert_with(sleep).as_mut().poll(cx).is_ready() {
                link.kill(Error::new(
                    ErrorKind::Closed,
                    "the connection was closed: it did not say goodbye in time",
                ));
            }
        } else if link.is_draining() {
            let idle = probe.outstanding() == 0 && probe.status() == TransactionStatus::Idle;
            // Bytes in either direction start the time anew.
            let passed = link.received().wrapping_add(link.written());
            if !idle || passed != self.seen {
                self.seen = passed;
                self.idle = None;
            }
            if idle {
                let sleep = || sleep(&self.environment, DRAIN_IDLE);
                if self.idle.get_or_insert_with(sleep).as_mut().poll(cx).is_ready() {
                    link.kill(Error::new(ErrorKind::Network, "the connection was replaced by another one"));
                }
            }
        }
    }
}

fn sleep(environment: &Environment, span: Duration) -> Timer {
    let environment = environment.clone();
    Box::pin(async move { environment.sleep(span).await })
}

/// Runs a connection to its end. Its socket is closed when this returns or is dropped.
pub(super) async fn run<S, T>(
    mut connection: Connection<S, T>,
    link: Arc<Link>,
    probe: Arc<Probe>,
    environment: Environment,
) where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut ending = Ending { environment, goodbye: None, idle: None, seen: 0 };
    let mut registered: Option<Waker> = None;
    let cause = poll_fn(|cx| {
        // Whoever raises a flag takes the waker; as long as none was raised before a poll, it is still there.
        if !link.is_calm() || !registered.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            registered = Some(cx.waker().clone());
            link.register(cx.waker());
        }
        loop {
            if link.is_killed() {
                return Poll::Ready(None);
            }
            match connection.poll_message(cx) {
                Poll::Ready(Some(Ok(message))) => link.deliver(message),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(error)),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => break,
            }
        }
        if link.is_calm() {
            return Poll::Pending;
        }
        ending.poll(cx, &link, &probe);
        if link.is_killed() { Poll::Ready(None) } else { Poll::Pending }
    })
    .await;
    // The calls in flight end when the connection is dropped; by then the cause must be there.
    link.end(cause);
    drop(connection);
}
