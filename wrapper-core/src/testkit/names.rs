//! Names and addresses of a scripted cluster, and the resolver that answers them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;

use super::state::Shared;
use crate::env::Resolver;

const SUFFIX: &str = "xyz.us-east-2.rds.amazonaws.com";

pub(super) fn instance_id(index: usize) -> String {
    format!("instance-{}", index + 1)
}

pub(super) fn instance(index: usize) -> String {
    format!("{}.{SUFFIX}", instance_id(index))
}

pub(super) fn writer_endpoint() -> String {
    format!("db.cluster-{SUFFIX}")
}

pub(super) fn reader_endpoint() -> String {
    format!("db.cluster-ro-{SUFFIX}")
}

pub(super) fn address(index: usize) -> IpAddr {
    let last = u8::try_from(index + 1).unwrap_or(u8::MAX);
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))
}

/// Answers the names of a scripted cluster as they are at the time, stale endpoints included.
#[derive(Debug)]
pub(super) struct ScriptedResolver(pub(super) Arc<Shared>);

#[async_trait]
impl Resolver for ScriptedResolver {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let now = self.0.clock.now();
        let index = {
            let state = self.0.lock();
            if host == writer_endpoint() {
                state.endpoint_at(now)
            } else if host == reader_endpoint() {
                state.reader_at(now)
            } else {
                state.hosts.iter().position(|known| *known.name == *host)
            }
        };
        match index {
            Some(index) => Ok(vec![SocketAddr::new(address(index), port)]),
            None => Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("the scripted cluster knows no host `{host}`"),
            )),
        }
    }
}
