//! What the way to an identity provider is bounded by. Whole sign-ins are tested with the drivers
//! (`integration-tests/tests/credentials_login`).

use std::time::Duration;

use wrapper_core::config::{DriverKeys, Settings};
use wrapper_core::credentials::{CredentialProvider, FetchRequest, Wanted};
use wrapper_core::driver::ConnectTarget;
use wrapper_core::env::{Deadline, Environment};
use wrapper_core::host::{HostInfo, HostRole};
use wrapper_core::{ErrorKind, Result};

use super::FederatedAuth;

const INSTANCE: &str = "instance-1.xyz.us-east-2.rds.amazonaws.com";

async fn fetched(more: &str) -> Result<()> {
    let keys = DriverKeys { schemes: &["postgres"], default_port: 5432, names: &[] };
    let text = format!(
        "postgres://{INSTANCE}/shop?plugins=federated_auth&db_user=app&idp_username=jane&idp_password=hunter2\
         &iam_role_arn=arn:aws:iam::123456789012:role/shop&iam_idp_arn=arn:aws:iam::123456789012:saml-provider/corp{more}"
    );
    let provider = FederatedAuth::new().provider(&Settings::parse(&text, &keys)?)?;
    let target = ConnectTarget::session(HostInfo::new(INSTANCE, 5432, HostRole::Unknown));
    let key = provider.key(&Wanted::new(&target, None))?;
    assert_eq!((key.user.as_deref(), key.region.as_deref()), (Some("app"), Some("us-east-2")));
    let shown = format!("{key} {provider:?}");
    assert!(shown.contains("`jane` of 127.0.0.1") && !shown.contains("hunter2"), "{shown}");
    let deadline = Deadline::after(Duration::from_secs(3600), "connect_timeout");
    provider.fetch(&FetchRequest::new(key, Environment::default(), deadline)).await.map(drop)
}

/// Somebody takes the connection and says nothing.
#[tokio::test(start_paused = true)]
async fn http_request_connect_timeout_bounds_a_request() {
    let silent = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let more = format!("&idp_endpoint=127.0.0.1&idp_port={port}&ssl_secure=false");
    for (set, expected) in [("&http_request_connect_timeout=7", "within 7s"), ("", "within 60s")] {
        let error = fetched(&format!("{more}{set}")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
        let text = error.to_string();
        assert!(text.contains(expected) && text.contains("`http_request_connect_timeout`"), "{text}");
        assert!(text.contains(&format!("127.0.0.1:{port}")), "{text}");
    }
}
