//! Lists the types and traits of other crates in a crate's public interface, and compares them with what is allowed.
//!
//! ```text
//! external-types ALLOWED DOC.json...
//! ```
//!
//! `DOC.json` is rustdoc's JSON of one crate. `ALLOWED` has a line `CRATE PATH` for each type or trait, where a PATH that
//! ends in `::*` stands for all below it. Crates of the standard library, and crates whose names begin with `wrapper_`,
//! need no line. A line that nothing needs is a fault too.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::process::ExitCode;

use serde_json::{Map, Value};

/// Always there, whatever a crate depends on.
const STANDARD: [&str; 4] = ["alloc", "core", "proc_macro", "std"];

/// What a crate shows: the path of a foreign type or trait, and the items that it is seen in.
type Found = BTreeMap<String, BTreeSet<String>>;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let allowed = arguments.next().ok_or("usage: external-types ALLOWED DOC.json...")?;
    let text = std::fs::read_to_string(&allowed).map_err(|error| format!("{allowed}: {error}"))?;
    let allowed = rules(&text)?;
    let mut used = BTreeSet::new();
    let mut bad = false;
    for file in arguments {
        let doc: Value = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
        let (name, found) =
            foreign(&doc).ok_or_else(|| format!("{file}: not rustdoc's JSON as it is known here"))?;
        println!("{name}: {} types and traits of other crates", found.len());
        for (path, items) in found {
            match allowed.iter().find(|(of, rule)| *of == name && fits(rule, &path)) {
                Some(rule) => {
                    used.insert(rule);
                }
                None => {
                    bad = true;
                    let items: Vec<&str> = items.iter().map(String::as_str).collect();
                    println!(
                        "{name}: `{path}` is in the public interface, in {}, and is not allowed",
                        items.join(", ")
                    );
                }
            }
        }
    }
    for (name, path) in allowed.iter().filter(|rule| !used.contains(rule)) {
        bad = true;
        println!("{name}: `{path}` is allowed, and nothing needs it; take the line out");
    }
    Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn rules(text: &str) -> Result<BTreeSet<(String, String)>, String> {
    text.lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .filter(|line| !line.is_empty())
        .map(|line| match line.split_once(' ') {
            Some((name, path)) => Ok((name.to_owned(), path.trim().to_owned())),
            None => Err(format!("`{line}`: expected `CRATE PATH`")),
        })
        .collect()
}

fn fits(rule: &str, path: &str) -> bool {
    match rule.strip_suffix('*') {
        Some(start) => path.starts_with(start),
        None => rule == path,
    }
}

/// The name of the documented crate, and what it shows of others.
fn foreign(doc: &Value) -> Option<(String, Found)> {
    let index = doc.get("index")?.as_object()?;
    let paths = doc.get("paths")?.as_object()?;
    let externals = doc.get("external_crates")?.as_object()?;
    let root = doc.get("root").map(id)?;
    let name = index.get(&root)?.get("name")?.as_str()?.replace('_', "-");
    let mut found = Found::new();
    for item in index.values().filter(|item| item.get("crate_id").and_then(Value::as_u64) == Some(0)) {
        let inner = item.get("inner")?;
        // Derived by the compiler for every type, or by another crate for all types: nobody chose them.
        let implied = inner.get("impl").is_some_and(|block| {
            block.get("is_synthetic").and_then(Value::as_bool) == Some(true)
                || block.get("blanket_impl").is_some_and(|of| !of.is_null())
        });
        if implied {
            continue;
        }
        let shown_in = item.get("name").and_then(Value::as_str).unwrap_or("an impl");
        references(inner, &mut |target| {
            let Some(path) = paths.get(target).and_then(Value::as_object) else { return };
            if let Some(full) = external(path, externals) {
                found.entry(full).or_default().insert(shown_in.to_owned());
            }
        });
    }
    Some((name, found))
}

/// The full path, when it is another crate's and not the standard library's or ours.
fn external(path: &Map<String, Value>, externals: &Map<String, Value>) -> Option<String> {
    let number = path.get("crate_id")?.as_u64().filter(|number| *number != 0)?;
    let name = externals.get(&number.to_string())?.get("name")?.as_str()?;
    if STANDARD.contains(&name) || name.starts_with("wrapper_") {
        return None;
    }
    let parts: Vec<&str> = path.get("path")?.as_array()?.iter().filter_map(Value::as_str).collect();
    Some(parts.join("::"))
}

/// Tells the ids of all types and traits below `value`: `{"path": …, "id": …, …}`, and the source of a re-export.
fn references(value: &Value, tell: &mut impl FnMut(&str)) {
    match value {
        Value::Object(map) => {
            let refers = map.contains_key("path") || map.contains_key("source");
            if let Some(target) = map.get("id").filter(|target| refers && !target.is_null()) {
                tell(&id(target));
            }
            map.values().for_each(|value| references(value, tell));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, tell)),
        _ => {}
    }
}

/// An id as the keys of the tables write it.
fn id(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doc(inner: &Value) -> Value {
        serde_json::json!({
            "root": 0,
            "index": {
                "0": {"crate_id": 0, "name": "wrapper_core", "inner": {"module": {}}},
                "1": {"crate_id": 0, "name": "open", "inner": inner},
            },
            "paths": {
                "7": {"crate_id": 3, "path": ["tokio", "time", "Instant"]},
                "8": {"crate_id": 4, "path": ["core", "time", "Duration"]},
            },
            "external_crates": {"3": {"name": "tokio"}, "4": {"name": "core"}},
        })
    }

    fn seen(inner: &Value) -> Vec<String> {
        let (name, found) = foreign(&doc(inner)).unwrap();
        assert_eq!(name, "wrapper-core");
        found.into_keys().collect()
    }

    #[test]
    fn types_of_other_crates_are_seen_wherever_they_stand() {
        let tokio = serde_json::json!({"resolved_path": {"path": "Instant", "id": 7, "args": null}});
        assert_eq!(
            seen(&serde_json::json!({"function": {"sig": {"output": tokio}}})),
            ["tokio::time::Instant"]
        );
        let inside = serde_json::json!({"resolved_path": {"path": "Duration", "id": 8, "args": [tokio]}});
        assert_eq!(seen(&serde_json::json!({"struct_field": inside})), ["tokio::time::Instant"]);
        let exported = serde_json::json!({"use": {"source": "tokio::time::Instant", "id": 7}});
        assert_eq!(seen(&exported), ["tokio::time::Instant"]);
    }

    #[test]
    fn what_nobody_chose_is_not_seen() {
        let blanket =
            serde_json::json!({"impl": {"blanket_impl": {"generic": "T"}, "trait": {"path": "X", "id": 7}}});
        assert!(seen(&blanket).is_empty());
        let standard = serde_json::json!({"resolved_path": {"path": "Duration", "id": 8}});
        assert!(seen(&standard).is_empty());
    }

    #[test]
    fn rules_fit_exactly_or_below() {
        assert!(
            fits("tokio::time::*", "tokio::time::Instant") && !fits("tokio::time", "tokio::time::Instant")
        );
        assert!(rules("# a remark\n\nwrapper-core tokio::time::*  # why\n").unwrap().len() == 1);
        assert!(rules("wrapper-core").is_err());
    }
}
