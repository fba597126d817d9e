//! The task of a pool: lets go of connections to hosts that have lost their part in the cluster.

use std::sync::Weak;

use wrapper_core::env::watch;
use wrapper_core::host::HostKey;
use wrapper_core::topology::Published;

use super::backend::Backend;
use super::hosts::Hosts;

/// Follows the topology until the pool is gone or the cluster shut down. Nothing depends on it for a connection to be the
/// right one: what it throws out would be found to be dead, or never used again.
pub(super) async fn follow<DB: Backend>(
    hosts: Weak<Hosts<DB>>,
    mut topology: watch::Receiver<Option<Published>>,
) {
    let mut writer: Option<HostKey> = None;
    while topology.changed().await.is_ok() {
        let published = topology.borrow_and_update().clone();
        let Some(published) = published.filter(|published| published.verified) else { continue };
        let Some(hosts) = hosts.upgrade() else { return };
        hosts.keep_only(&published.topology);
        let now = published.topology.writer().map(|writer| writer.key.clone());
        if let Some(before) = writer.filter(|before| Some(before) != now.as_ref())
            && let Some(home) = hosts.known(&before)
        {
            home.drain();
        }
        writer = now;
    }
}
