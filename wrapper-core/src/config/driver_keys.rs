//! What an adapter tells of its driver before settings are read.

/// The URL schemes, the default port and the names of the parameters of a driver.
///
/// A parameter that is neither a setting of the library nor in `names` is an error; so an adapter names everything
/// that its driver understands. `user`, `password` and `dbname` are always accepted: a URL has a place for them.
#[derive(Clone, Copy, Debug)]
pub struct DriverKeys<'a> {
    /// The schemes of a URL, without `://`.
    pub schemes: &'a [&'a str],
    /// The port of a host that has none.
    pub default_port: u16,
    /// The names of the driver's parameters.
    pub names: &'a [&'a str],
}

/// The names that every driver has.
const ALWAYS: [&str; 3] = ["user", "password", "dbname"];

impl DriverKeys<'_> {
    /// The driver's name for `written`, if it is the driver's.
    pub(crate) fn find<'w>(&self, written: &'w str) -> Option<&'w str> {
        let known = |name: &str| ALWAYS.contains(&name) || self.names.contains(&name);
        match written {
            name if known(name) => Some(name),
            "database" => Some("dbname"),
            _ => None,
        }
    }

    /// All names, for hints.
    pub(crate) fn all(&self) -> impl Iterator<Item = &str> {
        ALWAYS.iter().chain(self.names).copied()
    }
}
