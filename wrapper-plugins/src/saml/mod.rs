//! The way from a password at an identity provider to a token for the database: assertion, role, token.
//!
//! What lives here: a login's HTTP (TLS, cookies, redirects, limits), the reading of HTML pages, the call of AWS STS, what
//! is kept and when it is made anew. What may not: any one identity provider.

mod config;
mod cookies;
mod endpoint;
#[cfg_attr(not(feature = "federated-auth"), allow(dead_code, reason = "forms are of ADFS only"))]
mod html;
#[cfg_attr(not(feature = "federated-auth"), allow(dead_code, reason = "forms are of ADFS only"))]
mod http;
mod provider;
mod sts;
mod tls;

pub(crate) use config::{Own, Rules};
#[cfg(feature = "federated-auth")]
pub(crate) use html::Form;
pub(crate) use html::assertion;
#[cfg(feature = "federated-auth")]
pub(crate) use http::Page;
pub(crate) use http::{Browser, Content};
pub(crate) use provider::{IdentityProvider, Login, SamlProvider};
