//! The application's own hooks, which run beside the library's.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use sqlx::PgConnection;
use sqlx::pool::PoolConnectionMetadata;

pub(super) type AfterConnect =
    dyn for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, sqlx::Result<()>> + Send + Sync;
pub(super) type Decide = dyn for<'c> Fn(&'c mut PgConnection, PoolConnectionMetadata) -> BoxFuture<'c, sqlx::Result<bool>>
    + Send
    + Sync;

/// What the application has given.
#[derive(Clone, Default)]
pub(super) struct UserHooks {
    pub(super) after_connect: Option<Arc<AfterConnect>>,
    pub(super) before_acquire: Option<Arc<Decide>>,
    pub(super) after_release: Option<Arc<Decide>>,
}

impl UserHooks {
    pub(super) async fn after_connect(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        match &self.after_connect {
            Some(hook) => hook(connection).await,
            None => Ok(()),
        }
    }
}

/// What a hook of the application decides; yes, when there is none.
pub(super) async fn decide(
    hook: &Option<Arc<Decide>>,
    connection: &mut PgConnection,
    metadata: PoolConnectionMetadata,
) -> sqlx::Result<bool> {
    match hook {
        Some(hook) => hook(connection, metadata).await,
        None => Ok(true),
    }
}

impl fmt::Debug for UserHooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserHooks")
            .field("after_connect", &self.after_connect.is_some())
            .field("before_acquire", &self.before_acquire.is_some())
            .field("after_release", &self.after_release.is_some())
            .finish()
    }
}
