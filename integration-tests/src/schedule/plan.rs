//! What a seed decides before anything runs.

use std::time::Duration;

use wrapper_core::config::{Settings, SettingsBuilder};
use wrapper_core::testkit::Flavour;

/// The sizes and settings of one run.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) flavour: Flavour,
    /// Whether workers read streams of rows too.
    pub(super) streams: bool,
    pub(super) hosts: usize,
    /// Sessions, each with a worker of its own.
    pub(super) slots: usize,
    /// Workers beside the first, on the first session.
    pub(super) guests: usize,
    pub(super) steps: usize,
    pub(super) faults: usize,
    pub(super) cap: usize,
    pub(super) failover_timeout: Duration,
    pub(super) grace: Duration,
    pub(super) interval: Duration,
    pub(super) connect_failover: bool,
    /// One round trip to any host.
    pub(super) latency: Duration,
    pub(super) socket_timeout: Option<Duration>,
    /// Sessions on the reader endpoint.
    pub(super) readers: usize,
    /// Resets and DNS flips beside the faults.
    pub(super) gusts: usize,
    /// When the connector is shut down in the middle of it all.
    pub(super) shutdown: Option<Duration>,
}

/// `connect_timeout` of every run.
const CONNECT: Duration = Duration::from_secs(6);
/// `auxiliary_query_timeout` of every run.
const AUXILIARY: Duration = Duration::from_secs(1);
/// `open_connection_retry_timeout` of every run.
const OPEN: Duration = Duration::from_secs(5);
/// How many failed probes in a row make a host silent.
const COUNT: u32 = 3;
/// For turns under a tight cap, round trips of a slow host, and timers.
const SLACK: Duration = Duration::from_millis(1_500);

impl Plan {
    /// The seed itself decides on what is played: of twelve seeds in a row each flavour has three, two of them with streams.
    /// Nothing is drawn for it, so that an old seed plays what it always did.
    pub(super) fn draw(seed: u64, rng: &mut fastrand::Rng) -> Self {
        let flavour = match seed % 4 {
            0 => Flavour::MultiAzMysql,
            1 => Flavour::AuroraPostgres,
            2 => Flavour::MultiAzPostgres,
            _ => Flavour::AuroraMysql,
        };
        let hosts = rng.usize(2..=4);
        // The tight cap still has a turn for each probe of a search, for the monitor of a host, and for one more.
        let cap = if rng.u8(..4) == 0 { hosts + 2 } else { 16 };
        Self {
            flavour,
            streams: seed / 4 % 3 != 1,
            hosts,
            slots: rng.usize(1..=3),
            guests: rng.usize(0..=1),
            steps: rng.usize(5..=9),
            faults: rng.usize(1..=3),
            cap,
            failover_timeout: Duration::from_secs(rng.u64(4..=12)),
            grace: Duration::from_millis(rng.u64(300..=900)),
            interval: Duration::from_millis(rng.u64(200..=400)),
            connect_failover: rng.bool(),
            latency: Duration::from_micros(if rng.bool() { 1_000 } else { rng.u64(1_000..60_000) }),
            socket_timeout: (rng.u8(..4) == 0).then(|| Duration::from_millis(rng.u64(2_500..4_000))),
            readers: usize::from(rng.u8(..4) == 0),
            gusts: if rng.u8(..3) == 0 { rng.usize(1..6) } else { 0 },
            shutdown: (rng.u8(..12) == 0).then(|| Duration::from_millis(rng.u64(500..6_000))),
        }
    }

    pub(super) fn settings(&self) -> SettingsBuilder {
        let ms = |span: Duration| format!("{}ms", span.as_millis());
        let settings = match self.flavour {
            Flavour::AuroraPostgres => Settings::builder().set("wrapper_dialect", "aurora-pg"),
            // The others are found out.
            _ => Settings::builder(),
        };
        settings
            .set("connect_timeout", ms(CONNECT))
            .set("auxiliary_query_timeout", ms(AUXILIARY))
            .set("open_connection_retry_timeout", ms(OPEN))
            .set("open_connection_retry_interval", "300ms")
            .set("topology_refresh", "4s")
            .set("topology_high_refresh", "1s")
            .set("topology_panic_interval", "100ms")
            .set("topology_monitoring_connect_timeout", "1s")
            .set("topology_monitoring_socket_timeout", "1s")
            .set("max_monitor_connections", self.cap.to_string())
            .set("failover_timeout", ms(self.failover_timeout))
            .set("enable_connect_failover", self.connect_failover.to_string())
            .set("failure_detection_time", ms(self.grace))
            .set("failure_detection_interval", ms(self.interval))
            .set("failure_detection_count", COUNT.to_string())
            .set("monitor_disposal_time", "20s")
    }

    /// How long it takes at most until a call to a silent host is given up (DESIGN section 6).
    pub(super) fn detection(&self) -> Duration {
        self.grace.max(self.interval) + self.interval * COUNT + Duration::from_millis(50)
    }

    /// The longest that a call may take that the server works on for `takes`.
    pub(super) fn call_limit(&self, takes: Duration) -> Duration {
        takes + self.detection() + AUXILIARY + self.failover_timeout + SLACK
    }

    /// The longest that the next row may take on which the server works for `every`.
    pub(super) fn row_limit(&self, every: Duration) -> Duration {
        every + self.detection() + SLACK
    }

    /// The longest that opening a session may take.
    pub(super) fn open_limit(&self) -> Duration {
        let failover = if self.connect_failover { self.failover_timeout } else { Duration::ZERO };
        CONNECT + failover + SLACK
    }
}
