//! Which kind of host a call goes to: the one step of the pool that an application can replace.

use std::fmt::Debug;

use wrapper_core::plugin::Call;

/// The kind of host that a call is to run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Destination {
    /// The writer; without one the call waits, at most `acquire_timeout`.
    Writer,
    /// A reader, chosen by `reader_host_selector_strategy` from those that answer; the writer while there is none, unless
    /// `failover_mode=strict_reader`.
    Reader,
}

/// Decides where each call of a pool goes.
///
/// Is asked once for each statement on the pool, each `begin` and each `acquire`, never inside a transaction or on a
/// connection that was acquired. Must not block.
///
/// ```
/// use wrapper_sqlx::cluster_pool::{Destination, Route};
/// use wrapper_sqlx::core::plugin::Call;
///
/// /// Reports read; everything else goes to the writer.
/// #[derive(Debug)]
/// struct Reports;
///
/// impl Route for Reports {
///     fn route(&self, call: &Call<'_>) -> Destination {
///         match call.sql {
///             Some(sql) if sql.starts_with("SELECT /* report */") => Destination::Reader,
///             _ => Destination::Writer,
///         }
///     }
/// }
/// # assert_eq!(Reports.route(&Call::new("begin")), Destination::Writer);
/// ```
pub trait Route: Debug + Send + Sync {
    /// Where `call` goes. Its method is `execute`, `fetch_all`, `fetch_optional`, `fetch_many`, `prepare` or `describe`
    /// with the SQL text, or `begin` or `acquire`.
    fn route(&self, call: &Call<'_>) -> Destination;
}

/// Everything goes to the writer: the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct ToWriter;

impl Route for ToWriter {
    fn route(&self, _call: &Call<'_>) -> Destination {
        Destination::Writer
    }
}

/// Everything goes to the readers: for a pool that is only read from.
#[derive(Clone, Copy, Debug, Default)]
pub struct ToReaders;

impl Route for ToReaders {
    fn route(&self, _call: &Call<'_>) -> Destination {
        Destination::Reader
    }
}
