//! What differs between the engines: the two clients, and the statements around them.
//!
//! What may not live here: what both engines do, which is all the rest of the demo.

use std::sync::Arc;

use async_trait::async_trait;
use examples::TableResolver;
use wrapper_core::observe::SwitchReport;

use crate::writer::Client;

/// The wrapper's adapter for an engine, and the bare driver below it, on one cluster.
#[async_trait]
pub(crate) trait Drivers: Send + Sync {
    /// Names of the wrapper's client and of the bare one.
    fn names(&self) -> [&'static str; 2];

    /// The cluster endpoint, where the bare client connects.
    fn host(&self) -> &str;

    /// A client with the wrapper that writes into `table`.
    fn wrapped(&self, table: &str) -> Box<dyn Client>;

    /// A client of the bare driver that writes into `table`.
    fn bare(&self, table: &str) -> Box<dyn Client>;

    /// Runs statements on the writer, through the wrapper.
    async fn run(&self, statements: &[String]) -> Result<(), String>;

    /// The numbers in a table on the writer of this moment.
    async fn numbers(&self, table: &str) -> Result<Vec<i64>, String>;

    /// The wrapper's reports of its switches.
    fn reports(&self) -> Vec<Arc<SwitchReport>>;

    /// Ends the wrapper's connector.
    async fn shutdown(&self);
}

/// A cluster that the demo has started, as a client finds it.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) password: Option<String>,
    pub(crate) database: String,
    pub(crate) resolver: TableResolver,
    /// Settings for the wrapper alone.
    pub(crate) settings: &'static [(&'static str, &'static str)],
}
