//! The names under which things are observed: spans, events, metrics. One table each; `docs/observability.md` is made
//! from them, and tests hold the observers to them.
//!
//! What lives here: names and what they mean. What may not: code that emits.

/// The name of a span or of a field, and what it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Span {
    /// The name.
    pub name: &'static str,
    /// The target, by which logs are filtered.
    pub target: &'static str,
    /// The level.
    pub level: &'static str,
    /// The fields.
    pub fields: &'static [&'static str],
    /// What it covers.
    pub doc: &'static str,
    /// What opens it.
    pub source: &'static str,
}

/// How the observers tell one kind of [`Event`](super::Event).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Line {
    /// The variant of [`Event`](super::Event); a remark in brackets tells two lines of one variant apart.
    pub event: &'static str,
    /// The target of the `tracing` event.
    pub target: &'static str,
    /// Its level.
    pub level: &'static str,
    /// Its message.
    pub message: &'static str,
    /// Its fields.
    pub fields: &'static [&'static str],
    /// The metrics that change.
    pub metrics: &'static [&'static str],
}

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
}

impl MetricKind {
    /// `counter`, `gauge`, `histogram`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// The name.
    pub name: &'static str,
    /// What it is.
    pub kind: MetricKind,
    /// Its labels, beside the ones that are given to the observer.
    pub labels: &'static [&'static str],
    /// What it counts.
    pub doc: &'static str,
    /// What the wrappers for other languages call it, where they have it.
    pub peers: &'static str,
}

/// Names and targets of spans.
pub mod spans {
    /// A session is opened, or a connection for a switch or a monitor.
    pub const CONNECT: &str = "aws_wrapper.connect";
    /// A call.
    pub const EXECUTE: &str = "aws_wrapper.execute";
    /// A switch of a session to another host.
    pub const FAILOVER: &str = "aws_wrapper.failover";
    /// One probe by a monitor.
    pub const PROBE: &str = "aws_wrapper.monitor.probe";
    /// Target of what concerns connects.
    pub const TARGET_CONNECT: &str = "aws_wrapper::connect";
    /// Target of what concerns calls.
    pub const TARGET_EXECUTE: &str = "aws_wrapper::execute";
    /// Target of the SQL of calls.
    pub const TARGET_LOG_QUERY: &str = "aws_wrapper::log_query";
    /// Target of what concerns switches.
    pub const TARGET_FAILOVER: &str = "aws_wrapper::failover";
    /// Target of what concerns monitors.
    pub const TARGET_MONITOR: &str = "aws_wrapper::monitor";
    /// Target of what concerns the topology.
    pub const TARGET_TOPOLOGY: &str = "aws_wrapper::topology";
    /// Target of what concerns the library as a whole.
    pub const TARGET_CLUSTER: &str = "aws_wrapper::cluster";
}

/// Names of metrics.
pub mod metrics {
    /// Switches of sessions.
    pub const FAILOVERS: &str = "aws_wrapper_failovers_total";
    /// How long they took.
    pub const FAILOVER_SECONDS: &str = "aws_wrapper_failover_duration_seconds";
    /// Changes of the writer.
    pub const WRITER_CHANGES: &str = "aws_wrapper_writer_changes_total";
    /// Searches for the writer.
    pub const SEARCHES: &str = "aws_wrapper_topology_searches_total";
    /// Hosts of the topology.
    pub const HOSTS: &str = "aws_wrapper_hosts";
    /// Whether a host answers.
    pub const HOST_UP: &str = "aws_wrapper_host_up";
    /// Connections that were closed by a monitor.
    pub const ABORTED: &str = "aws_wrapper_aborted_connections_total";
    /// Verdicts that were skipped.
    pub const VERDICTS_SKIPPED: &str = "aws_wrapper_verdicts_skipped_total";
    /// Errors that led to an action.
    pub const DECISIONS: &str = "aws_wrapper_decisions_total";
    /// The state of a breaker.
    pub const BREAKER_STATE: &str = "aws_wrapper_breaker_state";
    /// Tasks that panicked.
    pub const TASK_RESTARTS: &str = "aws_wrapper_task_restarts_total";
    /// Warnings.
    pub const WARNINGS: &str = "aws_wrapper_warnings_total";
    /// How long connects took.
    pub const CONNECT_SECONDS: &str = "aws_wrapper_connect_duration_seconds";
    /// How long calls took.
    pub const CALL_SECONDS: &str = "aws_wrapper_call_duration_seconds";
}

/// Every span.
pub const SPANS: &[Span] = &[
    Span {
        name: spans::CONNECT,
        target: spans::TARGET_CONNECT,
        level: "debug",
        fields: &["purpose", "server.address", "server.port", "outcome", "error.type"],
        doc: "The opening of a session (`purpose=session`: every attempt on every host in it), of a connection for a \
              switch, or of a monitor's connection.",
        source: "plugin `connect_time`",
    },
    Span {
        name: spans::EXECUTE,
        target: spans::TARGET_EXECUTE,
        level: "debug",
        fields: &["method", "server.address", "server.port", "outcome", "error.type"],
        doc: "One call of the application, a failover that it waits for included. Never has SQL in it.",
        source: "plugin `execute_time`",
    },
    Span {
        name: spans::FAILOVER,
        target: spans::TARGET_FAILOVER,
        level: "info",
        fields: &["server.address", "server.port"],
        doc: "One switch of a session away from a host. A root span, because it goes on when its callers are gone; it \
              follows from the span of the call that started it.",
        source: "feature `tracing`",
    },
    Span {
        name: spans::PROBE,
        target: spans::TARGET_MONITOR,
        level: "trace",
        fields: &["server.address", "server.port"],
        doc: "One question of a monitor to a host: of the search for the writer, of host monitoring.",
        source: "feature `tracing`",
    },
];

/// Every kind of event.
pub const LINES: &[Line] = &[
    Line {
        event: "Topology",
        target: spans::TARGET_TOPOLOGY,
        level: "trace",
        message: "topology",
        fields: &["topology", "verified"],
        metrics: &[metrics::HOSTS],
    },
    Line {
        event: "WriterChanged (the first)",
        target: spans::TARGET_TOPOLOGY,
        level: "debug",
        message: "writer found",
        fields: &["to"],
        metrics: &[],
    },
    Line {
        event: "WriterChanged",
        target: spans::TARGET_TOPOLOGY,
        level: "info",
        message: "writer changed",
        fields: &["from", "to"],
        metrics: &[metrics::WRITER_CHANGES],
    },
    Line {
        event: "SearchStarted",
        target: spans::TARGET_TOPOLOGY,
        level: "info",
        message: "searching for the writer",
        fields: &[],
        metrics: &[metrics::SEARCHES],
    },
    Line {
        event: "HostSilent",
        target: spans::TARGET_MONITOR,
        level: "warn",
        message: "host is silent, its connections were closed",
        fields: &["host", "failures", "closed"],
        metrics: &[metrics::ABORTED],
    },
    Line {
        event: "HostState (up)",
        target: spans::TARGET_MONITOR,
        level: "info",
        message: "host answers again",
        fields: &["host"],
        metrics: &[metrics::HOST_UP],
    },
    Line {
        event: "HostState (down)",
        target: spans::TARGET_MONITOR,
        level: "debug",
        message: "host is down",
        fields: &["host"],
        metrics: &[metrics::HOST_UP],
    },
    Line {
        event: "VerdictSkipped",
        target: spans::TARGET_MONITOR,
        level: "debug",
        message: "verdict skipped, this process was paused",
        fields: &["host"],
        metrics: &[metrics::VERDICTS_SKIPPED],
    },
    Line {
        event: "Switched (succeeded)",
        target: spans::TARGET_FAILOVER,
        level: "info",
        message: "session switched",
        fields: &["from", "to", "role", "elapsed", "cause", "reason", "held"],
        metrics: &[metrics::FAILOVERS, metrics::FAILOVER_SECONDS],
    },
    Line {
        event: "Switched (failed)",
        target: spans::TARGET_FAILOVER,
        level: "error",
        message: "session could not be switched",
        fields: &["from", "elapsed", "cause", "failure", "held"],
        metrics: &[metrics::FAILOVERS, metrics::FAILOVER_SECONDS],
    },
    Line {
        event: "Decision",
        target: spans::TARGET_FAILOVER,
        level: "debug",
        message: "error handled",
        fields: &["action", "error.type", "error"],
        metrics: &[metrics::DECISIONS],
    },
    Line {
        event: "Breaker",
        target: spans::TARGET_CLUSTER,
        level: "info",
        message: "breaker of a host",
        fields: &["host", "state"],
        metrics: &[metrics::BREAKER_STATE],
    },
    Line {
        event: "TaskRestarted",
        target: spans::TARGET_CLUSTER,
        level: "error",
        message: "a task of the library panicked and was started again",
        fields: &["task"],
        metrics: &[metrics::TASK_RESTARTS],
    },
    Line {
        event: "Warning",
        target: spans::TARGET_CLUSTER,
        level: "warn",
        message: "the text of the warning",
        fields: &[],
        metrics: &[metrics::WARNINGS],
    },
    Line {
        event: "ConnectTimed",
        target: spans::TARGET_CONNECT,
        level: "debug; warn when slow",
        message: "connect",
        fields: &["purpose", "server.address", "server.port", "elapsed", "outcome", "error.type"],
        metrics: &[metrics::CONNECT_SECONDS],
    },
    Line {
        event: "CallTimed",
        target: spans::TARGET_EXECUTE,
        level: "debug; warn when slow",
        message: "call",
        fields: &["method", "server.address", "server.port", "elapsed", "attempts", "outcome", "error.type"],
        metrics: &[metrics::CALL_SECONDS],
    },
];

/// Every metric.
pub const METRICS: &[Metric] = &[
    Metric {
        name: metrics::FAILOVERS,
        kind: MetricKind::Counter,
        labels: &["role", "outcome"],
        doc: "Switches of sessions. `role` is that of the host found (`writer`, `reader`; `unknown` when none was), \
              `outcome` is `ok` or `error`.",
        peers: "`writerFailover.completed.success.count`, `.failed.count`; the same of `readerFailover`",
    },
    Metric {
        name: metrics::FAILOVER_SECONDS,
        kind: MetricKind::Histogram,
        labels: &["role", "outcome"],
        doc: "How long they took.",
        peers: "",
    },
    Metric {
        name: metrics::WRITER_CHANGES,
        kind: MetricKind::Counter,
        labels: &[],
        doc: "How often the cluster's writer was found to be another host.",
        peers: "",
    },
    Metric {
        name: metrics::SEARCHES,
        kind: MetricKind::Counter,
        labels: &[],
        doc: "How often the writer was searched for; many sessions share one search.",
        peers: "",
    },
    Metric {
        name: metrics::HOSTS,
        kind: MetricKind::Gauge,
        labels: &["role"],
        doc: "Hosts of the topology, by role.",
        peers: "",
    },
    Metric {
        name: metrics::HOST_UP,
        kind: MetricKind::Gauge,
        labels: &["instance"],
        doc: "0 when host monitoring found the host silent, 1 when it answers again; absent before the first silence.",
        peers: "`efm.nodeUnhealthy.count.<id>`",
    },
    Metric {
        name: metrics::ABORTED,
        kind: MetricKind::Counter,
        labels: &["reason"],
        doc: "Connections with calls in flight that a monitor closed; `reason` is `host_silent`.",
        peers: "`efm.connections.aborted`, `efm2.connections.aborted`",
    },
    Metric {
        name: metrics::VERDICTS_SKIPPED,
        kind: MetricKind::Counter,
        labels: &[],
        doc: "Verdicts on hosts that were skipped because this process itself had been paused.",
        peers: "",
    },
    Metric {
        name: metrics::DECISIONS,
        kind: MetricKind::Counter,
        labels: &["action", "error_type"],
        doc: "Errors that led the library to act.",
        peers: "`writerFailover.triggered.count`, `readerFailover.triggered.count` (`action=\"fail over\"`)",
    },
    Metric {
        name: metrics::BREAKER_STATE,
        kind: MetricKind::Gauge,
        labels: &["instance"],
        doc: "Whether a pool asks the host for connections: 0 yes (closed), 1 one at a time (half open), 2 no (open); absent \
              before the first change. Told by `ClusterPool` of `wrapper-sqlx`.",
        peers: "",
    },
    Metric {
        name: metrics::TASK_RESTARTS,
        kind: MetricKind::Counter,
        labels: &["task"],
        doc: "Tasks of the library that panicked: more than 0 is a bug to report.",
        peers: "",
    },
    Metric {
        name: metrics::WARNINGS,
        kind: MetricKind::Counter,
        labels: &[],
        doc: "Warnings; the texts are in the log.",
        peers: "",
    },
    Metric {
        name: metrics::CONNECT_SECONDS,
        kind: MetricKind::Histogram,
        labels: &["purpose", "outcome"],
        doc: "How long connects took. `purpose` is `session`, `switch` or `monitor`, `outcome` is `ok`, `error` or \
              `cancelled`. Needs the plugin `connect_time`.",
        peers: "",
    },
    Metric {
        name: metrics::CALL_SECONDS,
        kind: MetricKind::Histogram,
        labels: &["method", "outcome"],
        doc: "How long calls took, failovers included. Needs the plugin `execute_time`.",
        peers: "",
    },
];
