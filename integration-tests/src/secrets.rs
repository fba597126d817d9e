//! A stand-in for AWS Secrets Manager: one HTTP server that answers `GetSecretValue`, whose secrets and faults a test sets.
//!
//! What may not live here: signatures, which it does not look at; rotation functions, which a test plays itself.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The stage that a secret is read in when no other one is named.
pub const CURRENT: &str = "AWSCURRENT";
/// The stage of a version that a rotation has made and not finished.
pub const PENDING: &str = "AWSPENDING";

/// What one version of a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Version {
    /// A text.
    Text(String),
    /// Bytes, in base 64.
    Binary(String),
}

/// An answer in place of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The status of HTTP.
    pub status: u16,
    /// The service's code, such as `ThrottlingException`.
    pub code: String,
}

#[derive(Debug, Default)]
struct State {
    /// By id and stage.
    secrets: BTreeMap<(String, String), Version>,
    fault: Option<Fault>,
    requests: Vec<(String, String)>,
}

/// The server. It ends when it is dropped.
#[derive(Debug)]
pub struct SecretsServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    /// Held for its end.
    _tasks: JoinSet<()>,
}

impl SecretsServer {
    /// Starts the server on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// No port is free.
    ///
    /// # Cancellation
    /// Leaves nothing behind.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(Mutex::new(State::default()));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&state)));
        Ok(Self { address, state, _tasks: tasks })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    /// Its URL, for `secrets_manager_endpoint`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sets the version of a secret in a stage.
    pub fn put(&self, id: &str, stage: &str, version: Version) {
        self.state().secrets.insert((id.to_owned(), stage.to_owned()), version);
    }

    /// Sets a user and a password as RDS writes them down.
    pub fn put_login(&self, id: &str, stage: &str, user: &str, password: &str) {
        let text =
            format!(r#"{{"username":"{user}","password":"{password}","engine":"postgres","port":5432}}"#);
        self.put(id, stage, Version::Text(text));
    }

    /// Takes the version of a stage away.
    pub fn remove(&self, id: &str, stage: &str) {
        self.state().secrets.remove(&(id.to_owned(), stage.to_owned()));
    }

    /// Answers so until told otherwise.
    pub fn fail(&self, fault: Option<Fault>) {
        self.state().fault = fault;
    }

    /// Which secrets were asked for, in which stage, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<(String, String)> {
        self.state().requests.clone()
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>) {
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { return };
                clients.spawn(serve(stream, Arc::clone(&state)));
            }
            Some(_) = clients.join_next() => {}
        }
    }
}

/// Answers one request after the other on a connection.
async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut buffer = Vec::new();
    while let Ok(Some(body)) = request(&mut stream, &mut buffer).await {
        let (status, answer) = answer(&state, &body);
        let head = format!(
            "HTTP/1.1 {status} x\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\
             x-amzn-requestid: 1\r\n\r\n",
            answer.len()
        );
        if stream.write_all(format!("{head}{answer}").as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The body of the next request; `None` when the client has gone.
async fn request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<String>> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.and_then(|length| length.trim().parse().ok()).unwrap_or_default();
            let (begin, whole) = (end + 4, end + 4 + length);
            if buffer.len() >= whole {
                let body = String::from_utf8_lossy(&buffer[begin..whole]).into_owned();
                buffer.drain(..whole);
                return Ok(Some(body));
            }
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

fn answer(state: &Mutex<State>, body: &str) -> (u16, String) {
    let id = field(body, "SecretId").unwrap_or_default();
    let stage = field(body, "VersionStage").unwrap_or_else(|| CURRENT.to_owned());
    let mut state = locked(state);
    state.requests.push((id.clone(), stage.clone()));
    if let Some(fault) = &state.fault {
        return (fault.status, refusal(&fault.code, "as the test wants it"));
    }
    let value = match state.secrets.get(&(id.clone(), stage.clone())) {
        Some(Version::Text(text)) => format!(r#""SecretString":"{}""#, escaped(text)),
        Some(Version::Binary(bytes)) => format!(r#""SecretBinary":"{bytes}""#),
        None => {
            return (
                400,
                refusal("ResourceNotFoundException", "Secrets Manager can't find the specified secret."),
            );
        }
    };
    let (id, stage) = (escaped(&id), escaped(&stage));
    let more = format!(
        r#""ARN":"{id}","Name":"{id}","VersionId":"1","VersionStages":["{stage}"],"CreatedDate":1.7E9"#
    );
    (200, format!("{{{value},{more}}}"))
}

fn refusal(code: &str, message: &str) -> String {
    format!(r#"{{"__type":"{code}","message":"{message}"}}"#)
}

/// The text of a field; ids and stages have nothing that is escaped.
fn field(body: &str, name: &str) -> Option<String> {
    let (_, rest) = body.split_once(&format!(r#""{name}":""#))?;
    Some(rest.split_once('"')?.0.to_owned())
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    for char in text.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            char if char.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(char))),
            char => out.push(char),
        }
    }
    out
}
