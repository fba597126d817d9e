//! What is logged, and above all what is not.

use proptest::prelude::*;
use tracing::{Level, subscriber};
use wrapper_core::observe::catalog::spans::TARGET_LOG_QUERY;
use wrapper_core::plugin::Call;
use wrapper_core::{Error, ErrorKind};

use super::mask::{Syntax, masked, one_line};
use crate::tests::{Driver, Log, Run, World};

fn pg(sql: &str) -> String {
    masked(sql, Syntax::Postgres, 1_000)
}

fn mysql(sql: &str) -> String {
    masked(sql, Syntax::MySql, 1_000)
}

#[test]
fn literals_of_postgres() {
    for (written, logged) in [
        ("SELECT 1", "SELECT ?"),
        ("SELECT $1, t1.c2 FROM t1", "SELECT $1, t1.c2 FROM t1"),
        ("a = 'it''s' AND b = 'x'", "a = ? AND b = ?"),
        (r"E'it\'s', e'\\', 'c'", "E?, e?, ?"),
        ("name'x'", "name?"),
        (r"'a\' OR 'secret'", "?"),
        (r#""Order's" = 'x'"#, r#""Order's" = ?"#),
        (r#""a""b" = 'x'"#, r#""a""b" = ?"#),
        ("$$ it's $$, $tag$ $$ $tag$ x", "?, ? x"),
        ("a$b$c = 'x'", "a$b$c = ?"),
        ("1.5e-7, .5, 0xFF, 1_000, -3", "?, .?, ?, ?, -?"),
        ("a -- 'secret'\n+ b", "a + b"),
        ("a /* 'x' /* nested */ secret */ b", "a b"),
        ("a->>'key' #> 'b'", "a->>? #> ?"),
        ("VALUES\n\t(1,\r\n 2)", "VALUES (?, ?)"),
        ("SELECT 'not closed", "SELECT ?"),
        ("SELECT $x$not closed$y$", "SELECT ?"),
        ("SELECT /* not closed", "SELECT ?"),
        ("SELECT \"not closed", "SELECT ?"),
        ("größe = 'ß' AND é2 = 3", "größe = ? AND é2 = ?"),
        ("", ""),
        ("$", "$"),
    ] {
        assert_eq!(pg(written), logged, "{written}");
    }
}

#[test]
fn literals_of_mysql() {
    for (written, logged) in [
        (r#"a = "it's" AND b = 'say \'x\' '"#, "a = ? AND b = ?"),
        ("`it's` = 'x'", "`it's` = ?"),
        ("a -- secret\n, b --1", "a , b --?"),
        ("a # 'secret\n, b", "a , b"),
        ("a /* x /* y */ b", "a b"),
        ("a = ?", "a = ?"),
    ] {
        assert_eq!(mysql(written), logged, "{written}");
    }
}

#[test]
fn a_text_is_cut_at_a_character() {
    assert_eq!(masked("SELECT ääää", Syntax::Postgres, 10), "SELECT ä…");
    assert_eq!(one_line("a\n\n\tb\u{7}c  d", 100), "a b c d");
    assert_eq!(one_line("abcdef", 3), "abc…");
}

/// A piece of SQL that ends where it seems to, with `SECRET` in every literal.
fn piece() -> impl Strategy<Value = (String, bool)> {
    let quoted = "[a-z '\"$/*-]{0,8}".prop_map(|text| format!("'{}SECRET'", text.replace('\'', "''")));
    let escaped = "[a-z$/*-]{0,8}".prop_map(|text| format!(r"E'{text}\'SECRET'"));
    let dollar =
        ("[a-z]{0,3}", "[a-z '\"/*-]{0,8}").prop_map(|(tag, text)| format!("${tag}${text}SECRET${tag}$"));
    let comment = "[a-z '\"$]{0,8}".prop_map(|text| format!("/* {text} SECRET */"));
    let line = "[a-z '\"$/*]{0,8}".prop_map(|text| format!("-- {text} SECRET\n"));
    let plain = "[a-z_]{1,5}".prop_map(|text| format!("KEEP{text}"));
    prop_oneof![
        quoted.prop_map(|text| (text, false)),
        escaped.prop_map(|text| (text, false)),
        dollar.prop_map(|text| (text, false)),
        comment.prop_map(|text| (text, false)),
        line.prop_map(|text| (text, false)),
        plain.prop_map(|text| (text, true)),
    ]
}

proptest! {
    #[test]
    fn no_literal_gets_through_and_nothing_else_is_lost(pieces in proptest::collection::vec(piece(), 0..12)) {
        let sql: Vec<&str> = pieces.iter().map(|(text, _)| text.as_str()).collect();
        let logged = pg(&sql.join(" "));
        prop_assert!(!logged.contains("SECRET"), "{logged}");
        let kept = pieces.iter().filter(|(_, keep)| *keep).count();
        prop_assert_eq!(logged.matches("KEEP").count(), kept, "{}", logged);
    }

    #[test]
    fn any_text_is_masked_within_its_limit_and_in_one_line(sql in ".{0,200}", limit in 0_usize..300) {
        for syntax in [Syntax::Postgres, Syntax::MySql] {
            let logged = masked(&sql, syntax, limit);
            prop_assert!(logged.len() <= limit + '…'.len_utf8());
            prop_assert!(!logged.contains(|c: char| c.is_control()));
        }
    }

    #[test]
    fn in_masked_text_there_is_nothing_left_to_mask(sql in r#"[a1'"$\\/*#\-\n `e]{0,40}"#) {
        for syntax in [Syntax::Postgres, Syntax::MySql] {
            // `--` begins a comment of MySQL only before a blank, which may be what another comment has left.
            if syntax == Syntax::MySql && sql.contains("--") {
                continue;
            }
            let logged = masked(&sql, syntax, 1_000);
            prop_assert_eq!(masked(&logged, syntax, 1_000), logged);
        }
    }
}

async fn logged(settings: &str, level: Level, error: Option<Error>) -> Log {
    let log = Log::new(level);
    let _guard = subscriber::set_default(log.clone());
    let world = World::new(settings, Vec::new(), Driver::default());
    let session = world.open().await.unwrap();
    let call = Call::new("query").sql("SELECT * FROM t WHERE name = 'Ann' /* why */ AND id = $1");
    let _ = session.call(&call, &Run(error)).await;
    log
}

#[tokio::test(start_paused = true)]
async fn a_call_is_logged_before_it_is_sent() {
    let log = logged("plugins=log_query", Level::DEBUG, None).await;
    let [line] = log.of(TARGET_LOG_QUERY).try_into().unwrap();
    assert_eq!((line.level, line.message.as_str()), (Some(Level::DEBUG), "query"));
    assert_eq!(line.fields["db.query.text"], "SELECT * FROM t WHERE name = ? AND id = $1");
    assert_eq!((line.fields["method"].as_str(), line.fields["in_transaction"].as_str()), ("query", "false"));
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_logged_without_the_servers_words() {
    let error = Error::new(ErrorKind::Statement, "Key (name)=(Ann) already exists").with_sqlstate("23505");
    let log = logged("plugins=logQuery", Level::DEBUG, Some(error)).await;
    let lines = log.of(TARGET_LOG_QUERY);
    assert_eq!((lines.len(), lines[1].fields["sqlstate"].as_str()), (2, "23505"));
    assert!(!format!("{lines:?}").contains("Ann"), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn literals_are_shown_when_that_is_asked_for() {
    let log = logged("plugins=log_query&log_query_literals=true", Level::DEBUG, None).await;
    let text = log.of(TARGET_LOG_QUERY)[0].fields["db.query.text"].clone();
    assert_eq!(text, "SELECT * FROM t WHERE name = 'Ann' /* why */ AND id = $1");
    assert!(logged("plugins=log_query", Level::INFO, None).await.of(TARGET_LOG_QUERY).is_empty());
}
