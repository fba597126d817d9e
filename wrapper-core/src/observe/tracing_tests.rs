//! What the subscriber sees of each event is what the catalogue says.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use ::tracing::field::{Field, Visit};
use ::tracing::span::{Attributes, Id, Record};
use ::tracing::{Event as Told, Metadata, Subscriber, subscriber};

use super::TracingObserver;
use crate::host::HostRole;
use crate::observe::catalog::{LINES, SPANS};
use crate::observe::samples::{host, sample};
use crate::observe::{Observer, in_failover_span, in_probe_span};

/// Target, level, message or name, and fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Line {
    name: String,
    target: String,
    level: String,
    message: String,
    fields: BTreeSet<String>,
}

#[derive(Clone, Debug, Default)]
struct Fake(Arc<Mutex<Vec<Line>>>, Arc<Mutex<u32>>);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.fields.insert(field.name().to_owned());
        }
    }
}

impl Line {
    fn of(metadata: &Metadata<'_>) -> Self {
        Self {
            name: metadata.name().to_owned(),
            target: metadata.target().to_owned(),
            level: metadata.level().to_string().to_lowercase(),
            ..Self::default()
        }
    }
}

impl Subscriber for Fake {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        assert!(attributes.is_root(), "spans of the library's own work are roots");
        let mut line = Line::of(attributes.metadata());
        attributes.record(&mut line);
        let mut lines = self.0.lock().unwrap();
        lines.push(line);
        Id::from_u64(u64::try_from(lines.len()).unwrap())
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Told<'_>) {
        let mut line = Line::of(event.metadata());
        event.record(&mut line);
        self.0.lock().unwrap().push(line);
    }
    fn enter(&self, _: &Id) {
        *self.1.lock().unwrap() += 1;
    }
    fn exit(&self, _: &Id) {}
}

#[test]
fn each_event_is_told_as_its_line_says() {
    for line in LINES.iter().filter(|line| !line.event.ends_with("Timed")) {
        let fake = Fake::default();
        subscriber::with_default(fake.clone(), || TracingObserver::new().on_event(&sample(line.event)));
        let seen = fake.0.lock().unwrap().clone();
        let [seen] = seen.as_slice() else { panic!("{}: {seen:?}", line.event) };
        assert_eq!((seen.target.as_str(), seen.level.as_str()), (line.target, line.level), "{}", line.event);
        let message = if line.event == "Warning" { "something" } else { line.message };
        assert_eq!(seen.message, message, "{}", line.event);
        let fields: BTreeSet<&str> = seen.fields.iter().map(String::as_str).collect();
        assert_eq!(fields, line.fields.iter().copied().collect(), "{}", line.event);
    }
}

#[test]
fn the_times_that_plugins_write_are_not_repeated() {
    for line in ["ConnectTimed", "CallTimed"] {
        let fake = Fake::default();
        subscriber::with_default(fake.clone(), || TracingObserver::new().on_event(&sample(line)));
        assert!(fake.0.lock().unwrap().is_empty(), "{line}");
    }
}

#[tokio::test]
async fn spans_are_the_ones_of_the_catalogue() {
    let fake = Fake::default();
    let key = host("instance-1", HostRole::Writer).key;
    let guard = subscriber::set_default(fake.clone());
    assert_eq!(in_failover_span(&key, async { 1 }).await + in_probe_span(&key, async { 2 }).await, 3);
    drop(guard);
    let seen = fake.0.lock().unwrap().clone();
    let wanted: Vec<_> = SPANS.iter().filter(|span| span.source == "feature `tracing`").collect();
    assert_eq!(seen.len(), wanted.len());
    for (seen, wanted) in seen.iter().zip(wanted) {
        assert_eq!(
            (seen.name.as_str(), seen.target.as_str(), seen.level.as_str()),
            (wanted.name, wanted.target, wanted.level)
        );
        let fields: BTreeSet<&str> = seen.fields.iter().map(String::as_str).collect();
        assert_eq!(fields, wanted.fields.iter().copied().collect());
    }
    assert!(*fake.1.lock().unwrap() >= 2, "the futures ran in their spans");
}
