//! The steps of a connect: addresses, socket, TLS, start-up, role check; all under one deadline.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use secrecy::ExposeSecret;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::{Client, Config, Connection, NoTls};
use wrapper_core::driver::{ConnectPurpose, ConnectTarget, DriverConnection};
use wrapper_core::env::Deadline;
use wrapper_core::host::HostInfo;
use wrapper_core::{Error, ErrorClass, ErrorKind, Result};

use super::dial::{Address, addresses, dial, late};
use super::{MONITOR_APPLICATION_NAME, Shared, task};
use crate::connection::PgConnection;
use crate::error::map_connect_error;
use crate::link::Link;
use crate::tap::Probe;
use crate::tls::{Plan, Socket, TapTls, advice};

/// Opens a connection to the first address of `target` that lets it in.
pub(super) async fn open(
    shared: &Arc<Shared>,
    target: &ConnectTarget,
    deadline: Deadline,
) -> Result<Arc<PgConnection>> {
    let connected = async {
        let credential = target.credential.clone().unwrap_or_default();
        let mut config = shared.config.clone();
        if let Some(user) = &credential.user {
            config.user(user);
        }
        if let Some(password) = &credential.password {
            config.password(password.expose_secret());
        }
        if target.purpose == ConnectPurpose::Monitor {
            config.application_name(MONITOR_APPLICATION_NAME);
        }
        let addresses = addresses(&config, &shared.environment, target, deadline).await?;
        let unix = addresses.iter().any(Address::is_unix);
        let plan = shared.tls.plan(&config, target.host.host(), unix, credential.needs_tls)?;
        config.ssl_mode(plan.ssl_mode);
        let connection = first_of(shared, target, &config, &plan, addresses, deadline).await?;
        check_role(&connection, &config, target, deadline).await?;
        Ok(connection)
    };
    connected.await.map_err(|error: Error| match error.host() {
        Some(_) => error,
        None => error.with_operation("connect").with_host(target.host.key.to_string()),
    })
}

/// Tries one address after the other; what is left of the deadline is shared among those that are left.
async fn first_of(
    shared: &Arc<Shared>,
    target: &ConnectTarget,
    config: &Config,
    plan: &Plan,
    addresses: Vec<Address>,
    deadline: Deadline,
) -> Result<Arc<PgConnection>> {
    let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    let mut first_failure: Option<Error> = None;
    for address in addresses {
        let mut share = deadline;
        if left > 1 {
            share = share.cap(deadline.remaining() / left, SHARE);
        }
        if let Some(timeout) = config.get_connect_timeout() {
            share = share.cap(*timeout, "connect_timeout");
        }
        left -= 1;
        let attempt = Attempt { shared, target, address: &address, deadline: share };
        let error = match attempt.run(config, plan).await {
            Ok(connection) => return Ok(connection),
            Err(error) => error,
        };
        if !matches!(error.class(), ErrorClass::Network | ErrorClass::Busy) {
            // Another address would refuse it too.
            return Err(error);
        }
        first_failure.get_or_insert(error);
        if deadline.is_over() {
            break;
        }
    }
    Err(first_failure.unwrap_or_else(|| Error::new(ErrorKind::Network, "the host has no address")))
}

/// Names, in the error of an address that was slow, the limit that it ran into.
const SHARE: &str = "connect_timeout, shared among the host's addresses";

/// One address, up to a session.
struct Attempt<'a> {
    shared: &'a Arc<Shared>,
    target: &'a ConnectTarget,
    address: &'a Address,
    deadline: Deadline,
}

impl Attempt<'_> {
    async fn run(&self, config: &Config, plan: &Plan) -> Result<Arc<PgConnection>> {
        match self.once(config, plan).await {
            // "Prefer" takes a connection without TLS when the handshake fails, as libpq's does.
            Err(error) if plan.ssl_mode == SslMode::Prefer && is_tls_failure(&error) => {
                let mut config = config.clone();
                config.ssl_mode(SslMode::Disable);
                self.once(&config, &Plan::plain()).await
            }
            result => result,
        }
    }

    async fn once(&self, config: &Config, plan: &Plan) -> Result<Arc<PgConnection>> {
        let link = Arc::new(Link::default());
        let probe = Arc::new(Probe::default());
        let wire = dial(self.address, config, Arc::clone(&link), self.deadline).await?;
        let socket = Socket::new(wire, Arc::clone(&probe));
        let host = &self.target.host;
        let what = format!("TLS and login at {}", self.address);
        let started = async {
            let failed = |error| self.shared.connect_error(error, host);
            // Nothing waits between the start of a session and its task: a caller that gives up meanwhile has
            // dropped either all of it or none.
            match &plan.handshake {
                None => {
                    let (client, connection) = config.connect_raw(socket, NoTls).await.map_err(failed)?;
                    self.spawn(connection, &link, &probe);
                    Ok(client)
                }
                Some(handshake) => {
                    let tls = TapTls::new(Arc::clone(handshake), host.host(), Arc::clone(&probe));
                    let (client, connection) = config.connect_raw(socket, tls).await.map_err(failed)?;
                    self.spawn(connection, &link, &probe);
                    Ok(client)
                }
            }
        };
        let client: Client = self.deadline.run(&what, started).await.map_err(late)?;
        let shared = Arc::clone(self.shared);
        Ok(Arc::new(PgConnection::new(client, link, probe, host.clone(), self.address.clone(), shared)))
    }

    fn spawn<T>(&self, connection: Connection<Socket, T>, link: &Arc<Link>, probe: &Arc<Probe>)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let task =
            task::run(connection, Arc::clone(link), Arc::clone(probe), self.shared.environment.clone());
        self.shared.spawner.spawn(Box::pin(task));
    }
}

fn is_tls_failure(error: &Error) -> bool {
    error.find_source::<tokio_postgres::Error>().is_some_and(crate::error::is_tls_failure)
}

/// `target_session_attrs`, which the driver checks only where it dials itself.
async fn check_role(
    connection: &PgConnection,
    config: &Config,
    target: &ConnectTarget,
    deadline: Deadline,
) -> Result<()> {
    let wanted = config.get_target_session_attrs();
    if wanted == TargetSessionAttrs::Any || target.purpose != ConnectPurpose::Session {
        return Ok(());
    }
    let read_only = match connection.reported_read_only() {
        Some(read_only) => read_only,
        None => {
            let answer = connection.fetch_text("SHOW transaction_read_only", deadline).await.map_err(late)?;
            answer.get(0, "transaction_read_only") == Some("on")
        }
    };
    let refused = match wanted {
        TargetSessionAttrs::ReadWrite if read_only => {
            "`target_session_attrs=read-write`: the host allows no writes"
        }
        TargetSessionAttrs::ReadOnly if !read_only => {
            "`target_session_attrs=read-only`: the host allows writes"
        }
        _ => return Ok(()),
    };
    Err(Error::new(ErrorKind::WrongRole, refused))
}

impl Shared {
    /// The library's error for one that came up while connecting to `host`.
    pub(crate) fn connect_error(&self, error: tokio_postgres::Error, host: &HostInfo) -> Error {
        match advice(&error, host.host()) {
            Some(advice) => Error::config(advice).with_source(error),
            None => map_connect_error(error, self.login_is_network.load(Ordering::Relaxed)),
        }
    }

    /// Opens another socket to the address of a connection, ready for a handshake like the connection's.
    pub(crate) async fn reopen(
        &self,
        host: &HostInfo,
        address: &Address,
        deadline: Deadline,
    ) -> Result<(Socket, Option<TapTls>)> {
        let plan = self.tls.plan(&self.config, host.host(), address.is_unix(), false)?;
        let probe = Arc::new(Probe::default());
        let wire = dial(address, &self.config, Arc::new(Link::default()), deadline).await?;
        let socket = Socket::new(wire, Arc::clone(&probe));
        Ok((socket, plan.handshake.map(|handshake| TapTls::new(handshake, host.host(), probe))))
    }
}
