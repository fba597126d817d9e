//! R15: what must stay secret is in no log at any level, in no error, no `Debug`, no event, no report.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use integration_tests::secrets::{CURRENT, PENDING};
use integration_tests::sim::Engine;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use tracing_subscriber::fmt::MakeWriter;
use wrapper_core::observe::{Event, MetricsObserver, Observer, TracingObserver};
use wrapper_pg::plugins::iam::Iam;

use super::secrets_rotation;
use super::support::{SECRET_KEY, World, key, within};

#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;
    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Events(Arc<Mutex<Vec<String>>>);

impl Observer for Events {
    fn on_event(&self, event: &Event) {
        self.0.lock().unwrap().push(format!("{event:?}"));
    }
}

/// Names and labels of metrics; their values are numbers.
#[derive(Clone, Debug, Default)]
struct Metrics(Arc<Mutex<Vec<String>>>);

impl Metrics {
    fn note(&self, key: &Key) {
        self.0.lock().unwrap().push(key.to_string());
    }
}

impl Recorder for Metrics {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.note(key);
        Counter::noop()
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.note(key);
        Gauge::noop()
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.note(key);
        Histogram::noop()
    }
}

/// Everything that was written, with a word that shows that it was.
struct Written {
    log: Log,
    events: Events,
    metrics: Metrics,
    more: Vec<String>,
}

impl Written {
    fn holds(&self, secret: &str) -> Option<String> {
        let log = String::from_utf8_lossy(&self.log.0.lock().unwrap()).into_owned();
        let events = self.events.0.lock().unwrap().join("\n");
        let metrics = self.metrics.0.lock().unwrap().join("\n");
        let more = self.more.join("\n");
        let all = [("log", log), ("events", events), ("metrics", metrics), ("errors and Debug", more)];
        let found = |(place, text): &(&str, String)| {
            let at = text.find(secret)?;
            let line = text[..at].rfind('\n').map_or(0, |at| at + 1);
            Some(format!("{place}: {}", text[line..].lines().next().unwrap_or_default()))
        };
        all.iter().find_map(found)
    }
}

/// Runs on this thread only, so that the subscriber of this thread sees all.
pub(crate) fn watched(run: impl AsyncFnOnce(Events) -> (Vec<String>, Vec<String>)) {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    let events = Events::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let metrics = Metrics::default();
    let (more, secrets) = metrics::with_local_recorder(&metrics, || {
        tracing::subscriber::with_default(subscriber, || runtime.block_on(run(events.clone())))
    });
    assert!(!metrics.0.lock().unwrap().is_empty(), "nothing was measured");
    let written = Written { log, events, metrics, more };
    assert!(written.holds("connect").is_some(), "nothing was logged");
    assert!(!secrets.is_empty());
    for secret in secrets {
        assert!(secret.len() > 5);
        assert_eq!(written.holds(&secret), None, "{secret}");
    }
}

#[test]
fn tokens_and_aws_keys_stay_secret() {
    watched(async |events| {
        let world = World::start(Engine::Postgres).await;
        let session = "SESSIONTOKEN//with+special==";
        let plugin = Iam::new().credentials(key(SECRET_KEY, Some(session.to_owned())));
        let mut more = vec![format!("{plugin:?}")];
        let builder = || {
            let builder = world.postgres().set("plugins", "initial_connection,failover,connect_time");
            builder.observer(events.clone()).observer(TracingObserver::new()).observer(MetricsObserver::new())
        };
        let connector = builder().plugin(plugin).build().unwrap();
        let client = within("the connect", connector.connect()).await.unwrap();
        client.batch_execute("CREATE TABLE t (id bigint)").await.unwrap();
        world.clock.step(Duration::from_secs(1800));
        within("the failover", world.cluster.fail_over()).await.unwrap();
        let error = within("the call", client.execute("INSERT INTO t VALUES (1)", &[])).await.unwrap_err();
        more.push(format!("{error} {error:?}"));
        more.extend(connector.reports().iter().map(|report| format!("{report} {report:?}")));
        let bad = builder().plugin(Iam::new().credentials(key("WRONGSECRETKEY", None))).build().unwrap();
        let error = within("the connect", bad.connect()).await.unwrap_err();
        more.push(format!("{error} {error:?} {connector:?} {client:?} {bad:?} {}", connector.explain()));
        let mut secrets: Vec<String> =
            ["WRONGSECRETKEY", SECRET_KEY, session, "SESSIONTOKEN%2F"].map(str::to_owned).to_vec();
        for login in world.judged() {
            let (_, signature) = login.password.split_once("X-Amz-Signature=").unwrap();
            secrets.push(signature.split('&').next().unwrap().to_owned());
            secrets.push(login.password);
        }
        connector.shutdown().await;
        (more, secrets)
    });
}

#[test]
fn secrets_and_their_json_stay_secret() {
    watched(async |events| {
        let world = secrets_rotation::World::start(Engine::Postgres).await;
        world.cluster.set_password("app", "PASSWORD-ONE");
        world.secrets.put_login("shop/app", CURRENT, "app", "PASSWORD-ONE");
        let builder = || world.postgres().observer(events.clone()).observer(TracingObserver::new());
        let builder = || builder().observer(MetricsObserver::new());
        let builder = || builder().set("plugins", "initial_connection,failover,connect_time");
        let connector = builder().plugin(world.plugin()).build().unwrap();
        let client = within("the connect", connector.connect()).await.unwrap();
        world.secrets.put_login("shop/app", PENDING, "app", "PASSWORD-TWO");
        world.cluster.set_password("app", "PASSWORD-TWO");
        drop(within("the connect", connector.connect()).await.unwrap());
        world.cluster.set_password("app", "PASSWORD-THREE");
        let error = within("the connect", connector.connect()).await.unwrap_err();
        let more = vec![format!("{error} {error:?} {connector:?} {client:?} {}", connector.explain())];
        connector.shutdown().await;
        let session = secrets_rotation::SESSION;
        let secrets = ["PASSWORD-ONE", "PASSWORD-TWO", "PASSWORD-THREE", SECRET_KEY, session, "SESSIONTOKEN"];
        (more, secrets.map(str::to_owned).to_vec())
    });
}
