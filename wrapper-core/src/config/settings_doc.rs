//! `docs/settings.md`, made from the tables, and the test that it is up to date.

use std::fmt::Write as _;
use std::path::Path;

use crate::config::definition::Definition;
use crate::config::explain;
use crate::config::later::{INSTEAD, LATER};
use crate::config::plugin_name::{LATER_PLUGINS, PLUGINS};
use crate::config::profile::PRESETS;
use crate::config::settings::{DEFINITIONS, Settings};
use crate::config::value::Form;

const START: &str = "\
# Settings

<!-- Made from the tables in wrapper-core/src/config. To change this page, change a table, then run
     UPDATE_DOCS=1 cargo test -p wrapper-core settings_doc -->

Settings are written in a connection URL, in a connection string, or given to the builder:

```text
postgres://app:secret@db.cluster-xyz.us-east-2.rds.amazonaws.com:5432/shop?plugins=failover,efm&failover_timeout=60s
host=db.cluster-xyz.us-east-2.rds.amazonaws.com user=app plugins=failover,efm failover_timeout=60s
```

- Several hosts are separated by commas (`host1:5432,host2:5433`, or `host=host1,host2 port=5432,5433`).
- In a URL, `@`, `:`, `/`, `?`, `&` and `%` inside a name, a password or a value are percent-encoded (`@` is `%40`). In a
  connection string, a value with spaces stands in single quotes, with `\\'` and `\\\\` for `'` and `\\` in it.
- What is not in the tables below is the driver's: user, password, database, TLS and all other parameters of the driver are
  accepted under the driver's own names and handed to it untouched. Any other name is an error with the nearest name.
- A value that is given beats the profile's (`profile_name`), and the profile's beats the default.
- A name given twice, also under two of its names or in two places, is an error.
- `Settings::explain()` prints every effective value and where it came from, with secrets masked.

## Units

A *duration* is a whole number with a unit: `500ms`, `60s`, `2m`, `1h`. A bare number is an error, except

- under a name that carries the unit: every duration is also accepted as `NAME_ms` and `NAME_sec`, and the names of the peers
  are read in the peers' unit (given in brackets);
- where the table says *seconds*: a bare number is seconds there, as drivers have it.

An optional duration is turned off with `off` or `0`. *> 0* means that zero is an error. No duration is longer than 365 days.
";

fn page() -> String {
    let mut page = START.to_owned();
    let defaults = Settings::default();
    let mut plugins: Vec<&str> = DEFINITIONS.iter().map(Definition::plugin).collect();
    plugins.dedup();
    for plugin in plugins {
        let heading = match plugin {
            "core" => "Core".to_owned(),
            "selection" => "Selection of hosts".to_owned(),
            "aws" => "AWS".to_owned(),
            plugin => format!("Plugin `{plugin}`"),
        };
        add(&mut page, &format!("\n## {heading}\n"));
        add(&mut page, "| setting | also accepted as | value | default | what it does | plugin |");
        add(&mut page, "|---|---|---|---|---|---|");
        for definition in DEFINITIONS.iter().filter(|definition| definition.plugin() == plugin) {
            add(&mut page, &row(&defaults, definition));
        }
    }
    add(&mut page, "\n## Codes of plugins\n");
    add(&mut page, "| plugin | also accepted as |");
    add(&mut page, "|---|---|");
    for codes in PLUGINS {
        add(&mut page, &format!("| `{}` | {} |", codes.code, list(codes.aliases)));
    }
    let later: Vec<&str> = LATER_PLUGINS.iter().map(|codes| codes.code).collect();
    add(&mut page, &format!("\nKnown, and not available yet: {}.", list(&later)));
    presets(&mut page);
    add(&mut page, "\n## Parameters of the peers that are not supported yet\n");
    add(&mut page, "They are errors that say so, in snake case and in camel case.\n");
    add(&mut page, "| belongs to | names |");
    add(&mut page, "|---|---|");
    for (feature, names) in LATER {
        let names: Vec<&str> = names.split(' ').collect();
        add(&mut page, &format!("| {feature} | {} |", list(&names)));
    }
    add(&mut page, "\n## Parameters of the peers without a counterpart\n");
    add(&mut page, "| name | instead |");
    add(&mut page, "|---|---|");
    for (name, instead) in INSTEAD {
        add(&mut page, &format!("| `{name}` | {instead} |"));
    }
    page
}

fn add(page: &mut String, line: &str) {
    writeln!(page, "{line}").unwrap();
}

fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn row(defaults: &Settings, definition: &Definition) -> String {
    let aliases: Vec<String> = definition
        .row
        .aliases
        .iter()
        .map(|alias| match alias.form {
            Form::Milliseconds => format!("`{}` (ms)", alias.name),
            Form::Seconds | Form::SecondsOrUnit if definition.is_duration() => {
                format!("`{}` (s)", alias.name)
            }
            _ => format!("`{}`", alias.name),
        })
        .collect();
    let mut kind = definition.kind().to_owned();
    if definition.row.form == Form::SecondsOrUnit && definition.is_duration() {
        kind = "seconds, or duration".to_owned();
    }
    if definition.row.not_zero {
        kind.push_str(", > 0");
    }
    let default = explain::value(defaults, definition);
    let default = match default.strip_prefix("not set: ") {
        Some(meaning) => meaning.to_owned(),
        None => format!("`{default}`"),
    };
    let mut doc = definition.doc();
    if let Some(why) = definition.row.no_effect {
        doc.push_str(&format!(" It has no effect, and a warning says so: {why}."));
    }
    let plugin = match definition.plugin() {
        plugin @ ("core" | "selection" | "aws") => plugin.to_owned(),
        _ => list(&definition.plugins().collect::<Vec<_>>()),
    };
    format!("| `{}` | {} | {kind} | {default} | {doc} | {plugin} |", definition.name(), aliases.join(", "))
}

fn presets(page: &mut String) {
    add(page, "\n## Presets\n");
    add(
        page,
        "`profile_name` takes one of these or a profile of your own (`Profiles`), which may be based on one. The peers' presets D \
         to F (`SF_…`: the same without read/write splitting) bring a connection pool; here the pool is the application's.\n",
    );
    add(page, "| preset | values |");
    add(page, "|---|---|");
    for preset in PRESETS {
        let values: Vec<String> = preset
            .values()
            .map(|(name, value)| format!("`{name}={}`", if value.is_empty() { "none" } else { value }))
            .collect();
        let later = match preset.without_splitting() {
            Some(other) => {
                format!(" Not available yet: read/write splitting; `{other}` is the same without it.")
            }
            None => String::new(),
        };
        add(page, &format!("| `{}` | {}.{later} |", preset.name, values.join(", ")));
    }
}

#[test]
fn the_page_is_made_from_the_tables() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/settings.md");
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == page,
        "docs/settings.md is not what the tables say; run `UPDATE_DOCS=1 cargo test -p wrapper-core settings_doc`"
    );
}

#[test]
fn every_setting_has_its_row() {
    let page = page();
    for definition in DEFINITIONS {
        let start = format!("| `{}` |", definition.name());
        let row = page.lines().find(|line| line.starts_with(&start)).unwrap();
        assert!(definition.aliases().all(|alias| row.contains(&format!("`{alias}`"))), "{row}");
        assert_eq!(row.matches('|').count(), 7, "{row}");
    }
}
