//! A connection for tests that answers from a script and remembers what it was asked.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use crate::driver::{DriverConnection, Rows, TransactionStatus};
use crate::env::Deadline;
use crate::error::{Error, Result};

/// Gives the answers in order; asked once more than there are answers, it fails the test.
#[derive(Debug)]
pub(crate) struct Scripted {
    answers: Mutex<Vec<Result<Rows>>>,
    asked: Mutex<Vec<String>>,
}

impl Scripted {
    pub(crate) fn new(answers: impl IntoIterator<Item = Result<Rows>>) -> Self {
        Self { answers: Mutex::new(answers.into_iter().collect()), asked: Mutex::default() }
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A table in which `-` stands for NULL and rows and columns are separated as in text.
pub(crate) fn table(text: &str) -> Rows {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let cells = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<String>>();
    let columns = lines.next().map(cells).unwrap_or_default();
    let null = |cell: String| (cell != "-").then_some(cell);
    Rows::new(columns, lines.map(|line| cells(line).into_iter().map(null).collect()).collect())
}

#[async_trait]
impl DriverConnection for Scripted {
    async fn fetch_text(&self, sql: &str, _deadline: Deadline) -> Result<Rows> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(sql.to_owned());
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(!answers.is_empty(), "one question too many: {sql}");
        answers.remove(0)
    }

    async fn ping(&self, _deadline: Deadline) -> Result<()> {
        Ok(())
    }

    fn kill(&self, _reason: Error) {}

    fn drain(&self) {}

    fn is_closed(&self) -> bool {
        false
    }

    fn transaction_status(&self) -> TransactionStatus {
        TransactionStatus::Idle
    }

    fn bytes_received(&self) -> u64 {
        0
    }
}
