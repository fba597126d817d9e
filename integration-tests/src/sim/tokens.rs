//! What RDS checks of an IAM token, written down a second time: signature, host, port, user, region, age. Shares no code
//! with what makes tokens.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use chrono::NaiveDateTime;
use ring::{digest, hmac};

use super::LoginAttempt;

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenFault {
    /// It is no presigned request to connect.
    Form,
    /// It is for another host or port.
    Host,
    /// It is for another user.
    User,
    /// It is for another region or service, or another access key has signed it.
    Scope,
    /// It is too old, or from the future.
    Age,
    /// The signature is not the key's.
    Signature,
    /// It came over a connection without TLS.
    Plain,
}

/// Checks tokens as RDS does.
#[derive(Clone, Debug)]
pub struct TokenCheck {
    access_key: String,
    secret_key: String,
    region: String,
}

impl TokenCheck {
    /// Tokens that this key has signed for databases of `region`.
    #[must_use]
    pub fn new(access_key: &str, secret_key: &str, region: &str) -> Self {
        let own = str::to_owned;
        Self { access_key: own(access_key), secret_key: own(secret_key), region: own(region) }
    }

    /// Whether the login that shows this token is let in at the time `now`.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn verify(&self, login: &LoginAttempt<'_>, now: SystemTime) -> Result<(), TokenFault> {
        if !login.encrypted {
            return Err(TokenFault::Plain);
        }
        let (place, query) = login.password.split_once("/?").ok_or(TokenFault::Form)?;
        let mut pairs = BTreeMap::new();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').ok_or(TokenFault::Form)?;
            if pairs.insert(name, value).is_some() {
                return Err(TokenFault::Form);
            }
        }
        let signature = pairs.remove("X-Amz-Signature").ok_or(TokenFault::Form)?;
        let get = |name: &str| pairs.get(name).copied().ok_or(TokenFault::Form);
        let fixed = [
            ("Action", "connect"),
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Expires", "900"),
            ("X-Amz-SignedHeaders", "host"),
        ];
        if fixed.iter().any(|(name, value)| get(name) != Ok(*value)) {
            return Err(TokenFault::Form);
        }
        if !login.hosts.iter().any(|host| place == format!("{host}:{}", login.port)) {
            return Err(TokenFault::Host);
        }
        if decoded(get("DBUser")?).as_deref() != Some(login.user) {
            return Err(TokenFault::User);
        }
        let date = get("X-Amz-Date")?;
        let made = NaiveDateTime::parse_from_str(date, "%Y%m%dT%H%M%SZ").map_err(|_| TokenFault::Form)?;
        let made = u64::try_from(made.and_utc().timestamp()).map_err(|_| TokenFault::Form)?;
        let made = SystemTime::UNIX_EPOCH + Duration::from_secs(made);
        // The token is dated in whole seconds.
        let age = (now + Duration::from_secs(1)).duration_since(made).map_err(|_| TokenFault::Age)?;
        if age > Duration::from_secs(901) {
            return Err(TokenFault::Age);
        }
        let day = &date[..8];
        let scope = format!("{day}/{}/rds-db/aws4_request", self.region);
        if decoded(get("X-Amz-Credential")?) != Some(format!("{}/{scope}", self.access_key)) {
            return Err(TokenFault::Scope);
        }
        let signed: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let host = place.strip_suffix(":443").unwrap_or(place);
        let request = format!("GET\n/\n{}\nhost:{host}\n\nhost\n{}", signed.join("&"), hex(&sha256(b"")));
        let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex(&sha256(request.as_bytes())));
        let mut key = format!("AWS4{}", self.secret_key).into_bytes();
        for part in [day, &self.region, "rds-db", "aws4_request", &text] {
            let signer = hmac::Key::new(hmac::HMAC_SHA256, &key);
            key = hmac::sign(&signer, part.as_bytes()).as_ref().to_vec();
        }
        if hex(&key) == signature { Ok(()) } else { Err(TokenFault::Signature) }
    }
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, bytes).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A value without its percent signs.
fn decoded(value: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let (high, low) = (digit(rest.next())?, digit(rest.next())?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "mydb.cluster-abcdefghijkl.us-east-2.rds.amazonaws.com";
    /// Made by botocore 1.44.5 at 2024-01-01T00:00:00Z.
    const TOKEN: &str = "mydb.cluster-abcdefghijkl.us-east-2.rds.amazonaws.com:5432/?Action=connect&DBUser=jane_doe\
        &X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20240101%2Fus-east-2%2Frds-db%2Faws4_request\
        &X-Amz-Date=20240101T000000Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host\
        &X-Amz-Signature=58f312b6af253651a38a24e36bbce6a2ae65ce9e1b66038ae68041aaee81cbcf";

    fn verdict(change: impl FnOnce(&mut Case)) -> Result<(), TokenFault> {
        let mut case = Case {
            token: TOKEN.to_owned(),
            user: "jane_doe",
            host: HOST,
            port: 5432,
            encrypted: true,
            region: "us-east-2",
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            since: 1_100,
        };
        change(&mut case);
        let login = LoginAttempt {
            user: case.user,
            password: &case.token,
            hosts: &[case.host.to_owned()],
            port: case.port,
            encrypted: case.encrypted,
            application_name: "",
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_704_067_200 - 1_000 + case.since);
        TokenCheck::new("AKIDEXAMPLE", case.secret, case.region).verify(&login, now)
    }

    struct Case {
        token: String,
        user: &'static str,
        host: &'static str,
        port: u16,
        encrypted: bool,
        region: &'static str,
        secret: &'static str,
        /// Seconds since 1,000 before the token was made.
        since: u64,
    }

    #[test]
    fn a_token_of_botocore_is_let_in_and_each_change_of_it_refused() {
        assert_eq!(verdict(|_| ()), Ok(()));
        assert_eq!(verdict(|case| case.since = 1_900), Ok(()));
        assert_eq!(verdict(|case| case.since = 1_902), Err(TokenFault::Age));
        assert_eq!(verdict(|case| case.since = 940), Err(TokenFault::Age));
        assert_eq!(verdict(|case| case.user = "john"), Err(TokenFault::User));
        assert_eq!(verdict(|case| case.host = "other.example.com"), Err(TokenFault::Host));
        assert_eq!(verdict(|case| case.port = 5433), Err(TokenFault::Host));
        assert_eq!(verdict(|case| case.encrypted = false), Err(TokenFault::Plain));
        assert_eq!(verdict(|case| case.region = "eu-west-1"), Err(TokenFault::Scope));
        assert_eq!(verdict(|case| case.secret = "another"), Err(TokenFault::Signature));
        assert_eq!(verdict(|case| case.token = "hunter2".to_owned()), Err(TokenFault::Form));
        assert_eq!(verdict(|case| case.token = case.token.replace("900", "999")), Err(TokenFault::Form));
        // The token says that it is the other user's, but that is not what was signed.
        let forged = verdict(|case| {
            case.token = case.token.replace("jane_doe", "root");
            case.user = "root";
        });
        assert_eq!(forged, Err(TokenFault::Signature));
    }
}
