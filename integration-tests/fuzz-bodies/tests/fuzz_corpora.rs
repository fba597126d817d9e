//! Every committed input of every fuzz target runs through its body.
#![allow(clippy::expect_used, reason = "tests")]

use std::path::Path;

fn run(target: &str, body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("there is a corpus")
        .map(|entry| entry.expect("it can be listed").path())
        .collect();
    files.sort();
    assert!(files.len() > 5, "{target} has a corpus");
    for file in files {
        println!("{}", file.display());
        body(&std::fs::read(file).expect("it can be read"));
    }
}

#[test]
fn host_name() {
    run("host_name", fuzz_bodies::host_name);
}

#[test]
fn settings() {
    run("settings", fuzz_bodies::settings);
}

#[test]
fn topology_rows() {
    run("topology_rows", fuzz_bodies::topology_rows);
}

#[test]
fn status_tap() {
    run("status_tap", fuzz_bodies::status_tap);
}
