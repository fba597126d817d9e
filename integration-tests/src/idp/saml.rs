//! Users, and the assertions that are made for them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Who may sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// His name.
    pub name: String,
    /// His password.
    pub password: String,
}

impl User {
    /// A user of this name, with this password.
    #[must_use]
    pub fn new(name: &str, password: &str) -> Self {
        Self { name: name.to_owned(), password: password.to_owned() }
    }
}

/// The assertions that identity providers have made, which STS takes.
#[derive(Clone, Debug, Default)]
pub struct Assertions(Arc<Mutex<Vec<String>>>);

impl Assertions {
    /// All of them, in order, in base 64.
    #[must_use]
    pub fn made(&self) -> Vec<String> {
        self.all().clone()
    }

    fn all(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes one. It has the two attributes that AWS wants.
    pub(super) fn make(&self, user: &str) -> String {
        let mut all = self.all();
        let xml = format!(
            "<samlp:Response xmlns:samlp=\"urn:oasis:names:tc:SAML:2.0:protocol\" ID=\"_{}\"><Assertion \
             xmlns=\"urn:oasis:names:tc:SAML:2.0:assertion\"><AttributeStatement><Attribute \
             Name=\"https://aws.amazon.com/SAML/Attributes/RoleSessionName\"><AttributeValue>{user}</AttributeValue>\
             </Attribute><Attribute Name=\"https://aws.amazon.com/SAML/Attributes/Role\"><AttributeValue>\
             arn:aws:iam::123456789012:role/shop,arn:aws:iam::123456789012:saml-provider/corp</AttributeValue></Attribute>\
             </AttributeStatement></Assertion></samlp:Response>",
            all.len()
        );
        let assertion = base64(xml.as_bytes());
        all.push(assertion.clone());
        assertion
    }

    pub(super) fn has(&self, assertion: &str) -> bool {
        self.all().iter().any(|made| made == assertion)
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0_usize, |group, byte| group << 8 | usize::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..4 {
            text.push(if place > chunk.len() {
                '='
            } else {
                char::from(DIGITS[group >> (18 - 6 * place) & 63])
            });
        }
    }
    text
}

/// The page that hands an assertion on to AWS, in the way of ADFS and of Okta: with each character escaped that can be.
pub(super) fn handing_on(assertion: &str) -> String {
    let escaped = assertion.replace('+', "&#x2b;").replace('=', "&#x3d;");
    format!(
        "<html><head><title>Working...</title></head><body><form method=\"POST\" name=\"hiddenform\" \
         action=\"https://signin.aws.amazon.com:443/saml\"><input type=\"hidden\"\n name=\"SAMLResponse\" value=\"{escaped}\" \
         /><input name=\"RelayState\" type=\"hidden\" value=\"\"/><noscript><p>Script is disabled.</p><input type=\"submit\" \
         value=\"Submit\" /></noscript></form><script>window.setTimeout('document.forms[0].submit()', 0);</script></body></html>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_64_is_as_rfc_4648_has_it() {
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }
}
