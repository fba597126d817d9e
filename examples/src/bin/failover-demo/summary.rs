//! The end of the demo in words: the report of the switch and the table of both clients.

use std::time::Duration;

use crate::result::{ClientResult, RunResult};

/// A length of time for people: milliseconds below a second, else seconds.
pub(crate) fn length(time: Duration) -> String {
    match time.as_millis() {
        millis if millis < 1000 => format!("{millis} ms"),
        _ => format!("{:.2} s", time.as_secs_f64()),
    }
}

/// How late a client was; the harness sees the first write only after it was made, so that a client can be earlier.
pub(crate) fn lateness(millis: f64) -> String {
    match millis {
        millis if millis < 0.5 => "at once".to_owned(),
        millis if millis < 1000.0 => format!("+{millis:.0} ms"),
        millis => format!("+{:.2} s", millis / 1000.0),
    }
}

pub(crate) fn print(result: &RunResult) {
    if let Some(timeline) = &result.timeline {
        let outage = length(timeline.accepting.saturating_sub(timeline.lost));
        println!("The cluster: {} lost, {} accepts writes {outage} later.\n", timeline.from, timeline.to);
    }
    match result.reports.as_slice() {
        [] => println!("The wrapper reports no switch.\n"),
        reports => {
            println!("The wrapper's report:");
            reports.iter().for_each(|report| println!("{report}\n"));
        }
    }
    print!("{}", table(result));
    for client in [&result.wrapped, &result.bare] {
        errors(client);
    }
}

fn table(result: &RunResult) -> String {
    let clients = [&result.wrapped, &result.bare];
    let row = |name: &str, cell: &dyn Fn(&ClientResult) -> String| {
        format!("{name:<48}{:>12}{:>22}\n", cell(clients[0]), cell(clients[1]))
    };
    let unknown = || "not known".to_owned();
    let mut table = row("", &|client| client.name.to_owned());
    table += &row("acknowledged writes", &|client| client.tally.count().to_string());
    table += &row("longest time without one", &|client| {
        client.gap(result.end).map_or_else(unknown, |gap| match gap.closed {
            true => length(gap.length()),
            false => format!("> {}", length(gap.length())),
        })
    });
    if let Some(timeline) = &result.timeline {
        table += &row("first one after the cluster took writes again", &|client| {
            client.late(timeline, result.end).map_or_else(|| "none".to_owned(), lateness)
        });
    }
    let found = |client: &ClientResult, what: fn(&crate::result::Found) -> usize| {
        client.found.as_ref().map_or_else(unknown, |found| what(found).to_string())
    };
    table += &row("acknowledged writes that are lost", &|client| found(client, |found| found.lost));
    table += &row("writes applied twice", &|client| found(client, |found| found.doubled));
    table += &row("errors the application saw", &|client| {
        client.tally.failures().values().sum::<u64>().to_string()
    });
    table
}

fn errors(client: &ClientResult) {
    let failures = client.tally.failures();
    if failures.is_empty() {
        return;
    }
    println!("\nErrors of {}, and what is known of the write:", client.name);
    for ((kind, outcome), count) in failures {
        println!("{count:>6} x {kind}: {outcome}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_for_people() {
        assert_eq!(length(Duration::from_micros(9_400)), "9 ms");
        assert_eq!(length(Duration::from_millis(2_250)), "2.25 s");
        assert_eq!(lateness(-3.0), "at once");
        assert_eq!(lateness(9.4), "+9 ms");
        assert_eq!(lateness(8_210.0), "+8.21 s");
    }
}
