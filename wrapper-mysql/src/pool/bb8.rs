//! bb8's `ManageConnection`.

use wrapper_core::driver::{DriverConnection, TransactionStatus};
use wrapper_core::{Error, Result};

use super::Manager;
use crate::Conn;

/// Keep `test_on_check_out` on, bb8's default: it is where a connection is refused whose host was demoted while it was
/// idle.
impl bb8::ManageConnection for Manager {
    type Connection = Conn;
    type Error = Error;

    async fn connect(&self) -> Result<Conn> {
        self.open().await
    }

    async fn is_valid(&self, conn: &mut Conn) -> Result<()> {
        self.check(conn).await
    }

    /// Asked when a connection comes back. One that was left in a transaction is told to roll it back, without a wait, so
    /// that it holds no locks while it is idle.
    fn has_broken(&self, conn: &mut Conn) -> bool {
        conn.reclaim();
        if conn.is_disconnected() {
            return true;
        }
        let current = conn.session().pin();
        if current.connection.transaction_status() != TransactionStatus::Idle {
            current.connection.roll_back();
        }
        false
    }
}
