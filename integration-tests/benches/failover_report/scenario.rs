//! The rows of the report: which cluster, which loss of the writer, which client.

use std::ops::RangeInclusive;
use std::time::Duration;

use integration_tests::{FailoverRecord, Fault, Flavour, FreezeScope, LocalCluster};

use crate::support::Outcome;

/// How the writer is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    Crash,
    Planned,
    Freeze,
}

/// One row.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    /// What `--scenario` takes.
    pub(crate) code: &'static str,
    /// The row's first cell.
    pub(crate) title: &'static str,
    pub(crate) flavour: Flavour,
    pub(crate) loss: Loss,
    pub(crate) restart: bool,
    pub(crate) bare: bool,
    promotion: RangeInclusive<Duration>,
}

const fn span(from: u64, to: u64) -> RangeInclusive<Duration> {
    RangeInclusive::new(Duration::from_millis(from), Duration::from_millis(to))
}

/// All rows.
pub(crate) fn all() -> Vec<Scenario> {
    let row = |code, title, flavour, loss, restart, promotion| Scenario {
        code,
        title,
        flavour,
        loss,
        restart,
        bare: false,
        promotion,
    };
    use Flavour::{Aurora, MultiAz};
    use Loss::{Crash, Freeze, Planned};
    let bare = Scenario {
        bare: true,
        ..row("bare", "bare driver, Aurora, crash", Aurora, Crash, false, span(3000, 5000))
    };
    vec![
        row("crash", "Aurora, crash", Aurora, Crash, false, span(3000, 5000)),
        row(
            "crash-restart",
            "Aurora, crash, promoted server restarts",
            Aurora,
            Crash,
            true,
            span(3000, 5000),
        ),
        row("planned", "Aurora, planned", Aurora, Planned, false, span(500, 1500)),
        row(
            "planned-restart",
            "Aurora, planned, promoted server restarts",
            Aurora,
            Planned,
            true,
            span(500, 1500),
        ),
        row("multi-az", "Multi-AZ, crash", MultiAz, Crash, false, span(3000, 5000)),
        row(
            "multi-az-restart",
            "Multi-AZ, crash, promoted server restarts",
            MultiAz,
            Crash,
            true,
            span(3000, 5000),
        ),
        row("freeze", "Aurora, frozen writer", Aurora, Freeze, false, span(0, 0)),
        bare,
    ]
}

impl Scenario {
    /// A cluster for it.
    pub(crate) async fn cluster(&self) -> Outcome<LocalCluster> {
        let builder = LocalCluster::builder()
            .flavour(self.flavour)
            .promotion_time(self.promotion.clone())
            .restart_on_promote(self.restart)
            .rejoin_after(Some(Duration::from_millis(300)))
            .dns_lag(Duration::from_secs(30));
        Ok(builder.start().await?)
    }

    /// Loses the writer; returns when another one accepts writes.
    pub(crate) async fn lose_writer(&self, cluster: &LocalCluster) -> Outcome<FailoverRecord> {
        Ok(match self.loss {
            Loss::Crash => cluster.fail_over().await?,
            Loss::Planned => cluster.planned_switchover(cluster.readers()[0]).await?,
            Loss::Freeze => cluster.fail_over_after(Fault::Freeze(FreezeScope::AllProcesses)).await?,
        })
    }

    /// Brings the cluster back to three nodes.
    pub(crate) async fn mend(&self, cluster: &LocalCluster, record: &FailoverRecord) -> Outcome {
        if self.loss == Loss::Freeze {
            cluster.thaw(record.old_writer).await?;
            cluster.rejoin(record.old_writer).await?;
        }
        Ok(cluster.wait_until_healthy(Duration::from_secs(60)).await?)
    }
}
