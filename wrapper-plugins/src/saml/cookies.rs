//! The cookies of one login, of one origin.

use hyper::header::{HeaderMap, HeaderValue, SET_COOKIE};
use url::Url;

/// So many cookies are kept; an answer may have no more to set.
const MOST: usize = 100;

struct Cookie {
    name: String,
    value: String,
    path: String,
}

/// Cookies by name and path. All are of one host and over TLS, and live for less than a minute, so nothing else about
/// them counts. Has no `Debug`: they are secret.
#[derive(Default)]
pub(super) struct Jar(Vec<Cookie>);

impl Jar {
    /// Keeps what an answer to a request for `url` sets, and drops what it takes back.
    pub(super) fn take(&mut self, url: &Url, headers: &HeaderMap) {
        for header in headers.get_all(SET_COOKIE) {
            if let Ok(line) = header.to_str() {
                self.set(url, line);
            }
        }
    }

    fn set(&mut self, url: &Url, line: &str) {
        let mut parts = line.split(';');
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { return };
        let (name, value) = (name.trim(), value.trim());
        let (mut path, mut ended) = (None, false);
        for part in parts {
            let (key, given) = part.split_once('=').unwrap_or((part, ""));
            let given = given.trim();
            match key.trim().to_ascii_lowercase().as_str() {
                "path" if given.starts_with('/') => path = Some(given.to_owned()),
                "max-age" => ended = given.parse::<i64>().is_ok_and(|age| age <= 0),
                _ => {}
            }
        }
        let path = path.unwrap_or_else(|| folder(url.path()).to_owned());
        self.0.retain(|cookie| cookie.name != name || cookie.path != path);
        // A cookie is also taken back by a date in the past; those are set empty.
        if !name.is_empty() && !ended && !value.is_empty() && self.0.len() < MOST {
            self.0.push(Cookie { name: name.to_owned(), value: value.to_owned(), path });
        }
    }

    /// The header for a request for `url`.
    pub(super) fn header(&self, url: &Url) -> Option<HeaderValue> {
        let fits = |cookie: &&Cookie| {
            let rest = url.path().strip_prefix(cookie.path.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || cookie.path.ends_with('/'))
        };
        let pairs: Vec<String> =
            self.0.iter().filter(fits).map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        if pairs.is_empty() {
            return None;
        }
        let mut header = HeaderValue::from_str(&pairs.join("; ")).ok()?;
        header.set_sensitive(true);
        Some(header)
    }
}

/// The path up to its last slash; `/` at least.
fn folder(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(end) => &path[..end],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(path: &str) -> Url {
        Url::parse(&format!("https://idp.example.com{path}")).unwrap()
    }

    fn sent(jar: &Jar, path: &str) -> String {
        jar.header(&url(path)).map(|header| header.to_str().unwrap().to_owned()).unwrap_or_default()
    }

    #[test]
    fn cookies_are_sent_where_they_belong_and_can_be_taken_back() {
        let mut jar = Jar::default();
        for line in [
            "a=1; Path=/adfs; Secure; HttpOnly",
            "b=x=y==; path=/",
            "c=3",
            "=4",
            "broken",
            "d=5; Path=/other/",
        ] {
            jar.set(&url("/adfs/ls/page.aspx"), line);
        }
        assert_eq!(sent(&jar, "/adfs/ls/page.aspx"), "a=1; b=x=y==; c=3");
        assert_eq!(sent(&jar, "/adfs"), "a=1; b=x=y==");
        assert_eq!(sent(&jar, "/adfsx"), "b=x=y==");
        assert_eq!(sent(&jar, "/other/1"), "b=x=y==; d=5");
        jar.set(&url("/"), "a=2; Path=/adfs");
        jar.set(&url("/"), "b=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT");
        jar.set(&url("/adfs/ls/"), "c=3; Max-Age=0");
        assert_eq!(sent(&jar, "/adfs/ls/page.aspx"), "a=2");
        assert!(jar.header(&url("/adfs")).unwrap().is_sensitive());
    }
}
