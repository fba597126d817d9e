//! Which test shows that a setting acts. A setting without a row, and a row without its test, fail the check here.

use std::path::Path;

use wrapper_core::config::DEFINITIONS;

const CONNECT: &str = "integration-tests/tests/settings/connect.rs";
const TOPOLOGY: &str = "integration-tests/tests/settings/topology.rs";
const FAILOVER: &str = "integration-tests/tests/settings/failover.rs";
const SELECTION: &str = "integration-tests/tests/settings/selection.rs";
const STATE: &str = "integration-tests/tests/session_state.rs";
const BAD_DAYS: &str = "integration-tests/tests/bad_days.rs";
const CONFIG: &str = "wrapper-core/src/config/tests.rs";
const PG: &str = "wrapper-pg/src/connector.rs";
const PG_CONFIGURATION: &str = "wrapper-pg/src/configuration.rs";
const CONNECT_TIME: &str = "wrapper-plugins/src/connect_time/tests.rs";
const EXECUTE_TIME: &str = "wrapper-plugins/src/execute_time/tests.rs";
const LOG_QUERY: &str = "wrapper-plugins/src/log_query/tests.rs";
const IAM: &str = "wrapper-plugins/src/iam/tests.rs";
const SECRETS: &str = "integration-tests/tests/credentials_login/secrets_bad.rs";
const AWS: &str = "wrapper-plugins/src/aws/tests.rs";
const FEDERATED: &str = "integration-tests/tests/credentials_login/federated.rs";
const FEDERATED_TIME: &str = "wrapper-plugins/src/federated_auth/tests.rs";
const OKTA: &str = "integration-tests/tests/credentials_login/okta.rs";
const DIAL: &str = "wrapper-pg/src/driver/dial.rs";

/// Setting, file, test.
const ACTS: &[(&str, &str, &str)] = &[
    ("plugins", TOPOLOGY, "plugins_names_the_plugins_in_use"),
    (
        "auto_sort_wrapper_plugin_order",
        TOPOLOGY,
        "auto_sort_wrapper_plugin_order_sorts_or_refuses_a_wrong_order",
    ),
    ("wrapper_dialect", CONNECT, "wrapper_dialect_leaves_the_question_for_it_out"),
    ("wrapper_driver_dialect", PG, "another_drivers_url_is_refused"),
    ("profile_name", CONNECT, "profile_name_gives_the_values_of_a_profile"),
    ("cluster_id", BAD_DAYS, "two_clusters_in_one_are_told_apart"),
    ("cluster_instance_host_pattern", CONNECT, "cluster_instance_host_pattern_makes_the_names_of_instances"),
    ("connect_timeout", CONNECT, "connect_timeout_bounds_a_warm_connect_however_often_it_is_tried"),
    ("socket_timeout", CONNECT, "socket_timeout_gives_a_call_up_and_closes_its_connection"),
    ("tcp_keepalive", PG_CONFIGURATION, "keepalive_settings_reach_the_driver"),
    ("tcp_keepalive_time", DIAL, "keepalive_is_set_on_the_socket"),
    ("tcp_keepalive_interval", DIAL, "keepalive_is_set_on_the_socket"),
    ("tcp_keepalive_probes", DIAL, "keepalive_is_set_on_the_socket"),
    ("auxiliary_query_timeout", CONNECT, "auxiliary_query_timeout_bounds_a_question_of_the_library"),
    ("topology_refresh", TOPOLOGY, "topology_refresh_is_the_interval_when_all_is_well"),
    ("topology_high_refresh", TOPOLOGY, "topology_high_refresh_is_the_interval_after_a_new_writer"),
    (
        "topology_panic_interval",
        TOPOLOGY,
        "topology_panic_interval_is_the_pause_between_questions_to_a_host_in_a_search",
    ),
    (
        "topology_monitoring_connect_timeout",
        TOPOLOGY,
        "topology_monitoring_connect_timeout_bounds_a_connect_of_the_monitor",
    ),
    (
        "topology_monitoring_socket_timeout",
        TOPOLOGY,
        "topology_monitoring_socket_timeout_bounds_a_question_of_the_monitor",
    ),
    ("max_monitor_connections", TOPOLOGY, "max_monitor_connections_caps_the_monitors"),
    ("transfer_session_state_on_switch", STATE, "the_hook_runs_once_and_the_transfer_can_be_off"),
    ("rollback_on_switch", CONFIG, "what_has_no_effect_is_reported_once"),
    ("reset_session_state_on_close", CONFIG, "what_has_no_effect_is_reported_once"),
    ("enable_failover", FAILOVER, "enable_failover_switches_the_plugin_off"),
    ("enable_connect_failover", CONNECT, "enable_connect_failover_adds_a_failover_of_its_own_time"),
    ("failover_mode", FAILOVER, "failover_mode_decides_which_host_is_looked_for"),
    ("failover_timeout", FAILOVER, "failover_timeout_bounds_a_failover"),
    (
        "failover_reader_host_selector_strategy",
        SELECTION,
        "failover_reader_host_selector_strategy_orders_the_readers_of_a_failover",
    ),
    (
        "failover_reader_connect_timeout",
        FAILOVER,
        "failover_reader_connect_timeout_bounds_the_connect_to_one_reader",
    ),
    ("failover_writer_reconnect_interval", CONFIG, "what_has_no_effect_is_reported_once"),
    ("failure_detection_enabled", FAILOVER, "failure_detection_enabled_switches_the_plugin_off"),
    ("failure_detection_time", FAILOVER, "failure_detection_time_is_the_grace_of_a_call"),
    (
        "failure_detection_interval",
        FAILOVER,
        "failure_detection_interval_and_count_decide_when_a_host_is_silent",
    ),
    (
        "failure_detection_count",
        FAILOVER,
        "failure_detection_interval_and_count_decide_when_a_host_is_silent",
    ),
    ("monitor_disposal_time", FAILOVER, "monitor_disposal_time_ends_a_monitor_that_nobody_needs"),
    ("monitoring_connect_timeout", FAILOVER, "monitoring_connect_timeout_and_socket_timeout_bound_a_probe"),
    ("monitoring_socket_timeout", FAILOVER, "monitoring_connect_timeout_and_socket_timeout_bound_a_probe"),
    (
        "reader_initial_connection_host_selector_strategy",
        SELECTION,
        "reader_initial_connection_host_selector_strategy_chooses_on_connect",
    ),
    ("open_connection_retry_timeout", CONNECT, "open_connection_retry_timeout_bounds_all_attempts"),
    (
        "open_connection_retry_interval",
        CONNECT,
        "open_connection_retry_interval_is_the_pause_between_attempts",
    ),
    (
        "wait_for_initial_topology",
        CONNECT,
        "wait_for_initial_topology_lets_the_first_connect_go_to_an_instance",
    ),
    (
        "endpoint_substitution_role",
        CONNECT,
        "endpoint_substitution_role_decides_which_instance_replaces_an_endpoint",
    ),
    ("verify_opened_connection_type", CONNECT, "verify_opened_connection_type_refuses_the_other_role"),
    (
        "reader_host_selector_strategy",
        SELECTION,
        "reader_host_selector_strategy_holds_where_a_plugin_has_none_of_its_own",
    ),
    ("round_robin_host_weight_pairs", SELECTION, "round_robin_weights_repeat_a_host"),
    ("round_robin_default_weight", SELECTION, "round_robin_weights_repeat_a_host"),
    ("weighted_random_host_weight_pairs", SELECTION, "weighted_random_weights_are_probabilities"),
    ("weighted_random_default_weight", SELECTION, "weighted_random_weights_are_probabilities"),
    ("lowest_load_cpu_weight", SELECTION, "load_weights_decide_which_host_is_the_busiest"),
    ("lowest_load_lag_weight", SELECTION, "load_weights_decide_which_host_is_the_busiest"),
    ("highest_load_cpu_weight", SELECTION, "load_weights_decide_which_host_is_the_busiest"),
    ("highest_load_lag_weight", SELECTION, "load_weights_decide_which_host_is_the_busiest"),
    ("connect_time_slow", CONNECT_TIME, "slow_connects_are_warnings"),
    ("execute_time_slow", EXECUTE_TIME, "slow_calls_are_warnings"),
    ("iam_host", IAM, "iam_host_stands_for_names_that_rds_did_not_give"),
    ("iam_default_port", IAM, "iam_region_and_iam_default_port_are_signed_for"),
    ("iam_region", IAM, "iam_region_and_iam_default_port_are_signed_for"),
    ("iam_expiration", IAM, "iam_expiration_and_the_end_of_the_aws_credentials_bound_the_use_of_a_token"),
    ("secrets_manager_secret_id", SECRETS, "secrets_manager_settings_act"),
    ("secrets_manager_region", SECRETS, "secrets_manager_settings_act"),
    ("secrets_manager_endpoint", SECRETS, "secrets_manager_settings_act"),
    ("secrets_manager_expiration", SECRETS, "secrets_manager_settings_act"),
    ("secrets_manager_secret_username_key", SECRETS, "secrets_manager_settings_act"),
    ("secrets_manager_secret_password_key", SECRETS, "secrets_manager_settings_act"),
    ("db_user", FEDERATED, "federated_auth_settings_act"),
    ("idp_name", FEDERATED, "federated_auth_settings_act"),
    ("idp_endpoint", FEDERATED, "federated_auth_settings_act"),
    ("idp_port", FEDERATED, "federated_auth_settings_act"),
    ("idp_username", FEDERATED, "federated_auth_settings_act"),
    ("idp_password", FEDERATED, "federated_auth_settings_act"),
    ("iam_role_arn", FEDERATED, "federated_auth_settings_act"),
    ("iam_idp_arn", FEDERATED, "federated_auth_settings_act"),
    ("rp_identifier", FEDERATED, "federated_auth_settings_act"),
    ("app_id", OKTA, "okta_settings_act"),
    ("iam_token_expiration", FEDERATED, "federated_auth_settings_act"),
    ("http_request_connect_timeout", FEDERATED_TIME, "http_request_connect_timeout_bounds_a_request"),
    ("ssl_secure", OKTA, "okta_settings_act"),
    ("idp_ssl_root_cert", FEDERATED, "federated_auth_settings_act"),
    ("sts_endpoint", FEDERATED, "federated_auth_settings_act"),
    ("aws_profile", AWS, "aws_profile_names_the_profile_whose_keys_are_used"),
    ("log_query_literals", LOG_QUERY, "literals_are_shown_when_that_is_asked_for"),
];

#[test]
fn every_setting_has_a_test_that_it_acts() {
    let missing: Vec<&str> = DEFINITIONS
        .iter()
        .map(|definition| definition.name())
        .filter(|name| !ACTS.iter().any(|(setting, _, _)| setting == name))
        .collect();
    assert!(missing.is_empty(), "no row in `ACTS` says which test shows that these act: {missing:?}");
    for (index, (setting, _, _)) in ACTS.iter().enumerate() {
        assert!(
            DEFINITIONS.iter().any(|definition| definition.name() == *setting),
            "`{setting}` is no setting"
        );
        assert!(ACTS[..index].iter().all(|(other, _, _)| other != setting), "`{setting}` has two rows");
    }
}

#[test]
fn every_row_names_a_test_that_names_its_setting() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    for (setting, file, test) in ACTS {
        let text = std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let begin = text.find(&format!("fn {test}(")).unwrap_or_else(|| panic!("`{test}` is not in {file}"));
        let attributes = text[..begin].lines().rev().take(3).collect::<Vec<_>>().join("\n");
        assert!(attributes.contains("test"), "`{test}` in {file} is no test");
        // Its own lines, or the helpers of its file, mention the setting.
        assert!(text.contains(setting), "{file} does not mention `{setting}`");
    }
}
