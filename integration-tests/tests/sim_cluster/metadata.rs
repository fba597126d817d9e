//! What the flavours say of themselves: topology, detection, writer.

use std::time::Duration;

use integration_tests::sim::{Flavour, RdsTools, SimCluster};
use tokio_postgres::{Client, Error};

use crate::{Result, cluster, connect, failed, state};

const AURORA_TOPOLOGY: &str = "\
    SELECT server_id, session_id OPERATOR(pg_catalog.=) 'MASTER_SESSION_ID' AS is_writer, cpu, \
           COALESCE(replica_lag_in_msec, 0), last_update_timestamp, \
           (SELECT pg_catalog.aurora_db_instance_identifier()) \
    FROM pg_catalog.aurora_replica_status() \
    WHERE EXTRACT(EPOCH FROM (pg_catalog.now() OPERATOR(pg_catalog.-) last_update_timestamp)) <= 300 \
       OR session_id = 'MASTER_SESSION_ID' OR last_update_timestamp IS NULL \
    ORDER BY last_update_timestamp";

async fn aurora_writers(client: &Client) -> Result<Vec<String>, Error> {
    let rows = client.query(AURORA_TOPOLOGY, &[]).await?;
    assert_eq!(rows.len(), 3);
    Ok(rows.iter().filter(|row| row.get::<_, bool>(1)).map(|row| row.get(0)).collect())
}

#[tokio::test]
async fn aurora_nodes_show_the_topology_also_a_stale_one() -> Result<()> {
    let cluster = cluster().await?;
    let reader = connect(&cluster, 2).await?;
    assert_eq!(aurora_writers(&reader).await?, ["shop-1"]);
    let own: String = reader.query_one("SELECT aurora_db_instance_identifier()", &[]).await?.get(0);
    assert_eq!(own, "shop-3");
    cluster.delay_topology(&[2], Duration::from_secs(60))?;
    cluster.fail_over().await?;
    assert_eq!(aurora_writers(&reader).await?, ["shop-1"], "stale");
    cluster.heal(2).await?;
    assert_eq!(aurora_writers(&reader).await?, ["shop-2"]);
    Ok(())
}

/// One statement that tells the flavours apart without an error.
const DETECTION: &str = "\
    SELECT pg_catalog.to_regproc('pg_catalog.aurora_replica_status') IS NOT NULL AS aurora, \
           pg_catalog.current_setting('rds.extensions', true) AS extensions, \
           pg_catalog.to_regnamespace('rds_tools') IS NOT NULL AS tools, \
           CASE WHEN pg_catalog.to_regnamespace('rds_tools') IS NULL THEN NULL \
                WHEN NOT pg_catalog.has_schema_privilege('rds_tools', 'USAGE') THEN 'no usage' \
                WHEN pg_catalog.to_regprocedure('rds_tools.show_topology(text)') IS NULL THEN 'too old' \
                WHEN NOT pg_catalog.has_function_privilege('rds_tools.show_topology(text)', 'EXECUTE') THEN 'no execute' \
                ELSE 'granted' END AS access, \
           EXISTS (SELECT 1 FROM pg_catalog.pg_settings WHERE name = 'rds.extensions') AS is_rds";

#[tokio::test]
async fn flavours_are_told_apart_by_one_statement() -> Result<()> {
    for (flavour, aurora, extension) in [
        (Flavour::Plain, false, None),
        (Flavour::Aurora, true, Some("aurora_stat_utils")),
        (Flavour::MultiAz, false, Some("rds_tools")),
    ] {
        let cluster = SimCluster::builder().nodes(1).flavour(flavour).start().await?;
        let client = connect(&cluster, 0).await?;
        let row = client.query_one(DETECTION, &[]).await?;
        assert_eq!(row.get::<_, bool>("aurora"), aurora, "{flavour:?}");
        let extensions = row.get::<_, Option<&str>>("extensions");
        assert_eq!(extensions.is_some(), extension.is_some(), "{flavour:?}");
        assert!(extension.is_none_or(|name| extensions.is_some_and(|all| all.contains(name))), "{flavour:?}");
        assert_eq!(row.get::<_, bool>("is_rds"), flavour != Flavour::Plain);
        if flavour != Flavour::Aurora {
            assert_eq!(
                state(&failed(client.query("SELECT * FROM aurora_replica_status()", &[]).await)),
                "42883"
            );
        }
    }
    let cluster = SimCluster::builder().nodes(1).flavour(Flavour::MultiAz).start().await?;
    let client = connect(&cluster, 0).await?;
    for (access, expected, direct) in [
        (RdsTools::Granted, Some("granted"), "none"),
        (RdsTools::Absent, None, "3F000"),
        (RdsTools::NoUsage, Some("no usage"), "42501"),
        (RdsTools::NoExecute, Some("no execute"), "42501"),
        (RdsTools::OldEngine, Some("too old"), "42883"),
    ] {
        cluster.set_rds_tools(access);
        let row = client.query_one(DETECTION, &[]).await?;
        assert_eq!(row.get::<_, Option<&str>>("access"), expected, "{access:?}");
        let asked = client.query("SELECT id FROM rds_tools.show_topology('sim')", &[]).await;
        assert_eq!(asked.err().as_ref().map_or("none", state), direct, "{access:?}");
    }
    Ok(())
}

#[tokio::test]
async fn multi_az_nodes_name_the_writer_by_resource_id() -> Result<()> {
    let cluster = SimCluster::builder().flavour(Flavour::MultiAz).start().await?;
    let ask = "SELECT t.id, t.endpoint, t.port, s.source = t.id, rds_tools.dbi_resource_id() = t.id \
               FROM rds_tools.show_topology('sim-1.0') t \
               CROSS JOIN (SELECT multi_az_db_cluster_source_dbi_resource_id AS source \
                           FROM rds_tools.multi_az_db_cluster_source_dbi_resource_id()) AS s";
    let reader = connect(&cluster, 2).await?;
    for writer in ["shop-1", "shop-2"] {
        let rows = reader.query(ask, &[]).await?;
        let of = |flag: usize| {
            let row = rows.iter().find(|row| row.get::<_, bool>(flag));
            row.map(|row| row.get::<_, String>(1).split('.').next().map(str::to_owned))
        };
        assert_eq!((rows.len(), of(3).flatten().as_deref()), (3, Some(writer)));
        assert_eq!(of(4).flatten().as_deref(), Some("shop-3"));
        assert_eq!(rows[0].get::<_, i32>(2), i32::from(cluster.port()));
        if writer == "shop-1" {
            cluster.planned_switchover(1).await?;
        }
    }
    Ok(())
}
