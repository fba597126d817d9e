//! Freezing: a future behind a closed gate is not polled, as a process that got SIGSTOP does not run.
//!
//! What may not live here: what is frozen, and when.

use std::pin::pin;

use tokio::sync::watch;

/// Runs a future, except while the gate is closed (`true`). The kernel keeps accepting and buffering meanwhile.
pub(crate) async fn gated<F: Future>(mut frozen: watch::Receiver<bool>, future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        open(&mut frozen).await;
        tokio::select! {
            biased;
            () = closed(&mut frozen) => {}
            output = &mut future => return output,
        }
    }
}

async fn open(frozen: &mut watch::Receiver<bool>) {
    // Nobody left who could freeze means open.
    frozen.wait_for(|frozen| !frozen).await.ok();
}

async fn closed(frozen: &mut watch::Receiver<bool>) {
    if frozen.wait_for(|frozen| *frozen).await.is_err() {
        std::future::pending::<()>().await;
    }
}
