//! Keeps the table of scenarios in `docs/testing.md` true: it is made from the doc comments of the tests, which name
//! the scenarios that they play, and from the flavours of the clusters that they start.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

const BEGIN: &str = "<!-- scenarios: made by a test; after a change run\n     \
    UPDATE_DOCS=1 cargo test -p integration-tests --test catalogue -->";
const END: &str = "<!-- scenarios: end -->";

/// What a scenario waits for that no test plays yet.
type Waits = Option<&'static str>;

const ROUTING: Waits = Some("read/write splitting");
const POOLS: Waits = Some("pools");
const ENDPOINTS: Waits = Some("custom endpoints and Limitless");

/// The catalogue: number, what happens, and what it waits for.
const CATALOGUE: &[(u32, &str, Waits)] = &[
    (1, "the bare driver and the library connect", None),
    (2, "connect through a proxy, also one that lets nothing through", None),
    (3, "each endpoint leads to its role", None),
    (4, "no port in the URL; profiles", None),
    (5, "reader endpoint with host monitoring on", None),
    (6, "bound values, statements used again, time limits", None),
    (7, "the writer fails; the next call", None),
    (8, "the writer fails; what was made before", None),
    (9, "the writer fails under many clients", None),
    (10, "writer endpoint with stale DNS", None),
    (11, "the same writer returns", None),
    (12, "idle connections to a demoted writer", None),
    (13, "connection options hold after a switch", None),
    (14, "nothing is reachable", None),
    (15, "failover while connecting", None),
    (16, "read-only error after a demotion", None),
    (17, "readers die until the writer is left", None),
    (18, "reader-or-writer starts on the writer", None),
    (19, "strict-reader after a crash", None),
    (20, "strict-reader, the writer returns", None),
    (21, "modes of a global database", Some("Global Database")),
    (22, "transaction without autocommit, crash", None),
    (23, "BEGIN as text, crash", None),
    (24, "transaction object, crash", None),
    (25, "BEGIN behind comments, in several statements", None),
    (26, "COMMIT in flight", None),
    (27, "a single write in flight", None),
    (28, "PREPARE TRANSACTION open", None),
    (29, "session state over a switchover", None),
    (30, "session state over a failover", None),
    (31, "writer to reader and back keeps the session", ROUTING),
    (32, "reset in the pool; the hook; transfer off", None),
    (33, "a SET that fails; SET LOCAL", None),
    (34, "a long query on a dead host", None),
    (35, "every host is dead", None),
    (36, "host monitoring with failover", None),
    (37, "a slow query on a healthy host", None),
    (38, "grid of detection times", None),
    (39, "the caller drops the future", None),
    (40, "read-only on and off", ROUTING),
    (41, "start on a reader", ROUTING),
    (42, "off in a read-only transaction", ROUTING),
    (43, "on in a writing transaction", ROUTING),
    (44, "every reader is down", ROUTING),
    (45, "one reader is down", ROUTING),
    (46, "read-only on a closed connection", ROUTING),
    (47, "all down, off", ROUTING),
    (48, "old statements after a change of role", ROUTING),
    (49, "writer failover, then on and off", ROUTING),
    (50, "reader failover, then off and on", ROUTING),
    (51, "reader to writer, restored", ROUTING),
    (52, "the kept reader becomes the writer", ROUTING),
    (53, "routing by SQL", ROUTING),
    (54, "routing by call", ROUTING),
    (55, "endpoints only; wrong reader endpoint", ROUTING),
    (56, "one instance, no readers", ROUTING),
    (57, "time of a change of role", ROUTING),
    (58, "a pool gives a connection again", POOLS),
    (59, "a pool in a failover", POOLS),
    (60, "a pool, failover failed or in a transaction", POOLS),
    (61, "pools of several users", POOLS),
    (62, "least connections", POOLS),
    (63, "a foreign pool drops what is lost", POOLS),
    (64, "a pool under concurrency", POOLS),
    (65, "instances come and go", POOLS),
    (66, "failover from a removed reader", POOLS),
    (67, "IAM", None),
    (68, "IAM with failover and monitoring", None),
    (69, "secrets", None),
    (70, "secrets with failover", None),
    (71, "federation", None),
    (72, "failover stays in a custom endpoint", ENDPOINTS),
    (73, "a custom endpoint changes", ENDPOINTS),
    (74, "initial connection spreads over readers", None),
    (75, "fastest response", ROUTING),
    (76, "Limitless", ENDPOINTS),
    (77, "two clusters in one process", None),
    (78, "Blue/Green switchover", Some("Blue/Green")),
    (79, "telemetry", None),
    (80, "shutdown, a second runtime, errors made on purpose", None),
];

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Played {
    test: String,
    flavours: BTreeSet<&'static str>,
}

/// The numbers that a doc comment names: `Scenario 7`, `Scenarios 22 and 24`, `Scenarios 29 to 33`.
fn numbers(doc: &str) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    for part in doc.split("Scenario").skip(1) {
        let part = part.strip_prefix('s').unwrap_or(part);
        let (mut last, mut range) = (None, false);
        for word in part.split_whitespace() {
            match (word.trim_end_matches([',', ':', '.', ';']).parse::<u32>(), word) {
                (Ok(number), _) => {
                    if let (true, Some(from)) = (range, last) {
                        found.extend(from..number);
                    }
                    found.insert(number);
                    (last, range) = (Some(number), false);
                    if word.ends_with([':', '.', ';']) {
                        break;
                    }
                }
                (Err(_), "and" | "with") => {}
                (Err(_), "to") => range = true,
                _ => break,
            }
        }
    }
    found
}

/// What kind of clusters a test program starts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Servers {
    Postgres,
    MySql,
    Simulated,
}

impl Servers {
    fn of(program: &str) -> Self {
        match program {
            "credentials_login" | "examples" | "sim_cluster" | "sim_metadata" => Self::Simulated,
            _ if program.starts_with("mysql_") || program == "sqlx_mysql" => Self::MySql,
            _ => Self::Postgres,
        }
    }
}

/// The flavours of the clusters that the code names. A test that names none runs without servers.
fn flavours(code: &str, servers: Servers) -> BTreeSet<&'static str> {
    if servers == Servers::Simulated || code.contains("SimCluster") {
        return BTreeSet::from(["simulated"]);
    }
    let labels = match servers {
        Servers::MySql => [("Plain", "MariaDB"), ("Aurora", "Aurora MySQL"), ("MultiAz", "Multi-AZ MySQL")],
        _ => [("Plain", "plain"), ("Aurora", "Aurora"), ("MultiAz", "Multi-AZ")],
    };
    let named = labels.into_iter().filter(|(name, _)| code.contains(&format!("Flavour::{name}")));
    named.map(|(_, label)| label).collect()
}

/// The code of a test, and that of the helpers which start its cluster: they may call one another.
fn with_helpers(body: &str, name: Option<&str>, sources: &[&str]) -> String {
    let mut code = body.to_owned();
    for _ in 0..3 {
        if !flavours(&code, Servers::Postgres).is_empty() {
            break;
        }
        for helper in sources.iter().flat_map(|source| source.split("fn ").skip(1)) {
            let called = helper.split(['(', '<']).next().filter(|called| Some(*called) != name);
            let helper = helper.split("\n}").next().unwrap_or_default();
            let starts = helper.contains("LocalCluster") || helper.contains("MySqlCluster");
            if called.is_some_and(|called| starts && code.contains(&format!("{called}("))) {
                code.push_str(helper);
            }
        }
    }
    code
}

/// The tests in a file that name scenarios in their doc comments.
fn tests_in(source: &str, shared: &str, program: &str, into: &mut BTreeMap<u32, BTreeSet<Played>>) {
    let lines: Vec<&str> = source.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        if !(line.starts_with("#[tokio::test") || line.starts_with("#[test]")) {
            continue;
        }
        let doc: Vec<_> = lines[..at].iter().rev().take_while(|line| line.starts_with("///")).collect();
        let doc =
            doc.iter().rev().map(|line| line.trim_start_matches('/').trim()).collect::<Vec<_>>().join(" ");
        let body = lines[at..].iter().take_while(|line| **line != "}").copied().collect::<Vec<_>>();
        let name = body.iter().find_map(|line| {
            let rest = line.trim_start_matches("async ").strip_prefix("fn ")?;
            Some(rest.split(['(', '<']).next().expect("split gives one part"))
        });
        let body = body.join("\n");
        let flavours = flavours(&with_helpers(&body, name, &[source, shared]), Servers::of(program));
        for number in numbers(&doc) {
            let test = format!("`{program}::{}`", name.expect("a test has a name"));
            into.entry(number).or_default().insert(Played { test, flavours: flavours.clone() });
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

fn played() -> BTreeMap<u32, BTreeSet<Played>> {
    let folder = root().join("integration-tests/tests");
    let read = |path: &Path| fs::read_to_string(path).expect("a source");
    let all = |paths: &[&str]| paths.iter().map(|path| read(&folder.join(path))).collect::<String>();
    let shared = all(&["common/mod.rs", "common/faults.rs", "support/mod.rs"]);
    let mysql = all(&["mysql_kit/mod.rs", "mysql_support/mod.rs", "mysql_catalogue/support.rs"]);
    let mut found = BTreeMap::new();
    for path in entries(&folder) {
        let program = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let shared = if Servers::of(&program) == Servers::MySql { &mysql } else { &shared };
        if path.join("main.rs").is_file() {
            for module in entries(&path) {
                tests_in(&read(&module), shared, &program, &mut found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            tests_in(&read(&path), shared, &program, &mut found);
        }
    }
    // The examples run on the simulated cluster.
    tests_in(&read(&root().join("examples/tests/examples.rs")), "", "examples", &mut found);
    for folder in entries(&root().join("integration-tests/benches")) {
        let Ok(source) = fs::read_to_string(folder.join("main.rs")) else { continue };
        let doc: Vec<_> = source.lines().take_while(|line| line.starts_with("//!")).collect();
        let doc = doc.iter().map(|line| line.trim_start_matches("//!").trim()).collect::<Vec<_>>().join(" ");
        for number in numbers(&doc) {
            let test = format!("bench `{}`", folder.file_name().expect("a name").to_string_lossy());
            found
                .entry(number)
                .or_default()
                .insert(Played { test, flavours: flavours(&source, Servers::Postgres) });
        }
    }
    found
}

fn table(played: &BTreeMap<u32, BTreeSet<Played>>) -> String {
    let mut text = String::from("| | scenario | state | clusters | tests |\n|---|---|---|---|---|\n");
    for (number, what, waits) in CATALOGUE {
        let tests = played.get(number);
        let state = match (tests, waits) {
            (Some(_), None) => "tested".to_owned(),
            (Some(_), Some(waits)) => format!("in part; the rest with {waits}"),
            (None, Some(waits)) => format!("with {waits}"),
            (None, None) => "**missing**".to_owned(),
        };
        let flavours: BTreeSet<_> =
            tests.into_iter().flatten().flat_map(|test| test.flavours.iter().copied()).collect();
        let flavours = flavours.into_iter().collect::<Vec<_>>().join(", ");
        let tests = tests.into_iter().flatten().map(|test| test.test.as_str()).collect::<Vec<_>>().join(", ");
        writeln!(text, "| {number} | {what} | {state} | {flavours} | {tests} |").expect("a string");
    }
    text
}

#[test]
fn the_table_of_scenarios_is_what_the_tests_say() {
    let played = played();
    for number in played.keys() {
        assert!(
            CATALOGUE.iter().any(|(known, ..)| known == number),
            "scenario {number} is not in the catalogue"
        );
    }
    let path = root().join("docs/testing.md");
    let page = fs::read_to_string(&path).expect("the page");
    let (before, rest) = page.split_once(BEGIN).expect("the mark of the table's begin");
    let (_, after) = rest.split_once(END).expect("the mark of the table's end");
    let wanted = format!("{before}{BEGIN}\n\n{}\n{END}{after}", table(&played));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &wanted).expect("written");
    }
    let page = fs::read_to_string(&path).expect("the page");
    assert!(
        page == wanted,
        "docs/testing.md is not what the tests say; run \
         `UPDATE_DOCS=1 cargo test -p integration-tests --test catalogue`"
    );
}

#[test]
fn numbers_are_found_in_docs() {
    let found = |doc| numbers(doc).into_iter().collect::<Vec<_>>();
    assert_eq!(found("Scenario 7: the first call."), [7]);
    assert_eq!(found("Scenario 7, with several calls in flight: 9 calls. Scenario 8: what was made"), [7, 8]);
    assert_eq!(found("Scenarios 29, 30 and 33: what a session has set for 5 s"), [29, 30, 33]);
    assert_eq!(found("Scenarios 1 to 3. And 4."), [1, 2, 3]);
    assert!(found("Nothing.").is_empty());
}
