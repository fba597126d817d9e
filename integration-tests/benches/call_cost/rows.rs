//! The rows: which plugins, which call, how many threads, how many calls in flight.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use wrapper_core::Result;
use wrapper_core::config::{DriverKeys, Settings};
use wrapper_core::connector::{ConnectorCore, ConnectorParts};
use wrapper_core::env::Environment;
use wrapper_core::plugin::{Call, PluginFactory};
use wrapper_core::session::{Operation, Session, SessionOptions};

use crate::noop::{Around, NoConnection, NoDriver, Nothing, Waits};
use crate::support::Outcome;

const KEYS: DriverKeys<'static> = DriverKeys { schemes: &["postgres"], default_port: 5432, names: &[] };
/// Calls that are open at once in the rows that say "in flight": more than arc-swap's fast slots.
const IN_FLIGHT: usize = 100;

type Shared = Arc<Session<NoConnection>>;

/// One row: `measure` makes the calls and gives the nanoseconds of one.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// The row that it is compared with, unless it is one to compare with itself.
    pub(crate) against: Option<usize>,
    pub(crate) threads: u64,
    #[allow(clippy::type_complexity, reason = "one measurement")]
    pub(crate) measure: Box<dyn Fn(u64) -> Outcome<f64>>,
}

/// A session with these plugins. Connectors live as long as the program: a session's cluster ends with its clones.
async fn session(default_plugins: bool, around: &[&'static str]) -> Outcome<Shared> {
    let settings = Settings::builder()
        .host("instance-1.xyz.us-east-2.rds.amazonaws.com")
        .set("wrapper_dialect", "pg")
        .build(&KEYS)?;
    let plugins =
        around.iter().map(|&name| Arc::new(Around(name)) as Arc<dyn PluginFactory>).collect::<Vec<_>>();
    let core = ConnectorCore::new(ConnectorParts {
        settings,
        driver: Arc::new(NoDriver),
        env: Environment::default(),
        registry: wrapper_plugins::registry(),
        default_plugins: if default_plugins { wrapper_plugins::default_plugins() } else { Vec::new() },
        plugins,
        observers: Vec::new(),
        default_port: 5432,
    })?;
    Ok(core.open::<NoConnection>(SessionOptions::default()).await?)
}

/// All rows. The first one of each kind is the bare call that the others of the kind are compared with.
pub(crate) async fn all() -> Outcome<Vec<Row>> {
    let none = session(false, &[]).await?;
    let default = session(true, &[]).await?;
    let one = session(false, &["a"]).await?;
    let three = session(false, &["a", "b", "c"]).await?;
    let five = session(false, &["a", "b", "c", "d", "e"]).await?;
    let mut rows = Vec::new();
    let mut add = |name, against, threads, measure: Box<dyn Fn(u64) -> Outcome<f64>>| {
        rows.push(Row { name, against, threads, measure });
        rows.len() - 1
    };
    let bare = add("bare call", None, 1, Box::new(|calls| direct(&Nothing, calls)));
    add("no plugin", Some(bare), 1, on(&none, &Nothing, 1));
    add("default plugins", Some(bare), 1, on(&default, &Nothing, 1));
    add("1 plugin around", Some(bare), 1, on(&one, &Nothing, 1));
    add("3 plugins around", Some(bare), 1, on(&three, &Nothing, 1));
    add("5 plugins around", Some(bare), 1, on(&five, &Nothing, 1));
    add("default plugins, client shared by 2 threads", Some(bare), 2, on(&default, &Nothing, 2));
    let waits = add("bare call that waits once", None, 1, Box::new(|calls| direct(&Waits, calls)));
    add("no plugin, call waits once", Some(waits), 1, on(&none, &Waits, 1));
    add("default plugins, call waits once", Some(waits), 1, on(&default, &Waits, 1));
    let many = add("bare calls, 100 in flight", None, 1, Box::new(bare_in_flight));
    let shared = Arc::clone(&none);
    add("no plugin, 100 in flight", Some(many), 1, Box::new(move |calls| in_flight(&shared, calls)));
    add("default plugins, 100 in flight", Some(many), 1, Box::new(move |calls| in_flight(&default, calls)));
    Ok(rows)
}

fn on<O>(session: &Shared, operation: &'static O, threads: u64) -> Box<dyn Fn(u64) -> Outcome<f64>>
where
    O: Operation<NoConnection, Out = u64>,
{
    let session = Arc::clone(session);
    Box::new(move |calls| {
        if threads == 1 {
            return through(&session, operation, calls);
        }
        let start = Arc::new(Barrier::new(usize::try_from(threads)?));
        let run = || {
            start.wait();
            through(&session, operation, calls)
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
            let mut slowest: f64 = 0.0;
            for worker in workers {
                slowest = slowest.max(worker.join().map_err(|_| "a thread panicked")??);
            }
            Ok(slowest)
        })
    })
}

/// Polls to the end without a runtime: its own work would be measured too.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
    }
}

fn timed(calls: u64, run: impl FnOnce() -> Result<()>) -> Outcome<f64> {
    let start = Instant::now();
    run()?;
    Ok(start.elapsed().as_nanos() as f64 / calls as f64)
}

fn direct<O: Operation<NoConnection, Out = u64>>(operation: &O, calls: u64) -> Outcome<f64> {
    let connection = Arc::new(NoConnection(7));
    timed(calls, || {
        block_on(async {
            for _ in 0..calls {
                std::hint::black_box(std::hint::black_box(operation).run(&connection).await?);
            }
            Ok(())
        })
    })
}

fn through<O: Operation<NoConnection, Out = u64>>(
    session: &Shared,
    operation: &O,
    calls: u64,
) -> Outcome<f64> {
    timed(calls, || {
        block_on(async {
            for _ in 0..calls {
                let call = Call::new("query").sql("SELECT 1");
                std::hint::black_box(session.call(&call, std::hint::black_box(operation)).await?);
            }
            Ok(())
        })
    })
}

/// `calls` calls in batches, each batch polled once before any of them is polled again.
fn batches<F: Future<Output = Result<u64>>>(calls: u64, make: impl Fn() -> F) -> Outcome<f64> {
    let mut batch: Vec<_> = (0..IN_FLIGHT).map(|_| Box::pin(make())).collect();
    let mut cx = Context::from_waker(Waker::noop());
    timed(calls, || {
        for _ in 0..calls / IN_FLIGHT as u64 {
            batch.iter_mut().for_each(|call| {
                call.set(make());
                let _ = std::hint::black_box(call.as_mut().poll(&mut cx));
            });
            for call in &mut batch {
                if let Poll::Ready(answer) = call.as_mut().poll(&mut cx) {
                    std::hint::black_box(answer?);
                }
            }
        }
        Ok(())
    })
}

fn bare_in_flight(calls: u64) -> Outcome<f64> {
    let connection = Arc::new(NoConnection(7));
    batches(calls, || Waits.run(&connection))
}

fn in_flight(session: &Shared, calls: u64) -> Outcome<f64> {
    const CALL: Call<'static> = Call::new("query").sql("SELECT 1");
    batches(calls, || session.call(&CALL, &Waits))
}
