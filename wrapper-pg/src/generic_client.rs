//! A trait over [`Client`] and [`Transaction`], for code that works with either.

use async_trait::async_trait;
use tokio_postgres::types::{BorrowToSql, ToSql, Type};
use tokio_postgres::{Row, SimpleQueryMessage};
use wrapper_core::Result;

use crate::{Client, RowStream, Statement, ToStatement, Transaction};

mod sealed {
    pub trait Sealed {}
    impl Sealed for crate::Client {}
    impl Sealed for crate::Transaction<'_> {}
}

/// Writes the trait and its two implementations from one list of signatures.
macro_rules! generic_client {
    ($(
        $(#[$doc:meta])*
        async fn $name:ident $(<$($generic:ident),+>)? (&self $(, $arg:ident : $type:ty)* $(,)?) -> $out:ty
        $(where { $($bound:tt)+ })?;
    )+) => {
        /// What [`Client`] and [`Transaction`] have in common, as `tokio_postgres::GenericClient` has it for the
        /// driver's types. Sealed.
        #[async_trait]
        pub trait GenericClient: sealed::Sealed + Send + Sync {
            $(
                $(#[$doc])*
                async fn $name $(<$($generic),+>)? (&self $(, $arg: $type)*) -> $out $(where $($bound)+)?;
            )+

            /// Begins a transaction, or a savepoint inside one.
            ///
            /// # Errors
            /// As for the method of the type.
            async fn transaction<'a>(&'a mut self) -> Result<Transaction<'a>>;
        }

        #[async_trait]
        impl GenericClient for Client {
            $(
                async fn $name $(<$($generic),+>)? (&self $(, $arg: $type)*) -> $out $(where $($bound)+)? {
                    Client::$name(self $(, $arg)*).await
                }
            )+

            async fn transaction<'a>(&'a mut self) -> Result<Transaction<'a>> {
                Client::transaction(self).await
            }
        }

        #[async_trait]
        impl GenericClient for Transaction<'_> {
            $(
                async fn $name $(<$($generic),+>)? (&self $(, $arg: $type)*) -> $out $(where $($bound)+)? {
                    Transaction::$name(self $(, $arg)*).await
                }
            )+

            async fn transaction<'a>(&'a mut self) -> Result<Transaction<'a>> {
                Transaction::transaction(self).await
            }
        }
    };
}

generic_client! {
    /// Like [`Client::query`].
    async fn query<T>(&self, statement: &T, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>>
        where { T: ?Sized + ToStatement + Sync + Send };
    /// Like [`Client::query_one`].
    async fn query_one<T>(&self, statement: &T, params: &[&(dyn ToSql + Sync)]) -> Result<Row>
        where { T: ?Sized + ToStatement + Sync + Send };
    /// Like [`Client::query_opt`].
    async fn query_opt<T>(&self, statement: &T, params: &[&(dyn ToSql + Sync)]) -> Result<Option<Row>>
        where { T: ?Sized + ToStatement + Sync + Send };
    /// Like [`Client::query_raw`].
    async fn query_raw<T, P, I>(&self, statement: &T, params: I) -> Result<RowStream>
        where {
            T: ?Sized + ToStatement + Sync + Send,
            P: BorrowToSql + Send + Sync,
            I: IntoIterator<Item = P> + Sync + Send,
            I::IntoIter: ExactSizeIterator
        };
    /// Like [`Client::query_typed`].
    async fn query_typed(&self, statement: &str, params: &[(&(dyn ToSql + Sync), Type)]) -> Result<Vec<Row>>;
    /// Like [`Client::query_typed_one`].
    async fn query_typed_one(&self, statement: &str, params: &[(&(dyn ToSql + Sync), Type)]) -> Result<Row>;
    /// Like [`Client::query_typed_opt`].
    async fn query_typed_opt(&self, statement: &str, params: &[(&(dyn ToSql + Sync), Type)]) -> Result<Option<Row>>;
    /// Like [`Client::query_typed_raw`].
    async fn query_typed_raw<P, I>(&self, statement: &str, params: I) -> Result<RowStream>
        where { P: BorrowToSql + Send + Sync, I: IntoIterator<Item = (P, Type)> + Sync + Send };
    /// Like [`Client::execute`].
    async fn execute<T>(&self, statement: &T, params: &[&(dyn ToSql + Sync)]) -> Result<u64>
        where { T: ?Sized + ToStatement + Sync + Send };
    /// Like [`Client::execute_raw`].
    async fn execute_raw<T, P, I>(&self, statement: &T, params: I) -> Result<u64>
        where {
            T: ?Sized + ToStatement + Sync + Send,
            P: BorrowToSql + Send + Sync,
            I: IntoIterator<Item = P> + Sync + Send,
            I::IntoIter: ExactSizeIterator
        };
    /// Like [`Client::execute_typed`].
    async fn execute_typed(&self, statement: &str, params: &[(&(dyn ToSql + Sync), Type)]) -> Result<u64>;
    /// Like [`Client::prepare`].
    async fn prepare(&self, query: &str) -> Result<Statement>;
    /// Like [`Client::prepare_typed`].
    async fn prepare_typed(&self, query: &str, parameter_types: &[Type]) -> Result<Statement>;
    /// Like [`Client::batch_execute`].
    async fn batch_execute(&self, query: &str) -> Result<()>;
    /// Like [`Client::simple_query`].
    async fn simple_query(&self, query: &str) -> Result<Vec<SimpleQueryMessage>>;
}
