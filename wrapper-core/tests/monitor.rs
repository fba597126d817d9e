//! The topology monitor against a scripted cluster, under paused time.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;

use support::{cluster, lines, promote};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use wrapper_core::ErrorKind;
use wrapper_core::cluster::Cluster;
use wrapper_core::dialect::{DialectId, dialect_for};
use wrapper_core::env::Deadline;
use wrapper_core::host::HostRole;
use wrapper_core::plugin::Chain;
use wrapper_core::testkit::{Health, ScriptedCluster, Trace};
use wrapper_core::topology::Published;

/// Hosts 0, 1 and 2 are `instance-1`, `-2` and `-3`; host 0 is the writer.
const HOSTS: usize = 3;

fn limit(secs: u64) -> Deadline {
    Deadline::after(Duration::from_secs(secs), "the test's limit")
}

#[tokio::test(start_paused = true)]
async fn a_promoted_reader_is_found_one_panic_interval_later() {
    let servers = ScriptedCluster::new(HOSTS, 1);
    let trace = Trace::new(&servers);
    let cluster = cluster(&servers, &trace);
    let found = cluster.core().search_writer(limit(5)).await.unwrap();
    assert_eq!(found.topology.writer().unwrap().short_name(), "instance-1");

    servers.crash(0);
    let search = tokio::spawn({
        let core = std::sync::Arc::clone(cluster.core());
        async move { core.search_writer(limit(60)).await }
    });
    tokio::time::sleep(Duration::from_secs(4)).await;
    promote(&servers, 1).await;
    let promoted = Instant::now();
    let found = search.await.unwrap().unwrap();
    assert_eq!(found.topology.writer().unwrap().short_name(), "instance-2");
    assert!(found.verified);
    // The interval, two round trips of two milliseconds, and nothing else.
    assert!(promoted.elapsed() <= Duration::from_millis(15), "{:?}", promoted.elapsed());
    assert_eq!(cluster.registry().demoted_in(&servers.host(0).key), cluster.writer_epoch());
    assert_eq!(lines(&trace, "writer instance-1 -> instance-2"), 1);
}

#[tokio::test(start_paused = true)]
async fn many_callers_share_one_search_and_one_probe_a_host() {
    let servers = ScriptedCluster::new(HOSTS, 1);
    let trace = Trace::new(&servers);
    let cluster = cluster(&servers, &trace);
    cluster.core().search_writer(limit(5)).await.unwrap();
    servers.crash(0);
    let callers: Vec<_> = (0..200)
        .map(|_| {
            let core = std::sync::Arc::clone(cluster.core());
            tokio::spawn(async move { core.search_writer(limit(60)).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    promote(&servers, 2).await;
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap().topology.writer().unwrap().short_name(), "instance-3");
    }
    assert_eq!(lines(&trace, "search"), 2, "{trace}");
    assert!(servers.monitors().most <= HOSTS);
}

#[tokio::test(start_paused = true)]
async fn at_rest_there_is_one_monitoring_connection() {
    let servers = ScriptedCluster::new(HOSTS, 1);
    let cluster = cluster(&servers, &Trace::new(&servers));
    cluster.core().search_writer(limit(5)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(servers.monitors().open, 1);
    assert_eq!(cluster.budget().used(), 1);
    cluster.shutdown().await;
    assert_eq!(servers.monitors().open, 0);
    assert_eq!(cluster.task_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_old_writer_that_still_accepts_writes_is_not_believed_against_its_own_topology() {
    let servers = ScriptedCluster::new(HOSTS, 1);
    let cluster = cluster(&servers, &Trace::new(&servers));
    cluster.core().search_writer(limit(5)).await.unwrap();
    // The second host is promoted, the first does not know yet and still accepts writes; its topology does.
    servers.set_role(1, HostRole::Reader);
    servers.set_view(0, Some(1));
    let search = tokio::spawn({
        let core = std::sync::Arc::clone(cluster.core());
        async move { core.search_writer(limit(60)).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!search.is_finished(), "the old writer was believed");
    servers.set_role(1, HostRole::Writer);
    assert_eq!(search.await.unwrap().unwrap().topology.writer().unwrap().short_name(), "instance-2");
}

/// Starts a search that is given a minute.
fn search(cluster: &Cluster) -> JoinHandle<wrapper_core::Result<Published>> {
    let core = std::sync::Arc::clone(cluster.core());
    tokio::spawn(async move { core.search_writer(limit(60)).await })
}

async fn writer_of(search: JoinHandle<wrapper_core::Result<Published>>) -> String {
    search.await.unwrap().unwrap().topology.writer().unwrap().short_name().to_owned()
}

/// The first host was demoted one failover before the last and never restarted: it accepts writes, but its topology names
/// another host.
#[tokio::test(start_paused = true)]
async fn a_writer_demoted_in_an_earlier_failover_is_not_believed_against_its_own_topology() {
    for named_by_first in [1, 2] {
        let servers = ScriptedCluster::new(HOSTS, 1);
        let cluster = cluster(&servers, &Trace::new(&servers));
        assert_eq!(writer_of(search(&cluster)).await, "instance-1");

        promote(&servers, 1).await;
        servers.set_role(0, HostRole::Writer);
        assert_eq!(writer_of(search(&cluster)).await, "instance-2");

        // The second is lost, the third is not promoted yet.
        servers.crash(1);
        servers.set_view(0, Some(named_by_first));
        let second = search(&cluster);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(
            !second.is_finished(),
            "demoted long ago, it was believed while it named host {named_by_first}"
        );
        servers.set_role(2, HostRole::Writer);
        assert_eq!(writer_of(second).await, "instance-3");
        assert!(cluster.registry().demoted_in(&servers.host(0).key) > 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_demoted_writer_that_was_seen_as_a_reader_is_believed_again_though_its_topology_is_late() {
    let servers = ScriptedCluster::new(HOSTS, 1);
    let cluster = cluster(&servers, &Trace::new(&servers));
    assert_eq!(writer_of(search(&cluster)).await, "instance-1");
    promote(&servers, 1).await;
    assert_eq!(writer_of(search(&cluster)).await, "instance-2");

    servers.crash(1);
    let second = search(&cluster);
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Only its recovery state changes: its topology still names the second host.
    servers.set_role(0, HostRole::Writer);
    let promoted = Instant::now();
    assert_eq!(writer_of(second).await, "instance-1");
    assert!(promoted.elapsed() <= Duration::from_millis(15), "{:?}", promoted.elapsed());
    // And it stays the writer while its topology is late.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(cluster.topology().unwrap().topology.writer().unwrap().short_name(), "instance-1");
}

/// Just promoted, it first holds no topology, then a late one, then the right one.
#[tokio::test(start_paused = true)]
async fn a_new_writer_whose_topology_is_first_empty_and_then_late_stays_believed() {
    let servers = ScriptedCluster::new(HOSTS, 1);
    let trace = Trace::new(&servers);
    let cluster = cluster(&servers, &trace);
    assert_eq!(writer_of(search(&cluster)).await, "instance-1");
    servers.crash(0);
    servers.set_view(1, None);
    servers.set_role(1, HostRole::Writer);
    assert_eq!(writer_of(search(&cluster)).await, "instance-2");
    for named in [None, Some(0), Some(1)] {
        servers.set_view(1, named);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(lines(&trace, "search"), 2, "{trace}");
}

/// A session's connection to the writer that the monitor has just asked is asked for its role alone; one to any other
/// host, or to a writer that was asked long ago, in full.
#[tokio::test(start_paused = true)]
async fn a_session_asks_a_writer_that_has_just_answered_for_its_role_alone() {
    let servers = ScriptedCluster::new(HOSTS, 1);
    let cluster = cluster(&servers, &Trace::new(&servers));
    assert_eq!(writer_of(search(&cluster)).await, "instance-1");
    let chain = Chain::new(Vec::new(), true).unwrap();
    let connect =
        async |host, role| cluster.connect_verified(&chain, &servers.host(host), role, limit(5)).await;
    let dialect = dialect_for(DialectId::AuroraPg).unwrap();
    let asked = || servers.asked(dialect.role_query());
    assert_eq!(connect(0, HostRole::Writer).await.unwrap().host.role, HostRole::Writer);
    assert_eq!(asked(), 1);
    assert_eq!(connect(1, HostRole::Reader).await.unwrap().host.role, HostRole::Reader);
    assert_eq!(asked(), 1);
    // It lost the role a moment ago, and the monitor has not asked it since.
    servers.set_role(0, HostRole::Reader);
    let error = connect(0, HostRole::Writer).await.unwrap_err();
    assert_eq!((error.kind(), asked()), (ErrorKind::WrongRole, 2));
    servers.set_role(0, HostRole::Writer);
    // After 30 s the monitor asks every 30 s only.
    tokio::time::sleep(Duration::from_secs(75)).await;
    assert_eq!(connect(0, HostRole::Writer).await.unwrap().host.role, HostRole::Writer);
    assert_eq!(asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_session_is_not_given_a_demoted_writer_that_still_accepts_writes() {
    let servers = ScriptedCluster::new(HOSTS, 1);
    let cluster = cluster(&servers, &Trace::new(&servers));
    assert_eq!(writer_of(search(&cluster)).await, "instance-1");
    let chain = Chain::new(Vec::new(), true).unwrap();
    let connect =
        async |host| cluster.connect_verified(&chain, &servers.host(host), HostRole::Writer, limit(5)).await;
    assert_eq!(connect(0).await.unwrap().host.role, HostRole::Writer);
    promote(&servers, 1).await;
    servers.set_role(0, HostRole::Writer);
    // The monitor's next question.
    tokio::time::sleep(Duration::from_millis(150)).await;
    let error = connect(0).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongRole);
    assert!(error.to_string().contains("names another"), "{error}");
    assert_eq!(connect(1).await.unwrap().host.role, HostRole::Writer);
}

#[tokio::test(start_paused = true)]
async fn a_reader_with_a_stale_topology_is_believed_once_it_accepts_writes() {
    let servers = ScriptedCluster::new(HOSTS, 1);
    let cluster = cluster(&servers, &Trace::new(&servers));
    cluster.core().search_writer(limit(5)).await.unwrap();
    servers.freeze(0);
    servers.set_role(1, HostRole::Writer);
    let found = cluster.core().search_writer(limit(60)).await.unwrap();
    assert_eq!(found.topology.writer().unwrap().short_name(), "instance-2");
}

#[tokio::test(start_paused = true)]
async fn a_topology_that_never_shows_a_writer_ends_at_the_deadline_and_says_what_is_known() {
    let servers = ScriptedCluster::new(HOSTS, 1);
    let cluster = cluster(&servers, &Trace::new(&servers));
    servers.set_role(0, HostRole::Reader);
    let started = Instant::now();
    let error = cluster.core().search_writer(limit(7)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("instance-1.xyz"), "{error}");
    assert_eq!(started.elapsed().as_secs(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_silent_writer_costs_no_more_than_the_first_answer_limit() {
    let servers = ScriptedCluster::new(HOSTS, 1);
    let cluster = cluster(&servers, &Trace::new(&servers));
    cluster.core().search_writer(limit(5)).await.unwrap();
    servers.freeze(0);
    servers.set_role(2, HostRole::Writer);
    let started = Instant::now();
    let found = cluster.core().search_writer(limit(60)).await.unwrap();
    assert_eq!(found.topology.writer().unwrap().short_name(), "instance-3");
    assert!(started.elapsed() <= Duration::from_millis(120), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn refused_credentials_of_one_host_do_not_end_its_probe() {
    let servers = ScriptedCluster::new(HOSTS, 1);
    let cluster = cluster(&servers, &Trace::new(&servers));
    servers.set_health(0, Health::Locked);
    let search = tokio::spawn({
        let core = std::sync::Arc::clone(cluster.core());
        async move { core.search_writer(limit(60)).await }
    });
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(
        servers.counts_of(0).monitors.total <= 6,
        "logins that fail are not repeated in a hurry: {}",
        servers.counts_of(0).monitors.total
    );
    servers.set_health(0, Health::Up);
    assert_eq!(search.await.unwrap().unwrap().topology.writer().unwrap().short_name(), "instance-1");
}

#[tokio::test(start_paused = true)]
async fn a_search_that_no_host_lets_in_ends_with_the_refusal() {
    let servers = ScriptedCluster::new(HOSTS, 1);
    let cluster = cluster(&servers, &Trace::new(&servers));
    for host in 0..HOSTS {
        servers.set_health(host, Health::Locked);
    }
    let started = Instant::now();
    let error = cluster.core().search_writer(limit(60)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Login, "{error}");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_last_clone_dropped_ends_the_monitor() {
    let servers = ScriptedCluster::new(HOSTS, 1);
    let cluster = cluster(&servers, &Trace::new(&servers));
    cluster.core().search_writer(limit(5)).await.unwrap();
    let core = std::sync::Arc::clone(cluster.core());
    drop(cluster);
    core.shutdown().await;
    assert_eq!(core.task_count(), 0);
    let error = core.search_writer(limit(5)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn shutdown_in_the_middle_of_a_search_answers_its_callers() {
    let servers = ScriptedCluster::new(HOSTS, 1);
    let cluster = cluster(&servers, &Trace::new(&servers));
    for host in 0..HOSTS {
        servers.freeze(host);
    }
    let search = tokio::spawn({
        let core = std::sync::Arc::clone(cluster.core());
        async move { core.search_writer(limit(300)).await }
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    cluster.shutdown().await;
    assert_eq!(search.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
}
