//! deadpool's `Manager`.

use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use wrapper_core::{Error, Result};

use super::Manager;
use crate::Conn;

impl managed::Manager for Manager {
    type Type = Conn;
    type Error = Error;

    async fn create(&self) -> Result<Conn> {
        self.open().await
    }

    async fn recycle(&self, conn: &mut Conn, _: &Metrics) -> RecycleResult<Error> {
        self.check(conn).await.map_err(RecycleError::Backend)
    }
}
