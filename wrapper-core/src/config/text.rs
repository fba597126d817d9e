//! Connection text taken apart: a URL, or `name=value` pairs as libpq writes them.
//!
//! No message here repeats the text: a password may be anywhere in what could not be read.

use percent_encoding::percent_decode_str;

use crate::config::driver_keys::DriverKeys;
use crate::config::record::Source;
use crate::config::value::Given;
use crate::error::{Error, Result};

/// One name and its value, as written.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) given: Given,
    pub(crate) source: Source,
}

/// A host and its port, if one was written.
pub(crate) type WrittenHost = (String, Option<u16>);

/// What a connection text says.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) hosts: Vec<WrittenHost>,
    pub(crate) entries: Vec<Entry>,
}

/// Takes a connection text apart.
///
/// # Errors
/// A configuration error that says which rule of the form was broken.
pub(crate) fn take_apart(text: &str, keys: &DriverKeys<'_>) -> Result<Written> {
    let text = text.trim();
    match text.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(|c: char| c == '=' || c.is_whitespace()) => {
            if !keys.schemes.iter().any(|known| known.eq_ignore_ascii_case(scheme)) {
                return Err(Error::config(format!(
                    "connection URL: unknown scheme `{scheme}://`; expected {}",
                    keys.schemes
                        .iter()
                        .map(|scheme| format!("`{scheme}://`"))
                        .collect::<Vec<_>>()
                        .join(" or ")
                )));
            }
            take_url_apart(rest)
        }
        _ => take_keywords_apart(text),
    }
}

/// `[user[:password]@]host[:port],…[/dbname][?name=value&…]`
fn take_url_apart(rest: &str) -> Result<Written> {
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let (path, query) = match tail.split_once('?') {
        Some((path, query)) => (path, query),
        None => (tail, ""),
    };
    if tail.contains('@') {
        return Err(Error::config(
            "connection URL: `@` after the hosts; write `%40` there, and `%2F` and `%3F` for `/` and `?` in a password",
        ));
    }
    let mut written = Written::default();
    let hosts = match authority.rsplit_once('@') {
        Some((credentials, hosts)) => {
            let (user, password) = match credentials.split_once(':') {
                Some((user, password)) => (user, Some(password)),
                None => (credentials, None),
            };
            if !user.is_empty() {
                written.push("user", decode(user, "the user")?);
            }
            if let Some(password) = password {
                written.push("password", decode(password, "the password")?);
            }
            hosts
        }
        None => authority,
    };
    for (index, host) in hosts.split(',').enumerate().filter(|_| !hosts.is_empty()) {
        written.hosts.push(url_host(host, index + 1)?);
    }
    let dbname = path.strip_prefix('/').unwrap_or(path);
    if !dbname.is_empty() {
        written.push("dbname", decode(dbname, "the database name")?);
    }
    for (index, pair) in query.split('&').enumerate().filter(|(_, pair)| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or_else(|| {
            Error::config(format!("connection URL: setting {} after `?` has no `=`", index + 1))
        })?;
        let name = decode(name, "the name of a setting")?;
        let value = decode(value, &format!("the value of `{name}`"))?;
        written.push(&name, value);
    }
    Ok(written)
}

impl Written {
    fn push(&mut self, name: &str, value: String) {
        self.entries.push(Entry { name: name.to_owned(), given: Given::from(value), source: Source::Url });
    }
}

fn url_host(text: &str, number: usize) -> Result<WrittenHost> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest
                .split_once(']')
                .ok_or_else(|| Error::config(format!("connection URL: host {number} has no closing `]`")))?;
            if !port.is_empty() && !port.starts_with(':') {
                return Err(Error::config(format!("connection URL: host {number} has text after `]`")));
            }
            (host, port.strip_prefix(':'))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port.filter(|port| !port.is_empty()) {
        None => None,
        Some(port) => Some(port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(|| {
            Error::config(format!(
                "connection URL: the port of host {number} is not a number from 1 to 65535 (an IPv6 address stands in \
                 brackets; `:`, `/`, `?` and `@` in a password are written `%3A`, `%2F`, `%3F` and `%40`)"
            ))
        })?),
    };
    Ok((decode(host, "a host")?, port))
}

fn decode(text: &str, what: &str) -> Result<String> {
    match percent_decode_str(text).decode_utf8() {
        Ok(decoded) => Ok(decoded.into_owned()),
        Err(_) => Err(Error::config(format!("connection URL: {what} is not UTF-8 after percent-decoding"))),
    }
}

/// `name=value name = 'quoted \' value' …`
fn take_keywords_apart(text: &str) -> Result<Written> {
    let mut written = Written::default();
    let mut rest = text.trim_start();
    let mut before = String::from("at the start");
    while !rest.is_empty() {
        let (name, value) = rest
            .split_once('=')
            .map(|(name, value)| (name.trim_end(), value.trim_start()))
            .filter(|(name, _)| !name.is_empty() && !name.contains(char::is_whitespace))
            .ok_or_else(|| {
                Error::config(format!(
                    "connection string: expected `name=value` {before}; a value with spaces stands in single quotes"
                ))
            })?;
        let (value, after) = keyword_value(value).ok_or_else(|| {
            Error::config(format!("connection string: the value of `{name}` has no closing quote"))
        })?;
        written.entries.push(Entry {
            name: name.to_owned(),
            given: Given::from(value),
            source: Source::Keywords,
        });
        before = format!("after the value of `{name}`");
        rest = after.trim_start();
    }
    Ok(written)
}

/// The value at the start of `text`, and what follows it; `None` when a quote is not closed.
fn keyword_value(text: &str) -> Option<(String, &str)> {
    let (quoted, body) = match text.strip_prefix('\'') {
        Some(body) => (true, body),
        None => (false, text),
    };
    let mut value = String::new();
    let mut chars = body.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            '\'' if quoted => return Some((value, &body[at + 1..])),
            c if !quoted && c.is_whitespace() => return Some((value, &body[at..])),
            c => value.push(c),
        }
    }
    if quoted { None } else { Some((value, "")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: DriverKeys<'static> =
        DriverKeys { schemes: &["postgres", "postgresql"], default_port: 5432, names: &[] };

    fn pairs(text: &str) -> Vec<(String, String)> {
        let written = take_apart(text, &KEYS).unwrap();
        written.entries.into_iter().map(|entry| (entry.name, entry.given.text())).collect()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn a_url_is_taken_apart() {
        let text =
            "postgres://us%40er:p%2Fw:x@a,b:6000,[::1]:7000,[::2]/my%20db?plugins=failover,efm&x=%26&y=";
        let written = take_apart(text, &KEYS).unwrap();
        let hosts: Vec<(&str, Option<u16>)> = written.hosts.iter().map(|(h, p)| (h.as_str(), *p)).collect();
        assert_eq!(hosts, [("a", None), ("b", Some(6000)), ("::1", Some(7000)), ("::2", None)]);
        assert_eq!(
            pairs(text),
            [
                pair("user", "us@er"),
                pair("password", "p/w:x"),
                pair("dbname", "my db"),
                pair("plugins", "failover,efm"),
                pair("x", "&"),
                pair("y", "")
            ]
        );
    }

    #[test]
    fn short_urls() {
        assert!(take_apart("postgres://", &KEYS).unwrap().hosts.is_empty());
        assert_eq!(take_apart("PostgreSQL://h", &KEYS).unwrap().hosts, [("h".to_owned(), None)]);
        assert_eq!(pairs("postgres:///db"), [pair("dbname", "db")]);
        assert_eq!(pairs("postgres://h?a=b"), [pair("a", "b")]);
        // A raw `#` and a raw `@` in the password do no harm.
        assert_eq!(pairs("postgres://u:a#b@c@h"), [pair("user", "u"), pair("password", "a#b@c")]);
        assert_eq!(take_apart("postgres://%2Fvar%2Frun", &KEYS).unwrap().hosts[0].0, "/var/run");
    }

    #[test]
    fn keywords_are_taken_apart_as_libpq_does() {
        assert_eq!(
            pairs(r"host=a,b  user = 'it\'s me' password='a b\\c' x=a\ b plugins='' y="),
            [
                pair("host", "a,b"),
                pair("user", "it's me"),
                pair("password", r"a b\c"),
                pair("x", "a b"),
                pair("plugins", ""),
                pair("y", "")
            ]
        );
        assert!(pairs("  ").is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_explained_and_never_repeated() {
        let cases = [
            ("mysql://u:SECRET@h/db", "expected `postgres://` or `postgresql://`"),
            ("postgres://u:SECRET/x@h/db", "`@` after the hosts"),
            ("postgres://u:12/SECRET@h/db", "`@` after the hosts"),
            ("postgres://u:12?SECRET@h/db", "`@` after the hosts"),
            ("postgres://u:SECRET", "port of host 1"),
            ("postgres://a,b:SECRET", "port of host 2"),
            ("postgres://h:0", "port of host 1"),
            ("postgres://h:65536", "port of host 1"),
            ("postgres://::1/db", "brackets"),
            ("postgres://[::1/db", "closing `]`"),
            ("postgres://[::1]x/db", "after `]`"),
            ("postgres://u:SECRET%FF@h/db", "the password is not UTF-8"),
            ("postgres://h/db?SECRET", "setting 1 after `?` has no `=`"),
            ("password=SECRET1 SECRET2", "after the value of `password`"),
            ("SECRET", "at the start"),
            ("password='SECRET", "`password` has no closing quote"),
            ("=SECRET", "at the start"),
        ];
        for (text, expected) in cases {
            let error = take_apart(text, &KEYS).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains("SECRET"), "{text}: {error}");
        }
    }
}
