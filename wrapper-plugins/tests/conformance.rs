//! The plugins of the library keep the contract of plugins.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::unwrap_used, reason = "tests")]

use wrapper_core::plugin::PluginFactory;
use wrapper_core::testkit::conformance::{PluginSubject, plugin_conformance};
use wrapper_plugins::connection_tracker::ConnectionTracker;
use wrapper_plugins::efm::HostMonitoring;
use wrapper_plugins::failover::Failover;
use wrapper_plugins::initial_connection::InitialConnection;

async fn keeps(factory: impl PluginFactory + 'static) {
    let subject = PluginSubject::new(factory)
        .set("connect_timeout", "5s")
        .set("failover_timeout", "10s")
        .set("failure_detection_time", "30ms")
        .set("failure_detection_interval", "20ms");
    let found = plugin_conformance(&subject).await;
    println!("{found}");
    assert!(found.is_kept(), "{found}");
}

#[tokio::test(start_paused = true)]
async fn failover() {
    keeps(Failover::new()).await;
}

#[tokio::test(start_paused = true)]
async fn host_monitoring() {
    keeps(HostMonitoring::new()).await;
}

#[tokio::test(start_paused = true)]
async fn connection_tracker() {
    keeps(ConnectionTracker::new()).await;
}

#[tokio::test(start_paused = true)]
async fn initial_connection() {
    keeps(InitialConnection::new()).await;
}
