//! The servers' side of a scripted cluster: hosts, the shared store, what each host believes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::counts::Ledgers;
use super::flavour::Flavour;
use super::ledger::{Change, Executed, Written};
use super::names;
use super::wire::Wire;
use crate::driver::ConnectPurpose;
use crate::env::{Environment, watch};
use crate::error::Error;
use crate::host::HostRole;

/// How a host treats its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Health {
    /// It answers.
    Up,
    /// Nobody listens: connects are refused.
    Down,
    /// It starts: PostgreSQL listens but takes no connection yet (SQLSTATE 57P03), MySQL does not listen.
    Starting,
    /// It refuses the credentials.
    Locked,
}

/// What becomes of a new connection to a host that is up.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Door {
    /// It is let in.
    #[default]
    Open,
    /// Nobody answers it: the host accepts the socket, and that is all.
    Hangs,
    /// It is refused, with this error.
    Refuses(Error),
    /// The driver panics. For tests of what must survive that.
    Panics,
}

/// What all parts of a scripted cluster share.
#[derive(Debug)]
pub(super) struct Shared {
    /// A clock, and the servers' own share of the seed; it has no resolver of the cluster, which would be a circle.
    pub(super) clock: Environment,
    pub(super) flavour: Flavour,
    state: Mutex<State>,
}

impl Shared {
    pub(super) fn new(flavour: Flavour, hosts: usize, seed: u64) -> Self {
        let clock = Environment::builder().seed(seed ^ 0x5eed).build();
        let hosts: Vec<Host> = (0..hosts).map(|index| Host::new(flavour, index)).collect();
        let state = State {
            counts: Ledgers::new(hosts.len()),
            hosts,
            owner: Some(0),
            endpoint: Vec::new(),
            log: Vec::new(),
            lost: Vec::new(),
            executed: Vec::new(),
            asked: BTreeMap::new(),
            stamp: 0,
            connections: 0,
        };
        Self { clock, flavour, state: Mutex::new(state) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends connections from the server's side, and returns when that is noted; nobody runs in between.
    pub(super) fn reset(&self, host: usize, only: impl Fn(&Wire) -> bool) {
        let wires: Vec<Arc<Wire>> = {
            let mut state = self.lock();
            state.hosts[host].wires.retain(|wire| wire.strong_count() > 0);
            state.hosts[host].wires.iter().filter_map(Weak::upgrade).collect()
        };
        // Outside the lock: whoever is woken may look at the state.
        wires.iter().filter(|wire| only(wire)).for_each(|wire| wire.reset());
    }
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) hosts: Vec<Host>,
    /// Whose writes reach the shared store.
    pub(super) owner: Option<usize>,
    /// Where the writer endpoint leads, and since when.
    pub(super) endpoint: Vec<(Instant, usize)>,
    /// The shared store: what was written, in order. The truth.
    pub(super) log: Vec<Written>,
    /// Writes that a demoted host has acknowledged, and that no other host knows of.
    pub(super) lost: Vec<Written>,
    pub(super) executed: Vec<Executed>,
    /// The library's own questions, and how often they were asked.
    pub(super) asked: BTreeMap<String, u64>,
    pub(super) counts: Ledgers,
    stamp: u64,
    connections: u64,
}

impl State {
    /// The next number in the order of things that happen; no two things have the same one.
    pub(super) fn stamp(&mut self) -> u64 {
        self.stamp += 1;
        self.stamp
    }

    pub(super) fn next_connection(&mut self) -> u64 {
        self.connections += 1;
        self.connections
    }

    pub(super) fn endpoint_at(&self, now: Instant) -> Option<usize> {
        let past = self.endpoint.iter().rev().find(|(since, _)| *since <= now);
        Some(past.map_or(0, |(_, host)| *host))
    }

    /// The reader endpoint leads to the first reader that is up, else to the writer.
    pub(super) fn reader_at(&self, now: Instant) -> Option<usize> {
        let reader =
            |host: &Host| host.role == HostRole::Reader && host.health != Health::Down && !host.is_frozen();
        self.hosts.iter().position(reader).or_else(|| self.endpoint_at(now))
    }

    /// Writes on `host`: into the shared store, or, when another host owns it by now, into nowhere.
    pub(super) fn write(&mut self, host: usize, at: Instant, changes: &[(u64, Change)]) {
        let name = Arc::clone(&self.hosts[host].name);
        let owns = self.owner == Some(host);
        for (statement, change) in changes {
            let stamp = self.stamp();
            let written =
                Written { statement: *statement, change: *change, host: Arc::clone(&name), at, stamp };
            if owns { self.log.push(written) } else { self.lost.push(written) }
        }
    }
}

#[derive(Debug)]
pub(super) struct Host {
    pub(super) id: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) address: IpAddr,
    /// What the host's own recovery state says; a writer accepts writes.
    pub(super) role: HostRole,
    pub(super) health: Health,
    /// One round trip.
    pub(super) latency: Duration,
    /// How far a reader is behind.
    pub(super) lag: Duration,
    /// Which host its topology names as the writer, and since when.
    pub(super) views: Vec<(Instant, Option<usize>)>,
    pub(super) frozen: watch::Sender<bool>,
    /// How long a connect takes: two round trips unless told otherwise.
    pub(super) connect: Option<Duration>,
    pub(super) doors: Vec<(ConnectPurpose, Door)>,
    /// Pings that the host has answered.
    pub(super) pings: u64,
    pub(super) wires: Vec<Weak<Wire>>,
}

impl Host {
    fn new(flavour: Flavour, index: usize) -> Self {
        Self {
            id: Arc::from(flavour.host_id(index)),
            name: Arc::from(names::instance(index)),
            address: names::address(index),
            role: if index == 0 { HostRole::Writer } else { HostRole::Reader },
            health: Health::Up,
            latency: Duration::from_millis(1),
            lag: Duration::ZERO,
            views: Vec::new(),
            frozen: watch::Sender::new(false),
            connect: None,
            doors: Vec::new(),
            pings: 0,
            wires: Vec::new(),
        }
    }

    pub(super) fn door(&self, purpose: ConnectPurpose) -> Door {
        let door = self.doors.iter().find(|(of, _)| *of == purpose);
        door.map(|(_, door)| door.clone()).unwrap_or_default()
    }

    pub(super) fn is_frozen(&self) -> bool {
        *self.frozen.borrow()
    }

    /// The writer that its topology names now.
    pub(super) fn view(&self, now: Instant) -> Option<usize> {
        self.views.iter().rev().find(|(since, _)| *since <= now).map_or(Some(0), |(_, writer)| *writer)
    }

    /// From `since` on its topology names `writer`; what it was to learn later than that is forgotten.
    pub(super) fn sees(&mut self, since: Instant, writer: Option<usize>) {
        self.views.retain(|(known, _)| *known <= since);
        self.views.push((since, writer));
    }
}
