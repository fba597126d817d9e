//! One host of a cluster: where it is, what it is called, what role it has.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The role of a host in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum HostRole {
    /// Accepts writes.
    Writer,
    /// Answers reads only.
    Reader,
    /// Not known yet.
    Unknown,
}

impl fmt::Display for HostRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Writer => "writer",
            Self::Reader => "reader",
            Self::Unknown => "unknown",
        })
    }
}

/// Host name (lower case, no trailing dot) and port: the one key under which a host is known everywhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostKey {
    host: Arc<str>,
    port: u16,
}

impl HostKey {
    /// The key of `host` and `port`.
    pub fn new(host: &str, port: u16) -> Self {
        Self { host: Arc::from(host.trim_end_matches('.').to_ascii_lowercase()), port }
    }

    /// The host name.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// One host: its key, its identities, and what the topology last said of it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct HostInfo {
    /// Where it is reached.
    pub key: HostKey,
    /// The id that the database knows it by (Aurora: instance name; Multi-AZ DB cluster: resource id).
    pub id: Option<Arc<str>>,
    /// Its role as last seen.
    pub role: HostRole,
    /// Replica lag, where the topology tells.
    pub lag: Option<Duration>,
    /// CPU load in percent, where the topology tells.
    pub cpu: Option<f32>,
    /// When the database last updated its row, where the topology tells.
    pub updated: Option<SystemTime>,
}

impl HostInfo {
    /// A host of which only the address and the role are known.
    pub fn new(host: &str, port: u16, role: HostRole) -> Self {
        Self { key: HostKey::new(host, port), id: None, role, lag: None, cpu: None, updated: None }
    }

    /// The same host with the database's id for it.
    #[must_use]
    pub fn with_id(mut self, id: impl AsRef<str>) -> Self {
        self.id = Some(Arc::from(id.as_ref()));
        self
    }

    /// The same host with another role.
    #[must_use]
    pub fn with_role(mut self, role: HostRole) -> Self {
        self.role = role;
        self
    }

    /// The host name.
    pub fn host(&self) -> &str {
        self.key.host()
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.key.port()
    }

    /// The name that reports use: the first label of the host name, or the whole address.
    pub fn short_name(&self) -> &str {
        let host = self.host();
        if host.parse::<std::net::IpAddr>().is_ok() {
            return host;
        }
        host.split('.').next().unwrap_or(host)
    }
}

impl fmt::Display for HostInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.key, self.role)
    }
}
