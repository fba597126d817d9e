//! Binding of expressions: names become columns, functions and parameters, and types are settled.
//!
//! What lives here: expressions; queries, calls, operators and changes are in the files beside. What may not:
//! evaluation.

mod calls;
mod change;
mod operators;
mod query;

use std::sync::Arc;

use pgwire::api::Type;
use sqlparser::ast::{self, UnaryOperator};

use super::eval::comparable;
use super::expr::{Comparison, Expr, Node, Query};
use super::functions::Run;
use super::value::{Family, Value, array_of, element, family, parse_span, type_by_name, type_name};
use super::{Facts, folded, mysql};
use crate::sim::error::SqlError;
use crate::sim::flavour::Engine;
use crate::sim::store::Database;
use operators::compare;

/// Turns parsed SQL into bound SQL, and learns the types of the parameters on the way.
pub(crate) struct Binder<'a> {
    pub(crate) db: &'a Database,
    pub(crate) facts: &'a dyn Facts,
    /// Types of `$1`, `$2`, … as declared by the client or found so far.
    pub(crate) params: Vec<Option<Type>>,
    /// WITH queries in sight, innermost last.
    pub(crate) ctes: Vec<(String, Arc<Query>)>,
    /// Aggregates bound so far in the present SELECT.
    pub(crate) aggregates: usize,
}

impl<'a> Binder<'a> {
    pub(crate) fn new(db: &'a Database, facts: &'a dyn Facts, params: Vec<Option<Type>>) -> Self {
        Binder { db, facts, params, ctes: Vec::new(), aggregates: 0 }
    }
}

/// The columns in sight of an expression.
#[derive(Debug, Default)]
pub(crate) struct Scope<'p> {
    pub(crate) columns: Vec<ScopeColumn>,
    pub(crate) parent: Option<&'p Scope<'p>>,
}

#[derive(Clone, Debug)]
pub(crate) struct ScopeColumn {
    pub(crate) table: String,
    pub(crate) name: String,
    pub(crate) ty: Type,
}

impl Binder<'_> {
    /// Binds an expression; `want` is the type that the context would like, for literals and parameters.
    pub(crate) fn expr(
        &mut self,
        ast: &ast::Expr,
        scope: &Scope<'_>,
        want: Option<&Type>,
    ) -> Result<Expr, SqlError> {
        use ast::Expr as E;
        Ok(match ast {
            E::Nested(inner) => self.expr(inner, scope, want)?,
            E::Value(value) => self.literal(&value.value, want)?,
            E::Identifier(ident) if self.is_mysql() && ident.value.starts_with('@') => {
                self.variable(std::slice::from_ref(ident))?
            }
            E::CompoundIdentifier(parts)
                if self.is_mysql() && parts.first().is_some_and(|part| part.value.starts_with("@@")) =>
            {
                self.variable(parts)?
            }
            E::Identifier(ident) => match self.column(scope, None, &folded(ident)) {
                // CURRENT_USER and its relatives are functions without parentheses.
                Err(_) if ident.quote_style.is_none() && is_niladic(&folded(ident)) => {
                    self.call(&folded(ident), Vec::new())?
                }
                found => found?,
            },
            E::CompoundIdentifier(parts) => match parts.as_slice() {
                [.., table, column] => self.column(scope, Some(&folded(table)), &folded(column))?,
                _ => return Err(SqlError::unsupported(ast)),
            },
            E::BinaryOp { left, op, right } => self.binary(left, op, right, scope)?,
            E::UnaryOp { op: UnaryOperator::Not, expr } => {
                let arg = self.boolean(expr, scope)?;
                Expr { node: Node::Not(arg.into()), ty: Type::BOOL }
            }
            E::UnaryOp { op: UnaryOperator::Minus, expr } => {
                let arg = self.expr(expr, scope, want)?;
                Expr { ty: arg.ty.clone(), node: Node::Negate(arg.into()) }
            }
            E::UnaryOp { op: UnaryOperator::Plus, expr } => self.expr(expr, scope, want)?,
            E::IsNull(arg) | E::IsNotNull(arg) => {
                let negated = matches!(ast, E::IsNotNull(_));
                let arg = self.expr(arg, scope, None)?;
                Expr { node: Node::IsNull { negated, arg: arg.into() }, ty: Type::BOOL }
            }
            E::IsTrue(arg) | E::IsNotTrue(arg) | E::IsFalse(arg) | E::IsNotFalse(arg) => {
                let wanted = matches!(ast, E::IsTrue(_) | E::IsNotTrue(_));
                let negated = matches!(ast, E::IsNotTrue(_) | E::IsNotFalse(_));
                let arg = self.boolean(arg, scope)?;
                Expr { node: Node::IsBool { wanted, negated, arg: arg.into() }, ty: Type::BOOL }
            }
            E::IsDistinctFrom(left, right) | E::IsNotDistinctFrom(left, right) => {
                let negated = matches!(ast, E::IsNotDistinctFrom(..));
                let (left, right) = self.pair(left, right, scope, "=")?;
                Expr {
                    node: Node::Distinct { negated, left: left.into(), right: right.into() },
                    ty: Type::BOOL,
                }
            }
            E::Between { expr, negated, low, high } => {
                let (arg, low) = self.pair(expr, low, scope, ">=")?;
                let (again, high) = self.pair(expr, high, scope, "<=")?;
                let low = compare(Comparison::Ge, arg, low);
                let both = Node::And(low.into(), compare(Comparison::Le, again, high).into());
                let both = Expr { node: both, ty: Type::BOOL };
                if *negated { Expr { node: Node::Not(both.into()), ty: Type::BOOL } } else { both }
            }
            E::Like { negated, expr, pattern, .. } | E::ILike { negated, expr, pattern, .. } => {
                let any_case = self.is_mysql() || matches!(ast, E::ILike { .. });
                let (arg, pattern) = (self.text(expr, scope)?, self.text(pattern, scope)?);
                let node =
                    Node::Like { pattern: pattern.into(), arg: arg.into(), any_case, negated: *negated };
                Expr { node, ty: Type::BOOL }
            }
            E::InList { expr, list, negated } => {
                let arg = self.expr(expr, scope, None)?;
                let list = list.iter().map(|item| self.expr_as(item, scope, &arg.ty));
                let list = list.collect::<Result<Vec<_>, _>>()?;
                Expr { node: Node::In { arg: arg.into(), list, negated: *negated }, ty: Type::BOOL }
            }
            E::InSubquery { expr, subquery, negated } => {
                let query = self.subquery(subquery, scope)?;
                let ty = query.columns.first().map(|column| column.ty.clone());
                let arg = self.expr(expr, scope, ty.as_ref())?;
                Expr { node: Node::InQuery { arg: arg.into(), query, negated: *negated }, ty: Type::BOOL }
            }
            E::AnyOp { left, compare_op, right, .. } => {
                self.quantified(left, compare_op, right, false, scope)?
            }
            E::AllOp { left, compare_op, right } => self.quantified(left, compare_op, right, true, scope)?,
            E::Cast { expr, data_type, .. } => {
                let ty = self.data_type(data_type)?;
                let arg = self.expr(expr, scope, Some(&ty))?;
                converted(arg, &ty)
            }
            E::TypedString(typed) => {
                let ty = self.data_type(&typed.data_type)?;
                Expr::constant(Value::parse(&ty, &literal_text(&typed.value.value)?)?, ty)
            }
            E::Interval(interval) => self.interval(interval)?,
            E::Extract { field, expr, .. } => {
                if !field.to_string().eq_ignore_ascii_case("epoch") {
                    return Err(SqlError::unsupported(format!("EXTRACT({field} …)")));
                }
                let arg = self.expr(expr, scope, Some(&Type::TIMESTAMPTZ))?;
                converted(self.call("extract_epoch", vec![arg])?, &Type::NUMERIC)
            }
            E::Position { expr, r#in } => {
                let args = vec![self.text(expr, scope)?, self.text(r#in, scope)?];
                self.call("position", args)?
            }
            E::Substring { expr, substring_from, substring_for, .. } => {
                let mut args = vec![self.text(expr, scope)?];
                let one = Expr::constant(Value::Int(1), Type::INT4);
                args.push(match substring_from {
                    Some(from) => self.expr_as(from, scope, &Type::INT4)?,
                    None => one,
                });
                if let Some(length) = substring_for {
                    args.push(self.expr_as(length, scope, &Type::INT4)?);
                }
                self.call("substring", args)?
            }
            E::Trim { expr, trim_where: None, trim_what: None, .. } => {
                let args = vec![self.text(expr, scope)?];
                self.call("btrim", args)?
            }
            E::Floor { expr, .. } | E::Ceil { expr, .. } => {
                let args = vec![self.expr_as(expr, scope, &Type::FLOAT8)?];
                self.call(if matches!(ast, E::Floor { .. }) { "floor" } else { "ceil" }, args)?
            }
            E::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref(), scope, want)?
            }
            E::Exists { subquery, negated } => {
                let query = self.subquery(subquery, scope)?;
                let exists = Expr { node: Node::Exists(query), ty: Type::BOOL };
                if *negated { Expr { node: Node::Not(exists.into()), ty: Type::BOOL } } else { exists }
            }
            E::Subquery(subquery) => {
                let query = self.subquery(subquery, scope)?;
                match query.columns.as_slice() {
                    [column] => Expr { ty: column.ty.clone(), node: Node::Scalar(query) },
                    _ => return Err(SqlError::new("42601", "subquery must return only one column")),
                }
            }
            E::Array(array) => self.array(&array.elem, scope, want)?,
            E::Collate { expr, .. } => self.expr(expr, scope, want)?,
            E::CompoundFieldAccess { root, access_chain } => {
                self.subscript(root, access_chain, scope).ok_or_else(|| SqlError::unsupported(ast))??
            }
            E::Function(function) => self.function(function, scope, want)?,
            E::AtTimeZone { timestamp, .. } => self.expr(timestamp, scope, Some(&Type::TIMESTAMPTZ))?,
            other => return Err(SqlError::unsupported(format!("the expression {other}"))),
        })
    }

    /// Binds an expression and converts it to a type.
    pub(crate) fn expr_as(
        &mut self,
        ast: &ast::Expr,
        scope: &Scope<'_>,
        ty: &Type,
    ) -> Result<Expr, SqlError> {
        let bound = self.expr(ast, scope, Some(ty))?;
        let (from, to) = (family(&bound.ty), family(ty));
        // MySQL's truth values are numbers, and it makes of text whatever is asked for.
        let loose = self.is_mysql() && (is_numeric(from) && is_numeric(to) || from == Family::Text);
        let fits = comparable(from, to) || to == Family::Text || loose;
        match fits {
            true => Ok(converted(bound, ty)),
            false => {
                let (from, to) = (type_name(&bound.ty), type_name(ty));
                Err(SqlError::new("42804", format!("expression is of type {from} where {to} is expected")))
            }
        }
    }

    pub(crate) fn boolean(&mut self, ast: &ast::Expr, scope: &Scope<'_>) -> Result<Expr, SqlError> {
        self.expr_as(ast, scope, &Type::BOOL)
    }

    fn text(&mut self, ast: &ast::Expr, scope: &Scope<'_>) -> Result<Expr, SqlError> {
        self.expr_as(ast, scope, &Type::TEXT)
    }

    fn literal(&mut self, value: &ast::Value, want: Option<&Type>) -> Result<Expr, SqlError> {
        use ast::Value as V;
        Ok(match value {
            V::Null => Expr::constant(Value::Null, want.cloned().unwrap_or(Type::TEXT)),
            V::Boolean(flag) => Expr::constant(Value::Bool(*flag), Type::BOOL),
            V::Number(digits, _) => match digits.parse::<i64>() {
                Ok(number) if i32::try_from(number).is_ok() => Expr::constant(Value::Int(number), Type::INT4),
                Ok(number) => Expr::constant(Value::Int(number), Type::INT8),
                Err(_) => Expr::constant(Value::parse(&Type::NUMERIC, digits)?, Type::NUMERIC),
            },
            V::Placeholder(name) => {
                let index = name.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok());
                let index = index.and_then(|index| index.checked_sub(1)).filter(|index| *index < 65_535);
                let index =
                    index.ok_or_else(|| SqlError::new("42P02", format!("there is no parameter {name}")))?;
                if self.params.len() <= index {
                    self.params.resize(index + 1, None);
                }
                let ty =
                    self.params[index].get_or_insert_with(|| want.cloned().unwrap_or(Type::TEXT)).clone();
                Expr { node: Node::Param(index), ty }
            }
            other => {
                let text = literal_text(other)?;
                let ty = want.cloned().unwrap_or(Type::TEXT);
                Expr::constant(Value::parse(&ty, &text)?, ty)
            }
        })
    }

    fn is_mysql(&self) -> bool {
        self.facts.engine() == Engine::Mysql
    }

    /// Whether two names mean the same: to MySQL case does not matter.
    fn same(&self, one: &str, other: &str) -> bool {
        if self.is_mysql() { one.eq_ignore_ascii_case(other) } else { one == other }
    }

    fn data_type(&self, data_type: &ast::DataType) -> Result<Type, SqlError> {
        if !self.is_mysql() {
            return data_type_of(data_type);
        }
        let found = mysql::type_by_name(&data_type.to_string());
        found.ok_or_else(|| SqlError::unsupported(format!("the type {data_type}")))
    }

    /// A variable of MySQL: `@@name`, `@@SESSION.name`, `@name`.
    fn variable(&self, parts: &[ast::Ident]) -> Result<Expr, SqlError> {
        let name = parts.last().map_or("", |part| part.value.as_str()).to_ascii_lowercase();
        let is_own = parts.len() == 1 && !name.starts_with("@@");
        let name = if is_own { name } else { name.trim_start_matches('@').to_owned() };
        let (ty, run): (Type, Run) = match is_own {
            true => (Type::TEXT, mysql::variables::read_own),
            false => (mysql::variables::type_of(&name, self.facts)?, mysql::variables::read),
        };
        let args = vec![Expr::constant(Value::text(name), Type::TEXT)];
        Ok(Expr { node: Node::Call { run, strict: true, args }, ty })
    }

    fn column(&self, scope: &Scope<'_>, table: Option<&str>, name: &str) -> Result<Expr, SqlError> {
        let (mut scope, mut up) = (Some(scope), 0);
        while let Some(here) = scope {
            let matches = |c: &ScopeColumn| {
                self.same(&c.name, name) && table.is_none_or(|table| self.same(&c.table, table))
            };
            let mut found = here.columns.iter().enumerate().filter(|(_, column)| matches(column));
            match (found.next(), found.next()) {
                (Some((index, column)), None) => {
                    return Ok(Expr { node: Node::Column { up, index }, ty: column.ty.clone() });
                }
                (Some(_), Some(_)) => {
                    return Err(SqlError::new("42702", format!("column reference \"{name}\" is ambiguous")));
                }
                _ => (scope, up) = (here.parent, up + 1),
            }
        }
        let name = table.map_or_else(|| format!("\"{name}\""), |table| format!("{table}.{name}"));
        Err(SqlError::new("42703", format!("column {name} does not exist")))
    }

    fn interval(&mut self, interval: &ast::Interval) -> Result<Expr, SqlError> {
        let text = match interval.value.as_ref() {
            ast::Expr::Value(value) => literal_text(&value.value)?,
            other => return Err(SqlError::unsupported(format!("INTERVAL {other}"))),
        };
        let unit = interval.leading_field.as_ref().map_or(String::new(), |field| format!(" {field}"));
        let micros = parse_span(&(text + &unit)).ok_or_else(|| SqlError::unsupported(interval))?;
        Ok(Expr::constant(Value::Span(micros), Type::INTERVAL))
    }

    fn case(
        &mut self,
        operand: Option<&ast::Expr>,
        conditions: &[ast::CaseWhen],
        otherwise: Option<&ast::Expr>,
        scope: &Scope<'_>,
        want: Option<&Type>,
    ) -> Result<Expr, SqlError> {
        let results = conditions.iter().map(|when| &when.result).chain(otherwise);
        let typed = results.clone().find(|result| !is_open(result));
        let ty = match typed.or_else(|| results.clone().next()) {
            Some(result) => self.expr(result, scope, want)?.ty,
            None => Type::TEXT,
        };
        let mut branches = Vec::new();
        for when in conditions {
            let condition = match operand {
                None => self.boolean(&when.condition, scope)?,
                Some(operand) => {
                    let (left, right) = self.pair(operand, &when.condition, scope, "=")?;
                    compare(Comparison::Eq, left, right)
                }
            };
            branches.push((condition, self.expr_as(&when.result, scope, &ty)?));
        }
        let otherwise = otherwise.map(|result| self.expr_as(result, scope, &ty)).transpose()?.map(Box::new);
        Ok(Expr { node: Node::Case { branches, otherwise }, ty })
    }

    fn array(
        &mut self,
        items: &[ast::Expr],
        scope: &Scope<'_>,
        want: Option<&Type>,
    ) -> Result<Expr, SqlError> {
        let wanted = want.and_then(element).cloned();
        let inner = match (wanted, items.iter().find(|item| !is_open(item)).or(items.first())) {
            (Some(inner), _) => inner,
            (None, Some(first)) => self.expr(first, scope, None)?.ty,
            (None, None) => Type::TEXT,
        };
        let items = items.iter().map(|item| self.expr_as(item, scope, &inner));
        let items = items.collect::<Result<Vec<_>, _>>()?;
        let ty = array_of(&inner).ok_or_else(|| SqlError::unsupported(format!("arrays of {inner}")))?;
        Ok(Expr { node: Node::Array(items), ty })
    }

    fn subscript(
        &mut self,
        root: &ast::Expr,
        chain: &[ast::AccessExpr],
        scope: &Scope<'_>,
    ) -> Option<Result<Expr, SqlError>> {
        let [ast::AccessExpr::Subscript(ast::Subscript::Index { index })] = chain else { return None };
        let mut bind = || {
            let array = self.expr(root, scope, None)?;
            let ty = element(&array.ty).cloned().ok_or_else(|| SqlError::unsupported("this subscript"))?;
            let index = self.expr_as(index, scope, &Type::INT8)?;
            Ok(Expr { node: Node::Element { array: array.into(), index: index.into() }, ty })
        };
        Some(bind())
    }

    fn subquery(&mut self, query: &ast::Query, scope: &Scope<'_>) -> Result<Arc<Query>, SqlError> {
        Ok(Arc::new(self.query(query, Some(scope))?))
    }
}

fn is_numeric(family: Family) -> bool {
    matches!(family, Family::Bool | Family::Int | Family::Float)
}

/// Converts a bound expression, at once if it is a constant.
fn converted(expr: Expr, ty: &Type) -> Expr {
    if expr.ty == *ty {
        return expr;
    }
    Expr { node: Node::Cast(expr.into()), ty: ty.clone() }
}

/// Whether an expression takes its type from its surroundings.
fn is_open(ast: &ast::Expr) -> bool {
    match ast {
        ast::Expr::Nested(inner) => is_open(inner),
        ast::Expr::Value(value) => !matches!(value.value, ast::Value::Number(..) | ast::Value::Boolean(_)),
        _ => false,
    }
}

fn placeholder(ast: &ast::Expr) -> Option<usize> {
    match ast {
        ast::Expr::Nested(inner) => placeholder(inner),
        ast::Expr::Value(value) => match &value.value {
            ast::Value::Placeholder(name) => name.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1),
            _ => None,
        },
        _ => None,
    }
}

fn is_niladic(name: &str) -> bool {
    matches!(
        name,
        "current_user" | "session_user" | "user" | "current_role" | "current_catalog" | "current_schema"
    )
}

/// The text of a string literal of any quoting.
pub(crate) fn literal_text(value: &ast::Value) -> Result<String, SqlError> {
    use ast::Value as V;
    match value {
        V::SingleQuotedString(text)
        | V::EscapedStringLiteral(text)
        | V::UnicodeStringLiteral(text)
        | V::NationalStringLiteral(text)
        | V::DoubleQuotedString(text) => Ok(text.clone()),
        V::DollarQuotedString(text) => Ok(text.value.clone()),
        V::Number(digits, _) => Ok(digits.clone()),
        V::Boolean(flag) => Ok(flag.to_string()),
        other => Err(SqlError::unsupported(format!("the literal {other}"))),
    }
}

pub(crate) fn data_type_of(data_type: &ast::DataType) -> Result<Type, SqlError> {
    type_by_name(&data_type.to_string()).ok_or_else(|| SqlError::unsupported(format!("the type {data_type}")))
}
