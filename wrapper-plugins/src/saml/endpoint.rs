//! Where the identity provider is.

use url::Url;
use wrapper_core::{Error, Result};

/// The address of the identity provider: `idp_endpoint`, with `https://` or without, with a port or without, and
/// `idp_port`.
///
/// # Errors
/// It is no host, or not HTTPS, or it has a port and `idp_port` is another one.
pub(super) fn endpoint(host: &str, port: Option<u32>) -> Result<Url> {
    let refused = |why: &str| {
        Error::config(format!(
            "`idp_endpoint={}`: {why}; expected the host of the identity provider, such as `adfs.example.com`",
            shown(host)
        ))
    };
    let host = host.trim();
    if host.starts_with("http://") {
        return Err(refused("a password is sent there, so it must be HTTPS"));
    }
    let rest = host.strip_prefix("https://").unwrap_or(host).trim_end_matches('/');
    if rest.is_empty() || rest.contains(['/', '?', '#', '@', '\\']) || rest.contains(char::is_whitespace) {
        return Err(refused("it is no host"));
    }
    let mut url = Url::parse(&format!("https://{rest}/"))
        .map_err(|error| refused("it is no host").with_source(error))?;
    if let Some(port) = port {
        let port = u16::try_from(port)
            .map_err(|_| Error::config(format!("`idp_port={port}`: expected a port, 1 to {}", u16::MAX)))?;
        // A port that is the usual one is not kept.
        let written =
            rest.rsplit_once(':').is_some_and(|(_, end)| end.bytes().all(|byte| byte.is_ascii_digit()));
        if written && url.port_or_known_default() != Some(port) {
            return Err(Error::config(format!(
                "`idp_port={port}` contradicts the port in `idp_endpoint={rest}`; leave one of them out"
            )));
        }
        url.set_port(Some(port)).map_err(|()| refused("it can have no port"))?;
    }
    Ok(url)
}

/// What may be shown of a text that was given as a host: not the part before an `@`.
fn shown(text: &str) -> &str {
    text.rsplit_once('@').map_or(text, |(_, rest)| rest)
}

/// How errors call it: host and port.
pub(super) fn name(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_host_with_or_without_what_can_stand_around_it() {
        for (host, port, expected) in [
            ("adfs.example.com", None, "https://adfs.example.com/"),
            ("https://adfs.example.com/", Some(443), "https://adfs.example.com/"),
            ("adfs.example.com", Some(8443), "https://adfs.example.com:8443/"),
            ("adfs.example.com:8443", None, "https://adfs.example.com:8443/"),
            ("adfs.example.com:8443", Some(8443), "https://adfs.example.com:8443/"),
            ("[::1]", Some(8443), "https://[::1]:8443/"),
        ] {
            assert_eq!(endpoint(host, port).unwrap().as_str(), expected);
        }
        for (host, port, expected) in [
            ("http://adfs.example.com", None, "must be HTTPS"),
            ("adfs.example.com/adfs/ls", None, "it is no host"),
            ("jane:hunter2@adfs.example.com", None, "it is no host"),
            ("", None, "it is no host"),
            ("adfs.example.com", Some(70_000), "`idp_port=70000`"),
            ("adfs.example.com:8443", Some(443), "contradicts"),
        ] {
            let error = endpoint(host, port).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("hunter2"), "{host}: {error}");
        }
    }
}
