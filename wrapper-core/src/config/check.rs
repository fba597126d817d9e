//! Settings that contradict each other, and settings that have no effect.

use crate::config::choice::{SubstitutionRole, VerifyRole};
use crate::config::plugin_name::PluginList;
use crate::config::record::Source;
use crate::config::settings::{DEFINITIONS, Settings};
use crate::error::{Error, Result};
use crate::host::{EndpointKind, classify};

/// Refuses settings that cannot hold together.
///
/// # Errors
/// A configuration error that names both.
pub(crate) fn contradictions(settings: &Settings) -> Result<()> {
    order(settings)?;
    connect_failover(settings)?;
    keepalive(settings)?;
    roles(settings)?;
    loads(settings)
}

/// `name=value`, and that it is a default where it was not given.
fn written(settings: &Settings, name: &str) -> String {
    let value = settings.show(name).unwrap_or_default();
    let default = if settings.record.origins.contains_key(name) { "" } else { " (the default)" };
    format!("`{name}={value}`{default}")
}

fn contradiction(settings: &Settings, first: &str, second: &str, why: &str) -> Result<()> {
    Err(Error::config(format!(
        "{} contradicts {}: {why}; change one of them",
        written(settings, first),
        written(settings, second)
    )))
}

/// Pairs of which the first must not be longer than the second.
fn order(settings: &Settings) -> Result<()> {
    let s = settings;
    let (attempts, attempts_name) = match s.open_connection_retry_timeout {
        Some(timeout) => (timeout, "open_connection_retry_timeout"),
        None => (s.connect_timeout, "connect_timeout"),
    };
    let pairs = [
        (
            Some(s.topology_high_refresh),
            "topology_high_refresh",
            s.topology_refresh,
            "topology_refresh",
            "after a failover the topology is to be read more often, not less",
        ),
        (
            Some(s.topology_panic_interval),
            "topology_panic_interval",
            s.topology_refresh,
            "topology_refresh",
            "while the writer is searched hosts are to be asked more often, not less",
        ),
        (
            s.open_connection_retry_timeout,
            "open_connection_retry_timeout",
            s.connect_timeout,
            "connect_timeout",
            "all attempts of a connect together may take longer than the whole connect",
        ),
        (
            s.open_connection_retry_timeout.and(Some(s.open_connection_retry_interval)),
            "open_connection_retry_interval",
            attempts,
            attempts_name,
            "the pause between attempts is longer than all of them may take",
        ),
        (
            s.wait_for_initial_topology,
            "wait_for_initial_topology",
            attempts,
            attempts_name,
            "the wait for the topology is longer than the whole connect may take",
        ),
        (
            s.failover_reader_connect_timeout,
            "failover_reader_connect_timeout",
            s.failover_timeout,
            "failover_timeout",
            "one connect may take longer than the whole failover",
        ),
    ];
    for (short, short_name, long, long_name, why) in pairs {
        if short.is_some_and(|short| short > long) {
            return contradiction(settings, short_name, long_name, why);
        }
    }
    Ok(())
}

fn connect_failover(settings: &Settings) -> Result<()> {
    if settings.enable_connect_failover && !settings.enable_failover {
        return contradiction(settings, "enable_connect_failover", "enable_failover", "failover is off");
    }
    Ok(())
}

/// Our keepalive settings against each other, and against the driver's own.
fn keepalive(settings: &Settings) -> Result<()> {
    let pairs = [
        ("tcp_keepalive", &["keepalives"][..]),
        ("tcp_keepalive_time", &["keepalives_idle"]),
        ("tcp_keepalive_interval", &["keepalives_interval"]),
        ("tcp_keepalive_probes", &["keepalives_retries", "keepalives_count"]),
    ];
    for (ours, theirs) in pairs {
        if !settings.record.origins.contains_key(ours) {
            continue;
        }
        if settings.tcp_keepalive == Some(false) && ours != "tcp_keepalive" {
            return contradiction(settings, ours, "tcp_keepalive", "keepalive is off");
        }
        if let Some(name) = theirs.iter().find(|name| settings.driver_parameter(name).is_some()) {
            return Err(Error::config(format!(
                "`{ours}` and the driver's `{name}` give the same setting twice; give one of them"
            )));
        }
    }
    Ok(())
}

/// The roles of the initial connection against each other, and against the endpoint.
fn roles(settings: &Settings) -> Result<()> {
    use EndpointKind as K;
    use SubstitutionRole as S;
    let Some(role) = settings.endpoint_substitution_role else { return Ok(()) };
    match (role, settings.verify_opened_connection_type) {
        (S::Writer, Some(VerifyRole::Reader)) | (S::Reader, Some(VerifyRole::Writer)) => {
            return contradiction(
                settings,
                "endpoint_substitution_role",
                "verify_opened_connection_type",
                "no host has both roles",
            );
        }
        _ => {}
    }
    let Some((host, _)) = settings.hosts().first() else { return Ok(()) };
    let kind = classify(host).kind();
    let fits = match role {
        S::None => true,
        // What a custom domain or an address leads to is not known.
        _ if matches!(kind, K::Ip | K::Other) => true,
        S::Writer => matches!(kind, K::WriterCluster | K::GlobalWriter),
        S::Reader => matches!(kind, K::ReaderCluster | K::CustomCluster),
        S::Any => kind == K::CustomCluster,
    };
    if fits {
        return Ok(());
    }
    Err(Error::config(format!(
        "`endpoint_substitution_role={role}` contradicts host `{host}`: expected a writer endpoint for `writer`, a reader or \
         custom endpoint for `reader`, a custom endpoint for `any`; an instance is never replaced"
    )))
}

/// A load that counts nothing makes all hosts equal.
fn loads(settings: &Settings) -> Result<()> {
    let options = settings.selector_options();
    for (load, cpu, lag) in [
        (options.lowest_load, "lowest_load_cpu_weight", "lowest_load_lag_weight"),
        (options.highest_load, "highest_load_cpu_weight", "highest_load_lag_weight"),
    ] {
        if load.cpu == 0 && load.lag == 0 {
            return contradiction(settings, cpu, lag, "a load in which neither counts is no load");
        }
    }
    Ok(())
}

/// Notes what was given and has no effect.
pub(crate) fn warn(settings: &mut Settings) {
    let mut warnings = Vec::new();
    for definition in DEFINITIONS {
        let Some(origin) = settings.record.origins.get(definition.name()) else { continue };
        if let Some(why) = definition.row.no_effect {
            warnings.push(format!("`{}` has no effect: {why}; remove it", origin.written));
            continue;
        }
        // A profile is written for many lists of plugins.
        if matches!(origin.source, Source::Profile(_))
            || matches!(definition.plugin(), "core" | "selection" | "aws")
        {
            continue;
        }
        let in_list = |plugins: &PluginList| definition.plugins().any(|plugin| plugins.contains(plugin));
        if settings.plugins.as_ref().is_some_and(|plugins| !in_list(plugins)) {
            let readers: Vec<&str> = definition.plugins().collect();
            warnings.push(format!(
                "`{}` has no effect: plugin `{}` is not in `plugins`; add it, or remove the setting",
                origin.written,
                readers.join("` or `")
            ));
        }
    }
    if !settings.ssl_secure {
        warnings.push(
            "`ssl_secure=false`: whoever answers in place of the identity provider gets its password; set \
             `idp_ssl_root_cert` instead"
                .to_owned(),
        );
    }
    settings.record.warnings.extend(warnings);
}
