//! The rows of the report: which cluster, which loss of the writer, which client.

use std::ops::RangeInclusive;
use std::time::Duration;

use integration_tests::Flavour;

use crate::support::engine::{Loss, Setup};

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
    /// The cluster for it.
    pub(crate) fn setup(&self) -> Setup {
        Setup {
            flavour: self.flavour,
            promotion: self.promotion.clone(),
            restart: self.restart,
            tls: None,
            settings: &[],
        }
    }
}
