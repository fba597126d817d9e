//! A pool whose statements pass the plugins: transfers between two accounts, while the writer is lost in their midst. Each
//! error says whether its transfer was made, so each that was not is made again, and the sum stays what it was.
//!
//! ```text
//! cargo run -p examples --features sqlx --bin sqlx-cluster-pool                # on a cluster simulated in this process
//! cargo run -p examples --features sqlx --bin sqlx-cluster-pool -- postgres://app:secret@db.cluster-xyz.us-east-2.rds.amazonaws.com/shop
//! ```
//!
//! On a cluster of yours the program makes and drops the tables `sqlx_cluster_pool_accounts` and
//! `sqlx_cluster_pool_transfers`; fail the cluster over while it runs.
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; this program waits in real time")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use integration_tests::sim::SimCluster;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use wrapper_sqlx::Error;
use wrapper_sqlx::cluster_pool::PgClusterPool;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How long transfers are made on a cluster of yours.
const ON_YOURS: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let options = PgPoolOptions::new().max_connections(5);
    if let Some(url) = std::env::args().nth(1) {
        let pool = PgClusterPool::builder(options, url.parse()?).connect().await?;
        println!("fail the cluster over within {ON_YOURS:?}");
        transfer_while(&pool, tokio::time::sleep(ON_YOURS)).await?;
        pool.reports().iter().for_each(|report| println!("{report}"));
        pool.close().await;
        return Ok(());
    }

    let cluster = SimCluster::builder().start().await?;
    let pool = simulated(&cluster, options).await?;
    let mut failover = None;
    let meanwhile = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        failover = Some(cluster.fail_over().await);
        tokio::time::sleep(Duration::from_millis(700)).await;
    };
    transfer_while(&pool, meanwhile).await?;
    let failover = failover.ok_or("there was no failover")??;
    let connection = pool.acquire().await?;
    assert_eq!(connection.host().short_name(), cluster.instance_name(failover.new_writer)?);
    println!(
        "the cluster took no writes for {:?}; statements go to {} since",
        failover.gap(),
        connection.host().short_name()
    );
    drop(connection);
    pool.close().await;
    cluster.shutdown().await;
    Ok(())
}

/// What differs from a pool onto Aurora: names stand in the test cluster's table instead of DNS, and the simulated
/// servers ask for neither a password nor TLS.
async fn simulated(cluster: &SimCluster, options: PgPoolOptions) -> Result<PgClusterPool, Error> {
    let endpoint = PgConnectOptions::new_without_pgpass()
        .host(&cluster.cluster_endpoint())
        .port(cluster.port())
        .username("app")
        .database("shop")
        .ssl_mode(PgSslMode::Disable);
    let names = cluster.names().clone();
    let reach = move |host: &wrapper_sqlx::core::host::HostInfo, options: PgConnectOptions| match names
        .lookup(host.host())
    {
        Some(address) => options.host(&address.to_string()),
        None => options,
    };
    PgClusterPool::builder(options, endpoint).reach(reach).connect().await
}

async fn transfer_while(pool: &PgClusterPool, meanwhile: impl Future<Output = ()>) -> Result<(), Failure> {
    let bank = Arc::new(Bank::default());
    sqlx::raw_sql("CREATE TABLE sqlx_cluster_pool_accounts (id bigint PRIMARY KEY, balance bigint NOT NULL)")
        .execute(pool)
        .await?;
    sqlx::raw_sql("CREATE TABLE sqlx_cluster_pool_transfers (id bigint PRIMARY KEY)").execute(pool).await?;
    // Two accounts for each teller: what is shown here is not how row locks are fought for.
    for id in 0..2 * TELLERS {
        let open = "INSERT INTO sqlx_cluster_pool_accounts (id, balance) VALUES ($1, 1000)";
        sqlx::query(open).bind(id).execute(pool).await?;
    }
    let tellers: Vec<_> =
        (0..TELLERS).map(|teller| tokio::spawn(Arc::clone(&bank).work(pool.clone(), teller))).collect();
    meanwhile.await;
    bank.closed.store(true, Ordering::SeqCst);
    for teller in tellers {
        teller.await??;
    }
    let made: i64 =
        sqlx::query_scalar("SELECT count(*) FROM sqlx_cluster_pool_transfers").fetch_one(pool).await?;
    let balances: Vec<i64> =
        sqlx::query_scalar("SELECT balance FROM sqlx_cluster_pool_accounts").fetch_all(pool).await?;
    sqlx::raw_sql("DROP TABLE sqlx_cluster_pool_accounts").execute(pool).await?;
    sqlx::raw_sql("DROP TABLE sqlx_cluster_pool_transfers").execute(pool).await?;
    let [acknowledged, again, unsure] =
        [&bank.acknowledged, &bank.again, &bank.unsure].map(|count| count.load(Ordering::SeqCst));
    println!(
        "{acknowledged} transfers were acknowledged, {again} were made again, {unsure} may have been made; {made} are there"
    );
    let sum: i64 = balances.iter().sum();
    if sum != 2 * TELLERS * 1000
        || made.unsigned_abs() < acknowledged
        || made.unsigned_abs() > acknowledged + unsure
    {
        return Err(format!("the books are wrong: {sum} in all").into());
    }
    println!("{acknowledged} transfers, none lost, none half made");
    Ok(())
}

const TELLERS: i64 = 5;

/// Makes transfers and counts them.
#[derive(Debug, Default)]
struct Bank {
    closed: AtomicBool,
    next: AtomicI64,
    acknowledged: AtomicU64,
    /// Lost, and for certain not made.
    again: AtomicU64,
    /// Lost with the COMMIT on its way.
    unsure: AtomicU64,
}

impl Bank {
    async fn work(self: Arc<Self>, pool: PgClusterPool, teller: i64) -> Result<(), sqlx::Error> {
        while !self.closed.load(Ordering::SeqCst) {
            let id = self.next.fetch_add(1, Ordering::SeqCst);
            loop {
                let Err(error) = transfer(&pool, id, teller).await else {
                    self.acknowledged.fetch_add(1, Ordering::SeqCst);
                    break;
                };
                match Error::from_driver(&error) {
                    // On the new writer already, and nothing of the lost transaction is there.
                    Some(ours) if ours.outcome().is_not_applied() => {
                        self.again.fetch_add(1, Ordering::SeqCst);
                    }
                    // A service would look whether the transfer is there.
                    Some(_) => {
                        self.unsure.fetch_add(1, Ordering::SeqCst);
                        break;
                    }
                    None => return Err(error),
                }
            }
        }
        Ok(())
    }
}

async fn transfer(pool: &PgClusterPool, id: i64, teller: i64) -> Result<(), sqlx::Error> {
    let mut transaction = pool.begin().await?;
    for (account, change) in [(2 * teller, -1_i64), (2 * teller + 1, 1)] {
        let change_balance = "UPDATE sqlx_cluster_pool_accounts SET balance = balance + $1 WHERE id = $2";
        sqlx::query(change_balance).bind(change).bind(account).execute(&mut *transaction).await?;
    }
    let note = "INSERT INTO sqlx_cluster_pool_transfers (id) VALUES ($1)";
    sqlx::query(note).bind(id).execute(&mut *transaction).await?;
    transaction.commit().await
}
