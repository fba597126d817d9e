//! Names of the peers' parameters that are known, and not settings here.

use crate::error::{Error, ErrorKind};
use crate::host::squash;

/// Parameters of parts that are still to come. Names are
/// separated by spaces; one spelling stands for all: `iam_region`, `iamRegion`, …
pub(crate) const LATER: &[(&str, &str)] = &[
    (
        "custom endpoints",
        "custom_endpoint_info_refresh_rate_ms custom_endpoint_info_refresh_rate_backoff_factor \
         custom_endpoint_info_max_refresh_rate_ms wait_for_custom_endpoint_info \
         wait_for_custom_endpoint_info_timeout_ms custom_endpoint_monitor_expiration_ms \
         custom_endpoint_idle_monitor_expiration_ms custom_endpoint_region",
    ),
    (
        "Blue/Green deployments",
        "bg_id bgd_id bg_connect_timeout_ms bg_baseline_ms bg_increased_ms bg_high_ms bg_interval_baseline_ms \
         bg_interval_increased_ms bg_interval_high_ms bg_switchover_timeout_ms \
         bg_suspend_new_blue_connections bg_release_on_blue_dns_update bg_drop_blue_connections \
         enable_green_node_replacement enable_green_host_replacement",
    ),
    (
        "Limitless databases",
        "limitless_transaction_router_monitor_interval_ms limitless_monitoring_interval_ms \
         limitless_transaction_router_monitor_disposal_time_ms limitless_wait_for_transaction_router_info \
         limitless_get_transaction_router_info_retry_interval_ms \
         limitless_get_transaction_router_retry_interval_ms limitless_get_transaction_router_info_max_retries \
         limitless_get_transaction_router_max_retries limitless_connect_max_retries limitless_max_retries_ms \
         limitless_transaction_router_cache_expiration_time_ms limitless_transaction_router_fetch_timeout_ms \
         limitless_use_shard_group_url",
    ),
    (
        "read/write splitting",
        "srw_read_endpoint srw_write_endpoint verify_new_srw_connections srw_verify_new_connections \
         srw_verify_initial_connection_type srw_connect_retry_timeout_ms srw_connect_retry_interval_ms \
         verify_initial_connection_role allow_statement_recreation_on_connection_switch \
         cached_reader_keep_alive_timeout_ms query_level_load_balancing load_balancing_include_writer \
         assume_write_transaction gdb_rw_home_region gdb_rw_restrict_writer_to_home_region \
         gdb_rw_restrict_reader_to_home_region gdb_enable_global_write_forwarding",
    ),
    (
        "global databases",
        "global_cluster_instance_host_patterns monitoring_connection_priority \
         gdb_monitoring_connection_priority gdb_accessible_regions \
         skip_inactive_writer_cluster_endpoint_check active_home_failover_mode inactive_home_failover_mode \
         failover_home_region inactive_cluster_writer_endpoint_substitution_role \
         verify_inactive_cluster_writer_endpoint_connection_type",
    ),
    (
        "host availability and response times",
        "default_host_availability_strategy host_availability_strategy_max_retries \
         host_availability_strategy_initial_backoff_time host_availability_strategy_initial_backoff_time_sec \
         response_measurement_interval_ms",
    ),
    (
        "telemetry",
        "enable_telemetry telemetry_submit_toplevel telemetry_failover_additional_top_trace \
         telemetry_traces_backend telemetry_metrics_backend",
    ),
    (
        "query caches",
        "data_cache_trigger_condition cache_endpoint_addr_rw cache_endpoint_addr_ro cache_tls_ca_cert_path \
         cache_iam_region cache_username cache_password cache_name cache_key_prefix cache_use_ssl \
         fail_when_cache_down cache_health_check_in_healthy_state cache_allow_stream_source cache_allow_url \
         cache_connection_timeout_ms cache_connection_pool_size cache_max_query_size \
         cache_in_flight_write_size_limit_bytes",
    ),
    (
        "column encryption",
        "kms.region encryption_metadata_schema metadata_cache_enabled data_key_cache_enabled \
         audit_logging_enabled metadata_cache_expiration_minutes metadata_cache_refresh_interval_ms \
         data_key_cache_max_size data_key_cache_expiration_ms key_management_max_retries \
         key_management_retry_backoff_base_ms",
    ),
];

/// Parameters that have no counterpart, and what to do instead.
pub(crate) const INSTEAD: &[(&str, &str)] = &[
    (
        "verify_initial_connection_type",
        "the peers mean two things by it; use `verify_opened_connection_type`",
    ),
    ("login_timeout", "`connect_timeout` bounds the whole connect, login included"),
    ("mysql_query_timeout", "use `socket_timeout`"),
    ("wrapper_keep_alive_properties", "use `tcp_keepalive` and `tcp_keepalive_time`, `_interval`, `_probes`"),
    ("single_writer_connection_string", "roles are always asked of the hosts; give all of them as hosts"),
    ("single_writer_dsn", "roles are always asked of the hosts; give all of them as hosts"),
    ("skip_failover_on_interrupted_thread", "a call is cancelled by dropping its future"),
    ("connection_provider", "pools are the application's"),
    ("connection_pool_type", "pools are the application's"),
    ("custom_database_dialect", "hand a dialect to the builder"),
    ("target_driver_auto_register", "the adapter crate decides the driver"),
    ("wrapper_driver_name", "the adapter crate decides the driver"),
    ("iam_access_token_property_name", "the token is the password"),
    (
        "allow_aws_login_session",
        "switch the feature `credentials-login` of the crate `aws-config` on in your own `Cargo.toml`",
    ),
    (
        "custom_aws_credential_provider_handler",
        "hand AWS credentials to the plugin `iam` or `secrets_manager` in code",
    ),
    (
        "secrets_manager_connect_retry_timeout_ms",
        "a refused secret is fetched again, the pending one included, within `connect_timeout`",
    ),
    (
        "secrets_manager_connect_retry_interval_ms",
        "a refused secret is fetched again, the pending one included, within `connect_timeout`",
    ),
    ("http_timeout", "use `http_request_connect_timeout`"),
    ("http_client_socket_timeout", "`http_request_connect_timeout` bounds each request, its answer included"),
    ("ssl_insecure", "its opposite is `ssl_secure`"),
    ("protocol", "the adapter crate decides the protocol"),
    ("wrapper_logger_level", "filter the log by target"),
    ("enhanced_log_query_enabled", "filter the log by target"),
    ("wrapper_log_unclosed_connections", "a session is closed when it is dropped"),
    ("wrapper_case_sensitive", "names are read as written"),
    ("wrapper_assume_fetch_entire_result_set", "rows are streamed by the driver"),
    ("skip_wrapping_for_packages", "objects are not wrapped"),
];

/// Beginnings of names that override a driver's parameter for one kind of monitor connection.
const OVERRIDES: [&str; 6] = [
    "topology-monitoring-",
    "monitoring-",
    "blue-green-monitoring-",
    "frt-",
    "limitless-router-monitor-",
    "cp-",
];

/// The error for a name that is known although it is not a setting; `None` for an unknown one.
pub(crate) fn known_but_unsupported(written: &str) -> Option<Error> {
    let squashed = squash(written);
    let unsupported = |text: String| Some(Error::new(ErrorKind::Unsupported, text));
    if let Some((feature, _)) =
        LATER.iter().find(|(_, names)| names.split(' ').any(|name| squash(name) == squashed))
    {
        return unsupported(format!("`{written}` belongs to {feature}, not supported yet; remove it"));
    }
    if let Some((_, instead)) = INSTEAD.iter().find(|(name, _)| squash(name) == squashed) {
        return unsupported(format!("`{written}` has no counterpart here: {instead}"));
    }
    let prefix = OVERRIDES.iter().find(|prefix| written.replace('_', "-").starts_with(**prefix))?;
    unsupported(format!(
        "`{written}`: overriding a parameter for monitor connections (`{prefix}…`) is supported for connect_timeout and \
         socket_timeout of `monitoring-` and `topology-monitoring-` only; remove it"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_known() {
        for name in ["bg_id", "bgdId", "bgConnectTimeoutMs", "monitoring-sslmode", "cp-maxLifetime"] {
            let error = known_but_unsupported(name).unwrap();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{name}");
            assert!(error.to_string().contains(name), "{error}");
        }
        assert!(known_but_unsupported("bg_di").is_none());
    }

    #[test]
    fn no_name_is_listed_twice_or_is_a_setting() {
        let mut names: Vec<String> =
            LATER.iter().flat_map(|(_, names)| names.split(' ')).map(squash).collect();
        names.extend(INSTEAD.iter().map(|(name, _)| squash(name)));
        names.sort_unstable();
        for pair in names.windows(2) {
            assert_ne!(pair[0], pair[1]);
        }
        for definition in crate::config::DEFINITIONS {
            for known in definition.aliases().chain([definition.name()]) {
                assert!(!names.contains(&squash(known)), "{known}");
            }
        }
    }
}
