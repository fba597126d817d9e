//! The metrics that each event changes are the ones that the catalogue says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use ::metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit, with_local_recorder,
};

use super::MetricsObserver;
use crate::observe::Observer;
use crate::observe::catalog::{LINES, METRICS, MetricKind, metrics as names};
use crate::observe::samples::sample;

/// Kind and labels of each metric that was touched, and its value.
type Touched = BTreeMap<String, (MetricKind, BTreeSet<String>, f64)>;

#[derive(Debug, Default)]
struct Seen(Mutex<Touched>);

#[derive(Clone, Debug, Default)]
struct Fake(Arc<Seen>);

struct Handle(Arc<Seen>, Key, MetricKind);

impl Handle {
    fn add(&self, value: f64) {
        let labels = self.1.labels().map(|label| label.key().to_owned()).collect();
        let mut seen = self.0.0.lock().unwrap();
        let entry = seen.entry(self.1.name().to_owned()).or_insert((self.2, labels, 0.0));
        assert_eq!(entry.0, self.2);
        entry.2 += value;
    }
}

impl CounterFn for Handle {
    fn increment(&self, value: u64) {
        self.add(f64::from(u32::try_from(value).unwrap()));
    }
    fn absolute(&self, _: u64) {
        unreachable!("counters only grow by steps");
    }
}

impl GaugeFn for Handle {
    fn increment(&self, _: f64) {
        unreachable!("gauges are set");
    }
    fn decrement(&self, _: f64) {
        unreachable!("gauges are set");
    }
    fn set(&self, value: f64) {
        self.add(value);
    }
}

impl HistogramFn for Handle {
    fn record(&self, value: f64) {
        self.add(value);
    }
}

impl Recorder for Fake {
    fn describe_counter(&self, key: KeyName, _: Option<Unit>, _: SharedString) {
        self.0.0.lock().unwrap().insert(key.as_str().to_owned(), (MetricKind::Counter, BTreeSet::new(), 0.0));
    }
    fn describe_gauge(&self, key: KeyName, _: Option<Unit>, _: SharedString) {
        self.0.0.lock().unwrap().insert(key.as_str().to_owned(), (MetricKind::Gauge, BTreeSet::new(), 0.0));
    }
    fn describe_histogram(&self, key: KeyName, _: Option<Unit>, _: SharedString) {
        self.0
            .0
            .lock()
            .unwrap()
            .insert(key.as_str().to_owned(), (MetricKind::Histogram, BTreeSet::new(), 0.0));
    }
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::new(Handle(Arc::clone(&self.0), key.clone(), MetricKind::Counter)))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Arc::new(Handle(Arc::clone(&self.0), key.clone(), MetricKind::Gauge)))
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::new(Handle(Arc::clone(&self.0), key.clone(), MetricKind::Histogram)))
    }
}

fn told(observer: &MetricsObserver, line: &str) -> Touched {
    let fake = Fake::default();
    with_local_recorder(&fake, || observer.on_event(&sample(line)));
    std::mem::take(&mut *fake.0.0.lock().unwrap())
}

#[test]
fn each_event_changes_the_metrics_of_its_line() {
    let observer = MetricsObserver::default();
    let mut all = BTreeSet::new();
    for line in LINES {
        let seen = told(&observer, line.event);
        let found: BTreeSet<&str> = seen.keys().map(String::as_str).collect();
        assert_eq!(found, line.metrics.iter().copied().collect(), "{}", line.event);
        for (name, (kind, labels, _)) in &seen {
            let metric = METRICS.iter().find(|metric| metric.name == name).unwrap();
            assert_eq!(metric.kind, *kind, "{name}");
            assert_eq!(
                labels.iter().map(String::as_str).collect::<BTreeSet<_>>(),
                metric.labels.iter().copied().collect(),
                "{name}"
            );
            all.insert(name.clone());
        }
    }
    assert_eq!(all.len(), METRICS.len(), "every metric of the catalogue is told by some event");
}

#[test]
fn values_are_what_the_event_says() {
    let observer = MetricsObserver::default();
    let value = |line: &str, name: &str| told(&observer, line)[name].2;
    assert!((value("Switched (failed)", names::FAILOVER_SECONDS) - 0.25).abs() < 1e-9);
    assert!((value("HostSilent", names::ABORTED) - 2.0).abs() < 1e-9);
    assert!((value("HostState (up)", names::HOST_UP) - 1.0).abs() < 1e-9);
    assert!(value("HostState (down)", names::HOST_UP).abs() < 1e-9);
    assert!((value("Topology", names::HOSTS) - 2.0).abs() < 1e-9, "one writer, one reader");
}

#[test]
fn labels_of_the_application_stand_on_every_metric() {
    let observer = MetricsObserver::default().label("cluster", "shop");
    for line in LINES {
        for (name, (_, labels, _)) in told(&observer, line.event) {
            assert!(labels.contains("cluster"), "{name}");
        }
    }
}

#[test]
fn a_new_observer_describes_every_metric() {
    let fake = Fake::default();
    with_local_recorder(&fake, || drop(MetricsObserver::new()));
    let seen = fake.0.0.lock().unwrap();
    for metric in METRICS {
        assert_eq!(seen.get(metric.name).map(|(kind, ..)| *kind), Some(metric.kind), "{}", metric.name);
    }
}
