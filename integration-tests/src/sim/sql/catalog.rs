//! System views and functions that return rows.
//!
//! What may not live here: functions of one value (`functions.rs`), tables of the user (`store`).

use pgwire::api::Type;

use super::mysql::views::MysqlView;
use super::value::{Value, now_micros};
use super::wire::oid_of;
use super::{Env, Facts, OutColumn, functions};
use crate::sim::error::SqlError;
use crate::sim::flavour::{Flavour, RdsTools};

/// A system view or set-returning function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    Settings,
    Extension,
    AvailableExtensions,
    Namespace,
    Proc,
    Class,
    Tables,
    Databases,
    Roles,
    Activity,
    InformationTables,
    InformationRoutines,
    ReplicaStatus,
    ShowTopology,
    Series,
    Unnest,
    /// A table or view of MySQL's own schemas.
    Mysql(MysqlView),
}

impl Relation {
    /// The view of MySQL's of this name, in lower case.
    ///
    /// # Errors
    /// That of a table which is there and may not be read.
    pub(crate) fn mysql_view(facts: &dyn Facts, name: &str) -> Result<Option<Self>, SqlError> {
        Ok(MysqlView::find(facts, name)?.map(Relation::Mysql))
    }

    /// The view of this (folded, unqualified) name.
    pub(crate) fn view(name: &str) -> Option<Self> {
        Some(match name {
            "pg_settings" => Relation::Settings,
            "pg_extension" => Relation::Extension,
            "pg_available_extensions" => Relation::AvailableExtensions,
            "pg_namespace" => Relation::Namespace,
            "pg_proc" => Relation::Proc,
            "pg_class" => Relation::Class,
            "pg_tables" => Relation::Tables,
            "pg_database" => Relation::Databases,
            "pg_roles" => Relation::Roles,
            "pg_stat_activity" => Relation::Activity,
            "information_schema.tables" => Relation::InformationTables,
            "information_schema.routines" => Relation::InformationRoutines,
            _ => return None,
        })
    }

    /// The function of this name that returns rows.
    pub(crate) fn function(name: &str) -> Option<Self> {
        Some(match name {
            "aurora_replica_status" => Relation::ReplicaStatus,
            "rds_tools.show_topology" => Relation::ShowTopology,
            "generate_series" => Relation::Series,
            "unnest" => Relation::Unnest,
            _ => return None,
        })
    }

    /// Names and types of the columns; `first` is the type of the first argument.
    pub(crate) fn columns(self, first: Option<&Type>) -> Vec<OutColumn> {
        use Type as T;
        let of = |columns: &[(&str, Type)]| {
            columns.iter().map(|(name, ty)| OutColumn::new(name, ty.clone())).collect::<Vec<_>>()
        };
        match self {
            Relation::Mysql(view) => view.columns(),
            Relation::Settings => of(&[("name", T::TEXT), ("setting", T::TEXT)]),
            Relation::Extension => of(&[
                ("oid", T::OID),
                ("extname", T::NAME),
                ("extnamespace", T::OID),
                ("extversion", T::TEXT),
            ]),
            Relation::AvailableExtensions => {
                of(&[("name", T::NAME), ("default_version", T::TEXT), ("installed_version", T::TEXT)])
            }
            Relation::Namespace => of(&[("oid", T::OID), ("nspname", T::NAME)]),
            Relation::Proc => of(&[("oid", T::OID), ("proname", T::NAME), ("pronamespace", T::OID)]),
            Relation::Class => {
                of(&[("oid", T::OID), ("relname", T::NAME), ("relnamespace", T::OID), ("relkind", T::TEXT)])
            }
            Relation::Tables => of(&[("schemaname", T::NAME), ("tablename", T::NAME)]),
            Relation::Databases => of(&[("oid", T::OID), ("datname", T::NAME)]),
            Relation::Roles => of(&[("oid", T::OID), ("rolname", T::NAME), ("rolcanlogin", T::BOOL)]),
            Relation::Activity => of(&[
                ("datname", T::NAME),
                ("pid", T::INT4),
                ("usename", T::NAME),
                ("application_name", T::TEXT),
                ("client_addr", T::INET),
                ("client_port", T::INT4),
                ("backend_type", T::TEXT),
            ]),
            Relation::InformationTables => of(&[("table_schema", T::NAME), ("table_name", T::NAME)]),
            Relation::InformationRoutines => of(&[("routine_schema", T::NAME), ("routine_name", T::NAME)]),
            Relation::ReplicaStatus => of(&[
                ("server_id", T::TEXT),
                ("session_id", T::TEXT),
                ("durable_lsn", T::INT8),
                ("highest_lsn_rcvd", T::INT8),
                ("current_read_lsn", T::INT8),
                ("is_current", T::BOOL),
                ("last_update_timestamp", T::TIMESTAMPTZ),
                ("replica_lag_in_msec", T::FLOAT8),
                ("cpu", T::FLOAT8),
            ]),
            Relation::ShowTopology => of(&[("id", T::TEXT), ("endpoint", T::TEXT), ("port", T::INT4)]),
            Relation::Series => {
                let ty = if first == Some(&T::INT8) { T::INT8 } else { T::INT4 };
                of(&[("generate_series", ty)])
            }
            Relation::Unnest => {
                let inner = first.and_then(super::value::element).cloned().unwrap_or(T::TEXT);
                of(&[("unnest", inner)])
            }
        }
    }

    /// The rows, as this server sees them now.
    pub(crate) fn rows(self, args: &[Value], env: &mut Env<'_>) -> Result<Vec<Vec<Value>>, SqlError> {
        let text = |text: &str| Value::text(text);
        let oid = |name: &str| Value::Int(oid_of(name).into());
        Ok(match self {
            Relation::Mysql(view) => view.rows(env),
            Relation::Settings => {
                let settings = env.vars.all(env.facts);
                settings.into_iter().map(|(name, value)| vec![text(&name), text(&value)]).collect()
            }
            Relation::Extension => {
                let installed = extensions(env.facts).into_iter().filter(|(_, _, installed)| *installed);
                let row = |(name, version, _): (&str, &str, bool)| {
                    vec![oid(name), text(name), oid(schema_of_extension(name)), text(version)]
                };
                installed.map(row).collect()
            }
            Relation::AvailableExtensions => {
                let row = |(name, version, installed): (&str, &str, bool)| {
                    vec![text(name), text(version), if installed { text(version) } else { Value::Null }]
                };
                extensions(env.facts).into_iter().map(row).collect()
            }
            Relation::Namespace => {
                schemas(env).into_iter().map(|name| vec![oid(&name), text(&name)]).collect()
            }
            Relation::Proc => {
                let known = functions::metadata_functions(env.facts).into_iter();
                known.map(|(schema, name)| vec![oid(name), text(name), oid(schema)]).collect()
            }
            Relation::Class => {
                let row = |table: &std::sync::Arc<crate::sim::store::Table>| {
                    let (schema, name) = split(&table.name);
                    vec![oid(&table.name), text(name), oid(schema), text("r")]
                };
                env.db.tables().map(row).collect()
            }
            Relation::Tables | Relation::InformationTables => {
                let tables = env.db.tables().map(|table| split(&table.name));
                tables.map(|(schema, name)| vec![text(schema), text(name)]).collect()
            }
            Relation::InformationRoutines => {
                let known = functions::metadata_functions(env.facts).into_iter();
                // The view shows only what the session may execute.
                let visible = known.filter(|(schema, _)| {
                    *schema != "rds_tools" || env.facts.rds_tools() != RdsTools::NoExecute
                });
                visible.map(|(schema, name)| vec![text(schema), text(name)]).collect()
            }
            Relation::Databases => {
                let name = env.identity.database.as_str();
                vec![vec![oid(name), text(name)]]
            }
            Relation::Roles => {
                let groups = match env.facts.flavour() {
                    Flavour::Plain => &["pg_monitor"][..],
                    Flavour::Aurora | Flavour::MultiAz => &["pg_monitor", "rds_iam", "rds_superuser"],
                };
                let known = [(env.identity.user.as_str(), true)].into_iter();
                let known = known.chain(groups.iter().map(|group| (*group, false)));
                known.map(|(name, login)| vec![oid(name), text(name), Value::Bool(login)]).collect()
            }
            Relation::Activity => {
                let row = |activity: super::Activity| {
                    vec![
                        text(&activity.database),
                        Value::Int(activity.pid.into()),
                        text(&activity.user),
                        text(&activity.application_name),
                        text(&activity.client.ip().to_string()),
                        Value::Int(activity.client.port().into()),
                        text("client backend"),
                    ]
                };
                env.facts.sessions().into_iter().map(row).collect()
            }
            Relation::ReplicaStatus => env.facts.topology().iter().map(replica_status).collect(),
            Relation::ShowTopology => {
                functions::require_execute(env.facts, "show_topology")?;
                let row = |member: super::Member| {
                    vec![text(&member.resource_id), text(&member.endpoint), Value::Int(member.port.into())]
                };
                env.facts.topology().into_iter().map(row).collect()
            }
            Relation::Series => series(args)?,
            Relation::Unnest => match args.first() {
                Some(Value::Array(items)) => items.iter().map(|item| vec![item.clone()]).collect(),
                _ => Vec::new(),
            },
        })
    }
}

fn replica_status(member: &super::Member) -> Vec<Value> {
    let age = member.updated.elapsed().unwrap_or_default();
    let lsn = Value::Int(1_000_000);
    vec![
        Value::text(&member.instance),
        Value::text(if member.writer { "MASTER_SESSION_ID" } else { &member.session_id }),
        lsn.clone(),
        if member.writer { Value::Null } else { lsn.clone() },
        if member.writer { Value::Null } else { lsn },
        Value::Bool(true),
        Value::Time(now_micros() - age.as_micros() as i64),
        // The writer of an Aurora cluster has no replica lag.
        if member.writer { Value::Null } else { Value::Float(member.lag.as_secs_f64() * 1e3) },
        Value::Float(member.cpu),
    ]
}

fn series(args: &[Value]) -> Result<Vec<Vec<Value>>, SqlError> {
    let (start, stop) = match args {
        [start, stop, ..] if !start.is_null() && !stop.is_null() => (start.as_int(), stop.as_int()),
        _ => return Ok(Vec::new()),
    };
    let step = args.get(2).map_or(1, Value::as_int);
    if step == 0 {
        return Err(SqlError::new("22023", "step size cannot equal zero"));
    }
    let mut rows = Vec::new();
    let mut next = start;
    while (step > 0 && next <= stop) || (step < 0 && next >= stop) {
        rows.push(vec![Value::Int(next)]);
        next += step;
    }
    Ok(rows)
}

/// Name, version and whether it is installed in the session's database.
fn extensions(facts: &dyn Facts) -> Vec<(&'static str, &'static str, bool)> {
    let mut known = vec![("plpgsql", "1.0", true)];
    match facts.flavour() {
        Flavour::Plain => {}
        Flavour::Aurora => known.extend([("aurora_stat_utils", "1.0", false), ("rds_tools", "1.4", false)]),
        Flavour::MultiAz => {
            let old = facts.rds_tools() == RdsTools::OldEngine;
            let installed = facts.rds_tools() != RdsTools::Absent;
            known.push(("rds_tools", if old { "1.0" } else { "1.4" }, installed));
        }
    }
    known
}

fn schema_of_extension(extension: &str) -> &str {
    if extension == "rds_tools" { "rds_tools" } else { "pg_catalog" }
}

/// All schemas of the session's database.
pub(crate) fn schemas(env: &Env<'_>) -> Vec<String> {
    let mut names: Vec<String> = ["pg_catalog", "information_schema", "public"].map(str::to_owned).into();
    if functions::has_rds_tools(env.facts) {
        names.push("rds_tools".to_owned());
    }
    for table in env.db.tables() {
        let schema = split(&table.name).0;
        if !names.iter().any(|name| name == schema) {
            names.push(schema.to_owned());
        }
    }
    names
}

fn split(name: &str) -> (&str, &str) {
    name.split_once('.').unwrap_or(("public", name))
}
