//! deadpool's `Manager`.

use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use wrapper_core::{Error, Result};

use super::Manager;
use crate::Client;

impl managed::Manager for Manager {
    type Type = Client;
    type Error = Error;

    async fn create(&self) -> Result<Client> {
        self.open().await
    }

    async fn recycle(&self, client: &mut Client, _: &Metrics) -> RecycleResult<Error> {
        self.check(client).await.map_err(RecycleError::Backend)
    }
}
