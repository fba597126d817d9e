//! The fake driver keeps the contract; with one mistake each it breaks it.

use std::error::Error as StdError;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use wrapper_core::dialect::{DETECTION_SQL, DialectId, dialect_for};
use wrapper_core::driver::{ConnectTarget, DriverConnection, DriverDialect, Rows, TransactionStatus};
use wrapper_core::env::Deadline;
use wrapper_core::testkit::conformance::{
    Conformance, DriverRig, Question, TransactionStep, driver_dialect_conformance,
};
use wrapper_core::testkit::{FakeConnection, FakeDriver, Health, ScriptedCluster, Statement, What};
use wrapper_core::{Error, ErrorClass, ErrorKind, Result, TransactionOutcome};

use super::assert_broken;

/// One thing that a driver can do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    NoName,
    BornClosed,
    ForgetsNulls,
    MixesAnswers,
    RefusalClosesIt,
    RefusalIsNetwork,
    IsAlwaysIdle,
    TakesFailedForIdle,
    PromisesNotSent,
    PingFails,
    NoBytes,
    KnowsForeignErrors,
    RefusedIsLogin,
    ConnectWaits,
    FetchWaits,
    PingWaits,
    AnswersAnything,
    KillIsPolite,
    KillForgetsItsReason,
    KillTakesTheLastReason,
    DrainKills,
    DrainStaysOpen,
    KeepsSockets,
    RunSqlRefuses,
    ConnectGoesOn,
    DropKeepsSocket,
}

const ALL: [(Mistake, &str); 26] = [
    (Mistake::NoName, "name"),
    (Mistake::BornClosed, "opens"),
    (Mistake::ForgetsNulls, "answers"),
    (Mistake::MixesAnswers, "answers-apart"),
    (Mistake::RefusalClosesIt, "refused-statement"),
    (Mistake::RefusalIsNetwork, "refused-statement"),
    (Mistake::IsAlwaysIdle, "transaction-status"),
    (Mistake::TakesFailedForIdle, "failed-transaction"),
    (Mistake::PromisesNotSent, "outcome-if-lost"),
    (Mistake::PingFails, "ping"),
    (Mistake::NoBytes, "bytes-grow"),
    (Mistake::KnowsForeignErrors, "classify"),
    (Mistake::RefusedIsLogin, "classify"),
    (Mistake::ConnectWaits, "connect-deadline"),
    (Mistake::FetchWaits, "fetch-deadline"),
    (Mistake::PingWaits, "ping-deadline"),
    (Mistake::AnswersAnything, "cancelled-fetch"),
    (Mistake::KillIsPolite, "kill-ends-calls"),
    (Mistake::KillForgetsItsReason, "kill-ends-calls"),
    (Mistake::KillTakesTheLastReason, "kill-first-reason"),
    (Mistake::DrainKills, "drain"),
    (Mistake::DrainStaysOpen, "drain"),
    (Mistake::KeepsSockets, "kill-closes-socket"),
    (Mistake::RunSqlRefuses, "run-sql"),
    (Mistake::ConnectGoesOn, "cancelled-connect"),
    (Mistake::DropKeepsSocket, "drop-closes-socket"),
];

#[derive(Debug)]
struct Driver {
    inner: Arc<FakeDriver>,
    mistake: Option<Mistake>,
}

impl Driver {
    /// Keeps what nobody takes.
    async fn connect_by_a_task(
        &self,
        target: ConnectTarget,
        deadline: Deadline,
    ) -> Result<Arc<dyn DriverConnection>> {
        let (sender, opened) = tokio::sync::oneshot::channel();
        let inner = Arc::clone(&self.inner);
        tokio::spawn(async move {
            if let Err(kept) = sender.send(inner.connect(&target, deadline).await) {
                std::mem::forget(kept);
            }
        });
        opened.await.unwrap()
    }
}

#[derive(Debug)]
struct Connection {
    inner: Arc<FakeConnection>,
    mistake: Option<Mistake>,
    closed: AtomicBool,
    reasons: std::sync::Mutex<Option<Error>>,
    left: std::sync::Mutex<Option<Rows>>,
}

impl Connection {
    fn has(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }
}

#[async_trait]
impl DriverDialect for Driver {
    fn name(&self) -> &'static str {
        if self.mistake == Some(Mistake::NoName) { "" } else { "fake" }
    }

    async fn connect(&self, target: &ConnectTarget, deadline: Deadline) -> Result<Arc<dyn DriverConnection>> {
        let wait = self.mistake == Some(Mistake::ConnectWaits);
        let deadline = if wait { Deadline::after(Duration::from_secs(30), "mine") } else { deadline };
        let opened = match self.mistake {
            Some(Mistake::ConnectGoesOn) => self.connect_by_a_task(target.clone(), deadline).await,
            _ => self.inner.connect(target, deadline).await,
        };
        let opened = opened.map_err(|error| match self.mistake {
            Some(Mistake::RefusedIsLogin) => error.with_kind(ErrorKind::Login).with_class(ErrorClass::Login),
            _ => error,
        });
        let inner = wrapper_core::driver::downcast::<FakeConnection>(opened?)?;
        if self.mistake == Some(Mistake::DropKeepsSocket) {
            std::mem::forget(Arc::clone(&inner));
        }
        let closed = AtomicBool::new(self.mistake == Some(Mistake::BornClosed));
        let (reasons, left) = Default::default();
        Ok(Arc::new(Connection { inner, mistake: self.mistake, closed, reasons, left }))
    }

    fn classify(&self, error: &(dyn StdError + 'static)) -> ErrorClass {
        if self.mistake == Some(Mistake::KnowsForeignErrors) {
            return ErrorClass::Network;
        }
        self.inner.classify(error)
    }
}

#[async_trait]
impl DriverConnection for Connection {
    async fn fetch_text(&self, sql: &str, deadline: Deadline) -> Result<Rows> {
        let reason = self.reasons.lock().unwrap().clone();
        if let Some(reason) = reason {
            return Err(reason);
        }
        let deadline = match self.mistake {
            Some(Mistake::FetchWaits) => Deadline::after(Duration::from_secs(30), "mine"),
            _ => deadline,
        };
        if self.has(Mistake::AnswersAnything) {
            // Whoever left before his answer came leaves it here for the next one.
            if let Some(rows) = self.left.lock().unwrap().take() {
                return Ok(rows);
            }
            let rows = self.inner.fetch_text(sql, deadline).await?;
            *self.left.lock().unwrap() = Some(rows.clone());
            tokio::task::yield_now().await;
            self.left.lock().unwrap().take();
            return Ok(rows);
        }
        let rows = match self.inner.fetch_text(sql, deadline).await {
            Err(error) if self.has(Mistake::KillForgetsItsReason) && self.inner.is_closed() => {
                return Err(Error::new(error.kind(), "it is over"));
            }
            Err(error) if error.sqlstate().is_some() => {
                if self.has(Mistake::RefusalClosesIt) {
                    self.closed.store(true, Ordering::Relaxed);
                }
                let network = self.has(Mistake::RefusalIsNetwork);
                return Err(if network { error.with_class(ErrorClass::Network) } else { error });
            }
            rows => rows?,
        };
        match self.mistake {
            Some(Mistake::ForgetsNulls) => {
                let text = |row: usize, name: &String| Some(rows.get(row, name).unwrap_or("").to_owned());
                let all =
                    (0..rows.len()).map(|row| rows.columns().iter().map(|name| text(row, name)).collect());
                Ok(Rows::new(rows.columns().to_vec(), all.collect()))
            }
            Some(Mistake::MixesAnswers) => {
                let mine = rows.clone();
                let before = self.left.lock().unwrap().replace(rows);
                tokio::time::sleep(Duration::from_millis(5)).await;
                let now = self.left.lock().unwrap().clone().unwrap_or_else(|| mine.clone());
                Ok(if before.is_some() && now != mine { now } else { mine })
            }
            _ => Ok(rows),
        }
    }

    async fn run_sql(&self, sql: &str, deadline: Deadline) -> Result<()> {
        if self.has(Mistake::RunSqlRefuses) {
            return Err(Error::new(ErrorKind::Unsupported, "not here").with_sqlstate("0A000"));
        }
        self.fetch_text(sql, deadline).await.map(drop)
    }

    async fn ping(&self, deadline: Deadline) -> Result<()> {
        match self.mistake {
            Some(Mistake::PingFails) => Err(Error::new(ErrorKind::Unsupported, "no ping")),
            Some(Mistake::PingWaits) => {
                self.inner.ping(Deadline::after(Duration::from_secs(30), "mine")).await
            }
            _ => self.inner.ping(deadline).await,
        }
    }

    fn kill(&self, reason: Error) {
        match self.mistake {
            Some(Mistake::KillIsPolite) => self.inner.drain(),
            Some(Mistake::KeepsSockets) => *self.reasons.lock().unwrap() = Some(reason),
            Some(Mistake::KillTakesTheLastReason) => {
                *self.reasons.lock().unwrap() = Some(reason.clone());
                self.inner.kill(reason);
            }
            _ => self.inner.kill(reason),
        }
    }

    fn drain(&self) {
        match self.mistake {
            Some(Mistake::DrainKills) => self.inner.kill(Error::new(ErrorKind::Closed, "drained")),
            Some(Mistake::DrainStaysOpen) => {}
            _ => self.inner.drain(),
        }
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
            || self.inner.is_closed()
            || self.reasons.lock().unwrap().is_some()
    }

    fn transaction_status(&self) -> TransactionStatus {
        match self.inner.transaction_status() {
            _ if self.has(Mistake::IsAlwaysIdle) => TransactionStatus::Idle,
            TransactionStatus::Failed if self.has(Mistake::TakesFailedForIdle) => TransactionStatus::Idle,
            status => status,
        }
    }

    fn outcome_if_lost(&self) -> TransactionOutcome {
        if self.has(Mistake::PromisesNotSent) {
            TransactionOutcome::NotSent
        } else {
            self.inner.outcome_if_lost()
        }
    }

    fn bytes_received(&self) -> u64 {
        if self.has(Mistake::NoBytes) { 0 } else { self.inner.bytes_received() }
    }

    fn session_state_sql(&self) -> Vec<String> {
        self.inner.session_state_sql()
    }
}

struct Rig {
    cluster: ScriptedCluster,
    mistake: Option<Mistake>,
}

#[async_trait]
impl DriverRig for Rig {
    fn driver(&self) -> Arc<dyn DriverDialect> {
        Arc::new(Driver { inner: Arc::new(self.cluster.driver()), mistake: self.mistake })
    }

    fn target(&self) -> ConnectTarget {
        ConnectTarget::session(self.cluster.host(0))
    }

    fn refused(&self) -> ConnectTarget {
        self.cluster.set_health(1, Health::Down);
        ConnectTarget::session(self.cluster.host(1))
    }

    async fn silence(&self, on: bool) {
        if on { self.cluster.freeze(0) } else { self.cluster.thaw(0) }
    }

    fn questions(&self) -> Vec<Question> {
        let aurora = dialect_for(DialectId::AuroraPg).unwrap();
        let row =
            |values: &[Option<&str>]| values.iter().map(|value| value.map(str::to_owned)).collect::<Vec<_>>();
        let detection = [
            ("version_num", Some("150004")),
            ("database_name", Some("shop")),
            ("user_name", Some("app")),
            ("rds_extensions", None),
            ("rds_roles", Some("1")),
            ("tools_usage", None),
            ("tools_version", None),
            (
                "allowed_functions",
                Some("pg_catalog.aurora_replica_status,pg_catalog.aurora_db_instance_identifier"),
            ),
            ("denied_functions", None),
        ];
        let (names, values): (Vec<&str>, Vec<Option<&str>>) = detection.into_iter().unzip();
        let status = [Some("f"), Some("instance-1"), Some("instance-1"), Some("2")];
        vec![
            Question::new(DETECTION_SQL, &names, vec![row(&values)]),
            Question::new(aurora.role_query(), &["in_recovery"], vec![row(&[Some("f")])]),
            Question::new(
                aurora.status_query(),
                &["in_recovery", "own_id", "writer_id", "hosts"],
                vec![row(&status)],
            ),
        ]
    }

    fn refused_statement(&self) -> String {
        "no such statement".to_owned()
    }

    fn setting(&self) -> String {
        "SET application_name = conformance".to_owned()
    }

    async fn step(&self, connection: &Arc<dyn DriverConnection>, step: TransactionStep) -> Result<()> {
        let own = wrapper_core::driver::downcast::<Connection>(Arc::clone(connection))?;
        match step {
            TransactionStep::Begin => own.inner.run(&Statement::new(1, What::Begin)).await.map(drop),
            TransactionStep::Rollback => own.inner.run(&Statement::new(2, What::Rollback)).await.map(drop),
            _ => {
                let failed =
                    own.inner.fetch_text("no such statement", Deadline::after(Duration::from_secs(5), "t"));
                drop(failed.await);
                Ok(())
            }
        }
    }

    async fn open_connections(&self) -> Option<usize> {
        Some(self.cluster.sessions().open)
    }

    fn classified(&self) -> Vec<(Box<dyn StdError + Send + Sync>, ErrorClass)> {
        vec![(Box::new(Error::new(ErrorKind::Network, "reset")), ErrorClass::Network)]
    }
}

pub(crate) async fn run(mistake: Option<Mistake>) -> Conformance {
    let rig = Rig { cluster: ScriptedCluster::new(2, 3), mistake };
    driver_dialect_conformance(&rig).await
}

#[tokio::test(start_paused = true)]
async fn the_fake_driver_keeps_it() {
    let found = run(None).await;
    assert!(found.is_kept(), "{found}");
    assert_eq!(found.clauses().len(), 23, "{found}");
}

#[tokio::test(start_paused = true)]
async fn each_mistake_is_found() {
    for (mistake, clause) in ALL {
        let found = run(Some(mistake)).await;
        println!("{mistake:?}: {:?}", found.broken());
        assert_broken(&found, clause);
    }
}
