//! The `sqlx` adapter of the AWS Advanced Rust Wrapper.
//!
//! Nothing is here yet. This crate will hold the plain `sqlx::PgPool` / `sqlx::MySqlPool` that follow the writer,
//! an own pool type that implements `sqlx::Executor` and `sqlx::Acquire`, and the `DriverDialect` for sqlx
//! connections. Until then there is no public item: nothing in it pretends to work.
