//! The steps of a connect: addresses, socket, TLS, login; all under one deadline.

use std::net::SocketAddr;
use std::sync::Arc;

use mysql_async::{Conn, DriverError, OptsBuilder};
use secrecy::ExposeSecret;
use wrapper_core::driver::{ConnectPurpose, ConnectTarget};
use wrapper_core::env::Deadline;
use wrapper_core::{Error, ErrorClass, ErrorKind, Result, TransactionOutcome};

use super::{MONITOR_PROGRAM_NAME, Shared};
use crate::connection::MysqlConnection;
use crate::error::map_connect_error;
use crate::tls::{Plan, clear_without_tls};

/// Opens a connection to the first address of `target` that lets it in.
pub(super) async fn open(
    shared: &Arc<Shared>,
    target: &ConnectTarget,
    deadline: Deadline,
) -> Result<Arc<MysqlConnection>> {
    Box::pin(connected(shared, target, deadline)).await.map_err(|error: Error| match error.host() {
        Some(_) => error,
        None => error.with_operation("connect").with_host(target.host.key.to_string()),
    })
}

async fn connected(
    shared: &Arc<Shared>,
    target: &ConnectTarget,
    deadline: Deadline,
) -> Result<Arc<MysqlConnection>> {
    let credential = target.credential.clone().unwrap_or_default();
    let (host, port) = (target.host.host(), target.host.port());
    let mut opts =
        OptsBuilder::from_opts(shared.opts.clone()).ip_or_hostname(host).tcp_port(port).prefer_socket(false);
    if let Some(user) = &credential.user {
        opts = opts.user(Some(user));
    }
    if let Some(password) = &credential.password {
        opts = opts.pass(Some(password.expose_secret()));
    }
    if target.purpose == ConnectPurpose::Monitor {
        // The driver would ask for the two by a round trip; a monitor's statements are small, and it knows no pool.
        opts = opts
            .connect_attribute("program_name", MONITOR_PROGRAM_NAME)
            .max_allowed_packet(Some(shared.opts.max_allowed_packet().unwrap_or(MONITOR_PACKET)))
            .wait_timeout(Some(shared.opts.wait_timeout().unwrap_or_default()));
    }
    if credential.clear_text {
        // For this connection only: the server may not make the others show their passwords.
        opts = opts.enable_cleartext_plugin(true);
    }
    let clear = shared.opts.enable_cleartext_plugin() || credential.clear_text || credential.needs_tls;
    let unix = host.starts_with('/');
    let plan = shared.tls.plan(host, unix, clear)?;
    if credential.needs_tls && plan.ssl.is_none() {
        return Err(clear_without_tls(host));
    }
    if unix {
        let attempt = Attempt { target, address: host.to_owned(), deadline };
        return attempt.run(opts.socket(Some(host)), &plan).await;
    }
    let addresses = addresses(shared, target, deadline).await?;
    let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    let mut first_failure: Option<Error> = None;
    for address in addresses {
        // What is left of the deadline is shared among the addresses that are left.
        let mut share = deadline;
        if left > 1 {
            share =
                share.cap(deadline.remaining() / left, "connect_timeout, shared among the host's addresses");
        }
        left -= 1;
        let attempt = Attempt { target, address: address.to_string(), deadline: share };
        let opts = opts.clone().tcp_port(address.port()).resolved_ips(Some(vec![address.ip()]));
        let error = match attempt.run(opts, &plan).await {
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
    Err(first_failure.unwrap_or_else(|| unreachable_error(format!("the name `{host}` has no address"))))
}

/// The longest packet of a monitor: the driver's own default.
const MONITOR_PACKET: usize = 4 * 1024 * 1024;

/// The addresses of `target`, in the order in which they are to be tried.
async fn addresses(shared: &Shared, target: &ConnectTarget, deadline: Deadline) -> Result<Vec<SocketAddr>> {
    let (host, port) = (target.host.host(), target.host.port());
    if let Some(address) = target.address {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    // Addresses that the options give belong to the host that they give.
    if shared.opts.ip_or_hostname().trim_end_matches('.').eq_ignore_ascii_case(host)
        && shared.opts.tcp_port() == port
    {
        if let Some(known) = shared.opts.resolved_ips().as_ref().filter(|known| !known.is_empty()) {
            return Ok(known.iter().map(|address| SocketAddr::new(*address, port)).collect());
        }
    }
    let look_up = async {
        shared.environment.resolver().resolve(host, port).await.map_err(|error| {
            unreachable_error(format!("the name `{host}` could not be looked up")).with_source(error)
        })
    };
    deadline.run("looking up the host's name", look_up).await.map_err(late)
}

/// One address, up to a session.
struct Attempt<'a> {
    target: &'a ConnectTarget,
    address: String,
    deadline: Deadline,
}

impl Attempt<'_> {
    async fn run(&self, opts: OptsBuilder, plan: &Plan) -> Result<Arc<MysqlConnection>> {
        let secured = opts.clone().ssl_opts(plan.ssl.clone());
        match self.once(secured, plan.ssl.is_some()).await {
            Err(error) if plan.or_plain && has_no_tls(&error) => self.once(opts.ssl_opts(None), false).await,
            result => result,
        }
    }

    async fn once(&self, opts: OptsBuilder, secure: bool) -> Result<Arc<MysqlConnection>> {
        let what = format!("TCP, TLS and login at {}", self.address);
        let login = async { Conn::new(opts).await.map_err(map_connect_error) };
        let conn = self.deadline.run(&what, login).await.map_err(late)?;
        let host = self.target.host.clone();
        Ok(Arc::new(MysqlConnection::new(conn, host, self.address.clone(), secure)))
    }
}

fn has_no_tls(error: &Error) -> bool {
    matches!(error.find_source::<DriverError>(), Some(DriverError::NoClientSslFlagFromServer))
}

fn unreachable_error(message: String) -> Error {
    Error::new(ErrorKind::Network, message).with_outcome(TransactionOutcome::NotSent)
}

/// A connect that is late is a matter of the network, and nothing was sent.
fn late(error: Error) -> Error {
    if error.kind() == ErrorKind::Timeout {
        return error.with_class(ErrorClass::Network).with_outcome(TransactionOutcome::NotSent);
    }
    error
}
