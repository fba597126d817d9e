//! The pools as the cluster's driver: what connects for the application takes a connection out of a pool.
//!
//! What lives here: [`PooledDriver`]. What may not: monitors' connections, which are opened past the pools.

use std::error::Error as StdError;
use std::sync::Arc;

use async_trait::async_trait;
use wrapper_core::dialect::{DialectId, Engine};
use wrapper_core::driver::{ConnectPurpose, ConnectTarget, DriverConnection, DriverDialect};
use wrapper_core::env::Deadline;
use wrapper_core::{Error, ErrorClass, ErrorKind, Result};

use super::super::driver::SqlxDriver;
use super::backend::Backend;
use super::hosts::Hosts;

#[derive(Debug)]
pub(super) struct PooledDriver<DB: Backend> {
    direct: SqlxDriver<DB>,
    hosts: Arc<Hosts<DB>>,
}

impl<DB: Backend> PooledDriver<DB> {
    pub(super) fn new(direct: SqlxDriver<DB>, hosts: Arc<Hosts<DB>>) -> Self {
        Self { direct, hosts }
    }
}

#[async_trait]
impl<DB: Backend> DriverDialect for PooledDriver<DB> {
    fn name(&self) -> &'static str {
        self.direct.name()
    }

    fn engine(&self) -> Engine {
        self.direct.engine()
    }

    fn user(&self) -> Option<&str> {
        self.direct.user()
    }

    async fn connect(&self, target: &ConnectTarget, deadline: Deadline) -> Result<Arc<dyn DriverConnection>> {
        if target.purpose == ConnectPurpose::Monitor {
            return self.direct.connect(target, deadline).await;
        }
        if let Some(address) = target.address {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "{address} was to be dialled for {}, but the connections of a pool are made by name; leave the \
                     plugin out that chooses addresses",
                    target.host.key
                ),
            ));
        }
        Ok(Arc::new(self.hosts.lease(&target.host, target.credential.as_ref(), deadline).await?))
    }

    fn dialect_known(&self, dialect: DialectId) {
        self.direct.dialect_known(dialect);
    }

    fn classify(&self, error: &(dyn StdError + 'static)) -> ErrorClass {
        self.direct.classify(error)
    }
}
