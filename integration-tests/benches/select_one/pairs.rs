//! Interleaved pairs, and the ratio of throughputs with its interval.

use std::time::{Duration, Instant};

use crate::clients::{Load, Place, SelectOne};
use crate::support::Outcome;
use crate::support::page::Table;
use crate::support::stats::Samples;

const HEADING: [&str; 6] =
    ["load", "pairs", "wrapped / bare", "95 % interval", "bare / bare (95 % interval)", "bare, µs per call"];

/// Pairs after which all connections are opened anew.
const PAIRS_OF_A_CONNECTION: usize = 6;

/// Pause between opening connections and measuring.
const SETTLE: Duration = Duration::from_millis(300);

/// Measures both loads. Many short pairs rather than few long ones: what disturbs the machine for longer than a pair
/// disturbs both of its halves. All connections are opened anew from time to time: two server processes with the same
/// work can differ by 5 % for as long as they live.
pub(crate) async fn measure(place: &Place, pairs: usize) -> Outcome<Table> {
    let mut table = Table::new(&HEADING);
    for (name, load, calls) in
        [("sequential", Load::Sequential, 500), ("100 pipelined", Load::Pipelined, 2_500)]
    {
        let (mut ratios, mut noise, mut micros) = (Vec::new(), Vec::new(), Vec::new());
        while ratios.len() < pairs {
            let (bare, twin, wrapped) =
                (place.bare().await?, place.bare().await?, place.wrapped(false).await?);
            // What a connect sets going in the background has ended by then.
            tokio::time::sleep(SETTLE).await;
            // Caches, the server's plans and the processor's clock settle.
            bare.ask(load, calls).await?;
            twin.ask(load, calls).await?;
            wrapped.ask(load, calls).await?;
            for number in 0..PAIRS_OF_A_CONNECTION.min(pairs - ratios.len()) {
                let (base, other) = pair(&bare, &wrapped, load, calls, number % 2 == 0).await?;
                ratios.push(base / other);
                micros.push(base / calls as f64);
                let (base, other) = pair(&bare, &twin, load, calls, number % 2 == 0).await?;
                noise.push(base / other);
            }
        }
        let (ratios, noise) = (Samples::new(ratios), Samples::new(noise));
        let interval = |samples: &Samples| {
            let (low, high) = samples.median_interval();
            format!("{low:.3} to {high:.3}")
        };
        table.row([
            name.to_owned(),
            pairs.to_string(),
            format!("{:.3}", ratios.median()),
            interval(&ratios),
            format!("{:.3} ({})", noise.median(), interval(&noise)),
            format!("{:.1}", Samples::new(micros).median()),
        ]);
    }
    Ok(table)
}

/// Microseconds of the same load on both, one right after the other.
async fn pair(
    first: &impl SelectOne,
    second: &impl SelectOne,
    load: Load,
    calls: usize,
    in_order: bool,
) -> Outcome<(f64, f64)> {
    if in_order {
        let one = timed(first, load, calls).await?;
        Ok((one, timed(second, load, calls).await?))
    } else {
        let two = timed(second, load, calls).await?;
        Ok((timed(first, load, calls).await?, two))
    }
}

async fn timed(client: &impl SelectOne, load: Load, calls: usize) -> Outcome<f64> {
    let start = Instant::now();
    client.ask(load, calls).await?;
    Ok(start.elapsed().as_secs_f64() * 1e6)
}
