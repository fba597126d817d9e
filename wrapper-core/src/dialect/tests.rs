//! Detection and diagnosis on answers as real servers give them, and a check on all SQL texts.

use std::time::Duration;

use super::*;
use crate::dialect::scripted::Scripted;
use crate::env::Deadline;
use crate::topology::HostStatus;

const AURORA: &str = "pg_catalog.aurora_replica_status,pg_catalog.aurora_db_instance_identifier";
const GLOBAL: &str = "pg_catalog.aurora_global_db_status,pg_catalog.aurora_global_db_instance_status";
const TOOLS: &str = "rds_tools.dbi_resource_id,rds_tools.show_topology,\
                     rds_tools.multi_az_db_cluster_source_dbi_resource_id";
const RDS: Option<&str> = Some("aws_commons, rds_tools, plpgsql");
const HINTS: [EndpointHint; 3] = [EndpointHint::Cluster, EndpointHint::Instance, EndpointHint::Other];

#[derive(Clone, Default)]
struct Server {
    version: Option<u32>,
    extensions: Option<&'static str>,
    rds_roles: u32,
    usage: Option<bool>,
    tools_version: Option<&'static str>,
    allowed: String,
    denied: String,
}

impl Server {
    fn rows(&self) -> Rows {
        let text = |value: &str| (!value.is_empty()).then(|| value.to_owned());
        table(
            &[
                "version_num",
                "database_name",
                "user_name",
                "rds_extensions",
                "rds_roles",
                "tools_usage",
                "tools_version",
                "allowed_functions",
                "denied_functions",
            ],
            vec![vec![
                Some(self.version.unwrap_or(150_004).to_string()),
                Some("shop".to_owned()),
                Some("\"We ird\"".to_owned()),
                self.extensions.map(str::to_owned),
                Some(self.rds_roles.to_string()),
                self.usage.map(|usage| if usage { "t" } else { "f" }.to_owned()),
                self.tools_version.map(str::to_owned),
                text(&self.allowed),
                text(&self.denied),
            ]],
        )
    }

    fn judge(&self, hint: EndpointHint) -> Result<Detection> {
        Detection::judge(&self.rows(), hint)
    }
}

fn table(columns: &[&str], rows: Vec<Vec<Option<String>>>) -> Rows {
    Rows::new(columns.iter().map(|column| (*column).to_owned()).collect(), rows)
}

fn one_row(values: &[(&str, Option<&str>)]) -> Rows {
    let columns: Vec<&str> = values.iter().map(|(column, _)| *column).collect();
    table(&columns, vec![values.iter().map(|(_, value)| value.map(str::to_owned)).collect()])
}

fn found(detection: Detection) -> DialectId {
    match detection {
        Detection::Found(detected) => detected.dialect.id(),
        Detection::Ask(question) => panic!("asks {}", question.sql()),
    }
}

fn maz() -> Server {
    Server {
        extensions: RDS,
        usage: Some(true),
        tools_version: Some("1.9"),
        allowed: TOOLS.into(),
        ..Server::default()
    }
}

#[test]
fn plain_rds_and_aurora_are_told_apart_in_one_statement() {
    for hint in HINTS {
        assert_eq!(found(Server::default().judge(hint).unwrap()), DialectId::Pg);
        let aurora = Server { extensions: RDS, allowed: AURORA.into(), ..Server::default() };
        assert_eq!(found(aurora.judge(hint).unwrap()), DialectId::AuroraPg);
    }
    let rds = Server { rds_roles: 1, ..Server::default() };
    let Detection::Found(detected) = rds.judge(EndpointHint::Instance).unwrap() else { panic!("asks") };
    assert_eq!(detected.dialect.id(), DialectId::RdsPg);
    assert!(detected.note.unwrap().contains("CREATE EXTENSION rds_tools"));
}

#[test]
fn a_cluster_endpoint_with_the_functions_is_multi_az_at_once() {
    assert_eq!(found(maz().judge(EndpointHint::Cluster).unwrap()), DialectId::RdsMultiAzPgCluster);
}

#[test]
fn elsewhere_the_source_function_tells_multi_az_from_an_instance() {
    for hint in [EndpointHint::Instance, EndpointHint::Other] {
        let Detection::Ask(question) = maz().judge(hint).unwrap() else { panic!("does not ask") };
        assert!(question.sql().contains("multi_az_db_cluster_source_dbi_resource_id"));
        let answer =
            |source| one_row(&[("in_recovery", Some("f")), ("own_id", Some("db-A")), ("source_id", source)]);
        let id = |source| question.answer(&answer(source)).unwrap().dialect.id();
        assert_eq!(id(Some("db-A")), DialectId::RdsMultiAzPgCluster);
        assert_eq!(id(None), DialectId::RdsPg);
    }
}

#[test]
fn every_cause_is_told_with_the_statement_that_mends_it() {
    let usage = "GRANT USAGE ON SCHEMA rds_tools TO \"We ird\"";
    let execute = "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA rds_tools TO \"We ird\"";
    let absent = Server { extensions: RDS, ..Server::default() };
    let denied = Server { allowed: String::new(), denied: TOOLS.into(), ..maz() };
    let cases: [(Server, &[&str], &[&str]); 8] = [
        (absent.clone(), &["CREATE EXTENSION rds_tools", "database `shop`"], &["upgrade"]),
        (Server { version: Some(150_003), ..absent.clone() }, &["15.3", "upgrade the engine"], &["CREATE"]),
        (Server { version: Some(120_019), ..absent.clone() }, &["upgrade the engine"], &["CREATE"]),
        (Server { extensions: Some("plpgsql"), ..absent }, &["upgrade the engine"], &["CREATE"]),
        (
            Server { allowed: "rds_tools.show_topology".into(), ..maz() },
            &["ALTER EXTENSION rds_tools UPDATE", "1.9"],
            &["GRANT"],
        ),
        (Server { usage: Some(false), ..maz() }, &["no USAGE", usage], &[execute]),
        (Server { usage: Some(false), ..denied.clone() }, &["no USAGE", usage, execute], &[]),
        (denied, &["no EXECUTE", execute], &[usage]),
    ];
    for (server, wanted, unwanted) in cases {
        let error = server.judge(EndpointHint::Cluster).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Grant, "{error}");
        for text in wanted {
            assert!(error.to_string().contains(text), "{text} is missing: {error}");
        }
        for text in unwanted {
            assert!(!error.to_string().contains(text), "{text} is wrong here: {error}");
        }
    }
}

#[test]
fn a_denied_probe_ends_as_an_error_and_never_as_a_dialect() {
    for hint in HINTS {
        for usage in [Some(true), Some(false)] {
            let server = Server { allowed: String::new(), denied: TOOLS.into(), usage, ..maz() };
            assert_eq!(server.judge(hint).unwrap_err().kind(), ErrorKind::Grant);
        }
        let aurora = Server { denied: AURORA.into(), ..Server::default() };
        let error = aurora.judge(hint).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Grant);
        let mend = "GRANT EXECUTE ON FUNCTION pg_catalog.aurora_replica_status(), \
                    pg_catalog.aurora_db_instance_identifier() TO \"We ird\"";
        assert!(error.to_string().contains(mend), "{error}");
        let global = Server { allowed: AURORA.into(), denied: GLOBAL.into(), ..Server::default() };
        assert_eq!(global.judge(hint).unwrap_err().kind(), ErrorKind::Grant);
    }
}

#[test]
fn a_global_database_is_refused_unless_it_has_one_region() {
    let server = Server { allowed: format!("{GLOBAL},{AURORA},{TOOLS}"), ..maz() };
    for hint in HINTS {
        let Detection::Ask(question) = server.judge(hint).unwrap() else { panic!("does not ask") };
        let answer = |count| question.answer(&one_row(&[("regions", count)]));
        for one_region in ["0", "1"] {
            assert_eq!(answer(Some(one_region)).unwrap().dialect.id(), DialectId::AuroraPg);
        }
        let error = answer(Some("2")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("not yet supported"), "{error}");
        assert!(answer(None).is_err());
    }
}

#[test]
fn a_second_question_that_fails_is_a_no_only_when_the_function_says_so() {
    let Detection::Ask(question) = maz().judge(EndpointHint::Other).unwrap() else { panic!("does not ask") };
    let fails = |kind, code| question.failed(Error::new(kind, "refused").with_sqlstate(code));
    let no = fails(ErrorKind::Statement, "55000").unwrap();
    assert_eq!(no.dialect.id(), DialectId::RdsPg);
    assert!(no.note.unwrap().contains("refused"));
    assert_eq!(fails(ErrorKind::Statement, "42501").unwrap_err().kind(), ErrorKind::Grant);
    assert_eq!(fails(ErrorKind::Statement, "57014").unwrap_err().kind(), ErrorKind::Statement);
    assert_eq!(fails(ErrorKind::Network, "08006").unwrap_err().kind(), ErrorKind::Network);
}

#[test]
fn an_answer_that_is_none_names_the_way_out() {
    let no_columns = Rows::new(Vec::new(), vec![Vec::new()]);
    let error = Detection::judge(&no_columns, EndpointHint::Other).unwrap_err();
    assert!(error.to_string().contains("wrapper_dialect"), "{error}");
    let error = Detection::judge(&Rows::default(), EndpointHint::Other).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Topology);
}

#[test]
fn a_failed_query_is_explained_and_its_cause_is_kept() {
    let dialect = dialect_for(DialectId::RdsMultiAzPgCluster).unwrap();
    let refused = |code| Error::new(ErrorKind::Statement, "ERROR: refused").with_sqlstate(code);
    let evidence = Server { usage: Some(false), ..maz() }.rows();
    let explained = dialect.diagnose(refused("42501"), Some(&evidence));
    assert_eq!(explained.kind(), ErrorKind::Grant);
    assert_eq!(explained.sqlstate(), Some("42501"));
    assert!(explained.to_string().contains("GRANT USAGE ON SCHEMA rds_tools TO \"We ird\""), "{explained}");
    assert!(explained.to_string().contains("ERROR: refused"), "{explained}");
    // Without evidence, or with evidence that shows nothing wrong, both possible statements are named.
    for evidence in [None, Some(maz().rows())] {
        let text = dialect.diagnose(refused("42501"), evidence.as_ref()).to_string();
        assert!(text.contains("GRANT USAGE") && text.contains("GRANT EXECUTE"), "{text}");
        for code in ["3F000", "42883"] {
            let text = dialect.diagnose(refused(code), evidence.as_ref()).to_string();
            assert!(text.contains("CREATE EXTENSION rds_tools"), "{text}");
        }
    }
    let other = dialect.diagnose(refused("57014"), Some(&evidence));
    assert_eq!((other.kind(), other.message()), (ErrorKind::Statement, "ERROR: refused"));
    let aurora = dialect_for(DialectId::AuroraPg).unwrap();
    assert_eq!(aurora.diagnose(refused("42883"), None).kind(), ErrorKind::Grant);
    assert_eq!(aurora.diagnose(refused("57P01"), None).kind(), ErrorKind::Statement);
}

#[test]
fn what_is_not_there_yet_is_said_so() {
    for id in [DialectId::GlobalAuroraPg, DialectId::GlobalAuroraMysql, DialectId::Custom("mine")] {
        let error = dialect_for(id).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains(id.code()), "{error}");
    }
}

#[test]
fn a_dialect_of_ones_own_needs_two_questions_only() {
    #[derive(Debug)]
    struct Mine;
    impl Dialect for Mine {
        fn id(&self) -> DialectId {
            DialectId::Custom("mine")
        }
        fn role_query(&self) -> &str {
            "SELECT standby AS in_recovery FROM me"
        }
        fn status_query(&self) -> &str {
            self.role_query()
        }
        fn parse_status(&self, rows: &Rows) -> Result<HostStatus> {
            Ok(HostStatus {
                accepts_writes: self.parse_role(rows)? == HostRole::Writer,
                ..HostStatus::default()
            })
        }
    }
    let dialect: Arc<dyn Dialect> = Arc::new(Mine);
    assert_eq!((dialect.id().code(), dialect.default_port()), ("mine", 5432));
    assert_eq!(dialect.parse_topology(&Rows::default()).unwrap_err().kind(), ErrorKind::Unsupported);
    let standby = one_row(&[("in_recovery", Some("t"))]);
    assert_eq!(dialect.parse_status(&standby).unwrap().role(), HostRole::Reader);
}

#[tokio::test]
async fn a_second_round_trip_is_made_only_where_a_function_must_be_called() {
    let soon = || Deadline::after(Duration::from_secs(5), "auxiliary_query_timeout_sec");
    let aurora = Server { allowed: AURORA.into(), ..Server::default() };
    let one = Scripted::new([Ok(aurora.rows())]);
    let detected = detect_dialect(&one, EndpointHint::Cluster, soon()).await.unwrap();
    assert_eq!((detected.dialect.id(), one.asked().len()), (DialectId::AuroraPg, 1));

    let source =
        one_row(&[("in_recovery", Some("t")), ("own_id", Some("db-B")), ("source_id", Some("db-A"))]);
    let two = Scripted::new([Ok(maz().rows()), Ok(source)]);
    let detected = detect_dialect(&two, EndpointHint::Instance, soon()).await.unwrap();
    assert_eq!((detected.dialect.id(), two.asked().len()), (DialectId::RdsMultiAzPgCluster, 2));

    let denied = Error::new(ErrorKind::Statement, "permission denied").with_sqlstate("42501");
    let refused = Scripted::new([Err(denied)]);
    let error = detect_dialect(&refused, EndpointHint::Cluster, soon()).await.unwrap_err();
    assert_eq!((error.kind(), refused.asked().len()), (ErrorKind::Grant, 1));
    assert!(error.to_string().contains("wrapper_dialect"), "{error}");
}

/// The caller's `search_path` decides what an unqualified name or operator means.
#[test]
fn no_statement_leaves_a_name_to_the_search_path() {
    // Words of the grammar, and aliases that name the column of a function.
    let grammar = [
        "OPERATOR", "COALESCE", "CAST", "ANY", "EXTRACT", "FILTER", "FROM", "AS", "WHERE", "AND", "OR", "o",
        "w",
    ];
    let mut statements = vec![DETECTION_SQL.to_owned()];
    for id in [DialectId::Pg, DialectId::RdsPg, DialectId::AuroraPg, DialectId::RdsMultiAzPgCluster] {
        let dialect = dialect_for(id).unwrap();
        let texts = [Some(dialect.role_query()), Some(dialect.status_query()), dialect.topology_query()];
        statements.extend(texts.into_iter().flatten().map(str::to_owned));
    }
    for server in [Server { allowed: format!("{GLOBAL},{AURORA}"), ..maz() }, maz()] {
        let Detection::Ask(question) = server.judge(EndpointHint::Other).unwrap() else {
            panic!("does not ask")
        };
        statements.push(question.sql().to_owned());
    }
    for sql in statements {
        // Every second piece is a literal.
        let bare: String = sql.split('\'').step_by(2).collect::<Vec<_>>().join(" ");
        let mut outside = bare.clone();
        while let Some(start) = outside.find("OPERATOR(pg_catalog.") {
            let end = start + outside[start..].find(')').unwrap();
            outside.replace_range(start..=end, " ");
        }
        assert!(!outside.contains(['=', '<', '>', '-', '+', '~', '|', '%', '/']), "{outside}");
        let mut rest = bare.as_str();
        while let Some(open) = rest.find('(') {
            let called = rest[..open].trim_end();
            let name =
                called.rsplit(|c: char| !(c.is_alphanumeric() || "_.".contains(c))).next().unwrap_or("");
            let qualified = name.starts_with("pg_catalog.") || name.starts_with("rds_tools.");
            assert!(name.is_empty() || qualified || grammar.contains(&name), "`{name}` in {sql}");
            rest = &rest[open + 1..];
        }
    }
}
