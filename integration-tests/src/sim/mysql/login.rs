//! Logins: the greeting, TLS, who may open a session, and the ways to show a password.
//!
//! What may not live here: what the session does then (`commands.rs`).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use mysql_common::constants::{CapabilityFlags, StatusFlags};
use mysql_common::io::ParseBuf;
use mysql_common::packets::{
    AuthMoreData, AuthPlugin, AuthSwitchRequest, HandshakePacket, HandshakeResponse, SslRequest,
};
use mysql_common::scramble::{scramble_native, scramble_sha256};
use pgwire::messages::startup::SecretKey;

use super::wire::Wire;
use crate::sim::builder::Login;
use crate::sim::error::SqlError;
use crate::sim::inner::{CancelKey, Server, locked};
use crate::sim::node::LoginEntry;
use crate::sim::session::{Session, Variables};
use crate::sim::sql::{Facts, Identity};

/// Length of the packet by which a client asks for TLS.
const TLS_REQUEST: usize = 32;

/// Length of a scramble.
const SCRAMBLE: usize = 20;

/// utf8mb4_0900_ai_ci.
const COLLATION: u8 = 255;

/// The one that is told by [`AuthMoreData`]: the password is known, or it has to be shown.
const FAST_AUTH_OK: &[u8] = &[3];
const FULL_AUTH: &[u8] = &[4];

fn abilities(tls: bool) -> CapabilityFlags {
    let mut abilities = CapabilityFlags::CLIENT_LONG_PASSWORD
        | CapabilityFlags::CLIENT_FOUND_ROWS
        | CapabilityFlags::CLIENT_LONG_FLAG
        | CapabilityFlags::CLIENT_CONNECT_WITH_DB
        | CapabilityFlags::CLIENT_PROTOCOL_41
        | CapabilityFlags::CLIENT_TRANSACTIONS
        | CapabilityFlags::CLIENT_SECURE_CONNECTION
        | CapabilityFlags::CLIENT_MULTI_STATEMENTS
        | CapabilityFlags::CLIENT_MULTI_RESULTS
        | CapabilityFlags::CLIENT_PS_MULTI_RESULTS
        | CapabilityFlags::CLIENT_PLUGIN_AUTH
        | CapabilityFlags::CLIENT_CONNECT_ATTRS
        | CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA
        | CapabilityFlags::CLIENT_DEPRECATE_EOF;
    abilities.set(CapabilityFlags::CLIENT_SSL, tls);
    abilities
}

/// A scramble: bytes without a zero, which would end it.
fn scramble() -> [u8; SCRAMBLE] {
    std::array::from_fn(|_| fastrand::u8(b'!'..=b'~'))
}

/// Leads a connection through its login; `None` when the client was refused.
pub(super) async fn log_in(
    wire: &mut Wire,
    server: &Server,
    entry: u64,
    client: SocketAddr,
) -> io::Result<Option<Session>> {
    if let Err(error) = admit(server) {
        refuse(wire, server, &error).await?;
        return Ok(None);
    }
    // Unlike in the whole cluster, so that a book of all servers can hold it.
    let pid = ((entry as i32) << 8) | server.node as i32;
    let nonce = scramble();
    let plugin = match server.inner.config.login {
        Login::CachingSha2 => AuthPlugin::CachingSha2Password,
        _ => AuthPlugin::MysqlNativePassword,
    };
    greet(wire, server, pid, &nonce, &plugin);
    wire.flush().await?;
    let mut packet = wire.read().await?;
    if packet.len() == TLS_REQUEST {
        let wish: SslRequest = ParseBuf(&packet).parse(())?;
        wire.abilities = wish.capabilities();
        if let Some(tls) = &server.inner.tls {
            wire.secure(&tls.acceptor).await?;
            packet = wire.read().await?;
        }
    }
    let response: HandshakeResponse<'_> = ParseBuf(&packet).parse(())?;
    wire.abilities = response.capabilities() & abilities(server.inner.tls.is_some());
    let user = String::from_utf8_lossy(response.user()).into_owned();
    let shown = authenticate(wire, server, &response, &user, nonce).await?;
    let refused = match shown {
        _ if server.inner.config.require_tls && !wire.is_secure() => Some(SqlError::mysql(
            3159,
            "HY000",
            "Connections using insecure transport are prohibited while --require_secure_transport=ON.",
        )),
        true => None,
        false => {
            let with = if response.scramble_buf().is_empty() { "NO" } else { "YES" };
            let host = client.ip();
            let message = format!("Access denied for user '{user}'@'{host}' (using password: {with})");
            Some(SqlError::mysql(1045, "28000", message))
        }
    };
    if let Some(error) = refused {
        refuse(wire, server, &error).await?;
        return Ok(None);
    }
    let database = response.db_name().map(|name| String::from_utf8_lossy(name).into_owned());
    let attributes = response.connect_attributes().unwrap_or_default();
    let application_name = attributes.get("program_name").cloned().unwrap_or_default();
    let database = database.unwrap_or_default();
    let session = enter(server, entry, Identity { pid, user, database, client }, application_name);
    wire.put_ok(0, 0, StatusFlags::SERVER_STATUS_AUTOCOMMIT);
    wire.flush().await?;
    Ok(Some(session))
}

fn greet(wire: &mut Wire, server: &Server, pid: i32, nonce: &[u8; SCRAMBLE], plugin: &AuthPlugin<'_>) {
    let (mut first, mut second) = ([0; 8], nonce[8..].to_vec());
    first.copy_from_slice(&nonce[..8]);
    second.push(0);
    wire.put_packet(&HandshakePacket::new(
        10,
        server.version().into_bytes(),
        pid as u32,
        first,
        Some(second),
        abilities(server.inner.tls.is_some()),
        COLLATION,
        StatusFlags::SERVER_STATUS_AUTOCOMMIT,
        Some(plugin.as_bytes().to_vec()),
    ));
}

async fn refuse(wire: &mut Wire, server: &Server, error: &SqlError) -> io::Result<()> {
    wire.put_error(error, server.in_recovery());
    wire.flush().await
}

/// Refuses clients that the server would not even greet.
fn admit(server: &Server) -> Result<(), SqlError> {
    let state = server.own().state();
    if let Some((code, message)) = &state.rejection {
        return Err(SqlError::fatal(code.clone(), message.clone()));
    }
    if state.sessions.len() > state.max_connections {
        return Err(SqlError::mysql(1040, "08004", "Too many connections"));
    }
    Ok(())
}

/// Whether the client is who it says.
async fn authenticate(
    wire: &mut Wire,
    server: &Server,
    response: &HandshakeResponse<'_>,
    user: &str,
    nonce: [u8; SCRAMBLE],
) -> io::Result<bool> {
    let wanted = match server.inner.config.login {
        Login::Trust | Login::Scram => return Ok(true),
        Login::Native => AuthPlugin::MysqlNativePassword,
        Login::CachingSha2 => AuthPlugin::CachingSha2Password,
        Login::Cleartext => AuthPlugin::MysqlClearPassword,
    };
    // An unknown user is asked as a known one is.
    let password = locked(&server.inner.users).get(user).cloned();
    let (nonce, answer) = if response.auth_plugin() == Some(&wanted) {
        (nonce, response.scramble_buf().to_vec())
    } else {
        let nonce = scramble();
        let mut data = nonce.to_vec();
        data.push(0);
        wire.put_packet(&AuthSwitchRequest::new(wanted.as_bytes().to_vec(), data));
        wire.flush().await?;
        (nonce, wire.read().await?)
    };
    if let (Some(check), AuthPlugin::MysqlClearPassword) = (&server.inner.passwords, &wanted) {
        let shown = String::from_utf8_lossy(without_end(&answer));
        let attributes = response.connect_attributes().unwrap_or_default();
        let program = attributes.get("program_name").map_or("", String::as_str);
        return Ok(check.lets_in(server, (user, &shown), wire.is_secure(), program));
    }
    let Some(password) = password else { return Ok(false) };
    let known = password.as_bytes();
    match wanted {
        AuthPlugin::MysqlClearPassword => Ok(without_end(&answer) == known),
        // An empty password has an empty answer.
        AuthPlugin::MysqlNativePassword => {
            Ok(scramble_native(&nonce, known).map_or(answer.is_empty(), |right| right[..] == answer[..]))
        }
        _ => sha2(wire, server, (user, &password), &nonce, &answer).await,
    }
}

/// `caching_sha2_password`: fast for whom the server has seen before, else the password itself, under TLS.
async fn sha2(
    wire: &mut Wire,
    server: &Server,
    (user, password): (&str, &str),
    nonce: &[u8],
    answer: &[u8],
) -> io::Result<bool> {
    let Some(right) = scramble_sha256(nonce, password.as_bytes()) else { return Ok(answer.is_empty()) };
    let who = (user.to_owned(), password.to_owned());
    let seen = server.own().state().seen_logins.contains(&who);
    if !seen && wire.is_secure() && !answer.is_empty() {
        wire.put_packet(&AuthMoreData::new(FULL_AUTH));
        wire.flush().await?;
        let shown = wire.read().await?;
        let is_right = without_end(&shown) == password.as_bytes();
        if is_right {
            server.own().state().seen_logins.insert(who);
        }
        return Ok(is_right);
    }
    if right[..] != *answer {
        return Ok(false);
    }
    wire.put_packet(&AuthMoreData::new(FAST_AUTH_OK));
    Ok(true)
}

/// A password as clients show it ends with a zero.
fn without_end(shown: &[u8]) -> &[u8] {
    shown.strip_suffix(&[0]).unwrap_or(shown)
}

/// Makes the session of a client that has shown who it is.
fn enter(server: &Server, entry: u64, identity: Identity, application_name: String) -> Session {
    let login = LoginEntry {
        pid: identity.pid,
        user: identity.user.clone(),
        database: identity.database.clone(),
        application_name,
    };
    if let Some(entry) = server.own().state().sessions.get_mut(&entry) {
        entry.login = Some(login);
    }
    let cancel = Arc::default();
    // Nobody can show this secret: MySQL's clients cancel by KILL QUERY.
    let key = CancelKey { node: server.node, secret: SecretKey::I32(0), cancel: Arc::clone(&cancel) };
    locked(&server.inner.cancels).insert(identity.pid, key);
    let (facts, store) = (Arc::new(server.clone()), Arc::clone(&server.inner.store));
    Session::new(facts, store, server.node, identity, Variables::default()).cancelled_by(cancel)
}
