//! Logins with IAM tokens and with secrets, on servers that check them: PostgreSQL and MySQL with TLS, which ask for the
//! password in clear text as RDS does.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "R8 binds core and plugins; these tests run in real time")]

mod federated;
mod federated_bad;
mod iam_mysql;
mod iam_postgres;
#[cfg(target_os = "linux")]
mod idp_moto;
mod idp_secrecy;
mod idp_support;
#[cfg(target_os = "linux")]
mod moto;
mod okta;
mod pools;
mod secrecy;
mod secrets_bad;
mod secrets_rotation;
mod sqlx_pools;
mod support;
