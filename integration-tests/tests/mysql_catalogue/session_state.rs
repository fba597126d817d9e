//! Session state over a switch.

use wrapper_mysql::Conn;

use crate::support::{STEP, aurora, connect, connector, end, failed, moved};

/// What the tests look at, in one row of text.
async fn settings(session: &mut Conn) -> Vec<String> {
    let sql = "SELECT DATABASE(), @@autocommit, @@time_zone, @@character_set_client, @@collation_connection";
    let row: Option<(String, String, String, String, String)> =
        session.query_first(sql).await.expect("the settings");
    let (database, autocommit, zone, characters, collation) = row.expect("a row");
    vec![database, autocommit, zone, characters, collation]
}

/// Isolation and read-only by their effect, whatever a server calls the variables.
async fn variable(session: &mut Conn, names: [&str; 2]) -> String {
    for name in names {
        let sql = format!("SHOW VARIABLES LIKE '{name}'");
        if let Some((_, value)) = session.query_first::<(String, String), _>(sql).await.expect("a variable") {
            return value;
        }
    }
    panic!("none of {names:?}")
}

/// Scenarios 29, 30 and 33: what a session has set is in force after a planned switchover and after a crash; what
/// failed, was undone or was meant for one transaction is not; another session has the server's defaults.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_session_has_set_is_carried_over() {
    const ISOLATION: [&str; 2] = ["tx_isolation", "transaction_isolation"];
    const READ_ONLY: [&str; 2] = ["tx_read_only", "transaction_read_only"];
    let cluster = aurora().await;
    let connector = connector(&cluster);
    let (mut session, mut other) = (connect(&connector).await, connect(&connector).await);
    let defaults = settings(&mut other).await;
    let isolation = variable(&mut other, ISOLATION).await;
    for text in [
        "USE information_schema",
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "SET time_zone = '+09:00'",
        "SET NAMES latin1",
        "SET autocommit = 0",
        // For one transaction only.
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "COMMIT",
        "SET SESSION TRANSACTION READ ONLY",
    ] {
        session.query_drop(text).await.unwrap_or_else(|error| panic!("{text}: {error}"));
    }
    for wrong in ["SET time_zone = 'nowhere'", "SET NAMES klingon", "USE missing"] {
        failed(session.query_drop(wrong).await, wrong);
    }
    let set = settings(&mut session).await;
    assert_eq!(set[..4], ["information_schema", "0", "+09:00", "latin1"].map(str::to_owned));

    for planned in [true, false] {
        // An answer without autocommit begins a transaction, and one would be lost.
        session.query_drop("COMMIT").await.expect("ended");
        if planned {
            cluster.planned_switchover(cluster.readers()[0]).await.expect("switched over");
            cluster.rejoin(cluster.readers()[0]).await.ok();
        } else {
            cluster.fail_over().await.expect("failed over");
        }
        moved(&mut session).await;
        assert_eq!(settings(&mut session).await, set, "planned: {planned}");
        assert_eq!(variable(&mut session, ISOLATION).await, "READ-COMMITTED", "planned: {planned}");
        assert_eq!(variable(&mut session, READ_ONLY).await, "ON", "planned: {planned}");
        moved(&mut other).await;
        assert_eq!(settings(&mut other).await, defaults, "another session");
        assert_eq!(variable(&mut other, ISOLATION).await, isolation, "another session");
        if planned {
            for node in cluster.nodes() {
                // The old writer stays away until told.
                cluster.rejoin(node).await.ok();
            }
            cluster.wait_until_healthy(STEP).await.expect("healthy again");
        }
    }
    let mut fresh = connect(&connector).await;
    assert_eq!(settings(&mut fresh).await, defaults, "a new session");
    end(connector).await;
}
