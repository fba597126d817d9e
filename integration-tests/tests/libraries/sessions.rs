//! `tower-sessions-sqlx-store`: sessions of web users in a `PgPool` of sqlx 0.8.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tower_sessions_core::session::{Id, Record};
use tower_sessions_core::session_store::SessionStore;
use tower_sessions_sqlx_store::PostgresStore;
use wrapper_sqlx::v0_8::sqlx::PgPool;
use wrapper_sqlx::v0_8::sqlx::types::time::OffsetDateTime;

use super::Tenant;

/// A store, and the names of the sessions in it.
#[derive(Clone)]
pub(crate) struct Sessions {
    store: PostgresStore,
    names: Arc<Mutex<BTreeMap<i64, Id>>>,
}

impl Sessions {
    pub(crate) async fn on(pool: &PgPool) -> Self {
        let store = PostgresStore::new(pool.clone());
        store.migrate().await.expect("the store's table");
        Self { store, names: Arc::default() }
    }

    async fn load(&self, id: i64) -> Result<Option<i64>, String> {
        let name = self.names.lock().expect("not poisoned").get(&id).copied();
        let name = name.ok_or("no session was made")?;
        let record = self.store.load(&name).await.map_err(|error| error.to_string())?;
        Ok(record.and_then(|record| record.data.get("basket")?.as_i64()))
    }
}

impl Tenant for Sessions {
    /// Makes a session, reads it, and saves it anew.
    async fn keep(&self, id: i64) -> Result<(), String> {
        let expiry_date = OffsetDateTime::now_utc() + Duration::from_secs(3600);
        let mut record =
            Record { id: Id::default(), data: [("basket".to_owned(), id.into())].into(), expiry_date };
        self.store.create(&mut record).await.map_err(|error| error.to_string())?;
        self.names.lock().expect("not poisoned").insert(id, record.id);
        assert_eq!(self.load(id).await?, Some(id), "a session that was saved");
        record.data.insert("seen".to_owned(), true.into());
        self.store.save(&record).await.map_err(|error| error.to_string())
    }

    async fn check(&self, kept: &[i64]) {
        for id in kept {
            assert_eq!(self.load(*id).await, Ok(Some(*id)), "session {id}");
        }
    }
}
