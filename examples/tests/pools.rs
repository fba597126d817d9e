//! Runs every example of a pool to its end: each checks itself that no acknowledged order is lost in a failover.
#![allow(
    clippy::disallowed_methods,
    reason = "R8 binds core and plugins; these tests run programs in real time"
)]
#![allow(clippy::expect_used, reason = "a helper that fails ends its test")]

use std::time::Duration;

use tokio::process::Command;

/// No example takes longer.
const LIMIT: Duration = Duration::from_secs(60);

async fn run(program: &str, arguments: &[&str]) {
    let mut command = Command::new(program);
    command.args(arguments).kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT, command.output()).await;
    let output = output.expect("the program ends in time").expect("the program starts");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program}: {}\n{out}\n{err}", output.status);
    assert!(out.contains("orders, none lost"), "{out}");
}

#[tokio::test]
async fn deadpool() {
    run(env!("CARGO_BIN_EXE_pools"), &["deadpool"]).await;
}

#[tokio::test]
async fn bb8() {
    run(env!("CARGO_BIN_EXE_pools"), &["bb8"]).await;
}

#[tokio::test]
async fn deadpool_postgres() {
    run(env!("CARGO_BIN_EXE_pools"), &["deadpool-postgres"]).await;
}

#[tokio::test]
async fn mysql_deadpool() {
    run(env!("CARGO_BIN_EXE_mysql-pools"), &["deadpool"]).await;
}

#[tokio::test]
async fn mysql_bb8() {
    run(env!("CARGO_BIN_EXE_mysql-pools"), &["bb8"]).await;
}

#[tokio::test]
async fn diesel_async() {
    run(env!("CARGO_BIN_EXE_diesel-pool"), &[]).await;
}

#[tokio::test]
async fn sea_orm() {
    run(env!("CARGO_BIN_EXE_sea-orm-pool"), &[]).await;
}
