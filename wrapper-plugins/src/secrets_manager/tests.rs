//! What a secret holds, and which one is meant.

use secrecy::ExposeSecret;
use wrapper_core::ErrorKind;
use wrapper_core::config::{DriverKeys, Settings};

use super::SecretsManager;
use super::document::{Keys, login};

fn keys() -> Keys {
    Keys { user: "username".to_owned(), password: "password".to_owned() }
}

#[test]
fn a_secret_gives_its_user_and_its_password_and_nothing_else() {
    let text = r#"{"engine":"postgres","port":5432,"username":"app","password":"a\"b\\c €"}"#;
    let found = login("shop/app", &keys(), text).unwrap();
    assert_eq!(found.user.as_deref(), Some("app"));
    assert_eq!(found.password.as_ref().unwrap().expose_secret(), "a\"b\\c €");
    assert!(!found.needs_tls && !found.clear_text);
    let number = login("shop/app", &keys(), r#"{"username":"app","password":12345678901234567890}"#).unwrap();
    assert_eq!(number.password.unwrap().expose_secret(), "12345678901234567890");
}

#[test]
fn an_error_shows_nothing_of_the_secret() {
    for text in [
        "hunter2",
        r#"{"username":"app","password":"hunter2""#,
        r#"{"username":"app","hunter2":"hunter2"}"#,
        r#"{"username":"app","password":0.5}"#,
        "\"hunter2\"",
        "",
    ] {
        let error = login("shop/app", &keys(), text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{text}");
        let shown = format!("{error} {error:?}");
        assert!(
            shown.contains("`shop/app`") && !shown.contains("hunter2") && !shown.contains("0.5"),
            "{shown}"
        );
    }
}

#[test]
fn the_region_is_that_of_the_arn_in_any_partition_or_the_one_that_is_set() {
    let keys = DriverKeys { schemes: &["postgres"], default_port: 5432, names: &[] };
    let settings = Settings::parse("postgres://db.example.com/shop", &keys).unwrap();
    let region = |plugin: SecretsManager| plugin.rules(&settings).map(|rules| rules.region);
    for (arn, expected) in [
        ("arn:aws:secretsmanager:us-east-2:123456789012:secret:shop/app-AbCdEf", "us-east-2"),
        ("arn:aws-cn:secretsmanager:cn-north-1:123456789012:secret:shop:app-AbCdEf", "cn-north-1"),
        ("arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:x-AbCdEf", "us-gov-west-1"),
    ] {
        assert_eq!(region(SecretsManager::new().secret(arn)).unwrap(), expected);
        assert_eq!(region(SecretsManager::new().secret(arn).region(expected)).unwrap(), expected);
        let error = region(SecretsManager::new().secret(arn).region("eu-west-1")).unwrap_err();
        assert!(error.to_string().contains("`secrets_manager_region=eu-west-1` contradicts"), "{error}");
    }
    assert_eq!(region(SecretsManager::new().secret("shop/app").region("eu-west-1")).unwrap(), "eu-west-1");
}
