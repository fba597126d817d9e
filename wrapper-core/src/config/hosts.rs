//! The list of hosts, from a URL, from `host` and `port`, or from the builder.

use std::net::Ipv6Addr;

use crate::config::builder::{Resolved, Target};
use crate::config::driver_keys::DriverKeys;
use crate::config::record::Source;
use crate::config::text::WrittenHost;
use crate::error::{Error, Result};

/// The hosts with their ports, and where they came from.
///
/// # Errors
/// A configuration error when there is no host, when hosts are given in two places, or one cannot be right.
pub(crate) fn hosts(
    mut written: Vec<(Vec<WrittenHost>, Source)>,
    given: &[Resolved<'_>],
    keys: &DriverKeys<'_>,
) -> Result<(Vec<(String, u16)>, Source)> {
    let value = |wanted: fn(&Target<'_>) -> bool| given.iter().find(|found| wanted(&found.target));
    let host = value(|target| matches!(target, Target::Host));
    let port = value(|target| matches!(target, Target::Port));
    let address = value(|target| matches!(target, Target::Driver("hostaddr")));

    // The name that TLS verifies comes from `host`; an address alone stands for both.
    let named = host.or(address.filter(|_| written.is_empty())).map(|found| found.entry);
    if let Some(entry) = named {
        let hosts = entry.given.text().split(',').map(|host| (host.trim().to_owned(), None)).collect();
        written.push((hosts, entry.source.clone()));
    }
    if let [(_, first), (_, second), ..] = written.as_slice() {
        return Err(Error::config(format!(
            "hosts are given twice ({first} and {second}); give them in one place"
        )));
    }
    let Some((hosts, source)) = written.pop() else {
        return Err(Error::config(
            "no host: name one in the URL (`postgres://host:port/…`), as `host=…`, or with the builder",
        ));
    };
    let ports = port.map(|port| read_ports(&port.entry.given.text(), hosts.len())).transpose()?;
    let mut complete = Vec::new();
    for (index, (host, own_port)) in hosts.into_iter().enumerate() {
        let host = host.trim().trim_start_matches('[').trim_end_matches(']').to_owned();
        check_host(&host, index + 1)?;
        let listed = ports.as_ref().and_then(|ports| ports.get(index).or(ports.first())).copied().flatten();
        if own_port.is_some() && listed.is_some() {
            return Err(Error::config(format!(
                "host `{host}` has a port of its own, and `port` is given too; give one"
            )));
        }
        if own_port == Some(0) {
            return Err(Error::config(format!("host `{host}`: port 0; expected a number from 1 to 65535")));
        }
        complete.push((host, own_port.or(listed).unwrap_or(keys.default_port)));
    }
    Ok((complete, source))
}

/// One port for all hosts, or one each; an empty place stands for the default.
fn read_ports(text: &str, hosts: usize) -> Result<Vec<Option<u16>>> {
    let ports: Vec<Option<u16>> = text
        .split(',')
        .map(|port| match port.trim() {
            "" => Ok(None),
            port => port.parse::<u16>().ok().filter(|port| *port > 0).map(Some).ok_or_else(|| {
                Error::config(format!("`port={text}`: expected numbers from 1 to 65535, separated by commas"))
            }),
        })
        .collect::<Result<_>>()?;
    if ports.len() != 1 && ports.len() != hosts {
        return Err(Error::config(format!(
            "`port={text}`: {} ports for {hosts} hosts; expected one for all, or one each",
            ports.len()
        )));
    }
    Ok(ports)
}

/// Refuses what cannot be a host; a path is the directory of a Unix socket. The text may hold a password, so it is not
/// repeated.
fn check_host(host: &str, number: usize) -> Result<()> {
    if host.is_empty() {
        return Err(Error::config(format!("host {number} is empty; expected a host name or an address")));
    }
    if host.starts_with('/') {
        return Ok(());
    }
    let address = host.split('%').next().unwrap_or_default();
    if host.contains(':') && address.parse::<Ipv6Addr>().is_err() {
        return Err(Error::config(format!(
            "host {number} holds `:` and is no IPv6 address; give the port as `port`"
        )));
    }
    if host.contains(|c: char| c.is_whitespace() || c.is_control() || c == '@') {
        return Err(Error::config(format!(
            "host {number} holds a space, a control character or `@`; expected a host name or an address"
        )));
    }
    Ok(())
}
