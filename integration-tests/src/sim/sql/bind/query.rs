//! Binding of queries: SELECT, VALUES, UNION and WITH.
//!
//! What may not live here: expressions (`mod.rs`) and execution (`select.rs`).

use std::sync::Arc;

use pgwire::api::Type;
use sqlparser::ast::{self, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, SetOperator, TableFactor};

use super::{Binder, Scope, ScopeColumn, data_type_of};
use crate::sim::error::SqlError;
use crate::sim::sql::catalog::Relation;
use crate::sim::sql::expr::{Body, Expr, From, JoinKind, Node, Plain, Query, SortKey, Source};
use crate::sim::sql::{OutColumn, folded, functions, name_of};
use crate::sim::store::no_such_table;

impl Binder<'_> {
    /// Binds a query; `outer` is what a subquery sees of the query around it.
    pub(super) fn query(&mut self, query: &ast::Query, outer: Option<&Scope<'_>>) -> Result<Query, SqlError> {
        let known = self.ctes.len();
        if let Some(with) = &query.with {
            if with.recursive {
                return Err(SqlError::unsupported("WITH RECURSIVE"));
            }
            for cte in &with.cte_tables {
                let mut bound = self.query(&cte.query, outer)?;
                rename(&mut bound.columns, &cte.alias);
                self.ctes.push((folded(&cte.alias.name), Arc::new(bound)));
            }
        }
        let order: &[ast::OrderByExpr] = match query.order_by.as_ref().map(|order| &order.kind) {
            None => &[],
            Some(ast::OrderByKind::Expressions(keys)) => keys,
            Some(ast::OrderByKind::All(_)) => return Err(SqlError::unsupported("ORDER BY ALL")),
        };
        let (body, columns, keys) = self.body(&query.body, outer, order)?;
        let (limit, offset) = match &query.limit_clause {
            None => (None, None),
            Some(ast::LimitClause::LimitOffset { limit, offset, .. }) => {
                (limit.as_ref(), offset.as_ref().map(|o| &o.value))
            }
            Some(ast::LimitClause::OffsetCommaLimit { offset, limit }) => (Some(limit), Some(offset)),
        };
        let fetch = query.fetch.as_ref().and_then(|fetch| fetch.quantity.as_ref());
        let empty = Scope::default();
        let mut count =
            |ast: Option<&ast::Expr>| ast.map(|ast| self.expr_as(ast, &empty, &Type::INT8)).transpose();
        let (limit, offset) = (count(limit.or(fetch))?, count(offset)?);
        self.ctes.truncate(known);
        let locks = query.locks.first().map(|lock| format!("SELECT FOR {}", lock.lock_type));
        Ok(Query { columns, body, order: keys, limit, offset, locks })
    }

    fn body(
        &mut self,
        body: &SetExpr,
        outer: Option<&Scope<'_>>,
        order: &[ast::OrderByExpr],
    ) -> Result<(Body, Vec<OutColumn>, Vec<SortKey>), SqlError> {
        let any_case = self.is_mysql();
        let by_output = |columns: &[OutColumn]| {
            let key = |key: &ast::OrderByExpr| match output_position(&key.expr, columns, any_case) {
                Some(index) => Ok(sort_key(index, key)),
                None => Err(SqlError::unsupported(format!("ORDER BY {} here", key.expr))),
            };
            order.iter().map(key).collect::<Result<Vec<_>, _>>()
        };
        match body {
            SetExpr::Select(select) => self.select(select, outer, order),
            SetExpr::Query(query) => {
                let query = self.query(query, outer)?;
                let columns = query.columns.clone();
                let keys = by_output(&columns)?;
                Ok((Body::Nested(query.into()), columns, keys))
            }
            SetExpr::Values(values) => {
                let scope = Scope { columns: Vec::new(), parent: outer };
                let mut types: Vec<Type> = Vec::new();
                let mut rows = Vec::new();
                for row in &values.rows {
                    let mut bound = Vec::new();
                    for (index, ast) in row.content.iter().enumerate() {
                        let expr = self.expr(ast, &scope, types.get(index))?;
                        if types.len() <= index {
                            types.push(expr.ty.clone());
                        }
                        bound.push(expr);
                    }
                    rows.push(bound);
                }
                let name = |(index, ty)| OutColumn { name: format!("column{}", index + 1), ty };
                let columns: Vec<_> = types.into_iter().enumerate().map(name).collect();
                let keys = by_output(&columns)?;
                Ok((Body::Values(rows), columns, keys))
            }
            SetExpr::SetOperation { left, op: SetOperator::Union, set_quantifier, right } => {
                let (left, columns, _) = self.body(left, outer, &[])?;
                let (right, others, _) = self.body(right, outer, &[])?;
                if columns.len() != others.len() {
                    return Err(SqlError::new(
                        "42601",
                        "each UNION query must have the same number of columns",
                    ));
                }
                let all = matches!(set_quantifier, ast::SetQuantifier::All);
                let keys = by_output(&columns)?;
                Ok((Body::Union { left: left.into(), right: right.into(), all }, columns, keys))
            }
            other => Err(SqlError::unsupported(format!("the query {other}"))),
        }
    }

    fn select(
        &mut self,
        select: &ast::Select,
        outer: Option<&Scope<'_>>,
        order: &[ast::OrderByExpr],
    ) -> Result<(Body, Vec<OutColumn>, Vec<SortKey>), SqlError> {
        if select.into.is_some() || !select.named_window.is_empty() {
            return Err(SqlError::unsupported("SELECT INTO and WINDOW"));
        }
        let outer_aggregates = std::mem::take(&mut self.aggregates);
        let mut scope = Scope { columns: Vec::new(), parent: outer };
        let mut from = None;
        for table in &select.from {
            let next = self.joined(table, &mut scope)?;
            from = Some(match from {
                None => next,
                Some(left) => {
                    let right_width = 0; // an inner join never pads
                    From::Join {
                        left: Box::new(left),
                        right: next.into(),
                        kind: JoinKind::Inner,
                        on: None,
                        right_width,
                    }
                }
            });
        }
        let filter = select.selection.as_ref().map(|filter| self.boolean(filter, &scope)).transpose()?;
        let (mut output, mut columns) = (Vec::new(), Vec::new());
        match (&from, row_call(select)) {
            // SELECT generate_series(1, 3) is SELECT * FROM generate_series(1, 3).
            (None, Some((function, alias))) => {
                let ast::FunctionArguments::List(list) = &function.args else {
                    return Err(SqlError::unsupported(function));
                };
                let (source, found) = self.row_function(&name_of(&function.name), &list.args, &scope)?;
                from = Some(From::Source(source));
                for (index, column) in found.into_iter().enumerate() {
                    output.push(Expr { node: Node::Column { up: 0, index }, ty: column.ty.clone() });
                    columns.push(OutColumn { name: alias.map_or(column.name, folded), ty: column.ty });
                }
            }
            _ => {
                for item in &select.projection {
                    self.projected(item, &scope, &mut output, &mut columns)?;
                }
            }
        }
        let group = match &select.group_by {
            ast::GroupByExpr::Expressions(keys, _) => keys
                .iter()
                .map(|key| match output_position(key, &columns, self.is_mysql()) {
                    Some(index) => Ok(output[index].clone()),
                    None => self.expr(key, &scope, None),
                })
                .collect::<Result<Vec<_>, _>>()?,
            ast::GroupByExpr::All(_) => return Err(SqlError::unsupported("GROUP BY ALL")),
        };
        let having = select.having.as_ref().map(|having| self.boolean(having, &scope)).transpose()?;
        let distinct = match &select.distinct {
            None | Some(ast::Distinct::All) => false,
            Some(ast::Distinct::Distinct) => true,
            Some(ast::Distinct::On(_)) => return Err(SqlError::unsupported("DISTINCT ON")),
        };
        let mut keys = Vec::new();
        for key in order {
            let index = match output_position(&key.expr, &columns, self.is_mysql()) {
                Some(index) => index,
                None => {
                    output.push(self.expr(&key.expr, &scope, None)?);
                    output.len() - 1
                }
            };
            keys.push(sort_key(index, key));
        }
        let aggregates = std::mem::replace(&mut self.aggregates, outer_aggregates);
        let grouped = !group.is_empty() || having.is_some() || aggregates > 0;
        let plain = Plain { from, filter, group, grouped, having, output, distinct };
        Ok((Body::Plain(plain.into()), columns, keys))
    }

    /// Binds one item of a SELECT or RETURNING list.
    pub(super) fn projected(
        &mut self,
        item: &SelectItem,
        scope: &Scope<'_>,
        output: &mut Vec<Expr>,
        columns: &mut Vec<OutColumn>,
    ) -> Result<(), SqlError> {
        let mut all = |wanted: Option<&str>| {
            for (index, column) in scope.columns.iter().enumerate() {
                if wanted.is_none_or(|table| column.table == table) {
                    output.push(Expr { node: Node::Column { up: 0, index }, ty: column.ty.clone() });
                    columns.push(OutColumn::new(&column.name, column.ty.clone()));
                }
            }
        };
        match item {
            SelectItem::Wildcard(_) => all(None),
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                all(Some(&name_of(name)));
            }
            SelectItem::UnnamedExpr(ast) => {
                let bound = self.expr(ast, scope, None)?;
                let name = if self.is_mysql() { written_name(ast) } else { implied_name(ast) };
                columns.push(OutColumn::new(&name, bound.ty.clone()));
                output.push(bound);
            }
            SelectItem::ExprWithAlias { expr, alias } => {
                let bound = self.expr(expr, scope, None)?;
                let name = if self.is_mysql() { alias.value.clone() } else { folded(alias) };
                columns.push(OutColumn::new(&name, bound.ty.clone()));
                output.push(bound);
            }
            other => return Err(SqlError::unsupported(format!("the item {other}"))),
        }
        Ok(())
    }

    /// Binds a table of FROM with its joins, and adds its columns to the scope.
    fn joined(&mut self, table: &ast::TableWithJoins, scope: &mut Scope<'_>) -> Result<From, SqlError> {
        let mut left = self.source(&table.relation, scope)?;
        for join in &table.joins {
            use ast::JoinOperator as J;
            let (kind, constraint) = match &join.join_operator {
                J::Join(constraint) | J::Inner(constraint) => (JoinKind::Inner, constraint),
                J::CrossJoin(constraint) => (JoinKind::Inner, constraint),
                J::Left(constraint) | J::LeftOuter(constraint) => (JoinKind::Left, constraint),
                _ => return Err(SqlError::unsupported("this kind of join")),
            };
            let before = scope.columns.len();
            let right = self.source(&join.relation, scope)?;
            let right_width = scope.columns.len() - before;
            let on = match constraint {
                ast::JoinConstraint::On(on) => Some(self.boolean(on, scope)?),
                ast::JoinConstraint::None => None,
                _ => return Err(SqlError::unsupported("JOIN … USING and NATURAL JOIN")),
            };
            left = From::Join { left: left.into(), right: right.into(), kind, on, right_width };
        }
        Ok(left)
    }

    fn source(&mut self, factor: &TableFactor, scope: &mut Scope<'_>) -> Result<From, SqlError> {
        let (source, mut columns, alias, implied) = match factor {
            TableFactor::Table { name, alias, args: Some(args), .. } => {
                let (source, columns) = self.row_function(&name_of(name), &args.args, scope)?;
                (source, columns, alias, name_of(name))
            }
            TableFactor::Function { name, args, alias, .. } => {
                let (source, columns) = self.row_function(&name_of(name), args, scope)?;
                (source, columns, alias, name_of(name))
            }
            TableFactor::UNNEST { array_exprs, alias, .. } => {
                let empty = Scope { columns: Vec::new(), parent: scope.parent };
                let args = array_exprs.iter().map(|e| self.expr(e, &empty, Some(&Type::TEXT_ARRAY)));
                let args = args.collect::<Result<Vec<_>, _>>()?;
                let columns = Relation::Unnest.columns(args.first().map(|arg| &arg.ty));
                (Source::Relation(Relation::Unnest, args), columns, alias, "unnest".to_owned())
            }
            TableFactor::Table { name, alias, .. } => {
                let name = self.stored(name);
                let (source, columns) = self.named_table(&name)?;
                (source, columns, alias, name)
            }
            TableFactor::Derived { subquery, alias, .. } => {
                let query = self.query(subquery, scope.parent)?;
                let columns = query.columns.clone();
                (Source::Query(Arc::new(query)), columns, alias, String::new())
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                return self.joined(table_with_joins, scope);
            }
            other => return Err(SqlError::unsupported(format!("{other} in FROM"))),
        };
        let mut table = implied.rsplit('.').next().unwrap_or_default().to_owned();
        if let Some(alias) = alias {
            table = folded(&alias.name);
            // An alias of a function that returns one column names the column too.
            if let (
                [column],
                Source::Value(_) | Source::Relation(Relation::Series | Relation::Unnest, _),
                true,
            ) = (columns.as_mut_slice(), &source, alias.columns.is_empty())
            {
                column.name = table.clone();
            }
            rename(&mut columns, alias);
        }
        let column =
            |column: OutColumn| ScopeColumn { table: table.clone(), name: column.name, ty: column.ty };
        scope.columns.extend(columns.into_iter().map(column));
        Ok(From::Source(source))
    }

    fn named_table(&mut self, name: &str) -> Result<(Source, Vec<OutColumn>), SqlError> {
        if let Some((_, query)) = self.ctes.iter().rev().find(|(cte, _)| cte == name) {
            return Ok((Source::Query(Arc::clone(query)), query.columns.clone()));
        }
        if let Some(table) = self.db.table(name) {
            let columns = table.columns.iter().map(|column| OutColumn::new(&column.name, column.ty.clone()));
            return Ok((Source::Table(name.to_owned()), columns.collect()));
        }
        let view = match self.is_mysql() {
            true => Relation::mysql_view(self.facts, name)?,
            false => Relation::view(name),
        };
        match view {
            Some(view) => Ok((Source::Relation(view, Vec::new()), view.columns(None))),
            None => Err(no_such_table(name)),
        }
    }

    fn row_function(
        &mut self,
        name: &str,
        args: &[ast::FunctionArg],
        scope: &Scope<'_>,
    ) -> Result<(Source, Vec<OutColumn>), SqlError> {
        functions::require_visible(self.facts, name)?;
        let empty = Scope { columns: Vec::new(), parent: scope.parent };
        let mut plain = Vec::new();
        for arg in args {
            match arg {
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(arg)) => plain.push(arg),
                other => return Err(SqlError::unsupported(format!("the argument {other}"))),
            }
        }
        let Some(relation) = Relation::function(name) else {
            let value = self.named(name, &plain, &empty)?;
            let column = OutColumn::new(name.rsplit('.').next().unwrap_or(name), value.ty.clone());
            return Ok((Source::Value(value), vec![column]));
        };
        let mut bound: Vec<Expr> = Vec::new();
        for arg in plain {
            let want = match (relation, bound.first()) {
                (Relation::Series, Some(first)) => first.ty.clone(),
                (Relation::Series, None) => Type::INT4,
                (Relation::Unnest, _) => Type::TEXT_ARRAY,
                _ => Type::TEXT,
            };
            bound.push(self.expr(arg, &empty, Some(&want))?);
        }
        let columns = relation.columns(bound.first().map(|arg| &arg.ty));
        Ok((Source::Relation(relation, bound), columns))
    }
}

/// The call of a function that yields rows, if that is all that is selected.
fn row_call(select: &ast::Select) -> Option<(&ast::Function, Option<&ast::Ident>)> {
    let (function, alias) = match select.projection.as_slice() {
        [SelectItem::UnnamedExpr(ast::Expr::Function(function))] => (function, None),
        [SelectItem::ExprWithAlias { expr: ast::Expr::Function(function), alias }] => (function, Some(alias)),
        _ => return None,
    };
    matches!(Relation::function(&name_of(&function.name)), Some(Relation::Series | Relation::Unnest))
        .then_some((function, alias))
}

fn rename(columns: &mut [OutColumn], alias: &ast::TableAlias) {
    for (column, name) in columns.iter_mut().zip(&alias.columns) {
        column.name = folded(&name.name);
    }
}

fn sort_key(index: usize, key: &ast::OrderByExpr) -> SortKey {
    let descending = matches!(key.options.sort, Some(ast::OrderBySort::Desc));
    SortKey { index, descending, nulls_first: key.options.nulls_first.unwrap_or(descending) }
}

/// The output column that a name or number in ORDER BY or GROUP BY means.
fn output_position(ast: &ast::Expr, columns: &[OutColumn], any_case: bool) -> Option<usize> {
    match ast {
        ast::Expr::Identifier(ident) if any_case => {
            columns.iter().position(|column| column.name.eq_ignore_ascii_case(&ident.value))
        }
        ast::Expr::Identifier(ident) => columns.iter().position(|column| column.name == folded(ident)),
        ast::Expr::Value(value) => match &value.value {
            ast::Value::Number(digits, _) => {
                let index = digits.parse::<usize>().ok()?.checked_sub(1)?;
                (index < columns.len()).then_some(index)
            }
            _ => None,
        },
        _ => None,
    }
}

/// MySQL's name of a result column without an alias: what was written, without qualifiers.
fn written_name(ast: &ast::Expr) -> String {
    match ast {
        ast::Expr::Identifier(ident) => ident.value.clone(),
        ast::Expr::CompoundIdentifier(parts) if !parts[0].value.starts_with('@') => {
            parts.last().map_or_else(String::new, |part| part.value.clone())
        }
        other => other.to_string(),
    }
}

/// The name of a result column without an alias.
fn implied_name(ast: &ast::Expr) -> String {
    match ast {
        ast::Expr::Identifier(ident) => folded(ident),
        ast::Expr::CompoundIdentifier(parts) => parts.last().map_or_else(String::new, folded),
        ast::Expr::Function(function) => {
            let name = name_of(&function.name);
            name.rsplit('.').next().unwrap_or_default().to_owned()
        }
        ast::Expr::Nested(inner) => implied_name(inner),
        ast::Expr::Cast { expr, data_type, .. } => match implied_name(expr) {
            name if name == "?column?" => {
                data_type_of(data_type).map_or(name, |ty| ty.name().trim_start_matches('_').to_owned())
            }
            name => name,
        },
        ast::Expr::Case { .. } => "case".to_owned(),
        ast::Expr::Exists { .. } => "exists".to_owned(),
        ast::Expr::Extract { .. } => "extract".to_owned(),
        ast::Expr::Array(_) => "array".to_owned(),
        ast::Expr::Substring { .. } => "substring".to_owned(),
        ast::Expr::Position { .. } => "position".to_owned(),
        ast::Expr::CompoundFieldAccess { root, .. } => implied_name(root),
        ast::Expr::Subquery(query) => match query.body.as_ref() {
            SetExpr::Select(select) => match select.projection.first() {
                Some(SelectItem::UnnamedExpr(inner)) => implied_name(inner),
                Some(SelectItem::ExprWithAlias { alias, .. }) => folded(alias),
                _ => "?column?".to_owned(),
            },
            _ => "?column?".to_owned(),
        },
        _ => "?column?".to_owned(),
    }
}
