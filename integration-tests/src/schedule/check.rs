//! What is checked when a run is over: what the clients were told against what the servers have written down.

use std::collections::{BTreeMap, BTreeSet};

use wrapper_core::testkit::ScriptedCluster;

use super::book::{Book, Fate};
use super::invariant::Invariant;
use super::witness::Published;

pub(super) fn check(cluster: &ScriptedCluster, book: &Book, published: &Published) {
    let log: BTreeSet<u64> = cluster.log().iter().map(|written| written.statement).collect();
    let lost: BTreeSet<u64> = cluster.lost().iter().map(|written| written.statement).collect();
    let units = book.pages().units.clone();
    for unit in &units {
        let kept = unit.statements.iter().filter(|number| log.contains(number)).count();
        let by_cluster = unit.statements.iter().filter(|number| lost.contains(number)).count();
        match unit.fate {
            Fate::Acknowledged if kept + by_cluster < unit.statements.len() => book.broken(
                Invariant::NoLostWrite,
                format!("acknowledged, and not there: {:?}", unit.statements),
            ),
            Fate::NotApplied if kept + by_cluster > 0 => book.broken(
                Invariant::OutcomeIsTrue,
                format!("reported as not applied, and there: {:?}", unit.statements),
            ),
            _ if kept != 0 && kept != unit.statements.len() => {
                book.broken(Invariant::OutcomeIsTrue, format!("half of it is there: {:?}", unit.statements));
            }
            _ => {}
        }
    }
    let outside: BTreeSet<u64> = book.pages().outside.iter().copied().collect();
    let mut runs: BTreeMap<u64, u32> = BTreeMap::new();
    let mut sent: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for executed in cluster.executed() {
        let number = executed.statement;
        sent.insert(number, (executed.connection, executed.sent));
        *runs.entry(number).or_default() += 1;
        if executed.in_transaction && outside.contains(&number) {
            book.broken(
                Invariant::CleanAfterCancel,
                format!(
                    "{} {number} found a transaction open on connection {}",
                    executed.kind, executed.connection
                ),
            );
        }
        let changes = executed.is_write || executed.kind == "commit";
        if changes
            && executed.accepted
            && published.demoted_between(&executed.host, executed.opened, executed.sent)
        {
            book.broken(
                Invariant::NoWriteToDemoted,
                format!("{} {number} was accepted by {}, known to be demoted", executed.kind, executed.host),
            );
        }
    }
    for (number, count) in runs.iter().filter(|(_, count)| **count > 1) {
        book.broken(Invariant::NeverTwice, format!("statement {number} ran {count} times"));
    }
    let mut out_of_order = Vec::new();
    for burst in &book.pages().bursts {
        let places: Vec<_> = burst.iter().filter_map(|number| sent.get(number)).collect();
        let ordered = places.windows(2).all(|pair| pair[0].0 != pair[1].0 || pair[0].1 < pair[1].1);
        if !ordered {
            out_of_order.push(format!("{burst:?} were sent as {places:?}"));
        }
    }
    out_of_order.into_iter().for_each(|what| book.broken(Invariant::InOrder, what));
}
