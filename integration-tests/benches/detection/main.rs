//! How long host monitoring takes to give up a call on a host that froze: a grid of settings and of the moment of the
//! freeze, each beside what the formula allows. Scenario 38 of the catalogue.
//!
//! ```text
//! cargo bench -p integration-tests --bench detection -- [--engine mysql] [--runs 3] [--write]
//! ```
#![allow(
    clippy::disallowed_methods,
    reason = "R8 binds core and plugins; this program measures a real cluster"
)]

#[path = "../support/mod.rs"]
mod support;

#[cfg(target_os = "linux")]
#[tokio::main]
async fn main() -> support::Outcome {
    let Some(arguments) = support::Arguments::of_a_bench() else { return Ok(()) };
    support::engine::on_engine!(&arguments, linux::run)
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("a local cluster needs Linux: nothing is measured");
}

#[cfg(target_os = "linux")]
mod linux {
    use std::time::{Duration, Instant};

    use integration_tests::Flavour;

    use crate::support::engine::{Blind, Client, Connector, Engine, Setup};
    use crate::support::page::Table;
    use crate::support::stats::{Millis, Samples, millis};
    use crate::support::{Arguments, Outcome};

    const HEADING: [&str; 7] = [
        "grace / interval / count, freeze after the call's start",
        "runs",
        "given up after the freeze, least",
        "median",
        "greatest",
        "formula: at least",
        "at most",
    ];
    /// Grace, interval (ms), failures in a row.
    const SETTINGS: [(u64, u64, u32); 5] =
        [(1000, 200, 3), (500, 100, 3), (500, 500, 1), (200, 100, 5), (2000, 300, 2)];
    /// When the host freezes, in parts of the grace.
    const MOMENTS: [f64; 3] = [0.1, 0.5, 1.7];
    /// On top of the formula: timers and scheduling, as the bar has it.
    const SLACK: Duration = Duration::from_millis(50);
    const LIMIT: Duration = Duration::from_secs(60);

    pub(crate) async fn run<E: Engine>(arguments: &Arguments) -> Outcome {
        let runs: usize = arguments.value("--runs")?.unwrap_or(3);
        let setup = Setup {
            flavour: Flavour::Aurora,
            promotion: Duration::ZERO..=Duration::ZERO,
            restart: false,
            tls: None,
            settings: &[],
        };
        let cluster = E::start(setup).await?;
        let server = cluster.server().await?;
        let mut table = Table::new(&HEADING);
        let mut outside = 0;
        for setting in SETTINGS {
            for moment in MOMENTS {
                let grace = Duration::from_millis(setting.0);
                let interval = Duration::from_millis(setting.1);
                let mut took = Vec::new();
                let (mut least, mut most) = (Duration::ZERO, Duration::MAX);
                for _ in 0..runs {
                    let (frozen, given_up) = one(&cluster, setting, grace.mul_f64(moment)).await?;
                    let left = grace.saturating_sub(frozen);
                    // The probe's time limit is the interval.
                    least = left.max(Duration::ZERO) + interval * (setting.2 - 1) + interval;
                    most = left.max(interval) + interval * (setting.2 - 1) + interval + SLACK;
                    let after = given_up.saturating_sub(frozen);
                    if after > most {
                        outside += 1;
                    }
                    took.push(millis(after));
                }
                let took = Samples::new(took);
                let (grace, interval, count) = setting;
                table.row([
                    format!("{grace} / {interval} ms / {count}, at {:.0} ms", grace as f64 * moment),
                    runs.to_string(),
                    Millis(took.least()).to_string(),
                    Millis(took.median()).to_string(),
                    Millis(took.greatest()).to_string(),
                    Millis(millis(least)).to_string(),
                    Millis(millis(most)).to_string(),
                ]);
            }
        }
        table.print();
        println!("server: {server}; later than the formula: {outside}");
        if arguments.has("--write") {
            let note =
                format!("Later than the formula: {outside} of {}.", runs * SETTINGS.len() * MOMENTS.len());
            let notes = [format!("Server: {server}."), note];
            table.write(&E::section("detection", &server), &arguments.command("detection"), &notes)?;
        }
        cluster.stop().await;
        Ok(())
    }

    /// One call, and a freeze: when the host froze and when the call was given up, since the call's start.
    async fn one<E: Engine>(
        cluster: &E,
        (grace, interval, count): (u64, u64, u32),
        moment: Duration,
    ) -> Outcome<(Duration, Duration)> {
        let (grace, interval) = (format!("{grace}ms"), format!("{interval}ms"));
        let settings = [
            ("plugins", "efm"),
            ("failure_detection_time", grace.as_str()),
            ("failure_detection_interval", interval.as_str()),
            ("failure_detection_count", &count.to_string()),
        ];
        let connector = cluster.connector(Blind, &settings)?;
        let mut client = connector.connect().await?;
        client.sleep(0).await?;
        let called = Instant::now();
        let call = async {
            let ended = client.sleep(60).await;
            (called.elapsed(), ended)
        };
        let freeze = async {
            tokio::time::sleep(moment).await;
            cluster.freeze_writer().await.map(|()| called.elapsed())
        };
        let both = tokio::time::timeout(LIMIT, async { tokio::join!(call, freeze) }).await;
        cluster.thaw_writer().await?;
        let ((given_up, ended), frozen) = both?;
        match ended {
            Ok(()) => return Err("the call on a frozen host succeeded".into()),
            Err(kind) if kind == "HostSilent" => {}
            Err(kind) => return Err(format!("not given up as a silent host: {kind}").into()),
        }
        drop(client);
        connector.shutdown().await;
        Ok((frozen?, given_up))
    }
}
