//! What a failure of the wrapper leaves to the application, whatever the engine.
//!
//! What may not live here: anything of a driver.

use wrapper_core::{Error, ErrorKind, TransactionOutcome};

use crate::tally::Failure;

/// What the wrapper says of a write that failed.
pub(crate) fn failure(error: &Error) -> Failure {
    let outcome = match error.outcome() {
        TransactionOutcome::NotSent => "not sent",
        TransactionOutcome::RolledBack => "rolled back",
        TransactionOutcome::MayHaveApplied => "may have been applied",
        _ => "committed",
    };
    Failure {
        kind: error.kind().as_str().to_owned(),
        outcome,
        text: error.to_string(),
        in_doubt: !error.outcome().is_not_applied(),
        // The session stands on the new writer already.
        ready: error.kind() == ErrorKind::FailoverSucceeded,
    }
}
