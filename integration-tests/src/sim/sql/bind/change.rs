//! Binding of statements that change data or tables.
//!
//! What may not live here: their execution (`write.rs`).

use std::sync::Arc;

use pgwire::api::Type;
use sqlparser::ast::{self, AssignmentTarget, FromTable, SetExpr, Statement, TableFactor, TableObject};

use super::{Binder, Scope, ScopeColumn};
use crate::sim::error::SqlError;
use crate::sim::sql::eval::comparable;
use crate::sim::sql::expr::{Body, Expr, Query};
use crate::sim::sql::value::{Value, family};
use crate::sim::sql::write::{Change, Conflict, Insert, Plan, Returning, Slot};
use crate::sim::sql::{OutColumn, folded, mysql, name_of};
use crate::sim::store::{Column, ColumnDefault, Table, no_such_table};

impl Binder<'_> {
    /// Binds a statement that the SQL engine runs.
    ///
    /// # Errors
    /// As PostgreSQL reports them at Parse; 0A000 for what the simulation does not do.
    pub(crate) fn statement(&mut self, statement: &Statement) -> Result<Plan, SqlError> {
        Ok(match statement {
            Statement::Query(query) => match query.body.as_ref() {
                // WITH … INSERT/UPDATE/DELETE hides the statement in a query.
                SetExpr::Insert(inner) | SetExpr::Update(inner) | SetExpr::Delete(inner)
                    if query.with.is_none() =>
                {
                    self.statement(inner)?
                }
                _ => Plan::Select(self.query(query, None)?),
            },
            Statement::Insert(insert) => Plan::Insert(self.insert(insert)?.into()),
            Statement::Update(update) => {
                let (table, alias) = self.target(&update.table)?;
                if update.from.is_some() {
                    return Err(SqlError::unsupported("UPDATE … FROM"));
                }
                let scope = table_scope(&table, &alias);
                let set = self.assignments(&update.assignments, &table, &scope)?;
                let filter =
                    update.selection.as_ref().map(|filter| self.boolean(filter, &scope)).transpose()?;
                let returning = self.returning(update.returning.as_deref(), &scope)?;
                Plan::Update(Change { table, set, filter, returning }.into())
            }
            Statement::Delete(delete) => {
                let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
                let [table] = from.as_slice() else {
                    return Err(SqlError::unsupported("DELETE from several tables"));
                };
                if delete.using.is_some() {
                    return Err(SqlError::unsupported("DELETE … USING"));
                }
                let (table, alias) = self.target(table)?;
                let scope = table_scope(&table, &alias);
                let filter =
                    delete.selection.as_ref().map(|filter| self.boolean(filter, &scope)).transpose()?;
                let returning = self.returning(delete.returning.as_deref(), &scope)?;
                Plan::Delete(Change { table, set: Vec::new(), filter, returning }.into())
            }
            Statement::CreateTable(create) => self.create(create)?,
            Statement::Drop { object_type: ast::ObjectType::Table, if_exists, names, .. } => {
                Plan::Drop { names: names.iter().map(|n| self.stored(n)).collect(), if_exists: *if_exists }
            }
            Statement::Truncate(truncate) => {
                let names = truncate.table_names.iter().map(|target| self.stored(&target.name));
                Plan::Truncate(names.collect())
            }
            Statement::CreateDatabase { .. } if self.is_mysql() => Plan::Nothing("CREATE DATABASE"),
            Statement::CreateIndex(_) => Plan::Nothing("CREATE INDEX"),
            Statement::CreateSchema { .. } => Plan::Nothing("CREATE SCHEMA"),
            Statement::CreateExtension(_) => Plan::Nothing("CREATE EXTENSION"),
            Statement::Grant { .. } => Plan::Nothing("GRANT"),
            Statement::Analyze(_) => Plan::Nothing("ANALYZE"),
            Statement::Vacuum(_) => Plan::Nothing("VACUUM"),
            other => return Err(SqlError::unsupported(format!("the statement {other}"))),
        })
    }

    /// The name under which a table is stored.
    pub(super) fn stored(&self, name: &ast::ObjectName) -> String {
        let name = name_of(name);
        if self.is_mysql() { mysql::table_name(&name) } else { name }
    }

    fn table(&self, name: &ast::ObjectName) -> Result<Arc<Table>, SqlError> {
        let name = self.stored(name);
        self.db.table(&name).map(Arc::clone).ok_or_else(|| no_such_table(&name))
    }

    fn column_of(&self, table: &Table, name: &str) -> Result<usize, SqlError> {
        let missing = || {
            let message = format!("column \"{name}\" of relation \"{}\" does not exist", table.name);
            SqlError::new("42703", message)
        };
        let name = name.rsplit('.').next().filter(|_| self.is_mysql()).unwrap_or(name);
        table.columns.iter().position(|column| self.same(&column.name, name)).ok_or_else(missing)
    }

    fn target(&self, table: &ast::TableWithJoins) -> Result<(Arc<Table>, String), SqlError> {
        match &table.relation {
            TableFactor::Table { name, alias, args: None, .. } if table.joins.is_empty() => {
                let found = self.table(name)?;
                let alias = alias.as_ref().map_or_else(|| short(&found.name), |alias| folded(&alias.name));
                Ok((found, alias))
            }
            other => Err(SqlError::unsupported(format!("changing {other}"))),
        }
    }

    fn assignments(
        &mut self,
        assignments: &[ast::Assignment],
        table: &Table,
        scope: &Scope<'_>,
    ) -> Result<Vec<(usize, Expr)>, SqlError> {
        let bind = |assignment: &ast::Assignment| {
            let AssignmentTarget::ColumnName(name) = &assignment.target else {
                return Err(SqlError::unsupported("SET (…) = (…)"));
            };
            let index = self.column_of(table, &name_of(name))?;
            Ok((index, self.expr_as(&assignment.value, scope, &table.columns[index].ty)?))
        };
        assignments.iter().map(bind).collect()
    }

    fn returning(
        &mut self,
        items: Option<&[ast::SelectItem]>,
        scope: &Scope<'_>,
    ) -> Result<Option<Returning>, SqlError> {
        let Some(items) = items else { return Ok(None) };
        let (mut output, mut columns) = (Vec::new(), Vec::new());
        for item in items {
            self.projected(item, scope, &mut output, &mut columns)?;
        }
        Ok(Some(Returning { output, columns }))
    }

    fn insert(&mut self, insert: &ast::Insert) -> Result<Insert, SqlError> {
        let TableObject::TableName(name) = &insert.table else {
            return Err(SqlError::unsupported("INSERT into what is not a table"));
        };
        let table = self.table(name)?;
        let given = match insert.columns.as_slice() {
            [] => (0..table.columns.len()).collect(),
            names => names
                .iter()
                .map(|name| self.column_of(&table, &name_of(name)))
                .collect::<Result<Vec<_>, _>>()?,
        };
        let types: Vec<&Type> = given.iter().map(|at| &table.columns[*at].ty).collect();
        let source = match &insert.source {
            None => None,
            Some(query) => Some(self.insert_source(query, &types)?),
        };
        let width = source.as_ref().map_or(0, |source| source.columns.len());
        if width > given.len() || (width < given.len() && !insert.columns.is_empty()) {
            let which = if width > given.len() {
                "expressions than target columns"
            } else {
                "target columns than expressions"
            };
            return Err(SqlError::new("42601", format!("INSERT has more {which}")));
        }
        let mut slots = Vec::new();
        for (index, column) in table.columns.iter().enumerate() {
            slots.push(match (given.iter().take(width).position(|at| *at == index), &column.default) {
                (Some(position), Some(ColumnDefault::Sequence(name))) if self.is_mysql() => {
                    Slot::GivenOrSequence(position, name.clone())
                }
                (Some(position), _) => Slot::Given(position),
                (None, None) => Slot::Default(Expr::constant(Value::Null, column.ty.clone())),
                (None, Some(ColumnDefault::Sequence(name))) => Slot::Sequence(name.clone()),
                (None, Some(ColumnDefault::Expression(default))) => {
                    Slot::Default(self.expr_as(default, &Scope::default(), &column.ty)?)
                }
            });
        }
        let alias =
            insert.table_alias.as_ref().map_or_else(|| short(&table.name), |alias| folded(&alias.alias));
        let scope = table_scope(&table, &alias);
        let conflict = match &insert.on {
            None if insert.ignore => Some(Conflict { update: None }),
            None => None,
            Some(ast::OnInsert::DuplicateKeyUpdate(assignments)) => {
                Some(Conflict { update: Some(self.on_conflict(assignments, &table, &alias)?) })
            }
            Some(ast::OnInsert::OnConflict(conflict)) => match &conflict.action {
                ast::OnConflictAction::DoNothing => Some(Conflict { update: None }),
                ast::OnConflictAction::DoUpdate(update) if update.selection.is_none() => {
                    Some(Conflict { update: Some(self.on_conflict(&update.assignments, &table, &alias)?) })
                }
                ast::OnConflictAction::DoUpdate(_) => {
                    return Err(SqlError::unsupported("ON CONFLICT … WHERE"));
                }
            },
            Some(other) => return Err(SqlError::unsupported(other)),
        };
        let returning = self.returning(insert.returning.as_deref(), &scope)?;
        Ok(Insert { table, slots, source, conflict, returning })
    }

    /// What becomes of the existing row. The one that was to be inserted is called `excluded`.
    fn on_conflict(
        &mut self,
        assignments: &[ast::Assignment],
        table: &Table,
        alias: &str,
    ) -> Result<Vec<(usize, Expr)>, SqlError> {
        let existing = table_scope(table, alias);
        let mut both = table_scope(table, alias);
        both.columns.extend(table_scope(table, "excluded").columns);
        let bind = |binder: &mut Self, assignment: &ast::Assignment, scope: &Scope<'_>| {
            binder.assignments(std::slice::from_ref(assignment), table, scope)
        };
        let mut bound = Vec::new();
        for assignment in assignments {
            bound.extend(match bind(self, assignment, &both) {
                // Ambiguous without a qualifier: then the existing row is meant.
                Err(error) if error.code == "42702" => bind(self, assignment, &existing)?,
                found => found?,
            });
        }
        Ok(bound)
    }

    /// VALUES takes the types of the target columns, so that parameters and literals do too.
    fn insert_source(&mut self, query: &ast::Query, types: &[&Type]) -> Result<Query, SqlError> {
        if let SetExpr::Values(values) = query.body.as_ref()
            && query.with.is_none()
        {
            let scope = Scope::default();
            let mut rows = Vec::new();
            for row in &values.rows {
                let mut bound = Vec::new();
                for (index, ast) in row.content.iter().enumerate() {
                    bound.push(match types.get(index) {
                        Some(ty) => self.expr_as(ast, &scope, ty)?,
                        None => self.expr(ast, &scope, None)?,
                    });
                }
                rows.push(bound);
            }
            let width = rows.iter().map(Vec::len).max().unwrap_or(0);
            if rows.iter().any(|row: &Vec<Expr>| row.len() != width) {
                return Err(SqlError::new("42601", "VALUES lists must all be the same length"));
            }
            let columns =
                rows.first().into_iter().flatten().map(|expr| OutColumn::new("column", expr.ty.clone()));
            let columns = columns.collect();
            return Ok(Query {
                columns,
                body: Body::Values(rows),
                order: vec![],
                limit: None,
                offset: None,
                locks: None,
            });
        }
        let bound = self.query(query, None)?;
        for (column, ty) in bound.columns.iter().zip(types) {
            if family(&column.ty) != family(ty) && !comparable(family(&column.ty), family(ty)) {
                return Err(SqlError::new("42804", format!("column \"{}\" has the wrong type", column.name)));
            }
        }
        Ok(bound)
    }

    fn create(&mut self, create: &ast::CreateTable) -> Result<Plan, SqlError> {
        if create.temporary {
            return Err(SqlError::unsupported("temporary tables"));
        }
        let name = self.stored(&create.name);
        let fill = create.query.as_ref().map(|query| self.query(query, None)).transpose()?;
        let mut columns = Vec::new();
        let mut keys: Vec<(bool, Vec<usize>)> = Vec::new();
        for (index, def) in create.columns.iter().enumerate() {
            let written = def.data_type.to_string().to_ascii_lowercase();
            let sequence = || ColumnDefault::Sequence(format!("{name}_{}_seq", folded(&def.name)));
            let mut column = Column {
                name: if self.is_mysql() { def.name.value.clone() } else { folded(&def.name) },
                ty: self.data_type(&def.data_type)?,
                not_null: written.contains("serial"),
                default: written.contains("serial").then(sequence),
            };
            for option in &def.options {
                match &option.option {
                    ast::ColumnOption::NotNull => column.not_null = true,
                    ast::ColumnOption::PrimaryKey(_) => {
                        column.not_null = true;
                        keys.push((true, vec![index]));
                    }
                    ast::ColumnOption::Unique(_) => keys.push((false, vec![index])),
                    ast::ColumnOption::Default(default) => {
                        self.expr_as(default, &Scope::default(), &column.ty)?;
                        column.default = Some(ColumnDefault::Expression(default.clone().into()));
                    }
                    ast::ColumnOption::Generated { generation_expr: None, .. } => {
                        column.not_null = true;
                        column.default = Some(sequence());
                    }
                    ast::ColumnOption::DialectSpecific(words)
                        if self.is_mysql()
                            && words.iter().any(|w| w.to_string().eq_ignore_ascii_case("auto_increment")) =>
                    {
                        column.not_null = true;
                        column.default = Some(sequence());
                    }
                    ast::ColumnOption::Comment(_) | ast::ColumnOption::CharacterSet(_) if self.is_mysql() => {
                    }
                    ast::ColumnOption::Null | ast::ColumnOption::Collation(_) => {}
                    other => return Err(SqlError::unsupported(format!("the column option {other}"))),
                }
            }
            columns.push(column);
        }
        if let Some(fill) = &fill {
            let column = |column: &OutColumn| Column {
                name: column.name.clone(),
                ty: column.ty.clone(),
                not_null: false,
                default: None,
            };
            columns = fill.columns.iter().map(column).collect();
        }
        let mut table = Table::new(&name, columns);
        keys.into_iter().for_each(|(primary, columns)| table.add_key(primary, columns));
        for constraint in &create.constraints {
            let (keys, primary) = match constraint {
                ast::TableConstraint::PrimaryKey(key) => (&key.columns, true),
                ast::TableConstraint::Unique(key) => (&key.columns, false),
                // It would only be faster.
                ast::TableConstraint::Index(_) if self.is_mysql() => continue,
                other => return Err(SqlError::unsupported(format!("the constraint {other}"))),
            };
            let named = keys.iter().map(|key| match &key.column.expr {
                ast::Expr::Identifier(ident) => self.column_of(&table, &folded(ident)),
                other => Err(SqlError::unsupported(other)),
            });
            let named = named.collect::<Result<Vec<_>, _>>()?;
            table.add_key(primary, named);
        }
        Ok(Plan::Create { table: Arc::new(table), if_not_exists: create.if_not_exists, fill })
    }
}

fn short(name: &str) -> String {
    name.rsplit('.').next().unwrap_or(name).to_owned()
}

fn table_scope(table: &Table, alias: &str) -> Scope<'static> {
    let column = |column: &Column| ScopeColumn {
        table: alias.to_owned(),
        name: column.name.clone(),
        ty: column.ty.clone(),
    };
    Scope { columns: table.columns.iter().map(column).collect(), parent: None }
}
