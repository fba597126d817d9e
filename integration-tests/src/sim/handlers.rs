//! The two query protocols over a session: simple queries, and Parse, Bind, Describe, Execute.
//!
//! What may not live here: SQL, transactions, sockets.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{Sink, SinkExt, stream};
use pgwire::api::cancel::CancelHandler;
use pgwire::api::portal::{Format, Portal};
use pgwire::api::query::{
    ExtendedQueryHandler, SimpleQueryHandler, send_execution_response, send_query_response,
    send_ready_for_query,
};
use pgwire::api::results::{FieldFormat, FieldInfo, QueryResponse, Response, Tag};
use pgwire::api::stmt::QueryParser;
use pgwire::api::store::PortalStore;
use pgwire::api::{ClientInfo, ClientPortalStore, DEFAULT_NAME, PgWireConnectionState, Type};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::cancel::CancelRequest;
use pgwire::messages::extendedquery::{Execute, Sync as SyncMessage};
use pgwire::messages::response::{EmptyQueryResponse, TransactionStatus};
use pgwire::messages::simplequery::Query;
use pgwire::messages::startup::{ParameterStatus, SecretKey};
use tokio::sync::{Mutex, Notify};

use super::error::SqlError;
use super::flavour::Engine;
use super::inner::{CancelKey, Server, locked};
use super::login::Reported;
use super::node::LoginEntry;
use super::session::{Answer, Prepared, Session, Variables};
use super::sql::value::Value;
use super::sql::{Identity, OutColumn, wire};

/// The server side of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Backend(Arc<Core>);

#[derive(Debug)]
struct Core {
    server: Server,
    /// The connection's number in the node's books.
    entry: u64,
    reported: Arc<Reported>,
    cancel: Arc<Notify>,
    /// `None` until the login has ended.
    session: Mutex<Option<Session>>,
    pid: std::sync::Mutex<Option<i32>>,
}

impl Drop for Core {
    fn drop(&mut self) {
        if let Some(pid) = *locked(&self.pid) {
            locked(&self.server.inner.cancels).remove(&pid);
        }
    }
}

impl Backend {
    pub(crate) fn new(server: Server, entry: u64) -> Self {
        let (reported, cancel, session) = (Arc::default(), Arc::default(), Mutex::default());
        Backend(Arc::new(Core { server, entry, reported, cancel, session, pid: std::sync::Mutex::default() }))
    }

    pub(crate) fn server(&self) -> &Server {
        &self.0.server
    }

    pub(crate) fn reported(&self) -> Arc<Reported> {
        Arc::clone(&self.0.reported)
    }

    /// Makes the session of a client that has shown who it is.
    pub(crate) async fn enter_session<C: ClientInfo>(
        &self,
        client: &C,
        vars: Variables,
        pid: i32,
        secret: SecretKey,
    ) {
        let core = &self.0;
        let given = |name: &str| client.metadata().get(name).cloned();
        let user = given("user").unwrap_or_default();
        let database = given("database").unwrap_or_else(|| user.clone());
        let application_name = given("application_name").unwrap_or_default();
        core.reported.update(&vars, &core.server, &user);
        let login = LoginEntry { pid, user: user.clone(), database: database.clone(), application_name };
        if let Some(entry) = core.server.own().state().sessions.get_mut(&core.entry) {
            entry.login = Some(login);
        }
        let key = CancelKey { node: core.server.node, secret, cancel: Arc::clone(&core.cancel) };
        locked(&core.server.inner.cancels).insert(pid, key);
        *locked(&core.pid) = Some(pid);
        let identity = Identity { pid, user, database, client: client.socket_addr() };
        let (facts, store) = (Arc::new(core.server.clone()), Arc::clone(&core.server.inner.store));
        let session = Session::new(facts, store, core.server.node, identity, vars);
        *core.session.lock().await = Some(session.cancelled_by(Arc::clone(&core.cancel)));
    }

    /// Notes an error that the session has not seen itself, such as one of the protocol.
    pub(crate) async fn note_error(&self) {
        if let Some(session) = self.0.session.lock().await.as_mut() {
            session.fail();
        }
    }

    /// Channels that the session listens to, and whether it is between transactions.
    pub(crate) async fn listening(&self) -> (BTreeSet<String>, bool) {
        match self.0.session.lock().await.as_ref() {
            None => (BTreeSet::new(), false),
            Some(session) => (session.channels.clone(), session.status() == TransactionStatus::Idle),
        }
    }

    /// Publishes the NOTIFYs of what was committed.
    pub(crate) async fn publish(&self) {
        let Some((pid, published)) = self
            .0
            .session
            .lock()
            .await
            .as_mut()
            .map(|session| (session.identity.pid, std::mem::take(&mut session.published)))
        else {
            return;
        };
        for (channel, payload) in published {
            // Nobody may be listening.
            self.0.server.inner.notifications.send((pid, channel, payload)).ok();
        }
    }

    async fn status(&self) -> TransactionStatus {
        self.0.session.lock().await.as_ref().map_or(TransactionStatus::Idle, Session::status)
    }

    /// Tells the client about settings that have changed.
    async fn report<C>(&self, client: &mut C) -> PgWireResult<()>
    where
        C: Sink<PgWireBackendMessage> + Unpin + Send,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let news = match self.0.session.lock().await.as_ref() {
            None => Vec::new(),
            Some(session) => self.0.reported.update(&session.vars, &self.0.server, &session.identity.user),
        };
        for (name, value) in news {
            client.feed(PgWireBackendMessage::ParameterStatus(ParameterStatus::new(name, value))).await?;
        }
        Ok(())
    }

    async fn simple(&self, sql: &str) -> Vec<Response> {
        let mut guard = self.0.session.lock().await;
        let Some(session) = guard.as_mut() else { return vec![error_response(&no_session())] };
        let statements = match super::sql::parse(Engine::Postgres, sql) {
            Ok(statements) => statements,
            Err(error) => {
                session.fail();
                return vec![error_response(&error)];
            }
        };
        let shared = statements.len() > 1;
        let mut responses = Vec::new();
        for statement in &statements {
            if shared {
                session.begin_implicit();
            }
            let answer = session.execute(statement, &[], &[]).await;
            match answer.and_then(|answer| response(answer, &Format::UnifiedText)) {
                Ok(response) => responses.push(response),
                Err(error) => {
                    session.abort_implicit();
                    responses.push(error_response(&error));
                    return responses;
                }
            }
        }
        if let Err(error) = session.end_implicit().await {
            responses.push(error_response(&error));
        }
        responses
    }

    async fn bound(&self, portal: &Portal<Arc<Prepared>>) -> Result<Response, SqlError> {
        let prepared = &portal.statement.statement;
        let mut guard = self.0.session.lock().await;
        let session = guard.as_mut().ok_or_else(no_session)?;
        let (given, expected) = (portal.parameters.len(), prepared.params.len());
        if given != expected {
            let message =
                format!("bind message supplies {given} parameters, but the statement requires {expected}");
            return Err(SqlError::new("08P01", message));
        }
        let decode = |(index, ty): (usize, &Type)| {
            wire::parameter(ty, portal.parameter_format.is_binary(index), portal.parameters[index].as_ref())
        };
        let params = prepared.params.iter().enumerate().map(decode).collect::<Result<Vec<Value>, _>>()?;
        let answer = session.execute(&prepared.statement, &params, &prepared.params).await?;
        let now = answer.rows.as_ref().map_or(&[][..], |(columns, _)| columns);
        if now != prepared.columns {
            return Err(SqlError::new("0A000", "cached plan must not change result type"));
        }
        response(answer, &portal.result_column_format)
    }
}

fn no_session() -> SqlError {
    SqlError::fatal("08P01", "the session has not been opened")
}

fn error_response(error: &SqlError) -> Response {
    Response::Error(Box::new(error.info()))
}

fn fields(columns: &[OutColumn], format: &Format) -> Vec<FieldInfo> {
    let field = |(index, column): (usize, &OutColumn)| {
        FieldInfo::new(column.name.clone(), None, None, column.ty.clone(), format_of(format, index))
    };
    columns.iter().enumerate().map(field).collect()
}

/// The wished format of a column; a list of formats that is too short means text.
fn format_of(format: &Format, index: usize) -> FieldFormat {
    match format {
        Format::Individual(codes) => {
            codes.get(index).map_or(FieldFormat::Text, |code| FieldFormat::from(*code))
        }
        unified => unified.format_for(index),
    }
}

fn response(answer: Answer, format: &Format) -> Result<Response, SqlError> {
    let Some((columns, rows)) = answer.rows else {
        let tag = Tag::new(&answer.tag);
        return Ok(Response::Execution(answer.count.map_or(tag.clone(), |count| tag.with_rows(count))));
    };
    let types: Vec<Type> = columns.iter().map(|column| column.ty.clone()).collect();
    let binary = |index| format_of(format, index) == FieldFormat::Binary;
    let encoded =
        rows.iter().map(|row| wire::data_row(row, &types, binary)).collect::<Result<Vec<_>, _>>()?;
    let rows = stream::iter(encoded.into_iter().map(Ok));
    let mut response = QueryResponse::new(Arc::new(fields(&columns, format)), rows);
    response.set_command_tag(&answer.tag);
    Ok(Response::Query(response))
}

#[async_trait]
impl SimpleQueryHandler for Backend {
    /// As the default, but with the session's own transaction status and its changed settings.
    async fn on_query<C>(&self, client: &mut C, query: Query) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let responses = SimpleQueryHandler::do_query(self, client, &query.query).await?;
        if responses.is_empty() {
            client.feed(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new())).await?;
        }
        for response in responses {
            match response {
                Response::Query(rows) => send_query_response(client, rows, true).await?,
                Response::Execution(tag) => send_execution_response(client, tag).await?,
                Response::Error(error) => {
                    client.feed(PgWireBackendMessage::ErrorResponse((*error).into())).await?;
                }
                _ => {}
            }
        }
        self.report(client).await?;
        let status = self.status().await;
        client.set_transaction_status(status);
        client.set_state(PgWireConnectionState::ReadyForQuery);
        send_ready_for_query(client, status).await
    }

    async fn do_query<C>(&self, _client: &mut C, query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        Ok(self.simple(query).await)
    }
}

#[async_trait]
impl QueryParser for Backend {
    type Statement = Arc<Prepared>;

    async fn parse_sql<C>(
        &self,
        _client: &C,
        sql: &str,
        types: &[Option<Type>],
    ) -> PgWireResult<Option<Self::Statement>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let mut guard = self.0.session.lock().await;
        let session = guard.as_mut().ok_or_else(no_session)?;
        Ok(session.prepare(sql, types)?.map(Arc::new))
    }

    fn get_parameter_types(&self, statement: &Self::Statement) -> PgWireResult<Vec<Type>> {
        Ok(statement.params.clone())
    }

    fn get_result_schema(
        &self,
        statement: &Self::Statement,
        format: Option<&Format>,
    ) -> PgWireResult<Vec<FieldInfo>> {
        Ok(fields(&statement.columns, format.unwrap_or(&Format::UnifiedText)))
    }
}

#[async_trait]
impl ExtendedQueryHandler for Backend {
    type Statement = Arc<Prepared>;
    type QueryParser = Backend;

    fn query_parser(&self) -> Arc<Self::QueryParser> {
        Arc::new(self.clone())
    }

    async fn on_execute<C>(&self, client: &mut C, message: Execute) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let outcome = self._on_execute(client, message).await;
        // Not what the responses suggest: ROLLBACK TO heals a failed transaction, a failed COMMIT ends it.
        client.set_transaction_status(self.status().await);
        outcome
    }

    async fn on_sync<C>(&self, client: &mut C, _message: SyncMessage) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        client.portal_store().rm_portal(DEFAULT_NAME);
        self.report(client).await?;
        let status = self.status().await;
        client.set_transaction_status(status);
        send_ready_for_query(client, status).await
    }

    async fn do_query<C>(
        &self,
        _client: &mut C,
        portal: &Portal<Self::Statement>,
        _max_rows: usize,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        Ok(self.bound(portal).await?)
    }
}

#[async_trait]
impl CancelHandler for Backend {
    async fn on_cancel_request(&self, request: CancelRequest) {
        let cancels = locked(&self.0.server.inner.cancels);
        let key = cancels.get(&request.pid).filter(|key| key.node == self.0.server.node);
        // A cancel request comes before any protocol version is agreed on: only the bytes can be compared.
        if let Some(key) = key.filter(|key| key.secret.to_bytes() == request.secret_key.to_bytes()) {
            key.cancel.notify_waiters();
        }
    }
}
