//! PostgreSQL as a database of the pool.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgStatement, PgTypeInfo, Postgres};
use sqlx::{Describe, Executor, SqlStr};
use wrapper_core::config::DriverKeys;
use wrapper_core::driver::{Rows, TransactionStatus};
use wrapper_core::host::HostInfo;
use wrapper_core::{Error, Result};

use super::backend::{Backend, Internals, Item, Parts, Reach};
use crate::postgres::SqlxPgDriver;
use crate::postgres::error::{describe_error, map_connect_error};
use crate::postgres::text;

impl Backend for Postgres {}

impl Internals for Postgres {
    type Driver = SqlxPgDriver;

    const KEYS: DriverKeys<'static> =
        DriverKeys { schemes: &["postgres", "postgresql"], default_port: 5432, names: &[] };

    fn driver(options: PgConnectOptions, reach: Option<Arc<Reach<Self>>>) -> SqlxPgDriver {
        let driver = SqlxPgDriver::new(options);
        match reach {
            Some(reach) => driver.reach(move |host, options| reach(host, options)),
            None => driver,
        }
    }

    fn endpoint(options: &PgConnectOptions) -> Result<(String, u16)> {
        let host = options.get_host();
        if options.get_socket().is_some() || host.starts_with('/') {
            return Err(Error::config(format!(
                "`host={host}` or `socket` of the connect options names a Unix socket; expected a host name of the \
                 cluster, because its instances are on several hosts"
            )));
        }
        Ok((host.to_owned(), options.get_port()))
    }

    fn lead(driver: &SqlxPgDriver, host: &HostInfo, options: PgConnectOptions) -> PgConnectOptions {
        driver.reached().options(host, options)
    }

    fn describe_error(error: &sqlx::Error) -> Error {
        describe_error(error)
    }

    fn connect_error(error: sqlx::Error) -> Error {
        map_connect_error(error, false)
    }

    fn fetch_many(
        connection: &mut PgConnection,
        query: Parts<Self>,
    ) -> BoxStream<'_, sqlx::Result<Item<Self>>> {
        Executor::fetch_many(connection, query)
    }

    fn prepare<'c>(
        connection: &'c mut PgConnection,
        sql: SqlStr,
        types: &'c [PgTypeInfo],
    ) -> BoxFuture<'c, sqlx::Result<PgStatement>> {
        connection.prepare_with(sql, types)
    }

    fn describe(connection: &mut PgConnection, sql: SqlStr) -> BoxFuture<'_, sqlx::Result<Describe<Self>>> {
        Executor::describe(connection, sql)
    }

    fn ask(connection: &mut PgConnection, sql: String) -> BoxFuture<'_, sqlx::Result<Rows>> {
        async move { text::ask(connection, sql).await.map(|(rows, _)| rows) }.boxed()
    }

    fn may_change_transaction(sql: &str) -> bool {
        text::may_change_transaction(sql)
    }

    fn transaction_status(connection: &mut PgConnection) -> BoxFuture<'_, TransactionStatus> {
        text::transaction_status(connection).boxed()
    }
}
