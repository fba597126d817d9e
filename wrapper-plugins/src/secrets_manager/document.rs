//! What a secret holds. No error here shows any of it.

use serde_json::Value;
use wrapper_core::credentials::Credential;
use wrapper_core::{Error, Result};

/// Where the user and the password stand in the secret's JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Keys {
    pub(super) user: String,
    pub(super) password: String,
}

/// The login in the text of the secret `id`.
///
/// # Errors
/// The text is no JSON object, or lacks one of the keys, or has no text there.
pub(super) fn login(id: &str, keys: &Keys, text: &str) -> Result<Credential> {
    // The parser's own error is left out: it might quote the text.
    let document: Value = serde_json::from_str(text).map_err(|_| {
        Error::config(format!(
            "the secret `{id}` is no JSON; expected an object with the keys `{}` and `{}`",
            keys.user, keys.password
        ))
    })?;
    let Value::Object(document) = document else {
        return Err(Error::config(format!(
            "the secret `{id}` is no JSON object; expected one with the keys `{}` and `{}`",
            keys.user, keys.password
        )));
    };
    let find = |key: &str, setting: &str| {
        let found = match document.get(key) {
            None => "is not in it",
            Some(Value::String(text)) if text.is_empty() => "is empty",
            Some(Value::String(text)) => return Ok(text.clone()),
            Some(Value::Number(number)) if number.is_i64() || number.is_u64() => {
                return Ok(number.to_string());
            }
            Some(_) => "holds neither a text nor a whole number",
        };
        Err(Error::config(format!(
            "the secret `{id}`: the key `{key}` {found}; correct the secret, or set `{setting}` to the key that has it"
        )))
    };
    let user = find(&keys.user, "secrets_manager_secret_username_key")?;
    let password = find(&keys.password, "secrets_manager_secret_password_key")?;
    Ok(Credential::new(password).with_user(user))
}
