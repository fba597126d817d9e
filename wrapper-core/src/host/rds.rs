//! What a host name says: the kind of RDS endpoint, its cluster, region and partition.

use std::net::IpAddr;

use crate::host::InstanceTemplate;

/// What a host name leads to, as far as the name tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum EndpointKind {
    /// `NAME.cluster-XYZ.…`: the writer of a cluster, by DNS.
    WriterCluster,
    /// `NAME.cluster-ro-XYZ.…`: the readers of a cluster, by DNS.
    ReaderCluster,
    /// `NAME.cluster-custom-XYZ.…`: a custom endpoint.
    CustomCluster,
    /// `NAME.proxy-XYZ.…`: an RDS Proxy.
    Proxy,
    /// `NAME.endpoint.proxy-XYZ.…`: a further endpoint of an RDS Proxy.
    ProxyEndpoint,
    /// `NAME.global-XYZ.global.…`: the writer of a global database, by DNS.
    GlobalWriter,
    /// `NAME.shardgrp-XYZ.…`: a Limitless shard group.
    LimitlessShardGroup,
    /// `NAME.XYZ.…`: one instance.
    Instance,
    /// An address.
    Ip,
    /// Anything else: a custom domain, a load balancer.
    Other,
}

/// The AWS partition that a host name belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Partition {
    /// The commercial regions.
    Commercial,
    /// GovCloud (US).
    GovCloud,
    /// China.
    China,
    /// The isolated regions under `c2s.ic.gov`.
    Iso,
    /// The isolated regions under `sc2s.sgov.gov`.
    IsoB,
    /// The sovereign clouds under `amazonaws.eu`, `amazonaws.au` and `amazonaws.uk`.
    Sovereign,
}

/// On which side of a Blue/Green deployment a name stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum BlueGreen {
    /// The name has no mark: blue, or no deployment at all.
    Blue,
    /// The name ends in `-green-` and six letters or digits.
    Green,
    /// The name ends in `-old1`: the former blue side after a switchover.
    Old,
}

impl BlueGreen {
    /// The side that a name (first part of a host name, or an instance id) stands on.
    pub fn of(name: &str) -> Self {
        let (_, side) = split_blue_green(name);
        side
    }
}

/// The name without its mark, and the side that the mark stands for.
fn split_blue_green(name: &str) -> (&str, BlueGreen) {
    if let Some((blue, id)) = name.rsplit_once("-green-") {
        if !blue.is_empty() && id.len() == 6 && is_alphanumeric(id) {
            return (blue, BlueGreen::Green);
        }
    }
    match name.strip_suffix("-old1") {
        Some(blue) if !blue.is_empty() => (blue, BlueGreen::Old),
        _ => (name, BlueGreen::Blue),
    }
}

fn is_alphanumeric(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// A host name taken apart. Made by [`classify`]; all parts are in lower case.
///
/// ```
/// use wrapper_core::host::{EndpointKind, classify};
///
/// let host = classify("db.cluster-ro-xyz.us-east-2.rds.amazonaws.com");
/// assert_eq!(host.kind(), EndpointKind::ReaderCluster);
/// assert_eq!(host.region(), Some("us-east-2"));
/// assert_eq!(
///     host.writer_cluster_host().as_deref(),
///     Some("db.cluster-xyz.us-east-2.rds.amazonaws.com")
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RdsHost {
    kind: EndpointKind,
    host: String,
    /// Length of the name at the start of `host`; 0 when there is none.
    name_len: usize,
    hash: Option<String>,
    region: Option<String>,
    partition: Option<Partition>,
    /// What follows the hash in `host`, without the dot between them.
    suffix: Option<String>,
}

impl RdsHost {
    fn plain(kind: EndpointKind, host: String) -> Self {
        Self { kind, host, name_len: 0, hash: None, region: None, partition: None, suffix: None }
    }

    /// The kind of endpoint.
    pub fn kind(&self) -> EndpointKind {
        self.kind
    }

    /// The host as it was classified: lower case, without brackets, port and trailing dot.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The name in front of the hash: of the cluster, the instance, the proxy, the custom endpoint. It may hold dots.
    pub fn name(&self) -> Option<&str> {
        self.host.get(..self.name_len).filter(|name| !name.is_empty())
    }

    /// The name that identifies the cluster, where the host name tells it: writer, reader and global endpoints, and
    /// shard groups. The name of a custom endpoint is its own, not the cluster's.
    pub fn cluster_name(&self) -> Option<&str> {
        use EndpointKind as K;
        match self.kind {
            K::WriterCluster | K::ReaderCluster | K::GlobalWriter | K::LimitlessShardGroup => self.name(),
            _ => None,
        }
    }

    /// The instance's id, for an instance endpoint.
    pub fn instance_id(&self) -> Option<&str> {
        if self.kind == EndpointKind::Instance { self.name() } else { None }
    }

    /// The letters and digits that AWS gives an account in a region (`XYZ`), without the prefix of the kind.
    pub fn cluster_hash(&self) -> Option<&str> {
        self.hash.as_deref()
    }

    /// What follows the hash, such as `us-east-2.rds.amazonaws.com`.
    pub fn suffix(&self) -> Option<&str> {
        self.suffix.as_deref()
    }

    /// The region; `None` for a global endpoint. A load balancer's name has one too.
    pub fn region(&self) -> Option<&str> {
        self.region.as_deref()
    }

    /// The partition; `None` when the name is not one of AWS.
    pub fn partition(&self) -> Option<Partition> {
        self.partition
    }

    /// The side of a Blue/Green deployment, by the mark in the name (a custom domain's first label counts too).
    pub fn blue_green(&self) -> BlueGreen {
        BlueGreen::of(self.marked_part())
    }

    /// The host name without the mark of a Blue/Green deployment.
    pub fn without_blue_green(&self) -> String {
        let marked = self.marked_part();
        let (plain, _) = split_blue_green(marked);
        format!("{plain}{}", &self.host[marked.len()..])
    }

    fn marked_part(&self) -> &str {
        match self.kind {
            EndpointKind::Ip => "",
            EndpointKind::Other => self.host.split('.').next().unwrap_or_default(),
            _ => self.name().unwrap_or_default(),
        }
    }

    /// The pattern of the instances' host names; `None` where the name does not tell it (addresses, custom domains,
    /// proxies, global endpoints).
    pub fn instance_template(&self) -> Option<InstanceTemplate> {
        use EndpointKind as K;
        match self.kind {
            K::WriterCluster | K::ReaderCluster | K::CustomCluster | K::LimitlessShardGroup | K::Instance => {
                let (hash, suffix) = (self.hash.as_deref()?, self.suffix.as_deref()?);
                InstanceTemplate::parse(&format!("?.{hash}.{suffix}")).ok()
            }
            _ => None,
        }
    }

    /// The writer endpoint of the same cluster, for a writer or reader endpoint.
    ///
    /// A custom endpoint's name is not its cluster's, so its writer endpoint cannot be derived.
    pub fn writer_cluster_host(&self) -> Option<String> {
        match self.kind {
            EndpointKind::WriterCluster | EndpointKind::ReaderCluster => Some(format!(
                "{}.cluster-{}.{}",
                self.name()?,
                self.hash.as_deref()?,
                self.suffix.as_deref()?
            )),
            _ => None,
        }
    }

    /// Whether the name is one of RDS.
    pub fn is_rds(&self) -> bool {
        !matches!(self.kind, EndpointKind::Ip | EndpointKind::Other)
    }

    /// Whether DNS decides which instance it leads to: writer, reader, custom and global endpoints.
    pub fn is_cluster(&self) -> bool {
        use EndpointKind as K;
        matches!(self.kind, K::WriterCluster | K::ReaderCluster | K::CustomCluster | K::GlobalWriter)
    }

    /// Whether it is an RDS Proxy, behind which topology and failover are the proxy's matter.
    pub fn is_proxy(&self) -> bool {
        matches!(self.kind, EndpointKind::Proxy | EndpointKind::ProxyEndpoint)
    }

    /// Whether it leads to a writer by DNS: a writer or global endpoint.
    pub fn is_writer_endpoint(&self) -> bool {
        matches!(self.kind, EndpointKind::WriterCluster | EndpointKind::GlobalWriter)
    }
}

/// Takes a host name apart. Pure: no look-up, no cache.
///
/// Accepts any case, a trailing dot, an address in brackets and a port at the end.
pub fn classify(host: &str) -> RdsHost {
    let host = bare_host(host);
    let unscoped = host.split('%').next().unwrap_or_default();
    if unscoped.parse::<IpAddr>().is_ok() {
        return RdsHost::plain(EndpointKind::Ip, host);
    }
    parse_rds(&host)
        .or_else(|| parse_load_balancer(&host))
        .unwrap_or(RdsHost::plain(EndpointKind::Other, host))
}

/// Lower case, without brackets, port and trailing dot.
fn bare_host(host: &str) -> String {
    let host = host.trim();
    let bare = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => match host.rsplit_once(':') {
            // More than one colon: an IPv6 address without brackets.
            Some((name, port)) if !name.contains(':') && port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => host,
        },
    };
    bare.strip_suffix('.').unwrap_or(bare).to_ascii_lowercase()
}

/// The domains of AWS and the partition that each stands for.
const DOMAINS: [(&str, Partition); 7] = [
    (".amazonaws.com.cn", Partition::China),
    (".amazonaws.com", Partition::Commercial),
    (".amazonaws.eu", Partition::Sovereign),
    (".amazonaws.au", Partition::Sovereign),
    (".amazonaws.uk", Partition::Sovereign),
    (".sc2s.sgov.gov", Partition::IsoB),
    (".c2s.ic.gov", Partition::Iso),
];

/// The part before the domain, and the partition that the domain stands for.
fn split_domain(host: &str) -> Option<(&str, Partition)> {
    DOMAINS.iter().find_map(|(domain, partition)| Some((host.strip_suffix(domain)?, *partition)))
}

fn partition_of(domain: Partition, region: Option<&str>) -> Partition {
    match (domain, region) {
        (Partition::Commercial, Some(region)) if region.starts_with("us-gov-") => Partition::GovCloud,
        _ => domain,
    }
}

fn is_region(label: &str) -> bool {
    label.contains('-') && label.split('-').all(is_alphanumeric)
}

/// `NAME.[PREFIX-]HASH.REGION.rds.DOMAIN` or `NAME.[PREFIX-]HASH.rds.REGION.DOMAIN`.
fn parse_rds(host: &str) -> Option<RdsHost> {
    let (front, domain) = split_domain(host)?;
    let (front, last) = front.rsplit_once('.')?;
    let (front, before_last) = front.rsplit_once('.')?;
    let region = match (before_last, last) {
        (region, "rds" | "rds-fips") | ("rds" | "rds-fips", region) => region,
        _ => return None,
    };
    let (name, label) = front.rsplit_once('.')?;
    if name.split('.').any(str::is_empty) {
        return None;
    }
    let (kind, hash, name) = kind_of(label, name)?;
    let region = match kind {
        EndpointKind::GlobalWriter if region == "global" => None,
        EndpointKind::GlobalWriter => return None,
        _ if is_region(region) => Some(region),
        _ => return None,
    };
    Some(RdsHost {
        kind,
        name_len: name.len(),
        hash: Some(hash.to_owned()),
        region: region.map(str::to_owned),
        partition: Some(partition_of(domain, region)),
        suffix: Some(host[front.len() + 1..].to_owned()),
        host: host.to_owned(),
    })
}

/// Kind, hash and name by the label that holds the hash.
fn kind_of<'a>(label: &'a str, name: &'a str) -> Option<(EndpointKind, &'a str, &'a str)> {
    use EndpointKind as K;
    let (kind, hash) = match label.rsplit_once('-') {
        None => (K::Instance, label),
        Some(("cluster", hash)) => (K::WriterCluster, hash),
        Some(("cluster-ro", hash)) => (K::ReaderCluster, hash),
        Some(("cluster-custom", hash)) => (K::CustomCluster, hash),
        Some(("proxy", hash)) => (K::Proxy, hash),
        Some(("global", hash)) => (K::GlobalWriter, hash),
        Some(("shardgrp", hash)) => (K::LimitlessShardGroup, hash),
        Some(_) => return None,
    };
    if !is_alphanumeric(hash) {
        return None;
    }
    match (kind, name.strip_suffix(".endpoint")) {
        (K::Proxy, Some(name)) => Some((K::ProxyEndpoint, hash, name)),
        _ => Some((kind, hash, name)),
    }
}

/// `NAME.elb.REGION.DOMAIN` or `NAME.REGION.elb.DOMAIN`: not RDS, but its region is known.
fn parse_load_balancer(host: &str) -> Option<RdsHost> {
    let (front, domain) = split_domain(host)?;
    let (front, last) = front.rsplit_once('.')?;
    let (_, before_last) = front.rsplit_once('.')?;
    let region = match (before_last, last) {
        (region, "elb") | ("elb", region) if is_region(region) => region,
        _ => return None,
    };
    Some(RdsHost {
        region: Some(region.to_owned()),
        partition: Some(partition_of(domain, Some(region))),
        ..RdsHost::plain(EndpointKind::Other, host.to_owned())
    })
}

#[cfg(test)]
#[path = "rds_tests.rs"]
mod tests;
