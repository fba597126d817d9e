//! The `mysql_async` adapter of the AWS Advanced Rust Wrapper.
//!
//! Nothing is here yet. This crate will hold `Connector`, `Conn` (an implementation of
//! `mysql_async::prelude::Queryable`), `Transaction` and `Statement`, the `DriverDialect` for `mysql_async`, and
//! the MySQL dialects' error table. Until then there is no public item: nothing in it pretends to work.
