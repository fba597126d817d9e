//! One event for each line of the catalogue; the observers' tests run over them.
#![allow(clippy::panic, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use super::catalog::LINES;
use super::{BreakerState, CallTiming, ConnectTiming, Ending, Event, SwitchReport};
use crate::driver::ConnectPurpose;
use crate::env::Environment;
use crate::error::{Error, ErrorKind};
use crate::host::{HostInfo, HostRole, HostStateChange};
use crate::topology::{Published, Topology};

pub(super) fn host(name: &str, role: HostRole) -> HostInfo {
    HostInfo::new(&format!("{name}.xyz.us-east-2.rds.amazonaws.com"), 5432, role)
}

fn report(succeeds: bool) -> Event {
    let env = Environment::builder().seed(1).build();
    let cause = Error::new(ErrorKind::Network, "reset");
    let mut report = SwitchReport::new(&cause, &host("instance-1", HostRole::Writer), &env);
    report.chose(&host("instance-2", HostRole::Writer), "it is the writer");
    let failure = Error::new(ErrorKind::Timeout, "too late");
    report.end(&env, (!succeeds).then_some(&failure), 3);
    report.elapsed = Duration::from_millis(250);
    Event::Switched(Arc::new(report))
}

/// The event that a line of the catalogue is about.
pub(super) fn sample(line: &str) -> Event {
    let writer = host("instance-1", HostRole::Writer);
    let reader = host("instance-2", HostRole::Reader);
    let error = || Error::new(ErrorKind::Network, "reset");
    match line {
        "Topology" => {
            let topology = Arc::new(Topology::new(vec![writer, reader]));
            let now = Environment::builder().seed(1).build().now();
            Event::Topology(Published::new(topology, 1, true, 0, now))
        }
        "WriterChanged (the first)" => Event::WriterChanged { from: None, to: writer },
        "WriterChanged" => Event::WriterChanged { from: Some(reader), to: writer },
        "SearchStarted" => Event::SearchStarted,
        "HostSilent" => Event::HostSilent { host: writer.key, failures: 3, closed: 2 },
        "HostState (up)" => Event::HostState(HostStateChange::new(writer.key, true)),
        "HostState (down)" => Event::HostState(HostStateChange::new(writer.key, false)),
        "VerdictSkipped" => Event::VerdictSkipped { host: writer.key },
        "Switched (succeeded)" => report(true),
        "Switched (failed)" => report(false),
        "Decision" => Event::Decision { error: error(), action: "fail over" },
        "Breaker" => Event::Breaker { host: writer.key, state: BreakerState::Open },
        "TaskRestarted" => Event::TaskRestarted { task: "topology monitor" },
        "Warning" => Event::Warning("something".to_owned()),
        "ConnectTimed" => {
            let elapsed = Duration::from_millis(20);
            Event::ConnectTimed(ConnectTiming::new(writer, ConnectPurpose::Session, elapsed, Ending::Done))
        }
        "CallTimed" => {
            let ending = Ending::Failed(error());
            Event::CallTimed(CallTiming::new("query", writer, Duration::from_millis(3), ending))
        }
        other => panic!("there is no sample for the line `{other}`"),
    }
}

/// Fails to compile when a kind of event is new; then it needs a line in the catalogue, and a sample.
fn variant(event: &Event) -> &'static str {
    match event {
        Event::Topology(_) => "Topology",
        Event::WriterChanged { .. } => "WriterChanged",
        Event::SearchStarted => "SearchStarted",
        Event::HostSilent { .. } => "HostSilent",
        Event::HostState(_) => "HostState",
        Event::VerdictSkipped { .. } => "VerdictSkipped",
        Event::Switched(_) => "Switched",
        Event::Decision { .. } => "Decision",
        Event::Breaker { .. } => "Breaker",
        Event::TaskRestarted { .. } => "TaskRestarted",
        Event::Warning(_) => "Warning",
        Event::ConnectTimed(_) => "ConnectTimed",
        Event::CallTimed(_) => "CallTimed",
    }
}

#[test]
fn every_line_is_of_the_event_that_it_names() {
    for line in LINES {
        let name = line.event.split(' ').next().unwrap();
        assert_eq!(variant(&sample(line.event)), name);
    }
}
