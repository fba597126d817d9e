//! What an acquire and its release cost over a pool that follows, beside the bare pool.

use std::time::Instant;

use futures_util::future::LocalBoxFuture;
use integration_tests::LocalCluster;

use crate::cell::{self, SIZE};
use crate::sqlx_support;
use crate::support::engine::Engine;
use crate::support::page::Table;
use crate::support::stats::Samples;
use crate::support::{Arguments, Outcome};

const HEADING: [&str; 5] =
    ["pool", "rounds", "acquire and release, bare", "the same, following", "more (95 % interval)"];
/// Acquires of one block; a block of each pool makes a round.
const BLOCK: u32 = 2_000;

/// Runs what the arguments ask for.
pub(crate) async fn all(arguments: &Arguments) -> Outcome {
    let rounds: usize = arguments.value("--rounds")?.unwrap_or(50);
    let (cluster, _) = cell::start::<LocalCluster>(false).await?;
    let server = cluster.server().await?;
    let writer = cluster.address(cluster.writer());
    let options = sqlx_support::options(&cluster).host(&writer.ip().to_string());
    let mut table = Table::new(&HEADING);
    {
        // As the following pool: no ping at each acquire.
        let bare = sqlx_support::sized(SIZE).test_before_acquire(false).connect_with(options.clone()).await?;
        let builder =
            sqlx_support::pool_of(&cluster, sqlx_support::sized(SIZE)).set("topology_refresh", "1s");
        let (pool, handle) = builder.connect().await?;
        table.row(
            row("`PgPool` of sqlx 0.9", rounds, &|| Box::pin(taken(&bare)), &|| Box::pin(taken(&pool)))
                .await?,
        );
        handle.shutdown().await;
        let own = wrapper_sqlx::cluster_pool::PgClusterPool::builder(
            sqlx_support::sized(SIZE),
            sqlx_support::options(&cluster),
        )
        .reach(sqlx_support::by_table(cluster.names()));
        let own = own.connect().await?;
        let taken_own =
            || -> LocalBoxFuture<'_, sqlx::Result<()>> { Box::pin(async { own.acquire().await.map(drop) }) };
        table.row(row("`PgClusterPool`", rounds, &|| Box::pin(taken(&bare)), &taken_own).await?);
        own.close().await;
        bare.close().await;
    }
    cluster.stop().await;
    table.print();
    if arguments.has("--write") {
        let note = format!("Server: {server}. {BLOCK} acquires in turn a block.");
        table.write("pools_acquire", &arguments.command("pools"), &[note])?;
    }
    Ok(())
}

async fn taken(pool: &sqlx::PgPool) -> sqlx::Result<()> {
    pool.acquire().await.map(drop)
}

type Take<'a> = &'a dyn Fn() -> LocalBoxFuture<'a, sqlx::Result<()>>;

/// Microseconds of an acquire and its release, on average over a block.
async fn block(take: Take<'_>) -> Outcome<f64> {
    let began = Instant::now();
    for _ in 0..BLOCK {
        take().await?;
    }
    Ok(began.elapsed().as_secs_f64() * 1e6 / f64::from(BLOCK))
}

async fn row(title: &str, rounds: usize, bare: Take<'_>, ours: Take<'_>) -> Outcome<[String; 5]> {
    let (mut of_bare, mut of_ours) = (Vec::new(), Vec::new());
    block(bare).await?;
    block(ours).await?;
    for round in 0..rounds {
        // In turn first and second.
        if round % 2 == 0 {
            of_bare.push(block(bare).await?);
            of_ours.push(block(ours).await?);
        } else {
            of_ours.push(block(ours).await?);
            of_bare.push(block(bare).await?);
        }
    }
    let more = Samples::new(of_ours.iter().zip(&of_bare).map(|(ours, bare)| ours - bare));
    let (low, high) = more.median_interval();
    Ok([
        title.to_owned(),
        rounds.to_string(),
        format!("{:.2} µs", Samples::new(of_bare).median()),
        format!("{:.2} µs", Samples::new(of_ours).median()),
        format!("{:+.2} µs ({low:+.2} to {high:+.2})", more.median()),
    ])
}
