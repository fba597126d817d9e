//! Name resolution as a parameter.

use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;

/// Turns a host name into addresses.
#[async_trait]
pub trait Resolver: Debug + Send + Sync {
    /// The addresses of `host`, in the order in which they are to be tried. An address literal is answered as itself.
    ///
    /// # Errors
    /// The look-up failed or the name does not exist.
    ///
    /// # Cancellation
    /// Must be safe: the caller bounds it with a deadline.
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// The operating system's resolver.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, port)).await?.collect())
    }
}
