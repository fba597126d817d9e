//! Runs every example to its end: each checks itself what it shows.
#![allow(
    clippy::disallowed_methods,
    reason = "R8 binds core and plugins; these tests run programs in real time"
)]
#![allow(clippy::expect_used, reason = "a helper that fails ends its test")]

use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

/// No example takes longer.
const LIMIT: Duration = Duration::from_secs(60);

fn start(program: &str, arguments: &[&str]) -> Child {
    let mut command = Command::new(program);
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command.spawn().expect("the program starts")
}

async fn ended(child: Child) -> Output {
    let output = tokio::time::timeout(LIMIT, child.wait_with_output()).await;
    output.expect("the program ends in time").expect("its output can be read")
}

async fn run(program: &str, arguments: &[&str]) -> String {
    let output = ended(start(program, arguments)).await;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program}: {}\n{out}\n{err}", output.status);
    out.into_owned()
}

#[tokio::test]
async fn quickstart() {
    assert!(run(env!("CARGO_BIN_EXE_quickstart"), &[]).await.contains("order 2 is placed on shop-"));
}

#[tokio::test]
async fn mysql_failover() {
    let out = run(env!("CARGO_BIN_EXE_mysql-failover"), &[]).await;
    assert!(out.contains("order 2 is placed on shop-") && out.contains("switched from shop-1"), "{out}");
}

#[tokio::test]
async fn custom_plugin() {
    assert!(run(env!("CARGO_BIN_EXE_custom-plugin"), &[]).await.contains("4 calls, 1 failed"));
}

#[tokio::test]
async fn reader_and_writer() {
    assert!(run(env!("CARGO_BIN_EXE_reader-and-writer"), &[]).await.contains("the reader refuses writes"));
}

#[tokio::test]
async fn sqlx_pool() {
    assert!(run(env!("CARGO_BIN_EXE_sqlx-pool"), &[]).await.contains("orders, none lost"));
}

#[tokio::test]
async fn sqlx_cluster_pool() {
    assert!(run(env!("CARGO_BIN_EXE_sqlx-cluster-pool"), &[]).await.contains("none lost, none half made"));
}

#[tokio::test]
async fn observer() {
    assert!(run(env!("CARGO_BIN_EXE_observer"), &[]).await.contains("switched from shop-1"));
}

#[cfg(feature = "aws")]
#[tokio::test]
async fn iam_pg() {
    assert!(run(env!("CARGO_BIN_EXE_iam-pg"), &[]).await.contains("with a token of its own"));
}

#[cfg(feature = "aws")]
#[tokio::test]
async fn iam_sqlx() {
    let out = run(env!("CARGO_BIN_EXE_iam-sqlx"), &[]).await;
    assert!(out.contains("half an hour later") && out.contains("on the new writer with a token"), "{out}");
}

#[cfg(feature = "aws")]
#[tokio::test]
async fn iam_deadpool() {
    let out = run(env!("CARGO_BIN_EXE_iam-deadpool"), &[]).await;
    assert!(out.contains("hour 3: logged in") && out.contains("each connection was let in"), "{out}");
}

#[cfg(feature = "aws")]
#[tokio::test]
async fn secrets_rotation() {
    let out = run(env!("CARGO_BIN_EXE_secrets-rotation"), &[]).await;
    assert!(out.contains("logged in with the second password"), "{out}");
}

/// Scenario 79: log lines, spans and metrics of a failover.
#[tokio::test]
async fn telemetry() {
    let out = run(env!("CARGO_BIN_EXE_telemetry"), &[]).await;
    let lines: Vec<&str> = out.lines().filter(|line| line.contains(" aws_wrapper::")).collect();
    for (level, target, message) in [
        ("INFO", "aws_wrapper::topology", "searching for the writer"),
        ("INFO", "aws_wrapper::topology", "writer changed"),
        ("INFO", "aws_wrapper::failover", "session switched"),
    ] {
        let is = |line: &&str| line.contains(level) && line.contains(target) && line.contains(message);
        assert!(lines.iter().any(is), "{target}: {message} in:\n{out}");
    }
    assert!(out.contains("# HELP aws_wrapper_failover_duration_seconds"), "metrics are described:\n{out}");
}

fn picture(name: &str) -> String {
    format!("{}/{name}-{}.svg", env!("CARGO_TARGET_TMPDIR"), std::process::id())
}

#[tokio::test]
async fn the_demo_shows_a_failover() {
    let file = picture("demo");
    let out = run(env!("CARGO_BIN_EXE_failover-demo"), &["--dns-lag", "500ms", "--out", &file]).await;
    for expected in ["The wrapper's report:", "switched from shop-1", "acknowledged writes that are lost"] {
        assert!(out.contains(expected), "{expected} is missing in:\n{out}");
    }
    let picture = std::fs::read_to_string(&file).expect("there is a picture");
    assert!(picture.contains("first write") && picture.contains("crash of shop-1"), "{picture}");
    std::fs::remove_file(file).expect("the picture can be removed");
}

#[tokio::test]
async fn the_demo_shows_a_failover_of_mysql() {
    let file = picture("demo-mysql");
    let arguments = ["--engine", "mysql", "--dns-lag", "500ms", "--out", &file];
    let out = run(env!("CARGO_BIN_EXE_failover-demo"), &arguments).await;
    for expected in ["switched from shop-1", "acknowledged writes that are lost", "bare mysql_async"] {
        assert!(out.contains(expected), "{expected} is missing in:\n{out}");
    }
    let picture = std::fs::read_to_string(&file).expect("there is a picture");
    assert!(picture.contains("wrapper-mysql") && picture.contains("crash of shop-1"), "{picture}");
    std::fs::remove_file(file).expect("the picture can be removed");
}

#[tokio::test]
async fn the_demo_says_what_is_wrong() {
    let program = env!("CARGO_BIN_EXE_failover-demo");
    for (arguments, status, expected) in [
        (&["--cluster", "aurora"][..], 2, "expected sim, postgres or mysql"),
        (&["--out", "/nowhere/at/all.svg"][..], 1, "name another file"),
        (&["--engine", "mysql", "--cluster", "postgres"][..], 2, "leave --engine out"),
        (&["--url", "mysql://app@db.invalid:1/shop", "--seconds", "1"][..], 1, "could not be made"),
        (&["--url", "postgres://app@db.invalid:1/shop", "--seconds", "1"][..], 1, "could not be made"),
    ] {
        let picture = picture("wrong");
        let mut arguments = arguments.to_vec();
        if !arguments.contains(&"--out") {
            arguments.extend(["--out", &picture]);
        }
        let output = ended(start(program, &arguments)).await;
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {err}");
        assert!(err.contains(expected), "{arguments:?}: {err}");
        // May not exist: the command line was wrong before a picture was thought of.
        let _ = std::fs::remove_file(&picture);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn an_interrupt_ends_the_demo_in_good_order() {
    let file = picture("interrupted");
    let child = start(env!("CARGO_BIN_EXE_failover-demo"), &["--dns-lag", "60s", "--out", &file]);
    let process = child.id().expect("it runs").to_string();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let interrupted = Instant::now();
    let sent = Command::new("kill").args(["-INT", &process]).status().await.expect("kill is there");
    assert!(sent.success());
    let output = ended(child).await;
    assert!(interrupted.elapsed() < Duration::from_secs(10), "it ended after {:?}", interrupted.elapsed());
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && out.contains("acknowledged writes"), "{}\n{out}", output.status);
    std::fs::remove_file(file).expect("there is a picture of what there was");
}
