//! Commands of a logged-in client, and their answers.
//!
//! What may not live here: SQL, transactions, sockets.

use std::collections::BTreeMap;
use std::io;

use mysql_common::constants::{CapabilityFlags, Command, StatusFlags};
use mysql_common::io::{BufMutExt, ParseBuf};

use super::params::{self, Declared};
use super::rows;
use super::wire::Wire;
use crate::sim::error::SqlError;
use crate::sim::inner::Server;
use crate::sim::session::{Answer, Prepared, Session};
use crate::sim::sql::{Facts, OutColumn};

/// A statement that a client has prepared.
struct Statement {
    prepared: Prepared,
    declared: Vec<Declared>,
    /// What came by COM_STMT_SEND_LONG_DATA, by parameter.
    long: BTreeMap<usize, Vec<u8>>,
}

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    Binary,
}

/// A client's commands being served.
pub(super) struct Served<'a> {
    wire: &'a mut Wire,
    server: &'a Server,
    session: Session,
    statements: BTreeMap<u32, Statement>,
    /// The number of the last statement that was prepared.
    last: u32,
}

impl<'a> Served<'a> {
    pub(super) fn new(wire: &'a mut Wire, server: &'a Server, session: Session) -> Self {
        Served { wire, server, session, statements: BTreeMap::new(), last: 0 }
    }

    /// Answers commands until the client goes.
    ///
    /// # Errors
    /// Those of the connection.
    pub(super) async fn run(mut self) -> io::Result<()> {
        loop {
            let packet = match self.wire.read_command().await {
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    let message = "Got a packet bigger than 'max_allowed_packet' bytes";
                    self.refuse(&SqlError::mysql(1153, "08S01", message));
                    return self.wire.flush().await;
                }
                read => read?,
            };
            let Some((code, body)) = packet.split_first() else { return Ok(()) };
            if *code == Command::COM_QUIT as u8 {
                return Ok(());
            }
            self.answer(*code, body).await;
            self.wire.flush().await?;
        }
    }

    async fn answer(&mut self, code: u8, body: &[u8]) {
        const QUERY: u8 = Command::COM_QUERY as u8;
        const PREPARE: u8 = Command::COM_STMT_PREPARE as u8;
        const EXECUTE: u8 = Command::COM_STMT_EXECUTE as u8;
        const LONG_DATA: u8 = Command::COM_STMT_SEND_LONG_DATA as u8;
        const CLOSE: u8 = Command::COM_STMT_CLOSE as u8;
        const RESET: u8 = Command::COM_STMT_RESET as u8;
        const PING: u8 = Command::COM_PING as u8;
        const INIT_DB: u8 = Command::COM_INIT_DB as u8;
        const RESET_CONNECTION: u8 = Command::COM_RESET_CONNECTION as u8;
        let outcome = match code {
            QUERY => self.query(body).await,
            PREPARE => self.prepare(body),
            EXECUTE => self.execute(body).await,
            LONG_DATA => {
                // Never answered: what is wrong comes out when the statement is executed.
                self.long_data(body);
                return;
            }
            CLOSE => {
                let mut body = ParseBuf(body);
                body.checked_eat_u32_le().map(|number| self.statements.remove(&number));
                return;
            }
            RESET => self
                .statement(body, "mysqld_stmt_reset")
                .map(|(statement, _)| statement.long.clear())
                .map(|()| self.done()),
            PING => {
                self.done();
                Ok(())
            }
            INIT_DB => utf8(body).map(|name| {
                self.session.identity.database = name.to_owned();
                self.done();
            }),
            RESET_CONNECTION => {
                self.session.reset_mysql();
                self.statements.clear();
                self.done();
                Ok(())
            }
            _ => Err(SqlError::mysql(1047, "08S01", "Unknown command")),
        };
        if let Err(error) = outcome {
            self.refuse(&error);
        }
    }

    fn refuse(&mut self, error: &SqlError) {
        self.wire.put_error(error, self.server.in_recovery());
    }

    /// The state of the session, as every answer tells it.
    fn status(&self) -> StatusFlags {
        let mut status = StatusFlags::empty();
        status.set(StatusFlags::SERVER_STATUS_AUTOCOMMIT, self.session.autocommits());
        if let Some(read_only) = self.session.open_transaction() {
            status.insert(StatusFlags::SERVER_STATUS_IN_TRANS);
            status.set(StatusFlags::SERVER_STATUS_IN_TRANS_READONLY, read_only);
        }
        status
    }

    fn done(&mut self) {
        self.wire.put_ok(0, 0, self.status());
    }

    async fn query(&mut self, body: &[u8]) -> Result<(), SqlError> {
        let statements = crate::sim::sql::parse(self.server.engine(), utf8(body)?)?;
        if statements.is_empty() {
            return Err(SqlError::mysql(1065, "42000", "Query was empty"));
        }
        let several = self.wire.abilities.contains(CapabilityFlags::CLIENT_MULTI_STATEMENTS);
        if statements.len() > 1 && !several {
            return Err(SqlError::new("42601", "this client takes the answer of one statement alone"));
        }
        for (index, statement) in statements.iter().enumerate() {
            let answer = self.session.execute(statement, &[], &[]).await?;
            self.put_answer(answer, Form::Text, index + 1 < statements.len());
        }
        Ok(())
    }

    fn prepare(&mut self, body: &[u8]) -> Result<(), SqlError> {
        let prepared = self.session.prepare(utf8(body)?, &[])?;
        let prepared = prepared.ok_or_else(|| SqlError::mysql(1065, "42000", "Query was empty"))?;
        self.last += 1;
        let counts = (u16::try_from(prepared.columns.len()), u16::try_from(prepared.params.len()));
        let (Ok(columns), Ok(params)) = counts else {
            let message = "Prepared statement contains too many placeholders";
            return Err(SqlError::mysql(1390, "HY000", message));
        };
        let mut payload = vec![0x00];
        payload.extend_from_slice(&self.last.to_le_bytes());
        payload.extend_from_slice(&columns.to_le_bytes());
        payload.extend_from_slice(&params.to_le_bytes());
        payload.extend_from_slice(&[0, 0, 0]); // filler, no warnings
        self.wire.put(&payload);
        let params: Vec<OutColumn> =
            prepared.params.iter().map(|ty| OutColumn::new("?", ty.clone())).collect();
        for list in [&params, &prepared.columns] {
            if !list.is_empty() {
                self.put_columns(list);
            }
        }
        let statement = Statement { prepared, declared: Vec::new(), long: BTreeMap::new() };
        self.statements.insert(self.last, statement);
        Ok(())
    }

    /// The statement that a command names by its number, and what follows.
    fn statement<'s, 'b>(
        &'s mut self,
        body: &'b [u8],
        command: &str,
    ) -> Result<(&'s mut Statement, ParseBuf<'b>), SqlError> {
        let mut body = ParseBuf(body);
        let number = body.checked_eat_u32_le().unwrap_or_default();
        match self.statements.get_mut(&number) {
            Some(statement) => Ok((statement, body)),
            None => {
                let message = format!("Unknown prepared statement handler ({number}) given to {command}");
                Err(SqlError::mysql(1243, "HY000", message))
            }
        }
    }

    async fn execute(&mut self, body: &[u8]) -> Result<(), SqlError> {
        let (statement, mut body) = self.statement(body, "mysqld_stmt_execute")?;
        let cursor = body.checked_eat_u8().unwrap_or_default() != 0;
        body.checked_eat_u32_le(); // how often: always once
        if cursor {
            return Err(SqlError::unsupported("cursors"));
        }
        let long = std::mem::take(&mut statement.long);
        let wanted = &statement.prepared.params;
        let params = params::read(body, wanted, &mut statement.declared, &long)?;
        let Prepared { statement, params: types, .. } = statement.prepared.clone();
        let answer = self.session.execute(&statement, &params, &types).await?;
        self.put_answer(answer, Form::Binary, false);
        Ok(())
    }

    fn long_data(&mut self, body: &[u8]) {
        let Ok((statement, mut body)) = self.statement(body, "mysqld_stmt_send_long_data") else { return };
        if let Some(index) = body.checked_eat_u16_le() {
            statement.long.entry(index.into()).or_default().extend_from_slice(body.eat_all());
        }
    }

    fn put_columns(&mut self, columns: &[OutColumn]) {
        for column in columns {
            self.wire.put_packet(&rows::definition(column));
        }
        let status = self.status();
        self.wire.put_end_of_columns(status);
    }

    fn put_answer(&mut self, answer: Answer, form: Form, more: bool) {
        let mut status = self.status();
        status.set(StatusFlags::SERVER_MORE_RESULTS_EXISTS, more);
        let Some((columns, found)) = answer.rows else {
            let affected = answer.count.unwrap_or_default() as u64;
            return self.wire.put_ok(affected, answer.insert_id.unsigned_abs(), status);
        };
        let mut count = Vec::new();
        count.put_lenenc_int(columns.len() as u64);
        self.wire.put(&count);
        self.put_columns(&columns);
        for row in &found {
            self.wire.put(&match form {
                Form::Text => rows::text_row(row, &columns),
                Form::Binary => rows::binary_row(row, &columns),
            });
        }
        self.wire.put_end_of_rows(status);
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, SqlError> {
    std::str::from_utf8(bytes).map_err(|_| SqlError::new("22021", "Invalid utf8mb4 character string"))
}
