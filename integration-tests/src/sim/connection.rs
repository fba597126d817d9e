//! Connections: accepting them, talking on them, and the ways in which they end.
//!
//! What may not live here: what the messages mean (`login.rs`, `handlers.rs`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use pgwire::api::{ClientInfo, NoopHandler, PgWireConnectionState};
use pgwire::messages::response::NotificationResponse;
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use pgwire::tokio::server::{
    MaybeTls, PgWireMessageServerCodec, negotiate_tls, process_error, process_message,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};
use tokio_util::codec::Framed;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::error::SqlError;
use super::flavour::Engine;
use super::gate::gated;
use super::handlers::Backend;
use super::inner::Server;
use super::mysql;
use super::node::Ending;
use super::session::Prepared;

/// How long a client may take to log in.
pub(super) const LOGIN_LIMIT: Duration = Duration::from_secs(60);
/// How long a last word to a client may take.
pub(super) const FAREWELL_LIMIT: Duration = Duration::from_millis(250);

type Socket = Framed<MaybeTls, PgWireMessageServerCodec<Arc<Prepared>>>;

/// Accepts connections until the listener is closed or the cluster ends.
pub(crate) async fn accept(
    server: Server,
    listener: TcpListener,
    closing: CancellationToken,
    ending: watch::Receiver<Ending>,
    tasks: TaskTracker,
) {
    let (frozen, deaf) = (server.own().frozen.subscribe(), server.own().deaf.subscribe());
    loop {
        let accepted = tokio::select! {
            biased;
            () = closing.cancelled() => return,
            () = server.inner.end.cancelled() => return,
            accepted = gated(frozen.clone(), gated(deaf.clone(), listener.accept())) => accepted,
        };
        match accepted {
            Ok((stream, client)) => {
                let (own, ending) = (server.clone(), ending.clone());
                match server.inner.config.engine {
                    Engine::Postgres => {
                        server.inner.spawn(&tasks, serve(own, stream, client, ending));
                    }
                    Engine::Mysql => {
                        server.inner.spawn(&tasks, mysql::serve(own, stream, client, ending));
                    }
                }
            }
            // Out of descriptors, most likely: connections that end give some back.
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

/// Serves one connection of a PostgreSQL client to its end.
async fn serve(server: Server, stream: TcpStream, client: SocketAddr, mut ending: watch::Receiver<Ending>) {
    let node = server.own();
    let (guard, mut killed) = node.enter(client);
    let backend = Backend::new(server.clone(), guard.id);
    let frozen = node.frozen.subscribe();
    let acceptor = server.inner.tls.as_ref().map(|tls| tls.acceptor.clone());
    let negotiation = tokio::time::timeout(LOGIN_LIMIT, negotiate_tls(stream, acceptor));
    let negotiated = tokio::select! {
        biased;
        _ = ended(&mut ending) => return,
        _ = ended(&mut killed) => return,
        () = server.inner.end.cancelled() => return,
        negotiated = gated(frozen.clone(), negotiation) => negotiated,
    };
    let Ok(Ok(Some(mut socket))) = negotiated else { return };
    let how = tokio::select! {
        biased;
        how = ended(&mut ending) => how,
        () = server.inner.end.cancelled() => Ending::Reset,
        how = ended(&mut killed) => how,
        () = gated(frozen, converse(&mut socket, &backend)) => return,
    };
    match how {
        Ending::Shutdown => {
            let farewell = PgWireBackendMessage::ErrorResponse(SqlError::admin_shutdown().info().into());
            // A client that does not read is not waited for.
            tokio::time::timeout(FAREWELL_LIMIT, socket.send(farewell)).await.ok();
        }
        Ending::Reset | Ending::Running => {
            let stream = match socket.get_ref() {
                MaybeTls::Plain(stream) => Some(stream),
                MaybeTls::Tls(stream) => Some(stream.get_ref().0),
                _ => None,
            };
            // Closing now sends RST, which is what the death of a host's network stack looks like.
            stream.map(TcpStream::set_zero_linger);
        }
    }
}

pub(super) async fn ended(ending: &mut watch::Receiver<Ending>) -> Ending {
    match ending.wait_for(|how| *how != Ending::Running).await {
        Ok(how) => *how,
        Err(_) => Ending::Reset,
    }
}

/// Answers messages until the client goes or an error is fatal.
async fn converse(socket: &mut Socket, backend: &Backend) {
    let login = tokio::time::sleep(LOGIN_LIMIT);
    tokio::pin!(login);
    let mut notifications = backend.server().inner.notifications.subscribe();
    let handler = Arc::new(backend.clone());
    loop {
        let logging_in = !is_logged_in(socket);
        let message = tokio::select! {
            biased;
            () = &mut login, if logging_in => return,
            message = socket.next() => message,
            notification = notifications.recv(), if !logging_in => {
                if deliver(socket, backend, notification).await.is_err() {
                    return;
                }
                continue;
            }
        };
        let message = match message {
            Some(Ok(PgWireFrontendMessage::Terminate(_))) | Some(Err(_)) | None => return,
            Some(Ok(message)) => message,
        };
        let wait_for_sync = message.is_extended_query();
        let is_cancel = matches!(message, PgWireFrontendMessage::CancelRequest(_));
        let outcome = process_message(
            message,
            socket,
            Arc::clone(&handler),
            Arc::clone(&handler),
            Arc::clone(&handler),
            Arc::new(NoopHandler),
            Arc::clone(&handler),
        )
        .await;
        if let Err(error) = outcome {
            backend.note_error().await;
            let fatal = error.is_fatal();
            if process_error(socket, error, wait_for_sync).await.is_err() || fatal {
                return;
            }
        }
        if is_cancel {
            return;
        }
        backend.publish().await;
    }
}

fn is_logged_in(socket: &Socket) -> bool {
    !matches!(
        socket.state(),
        PgWireConnectionState::AwaitingSslRequest
            | PgWireConnectionState::AwaitingStartup
            | PgWireConnectionState::AuthenticationInProgress
    )
}

/// Passes a NOTIFY on, if the session listens to its channel.
async fn deliver(
    socket: &mut Socket,
    backend: &Backend,
    notification: Result<(i32, String, String), broadcast::error::RecvError>,
) -> std::io::Result<()> {
    let Ok((pid, channel, payload)) = notification else { return Ok(()) };
    let (channels, _idle) = backend.listening().await;
    if channels.contains(&channel) {
        let message = NotificationResponse::new(pid, channel, payload);
        socket.send(PgWireBackendMessage::NotificationResponse(message)).await?;
    }
    Ok(())
}
