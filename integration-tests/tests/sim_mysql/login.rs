//! Logins: each plugin, with and without TLS, and those that are refused.

use integration_tests::sim::{Login, SimCluster, SimError};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, OptsBuilder, SslOpts};

use crate::{code, mysql, options};

fn secured(cluster: &SimCluster, options: OptsBuilder) -> OptsBuilder {
    // The driver takes the one of the process; with two compiled in, as all features have it, there is none by itself.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let authority = cluster.ca_pem().unwrap().as_bytes().to_vec();
    let tls = SslOpts::default().with_disable_built_in_roots(true).with_root_certs(vec![authority.into()]);
    options.ssl_opts(Some(tls))
}

#[tokio::test]
async fn each_plugin_lets_the_right_password_in_and_no_other() {
    for login in [Login::Native, Login::CachingSha2, Login::Cleartext] {
        for tls in [false, true] {
            let cluster = mysql().login(login).user("app", "s3cret").user("guest", "").tls(tls);
            let cluster = cluster.start().await.unwrap();
            let options = |user: &str, password: &str| {
                let options = options(&cluster, 1).user(Some(user)).pass(Some(password));
                let options = options.enable_cleartext_plugin(true);
                if tls { secured(&cluster, options) } else { options }
            };
            // Twice: the second time caching_sha2_password knows the user.
            for _ in 0..2 {
                let mut conn = Conn::new(options("app", "s3cret")).await.unwrap();
                let who: Option<(String, String)> =
                    conn.query_first("SELECT CURRENT_USER(), DATABASE()").await.unwrap();
                assert_eq!(who, Some(("app@%".to_owned(), "shop".to_owned())), "{login:?} {tls}");
            }
            Conn::new(options("guest", "")).await.unwrap();
            for (user, password) in [("app", "wrong"), ("app", ""), ("nobody", "s3cret"), ("guest", "x")] {
                let refused = code(Conn::new(options(user, password)).await);
                assert_eq!(refused, 1045, "{login:?} {tls} {user}");
            }
            cluster.shutdown().await;
        }
    }
}

#[tokio::test]
async fn a_new_password_counts_at_once() {
    let cluster = mysql().login(Login::CachingSha2).user("app", "old").tls(true).start().await.unwrap();
    let with = |password| secured(&cluster, options(&cluster, 0).pass(Some(password)));
    Conn::new(with("old")).await.unwrap();
    cluster.set_password("app", "new");
    assert_eq!(code(Conn::new(with("old")).await), 1045);
    Conn::new(with("new")).await.unwrap();
}

#[tokio::test]
async fn a_password_in_clear_text_is_the_clients_choice() {
    let cluster = mysql().login(Login::Cleartext).user("app", "token").start().await.unwrap();
    let refused = Conn::new(options(&cluster, 0).pass(Some("token"))).await;
    assert!(matches!(refused, Err(Error::Driver(_))), "{refused:?}");
}

#[tokio::test]
async fn tls_can_be_demanded() {
    let cluster = mysql().require_tls(true).start().await.unwrap();
    assert_eq!(code(Conn::new(options(&cluster, 0)).await), 3159);
    let mut conn = Conn::new(secured(&cluster, options(&cluster, 0))).await.unwrap();
    // Several packets each way, and one that has to be cut in parts.
    let long = "x".repeat(17 << 20);
    let back: Option<String> = conn.exec_first("SELECT ?", (&long,)).await.unwrap();
    assert!(back == Some(long));
    // A name that the certificate does not have.
    let other = secured(&cluster, options(&cluster, 0)).ip_or_hostname("db.example.com");
    assert!(Conn::new(other).await.is_err());
}

#[tokio::test]
async fn a_server_that_is_full_or_starting_greets_nobody() {
    let cluster = mysql().max_connections(1).start().await.unwrap();
    let first = Conn::new(options(&cluster, 0)).await.unwrap();
    assert_eq!(code(Conn::new(options(&cluster, 0)).await), 1040);
    first.disconnect().await.unwrap();
    cluster.reject_logins(1, Some(("57P03", "the database system is starting up"))).unwrap();
    assert_eq!(code(Conn::new(options(&cluster, 1)).await), 1053);
    cluster.heal(1).await.unwrap();
    Conn::new(options(&cluster, 1)).await.unwrap();
}

#[tokio::test]
async fn each_engine_has_its_own_ways_to_log_in() {
    let wrong = mysql().login(Login::Scram).user("app", "x").start().await.err();
    assert!(matches!(wrong, Some(SimError::Setting { setting: "login", .. })), "{wrong:?}");
    let wrong = SimCluster::builder().login(Login::Native).user("app", "x").start().await.err();
    assert!(matches!(wrong, Some(SimError::Setting { setting: "login", .. })), "{wrong:?}");
}
