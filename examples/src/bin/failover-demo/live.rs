//! The live progress: one line that is rewritten on a terminal, else a line a second.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::summary::length;
use crate::tally::Tally;

/// What the cluster is going through.
#[derive(Clone, Debug)]
pub(crate) enum Phase {
    Before,
    Lost {
        fault: &'static str,
        at: Duration,
    },
    Back {
        writer: String,
    },
    /// A cluster of the user's: only its owner knows.
    Yours,
}

/// A client that has not written for so long is said to wait.
const WAITING: Duration = Duration::from_millis(150);

/// Shows the progress until `end`.
pub(crate) async fn show(
    wrapped: Arc<Tally>,
    bare: Arc<Tally>,
    phases: watch::Receiver<Phase>,
    end: CancellationToken,
) {
    let terminal = std::io::stdout().is_terminal();
    let mut ticks = tokio::time::interval(Duration::from_millis(if terminal { 100 } else { 1000 }));
    loop {
        tokio::select! {
            biased;
            () = end.cancelled() => break,
            _ = ticks.tick() => {}
        }
        let line = line(&wrapped, &bare, &phases.borrow());
        if terminal {
            // Back to the first column, and clear what was there; a line never wraps at 80 columns.
            print!("\r\x1b[2K{}", line.chars().take(79).collect::<String>());
            // A terminal that is gone is no reason to stop.
            let _ = std::io::stdout().flush();
        } else {
            println!("{line}");
        }
    }
    if terminal {
        println!();
    }
}

fn line(wrapped: &Tally, bare: &Tally, phase: &Phase) -> String {
    let now = wrapped.now();
    let phase = match phase {
        Phase::Before => "all is well".to_owned(),
        Phase::Lost { fault, at } => format!("{fault}! no writer {}", length(now.saturating_sub(*at))),
        Phase::Back { writer } => format!("writer {writer}"),
        Phase::Yours => "your turn".to_owned(),
    };
    let (wrapped, bare) = (client(wrapped, now), client(bare, now));
    format!("{:>5.1} s {phase:<24} wrapper {wrapped:<18} bare {bare}", now.as_secs_f64())
}

fn client(tally: &Tally, now: Duration) -> String {
    let count = tally.count();
    match tally.last().map(|last| now.saturating_sub(last)) {
        Some(pause) if pause > WAITING => format!("{count:>5} waits {}", length(pause)),
        _ => format!("{count:>5}"),
    }
}
