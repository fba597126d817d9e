//! The signature against known tokens; host, port, region and user; the life of a token.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use secrecy::ExposeSecret;
use wrapper_core::config::{DriverKeys, Settings};
use wrapper_core::credentials::{CredentialProvider, FetchRequest, Fetched, Wanted};
use wrapper_core::driver::ConnectTarget;
use wrapper_core::env::{Deadline, Environment};
use wrapper_core::host::{HostInfo, HostRole};
use wrapper_core::testkit::{ScriptedCluster, parts};
use wrapper_core::{Error, ErrorKind};

use super::Iam;
use super::provider::IamProvider;
use super::token::{Place, token};
use crate::aws::Identity;

const HOST: &str = "mydb.cluster-abcdefghijkl.us-east-2.rds.amazonaws.com";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
/// 2024-01-01T00:00:00Z.
const AT: u64 = 1_704_067_200;

fn at() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(AT)
}

fn aws(session: Option<&str>, expiry: Option<SystemTime>) -> Credentials {
    Credentials::new("AKIDEXAMPLE", SECRET, session.map(str::to_owned), expiry, "test")
}

fn made(credentials: &Credentials, port: u16, user: &str) -> String {
    let place = Place { host: HOST, port, region: "us-east-2", user };
    token(credentials, place, at()).unwrap().expose_secret().to_owned()
}

fn pairs(token: &str) -> (String, BTreeMap<String, String>) {
    let (front, query) = token.split_once("/?").unwrap();
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap();
        (name.to_owned(), value.to_owned())
    };
    let pairs: BTreeMap<_, _> = query.split('&').map(pair).collect();
    assert_eq!(pairs.len(), query.split('&').count(), "each name once");
    (front.to_owned(), pairs)
}

fn signature(token: &str) -> String {
    pairs(token).1["X-Amz-Signature"].clone()
}

/// Tokens that botocore 1.44.5 makes from the same input.
#[test]
fn tokens_are_those_of_botocore() {
    let plain = made(&aws(None, None), 5432, "jane_doe");
    let known = "mydb.cluster-abcdefghijkl.us-east-2.rds.amazonaws.com:5432/?Action=connect&DBUser=jane_doe\
                 &X-Amz-Algorithm=AWS4-HMAC-SHA256\
                 &X-Amz-Credential=AKIDEXAMPLE%2F20240101%2Fus-east-2%2Frds-db%2Faws4_request\
                 &X-Amz-Date=20240101T000000Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host\
                 &X-Amz-Signature=58f312b6af253651a38a24e36bbce6a2ae65ce9e1b66038ae68041aaee81cbcf";
    assert_eq!(plain.len(), 351);
    assert_eq!(pairs(&plain), pairs(known));

    let session = "FwoGZXIvYXdzEXAMPLE//token+with/special==";
    let with_session = made(&aws(Some(session), None), 5432, "jane_doe");
    assert_eq!(with_session.len(), 426);
    let (_, all) = pairs(&with_session);
    assert_eq!(all["X-Amz-Security-Token"], "FwoGZXIvYXdzEXAMPLE%2F%2Ftoken%2Bwith%2Fspecial%3D%3D");
    assert_eq!(all["X-Amz-Signature"], "dc6d6fb7390a2feecd77e7e52ee4007550ca1b322de1d897c1d526b47a9eede3");
}

/// A user name that needs escaping, and the default port of HTTPS, which the signed host leaves out.
#[test]
fn odd_users_and_ports_are_signed_as_botocore_signs_them() {
    let odd = made(&aws(None, None), 3306, "jane@doe +x");
    assert_eq!(pairs(&odd).1["DBUser"], "jane%40doe%20%2Bx");
    assert_eq!(signature(&odd), "d22fc0cdf7799c3192464cea084ff1cc8a88650ec52dd8607cfd3b1ebe346412");
    let https = made(&aws(None, None), 443, "jane_doe");
    assert!(https.starts_with(&format!("{HOST}:443/?")), "{https}");
    assert_eq!(signature(&https), "37f71dd4ff288d78c6c780ad08cdb5400dfd4e705232cc7ab73168e2e2cf6ccc");
}

fn settings(host: &str, more: &str) -> Settings {
    let keys = DriverKeys { schemes: &["postgres"], default_port: 5432, names: &[] };
    Settings::parse(&format!("postgres://{host}/shop?plugins=iam{more}"), &keys).unwrap()
}

fn provider(host: &str, more: &str, aws: Credentials) -> Result<IamProvider, Error> {
    let rules = Iam::new().rules(&settings(host, more))?;
    let source = aws_credential_types::provider::SharedCredentialsProvider::new(aws);
    Ok(IamProvider { identity: Identity::new(None, Some(source)), rules })
}

fn target(host: &str) -> ConnectTarget {
    ConnectTarget::session(HostInfo::new(host, 5432, HostRole::Unknown))
}

/// `HOST:PORT REGION` of the token for a connection to `dialled`, in a cluster that was configured with `host`.
fn key(host: &str, more: &str, dialled: &str) -> Result<String, Error> {
    let provider = provider(host, more, aws(None, None))?;
    let key = provider.key(&Wanted::new(&target(dialled), Some("app")))?;
    assert_eq!(key.user.as_deref(), Some("app"));
    Ok(format!("{}:{} {}", key.host, key.port, key.region.unwrap()))
}

const CLUSTER: &str = "db.cluster-xyz.us-east-2.rds.amazonaws.com";
const INSTANCE: &str = "instance-1.xyz.us-east-2.rds.amazonaws.com";

#[test]
fn a_name_of_rds_is_signed_for_as_it_is() {
    for host in [
        CLUSTER,
        INSTANCE,
        "db.cluster-ro-xyz.us-east-2.rds.amazonaws.com",
        "shop.proxy-xyz.us-east-2.rds.amazonaws.com",
    ] {
        assert_eq!(key(host, "", host).unwrap(), format!("{host}:5432 us-east-2"));
    }
    let china = "db.cluster-xyz.rds.cn-north-1.amazonaws.com.cn";
    assert_eq!(key(china, "", china).unwrap(), format!("{china}:5432 cn-north-1"));
    let upper = "DB.CLUSTER-XYZ.US-EAST-2.RDS.AMAZONAWS.COM.";
    assert_eq!(key(upper, "", upper).unwrap(), format!("{CLUSTER}:5432 us-east-2"));
}

#[test]
fn iam_host_stands_for_names_that_rds_did_not_give() {
    let set = format!("&iam_host={CLUSTER}");
    for host in
        ["db.example.com", "127.0.0.1", "localhost", "mine.cluster-custom-xyz.us-east-2.rds.amazonaws.com"]
    {
        assert_eq!(key(host, &set, host).unwrap(), format!("{CLUSTER}:5432 us-east-2"), "{host}");
        let error = key(host, "&iam_region=us-east-2", host).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("`iam_host`") && error.to_string().contains(host), "{error}");
    }
    // What the topology adds has a name of its own.
    assert_eq!(key("db.example.com", &set, INSTANCE).unwrap(), format!("{INSTANCE}:5432 us-east-2"));
    assert_eq!(key(INSTANCE, &set, INSTANCE).unwrap(), format!("{CLUSTER}:5432 us-east-2"), "as configured");
}

#[test]
fn iam_region_and_iam_default_port_are_signed_for() {
    let set = "&iam_host=db.internal&iam_region=eu-west-1&iam_default_port=6432";
    assert_eq!(key("127.0.0.1", set, "127.0.0.1").unwrap(), "db.internal:6432 eu-west-1");
    // A host of another region, found after a failover, is signed for in its own.
    assert_eq!(key("127.0.0.1", set, INSTANCE).unwrap(), format!("{INSTANCE}:6432 us-east-2"));
    let error = key("127.0.0.1", "&iam_host=db.internal", "127.0.0.1").unwrap_err().to_string();
    assert!(error.contains("`iam_region`") && error.contains("db.internal"), "{error}");
    for (wrong, expected) in [
        ("&iam_region=Ohio", "us-east-2"),
        ("&iam_default_port=70000", "1 to 65535"),
        ("&iam_expiration=16m", "at most 900s"),
    ] {
        let error = key(INSTANCE, wrong, INSTANCE).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{wrong}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn a_user_is_needed() {
    let provider = provider(INSTANCE, "", aws(None, None)).unwrap();
    for user in [None, Some("")] {
        let error = provider.key(&Wanted::new(&target(INSTANCE), user)).unwrap_err();
        assert!(error.kind() == ErrorKind::Config && error.to_string().contains("`user`"), "{error}");
    }
}

async fn fetched(more: &str, aws: Credentials) -> Result<Fetched, Error> {
    let provider = provider(INSTANCE, more, aws)?;
    let key = provider.key(&Wanted::new(&target(INSTANCE), Some("app")))?;
    let env = Environment::builder().wall_clock(at).build();
    provider.fetch(&FetchRequest::new(key, env, Deadline::after(Duration::from_secs(5), "test"))).await
}

#[tokio::test]
async fn iam_expiration_and_the_end_of_the_aws_credentials_bound_the_use_of_a_token() {
    let secs = Duration::from_secs;
    assert_eq!(fetched("", aws(None, None)).await.unwrap().usable_for, secs(870));
    assert_eq!(fetched("&iam_expiration=60", aws(None, None)).await.unwrap().usable_for, secs(60));
    assert_eq!(fetched("&iam_expiration=0", aws(None, None)).await.unwrap().usable_for, secs(0));
    let soon = aws(None, Some(at() + secs(400)));
    assert_eq!(fetched("", soon).await.unwrap().usable_for, secs(400));
    let error = fetched("", aws(None, Some(at() - secs(1)))).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("have expired"), "{error}");
}

#[tokio::test]
async fn a_token_travels_in_clear_text_and_over_tls_only_and_is_never_printed() {
    let fetched = fetched("", aws(Some("session-token"), None)).await.unwrap();
    assert!(fetched.credential.needs_tls && fetched.credential.clear_text);
    let printed = format!("{fetched:?}");
    let token = fetched.credential.password.as_ref().unwrap().expose_secret();
    assert!(!printed.contains("Signature") && !printed.contains(&signature(token)), "{printed}");
}

#[tokio::test]
async fn a_source_of_aws_credentials_that_has_none_is_told() {
    #[derive(Debug)]
    struct Nothing;
    impl super::ProvideCredentials for Nothing {
        fn provide_credentials<'a>(&'a self) -> aws_credential_types::provider::future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            use aws_credential_types::provider::error::CredentialsError;
            let error = CredentialsError::not_loaded("there is no file");
            aws_credential_types::provider::future::ProvideCredentials::ready(Err(error))
        }
    }
    let servers = ScriptedCluster::new(1, 7);
    let settings = Settings::builder().set("user", "app");
    let plugin = Iam::new().credentials(Nothing);
    let parts = parts(&servers, settings, vec![Arc::new(plugin)], Vec::new());
    // The scripted driver knows no user of its own.
    let core = wrapper_core::connector::ConnectorCore::new(parts.unwrap()).unwrap();
    let deadline = Deadline::after(Duration::from_secs(5), "test");
    let error = core.cluster().core().open_monitor(core.endpoint(), deadline).await.unwrap_err();
    assert!(error.to_string().contains("`user`"), "{error}");

    let source = aws_credential_types::provider::SharedCredentialsProvider::new(Nothing);
    let identity = Identity::new(None, Some(source));
    let error = identity.credentials("us-east-2", at()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    let text = error.to_string();
    assert!(text.contains("aws_profile") && text.contains("there is no file"), "{text}");
}
