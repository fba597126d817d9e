//! How settings become the driver's configuration and that of TLS.
//!
//! What lives here: the names of the driver's parameters, [`driver_config`]. What may not: files and sockets.

use tokio_postgres::Config;
use wrapper_core::config::{DriverKeys, Settings};
use wrapper_core::{Error, Result};

use crate::tls::TlsSettings;

/// What tokio-postgres understands beside host, user, password and dbname.
const DRIVER_NAMES: &[&str] = &[
    "application_name",
    "channel_binding",
    "hostaddr",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "load_balance_hosts",
    "options",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslpassword",
    "sslrootcert",
    "target_session_attrs",
    "tcp_user_timeout",
    "tls_provider",
];

/// What settings are told of the driver.
pub(crate) const KEYS: DriverKeys<'static> =
    DriverKeys { schemes: &["postgres", "postgresql"], default_port: 5432, names: DRIVER_NAMES };

/// Puts the driver's parameters of the settings into its configuration.
pub(crate) fn driver_config(
    config: Config,
    tls: TlsSettings,
    settings: &Settings,
) -> Result<(Config, TlsSettings)> {
    let mut text = String::new();
    let mut tls = tls;
    let (mut certificate, mut key) = (None, None);
    for (name, value) in settings.driver_parameters() {
        match name {
            "sslmode" => tls = tls.mode(value.expose().parse()?),
            "sslrootcert" => tls = tls.roots(value.expose().parse()?),
            "tls_provider" => tls = tls.provider(value.expose().parse()?),
            "sslcert" => certificate = Some(value.expose()),
            "sslkey" => key = Some(value.expose()),
            "sslpassword" => {
                return Err(Error::new(
                    wrapper_core::ErrorKind::Unsupported,
                    "`sslpassword`: encrypted keys are not supported; decrypt the key with `openssl pkey -in FILE -out \
                     NEW_FILE`, set `sslkey` to the new file, and remove `sslpassword`",
                ));
            }
            name => {
                let escaped = value.expose().replace('\\', "\\\\").replace('\'', "\\'");
                text.push_str(&format!("{name}='{escaped}' "));
            }
        }
    }
    match (certificate, key) {
        (Some(certificate), Some(key)) => tls = tls.client_certificate(certificate, key),
        (None, None) => {}
        (Some(alone), None) => return Err(one_alone("sslcert", alone, "sslkey")),
        (None, Some(alone)) => return Err(one_alone("sslkey", alone, "sslcert")),
    }
    let given: Config = text.parse().map_err(|error: tokio_postgres::Error| {
        let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        Error::config(format!("a parameter of the driver is not valid: {error}: {source}"))
    })?;
    let mut config = config;
    merge(&mut config, &given, settings);
    Ok((config, tls))
}

fn one_alone(given: &str, value: &str, missing: &str) -> Error {
    Error::config(format!(
        "`{given}={value}` is given without `{missing}`; expected both, the client's certificate and its private key, each \
         a file's path"
    ))
}

fn merge(config: &mut Config, given: &Config, settings: &Settings) {
    let is_given = |name: &str| settings.driver_parameter(name).is_some();
    if let Some(user) = given.get_user() {
        config.user(user);
    }
    if let Some(password) = given.get_password() {
        config.password(password);
    }
    if let Some(dbname) = given.get_dbname() {
        config.dbname(dbname);
    }
    if let Some(options) = given.get_options() {
        config.options(options);
    }
    if let Some(name) = given.get_application_name() {
        config.application_name(name);
    }
    for address in given.get_hostaddrs() {
        config.hostaddr(*address);
    }
    if is_given("channel_binding") {
        config.channel_binding(given.get_channel_binding());
    }
    if is_given("target_session_attrs") {
        config.target_session_attrs(given.get_target_session_attrs());
    }
    if is_given("load_balance_hosts") {
        config.load_balance_hosts(given.get_load_balance_hosts());
    }
    if is_given("sslnegotiation") {
        config.ssl_negotiation(given.get_ssl_negotiation());
    }
    if is_given("keepalives") {
        config.keepalives(given.get_keepalives());
    }
    if is_given("keepalives_idle") {
        config.keepalives_idle(given.get_keepalives_idle());
    }
    if let Some(interval) = given.get_keepalives_interval() {
        config.keepalives_interval(interval);
    }
    if let Some(retries) = given.get_keepalives_retries() {
        config.keepalives_retries(retries);
    }
    if let Some(timeout) = given.get_tcp_user_timeout() {
        config.tcp_user_timeout(*timeout);
    }
    if let Some(on) = settings.tcp_keepalive {
        config.keepalives(on);
    }
    if let Some(idle) = settings.tcp_keepalive_time {
        config.keepalives_idle(idle);
    }
    if let Some(interval) = settings.tcp_keepalive_interval {
        config.keepalives_interval(interval);
    }
    if let Some(probes) = settings.tcp_keepalive_probes {
        config.keepalives_retries(probes);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn config(text: &str) -> Config {
        let settings = Settings::parse(&format!("host=db.example.com {text}"), &KEYS).unwrap();
        driver_config(Config::new(), TlsSettings::new(), &settings).unwrap().0
    }

    #[test]
    fn keepalive_settings_reach_the_driver() {
        let defaults = config("");
        assert!(defaults.get_keepalives());
        assert!(!config("tcp_keepalive=false").get_keepalives());
        let given = config("tcp_keepalive_time=41 tcp_keepalive_interval=7s tcp_keepalive_probes=5");
        assert_eq!(given.get_keepalives_idle(), Duration::from_secs(41));
        assert_eq!(given.get_keepalives_interval(), Some(Duration::from_secs(7)));
        assert_eq!(given.get_keepalives_retries(), Some(5));
        let own = config("keepalives_idle=43 keepalives_retries=6");
        assert_eq!(
            (own.get_keepalives_idle(), own.get_keepalives_retries()),
            (Duration::from_secs(43), Some(6))
        );
    }
}
