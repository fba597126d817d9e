//! bb8's `ManageConnection`.

use wrapper_core::driver::{DriverConnection, TransactionStatus};
use wrapper_core::{Error, Result};

use super::Manager;
use crate::Client;
use crate::transaction::forget;

/// Keep `test_on_check_out` on, bb8's default: it is where a client is refused whose host was demoted while it was idle.
impl bb8::ManageConnection for Manager {
    type Connection = Client;
    type Error = Error;

    async fn connect(&self) -> Result<Client> {
        self.open().await
    }

    async fn is_valid(&self, client: &mut Client) -> Result<()> {
        self.check(client).await
    }

    /// Asked when a client comes back. One that was left in a transaction is told to roll it back, without a wait, so
    /// that it holds no locks while it is idle.
    fn has_broken(&self, client: &mut Client) -> bool {
        if client.is_closed() {
            return true;
        }
        let current = client.session().pin();
        if current.connection.transaction_status() != TransactionStatus::Idle {
            forget(&current.connection, "ROLLBACK");
        }
        false
    }
}
