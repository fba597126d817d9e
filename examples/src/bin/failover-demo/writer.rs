//! The application: one loop that writes every 10 ms, the same for both clients.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::tally::{Failure, Tally};

/// Time from one write to the next.
pub(crate) const PERIOD: Duration = Duration::from_millis(10);

/// Pause before a client that has lost its connection makes a new one.
pub(crate) const PAUSE: Duration = Duration::from_millis(50);

/// A client that the loop drives; it connects when it has no connection.
#[async_trait]
pub(crate) trait Client: Send {
    /// Writes a row with this number.
    async fn insert(&mut self, number: i64) -> Result<(), Failure>;

    /// Whether a row with this number is there.
    async fn is_there(&mut self, number: i64) -> Result<bool, Failure>;
}

/// Writes until `end`: a number after the other, each until it is acknowledged. A write that may have been applied is
/// looked up before it is repeated.
pub(crate) async fn run(mut client: Box<dyn Client>, tally: Arc<Tally>, end: CancellationToken) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 1.. {
        let one = async {
            ticks.tick().await;
            write(client.as_mut(), number, &tally).await;
        };
        tokio::select! {
            biased;
            () = end.cancelled() => return,
            () = one => {}
        }
    }
}

async fn write(client: &mut dyn Client, number: i64, tally: &Tally) {
    let mut in_doubt = false;
    loop {
        let done = match in_doubt {
            true => match client.is_there(number).await {
                Ok(true) => Ok(()),
                Ok(false) => client.insert(number).await,
                // The look-up has failed: nothing new is known of the write.
                Err(failure) => Err(Failure { in_doubt: true, ..failure }),
            },
            false => client.insert(number).await,
        };
        let Err(failure) = done else {
            tally.acknowledge(number);
            return;
        };
        in_doubt = failure.in_doubt;
        let ready = failure.ready;
        tally.fail(failure);
        if !ready {
            tokio::time::sleep(PAUSE).await;
        }
    }
}
