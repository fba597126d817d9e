//! The HTTP of one login: requests to one origin, their cookies, redirects and limits.
//!
//! Each request has a connection of its own: a login has four of them an hour.

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{self, HeaderValue};
use hyper::http::response::Parts;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::pin::pin;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::{Position, Url};
use wrapper_core::env::{Deadline, Environment};
use wrapper_core::{Error, ErrorKind, Result};

use super::cookies::Jar;
use super::endpoint::name;
use super::tls;

/// So many redirects are followed, one after the other.
const MOST_REDIRECTS: usize = 10;
/// No page is longer.
const LONGEST_BODY: usize = 1024 * 1024;

/// What a request carries.
#[derive(Clone)]
pub(crate) struct Content {
    pub(crate) kind: &'static str,
    pub(crate) body: Bytes,
}

/// An answer. Has no `Debug`: what is in it may be secret.
pub(crate) struct Page {
    /// Where it came from in the end, after redirects.
    pub(crate) url: Url,
    pub(crate) status: StatusCode,
    pub(crate) body: String,
}

/// One login's way to the identity provider. All goes to one origin, over TLS.
pub(crate) struct Browser<'a> {
    origin: &'a Url,
    env: &'a Environment,
    tls: TlsConnector,
    deadline: Deadline,
    timeout: Duration,
    jar: Jar,
}

impl<'a> Browser<'a> {
    /// A login that ends at `deadline`, with `http_request_connect_timeout` for each request.
    pub(super) fn new(
        origin: &'a Url,
        env: &'a Environment,
        tls: TlsConnector,
        deadline: Deadline,
        timeout: Duration,
    ) -> Self {
        Self { origin, env, tls, deadline, timeout, jar: Jar::default() }
    }

    /// The address of `path` there; a query may be added to it.
    pub(crate) fn address(&self, path: &[&str]) -> Url {
        let mut url = self.origin.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.clear().extend(path);
        }
        url
    }

    /// How errors call the identity provider.
    pub(crate) fn name(&self) -> String {
        name(self.origin)
    }

    /// Gets a page; `what` says in errors which one.
    ///
    /// # Errors
    /// The identity provider cannot be reached, or is not who it says, or does not answer in time, or answers with more
    /// than can be, or leads elsewhere. Not an answer that is an error: that is a page too.
    ///
    /// # Cancellation
    /// Safe: the connection is closed.
    pub(crate) async fn get(&mut self, what: &str, url: Url) -> Result<Page> {
        self.follow(what, Method::GET, url, None).await
    }

    /// Sends `content` and gets what is answered; otherwise as [`Browser::get`].
    pub(crate) async fn post(&mut self, what: &str, url: Url, content: Content) -> Result<Page> {
        self.follow(what, Method::POST, url, Some(content)).await
    }

    async fn follow(
        &mut self,
        what: &str,
        mut method: Method,
        mut url: Url,
        mut content: Option<Content>,
    ) -> Result<Page> {
        let doing = format!("{what} at the identity provider {}", self.name());
        for _ in 0..=MOST_REDIRECTS {
            self.check(what, &url)?;
            let deadline = self.deadline.cap(self.timeout, "http_request_connect_timeout");
            let request = self.request(&method, &url, content.as_ref())?;
            let (head, body) = deadline.run(&doing, self.exchange(&doing, request)).await?;
            self.jar.take(&url, &head.headers);
            let to = head.headers.get(header::LOCATION).filter(|_| head.status.is_redirection());
            let Some(to) = to else {
                let body = String::from_utf8_lossy(&body).into_owned();
                return Ok(Page { url, status: head.status, body });
            };
            // The address may hold a secret, so it is never shown.
            let to = to.to_str().ok().and_then(|to| url.join(to).ok());
            url = to.ok_or_else(|| self.failed(&doing, "it redirects to something that is no address"))?;
            if !matches!(head.status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
                (method, content) = (Method::GET, None);
            }
        }
        let text = format!("more than {MOST_REDIRECTS} redirects, one after the other");
        Err(self.failed(&doing, &text))
    }

    /// Passwords and cookies go to the identity provider that was named and to nobody else.
    fn check(&self, what: &str, url: &Url) -> Result<()> {
        if url.origin() == self.origin.origin() {
            return Ok(());
        }
        let whom = url.origin().ascii_serialization();
        let text = format!(
            "the identity provider {} leads to `{whom}` for {what}; only `https://{}` is followed, because the password \
             goes there. Set `idp_endpoint` to the host that serves the sign-in itself",
            self.name(),
            self.name()
        );
        Err(Error::config(text))
    }

    fn request(&self, method: &Method, url: &Url, content: Option<&Content>) -> Result<Request<Full<Bytes>>> {
        let mut request = Request::builder()
            .method(method.clone())
            .uri(&url[Position::BeforePath..Position::AfterQuery])
            .header(header::HOST, &url[Position::BeforeHost..Position::AfterPort])
            .header(header::USER_AGENT, concat!("wrapper-plugins/", env!("CARGO_PKG_VERSION")))
            .header(header::CONNECTION, "close");
        let accept = match content {
            Some(Content { kind: "application/json", .. }) => "application/json",
            _ => "text/html,application/xhtml+xml,*/*;q=0.8",
        };
        request = request.header(header::ACCEPT, accept);
        if let Some(cookies) = self.jar.header(url) {
            request = request.header(header::COOKIE, cookies);
        }
        if let Some(content) = content {
            request = request.header(header::CONTENT_TYPE, HeaderValue::from_static(content.kind));
        }
        let body = content.map(|content| content.body.clone()).unwrap_or_default();
        request
            .body(Full::new(body))
            .map_err(|error| self.failed("a request", "it cannot be made").with_source(error))
    }

    async fn exchange(&self, doing: &str, request: Request<Full<Bytes>>) -> Result<(Parts, Bytes)> {
        let stream = self.dial(doing).await?;
        let host = self.origin.host_str().unwrap_or_default();
        // A literal of version 6 stands in brackets in an address.
        let named = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(|error| {
            self.failed(doing, "its name cannot stand in a certificate").with_source(error)
        })?;
        let stream =
            self.tls.connect(named, stream).await.map_err(|error| match tls::advice(&error, host) {
                Some(advice) => Error::config(advice).with_source(error),
                None => self.unreachable(doing, "TLS failed").with_source(error),
            })?;
        let broken = |error: hyper::Error| self.unreachable(doing, "the connection broke").with_source(error);
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let answer = async {
            let (head, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
            let body = Limited::new(body, LONGEST_BODY).collect().await.map_err(|error| {
                if error.is::<LengthLimitError>() {
                    return self.failed(doing, &format!("the answer is longer than {LONGEST_BODY} bytes"));
                }
                match error.downcast::<hyper::Error>() {
                    Ok(error) => broken(*error),
                    Err(_) => self.unreachable(doing, "the connection broke"),
                }
            })?;
            Ok((head, body.to_bytes()))
        };
        let (mut answer, connection) = (pin!(answer), pin!(connection));
        tokio::select! {
            biased;
            done = &mut answer => done,
            // What it has read until then is for the other one to say.
            _ = connection => answer.await,
        }
    }

    /// Opens a connection to the first address that takes one.
    async fn dial(&self, doing: &str) -> Result<TcpStream> {
        let host = self.origin.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let port = self.origin.port_or_known_default().unwrap_or(443);
        let addresses = self.env.resolver().resolve(host, port).await;
        let addresses = addresses.map_err(|error| {
            self.unreachable(doing, "its name could not be looked up; check `idp_endpoint`")
                .with_source(error)
        })?;
        let mut last = self.unreachable(doing, "its name has no address; check `idp_endpoint`");
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => {
                    let why = "it cannot be reached; check `idp_endpoint` and `idp_port`";
                    last = self.unreachable(doing, why).with_source(error);
                }
            }
        }
        Err(last)
    }

    /// The error for an answer that no later one will better.
    fn failed(&self, doing: &str, why: &str) -> Error {
        Error::config(format!("{doing} failed: {why}"))
    }

    fn unreachable(&self, doing: &str, why: &str) -> Error {
        Error::new(ErrorKind::Network, format!("{doing} failed: {why}"))
    }

    /// The error for a page that is an error; `advice` says what a refusal may come of.
    pub(crate) fn refused(&self, what: &str, status: StatusCode, advice: &str) -> Error {
        let doing = format!("{what} at the identity provider {}", self.name());
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Error::new(ErrorKind::Busy, format!("{doing} failed: it answered {status}"));
        }
        Error::config(format!("{doing} failed: it answered {status}; {advice}"))
    }
}
