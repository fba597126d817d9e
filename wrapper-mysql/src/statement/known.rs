//! Which statement of ours stands for one of the driver's.

use mysql_async::Statement as Raw;
use wrapper_core::{Error, ErrorKind, Result};

use super::{Statement, StatementRef};

/// How many statements of the driver one client remembers: those that `Queryable::prep` gave last.
const LIMIT: usize = 1024;

/// The driver's statements that were given out, with ours for each: a statement of the driver carries no SQL that
/// anybody can read, and its number means something else on another connection (B3).
#[derive(Debug, Default)]
pub(crate) struct Known(Vec<(Raw, Statement)>);

impl Known {
    pub(crate) fn add(&mut self, statement: &Statement) {
        let raw = statement.raw();
        if self.find(&raw).is_some() {
            return;
        }
        if self.0.len() == LIMIT {
            self.0.remove(0);
        }
        self.0.push((raw, statement.clone()));
    }

    /// Two statements of the driver are equal only when their text is, too.
    fn find(&self, raw: &Raw) -> Option<&Statement> {
        self.0.iter().rev().find(|(known, _)| known == raw).map(|(_, statement)| statement)
    }

    pub(crate) fn remove(&mut self, raw: &Raw) {
        self.0.retain(|(known, _)| known != raw);
    }

    /// Puts ours in place of a statement of the driver.
    ///
    /// # Errors
    /// This client has not prepared it.
    pub(crate) fn translate<'a>(&self, statement: StatementRef<'a>) -> Result<StatementRef<'a>> {
        match statement {
            StatementRef::Driver(raw) => match self.find(&raw) {
                Some(statement) => Ok(StatementRef::Prepared(std::borrow::Cow::Owned(statement.clone()))),
                None => Err(Error::new(
                    ErrorKind::StaleStatement,
                    "a statement of the driver was used that this `Conn` has not prepared, or that it was told to \
                     close; its number may mean another statement here, so it was not sent; prepare it on this `Conn`",
                )),
            },
            statement => Ok(statement),
        }
    }
}
