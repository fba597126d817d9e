//! A small HTTP server: one answer a connection.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// What a client asks.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    /// Without the query.
    pub(super) path: String,
    pub(super) query: BTreeMap<String, String>,
    /// By name in lower case.
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: String,
}

impl Request {
    /// The value of a cookie that the client sends.
    pub(super) fn cookie(&self, name: &str) -> Option<&str> {
        let cookies = self.headers.get("cookie")?;
        cookies
            .split("; ")
            .filter_map(|pair| pair.split_once('='))
            .find(|(known, _)| *known == name)
            .map(|(_, it)| it)
    }

    /// The fields of a form that the client sends, in order.
    pub(super) fn form(&self) -> Vec<(String, String)> {
        pairs(&self.body)
    }
}

/// What it is told. `None`: nothing, ever.
pub(super) type Answered = Option<Answer>;

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn page(body: impl Into<String>) -> Self {
        Self {
            status: 200,
            headers: vec![("content-type", "text/html; charset=utf-8".to_owned())],
            body: body.into(),
        }
    }

    pub(super) fn redirect(to: impl Into<String>) -> Self {
        Self { status: 302, headers: vec![("location", to.into())], body: "<h2>Object moved</h2>".to_owned() }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }
}

/// The server. It ends when it is dropped.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    /// Held for its end.
    _tasks: JoinSet<()>,
}

impl Server {
    /// Starts on a free port of 127.0.0.1; `answer` is asked for each request.
    pub(super) async fn start(
        tls: Option<TlsAcceptor>,
        answer: impl Fn(&Request) -> Answered + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        let answer = Arc::new(answer);
        tasks.spawn(async move {
            let mut clients = JoinSet::new();
            loop {
                tokio::select! {
                    biased;
                    accepted = listener.accept() => {
                        let Ok((stream, _)) = accepted else { return };
                        let (tls, answer) = (tls.clone(), Arc::clone(&answer));
                        clients.spawn(async move {
                            let answer = |request: &Request| answer(request);
                            // A client that gives up is the test's business.
                            let _ = match tls {
                                Some(tls) => match tls.accept(stream).await {
                                    Ok(stream) => serve(stream, answer).await,
                                    Err(error) => Err(error),
                                },
                                None => serve(stream, answer).await,
                            };
                        });
                    }
                    Some(_) = clients.join_next() => {}
                }
            }
        });
        Ok(Self { address, _tasks: tasks })
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    answer: impl Fn(&Request) -> Answered,
) -> io::Result<()> {
    let Some(request) = read(&mut stream).await? else { return Ok(()) };
    let Some(answer) = answer(&request) else { return std::future::pending().await };
    let mut head = format!(
        "HTTP/1.1 {} x\r\ncontent-length: {}\r\nconnection: close\r\n",
        answer.status,
        answer.body.len()
    );
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).await?;
    stream.write_all(answer.body.as_bytes()).await?;
    stream.shutdown().await
}

async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Option<Request>> {
    let mut buffer = Vec::new();
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            let mut lines = head.lines();
            let mut first = lines.next().unwrap_or_default().split(' ');
            let (method, target) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let headers: BTreeMap<String, String> = lines
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
                .collect();
            let length: usize =
                headers.get("content-length").and_then(|it| it.parse().ok()).unwrap_or_default();
            if buffer.len() >= end + 4 + length {
                let body = String::from_utf8_lossy(&buffer[end + 4..end + 4 + length]).into_owned();
                let query = pairs(query).into_iter().collect();
                let (method, path) = (method.to_owned(), path.to_owned());
                return Ok(Some(Request { method, path, query, headers, body }));
            }
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// What `application/x-www-form-urlencoded` holds.
fn pairs(text: &str) -> Vec<(String, String)> {
    let parts = text.split('&').filter(|part| !part.is_empty());
    parts
        .map(|part| part.split_once('=').unwrap_or((part, "")))
        .map(|(name, it)| (decoded(name), decoded(it)))
        .collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits =
                    [rest.next(), rest.next()].map(|byte| char::from(byte.unwrap_or_default()).to_digit(16));
                if let [Some(high), Some(low)] = digits {
                    bytes.extend(u8::try_from(high * 16 + low));
                }
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A text as a JSON string has it, without the quotes.
pub(super) fn in_json(text: &str) -> String {
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

/// A text as XML and HTML have it.
pub(super) fn in_markup(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}
