//! The driver that reaches a scripted cluster.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::future::pending;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::connection::FakeConnection;
use super::counts::Socket;
use super::server::Backend;
use super::state::{Door, Health, Shared};
use super::wire::Wire;
use crate::dialect::Engine;
use crate::driver::{ConnectPurpose, ConnectTarget, DriverConnection, DriverDialect};
use crate::env::{Deadline, Environment};
use crate::error::{Error, ErrorClass, ErrorKind, Result};

/// Connects to the hosts of a [`ScriptedCluster`](super::ScriptedCluster) by name, through the environment's resolver.
#[derive(Debug)]
pub struct FakeDriver {
    shared: Arc<Shared>,
    env: Environment,
}

impl FakeDriver {
    pub(super) fn new(shared: &Arc<Shared>, env: &Environment) -> Self {
        Self { shared: Arc::clone(shared), env: env.clone() }
    }

    async fn address(&self, target: &ConnectTarget) -> Result<IpAddr> {
        if let Some(address) = target.address {
            return Ok(address);
        }
        let failed = |error: std::io::Error| {
            Error::new(ErrorKind::Network, "the name was not resolved")
                .with_source(error)
                .with_host(target.host.host())
        };
        let found =
            self.env.resolver().resolve(target.host.host(), target.host.port()).await.map_err(failed)?;
        let first = found.first().map(std::net::SocketAddr::ip);
        first.ok_or_else(|| failed(std::io::Error::from(std::io::ErrorKind::NotFound)))
    }

    async fn open(&self, target: &ConnectTarget) -> Result<Arc<FakeConnection>> {
        let address = self.address(target).await?;
        let (host, name, latency, connect, door, mut frozen) = {
            let state = self.shared.lock();
            let known = state.hosts.iter().enumerate().find(|(_, host)| host.address == address);
            let Some((index, host)) = known else {
                return Err(Error::new(ErrorKind::Network, format!("nobody is at {address}")));
            };
            let door = host.door(target.purpose);
            (index, Arc::clone(&host.name), host.latency, host.connect, door, host.frozen.subscribe())
        };
        // The socket is there, and counted, before the server has answered.
        let socket = Socket::open(&self.shared, host, target.purpose);
        match door {
            Door::Open => {}
            Door::Hangs => return pending().await,
            Door::Refuses(error) => {
                self.env.sleep(latency).await;
                return Err(error.with_host(&name));
            }
            Door::Panics => panic!("the driver panics in a connect, as scripted"),
        }
        let half = connect.map_or(latency, |span| span / 2);
        for _ in 0..2 {
            self.env.sleep(half).await;
            // Who is down refuses at once, who is frozen says nothing.
            loop {
                self.let_in(host)?;
                if !*frozen.borrow_and_update() {
                    break;
                }
                let _ = frozen.changed().await;
            }
        }
        Ok(self.start(host, target.purpose, socket))
    }

    /// A connection that is there at once.
    pub(super) fn connected(&self, host: usize, purpose: ConnectPurpose) -> Arc<FakeConnection> {
        let socket = Socket::open(&self.shared, host, purpose);
        self.start(host, purpose, socket)
    }

    /// Both ends of a connection, after the login.
    fn start(&self, host: usize, purpose: ConnectPurpose, socket: Socket) -> Arc<FakeConnection> {
        let wire = Arc::new(Wire::new(purpose, self.shared.flavour.engine()));
        let (sender, requests) = mpsc::unbounded_channel();
        let (name, number, opened) = {
            let mut state = self.shared.lock();
            let known = &mut state.hosts[host];
            known.wires.retain(|wire| wire.strong_count() > 0);
            known.wires.push(Arc::downgrade(&wire));
            (Arc::clone(&known.name), state.next_connection(), state.stamp())
        };
        let backend = Backend {
            shared: Arc::clone(&self.shared),
            host,
            connection: number,
            opened,
            wire: Arc::clone(&wire),
            transaction: None,
            settings: BTreeMap::new(),
        };
        // A server's task: it ends with its connection and is none of the library's.
        drop(Handle::current().spawn(backend.serve(requests)));
        Arc::new(FakeConnection::new(&self.shared, number, name, wire, sender, socket))
    }

    fn let_in(&self, host: usize) -> Result<()> {
        let state = self.shared.lock();
        let host = &state.hosts[host];
        let is_mysql = self.engine() == Engine::Mysql;
        let refused = match host.health {
            Health::Up => return Ok(()),
            Health::Starting if !is_mysql => {
                Error::new(ErrorKind::Busy, "the database system is starting up").with_sqlstate("57P03")
            }
            Health::Down | Health::Starting => Error::new(ErrorKind::Network, "connection refused"),
            Health::Locked if is_mysql => {
                Error::new(ErrorKind::Login, "Access denied for user 'app'@'%' (using password: YES)")
                    .with_sqlstate("28000")
                    .with_server_code(1045)
            }
            Health::Locked => Error::new(ErrorKind::Login, "password authentication failed for user \"app\"")
                .with_sqlstate("28P01"),
        };
        Err(refused.with_outcome(crate::TransactionOutcome::NotSent).with_host(&host.name))
    }
}

#[async_trait]
impl DriverDialect for FakeDriver {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn engine(&self) -> Engine {
        self.shared.flavour.engine()
    }

    async fn connect(&self, target: &ConnectTarget, deadline: Deadline) -> Result<Arc<dyn DriverConnection>> {
        let opened = deadline.run("connecting", self.open(target)).await;
        // As in the adapters: a connect that timed out says that the host was not reached.
        let connection = opened.map_err(|error| error.with_host(target.host.host()))?;
        Ok(connection)
    }

    fn classify(&self, error: &(dyn StdError + 'static)) -> ErrorClass {
        Error::from_driver(error).map_or(ErrorClass::Other, Error::class)
    }
}
