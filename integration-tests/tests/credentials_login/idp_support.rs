//! Clusters that check tokens by the keys that STS has given, and connectors whose users sign in at an identity provider.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use integration_tests::idp::{AdfsServer, Assertions, OktaServer, StsServer, User};
use integration_tests::names::NameTable;
use integration_tests::sim::{Engine, LoginAttempt, SimCluster, TokenCheck, TokenFault};
use wrapper_core::env::{Environment, Resolver};
use wrapper_pg::plugins::federated_auth::FederatedAuth;
use wrapper_pg::plugins::okta::Okta;

use super::support::{Clock, Judged, REGION, USER};

pub(crate) const ROLE: &str = "arn:aws:iam::123456789012:role/shop";
pub(crate) const IDP: &str = "arn:aws:iam::123456789012:saml-provider/corp";
/// A name and a password that must be escaped wherever they go.
pub(crate) const NAME: &str = r"CORP\jane+1";
pub(crate) const PASSWORD: &str = "IDP-\"pass\\word\" & ünlimited+%";
pub(crate) const APP: &str = "0oa1b2c3d4";
pub(crate) const ADFS: &str = "adfs.example.com";
pub(crate) const OKTA: &str = "okta.example.com";

/// The names of the cluster, and of the identity providers.
#[derive(Debug)]
struct Names(NameTable);

#[async_trait]
impl Resolver for Names {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let idp = host.ends_with(".example.com").then_some(Ipv4Addr::LOCALHOST.into());
        let address =
            host.parse().ok().or(idp).or_else(|| self.0.lookup(host)).ok_or(io::ErrorKind::NotFound)?;
        Ok(vec![SocketAddr::new(address, port)])
    }
}

/// A cluster whose servers let in who shows a token of keys that STS has given and that are not revoked.
pub(crate) struct World {
    pub(crate) cluster: SimCluster,
    pub(crate) clock: Clock,
    pub(crate) sts: Arc<StsServer>,
    pub(crate) assertions: Assertions,
    judged: Arc<Mutex<Vec<Judged>>>,
    revoked: Arc<AtomicUsize>,
}

impl World {
    pub(crate) async fn start(engine: Engine) -> Self {
        let (clock, assertions, judged) = (Clock::default(), Assertions::default(), Arc::default());
        let revoked = Arc::new(AtomicUsize::new(0));
        let time = clock.clone();
        let sts = Arc::new(StsServer::start(ROLE, &assertions, move || time.now()).await.unwrap());
        let judge = {
            let (sts, clock, book) =
                (Arc::clone(&sts), clock.clone(), Arc::<Mutex<Vec<Judged>>>::clone(&judged));
            let revoked = Arc::clone(&revoked);
            move |login: &LoginAttempt<'_>| {
                let keys = sts.given().into_iter().skip(revoked.load(Ordering::SeqCst));
                let verdicts = keys.map(|keys| {
                    let session = keys.session.replace('/', "%2F").replace('+', "%2B").replace('=', "%3D");
                    let check = TokenCheck::new(&keys.access, &keys.secret, REGION);
                    check.verify(login, clock.now())?;
                    let pair = format!("&X-Amz-Security-Token={session}");
                    if login.password.contains(&pair) { Ok(()) } else { Err(TokenFault::Signature) }
                });
                let verdict = verdicts.reduce(|one, other| one.or(other)).unwrap_or(Err(TokenFault::Scope));
                let (password, program) = (login.password.to_owned(), login.application_name.to_owned());
                book.lock().unwrap().push(Judged { password, program, verdict });
                verdict.is_ok()
            }
        };
        let cluster = SimCluster::builder().engine(engine).tls(true).passwords(judge).start().await.unwrap();
        Self { cluster, clock, sts, assertions, judged, revoked }
    }

    pub(crate) async fn adfs(&self) -> AdfsServer {
        AdfsServer::start(ADFS, User::new(NAME, PASSWORD), &self.assertions).await.unwrap()
    }

    pub(crate) async fn okta(&self) -> OktaServer {
        OktaServer::start(OKTA, User::new(NAME, PASSWORD), APP, &self.assertions).await.unwrap()
    }

    pub(crate) fn judged(&self) -> Vec<Judged> {
        self.judged.lock().unwrap().clone()
    }

    pub(crate) fn faults(&self) -> Vec<TokenFault> {
        self.judged().iter().filter_map(|login| login.verdict.err()).collect()
    }

    /// The servers refuse the tokens of all keys that were given until now.
    pub(crate) fn revoke(&self) {
        self.revoked.store(self.sts.given().len(), Ordering::SeqCst);
    }

    /// What a plugin needs, but the login and the certificate.
    pub(crate) fn settings(&self, endpoint: &str, port: u16) -> Vec<(&'static str, String)> {
        vec![
            ("db_user", USER.to_owned()),
            ("idp_endpoint", endpoint.to_owned()),
            ("idp_port", port.to_string()),
            ("iam_role_arn", ROLE.to_owned()),
            ("iam_idp_arn", IDP.to_owned()),
            ("sts_endpoint", self.sts.url()),
        ]
    }

    pub(crate) fn environment(&self) -> Environment {
        let clock = self.clock.clone();
        let names = Names(self.cluster.names().clone());
        Environment::builder().resolver(names).wall_clock(move || clock.now()).build()
    }

    pub(crate) fn postgres(&self, settings: &[(&str, String)]) -> wrapper_pg::ConnectorBuilder {
        self.postgres_at(&self.cluster.cluster_endpoint(), settings)
    }

    pub(crate) fn postgres_at(
        &self,
        host: &str,
        settings: &[(&str, String)],
    ) -> wrapper_pg::ConnectorBuilder {
        use wrapper_pg::{RootCertificates, TlsSettings};
        let ca = RootCertificates::Pem(self.cluster.ca_pem().unwrap().to_owned());
        let builder = wrapper_pg::Connector::builder_at(host, self.cluster.port())
            .dbname("shop")
            .tls(TlsSettings::new().roots(ca))
            .environment(self.environment());
        settings.iter().fold(builder, |builder, (name, value)| builder.set(*name, value.as_str()))
    }

    pub(crate) fn mysql(&self, settings: &[(&str, String)]) -> wrapper_mysql::ConnectorBuilder {
        let builder =
            wrapper_mysql::Connector::builder_at(&self.cluster.cluster_endpoint(), self.cluster.port())
                .dbname("shop")
                .tls(wrapper_mysql::TlsSettings::new().roots_pem(self.cluster.ca_pem().unwrap()))
                .environment(self.environment());
        settings.iter().fold(builder, |builder, (name, value)| builder.set(*name, value.as_str()))
    }
}

pub(crate) fn federated(adfs: &AdfsServer) -> FederatedAuth {
    FederatedAuth::new().login(NAME, PASSWORD).roots_pem(adfs.ca_pem())
}

pub(crate) fn okta(okta: &OktaServer) -> Okta {
    Okta::new().login(NAME, PASSWORD).roots_pem(okta.ca_pem())
}
