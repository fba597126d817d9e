//! Okta: the API that gives a session to a password, and the page of an application, which wants that session once.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::saml::{Assertions, User, handing_on};
use super::server::{Answer, Answered, Request, Server, in_json};
use super::tls::Tls;

/// What goes wrong at the server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OktaFault {
    /// The API answers with this status and no session, such as `MFA_REQUIRED`.
    Says(String),
    /// The page of the application has no assertion.
    NoAssertion,
    /// The page of the application redirects to this address.
    RedirectsTo(String),
    /// The API answers with a page.
    NoJson,
    /// It answers nothing.
    Silent,
    /// It answers everything with this status of HTTP.
    Status(u16),
}

#[derive(Debug)]
struct State {
    user: User,
    app: String,
    fault: Option<OktaFault>,
    requests: Vec<String>,
    tokens: Vec<String>,
    used: usize,
    cookies: Vec<String>,
}

/// The server. It ends when it is dropped.
#[derive(Debug)]
pub struct OktaServer {
    server: Server,
    ca_pem: String,
    state: Arc<Mutex<State>>,
}

impl OktaServer {
    /// Starts the server on a free port of 127.0.0.1, with a certificate for `name`. It lets `user` into the application
    /// `app`, and makes its assertions known to STS.
    ///
    /// # Errors
    /// No port is free, or `name` cannot stand in a certificate.
    ///
    /// # Cancellation
    /// Leaves nothing behind.
    pub async fn start(name: &str, user: User, app: &str, assertions: &Assertions) -> io::Result<Self> {
        let tls = Tls::new(name)?;
        let state = Arc::new(Mutex::new(State {
            user,
            app: app.to_owned(),
            fault: None,
            requests: Vec::new(),
            tokens: Vec::new(),
            used: 0,
            cookies: Vec::new(),
        }));
        let (known, assertions) = (Arc::clone(&state), assertions.clone());
        let answer = move |request: &Request| answer(&mut locked(&known), &assertions, request);
        let server = Server::start(Some(tls.acceptor), answer).await?;
        Ok(Self { server, ca_pem: tls.ca_pem, state })
    }

    /// The port that it listens on, for `idp_port`.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.server.address.port()
    }

    /// The certificate of the authority that its own was issued by.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// What goes wrong from now on.
    pub fn fail(&self, fault: Option<OktaFault>) {
        locked(&self.state).fault = fault;
    }

    /// What was asked, as `METHOD PATH`, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        locked(&self.state).requests.clone()
    }

    /// How many passwords it was shown, right or wrong.
    #[must_use]
    pub fn passwords(&self) -> usize {
        self.requests().iter().filter(|request| request.starts_with("POST")).count()
    }

    /// The session tokens that it has given, and the values of the cookies that it has set.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        let state = locked(&self.state);
        state.tokens.iter().chain(&state.cookies).cloned().collect()
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(state: &mut State, assertions: &Assertions, request: &Request) -> Answered {
    state.requests.push(format!("{} {}", request.method, request.path));
    match &state.fault {
        Some(OktaFault::Silent) => return None,
        Some(OktaFault::Status(status)) => return Some(Answer::page("{}").status(*status)),
        _ => {}
    }
    let app = format!("/app/amazon_aws/{}/sso/saml", state.app);
    Some(match (request.method.as_str(), request.path.as_str()) {
        ("POST", "/api/v1/authn") => session(state, request),
        ("GET", path) if path == app => application(state, assertions, request),
        _ => Answer::page("<p>not found</p>").status(404),
    })
}

fn json(status: u16, body: String) -> Answer {
    Answer { status, headers: vec![("content-type", "application/json".to_owned())], body }
}

fn session(state: &mut State, request: &Request) -> Answer {
    let json_wanted = ["accept", "content-type"]
        .iter()
        .all(|name| request.headers.get(*name).is_some_and(|value| value == "application/json"));
    if state.fault == Some(OktaFault::NoJson) || !json_wanted {
        return Answer::page("<p>Sign in</p>");
    }
    let has = |name: &str, value: &str| request.body.contains(&format!(r#""{name}":"{}""#, in_json(value)));
    if !has("username", &state.user.name) || !has("password", &state.user.password) {
        let body = r#"{"errorCode":"E0000004","errorSummary":"Authentication failed","errorCauses":[]}"#;
        return json(401, body.to_owned());
    }
    if let Some(OktaFault::Says(status)) = &state.fault {
        return json(
            200,
            format!(r#"{{"stateToken":"state-token-1","status":"{status}","_embedded":{{}}}}"#),
        );
    }
    let token = format!("20111{:016x}-_", fastrand::u64(..));
    state.tokens.push(token.clone());
    json(
        200,
        format!(r#"{{"expiresAt":"2030-01-01T00:00:00.000Z","status":"SUCCESS","sessionToken":"{token}"}}"#),
    )
}

fn application(state: &mut State, assertions: &Assertions, request: &Request) -> Answer {
    match &state.fault {
        Some(OktaFault::RedirectsTo(to)) => return Answer::redirect(to.clone()),
        Some(OktaFault::NoAssertion) => return Answer::page("<form><input name=\"username\"/></form>"),
        _ => {}
    }
    if request.cookie("sid").is_some_and(|sid| state.cookies.iter().any(|known| known == sid)) {
        return Answer::page(handing_on(&assertions.make(&state.user.name)));
    }
    // A token opens the application once; the cookie that is had for it does the rest.
    match request.query.get("onetimetoken") {
        Some(token) if state.tokens.get(state.used) == Some(token) => {
            state.used = state.tokens.len();
            let sid = format!("sid-{:016x}", fastrand::u64(..));
            state.cookies.push(sid.clone());
            Answer::redirect(request.path.clone())
                .with("set-cookie", format!("sid={sid}; Path=/; Secure; HttpOnly"))
        }
        _ => Answer::page("<p>Sign in</p>"),
    }
}
