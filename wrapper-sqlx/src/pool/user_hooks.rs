//! The application's own hooks, which run beside the library's.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::super::family::Family;
use super::super::sqlx::pool::PoolConnectionMetadata;
use super::super::sqlx::{self, Database};

pub(super) type AfterConnect<DB> =
    dyn for<'c> Fn(&'c mut <DB as Database>::Connection) -> BoxFuture<'c, sqlx::Result<()>> + Send + Sync;
pub(super) type Decide<DB> = dyn for<'c> Fn(
        &'c mut <DB as Database>::Connection,
        PoolConnectionMetadata,
    ) -> BoxFuture<'c, sqlx::Result<bool>>
    + Send
    + Sync;

/// What the application has given.
pub(super) struct UserHooks<DB: Family> {
    pub(super) after_connect: Option<Arc<AfterConnect<DB>>>,
    pub(super) before_acquire: Option<Arc<Decide<DB>>>,
    pub(super) after_release: Option<Arc<Decide<DB>>>,
}

impl<DB: Family> Default for UserHooks<DB> {
    fn default() -> Self {
        Self { after_connect: None, before_acquire: None, after_release: None }
    }
}

impl<DB: Family> UserHooks<DB> {
    pub(super) async fn after_connect(&self, connection: &mut DB::Connection) -> sqlx::Result<()> {
        match &self.after_connect {
            Some(hook) => hook(connection).await,
            None => Ok(()),
        }
    }
}

/// What a hook of the application decides; yes, when there is none.
pub(super) async fn decide<DB: Family>(
    hook: &Option<Arc<Decide<DB>>>,
    connection: &mut DB::Connection,
    metadata: PoolConnectionMetadata,
) -> sqlx::Result<bool> {
    match hook {
        Some(hook) => hook(connection, metadata).await,
        None => Ok(true),
    }
}

impl<DB: Family> fmt::Debug for UserHooks<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserHooks")
            .field("after_connect", &self.after_connect.is_some())
            .field("before_acquire", &self.before_acquire.is_some())
            .field("after_release", &self.after_release.is_some())
            .finish()
    }
}
