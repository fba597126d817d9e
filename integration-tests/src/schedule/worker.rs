//! A client of the workload: what it does is drawn from its own share of the seed.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use wrapper_core::connector::ConnectorCore;
use wrapper_core::session::SessionOptions;
use wrapper_core::testkit::{Answer, FakeClient, FakeConnection, Statement, Trace};
use wrapper_core::{Error, ErrorKind, Result};

use super::book::{Book, Fate};
use super::cut_short::CutShort;
use super::invariant::Invariant;
use super::plan::Plan;
use super::planted::Planted;
use super::slot::{Expected, Slot};

/// What a call that has not ended by then is given beside its limit, before it is taken for one that never ends.
const NEVER: Duration = Duration::from_secs(60);
/// In a healed cluster a session must work again within this many attempts.
const ATTEMPTS: u32 = 6;

/// One client.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) name: String,
    /// Opens the session, sets its settings, and is the only one with transactions on it.
    pub(super) owner: bool,
    /// Whether other workers use the session at the same time.
    pub(super) shares: bool,
    pub(super) slot: Slot,
    pub(super) core: ConnectorCore,
    pub(super) plan: Arc<Plan>,
    pub(super) book: Arc<Book>,
    pub(super) trace: Trace,
    pub(super) rng: fastrand::Rng,
    /// On the reader endpoint: it only reads.
    pub(super) reads: bool,
    pub(super) planted: Option<Planted>,
}

impl Worker {
    /// Works until its steps are done and the cluster is healed.
    pub(super) async fn work(mut self, mut healed: watch::Receiver<bool>) {
        let mut steps = 0;
        while steps < self.plan.steps || !*healed.borrow() {
            steps += 1;
            let think = self.rng.u64(20..900);
            tokio::time::sleep(Duration::from_millis(think)).await;
            let Some(client) = self.client().await else { continue };
            match self.rng.u8(..10) {
                _ if self.reads => self.look(&client).await,
                0 | 1 if self.owner && !self.shares => self.transfer(&client).await,
                2 if self.owner => self.set(&client).await,
                3 | 4 if self.owner => self.show(&client).await,
                5 => self.look(&client).await,
                6 => self.burst(&client).await,
                _ => self.append(&client).await,
            }
        }
        let _ = healed.wait_for(|healed| *healed).await;
        if self.owner && !self.core.cluster().is_shut_down() {
            self.last_word().await;
        }
    }

    /// The session; the owner opens one when there is none.
    async fn client(&mut self) -> Option<FakeClient> {
        if let Some(client) = self.slot.client() {
            return Some(client);
        }
        if !self.owner {
            return None;
        }
        let mut options = SessionOptions::default();
        options.transfer_state = self.planted != Some(Planted::DropsSettings);
        options.socket_timeout = self.plan.socket_timeout;
        let cut = CutShort::draw(&mut self.rng);
        let opening = self.core.open::<FakeConnection>(options);
        match cut.run(self.timed(self.plan.open_limit(), "open", opening)).await? {
            Ok(session) => {
                self.note("opened");
                let client = FakeClient::new(session);
                self.slot.put(client.clone());
                Some(client)
            }
            Err(error) => {
                self.note(format!("open: {}", error.kind().as_str()));
                None
            }
        }
    }

    fn note(&self, text: impl AsRef<str>) {
        self.trace.note(format!("{} {}", self.name, text.as_ref()));
    }

    /// Runs `future` and checks that it ends within `limit`, jumps of the clock aside.
    async fn timed<T>(
        &self,
        limit: Duration,
        what: &str,
        future: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let jumped = self.book.pages().jumped;
        let begin = Instant::now();
        let result = tokio::time::timeout(limit + NEVER, future).await;
        let mut pages = self.book.pages();
        let spent = begin.elapsed().saturating_sub(pages.jumped - jumped);
        pages.calls += 1;
        drop(pages);
        // A connector that was shut down watches and switches no more.
        if spent > limit && !self.core.cluster().is_shut_down() {
            self.book.broken(
                Invariant::EndsInTime,
                format!("{} {what} took {spent:?}, more than {limit:?}", self.name),
            );
        }
        result.unwrap_or_else(|_| Err(Error::new(ErrorKind::Timeout, "never ended")))
    }

    async fn call(&self, client: &FakeClient, statement: &Statement) -> Result<Answer> {
        let limit = self.plan.call_limit(statement.takes);
        let answer = self.timed(limit, statement.kind(), client.run(statement)).await?;
        self.own(statement, &answer);
        Ok(answer)
    }

    fn own(&self, statement: &Statement, answer: &Answer) {
        if answer.statement != statement.number {
            self.book.broken(
                Invariant::CleanAfterCancel,
                format!("statement {} got the answer to {}", statement.number, answer.statement),
            );
        }
    }

    /// Looks at a call that failed; the owner may give the session up.
    fn failed(&mut self, what: &str, error: &Error) -> Fate {
        self.note(format!("{what}: {} {:?}", error.kind().as_str(), error.outcome()));
        match error.kind() {
            ErrorKind::Plugin | ErrorKind::NotRerunnable | ErrorKind::Unsupported => {
                self.book.broken(Invariant::OneFailover, format!("{what}: {error}"));
            }
            ErrorKind::FailoverFailed | ErrorKind::Closed if self.owner && self.rng.bool() => {
                self.slot.clear()
            }
            _ => {}
        }
        let fate = Fate::of(error.outcome());
        if fate == Fate::Open && self.planted == Some(Planted::HopesForTheBest) {
            return Fate::Acknowledged;
        }
        fate
    }

    fn takes(&mut self) -> Duration {
        if self.rng.u8(..5) == 0 { Duration::from_millis(self.rng.u64(..1_500)) } else { Duration::ZERO }
    }

    async fn append(&mut self, client: &FakeClient) {
        let number = self.book.number_outside();
        let takes = self.takes();
        let statement = Statement::append(number).taking(takes);
        let cut = CutShort::draw(&mut self.rng);
        let fate = match cut.run(self.call(client, &statement)).await {
            None => Fate::Open,
            Some(Ok(_)) => Fate::Acknowledged,
            Some(Err(error)) => self.failed(&format!("append {number}"), &error),
        };
        self.note(format!("append {number}: {fate:?}"));
        self.book.unit(vec![number], fate);
    }

    /// Three appends at the same time.
    async fn burst(&mut self, client: &FakeClient) {
        let numbers: Vec<u64> = (0..3).map(|_| self.book.number_outside()).collect();
        let statements: Vec<Statement> = numbers.iter().map(|number| Statement::append(*number)).collect();
        self.book.pages().bursts.push(numbers.clone());
        let cuts = [(); 3].map(|()| CutShort::draw(&mut self.rng));
        let ended = tokio::join!(
            biased;
            cuts[0].run(self.call(client, &statements[0])),
            cuts[1].run(self.call(client, &statements[1])),
            cuts[2].run(self.call(client, &statements[2])),
        );
        for (number, ended) in numbers.into_iter().zip([ended.0, ended.1, ended.2]) {
            let fate = match ended {
                None => Fate::Open,
                Some(Ok(_)) => Fate::Acknowledged,
                Some(Err(error)) => self.failed(&format!("append {number} of a burst"), &error),
            };
            self.book.unit(vec![number], fate);
        }
        self.note("burst");
    }

    async fn read(&mut self, client: &FakeClient) {
        let statement = Statement::read(self.book.number_outside());
        let cut = CutShort::draw(&mut self.rng);
        match cut.run(self.call(client, &statement)).await {
            Some(Err(error)) => {
                let _ = self.failed("read", &error);
            }
            Some(Ok(answer)) => self.note(format!("read {}", answer.value.unwrap_or_default())),
            None => self.note("read was cancelled"),
        }
    }

    /// One value, or rows as they come in.
    async fn look(&mut self, client: &FakeClient) {
        if self.plan.streams && self.rng.bool() {
            self.stream(client).await;
        } else {
            self.read(client).await;
        }
    }

    /// Reads a stream of rows, to its end or to some row in the middle.
    async fn stream(&mut self, client: &FakeClient) {
        let number = self.book.number_outside();
        // Short: whoever comes next waits for the rest of it.
        let (count, every) = (self.rng.u32(1..9), Duration::from_millis(self.rng.u64(..100)));
        let stops = (self.rng.u8(..3) == 0).then(|| self.rng.u32(..count));
        let cuts = [(); 2].map(|()| CutShort::draw(&mut self.rng));
        let statement = Statement::rows(number, count, every);
        let opening = self.timed(self.plan.call_limit(Duration::ZERO), "rows", client.rows(&statement));
        let mut rows = match cuts[0].run(opening).await {
            Some(Ok(rows)) => rows,
            Some(Err(error)) => {
                let _ = self.failed(&format!("rows {number}"), &error);
                return;
            }
            None => return self.note(format!("rows {number} were cancelled")),
        };
        let (mut seen, mut cut) = (0, Some(cuts[1]));
        while stops != Some(seen) {
            let next = self.timed(self.plan.row_limit(every), "a row", rows.next());
            // Dropped while it waits for a row, once: what comes then is not lost.
            let next = match cut.take_if(|_| seen == 1) {
                Some(cut) => cut.run(next).await,
                None => Some(next.await),
            };
            match next {
                None if self.rng.bool() => return self.note(format!("rows {number}: dropped")),
                None => {}
                Some(Ok(Some(row))) if row.statement == number && row.index == seen => seen += 1,
                Some(Ok(None)) if seen == count => return self.note(format!("rows {number}: all {count}")),
                Some(Err(error)) => {
                    let _ = self.failed(&format!("rows {number}, after {seen} of {count}"), &error);
                    return;
                }
                Some(Ok(wrong)) => {
                    let text = format!("stream {number}: {wrong:?} after {seen} of {count} rows");
                    return self.book.broken(Invariant::WholeStreams, text);
                }
            }
        }
        self.note(format!("rows {number}: {seen} of {count} were enough"));
    }

    async fn set(&mut self, client: &FakeClient) {
        let number = self.book.number_outside();
        let name = ["a", "b", "c"][self.rng.usize(..3)];
        let value = number.to_string();
        self.slot.expect(name, Expected::Anything);
        let statement = Statement::set(number, name, &value);
        let cut = CutShort::draw(&mut self.rng);
        match cut.run(self.call(client, &statement)).await {
            Some(Ok(_)) => {
                self.note(format!("set {name}={value}"));
                self.slot.expect(name, Expected::Value(value));
            }
            Some(Err(error)) => {
                let _ = self.failed("set", &error);
            }
            None => {}
        }
    }

    async fn show(&mut self, client: &FakeClient) {
        let name = ["a", "b", "c"][self.rng.usize(..3)];
        let statement = Statement::show(self.book.number_outside(), name);
        match self.call(client, &statement).await {
            Ok(answer) => self.compare(name, answer.value),
            Err(error) => {
                let _ = self.failed("show", &error);
            }
        }
    }

    fn compare(&self, name: &str, value: Option<String>) {
        let Some(Expected::Value(expected)) = self.slot.expected(name) else { return };
        if value.as_deref() != Some(&*expected) {
            self.book.broken(
                Invariant::SettingsKept,
                format!("{}: `{name}` is {value:?}, set to {expected:?}", self.name),
            );
        }
    }

    /// Moves an amount from one account to another, in a transaction.
    async fn transfer(&mut self, client: &FakeClient) {
        let begin = self.book.number_outside();
        let writes = vec![self.book.number(), self.book.number()];
        let commit = self.book.number();
        let pauses = [self.rng.u64(..600), self.rng.u64(..600)];
        let (from, to, amount) = (self.rng.u32(..4), self.rng.u32(4..8), self.rng.i64(1..100));
        let (begun, commits) = (AtomicBool::new(false), AtomicBool::new(false));
        let cut = CutShort::draw(&mut self.rng);
        let limit = self.plan.call_limit(Duration::ZERO);
        let transaction = async {
            let mut open = self.timed(limit, "begin", client.begin(begin)).await?;
            begun.store(true, Ordering::Relaxed);
            if self.planted == Some(Planted::LeavesTransactionOpen) {
                open = open.left_open_when_dropped();
            }
            let changes = [(from, -amount), (to, amount)];
            for ((number, (account, delta)), pause) in writes.iter().zip(changes).zip(pauses) {
                let statement = Statement::add(*number, account, delta);
                let answer = self.timed(limit, "add", open.run(&statement)).await?;
                self.own(&statement, &answer);
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            commits.store(true, Ordering::Relaxed);
            self.timed(limit, "commit", open.commit(commit)).await
        };
        let ended = cut.run(transaction).await;
        let committing = commits.load(Ordering::Relaxed);
        let fate = match ended {
            Some(Ok(_)) => Fate::Acknowledged,
            Some(Err(error)) => {
                let told = self.failed(&format!("transfer {begin}"), &error);
                if begun.load(Ordering::Relaxed) && !committing && told == Fate::Open {
                    // Nothing that can commit was sent (R14).
                    let what =
                        format!("transfer {begin} was lost before its commit, and may have applied: {error}");
                    self.book.broken(Invariant::OutcomeIsTrue, what);
                }
                if committing { told } else { Fate::NotApplied }
            }
            None if committing => Fate::Open,
            None => Fate::NotApplied,
        };
        self.note(format!("transfer {begin}: {fate:?}"));
        self.book.unit(writes, fate);
    }

    /// The cluster is healed: the session must work again, and have its settings.
    async fn last_word(&mut self) {
        for _ in 0..ATTEMPTS {
            let pause = self.rng.u64(200..600);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let Some(client) = self.client().await else { continue };
            let number = self.book.number_outside();
            let statement = if self.reads { Statement::read(number) } else { Statement::append(number) };
            match self.call(&client, &statement).await {
                Ok(_) => {
                    if !self.reads {
                        self.book.unit(vec![number], Fate::Acknowledged);
                    }
                    for name in ["a", "b", "c"] {
                        let statement = Statement::show(self.book.number_outside(), name);
                        if let Ok(answer) = self.call(&client, &statement).await {
                            self.compare(name, answer.value);
                        }
                    }
                    return;
                }
                Err(error) => {
                    let fate = self.failed("the last word", &error);
                    if !self.reads {
                        self.book.unit(vec![number], fate);
                    }
                }
            }
        }
        if self.core.cluster().is_shut_down() {
            return;
        }
        self.book.broken(
            Invariant::EndsInTime,
            format!("{} does not work {ATTEMPTS} attempts after the cluster was healed", self.name),
        );
    }
}
