//! ADFS: a page with a form, a cookie for who has filled it in, a redirect, a page with the assertion.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::saml::{Assertions, User, handing_on};
use super::server::{Answer, Answered, Request, Server, in_markup};
use super::tls::Tls;

const PATH: &str = "/adfs/ls/IdpInitiatedSignOn.aspx";

/// What goes wrong at the server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AdfsFault {
    /// After the password it asks for a code.
    AsksForCode,
    /// The last page has no assertion.
    NoAssertion,
    /// The sign-in page has no form.
    NoForm,
    /// The sign-in page is elsewhere: it redirects to this address.
    RedirectsTo(String),
    /// The form is sent to this address.
    SendsTo(String),
    /// It redirects to itself, without end.
    Circle,
    /// The sign-in page is longer than any page.
    Huge,
    /// It answers nothing.
    Silent,
    /// It answers everything with this status.
    Status(u16),
}

#[derive(Debug)]
struct State {
    user: User,
    relying_party: String,
    fault: Option<AdfsFault>,
    requests: Vec<String>,
    cookies: Vec<String>,
}

/// The server. It ends when it is dropped.
#[derive(Debug)]
pub struct AdfsServer {
    server: Server,
    ca_pem: String,
    state: Arc<Mutex<State>>,
}

impl AdfsServer {
    /// Starts the server on a free port of 127.0.0.1, with a certificate for `name`. It lets `user` in, and makes its
    /// assertions known to STS.
    ///
    /// # Errors
    /// No port is free, or `name` cannot stand in a certificate.
    ///
    /// # Cancellation
    /// Leaves nothing behind.
    pub async fn start(name: &str, user: User, assertions: &Assertions) -> io::Result<Self> {
        let tls = Tls::new(name)?;
        let state = Arc::new(Mutex::new(State {
            user,
            relying_party: "urn:amazon:webservices".to_owned(),
            fault: None,
            requests: Vec::new(),
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

    /// The name of AWS at it; `urn:amazon:webservices` until it is set.
    pub fn set_relying_party(&self, name: &str) {
        name.clone_into(&mut locked(&self.state).relying_party);
    }

    /// What goes wrong from now on.
    pub fn fail(&self, fault: Option<AdfsFault>) {
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

    /// The values of the cookies that it has set.
    #[must_use]
    pub fn cookies(&self) -> Vec<String> {
        locked(&self.state).cookies.clone()
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(state: &mut State, assertions: &Assertions, request: &Request) -> Answered {
    state.requests.push(format!("{} {}", request.method, request.path));
    match &state.fault {
        Some(AdfsFault::Silent) => return None,
        Some(AdfsFault::Status(status)) => {
            return Some(Answer::page("<p>as the test wants it</p>").status(*status));
        }
        Some(AdfsFault::Circle) => return Some(Answer::redirect(format!("{PATH}?again"))),
        Some(AdfsFault::RedirectsTo(to)) => return Some(Answer::redirect(to.clone())),
        Some(AdfsFault::Huge) => return Some(Answer::page("<p>".repeat(1_000_000))),
        Some(AdfsFault::NoForm) => return Some(Answer::page("<p>An error occurred.</p>")),
        _ => {}
    }
    let relying_party = request.query.get("loginToRp") == Some(&state.relying_party);
    if request.path != PATH || !relying_party {
        return Some(Answer::page("<p>An error occurred.</p>"));
    }
    Some(match request.method.as_str() {
        "POST" => filled_in(state, request),
        _ => match request.cookie("MSISAuth") {
            Some(cookie) if state.cookies.iter().any(|known| known == cookie) => signed_in(state, assertions),
            _ => sign_in_page(state, ""),
        },
    })
}

/// The address of the page, as a reference.
fn own_address(state: &State) -> String {
    let name = state.relying_party.replace('%', "%25").replace('&', "%26").replace(' ', "%20");
    format!("{PATH}?loginToRp={name}")
}

/// A value that nobody can guess.
fn cookie(state: &mut State, name: &str) -> String {
    let value = format!("{name}-{:016x}/+==", fastrand::u64(..));
    state.cookies.push(value.clone());
    format!("{name}={value}; path=/adfs; HttpOnly; Secure; SameSite=None")
}

fn sign_in_page(state: &mut State, error: &str) -> Answer {
    let action = match &state.fault {
        Some(AdfsFault::SendsTo(address)) => address.clone(),
        _ => format!("{}&client-request-id=1", own_address(state)),
    };
    let page = format!(
        "<!DOCTYPE html><html><head><script>var page = '<form action=\"/no\">';</script></head><body>\
         <form method=\"post\" id=\"loginForm\" autocomplete=\"off\"\n action=\"{}\">\
         <span id=\"errorText\">{error}</span>\
         <input id=\"userNameInput\" name=\"UserName\" type=\"email\" value=\"\" tabindex=\"1\"/>\
         <input id=\"passwordInput\" name=\"Password\" type=\"password\" tabindex=\"2\"/>\
         <input type=\"checkbox\" name=\"Kmsi\" id=\"kmsiInput\" value=\"true\" tabindex=\"3\" />\
         <input id=\"optionForms\" type=\"hidden\" name=\"AuthMethod\" value=\"FormsAuthentication\"/>\
         <input type=\"hidden\" name=\"State\" value=\"a&amp;b\"></form>\
         <form id=\"options\" method=\"post\" action=\"{}\"><input type=\"hidden\" name=\"UserName\"/>\
         <input type=\"hidden\" name=\"AuthMethod\" value=\"\"/></form></body></html>",
        in_markup(&action),
        in_markup(&action)
    );
    let first = cookie(state, "MSISRequest");
    Answer::page(page).with("set-cookie", first)
}

fn filled_in(state: &mut State, request: &Request) -> Answer {
    let known = request.cookie("MSISRequest").is_some_and(|it| state.cookies.iter().any(|known| known == it));
    if !known {
        return Answer::page("<p>An error occurred: no cookie.</p>");
    }
    let expected = [
        ("UserName", state.user.name.as_str()),
        ("Password", &state.user.password),
        ("Kmsi", "true"),
        ("AuthMethod", "FormsAuthentication"),
        ("State", "a&b"),
    ];
    let fields = request.form();
    let fields: Vec<(&str, &str)> =
        fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    if fields != expected {
        return sign_in_page(
            state,
            "Incorrect user ID or password. Type the correct user ID and password, and try again.",
        );
    }
    if state.fault == Some(AdfsFault::AsksForCode) {
        return Answer::page(
            "<form method=\"post\" id=\"loginForm\"><input name=\"VerificationCode\" type=\"text\"/><input type=\"hidden\" \
             name=\"AuthMethod\" value=\"AzureMfaAuthentication\"/><input type=\"hidden\" name=\"Context\" value=\"x\"/></form>",
        );
    }
    let second = cookie(state, "MSISAuth");
    Answer::redirect(own_address(state))
        .with("set-cookie", "MSISRequest=; expires=Thu, 01 Jan 1970 00:00:00 GMT; path=/adfs")
        .with("set-cookie", second)
}

fn signed_in(state: &State, assertions: &Assertions) -> Answer {
    if state.fault == Some(AdfsFault::NoAssertion) {
        return Answer::page("<form><input name=\"RelayState\" value=\"x\"/></form>");
    }
    Answer::page(handing_on(&assertions.make(&state.user.name)))
}
