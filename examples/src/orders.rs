//! A load for the examples of pools: ten tasks place orders while something happens to the cluster.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use integration_tests::sim::SimCluster;

/// How many tasks place orders.
const CLERKS: usize = 10;

/// What became of the orders.
#[derive(Debug, Default)]
pub struct Orders {
    placed: BTreeSet<i64>,
    failed: Vec<String>,
}

impl Orders {
    /// Places orders with `place`, which is given a number, from ten tasks until `meanwhile` has ended.
    pub async fn place_while<F, P, E>(place: F, meanwhile: impl Future<Output = ()>) -> Self
    where
        F: Fn(i64) -> P + Clone + Send + 'static,
        P: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display + 'static,
    {
        let shop = Arc::new(Shop::default());
        #[allow(
            clippy::disallowed_methods,
            reason = "R8 binds core and plugins; this is a program's own task"
        )]
        let clerks: Vec<_> =
            (0..CLERKS).map(|_| tokio::spawn(Arc::clone(&shop).work(place.clone()))).collect();
        meanwhile.await;
        shop.closed.store(true, Ordering::SeqCst);
        for clerk in clerks {
            // A panic of a clerk is printed already, and shows in the number of orders.
            clerk.await.ok();
        }
        std::mem::take(&mut *shop.orders.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Compares the orders with what is there, and prints what was found.
    ///
    /// # Errors
    /// An acknowledged order is lost, or there is none.
    pub fn check(&self, there: impl IntoIterator<Item = i64>) -> Result<(), String> {
        let there: BTreeSet<i64> = there.into_iter().collect();
        let lost: Vec<&i64> = self.placed.difference(&there).collect();
        if self.placed.is_empty() || !lost.is_empty() {
            return Err(format!(
                "{} orders were acknowledged, and of these {lost:?} are lost; errors: {:?}",
                self.placed.len(),
                self.failed
            ));
        }
        println!("{} orders, none lost; {} ended with an error", self.placed.len(), self.failed.len());
        if let Some(first) = self.failed.first() {
            println!("the first of the errors: {first}");
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Shop {
    closed: AtomicBool,
    next: AtomicI64,
    orders: Mutex<Orders>,
}

impl Shop {
    async fn work<F, P, E>(self: Arc<Self>, place: F)
    where
        F: Fn(i64) -> P,
        P: Future<Output = Result<(), E>>,
        E: fmt::Display,
    {
        while !self.closed.load(Ordering::SeqCst) {
            let number = self.next.fetch_add(1, Ordering::SeqCst);
            let placed = place(number).await.map_err(|error| error.to_string());
            {
                let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
                match placed {
                    Ok(()) => drop(orders.placed.insert(number)),
                    Err(error) => orders.failed.push(error),
                }
            }
            // Another clerk may wait for the place in the pool.
            tokio::task::yield_now().await;
        }
    }
}

/// Lets a simulated cluster fail over in the midst of a load, and the load go on for a while.
///
/// # Errors
/// The cluster could not fail over.
#[allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; the examples wait in real time")]
pub async fn fail_over_in_the_midst(cluster: &SimCluster) -> Result<(), integration_tests::sim::SimError> {
    let pause = std::time::Duration::from_millis(300);
    tokio::time::sleep(pause).await;
    let record = cluster.fail_over().await?;
    println!("the writer was lost; the cluster took no writes for {:?}", record.gap());
    tokio::time::sleep(2 * pause).await;
    Ok(())
}
