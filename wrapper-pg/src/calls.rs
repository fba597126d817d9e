//! What a call asks of its connection before it sends and after it has ended.
//!
//! What lives here: the bracket around each request of the driver. What may not: the requests themselves.

use std::time::Duration;

use wrapper_core::driver::DriverConnection;
use wrapper_core::env::Deadline;
use wrapper_core::{Error, ErrorKind, Result, RetryAdvice, TransactionOutcome};

use crate::cancel::CancelToken;
use crate::connection::PgConnection;
use crate::tap::Mark;

/// Where the connection stood when a call was made.
pub(crate) type Started = Mark;

impl PgConnection {
    /// To be called in the poll that queues a request: announces text that may begin a transaction.
    pub(crate) fn start(&self, sql: Option<&str>) -> Started {
        let mark = self.mark();
        if let Some(sql) = sql {
            self.announce(sql);
        }
        mark
    }

    /// To be called when a request has succeeded: its text goes into the session state.
    pub(crate) fn succeeded(&self, sql: Option<&str>) {
        if let Some(sql) = sql {
            self.observe_success(sql);
        }
    }

    /// To be called when a request has succeeded. The server answers the COMMIT of a failed transaction with ROLLBACK,
    /// which the driver takes for success: that is an error.
    pub(crate) fn check_commit(
        &self,
        sql: Option<&str>,
        started: &Started,
        operation: &'static str,
    ) -> Result<()> {
        if !sql.is_some_and(commits) || self.committed_since(started) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Statement,
            "the transaction was rolled back, not committed: a statement in it had failed",
        )
        .with_sqlstate("25P02")
        .with_advice(RetryAdvice::WholeTransaction)
        .with_outcome(TransactionOutcome::RolledBack)
        .with_operation(operation)
        .with_host(self.host().key.to_string()))
    }

    /// The library's error for one of the driver's.
    pub(crate) fn failed(
        &self,
        error: tokio_postgres::Error,
        started: &Started,
        operation: &'static str,
    ) -> Error {
        self.map_error(error, operation, started)
    }

    /// The error of a call that was not sent because the connection was known to be lost.
    pub(crate) fn lost_before_sending(&self) -> Option<Error> {
        self.is_closed().then(|| {
            Error::new(ErrorKind::Network, "the connection was lost before the call was sent")
                .with_outcome(TransactionOutcome::NotSent)
                .with_host(self.host().key.to_string())
        })
    }
}

/// Whether the first statement of `sql` is one that commits.
fn commits(sql: &str) -> bool {
    let mut rest = sql;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == ';' || c == '\u{b}');
        rest = if let Some(comment) = rest.strip_prefix("--") {
            comment.split_once(['\n', '\r']).map_or("", |(_, rest)| rest)
        } else if rest.starts_with("/*") {
            behind_comment(rest)
        } else {
            break;
        };
    }
    let mut words = rest.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    let first = words.next().unwrap_or_default();
    let mut second_is =
        |wanted| words.find(|word| !word.is_empty()).is_some_and(|word| word.eq_ignore_ascii_case(wanted));
    if first.eq_ignore_ascii_case("COMMIT") {
        // COMMIT PREPARED ends another transaction than the session's own.
        return !second_is("PREPARED");
    }
    first.eq_ignore_ascii_case("END") || (first.eq_ignore_ascii_case("PREPARE") && second_is("TRANSACTION"))
}

/// What follows the comment that `text` begins with; such comments nest.
fn behind_comment(text: &str) -> &str {
    let bytes = text.as_bytes();
    let (mut depth, mut at) = (0_u32, 0);
    while let Some(pair) = bytes.get(at..at + 2) {
        match pair {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return &text[at..];
        }
    }
    ""
}

/// How long a cancel request may take (`connect_timeout`'s default).
const CANCEL_TIMEOUT: Duration = Duration::from_secs(10);

impl CancelToken {
    /// Asks the server to cancel the statement that runs now, within 10 s; see [`cancel`](Self::cancel).
    ///
    /// # Errors
    /// The server was not reached.
    ///
    /// # Cancellation
    /// Safe: the socket is closed.
    pub async fn cancel_query(&self) -> Result<()> {
        self.cancel(Deadline::after(CANCEL_TIMEOUT, "connect_timeout")).await
    }
}

impl crate::Client {
    /// A token that can stop the statement that runs on the present connection. After a switch it stops nothing,
    /// and never a statement of another session.
    pub fn cancel_token(&self) -> CancelToken {
        self.session().load().connection.cancel_token()
    }
}

#[cfg(test)]
mod tests {
    use super::commits;

    #[test]
    fn only_a_text_that_begins_with_a_commit_commits() {
        for sql in [
            "COMMIT",
            " ;commit;",
            "end",
            "-- x\nCommit and chain",
            "/* a /* b */ c */ END;",
            "prepare transaction 'x'",
        ] {
            assert!(commits(sql), "{sql}");
        }
        for sql in [
            "",
            "/* COMMIT",
            "-- COMMIT",
            "ROLLBACK",
            "COMMITTED",
            "END_X",
            "PREPARE x AS SELECT 1",
            "COMMIT PREPARED 'x'",
            "SELECT 'COMMIT'",
        ] {
            assert!(!commits(sql), "{sql}");
        }
    }
}
