use super::*;
use crate::tap::script::Script;

fn idle() -> Script {
    Script::started(&[("TimeZone", "Etc/UTC"), ("application_name", "app")])
}

fn after(script: &Script, sql: &[&str]) -> Vec<String> {
    let mut state = SessionState::default();
    for sql in sql {
        state.observe(sql, script.probe());
    }
    state.statements(script.probe())
}

#[test]
fn the_last_value_counts_and_order_is_kept() {
    let script = idle();
    assert_eq!(after(&script, &["SET a = 1", "SET b = 2", "SET a = 3"]), ["SET b = 2", "SET a = 3"]);
    assert_eq!(after(&script, &["SET a = 1; SET b = 2; RESET a"]), ["SET b = 2"]);
    assert_eq!(after(&script, &["SET a = 1", "SET ROLE r", "RESET ALL"]), ["SET ROLE r"]);
    assert!(after(&script, &["SET a = 1", "SET ROLE r", "DISCARD ALL"]).is_empty());
}

#[test]
fn who_the_session_is_comes_last() {
    let script = idle();
    let sql = ["SET ROLE r", "SET SESSION AUTHORIZATION bob", "SET ROLE s", "SET a = 1"];
    assert_eq!(after(&script, &sql), ["SET a = 1", "SET SESSION AUTHORIZATION bob", "SET ROLE s"]);
    assert_eq!(
        after(&script, &["SET ROLE r", "SET SESSION AUTHORIZATION bob"]),
        ["SET SESSION AUTHORIZATION bob"]
    );
}

#[test]
fn what_the_server_reports_is_taken_from_it() {
    let mut script = idle();
    assert!(after(&script, &["SET TIME ZONE 'Asia/Tokyo'"]).is_empty(), "the server did not report it");
    script.report("TimeZone", "it's\\");
    script.ready(b'I');
    assert_eq!(after(&script, &[]), ["SELECT pg_catalog.set_config('TimeZone', E'it''s\\\\', false)"]);
    script.report("TimeZone", "Etc/UTC");
    script.ready(b'I');
    assert!(after(&script, &[]).is_empty(), "back at its first value");
}

#[test]
fn a_transaction_decides_about_what_was_set_in_it() {
    for (commit, kept) in [("COMMIT", true), ("ROLLBACK", false)] {
        let mut script = idle();
        let mut state = SessionState::default();
        state.observe("SET a = 1", script.probe());
        script.query("BEGIN", "BEGIN", b'T');
        script.query("SET a = 2", "SET", b'T');
        state.observe("SET a = 2", script.probe());
        assert_eq!(state.statements(script.probe()), ["SET a = 1"], "a loss now rolls it back");
        // The tag decides: a COMMIT of a failed transaction is answered with ROLLBACK.
        script.query("COMMIT", commit, b'I');
        let expected = if kept { ["SET a = 2"] } else { ["SET a = 1"] };
        assert_eq!(state.statements(script.probe()), expected);
    }
}

#[test]
fn a_savepoint_takes_back_what_came_after_it() {
    let mut script = idle();
    let mut state = SessionState::default();
    script.query("BEGIN", "BEGIN", b'T');
    for sql in ["SET a = 1", "SAVEPOINT s", "SET b = 2", "ROLLBACK TO SAVEPOINT s", "SET c = 3"] {
        script.query(sql, sql.split(' ').next().unwrap_or_default(), b'T');
        state.observe(sql, script.probe());
    }
    script.query("COMMIT", "COMMIT", b'I');
    assert_eq!(state.statements(script.probe()), ["SET a = 1", "SET c = 3"]);
}

#[test]
fn a_text_with_its_own_transactions_is_followed() {
    let script = idle();
    assert_eq!(after(&script, &["BEGIN; SET a = 1; ROLLBACK; SET b = 2"]), ["SET b = 2"]);
    assert_eq!(after(&script, &["BEGIN; SET a = 1; COMMIT"]), ["SET a = 1"]);
    assert!(after(&script, &["BEGIN; SET LOCAL a = 1; COMMIT"]).is_empty());
}

#[test]
fn what_set_config_sets_is_kept_until_it_is_reset() {
    let script = idle();
    let set = "SELECT set_config('my.tenant', '7', false)";
    assert_eq!(after(&script, &[set]), ["SELECT pg_catalog.set_config('my.tenant', '7', false)"]);
    for reset in ["RESET my.tenant", "RESET ALL", "DISCARD ALL", "SET my.tenant TO DEFAULT"] {
        assert!(after(&script, &[set, reset]).is_empty(), "{reset}");
    }
    assert!(
        SessionState::concerns(set)
            && SessionState::concerns("  select\n pg_catalog.Set_Config('a', 'b', false)")
    );
    assert!(!SessionState::concerns("SELECT a FROM set_config"));
    assert!(!SessionState::concerns("SELECT sé"));
}

#[test]
fn channels_are_listened_to_again_until_they_are_given_up() {
    let script = idle();
    let listens = |sql: &[&str]| {
        let mut state = SessionState::default();
        for sql in sql {
            state.observe(sql, script.probe());
        }
        assert!(state.statements(script.probe()).iter().all(|sql| !sql.contains("LISTEN")));
        state.listens(script.probe())
    };
    assert_eq!(
        listens(&["LISTEN jobs", "LISTEN \"Mail\"", "SET a = 1", "RESET ALL"]),
        ["LISTEN jobs", "LISTEN \"Mail\""]
    );
    assert_eq!(listens(&["LISTEN jobs", "LISTEN mail", "UNLISTEN jobs"]), ["LISTEN mail"]);
    assert!(listens(&["LISTEN jobs", "UNLISTEN *"]).is_empty());
    assert!(listens(&["LISTEN jobs", "DISCARD ALL"]).is_empty());
    let mut next = SessionState::default();
    next.remember("LISTEN jobs; LISTEN mail");
    next.observe("UNLISTEN jobs", script.probe());
    assert_eq!(next.listens(script.probe()), ["LISTEN mail"], "left out on a reader, and remembered");
}

/// A call that sends `sql` and is dropped, and what the server says right behind it; `None` when it refuses to.
fn give_up(state: &mut SessionState, script: &Script, sql: &str, told: Option<Told>) {
    let question = state.doubt(sql, script.probe());
    assert!(question.is_some(), "nothing is asked after {sql}");
    state.doubts.last_mut().unwrap().answered_by(Box::pin(std::future::ready(told)));
}

fn told(inside: bool, settings: &[(&str, Option<&str>)], channels: &[&str]) -> Option<Told> {
    let settings =
        settings.iter().map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned))).collect();
    Some(Told { inside, settings, channels: channels.iter().map(|name| (*name).to_owned()).collect() })
}

const A_IS_2: &str = "SELECT pg_catalog.set_config('a', '2', false)";

#[test]
fn what_a_dropped_call_has_set_is_what_the_server_says() {
    let script = idle();
    let cases: [(&str, Option<Told>, &[&str]); 5] = [
        ("SET a = 2", told(false, &[("a", Some("2"))], &[]), &[A_IS_2]),
        ("RESET a", told(false, &[("a", None)], &[]), &[]),
        ("DISCARD ALL", told(false, &[("a", None)], &[]), &[]),
        // It had failed: the value is as it was.
        (
            "SET a = wrong",
            told(false, &[("a", Some("1"))], &[]),
            &["SELECT pg_catalog.set_config('a', '1', false)"],
        ),
        ("SET a = 2", None, &["SET a = 1"]),
    ];
    for (sql, answer, expected) in cases {
        let mut state = SessionState::default();
        state.observe("SET a = 1", script.probe());
        give_up(&mut state, &script, sql, answer);
        assert_eq!(state.statements(script.probe()), expected, "{sql}");
        // What comes later counts, whenever the answer is looked at.
        give_up(&mut state, &script, "SET a = 2", told(false, &[("a", Some("2"))], &[]));
        state.observe("SET a = 3", script.probe());
        assert_eq!(state.statements(script.probe()), ["SET a = 3"]);
    }
    // Without an answer yet, it is as if nothing had been sent.
    let mut state = SessionState::default();
    state.observe("SET a = 1", script.probe());
    assert!(state.doubt("SET a = 2", script.probe()).is_some());
    state.doubts[0].answered_by(Box::pin(std::future::pending()));
    assert_eq!(state.statements(script.probe()), ["SET a = 1"]);
}

#[test]
fn a_transaction_decides_about_what_a_dropped_call_has_set_in_it() {
    for early in [true, false] {
        for (commit, kept) in [("COMMIT", true), ("ROLLBACK", false)] {
            let mut script = idle();
            let mut state = SessionState::default();
            state.observe("SET a = 1", script.probe());
            script.query("BEGIN", "BEGIN", b'T');
            give_up(&mut state, &script, "SET a = 2", told(true, &[("a", Some("2"))], &[]));
            give_up(&mut state, &script, "LISTEN jobs", told(true, &[], &[]));
            if early {
                assert_eq!(state.statements(script.probe()), ["SET a = 1"], "a loss now rolls it back");
            }
            script.query("COMMIT", commit, b'I');
            let (set, listens): (&str, &[&str]) =
                if kept { (A_IS_2, &["LISTEN jobs"]) } else { ("SET a = 1", &[]) };
            assert_eq!(state.statements(script.probe()), [set]);
            assert_eq!(state.listens(script.probe()), listens);
        }
    }
}

#[test]
fn channels_of_dropped_calls_are_those_that_the_server_lists() {
    let script = idle();
    let mut state = SessionState::default();
    give_up(&mut state, &script, "LISTEN \"Jobs\"", told(false, &[], &["Jobs"]));
    give_up(&mut state, &script, "LISTEN mail", told(false, &[], &["Jobs"]));
    assert_eq!(state.listens(script.probe()), ["LISTEN \"Jobs\""], "the second one had failed");
    give_up(&mut state, &script, "UNLISTEN *", told(false, &[], &[]));
    assert!(state.listens(script.probe()).is_empty());
}

#[test]
fn nothing_is_asked_after_a_text_that_sets_nothing() {
    let script = idle();
    let mut state = SessionState::default();
    for sql in ["COMMIT", "ROLLBACK", "SAVEPOINT s", "SELECT 1; SELECT 2", "SET LOCAL a = 1", "RESET ALL"] {
        assert_eq!(state.doubt(sql, script.probe()), None, "{sql}");
    }
    let question = state.doubt("SET \"it's\\\" = 1; LISTEN x", script.probe()).unwrap();
    assert!(question.contains("E'it''s\\\\'") && question.contains("pg_listening_channels"), "{question}");
}
