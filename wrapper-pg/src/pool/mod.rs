//! Pools of others over this library: managers for deadpool and bb8, and the driver's own clients for pools that want those.
//!
//! | | `Manager` | `RawConnect` |
//! |---|---|---|
//! | features | `deadpool`, `bb8` | `deadpool-postgres`, `raw-client` |
//! | pools | deadpool, bb8 | deadpool-postgres, diesel-async, any that takes a `tokio_postgres::Client` |
//! | gives | [`Client`](crate::Client): every plugin runs, also inside transactions | `tokio_postgres::Client` |
//! | a call in flight when the writer is lost | ends with the library's typed error, switched already | ends with the driver's error |
//! | the next checkout | a client on the present writer | a client on the present writer |
//!
//! What lives here: how a pool opens a client, and when it may hand it out again. What may not: a pool of our own; how
//! many, how long and in which order is the pool's (R17).

#[cfg(feature = "bb8")]
mod bb8;
#[cfg(feature = "deadpool")]
mod deadpool;
#[cfg(feature = "deadpool-postgres")]
mod deadpool_postgres;
#[cfg(any(feature = "bb8", feature = "deadpool"))]
mod manager;
#[cfg(feature = "raw-client")]
mod raw;
#[cfg(feature = "deadpool-postgres")]
mod refusal;
#[cfg(all(feature = "deadpool", feature = "raw-client"))]
mod switches;

#[cfg(any(feature = "bb8", feature = "deadpool"))]
pub use manager::{Manager, Recycling};
#[cfg(feature = "raw-client")]
pub use raw::RawConnect;
