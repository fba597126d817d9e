//! The first search of a cluster of which only the endpoint is known.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use wrapper_core::config::Settings;
use wrapper_core::connector::ConnectorCore;
use wrapper_core::env::Deadline;
use wrapper_core::testkit::{FailoverPlan, ScriptedCluster, parts};

// Found by the schedules: the endpoint's name was published as the writer's, sessions stood on it, and host monitoring
// probed whatever host the name led to later instead of the silent one.
#[tokio::test(start_paused = true)]
async fn the_writer_is_an_instance_and_never_the_endpoint() {
    for fails_over in [false, true] {
        let cluster = ScriptedCluster::new(3, 1);
        if fails_over {
            let mut plan = FailoverPlan::switchover(1);
            plan.stale_dns = Duration::ZERO;
            cluster.fail_over(plan).await;
        }
        let parts = parts(&cluster, Settings::builder(), Vec::new(), Vec::new()).unwrap();
        let core = ConnectorCore::new(parts).unwrap();
        for _ in 0..3 {
            let soon = Deadline::after(Duration::from_secs(5), "test");
            let found = core.cluster().core().search_writer(soon).await.unwrap();
            let writer = found.topology.writer().unwrap();
            assert_eq!(writer.short_name(), if fails_over { "instance-2" } else { "instance-1" });
            assert_eq!(found.topology.hosts().len(), 3, "{}", found.topology);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        core.shutdown().await;
    }
}
