//! What the bare clients of both engines share: their limits, the look-up of the cluster endpoint's name, and what a
//! failure before the first statement means.
//!
//! What may not live here: anything of a driver.

use std::fmt::Display;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use wrapper_core::env::Resolver;

use crate::tally::Failure;

/// Limit of one connect, login included.
pub(crate) const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// Limit of one statement; without it a frozen server would hold the client for ever.
pub(crate) const CALL_LIMIT: Duration = Duration::from_secs(5);

/// Asks for the address of the moment, as a client without the wrapper does before each connect.
pub(crate) async fn look_up(resolver: &dyn Resolver, host: &str, port: u16) -> Result<SocketAddr, Failure> {
    let address = resolver.resolve(host, port).await.and_then(|found| {
        found.first().copied().ok_or_else(|| std::io::Error::other("the name has no address"))
    });
    address.map_err(|error| unsent("look-up failed", &error))
}

/// A connect with its limit.
pub(crate) async fn connected<T>(connecting: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    match tokio::time::timeout(CONNECT_LIMIT, connecting).await {
        Ok(result) => result,
        Err(_) => Err(unsent("connect timed out", &format!("no connection within {CONNECT_LIMIT:?}"))),
    }
}

/// A statement with its limit; `failure` tells what the driver's error lets an application conclude.
pub(crate) async fn bounded<T, E>(
    call: impl Future<Output = Result<T, E>>,
    failure: fn(&E) -> Failure,
) -> Result<T, Failure> {
    match tokio::time::timeout(CALL_LIMIT, call).await {
        Ok(result) => result.map_err(|error| failure(&error)),
        Err(_) => Err(Failure {
            kind: "call timed out".to_owned(),
            outcome: "unknown",
            text: format!("no answer within {CALL_LIMIT:?}"),
            in_doubt: true,
            ready: false,
        }),
    }
}

/// A failure before anything was sent.
pub(crate) fn unsent(kind: &str, error: &dyn Display) -> Failure {
    Failure {
        kind: kind.to_owned(),
        outcome: "not sent",
        text: error.to_string(),
        in_doubt: false,
        ready: false,
    }
}

/// A failed connect by what its chain of errors holds.
pub(crate) fn not_connected(error: &(dyn std::error::Error + 'static), answer: Option<String>) -> Failure {
    let mut next = Some(error);
    let mut refused = false;
    while let Some(cause) = next {
        let io = cause.downcast_ref::<std::io::Error>();
        refused |= io.is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused);
        next = cause.source();
    }
    let kind = match answer {
        Some(answer) => format!("{answer} at connect"),
        None if refused => "connect refused".to_owned(),
        None => "connect failed".to_owned(),
    };
    unsent(&kind, &chain(error))
}

/// An error with its causes, as the application would log it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        // Some drivers repeat their cause.
        if !text.ends_with(&cause_text) {
            text.push_str(&format!(": {cause_text}"));
        }
        next = cause.source();
    }
    text
}
