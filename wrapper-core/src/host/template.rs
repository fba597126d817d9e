//! The pattern from which the host name of an instance is made.

use std::fmt;

use crate::error::{Error, Result};
use crate::host::{HostInfo, HostRole};

/// A host name pattern with exactly one `?` that stands for the instance's name, and an optional port.
///
/// ```
/// use wrapper_core::host::InstanceTemplate;
///
/// let template = InstanceTemplate::parse("?.xyz.us-east-2.rds.amazonaws.com")?;
/// assert_eq!(template.host_for("instance-1"), "instance-1.xyz.us-east-2.rds.amazonaws.com");
/// # Ok::<(), wrapper_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceTemplate {
    before: String,
    after: String,
    port: Option<u16>,
}

impl InstanceTemplate {
    /// Parses `host` or `host:port`.
    ///
    /// # Errors
    /// A configuration error when there is not exactly one `?`, or the port is not a number.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| {
            Error::config(format!(
                "`cluster_instance_host_pattern={text}`: {why}; expected one `?` in place of the instance's name and \
                 an optional port, such as `?.xyz.us-east-2.rds.amazonaws.com:5432`"
            ))
        };
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) => (
                name,
                Some(port.parse::<u16>().ok().filter(|port| *port != 0).ok_or_else(|| wrong("bad port"))?),
            ),
            None => (text, None),
        };
        let (before, after) = name.split_once('?').ok_or_else(|| wrong("no `?`"))?;
        if after.contains('?') {
            return Err(wrong("more than one `?`"));
        }
        Ok(Self { before: before.to_ascii_lowercase(), after: after.to_ascii_lowercase(), port })
    }

    /// The host name of an instance.
    pub fn host_for(&self, instance: &str) -> String {
        format!("{}{}{}", self.before, instance.to_ascii_lowercase(), self.after)
    }

    /// The port, where the pattern names one.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// An instance as a host; `default_port` is used where the pattern names none.
    pub fn host_info(&self, instance: &str, default_port: u16, role: HostRole) -> HostInfo {
        HostInfo::new(&self.host_for(instance), self.port.unwrap_or(default_port), role)
    }
}

impl fmt::Display for InstanceTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}?{}", self.before, self.after)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_patterns_say_what_is_expected() {
        for bad in ["db.xyz.rds.amazonaws.com", "?.?.x", "?.x:port", "?.x:0"] {
            let error = InstanceTemplate::parse(bad).unwrap_err().to_string();
            assert!(
                error.contains("cluster_instance_host_pattern") && error.contains("expected one `?`"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_port_of_the_pattern_wins() {
        let template = InstanceTemplate::parse("?.proxied.local:6000").unwrap();
        assert_eq!(template.host_info("A", 5432, HostRole::Reader).key.to_string(), "a.proxied.local:6000");
        assert_eq!(template.to_string(), "?.proxied.local:6000");
    }
}
