//! `docs/observability.md`, made from the catalogue, and the test that it is up to date.

use std::fmt::Write as _;
use std::path::Path;

use super::catalog::{LINES, METRICS, SPANS};

const START: &str = "\
# Observability

<!-- Made from wrapper-core/src/observe/catalog.rs and page.rs. To change this page, change them, then run
     UPDATE_DOCS=1 cargo test -p wrapper-core observe -->

What the library can show of itself, and what it costs:

| what | how | cost |
|---|---|---|
| the report of each switch, in ten lines | `connector.reports()`, always on | none on calls |
| events | an `Observer` of yours, `.observer(…)` on the builder | none on calls |
| events as log lines, spans around failovers and probes | feature `tracing`, `.observer(TracingObserver::new())` | none on calls |
| events as metrics | feature `metrics`, `.observer(MetricsObserver::new())` | none on calls |
| the time of each connect | plugin `connect_time` (feature `connect-time`) | one box and one event each connect |
| the time of each call | plugin `execute_time` (feature `execute-time`) | every call leaves the direct path: one box for each plugin that acts on calls, and one event |
| the SQL of each call | plugin `log_query` (feature `log-query`) | while its log level is on, one pass over the text of each call |

Nothing is exported by the library: `tracing` and `metrics` are facades, and the application decides what listens.
For OpenTelemetry, install `tracing-opentelemetry` and an OTLP exporter; X-Ray takes OTLP through its collector. The example
[`telemetry`](../examples/src/bin/telemetry.rs) shows both facades through a failover:

```text
cargo run -p examples --bin telemetry
```

Names are stable, and ids of hosts are never part of a name. SQL is in no span, no metric and no event; only the plugin
`log_query` writes it, with its literals masked. Filter by target, such as `RUST_LOG=warn,aws_wrapper=info`.
";

fn page() -> String {
    let mut page = START.to_owned();
    let mut add = |line: &str| writeln!(page, "{line}").unwrap();
    add("\n## Spans\n");
    add("A span ends with its future: a call that is cancelled closes its span.\n");
    add("| span | level | target | fields | covers | opened by |");
    add("|---|---|---|---|---|---|");
    for span in SPANS {
        add(&format!(
            "| `{}` | {} | `{}` | {} | {} | {} |",
            span.name,
            span.level,
            span.target,
            list(span.fields),
            span.doc,
            span.source
        ));
    }
    add("\n## Events\n");
    add(
        "`ConnectTimed` and `CallTimed` are written by their plugins, inside their spans, also without an observer.\n",
    );
    add("| event | level | target | message | fields | metrics |");
    add("|---|---|---|---|---|---|");
    for line in LINES {
        add(&format!(
            "| {} | {} | `{}` | {} | {} | {} |",
            match line.event.split_once(' ') {
                Some((event, remark)) => format!("`{event}` {remark}"),
                None => format!("`{}`", line.event),
            },
            line.level,
            line.target,
            line.message,
            list(line.fields),
            list(line.metrics)
        ));
    }
    add("\n## Metrics\n");
    add("`MetricsObserver::new().label(\"cluster\", \"shop\")` adds a label to all of them.\n");
    add("| metric | kind | labels | meaning | what the peers call it |");
    add("|---|---|---|---|---|");
    for metric in METRICS {
        add(&format!(
            "| `{}` | {} | {} | {} | {} |",
            metric.name,
            metric.kind.as_str(),
            list(metric.labels),
            metric.doc,
            metric.peers
        ));
    }
    page
}

fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[test]
fn the_page_is_made_from_the_catalogue() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/observability.md");
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == page,
        "docs/observability.md is not what the catalogue says; run `UPDATE_DOCS=1 cargo test -p wrapper-core observe`"
    );
}

#[test]
fn names_are_distinct_and_of_one_style() {
    let mut names: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
    names.extend(SPANS.iter().map(|span| span.name));
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    for metric in METRICS {
        assert!(metric.name.starts_with("aws_wrapper_"), "{}", metric.name);
        assert_eq!(metric.name.ends_with("_total"), metric.kind.as_str() == "counter", "{}", metric.name);
        assert_eq!(metric.name.ends_with("_seconds"), metric.kind.as_str() == "histogram", "{}", metric.name);
    }
    for line in LINES {
        for name in line.metrics {
            assert!(METRICS.iter().any(|metric| metric.name == *name), "{name}");
        }
    }
}
