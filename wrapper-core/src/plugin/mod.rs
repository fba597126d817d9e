//! Plugins: the contract, the chain, and how a chain is put together.
//!
//! What lives here: [`Plugin`], the cursors [`ConnectNext`] and [`ExecuteNext`], the contexts that go through a
//! chain, order classes, the [`Registry`] of factories. What may not: what any one plugin does.

mod chain;
mod context;
mod next;
mod order;
mod registry;
mod traits;

pub use crate::host::HostStateChange;
pub use chain::Chain;
pub(crate) use chain::{WatchTokens, by, panicked};
pub use context::{Call, CallContext, ConnectContext, Connected};
pub use next::{ConnectNext, ExecuteNext, Terminal};
pub use order::OrderClass;
pub use registry::{BuildContext, PluginFactory, Registry};
pub use traits::{
    ConnectionChange, MethodSet, Outcome, Plugin, Recovery, TopologyChange, WatchToken,
};

/// Most plugins of one chain that may subscribe to [`MethodSet::WATCH`].
pub const MAX_WATCHERS: usize = 4;
