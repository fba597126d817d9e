//! Instructions of one call, counted by valgrind in a process of its own: the difference between two numbers of
//! calls, so that connecting and preparing do not count.

use std::process::Command;
use std::time::Duration;

use super::clients::{Load, Place, SelectOne};
use crate::support::page::Table;
use crate::support::{Arguments, Outcome};

const FEW: usize = 1_000;
const MANY: usize = 3_000;
/// The bare driver in a runtime that has a timer pending.
const TIMER: &str = "bare-beside-a-timer";
const PASSWORD: &str = "SELECT_ONE_PASSWORD";

/// Counts for both loads. The bare driver is counted twice: the difference is the noise of the count. It is also
/// counted beside a timer that is pending, as some timer is in nearly every service: the runtime then works out at
/// each wait when to wake up. The library has timers pending, so that its count holds this work too.
pub(crate) fn measure(place: &Place) -> Outcome<Table> {
    let mut table = Table::new(&[
        "load",
        "bare, instructions per call",
        "bare again / bare",
        "bare beside a timer",
        "wrapped",
        "wrapped / bare",
        "wrapped / bare beside a timer",
    ]);
    for (name, load) in [("sequential", "sequential"), ("100 pipelined", "pipelined")] {
        let bare = per_call(place, load, "bare")?;
        let again = per_call(place, load, "bare")?;
        let beside = per_call(place, load, TIMER)?;
        let wrapped = per_call(place, load, "wrapped")?;
        table.row([
            name.to_owned(),
            format!("{bare:.0}"),
            format!("{:.3}", again / bare),
            format!("{beside:.0}"),
            format!("{wrapped:.0}"),
            format!("{:.3}", wrapped / bare),
            format!("{:.3}", wrapped / beside),
        ]);
    }
    Ok(table)
}

fn per_call(place: &Place, load: &str, client: &str) -> Outcome<f64> {
    let few = counted(place, load, client, FEW)?;
    let many = counted(place, load, client, MANY)?;
    Ok((many - few) / (MANY - FEW) as f64)
}

fn counted(place: &Place, load: &str, client: &str, calls: usize) -> Outcome<f64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["--bench", "--child", "--load", load, "--client", client, "--calls", &calls.to_string()])
        .args(["--address", &place.address.to_string(), "--user", &place.user, "--database", &place.database])
        .env(PASSWORD, &place.password)
        .output()
        .map_err(|error| format!("valgrind could not be started: {error}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let collected =
        text.lines().find_map(|line| line.split_once("Collected :")).map(|(_, count)| count.trim());
    match collected.and_then(|count| count.parse().ok()) {
        Some(count) if output.status.success() => Ok(count),
        _ => Err(format!("valgrind gave no count: {text}").into()),
    }
}

/// The process under valgrind: one client, one load.
pub(crate) async fn child(arguments: &Arguments) -> Outcome {
    let text = |name: &str| -> Outcome<String> {
        Ok(arguments.value(name)?.ok_or_else(|| format!("`{name}` is missing"))?)
    };
    let place = Place {
        address: text("--address")?.parse()?,
        user: text("--user")?,
        password: std::env::var(PASSWORD)?,
        database: text("--database")?,
    };
    let load = if text("--load")? == "pipelined" { Load::Pipelined } else { Load::Sequential };
    let calls = text("--calls")?.parse()?;
    let client = text("--client")?;
    if client == "wrapped" {
        return place.wrapped(true).await?.ask(load, calls).await;
    }
    if client == TIMER {
        tokio::spawn(tokio::time::sleep(Duration::from_secs(3600)));
        // It is polled, and so pending, before the first call.
        tokio::task::yield_now().await;
    }
    place.bare().await?.ask(load, calls).await
}
