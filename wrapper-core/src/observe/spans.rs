//! Spans around what the library does on its own. Without the feature `tracing` the futures are passed on as they are.

use std::future::Future;

use crate::host::HostKey;

/// Runs a switch in a span of its own: a root, since it outlives its callers, linked to the span of the first of them.
#[cfg(feature = "tracing")]
pub(crate) fn in_failover_span<F: Future>(
    from: &HostKey,
    switch: F,
) -> impl Future<Output = F::Output> + use<F> {
    use tracing::Instrument;

    use super::catalog::spans::{FAILOVER, TARGET_FAILOVER};

    let span = tracing::info_span!(
        target: TARGET_FAILOVER, parent: None, FAILOVER,
        server.address = from.host(), server.port = from.port()
    );
    span.follows_from(tracing::Span::current());
    switch.instrument(span)
}

/// Runs a switch in a span of its own when the feature `tracing` is on.
#[cfg(not(feature = "tracing"))]
pub(crate) fn in_failover_span<F: Future>(
    _from: &HostKey,
    switch: F,
) -> impl Future<Output = F::Output> + use<F> {
    switch
}

/// Runs one probe of `host` by a monitor in a span of its own, when the feature `tracing` is on.
#[cfg(feature = "tracing")]
pub fn in_probe_span<F: Future>(host: &HostKey, probe: F) -> impl Future<Output = F::Output> + use<F> {
    use tracing::Instrument;

    use super::catalog::spans::{PROBE, TARGET_MONITOR};

    probe.instrument(tracing::trace_span!(
        target: TARGET_MONITOR, parent: None, PROBE,
        server.address = host.host(), server.port = host.port()
    ))
}

/// Runs one probe of `host` by a monitor in a span of its own, when the feature `tracing` is on.
#[cfg(not(feature = "tracing"))]
pub fn in_probe_span<F: Future>(_host: &HostKey, probe: F) -> impl Future<Output = F::Output> + use<F> {
    probe
}
