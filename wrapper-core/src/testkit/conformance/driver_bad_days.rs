//! What every driver adapter keeps when the server falls silent, or the connection is given up.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::join;

use super::super::cancel::enumerate_cancellations;
use super::driver::{Connection, DriverRig, asks, first, open};
use super::{Checked, Conformance, LATE, SHORT, ample, deadline, ensure, in_time};
use crate::env::Environment;
use crate::error::{Error, ErrorKind};

const WORDS: &str = "the suite has given the connection up";

pub(super) async fn ask(found: &mut Conformance, rig: &dyn DriverRig) {
    found.ask("connect-deadline", silent(rig, connect_deadline(rig))).await;
    found.ask("fetch-deadline", fetch_deadline(rig)).await;
    found.ask("ping-deadline", ping_deadline(rig)).await;
    found.ask("cancelled-fetch", cancelled_fetch(rig)).await;
    found.ask("kill-ends-calls", kill_ends_calls(rig)).await;
    found.ask("kill-first-reason", kill_first_reason(rig)).await;
    found.ask("drain", drain(rig)).await;
    if rig.open_connections().await.is_none() {
        for name in ["cancelled-connect", "kill-closes-socket", "drop-closes-socket"] {
            found.skip(name, "the rig cannot count connections");
        }
        return;
    }
    found.ask("cancelled-connect", cancelled_connect(rig)).await;
    found.ask("kill-closes-socket", kill_closes_socket(rig)).await;
    found.ask("drop-closes-socket", drop_closes_socket(rig)).await;
}

/// Runs a check while the server is silent; it goes on in any case.
async fn silent(rig: &dyn DriverRig, check: impl Future<Output = Checked>) -> Checked {
    rig.silence(true).await;
    let checked = check.await;
    rig.silence(false).await;
    checked
}

fn must_be_late(what: &str, error: Option<Error>) -> Checked {
    let error = error.ok_or_else(|| format!("{what} of a silent server succeeds"))?;
    ensure(error.kind() == ErrorKind::Timeout, || format!("{what} ends with another error: {error}"))
}

async fn connect_deadline(rig: &dyn DriverRig) -> Checked {
    let driver = rig.driver();
    let error = in_time("a connect", driver.connect(&rig.target(), deadline(SHORT))).await?.err();
    let named = error.as_ref().is_none_or(|error| error.host().is_some());
    ensure(named, || format!("the error does not name its host: {error:?}"))?;
    must_be_late("a connect", error)
}

/// After a time-out the connection answers what it is asked, or it is closed.
async fn clean_or_closed(rig: &dyn DriverRig, connection: &Connection) -> Checked {
    for question in rig.questions() {
        if connection.is_closed() {
            return Ok(());
        }
        let asked = asks(connection, &question).await;
        ensure(asked.is_ok() || connection.is_closed(), || format!("afterwards {asked:?}"))?;
    }
    Ok(())
}

async fn fetch_deadline(rig: &dyn DriverRig) -> Checked {
    let (connection, question) = (open(rig).await?, first(rig)?);
    let late = async {
        let asked = connection.fetch_text(&question.sql, deadline(SHORT));
        must_be_late("a question", in_time("a question", asked).await?.err())?;
        let run = connection.run_sql(&question.sql, deadline(SHORT));
        let error = in_time("a statement", run).await?.err();
        ensure(error.is_some(), || "a statement of a silent server succeeds".to_owned())
    };
    silent(rig, late).await?;
    clean_or_closed(rig, &connection).await
}

async fn ping_deadline(rig: &dyn DriverRig) -> Checked {
    let connection = open(rig).await?;
    let late = async {
        let ping = connection.ping(deadline(SHORT));
        must_be_late("a ping", in_time("a ping", ping).await?.err())
    };
    silent(rig, late).await?;
    clean_or_closed(rig, &connection).await
}

async fn cancelled_fetch(rig: &dyn DriverRig) -> Checked {
    let questions = rig.questions();
    let found = enumerate_cancellations(
        async || open(rig).await,
        async |connection| {
            if let (Ok(connection), Some(question)) = (connection, questions.last()) {
                let _ = connection.fetch_text(&question.sql, ample()).await;
            }
        },
        async |connection, _| clean_or_closed(rig, &connection?).await,
    )
    .await;
    found.map(drop).map_err(|poisoned| poisoned.to_string())
}

fn reason() -> Error {
    Error::new(ErrorKind::HostSilent, WORDS)
}

fn ended_by_reason(error: Option<Error>) -> Checked {
    let error = error.ok_or_else(|| "a call on a connection that was given up succeeds".to_owned())?;
    let told = error.kind() == ErrorKind::HostSilent && error.to_string().contains(WORDS);
    ensure(told, || format!("a call ends with another error than the reason: {error}"))
}

async fn kill_ends_calls(rig: &dyn DriverRig) -> Checked {
    let (connection, question) = (open(rig).await?, first(rig)?);
    let env = Environment::default();
    let killed = async {
        let kill = async {
            env.sleep(Duration::from_millis(50)).await;
            connection.kill(reason());
            env.now()
        };
        let limit = deadline(Duration::from_secs(30));
        let (asked, at) = join(connection.fetch_text(&question.sql, limit), kill).await;
        let took = env.now().saturating_duration_since(at);
        ensure(took < LATE, || format!("a call in flight ends {took:?} after the kill"))?;
        ended_by_reason(asked.err())?;
        ensure(connection.is_closed(), || "it is not closed".to_owned())?;
        ended_by_reason(connection.fetch_text(&question.sql, ample()).await.err())?;
        ended_by_reason(connection.run_sql(&question.sql, ample()).await.err())?;
        let ping = connection.ping(ample()).await.err();
        ensure(ping.is_some(), || "a ping on a connection that was given up succeeds".to_owned())
    };
    silent(rig, killed).await
}

async fn kill_first_reason(rig: &dyn DriverRig) -> Checked {
    let (connection, question) = (open(rig).await?, first(rig)?);
    connection.kill(reason());
    ensure(connection.is_closed(), || "it is not closed at once".to_owned())?;
    connection.kill(Error::new(ErrorKind::Closed, "somebody else's reason"));
    connection.drain();
    ended_by_reason(connection.fetch_text(&question.sql, ample()).await.err())
}

async fn closes(connection: &Connection) -> Checked {
    let env = Environment::default();
    for _ in 0..200 {
        if connection.is_closed() {
            return Ok(());
        }
        env.sleep(Duration::from_millis(10)).await;
    }
    Err("a connection that was drained is not closed".to_owned())
}

async fn drain(rig: &dyn DriverRig) -> Checked {
    let (connection, question) = (open(rig).await?, first(rig)?);
    rig.silence(true).await;
    let mut asked = pin!(asks(&connection, &question));
    // The first poll sends it.
    let early = poll_fn(|cx| Poll::Ready(asked.as_mut().poll(cx))).await;
    connection.drain();
    rig.silence(false).await;
    let answered = match early {
        Poll::Ready(answered) => answered,
        Poll::Pending => asked.await,
    };
    answered.map_err(|what| format!("a call that was in flight is not answered: {what}"))?;
    closes(&connection).await?;
    let later = connection.fetch_text(&question.sql, ample()).await;
    ensure(later.is_err(), || "a drained connection takes another call".to_owned())
}

/// Waits until the server has as many connections open as before.
async fn count_is(rig: &dyn DriverRig, wanted: Option<usize>) -> Checked {
    let env = Environment::default();
    let mut open = rig.open_connections().await;
    for _ in 0..200 {
        if open <= wanted {
            return Ok(());
        }
        env.sleep(Duration::from_millis(10)).await;
        open = rig.open_connections().await;
    }
    Err(format!("the server has {open:?} connections open, had {wanted:?} before"))
}

async fn cancelled_connect(rig: &dyn DriverRig) -> Checked {
    let before = rig.open_connections().await;
    let found = enumerate_cancellations(
        async || rig.driver(),
        async |driver| driver.connect(&rig.target(), ample()).await.map(drop),
        async |_, _| count_is(rig, before).await,
    )
    .await;
    found.map(drop).map_err(|poisoned| poisoned.to_string())
}

async fn kill_closes_socket(rig: &dyn DriverRig) -> Checked {
    let before = rig.open_connections().await;
    let connection = open(rig).await?;
    ensure(rig.open_connections().await > before, || "the rig does not count connections".to_owned())?;
    connection.kill(reason());
    // The value lives on; the socket does not.
    let checked = count_is(rig, before).await;
    drop(Arc::clone(&connection));
    checked
}

async fn drop_closes_socket(rig: &dyn DriverRig) -> Checked {
    let before = rig.open_connections().await;
    drop(open(rig).await?);
    count_is(rig, before).await
}
