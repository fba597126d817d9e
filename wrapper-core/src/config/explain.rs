//! The effective settings in readable form.

use std::fmt::Write as _;

use crate::config::definition::Definition;
use crate::config::settings::{DEFINITIONS, Settings};

impl Settings {
    /// The effective values, one a line, and where each came from; secrets are masked.
    ///
    /// ```text
    /// host = db.cluster-xyz.us-east-2.rds.amazonaws.com:5432  [URL]
    /// driver: password = ***  [URL]
    /// failover_timeout = 60s  [URL, as failover_timeout_sec]
    /// failover_mode = not set: `reader_or_writer` on a reader endpoint, else `strict_writer`  [default]
    /// ```
    pub fn explain(&self) -> String {
        let mut text = String::new();
        for (host, port) in self.hosts() {
            let source = self.record.hosts_source.as_ref().map_or_else(String::new, ToString::to_string);
            let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
            line(&mut text, &format!("host = {host}:{port}  [{source}]"));
        }
        for parameter in &self.record.driver {
            line(
                &mut text,
                &format!("driver: {} = {}  [{}]", parameter.name, parameter.value, parameter.source),
            );
        }
        for definition in DEFINITIONS {
            let name = definition.name();
            let source = match self.record.origins.get(name) {
                None => "default".to_owned(),
                Some(origin) if origin.written == name => origin.source.to_string(),
                Some(origin) => format!("{}, as {}", origin.source, origin.written),
            };
            line(&mut text, &format!("{name} = {}  [{source}]", value(self, definition)));
        }
        for warning in self.warnings() {
            line(&mut text, &format!("warning: {warning}"));
        }
        text
    }
}

fn line(text: &mut String, line: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{line}");
}

/// The value of a setting, or what holds without one.
pub(crate) fn value(settings: &Settings, definition: &Definition) -> String {
    match definition.row.unset {
        Some(meaning) if !settings.is_set(definition.name()) => format!("not set: {meaning}"),
        _ => settings.show(definition.name()).unwrap_or_default(),
    }
}
