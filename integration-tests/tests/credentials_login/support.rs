//! A cluster that checks tokens, and connectors that make them.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use integration_tests::names::NameTable;
use integration_tests::sim::{Engine, LoginAttempt, SimCluster, SimClusterBuilder, TokenCheck, TokenFault};
use wrapper_core::env::{Environment, Resolver};
use wrapper_pg::plugins::iam::{Credentials, Iam};

/// Against hanging only.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const ACCESS_KEY: &str = "AKIDEXAMPLE";
pub(crate) const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
pub(crate) const REGION: &str = "us-east-2";
/// A user whose name must be escaped in a token.
pub(crate) const USER: &str = "jane@doe +x";

pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} does not end"))
}

/// The wall clock of client and servers; it can be moved.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock(Arc<AtomicI64>);

impl Clock {
    pub(crate) fn now(&self) -> SystemTime {
        SystemTime::now() + Duration::from_secs(u64::try_from(self.0.load(Ordering::SeqCst)).unwrap())
    }
    pub(crate) fn step(&self, span: Duration) {
        self.0.fetch_add(i64::try_from(span.as_secs()).unwrap(), Ordering::SeqCst);
    }
}

#[derive(Debug)]
pub(crate) struct Names(pub(crate) NameTable);

#[async_trait]
impl Resolver for Names {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let address = host.parse().ok().or_else(|| self.0.lookup(host)).ok_or(io::ErrorKind::NotFound)?;
        Ok(vec![SocketAddr::new(address, port)])
    }
}

/// One login that the servers have judged.
#[derive(Clone, Debug)]
pub(crate) struct Judged {
    pub(crate) password: String,
    pub(crate) program: String,
    pub(crate) verdict: Result<(), TokenFault>,
}

/// A cluster whose servers let in who shows a token of the known key, for the user, the host and the port, in time.
pub(crate) struct World {
    pub(crate) cluster: SimCluster,
    pub(crate) clock: Clock,
    pub(crate) judged: Arc<Mutex<Vec<Judged>>>,
}

impl World {
    pub(crate) async fn start(engine: Engine) -> Self {
        Self::with(engine, |builder| builder).await
    }

    pub(crate) async fn with(
        engine: Engine,
        more: impl FnOnce(SimClusterBuilder) -> SimClusterBuilder,
    ) -> Self {
        let (clock, judged) = (Clock::default(), Arc::new(Mutex::new(Vec::new())));
        let check = TokenCheck::new(ACCESS_KEY, SECRET_KEY, REGION);
        let (time, book) = (clock.clone(), Arc::clone(&judged));
        let judge = move |login: &LoginAttempt<'_>| {
            let verdict = check.verify(login, time.now());
            let (password, program) = (login.password.to_owned(), login.application_name.to_owned());
            book.lock().unwrap().push(Judged { password, program, verdict });
            verdict.is_ok()
        };
        let builder = SimCluster::builder().engine(engine).tls(true).passwords(judge);
        Self { cluster: more(builder).start().await.unwrap(), clock, judged }
    }

    pub(crate) fn environment(&self) -> Environment {
        let clock = self.clock.clone();
        Environment::builder()
            .resolver(Names(self.cluster.names().clone()))
            .wall_clock(move || clock.now())
            .build()
    }

    pub(crate) fn judged(&self) -> Vec<Judged> {
        self.judged.lock().unwrap().clone()
    }

    /// The faults that the servers found.
    pub(crate) fn faults(&self) -> Vec<TokenFault> {
        self.judged().iter().filter_map(|login| login.verdict.err()).collect()
    }

    pub(crate) fn postgres(&self) -> wrapper_pg::ConnectorBuilder {
        self.postgres_at(&self.cluster.cluster_endpoint())
    }

    /// Without a source of AWS credentials.
    pub(crate) fn postgres_at(&self, host: &str) -> wrapper_pg::ConnectorBuilder {
        use wrapper_pg::{RootCertificates, TlsSettings};
        let ca = RootCertificates::Pem(self.cluster.ca_pem().unwrap().to_owned());
        wrapper_pg::Connector::builder_at(host, self.cluster.port())
            .user(USER)
            .dbname("shop")
            .tls(TlsSettings::new().roots(ca))
            .environment(self.environment())
    }

    pub(crate) fn mysql(&self) -> wrapper_mysql::ConnectorBuilder {
        wrapper_mysql::Connector::builder_at(&self.cluster.cluster_endpoint(), self.cluster.port())
            .user(USER)
            .dbname("shop")
            .tls(wrapper_mysql::TlsSettings::new().roots_pem(self.cluster.ca_pem().unwrap()))
            .environment(self.environment())
    }
}

/// The plugin, with the key that the servers know.
pub(crate) fn iam() -> Iam {
    Iam::new().credentials(key(SECRET_KEY, None))
}

pub(crate) fn key(secret: &str, session: Option<String>) -> Credentials {
    Credentials::new(ACCESS_KEY, secret, session, None, "test")
}
