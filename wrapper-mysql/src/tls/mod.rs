//! TLS: the settings, and the plan that follows from them for a host.
//!
//! What lives here: [`TlsSettings`], the choice of a crypto provider. What may not: the handshake, which is the driver's.

#[cfg(feature = "_rustls")]
mod provider;
mod settings;

pub use settings::{CryptoProvider, TlsMode, TlsSettings};
pub(crate) use settings::{Plan, Tls, clear_without_tls};
