//! The bare driver's options for a cluster of the user's own, from the URL that the wrapper has read.

use mysql_async::{OptsBuilder, SslOpts};
use wrapper_core::config::Settings;

/// The driver's own part of the settings; TLS unless the mode is `disabled`, or unless it is left open and the host is
/// none of RDS'.
pub(super) fn options(settings: &Settings, host: &str) -> OptsBuilder {
    let given = |names: [&str; 2]| {
        let found = names.iter().find_map(|name| settings.driver_parameter(name));
        found.map(|value| value.expose().to_owned())
    };
    let of = |name| settings.driver_parameter(name).map(|value| value.expose().to_owned());
    let options = OptsBuilder::default().user(of("user")).pass(of("password")).db_name(of("dbname"));
    let mode = given(["ssl_mode", "sslmode"]).map(|mode| mode.to_ascii_lowercase());
    let encrypted = match mode.as_deref() {
        Some("disable" | "disabled") => false,
        Some("prefer" | "preferred") | None => host.contains(".rds.amazonaws.com"),
        Some(_) => true,
    };
    if !encrypted {
        return options;
    }
    let file = given(["ssl_ca", "sslrootcert"]).filter(|file| file != "system");
    let roots = match file {
        Some(file) => vec![std::path::PathBuf::from(file).into()],
        None => {
            let own = rustls_native_certs::load_native_certs().certs;
            own.into_iter().map(|certificate| certificate.to_vec().into()).collect()
        }
    };
    let tls = SslOpts::default().with_disable_built_in_roots(true).with_root_certs(roots);
    options.ssl_opts(Some(tls))
}
