//! Tests of the settings as a whole: every name, every source, what is refused and how it is explained.

use std::time::Duration;

use secrecy::SecretString;

use super::*;
use crate::config::definition::Definition as Def;
use crate::config::value::Form;
use crate::error::{Error, ErrorKind};

const KEYS: DriverKeys<'static> = DriverKeys {
    schemes: &["postgres", "postgresql"],
    default_port: 5432,
    names: &[
        "sslmode",
        "application_name",
        "options",
        "hostaddr",
        "connect_timeout",
        "keepalives",
        "keepalives_idle",
        "target_session_attrs",
    ],
};
const WRITER: &str = "db.cluster-xyz.us-east-2.rds.amazonaws.com";

fn parse(text: &str) -> Result<Settings, Error> {
    Settings::parse(text, &KEYS)
}

/// Settings of `text` after a host that says nothing.
fn with(text: &str) -> Result<Settings, Error> {
    parse(&format!("host=db.example.com {text}"))
}

fn error(text: &str) -> Error {
    with(text).unwrap_err()
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn a_url_a_string_and_the_builder_say_the_same() {
    let url = parse(&format!(
        "postgres://app:pw@{WRITER}:6000/shop?plugins=failover,efm&failover_timeout=60s&sslmode=require"
    ));
    let string = parse(&format!(
        "host={WRITER} port=6000 user=app password=pw dbname=shop plugins=failover_v2,efm2 failover_timeout_sec=60 \
         sslmode=require"
    ));
    let built = Settings::builder()
        .host_and_port(WRITER, 6000)
        .set("user", "app")
        .set("password", SecretString::from("pw"))
        .set("database", "shop")
        .set("plugins", "failover,host_monitoring_v2")
        .set("failoverTimeoutMs", secs(60))
        .set("sslmode", "require")
        .set("failure_detection_count", 3)
        .build(&KEYS);
    for settings in [url, string, built] {
        let settings = settings.unwrap();
        assert_eq!(settings.hosts(), [(WRITER.to_owned(), 6000)]);
        assert_eq!(settings.failover_timeout, secs(60));
        let plugins = settings.plugins.as_ref().unwrap();
        assert_eq!(plugins.names(), [PluginName::BuiltIn("failover"), PluginName::BuiltIn("efm")]);
        let driver: Vec<(&str, &str)> =
            settings.driver_parameters().map(|(name, value)| (name, value.expose())).collect();
        assert_eq!(driver, [("user", "app"), ("password", "pw"), ("dbname", "shop"), ("sslmode", "require")]);
        assert!(settings.warnings().is_empty());
    }
}

#[test]
fn the_defaults() {
    let settings = with("").unwrap();
    assert_eq!(settings.plugins, None);
    assert!(
        settings.auto_sort_wrapper_plugin_order && settings.enable_failover && settings.rollback_on_switch
    );
    assert!(!settings.enable_connect_failover && settings.transfer_session_state_on_switch);
    assert_eq!(settings.connect_timeout, secs(10));
    assert_eq!(settings.socket_timeout, None);
    assert_eq!(settings.auxiliary_query_timeout, secs(5));
    assert_eq!(settings.topology_refresh, secs(30));
    assert_eq!(settings.topology_high_refresh, Duration::from_millis(100));
    assert_eq!(settings.topology_panic_interval, Duration::from_millis(10));
    assert_eq!((settings.failover_mode, settings.failover_timeout), (None, secs(300)));
    assert_eq!(settings.failure_detection_time, secs(30));
    assert_eq!(settings.failure_detection_interval, secs(5));
    assert_eq!(settings.failure_detection_count, 3);
    assert_eq!(settings.monitor_disposal_time, secs(600));
    assert_eq!(settings.open_connection_retry_timeout, None);
    assert_eq!(settings.max_monitor_connections, 16);
    assert_eq!(settings.probe_timeout(), secs(3));
}

/// A value that is not the default, as it is written under a name of this form, and as it is shown.
fn sample(definition: &Def, form: Form) -> (String, String) {
    let own = |value: &str| (value.to_owned(), value.to_owned());
    match (definition.name(), definition.kind()) {
        (_, "duration") => match form {
            Form::UnitInValue => own("7s"),
            Form::SecondsOrUnit | Form::Seconds => ("7".to_owned(), "7s".to_owned()),
            Form::Milliseconds => ("7000".to_owned(), "7s".to_owned()),
        },
        (name, "true or false") => {
            own(if Settings::default().show(name).as_deref() == Some("true") { "false" } else { "true" })
        }
        (_, "number") => own("7"),
        (name, _) if name.ends_with("_strategy") => own("round_robin"),
        (_, "list of host:weight") => own("instance-1:3"),
        (_, "host pattern") => own("?.xyz.us-east-2.rds.amazonaws.com:6000"),
        (_, "list of plugins") => own("efm"),
        ("profile_name", _) => own("B"),
        ("failover_mode", _) => ("STRICT-READER".to_owned(), "strict_reader".to_owned()),
        ("wrapper_dialect", _) => own("aurora-pg"),
        ("endpoint_substitution_role" | "verify_opened_connection_type", _) => own("reader"),
        (_, "text") => own("some-text"),
        (_, "secret") => ("some-text".to_owned(), "***".to_owned()),
        (name, kind) => panic!("no sample for `{name}` of kind {kind}"),
    }
}

#[test]
fn every_setting_acts_under_each_of_its_names_in_each_form() {
    for definition in DEFINITIONS {
        let mut names: Vec<String> = vec![definition.name().to_owned()];
        names.extend(definition.aliases().map(str::to_owned));
        if definition.is_duration() {
            names.extend(["_ms", "_sec"].map(|unit| format!("{}{unit}", definition.name())));
        }
        for name in names {
            let (value, shown) = sample(definition, definition.form_of(&name).unwrap());
            let forms = [
                with(&format!("{name} = '{value}'")),
                parse(&format!("postgres://db.example.com?{name}={value}")),
                Settings::builder().host("db.example.com").set(&name, value.as_str()).build(&KEYS),
            ];
            for settings in forms {
                let settings = settings.unwrap_or_else(|error| panic!("{error}"));
                assert_eq!(settings.show(definition.name()).as_ref(), Some(&shown), "{name}");
                assert_ne!(Settings::default().show(definition.name()), Some(shown.clone()), "{name}");
                let line = format!("\n{} = {shown}  [", definition.name());
                assert!(settings.explain().contains(&line), "{}", settings.explain());
            }
        }
    }
}

#[test]
fn no_name_stands_for_two_settings() {
    let mut names: Vec<String> = ["host", "port", "user", "password", "dbname"].map(str::to_owned).to_vec();
    for definition in DEFINITIONS {
        names.push(definition.name().to_owned());
        names.extend(definition.aliases().map(str::to_owned));
        if definition.is_duration() {
            names.extend(["_ms", "_sec"].map(|unit| format!("{}{unit}", definition.name())));
        }
    }
    names.sort_unstable();
    for pair in names.windows(2) {
        assert_ne!(pair[0], pair[1]);
    }
}

#[test]
fn a_setting_given_twice_is_an_error_that_names_both() {
    for (text, first, second) in [
        ("failover_timeout=1m failover_timeout=1m", "`failover_timeout`", "`failover_timeout`"),
        ("failover_timeout=1m failoverTimeoutMs=60000", "`failover_timeout`", "`failoverTimeoutMs`"),
        ("topology_refresh_ms=1 topology_refresh_sec=1", "`topology_refresh_ms`", "`topology_refresh_sec`"),
        ("dbname=a database=b", "`dbname`", "`database`"),
        ("sslmode=a sslmode=b", "`sslmode`", "`sslmode`"),
        ("tcp_keepalive=true keepalives=1", "`tcp_keepalive`", "`keepalives`"),
    ] {
        let error = error(text);
        assert_eq!(error.kind(), ErrorKind::Config);
        let text = error.to_string();
        assert!(text.contains(first) && text.contains(second) && text.contains("twice"), "{text}");
    }
    let error = Settings::builder()
        .text("postgres://h?failover_timeout=1m")
        .set("failover_timeout", secs(60))
        .build(&KEYS)
        .unwrap_err()
        .to_string();
    assert!(error.contains("(URL)") && error.contains("(builder)"), "{error}");
}

#[test]
fn unknown_names_get_the_nearest_one_and_known_ones_say_that_they_are_to_come() {
    for (name, near) in [
        ("failover_timout", Some("failover_timeout")),
        ("failovertimeout", Some("failover_timeout")),
        ("plugin", Some("plugins")),
        ("ssl_mode", Some("sslmode")),
        ("pasword", Some("password")),
        ("colour", None),
    ] {
        let error = error(&format!("{name}=SECRET"));
        assert_eq!(error.kind(), ErrorKind::Config);
        let text = error.to_string();
        assert!(text.contains(&format!("unknown setting `{name}`")) && !text.contains("SECRET"), "{text}");
        assert_eq!(text.contains("did you mean"), near.is_some(), "{text}");
        assert!(near.is_none_or(|near| text.contains(&format!("did you mean `{near}`?"))), "{text}");
    }
    for (name, part) in [
        ("custom_endpoint_region", "custom endpoints"),
        ("customEndpointRegion", "custom endpoints"),
        ("sslInsecure", "ssl_secure"),
        ("bg_id", "Blue/Green"),
        ("loginTimeout", "connect_timeout"),
        ("topology-monitoring-sslmode", "monitor connections"),
    ] {
        let error = error(&format!("{name}=x"));
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.to_string().contains(name) && error.to_string().contains(part), "{error}");
    }
}

#[test]
fn values_that_are_refused_say_what_is_allowed() {
    for (text, expected) in [
        ("failover_timeout=60", "whole number with a unit"),
        ("failover_timeout=60x", "whole number with a unit"),
        ("failover_timeout=-5s", "whole number with a unit"),
        ("failover_timeout=1.5s", "whole number with a unit"),
        ("failover_timeout=9000h", "at most 365 days"),
        ("failover_timeout=0s", "more than zero"),
        ("failoverTimeoutMs=60s", "the name of the setting says milliseconds"),
        ("failover_timeout_sec=60s", "the name of the setting says seconds"),
        ("connect_timeout=abc", "a whole number of seconds"),
        ("connect_timeout=0", "more than zero"),
        ("failure_detection_interval=0ms", "more than zero"),
        ("failure_detection_count=0", "more than zero"),
        ("failure_detection_count=-1", "a whole number from 0"),
        ("max_monitor_connections=0", "more than zero"),
        ("enable_failover=maybe", "`true` or `false`"),
        ("failover_mode=any", "strict_writer, strict_reader, reader_or_writer"),
        ("wrapper_dialect=oracle", "pg, rds-pg, aurora-pg, global-aurora-pg, rds-multi-az-pg-cluster, mysql"),
        ("reader_host_selector_strategy=best", "random, round_robin, weighted_random"),
        ("round_robin_host_weight_pairs=a", "expected `host:weight`"),
        ("cluster_instance_host_pattern=db.example.com", "expected one `?`"),
        ("cluster_instance_host_pattern=?.proxy-xyz.us-east-2.rds.amazonaws.com", "not of a proxy"),
        (
            "cluster_instance_host_pattern=?.cluster-custom-xyz.us-east-2.rds.amazonaws.com",
            "not of a cluster's",
        ),
        ("cluster_id=''", "a text that is not empty"),
        ("plugins=failover;efm", "separated by commas"),
        ("plugins=failover,failover2", "are the same plugin"),
        ("profile_name=Z9", "known are A0, A1"),
    ] {
        let error = error(text);
        assert_eq!(error.kind(), ErrorKind::Config, "{text}: {error}");
        let shown = error.to_string();
        let name = text.split('=').next().unwrap();
        assert!(shown.contains(expected) && shown.contains(name), "{text}: {shown}");
    }
    let later = error("plugins=failover,limitless");
    assert_eq!(later.kind(), ErrorKind::Unsupported);
    assert!(later.to_string().contains("`limitless`"), "{later}");
    assert_eq!(error("reader_host_selector_strategy=leastConnections").kind(), ErrorKind::Unsupported);
}

#[test]
fn contradictions_name_both_settings() {
    for (text, first, second) in [
        ("topology_high_refresh=1m", "`topology_high_refresh=60s`", "`topology_refresh=30s` (the default)"),
        ("topology_panic_interval=1m", "topology_panic_interval", "topology_refresh"),
        (
            "open_connection_retry_timeout=500ms",
            "open_connection_retry_interval",
            "open_connection_retry_timeout",
        ),
        ("wait_for_initial_topology=1m", "wait_for_initial_topology", "`connect_timeout=10s` (the default)"),
        (
            "open_connection_retry_timeout=30s",
            "`open_connection_retry_timeout=30s`",
            "`connect_timeout=10s` (the default)",
        ),
        (
            "failover_reader_connect_timeout=9s failover_timeout=8s",
            "failover_reader_connect_timeout",
            "failover_timeout",
        ),
        ("enable_connect_failover=true enable_failover=false", "enable_connect_failover", "enable_failover"),
        ("tcp_keepalive=false tcp_keepalive_time=5", "tcp_keepalive_time", "tcp_keepalive=false"),
        ("tcp_keepalive_time=5 keepalives_idle=5", "tcp_keepalive_time", "keepalives_idle"),
        (
            "endpoint_substitution_role=writer verify_opened_connection_type=reader",
            "endpoint_substitution_role",
            "verify_opened_connection_type",
        ),
        (
            "lowest_load_cpu_weight=0 lowest_load_lag_weight=0",
            "lowest_load_cpu_weight",
            "lowest_load_lag_weight",
        ),
    ] {
        let error = error(text);
        assert_eq!(error.kind(), ErrorKind::Config);
        let shown = error.to_string();
        assert!(shown.contains(first) && shown.contains(second), "{text}: {shown}");
    }
}

#[test]
fn a_role_must_fit_the_endpoint() {
    let place = "xyz.us-east-2.rds.amazonaws.com";
    for (prefix, allowed) in [
        ("db.cluster-", &["writer", "none"][..]),
        ("db.cluster-ro-", &["reader", "none"]),
        ("db.cluster-custom-", &["reader", "any", "none"]),
        ("instance-1.", &["none"]),
    ] {
        for role in ["writer", "reader", "any", "none"] {
            let host = format!("{prefix}{place}");
            let result = parse(&format!("host={host} endpoint_substitution_role={role}"));
            match result {
                Ok(_) => assert!(allowed.contains(&role), "{role} on {host}"),
                Err(error) => {
                    assert!(!allowed.contains(&role), "{error}");
                    assert!(error.to_string().contains(&host), "{error}");
                }
            }
        }
    }
}

#[test]
fn hosts_and_ports() {
    let hosts = |text: &str| {
        let settings = parse(text).unwrap();
        settings.hosts().iter().map(|(host, port)| format!("{host} {port}")).collect::<Vec<_>>()
    };
    assert_eq!(hosts("postgres://a,b:1,[::1]:2"), ["a 5432", "b 1", "::1 2"]);
    assert_eq!(hosts("postgres:///db?host=a&port=7"), ["a 7"]);
    assert_eq!(hosts("host=a,b port=1,2"), ["a 1", "b 2"]);
    assert_eq!(hosts("host=a,b port=1"), ["a 1", "b 1"]);
    assert_eq!(hosts("host=a,b port=,2"), ["a 5432", "b 2"]);
    assert_eq!(hosts("host=[::1]"), ["::1 5432"]);
    assert_eq!(hosts("host=fe80::1%eth0"), ["fe80::1%eth0 5432"]);
    assert_eq!(hosts("host=/var/run/postgresql"), ["/var/run/postgresql 5432"]);
    assert_eq!(hosts("hostaddr=10.0.0.1"), ["10.0.0.1 5432"]);
    assert_eq!(hosts("host=a hostaddr=10.0.0.1"), ["a 5432"]);
    for (text, expected) in [
        ("user=app", "no host"),
        ("postgres:///db", "no host"),
        ("", "no host"),
        ("postgres://a?host=b", "hosts are given twice"),
        ("postgres://a:1?port=2", "a port of its own"),
        ("postgres://a,,b", "host 2 is empty"),
        ("host=a,b,c port=1,2", "2 ports for 3 hosts"),
        ("host=a port=x", "1 to 65535"),
        ("host=a port=0", "1 to 65535"),
        ("host='a b'", "holds a space"),
        ("host=a:5432", "give the port as `port`"),
        ("host=app:SECRET@a", "host 1 holds"),
    ] {
        let error = parse(text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(expected), "{text}: {error}");
        assert!(!error.to_string().contains("SECRET"), "{error}");
    }
}

#[test]
fn a_given_value_beats_the_profile_and_the_profile_beats_the_default() {
    let settings = with("profile_name=I0 failure_detection_count=9").unwrap();
    assert_eq!(settings.failure_detection_count, 9);
    assert_eq!(settings.failure_detection_time, secs(60));
    assert_eq!(settings.monitoring_connect_timeout, Some(secs(10)));
    assert_eq!(settings.topology_refresh, secs(30));
    let explained = settings.explain();
    assert!(explained.contains("failure_detection_count = 9  [connection string]"), "{explained}");
    assert!(explained.contains("failure_detection_time = 60s  [profile I0]"), "{explained}");
    assert!(explained.contains("topology_refresh = 30s  [default]"), "{explained}");
}

#[test]
fn every_preset_is_readable_or_says_what_is_missing() {
    for preset in profile::PRESETS {
        let result = with(&format!("profile_name={}", preset.name));
        let is_split = preset.name.starts_with(['D', 'E', 'F']);
        match result {
            Ok(settings) => {
                assert!(!is_split, "{}", preset.name);
                assert_eq!(settings.warnings().len(), usize::from(preset.has_pool), "{}", preset.name);
                for (name, _) in preset.values() {
                    assert!(settings.explain().lines().any(|line| {
                        line.starts_with(&format!("{name} = "))
                            && line.ends_with(&format!("[profile {}]", preset.name))
                    }));
                }
            }
            Err(error) => {
                assert!(is_split, "{error}");
                assert_eq!(error.kind(), ErrorKind::Unsupported);
                let other = format!("SF_{}", preset.name);
                assert!(error.to_string().contains(&other), "{error}");
            }
        }
    }
    // With a list of plugins of one's own the rest of such a preset holds.
    assert_eq!(with("profile_name=D1 plugins=failover").unwrap().connect_timeout, secs(30));
    assert!(with("profile_name=A0").unwrap().plugins.unwrap().names().is_empty());
}

#[test]
fn profiles_of_ones_own() {
    let profiles = || {
        Profiles::new()
            .with("mine", Profile::new().based_on("B").set("connect_timeout", "4s").set("sslmode", "require"))
            .with("B", Profile::new().based_on("B").set("failover_mode", FailoverMode::StrictReader))
            .with("loop-1", Profile::new().based_on("loop-2"))
            .with("loop-2", Profile::new().based_on("loop-1"))
            .with("bad", Profile::new().set("failover_timeout", "1"))
            .with("hosts", Profile::new().set("host", "x"))
            .with("twice", Profile::new().set("failover_timeout", "1s").set("failoverTimeoutMs", "1"))
    };
    let build = |name: &str| {
        Settings::builder().host("h").set("profile_name", name).profiles(profiles()).build(&KEYS)
    };
    let settings = build("mine").unwrap();
    assert_eq!(settings.connect_timeout, secs(4));
    // `B` of one's own stands before the preset, and is based on it.
    assert_eq!(settings.failover_mode, Some(FailoverMode::StrictReader));
    assert_eq!(settings.tcp_keepalive, Some(true));
    assert_eq!(settings.driver_parameter("sslmode").map(ParameterValue::expose), Some("require"));
    for (name, expected) in [
        ("loop-1", "based on itself: loop-1 -> loop-2 -> loop-1"),
        ("bad", "profile `bad`: `failover_timeout=1`"),
        ("hosts", "a profile has no `host`"),
        ("twice", "profile `twice`"),
        ("mime", "did you mean `mine`?"),
    ] {
        let error = build(name).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn what_has_no_effect_is_reported_once() {
    for text in [
        "failover_writer_reconnect_interval_sec=2",
        "rollback_on_switch=false",
        "reset_session_state_on_close=false",
    ] {
        let settings = with(text).unwrap();
        let name = text.split('=').next().unwrap();
        assert_eq!(settings.warnings().len(), 1, "{text}");
        assert!(settings.warnings()[0].contains(&format!("`{name}` has no effect: ")), "{text}");
    }
    let settings = with("plugins=failover failure_detection_time=1s failover_timeout=1s").unwrap();
    assert_eq!(settings.warnings().len(), 1);
    assert!(settings.warnings()[0].contains("`failure_detection_time`"));
    assert!(settings.explain().contains("warning: `failure_detection_time` has no effect"));
    assert!(with("failure_detection_time=1s").unwrap().warnings().is_empty());
}

#[test]
fn secrets_are_never_shown() {
    let url = "postgres://app:hunter2@h/db?application_name=shop";
    let builder = Settings::builder().text(url).set("options", SecretString::from("hunter2"));
    assert!(!format!("{builder:?}").contains("hunter2"));
    let settings = builder.build(&KEYS).unwrap();
    assert_eq!(settings.driver_parameter("password").map(ParameterValue::expose), Some("hunter2"));
    for text in [settings.explain(), format!("{settings:?}")] {
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("shop"), "{text}");
    }
    assert!(settings.explain().contains("driver: password = ***  [URL]"));
    let error = Settings::builder().set("failover_timeout", SecretString::from("hunter2")).build(&KEYS);
    assert!(!error.unwrap_err().to_string().contains("hunter2"));
    for more in
        ["&x=1", "&failover_timeout=1", "&password=hunter2", "&plugins=a,a", "&port=x", "#", "&=", "&%FF=1"]
    {
        let error = parse(&format!("{url}{more}"));
        // `#` is part of the value before it.
        assert_eq!(error.is_err(), more != "#", "{more}");
        assert!(error.is_ok() || !error.unwrap_err().to_string().contains("hunter2"));
    }
}

#[test]
fn explain_lists_every_setting_once() {
    let settings = parse("postgres://u@[::1]:7,b?failover_timeout_sec=60").unwrap();
    let explained = settings.explain();
    assert!(explained.starts_with("host = [::1]:7  [URL]\nhost = b:5432  [URL]\n"), "{explained}");
    assert!(explained.contains("\nfailover_timeout = 60s  [URL, as failover_timeout_sec]\n"), "{explained}");
    assert!(explained.contains("\nplugins = not set: the default set  [default]\n"), "{explained}");
    for definition in DEFINITIONS {
        let start = format!("{} = ", definition.name());
        assert_eq!(explained.lines().filter(|line| line.starts_with(&start)).count(), 1, "{start}");
    }
    // A text that reads like "no value" is a value.
    assert!(with("cluster_id=off").unwrap().explain().contains("cluster_id = off  [connection string]"));
}

#[test]
fn no_text_makes_it_panic() {
    let seeds = [
        "postgres://app:pw@[::1]:5432,b:6000/db%20x?plugins=failover,efm&failover_timeout=60s",
        r"host=a,b port=1,2 user='it\'s' password=x plugins=efm profile_name=I0",
    ];
    let mut random = fastrand::Rng::with_seed(7);
    let mut read = 0;
    for seed in seeds {
        for _ in 0..1000 {
            let mut chars: Vec<char> = seed.chars().collect();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..chars.len());
                match random.u8(..3) {
                    0 => drop(chars.remove(at)),
                    1 => chars.insert(
                        at,
                        random
                            .choice([
                                '@', ':', '/', '?', '&', '=', '%', ',', '[', ']', '\'', '\\', ' ', '#', 'é',
                            ])
                            .unwrap(),
                    ),
                    _ => chars.truncate(at.max(4)),
                }
            }
            let text: String = chars.into_iter().collect();
            read += usize::from(parse(&text).is_ok());
        }
    }
    assert!((1..2_000).contains(&read), "{read}");
}
