//! Seeds that once failed.

/// Played by every run of the tests, before any other seed. A seed that fails is added here when its cause is mended,
/// with what the cause was.
pub const REGRESSIONS: &[u64] = &[
    // A call in a transaction that `socket_timeout` ended was reported as "may have applied".
    317,
    // The endpoint was published as the writer, so that nobody noticed when the host behind it fell silent.
    1937,
];
