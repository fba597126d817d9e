//! How settings become the driver's options and those of TLS.
//!
//! What lives here: the names of the driver's parameters, [`driver_opts`]. What may not: files and sockets.

use std::time::Duration;

use mysql_async::{Compression, Opts, OptsBuilder};
use wrapper_core::config::{DriverKeys, Settings};
use wrapper_core::{Error, ErrorKind, Result};

use crate::tls::{TlsMode, TlsSettings};

/// What mysql_async understands beside host, user, password and dbname, under its own names; TLS under MySQL's, and
/// under libpq's where they mean the same.
const DRIVER_NAMES: &[&str] = &[
    "client_found_rows",
    "compression",
    "enable_cleartext_plugin",
    "max_allowed_packet",
    "secure_auth",
    "ssl_ca",
    "ssl_cert",
    "ssl_key",
    "ssl_mode",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "stmt_cache_size",
    "tcp_nodelay",
    "tls_provider",
];

/// What settings are told of the driver.
pub(crate) const KEYS: DriverKeys<'static> =
    DriverKeys { schemes: &["mysql", "mariadb"], default_port: 3306, names: DRIVER_NAMES };

/// What the operating system waits before its first keepalive probe, where nothing else is said.
const KEEPALIVE_TIME: Duration = Duration::from_secs(7200);

/// Puts the driver's parameters of the settings into its options.
pub(crate) fn driver_opts(opts: Opts, tls: TlsSettings, settings: &Settings) -> Result<(Opts, TlsSettings)> {
    let mut given =
        Given { opts: OptsBuilder::from_opts(opts.clone()), tls, mode: None, certificate: None, key: None };
    for (name, value) in settings.driver_parameters() {
        given.take(name, value.expose())?;
    }
    let Given { mut opts, mut tls, certificate, key, .. } = given;
    match (certificate, key) {
        (Some((_, certificate)), Some((_, key))) => tls = tls.client_certificate(certificate, key),
        (None, None) => {}
        (Some((name, value)), None) => return Err(one_alone(&name, &value, "ssl_key")),
        (None, Some((name, value))) => return Err(one_alone(&name, &value, "ssl_cert")),
    }
    for (name, value) in [
        ("tcp_keepalive_interval", settings.tcp_keepalive_interval.map(|value| format!("{value:?}"))),
        ("tcp_keepalive_probes", settings.tcp_keepalive_probes.map(|value| value.to_string())),
    ] {
        if let Some(value) = value {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "`{name}={value}`: the driver mysql_async cannot set it; of keepalive it sets only \
                     `tcp_keepalive_time`; leave `{name}` out, or set it for the whole system (`sysctl net.ipv4`)"
                ),
            ));
        }
    }
    match (settings.tcp_keepalive, settings.tcp_keepalive_time) {
        (Some(false), _) => opts = opts.tcp_keepalive(None),
        (_, Some(time)) => opts = opts.tcp_keepalive(Some(time)),
        (Some(true), None) => opts = opts.tcp_keepalive(Some(KEEPALIVE_TIME)),
        (None, None) => {}
    }
    Ok((opts.into(), tls))
}

struct Given {
    opts: OptsBuilder,
    tls: TlsSettings,
    mode: Option<String>,
    certificate: Option<(String, String)>,
    key: Option<(String, String)>,
}

impl Given {
    fn take(&mut self, name: &str, value: &str) -> Result<()> {
        let opts = self.opts.clone();
        self.opts = match name {
            "user" => opts.user(Some(value)),
            "password" => opts.pass(Some(value)),
            "dbname" => opts.db_name(Some(value)),
            "client_found_rows" => opts.client_found_rows(switch(name, value)?),
            "enable_cleartext_plugin" => opts.enable_cleartext_plugin(switch(name, value)?),
            "secure_auth" => opts.secure_auth(switch(name, value)?),
            "tcp_nodelay" => opts.tcp_nodelay(switch(name, value)?),
            "stmt_cache_size" => opts.stmt_cache_size(number(name, value)?),
            "max_allowed_packet" => opts.max_allowed_packet(Some(number(name, value)?)),
            "compression" => opts.compression(compression(value)?),
            other => {
                self.take_tls(other, value)?;
                opts
            }
        };
        Ok(())
    }

    fn take_tls(&mut self, name: &str, value: &str) -> Result<()> {
        let tls = self.tls.clone();
        self.tls = match name {
            "ssl_mode" | "sslmode" => {
                if let Some(other) = self.mode.replace(name.to_owned()) {
                    return Err(twice(&other, name));
                }
                tls.mode(if name == "sslmode" { libpq_mode(value)? } else { value.parse()? })
            }
            "ssl_ca" | "sslrootcert" => match value.strip_prefix("built-in,") {
                Some(path) => tls.roots(file(name, path)?).built_in_roots_too(),
                None => tls.roots(file(name, value)?),
            },
            "tls_provider" => tls.provider(value.parse()?),
            "ssl_cert" | "sslcert" => {
                let given = (name.to_owned(), file(name, value)?.to_owned());
                if let Some((other, _)) = self.certificate.replace(given) {
                    return Err(twice(&other, name));
                }
                tls
            }
            "ssl_key" | "sslkey" => {
                let given = (name.to_owned(), file(name, value)?.to_owned());
                if let Some((other, _)) = self.key.replace(given) {
                    return Err(twice(&other, name));
                }
                tls
            }
            other => {
                return Err(Error::config(format!("`{other}` is not a parameter of the driver mysql_async")));
            }
        };
        Ok(())
    }
}

fn file<'v>(name: &str, value: &'v str) -> Result<&'v str> {
    if value.is_empty() {
        return Err(Error::config(format!("`{name}` is empty; expected a file's path")));
    }
    Ok(value)
}

fn twice(one: &str, other: &str) -> Error {
    Error::config(format!("`{one}` and `{other}` are the same setting; give it once"))
}

fn one_alone(given: &str, value: &str, missing: &str) -> Error {
    Error::config(format!(
        "`{given}={value}` is given without `{missing}`; expected both, the client's certificate and its private key, each \
         a file's path"
    ))
}

/// libpq's names for the modes.
fn libpq_mode(value: &str) -> Result<TlsMode> {
    match value {
        "disable" => Ok(TlsMode::Disabled),
        "prefer" => Ok(TlsMode::Preferred),
        "require" => Ok(TlsMode::Required),
        "verify-ca" => Ok(TlsMode::VerifyCa),
        "verify-full" => Ok(TlsMode::VerifyIdentity),
        other => Err(Error::config(format!(
            "`sslmode={other}` is unknown; expected `disable`, `prefer`, `require`, `verify-ca` or `verify-full`"
        ))),
    }
}

fn switch(name: &str, value: &str) -> Result<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" | "on" => Ok(true),
        "false" | "0" | "off" => Ok(false),
        _ => Err(Error::config(format!("`{name}={value}` is not a switch; expected `true` or `false`"))),
    }
}

fn number(name: &str, value: &str) -> Result<usize> {
    value.parse().map_err(|_| {
        Error::config(format!("`{name}={value}` is not a number; expected a whole number, 0 or more"))
    })
}

fn compression(value: &str) -> Result<Option<Compression>> {
    match value {
        "fast" => Ok(Some(Compression::fast())),
        "best" => Ok(Some(Compression::best())),
        "on" | "true" => Ok(Some(Compression::default())),
        "off" | "false" => Ok(None),
        level => match level.parse::<u32>() {
            Ok(level @ 0..=9) => Ok(Some(Compression::new(level))),
            _ => Err(Error::config(format!(
                "`compression={value}` is unknown; expected `fast`, `on`, `best`, `off`, or a level from 0 to 9"
            ))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(Opts, TlsSettings)> {
        let settings = Settings::parse(&format!("host=db.example.com {text}"), &KEYS)?;
        driver_opts(Opts::default(), TlsSettings::new(), &settings)
    }

    fn opts(text: &str) -> Opts {
        read(text).unwrap().0
    }

    fn refused(text: &str) -> Error {
        read(text).err().unwrap_or_else(|| panic!("`{text}` is taken"))
    }

    #[test]
    fn the_drivers_parameters_reach_it() {
        let given = opts(
            "user=app password=pw dbname=shop stmt_cache_size=5 client_found_rows=true compression=fast \
             tcp_nodelay=off max_allowed_packet=100000",
        );
        assert_eq!((given.user(), given.pass(), given.db_name()), (Some("app"), Some("pw"), Some("shop")));
        assert_eq!((given.stmt_cache_size(), given.max_allowed_packet()), (5, Some(100_000)));
        assert!(given.client_found_rows() && !given.tcp_nodelay() && given.compression().is_some());
        assert!(!given.prefer_socket() || given.socket().is_none());
    }

    #[test]
    fn keepalive_is_set_as_far_as_the_driver_can() {
        assert_eq!(opts("").tcp_keepalive(), None);
        assert_eq!(opts("tcp_keepalive_time=41").tcp_keepalive(), Some(Duration::from_secs(41)));
        assert_eq!(opts("tcp_keepalive=true").tcp_keepalive(), Some(KEEPALIVE_TIME));
        assert_eq!(opts("tcp_keepalive=false").tcp_keepalive(), None);
        for name in ["tcp_keepalive_interval", "tcp_keepalive_probes"] {
            let error = refused(&format!("{name}=7"));
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            let text = error.to_string();
            assert!(text.contains(&format!("`{name}=7")) && text.contains("mysql_async"), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named_with_what_was_expected() {
        for (text, expected) in [
            ("stmt_cache_size=many", "whole number"),
            ("tcp_nodelay=maybe", "`true` or `false`"),
            ("compression=11", "0 to 9"),
            ("ssl_mode=full", "verify_identity"),
            ("sslmode=full", "verify-full"),
            ("ssl_mode=disabled sslmode=disable", "give it once"),
            ("ssl_cert=a.pem", "`ssl_key`"),
            ("ssl_ca=", "file's path"),
            ("pool_max=5", "pool_max"),
        ] {
            let error = refused(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
