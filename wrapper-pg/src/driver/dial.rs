//! From a host to an open socket: addresses, TCP and Unix sockets, socket options.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, LoadBalanceHosts};
use wrapper_core::driver::ConnectTarget;
use wrapper_core::env::{Deadline, Environment};
use wrapper_core::{Error, ErrorClass, ErrorKind, Result, TransactionOutcome};

use crate::link::Link;
use crate::stream::Wire;

/// Where a connection is dialled; a cancel request must go to the same place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    /// The socket's file.
    Unix(PathBuf),
}

impl Address {
    pub(crate) fn is_unix(&self) -> bool {
        matches!(self, Self::Unix(_))
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// The addresses of `target`, in the order in which they are to be tried; never empty.
pub(super) async fn addresses(
    config: &Config,
    environment: &Environment,
    target: &ConnectTarget,
    deadline: Deadline,
) -> Result<Vec<Address>> {
    let (host, port) = (target.host.host(), target.host.port());
    if host.starts_with('/') {
        return Ok(vec![Address::Unix(socket_file(config, host, port))]);
    }
    if let Some(address) = target.address.or_else(|| configured_address(config, host, port)) {
        return Ok(vec![Address::Tcp(SocketAddr::new(address, port))]);
    }
    let look_up = async {
        environment.resolver().resolve(host, port).await.map_err(|error| {
            unreachable_error(format!("the name `{host}` could not be looked up")).with_source(error)
        })
    };
    let mut found = deadline.run("looking up the host's name", look_up).await.map_err(late)?;
    if config.get_load_balance_hosts() == LoadBalanceHosts::Random {
        environment.shuffle(&mut found);
    }
    if found.is_empty() {
        return Err(unreachable_error(format!("the name `{host}` has no address")));
    }
    Ok(found.into_iter().map(Address::Tcp).collect())
}

/// The `hostaddr` that the configuration pairs with this host.
fn configured_address(config: &Config, host: &str, port: u16) -> Option<IpAddr> {
    let hosts = config.get_hosts();
    if hosts.len() != config.get_hostaddrs().len() {
        return None;
    }
    let index = hosts.iter().enumerate().position(|(index, known)| {
        let ports = config.get_ports();
        let known_port = ports.get(index).or_else(|| ports.first()).copied().unwrap_or(5432);
        matches!(known, Host::Tcp(name) if name.trim_end_matches('.').eq_ignore_ascii_case(host))
            && known_port == port
    })?;
    config.get_hostaddrs().get(index).copied()
}

/// The file of a Unix socket; the configuration knows how its folder is really spelt, a host key is lower case.
fn socket_file(config: &Config, host: &str, port: u16) -> PathBuf {
    #[cfg(unix)]
    let folder = config.get_hosts().iter().find_map(|known| match known {
        Host::Unix(path) if path.to_string_lossy().eq_ignore_ascii_case(host) => Some(path.as_path()),
        _ => None,
    });
    #[cfg(not(unix))]
    let folder: Option<&Path> = None;
    folder.unwrap_or(Path::new(host)).join(format!(".s.PGSQL.{port}"))
}

/// Opens the socket and sets its options.
pub(super) async fn dial(
    address: &Address,
    config: &Config,
    link: Arc<Link>,
    deadline: Deadline,
) -> Result<Wire> {
    let failed =
        |error: io::Error| unreachable_error(format!("{address} could not be reached")).with_source(error);
    let opened = async {
        match address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await.map_err(failed)?;
                set_options(&stream, config).map_err(failed)?;
                Ok(Wire::tcp(stream, link))
            }
            #[cfg(unix)]
            Address::Unix(path) => Ok(Wire::unix(UnixStream::connect(path).await.map_err(failed)?, link)),
            #[cfg(not(unix))]
            Address::Unix(_) => Err(Error::config("`host` names a Unix socket; this system has none")),
        }
    };
    deadline.run(&format!("opening a connection to {address}"), opened).await.map_err(late)
}

fn set_options(stream: &TcpStream, config: &Config) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    if config.get_keepalives() {
        let mut keepalive = TcpKeepalive::new().with_time(config.get_keepalives_idle());
        #[cfg(not(any(target_os = "openbsd", target_os = "solaris", target_os = "illumos")))]
        if let Some(interval) = config.get_keepalives_interval() {
            keepalive = keepalive.with_interval(interval);
        }
        #[cfg(not(any(
            target_os = "openbsd",
            target_os = "solaris",
            target_os = "illumos",
            target_os = "windows"
        )))]
        if let Some(retries) = config.get_keepalives_retries() {
            keepalive = keepalive.with_retries(retries);
        }
        socket.set_tcp_keepalive(&keepalive)?;
    }
    #[cfg(target_os = "linux")]
    if let Some(timeout) = config.get_tcp_user_timeout() {
        socket.set_tcp_user_timeout(Some(*timeout))?;
    }
    Ok(())
}

fn unreachable_error(message: String) -> Error {
    Error::new(ErrorKind::Network, message).with_outcome(TransactionOutcome::NotSent)
}

/// A connect that is late is a matter of the network, and nothing was sent.
pub(super) fn late(error: Error) -> Error {
    if error.kind() == ErrorKind::Timeout {
        return error.with_class(ErrorClass::Network).with_outcome(TransactionOutcome::NotSent);
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use wrapper_core::host::{HostInfo, HostRole};

    fn target(host: &str, port: u16) -> ConnectTarget {
        ConnectTarget::session(HostInfo::new(host, port, HostRole::Unknown))
    }

    async fn first(config: &str, target: &ConnectTarget) -> Address {
        let config: Config = config.parse().unwrap();
        let deadline = Deadline::after(std::time::Duration::from_secs(5), "connect_timeout");
        addresses(&config, &Environment::default(), target, deadline).await.unwrap().remove(0)
    }

    #[tokio::test]
    async fn a_host_address_belongs_to_its_host_and_port() {
        let config = "host=db-a,db-b hostaddr=10.0.0.1,10.0.0.2 port=5432,5433";
        assert_eq!(first(config, &target("db-b", 5433)).await.to_string(), "10.0.0.2:5433");
        let mut pinned = target("db-a", 5432);
        pinned.address = "10.9.9.9".parse().ok();
        assert_eq!(first(config, &pinned).await.to_string(), "10.9.9.9:5432");
        assert_eq!(first(config, &target("127.0.0.3", 5433)).await.to_string(), "127.0.0.3:5433");
    }

    /// The settings `tcp_keepalive_time`, `tcp_keepalive_interval` and `tcp_keepalive_probes` end here.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn keepalive_is_set_on_the_socket() {
        use std::time::Duration;
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let config = "host=x keepalives=1 keepalives_idle=41 keepalives_interval=7 keepalives_retries=5";
        for (config, on) in
            [(config.to_owned(), true), (config.replace("keepalives=1", "keepalives=0"), false)]
        {
            let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            set_options(&stream, &config.parse().unwrap()).unwrap();
            let socket = SockRef::from(&stream);
            assert_eq!(socket.keepalive().unwrap(), on);
            if on {
                assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(41));
                assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(7));
                assert_eq!(socket.tcp_keepalive_retries().unwrap(), 5);
            }
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_socket_folder_keeps_its_spelling() {
        let address = first("host=/var/run/PostgreSQL", &target("/var/run/PostgreSQL", 5432)).await;
        assert_eq!(address.to_string(), "/var/run/PostgreSQL/.s.PGSQL.5432");
    }
}
