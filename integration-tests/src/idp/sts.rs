//! AWS STS: temporary keys for an assertion.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};

use super::saml::Assertions;
use super::server::{Answer, Answered, Request, Server, in_markup};

/// Temporary keys that were given out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Keys {
    /// The access key.
    pub access: String,
    /// The secret key.
    pub secret: String,
    /// The session token.
    pub session: String,
}

/// An answer in place of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StsFault {
    /// The status of HTTP.
    pub status: u16,
    /// The service's code, such as `ExpiredTokenException`.
    pub code: String,
}

type Clock = dyn Fn() -> SystemTime + Send + Sync;

struct State {
    role: String,
    clock: Box<Clock>,
    life: Duration,
    fault: Option<StsFault>,
    given: Vec<Keys>,
    requests: usize,
}

/// The server. It ends when it is dropped.
pub struct StsServer {
    server: Server,
    state: Arc<Mutex<State>>,
}

impl std::fmt::Debug for StsServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StsServer").field("address", &self.server.address).finish_non_exhaustive()
    }
}

impl StsServer {
    /// Starts the server on a free port of 127.0.0.1. It gives keys of `role` for the assertions that were made, by the
    /// time of `clock`; they live for an hour.
    ///
    /// # Errors
    /// No port is free.
    ///
    /// # Cancellation
    /// Leaves nothing behind.
    pub async fn start(
        role: &str,
        assertions: &Assertions,
        clock: impl Fn() -> SystemTime + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let state = Arc::new(Mutex::new(State {
            role: role.to_owned(),
            clock: Box::new(clock),
            life: Duration::from_secs(3600),
            fault: None,
            given: Vec::new(),
            requests: 0,
        }));
        let (known, assertions) = (Arc::clone(&state), assertions.clone());
        let answer = move |request: &Request| answer(&mut locked(&known), &assertions, request);
        let server = Server::start(None, answer).await?;
        Ok(Self { server, state })
    }

    /// Its URL, for `sts_endpoint`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// How long the keys live that it gives from now on.
    pub fn set_life(&self, life: Duration) {
        locked(&self.state).life = life;
    }

    /// Answers so until told otherwise.
    pub fn fail(&self, fault: Option<StsFault>) {
        locked(&self.state).fault = fault;
    }

    /// The keys that it has given, in order.
    #[must_use]
    pub fn given(&self) -> Vec<Keys> {
        locked(&self.state).given.clone()
    }

    /// How often it was asked.
    #[must_use]
    pub fn requests(&self) -> usize {
        locked(&self.state).requests
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(state: &mut State, assertions: &Assertions, request: &Request) -> Answered {
    state.requests += 1;
    let fields = request.form();
    let field = |name: &str| {
        fields.iter().find(|(known, _)| known == name).map(|(_, it)| it.as_str()).unwrap_or_default()
    };
    Some(if let Some(StsFault { status, code }) = &state.fault {
        refusal(*status, code, "as the test wants it")
    } else if request.headers.contains_key("authorization") {
        refusal(403, "SignatureDoesNotMatch", "this call is not signed")
    } else if field("Action") != "AssumeRoleWithSAML" {
        refusal(400, "InvalidAction", "not served here")
    } else if !assertions.has(field("SAMLAssertion")) || !field("PrincipalArn").contains(":saml-provider/") {
        refusal(400, "InvalidIdentityToken", "no assertion of this provider")
    } else if field("RoleArn") != state.role {
        refusal(403, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithSAML")
    } else {
        keys(state)
    })
}

fn keys(state: &mut State) -> Answer {
    let number = state.given.len();
    let keys = Keys {
        access: format!("ASIAEXAMPLE{number}"),
        secret: format!("temporary/secret+{number}-{:016x}", fastrand::u64(..)),
        session: format!("FwoGZXIvYXdz//temporary+session{number}-{:016x}==", fastrand::u64(..)),
    };
    let end = DateTime::<Utc>::from((state.clock)() + state.life).to_rfc3339_opts(SecondsFormat::Secs, true);
    let body = format!(
        "<AssumeRoleWithSAMLResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleWithSAMLResult>\
         <Credentials><AccessKeyId>{}</AccessKeyId><SecretAccessKey>{}</SecretAccessKey><SessionToken>{}</SessionToken>\
         <Expiration>{end}</Expiration></Credentials><Subject>jane</Subject></AssumeRoleWithSAMLResult>\
         <ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></AssumeRoleWithSAMLResponse>",
        in_markup(&keys.access),
        in_markup(&keys.secret),
        in_markup(&keys.session)
    );
    state.given.push(keys);
    xml(200, body)
}

fn refusal(status: u16, code: &str, message: &str) -> Answer {
    let body = format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type><Code>{code}</Code>\
         <Message>{message}</Message></Error><RequestId>1</RequestId></ErrorResponse>"
    );
    xml(status, body)
}

fn xml(status: u16, body: String) -> Answer {
    Answer { status, headers: vec![("content-type", "text/xml".to_owned())], body }
}
