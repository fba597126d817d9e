//! Connections of MySQL clients: MySQL's protocol, on the packet types of `mysql_common`.
//!
//! What may not live here: SQL (`sql`), sessions (`session`), when servers run (`inner.rs`).

mod commands;
mod error;
mod login;
mod params;
mod rows;
mod wire;

use std::net::SocketAddr;

use tokio::net::TcpStream;
use tokio::sync::watch;

use super::connection::{FAREWELL_LIMIT, LOGIN_LIMIT, ended};
use super::error::SqlError;
use super::gate::gated;
use super::inner::{Server, locked};
use super::node::Ending;
use commands::Served;
use wire::Wire;

/// Serves one connection to its end.
pub(super) async fn serve(
    server: Server,
    stream: TcpStream,
    client: SocketAddr,
    mut ending: watch::Receiver<Ending>,
) {
    let node = server.own();
    let (guard, mut killed) = node.enter(client);
    let frozen = node.frozen.subscribe();
    // A connection that is gone already says so at the first packet.
    stream.set_nodelay(true).ok();
    let mut wire = Wire::new(stream);
    let how = tokio::select! {
        biased;
        how = ended(&mut ending) => how,
        () = server.inner.end.cancelled() => Ending::Reset,
        how = ended(&mut killed) => how,
        () = gated(frozen, converse(&mut wire, &server, guard.id, client)) => return,
    };
    match how {
        // As real servers do: a statement under way is told, an idle connection is just closed.
        Ending::Shutdown if wire.is_answering() => {
            let farewell = SqlError::mysql(1053, "08S01", "Server shutdown in progress");
            wire.put_error(&farewell, true);
            // A client that does not read is not waited for.
            tokio::time::timeout(FAREWELL_LIMIT, wire.flush()).await.ok();
        }
        Ending::Shutdown => {}
        // Closing now sends RST, which is what the death of a host's network stack looks like.
        Ending::Reset | Ending::Running => wire.reset_when_closed(),
    }
}

/// Answers commands until the client goes or an error is fatal.
async fn converse(wire: &mut Wire, server: &Server, entry: u64, client: SocketAddr) {
    let login = tokio::time::timeout(LOGIN_LIMIT, login::log_in(wire, server, entry, client));
    let Ok(Ok(Some(session))) = login.await else { return };
    let _registered = Registered { server, pid: session.identity.pid };
    // A connection that breaks is one that ends.
    Served::new(wire, server, session).run().await.ok();
}

/// Keeps a session in the cluster's book of statements that can be cancelled.
struct Registered<'a> {
    server: &'a Server,
    pid: i32,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        locked(&self.server.inner.cancels).remove(&self.pid);
    }
}
