//! One host as a topology query tells of it, and how its values are read.

use std::time::{Duration, SystemTime};

use crate::driver::Rows;
use crate::error::{Error, ErrorKind, Result};

/// One host of a topology, typed but not yet placed: the host name follows from `instance` and the instance pattern.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct HostRow {
    /// The id that the database knows the host by. Never compared with `instance`: on a Multi-AZ DB cluster the two
    /// are different things.
    pub id: String,
    /// The instance's name, which stands for the `?` of the instance pattern.
    pub instance: String,
    /// The host name that the database gives, where it gives one.
    pub endpoint: Option<String>,
    /// The port that the database gives, where it gives one.
    pub port: Option<u16>,
    /// Whether the topology names it as the writer.
    pub is_writer: bool,
    /// How far it lags behind the writer, where told.
    pub lag: Option<Duration>,
    /// CPU load in percent, where told.
    pub cpu: Option<f32>,
    /// When its row was last updated, by the database's clock, where told.
    pub updated: Option<SystemTime>,
}

impl HostRow {
    /// A host of which only the id, the instance's name and the role are known.
    pub fn new(id: impl Into<String>, instance: impl Into<String>, is_writer: bool) -> Self {
        Self {
            id: id.into(),
            instance: instance.into(),
            endpoint: None,
            port: None,
            is_writer,
            lag: None,
            cpu: None,
            updated: None,
        }
    }
}

/// Converts each row; rows that cannot be converted are left out.
///
/// # Errors
/// [`ErrorKind::Topology`] when nothing is left, with the reason.
pub(super) fn convert_rows(
    rows: &Rows,
    convert: impl Fn(usize) -> std::result::Result<HostRow, String>,
) -> Result<Vec<HostRow>> {
    let empty =
        |why: String| Err(Error::new(ErrorKind::Topology, format!("the server gave no topology: {why}")));
    if rows.columns().is_empty() {
        return empty("its answer has no columns, as happens in the middle of a failover".to_owned());
    }
    if rows.is_empty() {
        return empty("its answer has no rows".to_owned());
    }
    let mut hosts = Vec::with_capacity(rows.len());
    let mut first_reason = None;
    for row in 0..rows.len() {
        match convert(row) {
            Ok(host) => hosts.push(host),
            Err(reason) => {
                first_reason.get_or_insert(reason);
            }
        }
    }
    match first_reason {
        Some(reason) if hosts.is_empty() => empty(format!("no usable row in {}; {reason}", rows.len())),
        _ => Ok(hosts),
    }
}

/// The value of a column that has to be there.
pub(super) fn required<'r>(rows: &'r Rows, row: usize, column: &str) -> std::result::Result<&'r str, String> {
    rows.get(row, column)
        .map(str::trim)
        .filter(|value| !value.is_empty())
        .ok_or_else(|| format!("`{column}` is missing in row {}", row + 1))
}

/// The value of a column unless it is NULL or empty.
pub(super) fn optional<'r>(rows: &'r Rows, row: usize, column: &str) -> Option<&'r str> {
    rows.get(row, column).map(str::trim).filter(|value| !value.is_empty())
}

/// Whether `name` can be one label of a host name; anything else would end up in a host name that is dialled.
pub(super) fn label(name: &str) -> std::result::Result<&str, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.is_empty() && name.len() <= 63 && name.chars().all(good) {
        Ok(name)
    } else {
        Err(format!("{name:?} cannot be an instance's name"))
    }
}

/// A boolean as PostgreSQL writes it in text form, or as 0 and 1.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.trim() {
        "t" | "true" | "1" => Some(true),
        "f" | "false" | "0" => Some(false),
        _ => None,
    }
}

/// A span in milliseconds; negative and non-finite ones are not told.
pub(super) fn milliseconds(text: &str) -> Option<Duration> {
    let value: f64 = text.parse().ok()?;
    Duration::try_from_secs_f64(value / 1000.0).ok()
}

/// A moment in seconds since 1970, kept to the microsecond.
pub(super) fn epoch_seconds(text: &str) -> Option<SystemTime> {
    let value: f64 = text.parse().ok()?;
    let micros = Duration::try_from_secs_f64(value).ok()?.as_nanos().saturating_add(500) / 1000;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(u64::try_from(micros).ok()?))
}

/// A load in percent.
pub(super) fn percent(text: &str) -> Option<f32> {
    text.parse::<f32>().ok().filter(|value| value.is_finite() && *value >= 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_make_no_sense_are_not_told() {
        assert_eq!(milliseconds("18.7"), Some(Duration::from_micros(18_700)));
        for bad in ["NaN", "Infinity", "-1", "", "1e300"] {
            assert_eq!(milliseconds(bad), None, "{bad}");
            assert_eq!(epoch_seconds(bad), None, "{bad}");
        }
        assert_eq!(percent("NaN"), None);
        assert_eq!(percent("12.5"), Some(12.5));
        assert_eq!(boolean("yes"), None);
    }

    #[test]
    fn microseconds_survive() {
        let at = epoch_seconds("1795263671.123457").unwrap();
        assert_eq!(
            at.duration_since(SystemTime::UNIX_EPOCH).unwrap(),
            Duration::from_micros(1_795_263_671_123_457)
        );
    }

    #[test]
    fn a_name_that_would_change_the_host_is_refused() {
        assert!(label("instance-1").is_ok());
        for bad in ["", "a.evil.example", "a b", "a:5432", "ä"] {
            assert!(label(bad).is_err(), "{bad}");
        }
    }
}
