//! Settings: URLs and connection strings.

use wrapper_core::config::{DEFINITIONS, DriverKeys, Settings};

const KEYS: DriverKeys<'static> = DriverKeys {
    schemes: &["postgres", "postgresql"],
    default_port: 5432,
    names: &["application_name", "options", "sslmode", "sslrootcert"],
};

/// A password that stands in no other place of a text.
pub const PASSWORD: &str = "hUnter-2-seCret";

/// Reads a text; what is accepted is shown, and read again from what was shown.
pub fn settings(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(settings) = Settings::parse(&text, &KEYS) else { return };
    assert!(!settings.hosts().is_empty(), "there is a host: {text}");
    let explained = settings.explain();
    let defaults = Settings::default();
    for definition in DEFINITIONS {
        let name = definition.name();
        assert!(explained.contains(name), "`{name}` is explained: {explained}");
        let shown = settings.show(name).expect("every setting can be shown");
        if settings.profile_name.is_some() || Some(&shown) == defaults.show(name).as_ref() {
            continue;
        }
        let again = Settings::builder().host("db.example.com").set(name, shown.as_str()).build(&KEYS);
        match again {
            Ok(again) => assert_eq!(again.show(name), Some(shown), "`{name}` of {text}"),
            // Some settings ask for another one; then that other one is named.
            Err(error) => {
                let others = DEFINITIONS.iter().filter(|other| other.name() != name);
                let names_another = others
                    .map(|other| format!("`{}", other.name()))
                    .any(|other| error.to_string().contains(&other));
                assert!(names_another, "`{name}={shown}` of {text} cannot be read again: {error}");
            }
        }
    }
}

/// Reads a text in which [`PASSWORD`] stands as a password: it is in nothing that can be shown.
pub fn without_the_password(text: &str) {
    match Settings::parse(text, &KEYS) {
        Ok(settings) => {
            assert!(!settings.explain().contains(PASSWORD), "explain: {text}");
            assert!(!format!("{settings:?}").contains(PASSWORD), "Debug: {text}");
            assert!(!settings.warnings().concat().contains(PASSWORD), "warnings: {text}");
        }
        Err(error) => {
            assert!(!error.to_string().contains(PASSWORD), "{error}");
            assert!(!format!("{error:?}").contains(PASSWORD), "{error:?}");
        }
    }
}
