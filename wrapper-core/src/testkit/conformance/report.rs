//! What a suite gives: each clause and whether it is kept.

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;

use super::Checked;
use crate::env::Deadline;

/// Whether a clause is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It is.
    Kept,
    /// It is not; in which way.
    Broken(String),
    /// It was not asked, and why.
    NotAsked(&'static str),
}

/// One clause of a suite.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Clause {
    /// Its name, such as `kill-ends-calls`; names stay as they are.
    pub name: &'static str,
    /// Whether it is kept.
    pub verdict: Verdict,
}

/// What a suite has found: all of its clauses, in order.
///
/// ```
/// # use wrapper_core::testkit::conformance::Conformance;
/// # fn f(found: Conformance) {
/// println!("{found}");
/// assert!(found.is_kept(), "{found}");
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conformance {
    suite: &'static str,
    subject: String,
    clauses: Vec<Clause>,
    limit: Duration,
}

impl Conformance {
    /// A report without clauses; each of them may take `limit`.
    pub(super) fn new(suite: &'static str, subject: impl Into<String>, limit: Duration) -> Self {
        Self { suite, subject: subject.into(), clauses: Vec::new(), limit }
    }

    /// Asks whether a clause is kept. A panic and a check that does not end break it.
    pub(super) async fn ask(&mut self, name: &'static str, check: impl Future<Output = Checked>) {
        let limit = Deadline::after(self.limit, "conformance");
        let guarded = AssertUnwindSafe(check).catch_unwind();
        let verdict = match limit.run("the check", async { Ok(guarded.await) }).await {
            Ok(Ok(Ok(()))) => Verdict::Kept,
            Ok(Ok(Err(what))) => Verdict::Broken(what),
            Ok(Err(panic)) => Verdict::Broken(crate::plugin::panicked("it", &*panic).message().to_owned()),
            Err(_) => Verdict::Broken(format!("it has not ended within {:?}", self.limit)),
        };
        self.clauses.push(Clause { name, verdict });
    }

    /// Notes a clause that cannot be asked.
    pub(super) fn skip(&mut self, name: &'static str, why: &'static str) {
        self.clauses.push(Clause { name, verdict: Verdict::NotAsked(why) });
    }

    /// The name of the suite.
    pub fn suite(&self) -> &'static str {
        self.suite
    }

    /// All clauses, in order.
    pub fn clauses(&self) -> &[Clause] {
        &self.clauses
    }

    /// The names of the clauses that are broken.
    pub fn broken(&self) -> Vec<&'static str> {
        let broken = self.clauses.iter().filter(|clause| matches!(clause.verdict, Verdict::Broken(_)));
        broken.map(|clause| clause.name).collect()
    }

    /// Whether no clause is broken.
    pub fn is_kept(&self) -> bool {
        self.broken().is_empty()
    }

    /// The report itself as an error where a clause is broken.
    ///
    /// # Errors
    /// At least one clause is broken; the text names each.
    pub fn into_result(self) -> Result<Self, Self> {
        if self.is_kept() { Ok(self) } else { Err(self) }
    }
}

impl fmt::Display for Conformance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} of `{}`:", self.suite, self.subject)?;
        for clause in &self.clauses {
            match &clause.verdict {
                Verdict::Kept => writeln!(f, "  kept       {}", clause.name)?,
                Verdict::Broken(what) => writeln!(f, "  BROKEN     {}: {what}", clause.name)?,
                Verdict::NotAsked(why) => writeln!(f, "  not asked  {}: {why}", clause.name)?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for Conformance {}
