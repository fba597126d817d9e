//! The protocol front: what stands before a real server so that it answers as Aurora's or RDS's would.
//!
//! It changes three things and passes every other byte on: the text of statements ([`rewrite`]), the names of the
//! columns of `SHOW REPLICA STATUS` (MySQL 8's instead of MariaDB's), and the server's greeting: its version, and the
//! abilities that would hide statements from the front (compression, query attributes). TLS ends here and begins anew
//! behind; login packets pass through.

mod rename;
mod rewrite;
mod tls;
mod tokens;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::Error;
use super::options;
use super::server::Server;
use super::topology::Topology;
use crate::verbs::Flavour;
pub(crate) use rewrite::Metadata;
use tls::Tls;

/// A running front before one server; dropping it closes the listener and all connections.
#[derive(Debug)]
pub(crate) struct Front {
    wanted: watch::Sender<bool>,
    /// What the listener has come to: open or not, or why it could not be opened.
    reached: watch::Receiver<Result<bool, String>>,
    task: JoinHandle<()>,
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Front {
    /// A front that does not listen yet.
    pub(crate) fn start(
        at: SocketAddr,
        server: &Server,
        flavour: Flavour,
        topology: Topology,
        tls: Option<&options::Tls>,
    ) -> Result<Self, Error> {
        let tls = tls.map(Tls::new).transpose().map_err(Error::io("set up TLS for a front"))?;
        let metadata = Metadata { node: server.node, kind: server.kind(), flavour, topology };
        let (wanted, wishes) = watch::channel(false);
        let (told, reached) = watch::channel(Ok(false));
        let before = Before { upstream: server.address, metadata, tls };
        let task = tokio::spawn(listen(at, Arc::new(before), wishes, told));
        Ok(Self { wanted, reached, task })
    }

    /// From now on connections are accepted.
    pub(crate) async fn open(&self) -> io::Result<()> {
        let mut reached = self.reached.clone();
        self.wanted.send_replace(true);
        match reached.wait_for(|reached| *reached != Ok(false)).await.as_deref() {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(why)) => Err(io::Error::other(why.clone())),
            Err(_) => Err(io::Error::other("the front has ended")),
        }
    }

    /// From now on connections are refused. Open ones end with the server's.
    pub(crate) async fn shut(&self) {
        let mut reached = self.reached.clone();
        self.wanted.send_replace(false);
        // An ended front refuses connections, too.
        let _ = reached.wait_for(|reached| *reached == Ok(false)).await;
    }
}

/// What each connection needs.
#[derive(Debug)]
struct Before {
    upstream: SocketAddr,
    metadata: Metadata,
    tls: Option<Tls>,
}

async fn listen(
    at: SocketAddr,
    before: Arc<Before>,
    mut wishes: watch::Receiver<bool>,
    told: watch::Sender<Result<bool, String>>,
) {
    let mut connections = JoinSet::new();
    loop {
        if wishes.wait_for(|open| *open).await.is_err() {
            return;
        }
        let listener = match TcpListener::bind(at).await {
            Ok(listener) => listener,
            Err(error) => {
                let _before = told.send_replace(Err(error.to_string()));
                return;
            }
        };
        let _before = told.send_replace(Ok(true));
        loop {
            tokio::select! {
                biased;
                shut = wishes.wait_for(|open| !*open) => match shut {
                    Ok(_) => break,
                    Err(_) => return,
                },
                Some(_) = connections.join_next() => {}
                accepted = listener.accept() => if let Ok((client, _)) = accepted {
                    connections.spawn(serve(client, Arc::clone(&before)));
                },
            }
        }
        drop(listener);
        let _before = told.send_replace(Ok(false));
    }
}

async fn serve(client: TcpStream, before: Arc<Before>) {
    // A client whose server has gone sees a reset, as from a killed server.
    let Ok(server) = TcpStream::connect(before.upstream).await else {
        let _ = client.set_zero_linger();
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    // Either side's end is the other's.
    let _ = wire::relay(client, server, &before.metadata, before.tls.as_ref()).await;
}
