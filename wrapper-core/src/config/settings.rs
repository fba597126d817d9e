//! The table of settings: one entry makes the typed field, its default, its reading and its documentation.
//!
//! To add a setting, add an entry. `docs/settings.md` is made from the same table (see the test `settings_doc`).

use std::time::Duration;

use crate::config::choice::{FailoverMode, SubstitutionRole, VerifyRole};
use crate::config::definition::{Definition, Row, drv, ms, same, sec};
use crate::config::plugin_name::PluginList;
use crate::config::record::Record;
use crate::config::value::{Form, Given, Read, Secret, SettingType};
use crate::dialect_id::DialectId;
use crate::host::{HostWeights, InstanceTemplate, LoadWeights, SelectorOptions, Strategy};

/// Makes [`Settings`], its defaults, and the table of [`Definition`]s from one list.
macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty = $default:expr, $row:expr;)+) => {
        /// The settings of one cluster, typed and checked; made by [`Settings::parse`] or [`Settings::builder`].
        ///
        /// `Settings::default()` has every default and no host: a start for tests.
        #[derive(Clone, Debug)]
        #[non_exhaustive]
        pub struct Settings {
            $($(#[doc = $doc])+ pub $name: $type,)+
            pub(crate) record: Record,
        }

        impl Default for Settings {
            fn default() -> Self {
                Self { $($name: $default,)+ record: Record::default() }
            }
        }

        /// Every setting, in the order of the documentation.
        pub const DEFINITIONS: &[Definition] = &[
            $(Definition {
                name: stringify!($name),
                kind: <$type as SettingType>::KIND,
                doc: &[$($doc),+],
                row: $row,
            },)+
        ];

        impl Settings {
            /// Reads `given` into the field called `name`; says whether the value is zero. `name` is canonical.
            pub(crate) fn assign(&mut self, name: &str, given: &Given, form: Form) -> Read<bool> {
                match name {
                    $(stringify!($name) => {
                        self.$name = <$type>::read(given, form)?;
                        Ok(self.$name.is_zero())
                    })+
                    _ => Ok(false),
                }
            }

            /// Whether the setting called `name` has a value.
            pub(crate) fn is_set(&self, name: &str) -> bool {
                match name {
                    $(stringify!($name) => self.$name.is_set(),)+
                    _ => false,
                }
            }

            /// The value of the setting called `name` as text; `None` when there is no such setting.
            pub fn show(&self, name: &str) -> Option<String> {
                match name {
                    $(stringify!($name) => Some(self.$name.show()),)+
                    _ => None,
                }
            }
        }
    };
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

settings! {
    /// The plugins, separated by commas. An empty list: none at all.
    plugins: Option<PluginList> = None,
        Row::of("core", &[same("wrapperPlugins")]).unset("the default set");
    /// Whether the list of plugins is sorted by class. When not, it is taken as written, and a wrong order is an error.
    auto_sort_wrapper_plugin_order: bool = true,
        Row::of("core", &[same("autoSortWrapperPluginOrder"), same("autoSortPluginOrder")]);
    /// The kind of database. When given, no other kind is looked for.
    wrapper_dialect: Option<DialectId> = None,
        Row::of("core", &[same("wrapperDialect"), same("databaseDialect")]).unset("by host name, then by asking the server");
    /// The driver that the URL is meant for; an error when the adapter is another one's.
    wrapper_driver_dialect: Option<String> = None,
        Row::of("core", &[same("wrapperTargetDriverDialect"), same("targetDriverDialect")]).unset("the adapter's driver");
    /// A preset, or a profile of yours, whose values hold where nothing else is given.
    profile_name: Option<String> = None,
        Row::of("core", &[same("wrapperProfileName"), same("profileName")]).unset("no profile");
    /// The name of the cluster. Two clusters under one name are an error as soon as their topologies disagree.
    cluster_id: Option<String> = None,
        Row::of("core", &[same("clusterId")]).unset("from the host name");
    /// How the host name of an instance is made, with `?` for its name; needed when the cluster is reached by an address,
    /// a tunnel or a domain of your own.
    cluster_instance_host_pattern: Option<InstanceTemplate> = None,
        Row::of("core", &[same("clusterInstanceHostPattern")]).unset("from the host name");

    /// The time for one whole connect: name resolution, TCP, TLS, start-up, login and proof of the role, all attempts
    /// together. A failover at connect time (`enable_connect_failover`) comes on top, within `failover_timeout`; in a
    /// failover it bounds the connect to one host.
    connect_timeout: Duration = secs(10),
        Row::of("core", &[ms("connectTimeout"), ms("wrapperConnectTimeout")]).bare_seconds().not_zero();
    /// The time for one call of the application.
    socket_timeout: Option<Duration> = None,
        Row::of("core", &[ms("socketTimeout"), ms("wrapperQueryTimeout")]).bare_seconds();
    /// Whether TCP keepalive is on.
    tcp_keepalive: Option<bool> = None,
        Row::of("core", &[same("tcpKeepAlive")]).unset("as the driver has it");
    /// Idle time before the first keepalive probe.
    tcp_keepalive_time: Option<Duration> = None,
        Row::of("core", &[drv("tcpKeepaliveTime")]).bare_seconds().unset("as the driver has it");
    /// Time between keepalive probes.
    tcp_keepalive_interval: Option<Duration> = None,
        Row::of("core", &[drv("tcpKeepaliveInterval")]).bare_seconds().unset("as the driver has it");
    /// Unanswered keepalive probes after which the connection is given up.
    tcp_keepalive_probes: Option<u32> = None,
        Row::of("core", &[same("tcpKeepaliveProbes")]).not_zero().unset("as the driver has it");
    /// The time for one query of the library itself: detection, role, session state.
    auxiliary_query_timeout: Duration = secs(5),
        Row::of("core", &[sec("auxiliaryQueryTimeoutSec")]).not_zero();

    /// How often the topology is read when all is well.
    topology_refresh: Duration = secs(30),
        Row::of("core", &[ms("clusterTopologyRefreshRateMs"), ms("cluster_topology_refresh_rate_ms")]).not_zero();
    /// How often the topology is read for a while after a new writer was found.
    topology_high_refresh: Duration = millis(100),
        Row::of("core", &[
            ms("clusterTopologyHighRefreshRateMs"),
            ms("cluster_topology_high_refresh_rate_ms"),
            same("cluster_topology_high_refresh_rate"),
        ]).not_zero();
    /// How long after its last answer a host is asked again while the writer is searched.
    topology_panic_interval: Duration = millis(10),
        Row::of("core", &[
            sec("failover_cluster_topology_refresh_rate_sec"),
            ms("failoverClusterTopologyRefreshRateMs"),
            same("failover_cluster_topology_refresh_rate"),
        ]).not_zero();
    /// The time for one connect of the topology monitor.
    topology_monitoring_connect_timeout: Duration = secs(5),
        Row::of("core", &[
            drv("topology-monitoring-connect_timeout"),
            ms("topology-monitoring-connectTimeout"),
            ms("clusterTopologyConnectTimeoutMs"),
        ]).bare_seconds().not_zero();
    /// The time for one query of the topology monitor.
    topology_monitoring_socket_timeout: Duration = secs(5),
        Row::of("core", &[
            drv("topology-monitoring-socket_timeout"),
            ms("topology-monitoring-socketTimeout"),
            ms("clusterTopologySocketTimeoutMs"),
        ]).bare_seconds().not_zero();
    /// The most connections that all monitors of a cluster hold at once; over it they take turns.
    max_monitor_connections: u32 = 16,
        Row::of("core", &[]).not_zero();

    /// Whether session state (read-only, isolation level, search path, …) is carried over to the new host.
    transfer_session_state_on_switch: bool = true,
        Row::of("core", &[same("transferSessionStateOnSwitch")]);
    /// Accepted for the sake of the peers' URLs.
    rollback_on_switch: bool = true,
        Row::of("core", &[same("rollbackOnSwitch")])
            .no_effect("a transaction never moves to another host: the server rolls it back when the switch closes its connection");
    /// Accepted for the sake of the peers' URLs.
    reset_session_state_on_close: bool = true,
        Row::of("core", &[same("resetSessionStateOnClose")])
            .no_effect("closing a session closes its connection, and its state with it");

    /// Whether failover is on, where the plugin is in the list.
    enable_failover: bool = true,
        Row::of("failover", &[same("enableClusterAwareFailover")]);
    /// Whether a failed connect leads to a failover too, within `failover_timeout`.
    enable_connect_failover: bool = false,
        Row::of("failover", &[same("enableConnectFailover")]);
    /// What a failover looks for.
    failover_mode: Option<FailoverMode> = None,
        Row::of("failover", &[same("failoverMode")])
            .unset("`reader_or_writer` on a reader endpoint, else `strict_writer`");
    /// The time for a whole failover.
    failover_timeout: Duration = secs(300),
        Row::of("failover", &[ms("failoverTimeoutMs")]).not_zero();
    /// How a reader is chosen in a failover.
    failover_reader_host_selector_strategy: Option<Strategy> = None,
        Row::of("failover", &[same("failoverReaderHostSelectorStrategy")]).unset("`reader_host_selector_strategy`");
    /// The time for one connect to a reader in a failover.
    failover_reader_connect_timeout: Option<Duration> = None,
        Row::of("failover", &[ms("failoverReaderConnectTimeoutMs")]).unset("`connect_timeout`");
    /// Accepted for the sake of the peers' URLs.
    failover_writer_reconnect_interval: Option<Duration> = None,
        Row::of("failover", &[ms("failoverWriterReconnectIntervalMs")])
            .unset("–")
            .no_effect("a failover does not reconnect to the old writer at intervals, it follows the topology");

    /// Whether hosts are watched during calls, where the plugin is in the list.
    failure_detection_enabled: bool = true,
        Row::of("efm", &[same("failureDetectionEnabled")]);
    /// How long a call may take before its host is probed.
    failure_detection_time: Duration = secs(30),
        Row::of("efm", &[ms("failureDetectionTime"), ms("failureDetectionTimeMs")]);
    /// Time between probes.
    failure_detection_interval: Duration = secs(5),
        Row::of("efm", &[ms("failureDetectionInterval"), ms("failureDetectionIntervalMs")]).not_zero();
    /// Failed probes in a row after which the host is taken for silent.
    failure_detection_count: u32 = 3,
        Row::of("efm", &[same("failureDetectionCount")]).not_zero();
    /// How long the monitor of a host that nobody needs is kept.
    monitor_disposal_time: Duration = secs(600),
        Row::of("efm", &[ms("monitorDisposalTime"), ms("monitorDisposalTimeMs")]).not_zero();
    /// The time for one connect of a host monitor.
    monitoring_connect_timeout: Option<Duration> = None,
        Row::of("efm", &[drv("monitoring-connect_timeout"), ms("monitoring-connectTimeout")])
            .bare_seconds()
            .not_zero()
            .unset("the time for one probe");
    /// The time for one probe of a host monitor.
    monitoring_socket_timeout: Option<Duration> = None,
        Row::of("efm", &[drv("monitoring-socket_timeout"), ms("monitoring-socketTimeout")])
            .bare_seconds()
            .unset("`failure_detection_interval`, at most 3s");

    /// How an instance is chosen in place of a cluster endpoint on the first connect.
    reader_initial_connection_host_selector_strategy: Option<Strategy> = None,
        Row::of("initial_connection", &[
            same("readerInitialConnectionHostSelectorStrategy"),
            same("initial_connection_host_selector_strategy"),
            same("initialConnectionHostSelectorStrategy"),
        ]).unset("`reader_host_selector_strategy`");
    /// The time for finding a host of the wanted role on connect, all attempts together; not longer than
    /// `connect_timeout`, of which it is a part.
    open_connection_retry_timeout: Option<Duration> = None,
        Row::of("initial_connection", &[ms("openConnectionRetryTimeoutMs"), ms("initialConnectionRetryTimeoutMs")])
            .not_zero()
            .unset("`connect_timeout`");
    /// The pause before the next attempt when a host had the wrong role.
    open_connection_retry_interval: Duration = secs(1),
        Row::of("initial_connection", &[
            ms("openConnectionRetryIntervalMs"),
            ms("initialConnectionRetryIntervalMs"),
        ]).not_zero();
    /// How long the first connect waits for the topology.
    wait_for_initial_topology: Option<Duration> = None,
        Row::of("initial_connection", &[ms("waitForInitialTopologyMs")]);
    /// With an instance of which role a cluster endpoint is replaced on the first connect.
    endpoint_substitution_role: Option<SubstitutionRole> = None,
        Row::of("initial_connection", &[same("endpointSubstitutionRole")]).unset("by the kind of endpoint");
    /// Which role a new connection must prove.
    verify_opened_connection_type: Option<VerifyRole> = None,
        Row::of("initial_connection", &[same("verifyOpenedConnectionType")]).unset("by the kind of endpoint");

    /// Connects that take at least this long are logged as warnings.
    connect_time_slow: Option<Duration> = None,
        Row::of("connect_time", &[]);
    /// Calls that take at least this long are logged as warnings.
    execute_time_slow: Option<Duration> = None,
        Row::of("execute_time", &[]);
    /// Whether literals and comments are logged as they were written, instead of masked and left out.
    log_query_literals: bool = false,
        Row::of("log_query", &[]);

    /// The host that IAM tokens are signed for where a host's own name does not do: an address, a tunnel, a domain of your
    /// own, a custom endpoint. For the hosts that are configured it also takes the place of a name that would do.
    iam_host: Option<String> = None,
        Row::of("iam federated_auth okta", &[same("iamHost")]).unset("the host's own name");
    /// The port that IAM tokens are signed for, 1 to 65535; needed when a tunnel has another one than the database.
    iam_default_port: Option<u32> = None,
        Row::of("iam federated_auth okta", &[same("iamDefaultPort")]).not_zero().unset("the port that is connected to");
    /// The region that IAM tokens are signed for, of hosts whose name does not tell it, and of the hosts that are
    /// configured.
    iam_region: Option<String> = None,
        Row::of("iam federated_auth okta", &[same("iamRegion")]).unset("from the host name");
    /// How long an IAM token is used, at most `15m`, which is how long it lives. `0` makes a token for every connect.
    iam_expiration: Duration = secs(870),
        Row::of("iam", &[sec("iamExpiration"), sec("iamExpirationSec")]).bare_seconds();

    /// The secret: its name or its ARN.
    secrets_manager_secret_id: Option<String> = None,
        Row::of("secrets_manager", &[same("secretsManagerSecretId"), same("secretId")])
            .unset("–; the plugin needs it");
    /// The region of the secret.
    secrets_manager_region: Option<String> = None,
        Row::of("secrets_manager", &[same("secretsManagerRegion"), same("secretRegion")]).unset("from the ARN");
    /// The URL of the service, where it is not the region's usual one: a VPC endpoint, a stand-in.
    secrets_manager_endpoint: Option<String> = None,
        Row::of("secrets_manager", &[same("secretsManagerEndpoint"), same("secretEndpoint")])
            .unset("the region's");
    /// After this time a secret is fetched anew; the old one is used meanwhile.
    secrets_manager_expiration: Duration = secs(870),
        Row::of("secrets_manager", &[
            sec("secretsManagerExpirationTimeSec"),
            sec("secretsManagerExpirationSec"),
            sec("secretExpirationSec"),
        ]).bare_seconds().not_zero();
    /// The key of the user in the secret's JSON.
    secrets_manager_secret_username_key: String = "username".to_owned(),
        Row::of("secrets_manager", &[
            same("secrets_manager_secret_username"),
            same("secretsManagerSecretUsernameProperty"),
            same("secretUsernameProperty"),
        ]);
    /// The key of the password in the secret's JSON.
    secrets_manager_secret_password_key: String = "password".to_owned(),
        Row::of("secrets_manager", &[
            same("secrets_manager_secret_password"),
            same("secretsManagerSecretPasswordProperty"),
            same("secretPasswordProperty"),
        ]);

    /// The user of the database to log in as.
    db_user: Option<String> = None,
        Row::of("federated_auth okta", &[same("dbUser")]).unset("–; the plugin needs it");
    /// The kind of identity provider. There is one: `adfs`.
    idp_name: String = "adfs".to_owned(),
        Row::of("federated_auth", &[same("idpName")]);
    /// The host of the identity provider.
    idp_endpoint: Option<String> = None,
        Row::of("federated_auth okta", &[same("idpEndpoint")]).unset("–; the plugin needs it");
    /// The port of the identity provider, 1 to 65535.
    idp_port: u32 = 443,
        Row::of("federated_auth okta", &[same("idpPort")]).not_zero();
    /// The user at the identity provider.
    idp_username: Option<String> = None,
        Row::of("federated_auth okta", &[same("idpUsername")]).unset("–; the plugin needs it");
    /// The password of that user. It is shown as `***`.
    idp_password: Option<Secret> = None,
        Row::of("federated_auth okta", &[same("idpPassword")]).unset("–; the plugin needs it");
    /// The ARN of the role that the user assumes.
    iam_role_arn: Option<String> = None,
        Row::of("federated_auth okta", &[same("iamRoleArn")]).unset("–; the plugin needs it");
    /// The ARN of the identity provider in IAM.
    iam_idp_arn: Option<String> = None,
        Row::of("federated_auth okta", &[same("iamIdpArn")]).unset("–; the plugin needs it");
    /// The relying party that AWS is at ADFS.
    rp_identifier: String = "urn:amazon:webservices".to_owned(),
        Row::of("federated_auth", &[same("rpIdentifier")]);
    /// How long an IAM token is used, at most `15m`, which is how long it lives. `0` makes a token for every connect.
    iam_token_expiration: Duration = secs(870),
        Row::of("federated_auth okta", &[sec("iamTokenExpiration"), sec("iamTokenExpirationSec")]).bare_seconds();
    /// The time for one request to the identity provider or to AWS STS: name, TCP, TLS, answer. All of them together are
    /// bounded by `connect_timeout`.
    http_request_connect_timeout: Duration = secs(60),
        Row::of("federated_auth okta", &[
            ms("httpTimeoutMs"),
            ms("httpClientConnectTimeout"),
        ]).bare_seconds().not_zero();
    /// Whether the certificate of the identity provider is verified.
    ssl_secure: bool = true,
        Row::of("federated_auth okta", &[same("sslSecure")]);
    /// A file of certificates in PEM form that the one of the identity provider may be issued by, beside those that the
    /// system trusts.
    idp_ssl_root_cert: Option<String> = None,
        Row::of("federated_auth okta", &[same("idpSslRootCert")]).unset("the system's alone");
    /// The URL of AWS STS, where it is not the region's usual one: a VPC endpoint, a stand-in.
    sts_endpoint: Option<String> = None,
        Row::of("federated_auth okta", &[same("stsEndpoint")]).unset("the region's");
    /// The id of the AWS application at Okta, such as `0oa1b2c3d4`.
    app_id: Option<String> = None,
        Row::of("okta", &[same("appId")]).unset("–; the plugin needs it");

    /// The profile of the AWS configuration files by which `iam` and `secrets_manager` get their own credentials.
    aws_profile: Option<String> = None,
        Row::of("aws", &[same("awsProfile")]).unset("the default chain of the AWS SDK");

    /// How a reader is chosen, where the setting of the plugin that chooses is not given.
    reader_host_selector_strategy: Strategy = Strategy::Random,
        Row::of("selection", &[same("readerHostSelectorStrategy")]);
    /// Weights for `round_robin`, as `host:weight,host:weight`; a host is an instance's id or host name.
    round_robin_host_weight_pairs: HostWeights = HostWeights::default(),
        Row::of("selection", &[same("roundRobinHostWeightPairs")]);
    /// The weight of the hosts that `round_robin_host_weight_pairs` does not name.
    round_robin_default_weight: u32 = 1,
        Row::of("selection", &[same("roundRobinDefaultWeight")]).not_zero();
    /// Weights for `weighted_random`, as `host:weight,host:weight`; a host is an instance's id or host name.
    weighted_random_host_weight_pairs: HostWeights = HostWeights::default(),
        Row::of("selection", &[same("weightedRandomHostWeightPairs")]);
    /// The weight of the hosts that `weighted_random_host_weight_pairs` does not name.
    weighted_random_default_weight: u32 = 1,
        Row::of("selection", &[same("weightedRandomDefaultWeight")]).not_zero();
    /// How much a percent of CPU counts for `lowest_load`.
    lowest_load_cpu_weight: u32 = 1,
        Row::of("selection", &[same("lowestLoadCpuWeight")]);
    /// How much a millisecond of replica lag counts for `lowest_load`.
    lowest_load_lag_weight: u32 = 100,
        Row::of("selection", &[same("lowestLoadLagWeight")]);
    /// How much a percent of CPU counts for `highest_load`.
    highest_load_cpu_weight: u32 = 1,
        Row::of("selection", &[same("highestLoadCpuWeight")]);
    /// How much a millisecond of replica lag counts for `highest_load`.
    highest_load_lag_weight: u32 = 100,
        Row::of("selection", &[same("highestLoadLagWeight")]);
}

impl Settings {
    /// What the host selectors are told.
    pub fn selector_options(&self) -> SelectorOptions {
        SelectorOptions {
            round_robin: self
                .round_robin_host_weight_pairs
                .clone()
                .with_default(self.round_robin_default_weight),
            weighted_random: self
                .weighted_random_host_weight_pairs
                .clone()
                .with_default(self.weighted_random_default_weight),
            lowest_load: LoadWeights { cpu: self.lowest_load_cpu_weight, lag: self.lowest_load_lag_weight },
            highest_load: LoadWeights {
                cpu: self.highest_load_cpu_weight,
                lag: self.highest_load_lag_weight,
            },
        }
    }

    /// The time for one probe of a host monitor: `monitoring_socket_timeout`, else the interval, at most 3 s.
    pub fn probe_timeout(&self) -> Duration {
        self.monitoring_socket_timeout.unwrap_or_else(|| self.failure_detection_interval.min(secs(3)))
    }
}
