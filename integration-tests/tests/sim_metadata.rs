//! The wrapper's own statements on the simulated cluster: what each flavour is taken for, and what it answers.
#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "tests: R8 binds core and plugins")]

use integration_tests::sim::{Flavour, SimCluster};
use wrapper_core::dialect::{DETECTION_SQL, DialectId, dialect_for};

async fn cluster(flavour: Flavour) -> SimCluster {
    SimCluster::builder().flavour(flavour).start().await.expect("the cluster starts")
}

/// Every statement of a dialect is answered, on the flavour that it is for.
#[tokio::test(flavor = "multi_thread")]
async fn each_flavour_answers_the_statements_of_its_dialect() {
    for (flavour, dialect) in [
        (Flavour::Plain, DialectId::Pg),
        (Flavour::Aurora, DialectId::AuroraPg),
        (Flavour::MultiAz, DialectId::RdsMultiAzPgCluster),
    ] {
        let cluster = cluster(flavour).await;
        let dialect = dialect_for(dialect).expect("there is such a dialect");
        let topology = dialect.topology_query();
        for statement in
            [Some(DETECTION_SQL), Some(dialect.role_query()), Some(dialect.status_query()), topology]
        {
            let Some(statement) = statement else { continue };
            let rows = cluster.sql(statement).await.unwrap_or_else(|error| {
                panic!("{flavour:?}: {error}\n{statement}");
            });
            let expected = if Some(statement) == topology { 3 } else { 1 };
            assert_eq!(rows.len(), expected, "{flavour:?}: {rows:?}\n{statement}");
            println!("{flavour:?} {rows:?}");
        }
        cluster.shutdown().await;
    }
}
