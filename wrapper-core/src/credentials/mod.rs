//! Where the credentials of connections come from.
//!
//! What lives here: the [`CredentialProvider`] contract; the cache that all connections of a cluster share, which lets
//! one caller fetch for all and fetches again before a credential ends; the plugin that puts a credential into each
//! connect of sessions and monitors, and tries a fresh one when the server refuses one from the cache. What may not: any
//! one way to get a credential, which is a plugin of its own; a credential of a monitor (R7).

mod cache;
mod plugin;

pub use crate::credential::Credential;
pub use crate::credential_provider::{CredentialKey, CredentialProvider, FetchRequest, Fetched, Wanted};
pub use cache::{CredentialCache, Lease};
pub use plugin::{CredentialPlugin, Provided, is_refused};
