//! Bad input through `Connector::from_url`: each mistake is a typed error that names the setting and what is allowed.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]

use wrapper_core::config::PluginName;
use wrapper_core::plugin::Registry;
use wrapper_pg::{Connector, ErrorKind};

#[test]
fn every_mistake_in_a_url_is_named() {
    let host = "postgres://app:tiger-secret@db.cluster-xyz.us-east-2.rds.amazonaws.com/shop";
    let rows: &[(&str, ErrorKind, &[&str])] = &[
        ("?plugins=failovr", ErrorKind::Config, &["plugins", "failovr", "failover"]),
        ("?plugins=bg", ErrorKind::Unsupported, &["bg"]),
        ("?plugins=okta", ErrorKind::Config, &["okta", "idp_endpoint", "app_id"]),
        ("?plugins=failover,failover", ErrorKind::Config, &["plugins", "failover"]),
        ("?failover_timout=5s", ErrorKind::Config, &["failover_timout", "failover_timeout"]),
        ("?failover_timeout=5parsecs", ErrorKind::Config, &["failover_timeout", "5parsecs"]),
        ("?failover_timeout=0s", ErrorKind::Config, &["failover_timeout"]),
        ("?failover_mode=strictest", ErrorKind::Config, &["failover_mode", "strictest", "strict"]),
        ("?enable_failover=perhaps", ErrorKind::Config, &["enable_failover", "perhaps"]),
        ("?wrapper_dialect=oracle", ErrorKind::Config, &["wrapper_dialect", "oracle"]),
        ("?wrapper_driver_dialect=mysql", ErrorKind::Config, &["wrapper_driver_dialect", "mysql"]),
        (
            "?cluster_instance_host_pattern=nothing",
            ErrorKind::Config,
            &["cluster_instance_host_pattern", "?"],
        ),
    ];
    for (query, kind, words) in rows {
        let error = Connector::from_url(&format!("{host}{query}")).expect_err(query);
        let text = error.to_string();
        assert_eq!(error.kind(), *kind, "{query}: {text}");
        for word in *words {
            assert!(text.contains(word), "{query}: {word} in {text}");
        }
        assert!(!text.contains("tiger-secret"), "{query}: {text}");
    }
}

#[test]
fn a_host_is_asked_for() {
    for text in ["postgres:///shop", "user=app dbname=shop"] {
        let error = Connector::from_url(text).expect_err("no host");
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().contains("host"), "{error}");
    }
    let error = Connector::from_url("mysql://app@db.example.com/shop").expect_err("another driver");
    assert!(error.to_string().contains("postgres"), "{error}");
}

#[test]
fn an_order_that_cannot_work_is_refused_when_it_is_not_sorted() {
    let url = "postgres://app@db.cluster-xyz.us-east-2.rds.amazonaws.com/shop?plugins=efm,failover";
    Connector::from_url(url).expect("sorted by default");
    let error =
        Connector::from_url(&format!("{url}&auto_sort_wrapper_plugin_order=false")).expect_err("as given");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    for word in ["efm", "failover", "auto_sort_wrapper_plugin_order"] {
        assert!(error.to_string().contains(word), "{error}");
    }
}

/// What a build without the feature answers: its registry lacks the plugin.
#[test]
fn a_plugin_that_is_not_compiled_in_names_its_feature() {
    let error = Registry::new().resolve(&PluginName::BuiltIn("initial_connection")).expect_err("not there");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    for word in ["plugins", "initial_connection", "initial-connection", "feature"] {
        assert!(error.to_string().contains(word), "{error}");
    }
}
