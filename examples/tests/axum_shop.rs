//! Runs the web service to its end: it checks itself that no acknowledged order is lost.
#![allow(
    clippy::disallowed_methods,
    reason = "R8 binds core and plugins; this test runs a program in real time"
)]

use std::time::Duration;

use tokio::process::Command;

/// The program takes no longer.
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn the_shop_takes_orders_through_a_failover() {
    let picture = format!("{}/axum-shop-{}.svg", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    let mut command = Command::new(env!("CARGO_BIN_EXE_axum-shop"));
    command.args(["--out", &picture]).kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT, command.output()).await;
    let output = output.expect("the program ends in time").expect("the program starts");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    for expected in ["the writer is shop-1", "nothing of it is left", ", 0 of them lost"] {
        assert!(out.contains(expected), "{expected} is missing in:\n{out}");
    }
    let drawn = std::fs::read_to_string(&picture).expect("there is a picture");
    assert!(drawn.contains("no writer") && drawn.contains("</svg>"), "{drawn}");
    std::fs::remove_file(picture).expect("the picture can be removed");
}
