//! Stand-ins for identity providers and for AWS STS: real HTTP servers whose users, faults and answers a test sets.
//!
//! * [`AdfsServer`]: the sign-in page of ADFS, with a form, cookies and redirects, over TLS.
//! * [`OktaServer`]: Okta's API for authentication and an application's page, over TLS.
//! * [`StsServer`]: answers `AssumeRoleWithSAML` to the assertions that the other two have made.
//!
//! What may not live here: signatures of assertions, which nobody looks at.

mod adfs;
mod okta;
mod saml;
mod server;
mod sts;
mod tls;

pub use adfs::{AdfsFault, AdfsServer};
pub use okta::{OktaFault, OktaServer};
pub use saml::{Assertions, User};
pub use sts::{Keys, StsFault, StsServer};
