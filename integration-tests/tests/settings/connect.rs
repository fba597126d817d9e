//! The settings of opening a session.

use wrapper_core::ErrorKind;

use crate::script::{
    DETECTED, Health, PLACE, Script, What, about, instance, ms, open, reader_endpoint, secs, work,
    writer_endpoint,
};

/// The time that a failing connect took, and its error's text.
async fn refused(
    script: &Script,
    connector: &wrapper_core::connector::ConnectorCore,
) -> (std::time::Duration, String) {
    let began = script.now();
    let error = open(connector).await.expect_err("no host to be opened");
    (script.now() - began, error.to_string())
}

#[tokio::test(start_paused = true)]
async fn connect_timeout_bounds_a_cold_connect_to_a_silent_host() {
    for health in [Health::Silent, Health::Mute] {
        let script = Script::new(2);
        script.all(health);
        let connector = script.connector("connect_timeout=4 auxiliary_query_timeout=20s");
        let (took, error) = refused(&script, &connector).await;
        assert!(about(took, secs(4)), "{took:?}: {error}");
        assert!(error.contains("`connect_timeout`"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn connect_timeout_bounds_a_warm_connect_however_often_it_is_tried() {
    for (health, text) in [
        (Health::Silent, "connect_timeout=4"),
        (Health::Mute, "connect_timeout=4 auxiliary_query_timeout=20s"),
        (Health::Down, "connect_timeout=4"),
        (Health::Silent, "connect_timeout=4 plugins=failover,efm"),
    ] {
        let script = Script::new(3);
        let connector = script.connector(text);
        let first = open(&connector).await.expect("all is well");
        script.all(health);
        let (took, error) = refused(&script, &connector).await;
        let endpoint_alone = text.contains("plugins");
        assert!(took <= secs(4) + ms(50), "{health:?} {text}: {took:?} {error}");
        assert!(took >= ms(3500), "{health:?} {text}: it was not tried again: {took:?} {error}");
        assert!(error.contains("`connect_timeout"), "{health:?} {text}: {error}");
        let tried = script.session_connects().len() - 1;
        assert!(endpoint_alone == (tried == 1), "{health:?} {text}: {tried} attempts");
        drop(first);
    }
}

#[tokio::test(start_paused = true)]
async fn connect_timeout_leaves_time_for_the_host_that_has_taken_a_silent_ones_place() {
    let script = Script::new(3);
    let connector = script.connector("connect_timeout=10");
    let first = open(&connector).await.expect("all is well");
    script.health("i1", Health::Silent);
    script.promote("i2");
    let began = script.now();
    let second = open(&connector).await.expect("the new writer");
    assert_eq!(work(&second, ms(1)).await.expect("a call"), "i2");
    assert!(script.now() - began < secs(6), "{:?}", script.now() - began);
    drop(first);
}

#[tokio::test(start_paused = true)]
async fn enable_connect_failover_adds_a_failover_of_its_own_time() {
    let script = Script::new(2);
    let text = "connect_timeout=3 failover_timeout=20s plugins=failover";
    for (extra, succeeds) in [("", false), (" enable_connect_failover=true", true)] {
        script.promote("i1");
        script.all(Health::Up);
        let connector = script.connector(&format!("{text}{extra}"));
        let first = open(&connector).await.expect("all is well");
        // Nobody is the writer for longer than one connect may take.
        script.health("i1", Health::Silent);
        script.no_writer();
        let began = script.now();
        let promotion = async {
            tokio::time::sleep(secs(9)).await;
            script.promote("i2");
        };
        let (opened, ()) = tokio::join!(open(&connector), promotion);
        let took = script.now() - began;
        match opened {
            Ok(client) => {
                assert!(succeeds && took < secs(12), "{took:?}");
                assert_eq!(work(&client, ms(1)).await.expect("a call"), "i2");
            }
            Err(error) => assert!(!succeeds && error.to_string().contains("`connect_timeout`"), "{error}"),
        }
        // Both times over: typed, and bounded by their sum.
        script.all(Health::Silent);
        let (took, error) = refused(&script, &connector).await;
        let bound = if succeeds { secs(23) } else { secs(3) };
        assert!(about(took, bound), "{took:?}: {error}");
        assert!(!succeeds || error.contains("`failover_timeout`"), "{error}");
        drop(first);
    }
}

#[tokio::test(start_paused = true)]
async fn enable_connect_failover_works_inside_the_initial_connection() {
    let script = Script::new(2);
    let connector = script.connector("connect_timeout=2 failover_timeout=20s enable_connect_failover=true");
    let first = open(&connector).await.expect("all is well");
    script.health("i1", Health::Silent);
    script.no_writer();
    let promotion = async {
        tokio::time::sleep(secs(9)).await;
        script.promote("i2");
    };
    let (opened, ()) = tokio::join!(open(&connector), promotion);
    assert_eq!(work(&opened.expect("the new writer"), ms(1)).await.expect("a call"), "i2");
    drop(first);
}

#[tokio::test(start_paused = true)]
async fn open_connection_retry_timeout_bounds_all_attempts() {
    let script = Script::new(3);
    script.no_writer();
    let connector = script.connector("connect_timeout=10 open_connection_retry_timeout=2s");
    let (took, error) = refused(&script, &connector).await;
    assert!(about(took, secs(2)), "{took:?}");
    assert!(error.contains("2s, the value of `open_connection_retry_timeout`"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn open_connection_retry_interval_is_the_pause_between_attempts() {
    for (interval, wanted) in [("500ms", 8..=16), ("2s", 2..=4)] {
        // The topology calls it a reader, the server itself is the writer.
        let script = Script::new(2);
        script.edit("i2", |node| node.writer = true);
        let connector = script.connector(&format!(
            "host={} connect_timeout=5 open_connection_retry_interval={interval}",
            reader_endpoint()
        ));
        refused(&script, &connector).await;
        let attempts = script.session_connects().len();
        assert!(wanted.contains(&attempts), "{interval}: {attempts} attempts");
    }
}

#[tokio::test(start_paused = true)]
async fn wait_for_initial_topology_lets_the_first_connect_go_to_an_instance() {
    for (text, wanted) in [("", writer_endpoint()), ("wait_for_initial_topology=2s", instance("i1"))] {
        let script = Script::new(2);
        // Without it a monitor would have to ask what kind of database this is.
        let connector = script.connector(text);
        open(&connector).await.expect("all is well");
        assert_eq!(script.session_connects()[0], wanted, "{text}");
    }
    // Bounded: with nobody to tell the topology, the endpoint is dialled after that time.
    let script = Script::new(2);
    script.all(Health::Silent);
    let connector = script.connector("wait_for_initial_topology=2s connect_timeout=5");
    refused(&script, &connector).await;
    let first = script.logged(secs(0), |entry| matches!(entry.what, What::Connect { session: true, .. }));
    assert!(about(first[0].at, secs(2)), "{:?}", first[0].at);
}

#[tokio::test(start_paused = true)]
async fn endpoint_substitution_role_decides_which_instance_replaces_an_endpoint() {
    for (host, role, wanted) in [
        (writer_endpoint(), "", instance("i1")),
        (writer_endpoint(), "endpoint_substitution_role=none", writer_endpoint()),
        (reader_endpoint(), "", instance("i2")),
        (reader_endpoint(), "endpoint_substitution_role=none", reader_endpoint()),
    ] {
        let script = Script::new(2);
        let connector = script.connector(&format!("host={host} {role}"));
        let first = open(&connector).await.expect("cold");
        let second = open(&connector).await.expect("warm");
        assert_eq!(script.session_connects()[1], wanted, "{host} {role}");
        drop((first, second));
    }
}

#[tokio::test(start_paused = true)]
async fn verify_opened_connection_type_refuses_the_other_role() {
    let script = Script::new(2);
    for (id, role, fits) in
        [("i1", "writer", true), ("i1", "reader", false), ("i2", "reader", true), ("i1", "none", true)]
    {
        let host = instance(id);
        let connector =
            script.connector(&format!("host={host} verify_opened_connection_type={role} connect_timeout=2"));
        match open(&connector).await {
            Ok(_) => assert!(fits, "{id} {role}"),
            Err(error) => {
                assert!(!fits, "{id} {role}: {error}");
                assert!(error.to_string().contains(&format!("but a {role} was asked for")), "{error}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn auxiliary_query_timeout_bounds_a_question_of_the_library() {
    let script = Script::new(2);
    script.all(Health::Mute);
    let connector = script.connector("auxiliary_query_timeout=2s connect_timeout=10");
    let (took, error) = refused(&script, &connector).await;
    assert!(about(took, secs(2)), "{took:?}");
    assert!(error.contains("2s, the value of `auxiliary_query_timeout`"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn socket_timeout_gives_a_call_up_and_closes_its_connection() {
    let script = Script::new(1);
    for (text, gives_up) in [("", false), ("socket_timeout=2", true)] {
        let connector = script.connector(&format!("plugins=none {text}"));
        let client = open(&connector).await.expect("all is well");
        let began = script.now();
        match work(&client, secs(60)).await {
            Ok(_) => assert!(!gives_up),
            Err(error) => {
                assert!(gives_up && about(script.now() - began, secs(2)), "{error}");
                assert_eq!(error.kind(), ErrorKind::Timeout);
                assert!(error.to_string().contains("`socket_timeout`"), "{error}");
                assert!(client.is_closed());
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn wrapper_dialect_leaves_the_question_for_it_out() {
    for (text, questions) in [("wrapper_dialect=aurora-pg", 0), (DETECTED, 1)] {
        let script = Script::new(2);
        let connector = script.connector(text);
        open(&connector).await.expect("all is well");
        let asked = script.logged(secs(0), |entry| entry.what == What::Detection).len();
        assert_eq!(asked, questions, "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn profile_name_gives_the_values_of_a_profile() {
    let script = Script::new(2);
    script.all(Health::Silent);
    // It has no plugins, and 3 s for a connect.
    let connector = script.connector("profile_name=A2");
    let (took, error) = refused(&script, &connector).await;
    assert!(about(took, secs(3)), "{took:?}: {error}");
    assert!(connector.explain().contains("connect_timeout = 3s  [profile A2]"), "{}", connector.explain());
}

#[tokio::test(start_paused = true)]
async fn cluster_instance_host_pattern_makes_the_names_of_instances() {
    let script = Script::new(2);
    script.alias("db.example.com", "i1");
    let without = script.connector("host=db.example.com");
    let error = open(&without).await.expect_err("nobody knows the names").to_string();
    assert!(error.contains("`cluster_instance_host_pattern` is not set"), "{error}");
    let connector = script.connector(&format!(
        "host=db.example.com cluster_instance_host_pattern=?.{PLACE}:6000 endpoint_substitution_role=writer"
    ));
    let first = open(&connector).await.expect("cold");
    open(&connector).await.expect("warm");
    assert_eq!(script.session_connects().last(), Some(&instance("i1")));
    let hosts = connector.cluster().topology().expect("known").topology;
    assert!(hosts.hosts().iter().all(|host| host.port() == 6000), "{hosts}");
    drop(first);
}

#[tokio::test(start_paused = true)]
async fn of_several_hosts_the_first_one_that_can_be_used_is_taken() {
    let list = format!("host={},{},{} wrapper_dialect=pg", instance("i1"), instance("i2"), instance("i3"));
    for (health, limit) in [(Health::Down, secs(1)), (Health::Silent, secs(4)), (Health::Mute, secs(4))] {
        let script = Script::new(3);
        script.health("i1", health);
        let connector = script.connector(&format!("{list} connect_timeout=9 plugins=failover,efm"));
        let began = script.now();
        let session = open(&connector).await.expect("the second host can be used");
        assert_eq!(session.load().host.host(), instance("i2"), "{health:?}");
        let took = script.now() - began;
        assert!(took <= limit, "{health:?}: {took:?}, where a third of the time is the first one's");
    }

    let script = Script::new(3);
    script.all(Health::Silent);
    let connector = script.connector(&format!("{list} connect_timeout=9 plugins=failover,efm"));
    let (took, error) = refused(&script, &connector).await;
    assert!(about(took, secs(9)), "{took:?}: {error}");
    assert!(error.contains("connect_timeout"), "{error}");
}
