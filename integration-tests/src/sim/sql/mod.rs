//! SQL of the simulated servers: a statement is parsed by `sqlparser`, bound to tables, functions and types
//! ([`bind`]), and run against one node's view of the store.
//!
//! What may not live here: sockets, transactions, settings (`session`), and who the writer is. Metadata queries
//! are not recognised by their text: they call functions that this module knows, in any form.

pub(crate) mod aggregate;
pub(crate) mod bind;
pub(crate) mod catalog;
pub(crate) mod eval;
pub(crate) mod expr;
pub(crate) mod functions;
pub(crate) mod mysql;
pub(crate) mod select;
pub(crate) mod text;
pub(crate) mod tokens;
pub(crate) mod value;
pub(crate) mod wire;
pub(crate) mod write;

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use pgwire::api::Type;
use sqlparser::ast::{ObjectName, ObjectNamePart, Statement};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, Tokenizer};

use super::error::SqlError;
use super::flavour::{Engine, Flavour, RdsTools};
use super::node::CommitFate;
use super::session::Variables;
use super::store::{Database, Inner, Op};
use value::Value;

/// What a server knows of itself and its cluster; asked while a statement runs.
pub(crate) trait Facts: Send + Sync {
    fn engine(&self) -> Engine;
    fn flavour(&self) -> Flavour;
    /// MySQL's `@@server_id`.
    fn server_id(&self) -> u64;
    fn rds_tools(&self) -> RdsTools;
    fn in_recovery(&self) -> bool;
    fn address(&self) -> SocketAddr;
    fn version(&self) -> String;
    fn started(&self) -> SystemTime;
    /// The name that `aurora_db_instance_identifier()` answers with.
    fn instance(&self) -> String;
    fn resource_id(&self) -> String;
    /// The cluster as this node sees it now, with its delay.
    fn topology(&self) -> Vec<Member>;
    fn sessions(&self) -> Vec<Activity>;
    /// What becomes of a commit that this session asks for now; resets its connection where the fate wants it.
    fn fate_of_commit(&self, pid: i32) -> CommitFate;
    /// Ends another session of this server, or only its statement; false if there is none.
    fn signal(&self, pid: i32, terminate: bool) -> bool;
}

/// One instance in the topology.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) instance: String,
    pub(crate) endpoint: String,
    pub(crate) resource_id: String,
    pub(crate) server_id: u64,
    pub(crate) session_id: String,
    pub(crate) port: u16,
    pub(crate) writer: bool,
    pub(crate) lag: Duration,
    pub(crate) cpu: f64,
    pub(crate) updated: SystemTime,
}

/// One session, as `pg_stat_activity` shows it.
#[derive(Clone, Debug)]
pub(crate) struct Activity {
    pub(crate) pid: i32,
    pub(crate) user: String,
    pub(crate) database: String,
    pub(crate) application_name: String,
    pub(crate) client: SocketAddr,
}

/// Who runs a statement.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) pid: i32,
    pub(crate) user: String,
    pub(crate) database: String,
    pub(crate) client: SocketAddr,
}

/// All that a running statement can see and change.
pub(crate) struct Env<'a> {
    pub(crate) facts: &'a dyn Facts,
    pub(crate) store: &'a mut Inner,
    /// The node's data with the changes of the running transaction.
    pub(crate) db: Database,
    pub(crate) vars: &'a mut Variables,
    pub(crate) identity: &'a Identity,
    pub(crate) params: &'a [Value],
    /// Start of the transaction: `now()`.
    pub(crate) clock: i64,
    /// Changes made by this statement.
    pub(crate) ops: Vec<Op>,
    /// What `pg_sleep` asked for; the session waits for it before it answers.
    pub(crate) sleep: Duration,
    /// Channel and payload of NOTIFYs.
    pub(crate) notifications: Vec<(String, String)>,
    /// MySQL's LAST_INSERT_ID(): of the statement before, then of this one.
    pub(crate) last_insert_id: i64,
    /// The first number that this statement took from an AUTO_INCREMENT column; 0 for none.
    pub(crate) generated: i64,
}

/// A column of a result.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OutColumn {
    pub(crate) name: String,
    pub(crate) ty: Type,
}

impl OutColumn {
    pub(crate) fn new(name: &str, ty: Type) -> Self {
        Self { name: name.to_owned(), ty }
    }
}

/// Splits and parses SQL text of this engine.
///
/// # Errors
/// 42601 with the parser's message; also for valid SQL that the parser does not know.
pub(crate) fn parse(engine: Engine, sql: &str) -> Result<Vec<Statement>, SqlError> {
    match engine {
        Engine::Postgres => parse_postgres(sql),
        Engine::Mysql => mysql::parse(sql),
    }
}

fn parse_postgres(sql: &str) -> Result<Vec<Statement>, SqlError> {
    let dialect = PostgreSqlDialect {};
    let parsed =
        Tokenizer::new(&dialect, sql).tokenize().map_err(|error| error.to_string()).and_then(|tokens| {
            let mut parser =
                Parser::new(&dialect).with_tokens(tokens::plain_operators(without_deferrable(tokens)));
            parser.parse_statements().map_err(|error| error.to_string())
        });
    parsed.map_err(|message| SqlError::new("42601", message))
}

/// Drops `[NOT] DEFERRABLE` from BEGIN, START TRANSACTION and SET, which the parser does not know there and
/// which has no effect here.
fn without_deferrable(tokens: Vec<Token>) -> Vec<Token> {
    let word =
        |token: &Token, wanted: &str| matches!(token, Token::Word(w) if w.value.eq_ignore_ascii_case(wanted));
    let mut words = tokens.iter().filter(|token| matches!(token, Token::Word(_)));
    let opens = words.next().is_some_and(|first| ["begin", "start", "set"].iter().any(|w| word(first, w)));
    if !opens || !tokens.iter().any(|token| word(token, "deferrable")) {
        return tokens;
    }
    let mut kept: Vec<Token> = Vec::new();
    for token in tokens.into_iter().filter(|token| !matches!(token, Token::Whitespace(_))) {
        if word(&token, "deferrable") {
            kept.pop_if(|last| word(last, "not"));
            kept.pop_if(|last| *last == Token::Comma);
        } else {
            kept.push(token);
        }
    }
    kept
}

/// An identifier as PostgreSQL folds it.
pub(crate) fn folded(ident: &sqlparser::ast::Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_ascii_lowercase() }
}

/// A possibly qualified name, folded, without the schemas that need no naming.
pub(crate) fn name_of(name: &ObjectName) -> String {
    let parts = name.0.iter().map(|part| match part {
        ObjectNamePart::Identifier(ident) => folded(ident),
        other => other.to_string().to_ascii_lowercase(),
    });
    unqualified(&parts.collect::<Vec<_>>().join("."))
}

/// Drops `public.` and `pg_catalog.` from a folded name.
pub(crate) fn unqualified(name: &str) -> String {
    let bare = name.strip_prefix("pg_catalog.").or_else(|| name.strip_prefix("public."));
    bare.unwrap_or(name).to_owned()
}
