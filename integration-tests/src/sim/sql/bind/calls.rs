//! Binding of function calls and aggregates.
//!
//! What may not live here: the functions (`functions.rs`, `catalog.rs`, `aggregate.rs`).

use pgwire::api::Type;
use sqlparser::ast::{self, FunctionArg, FunctionArgExpr, FunctionArguments};

use super::{Binder, Scope, is_open};
use crate::sim::error::SqlError;
use crate::sim::sql::aggregate::{Aggregate, Kind};
use crate::sim::sql::catalog::Relation;
use crate::sim::sql::expr::{Expr, Node};
use crate::sim::sql::value::{Value, array_of};
use crate::sim::sql::{folded, functions, name_of};

impl Binder<'_> {
    pub(super) fn function(
        &mut self,
        function: &ast::Function,
        scope: &Scope<'_>,
        want: Option<&Type>,
    ) -> Result<Expr, SqlError> {
        let name = name_of(&function.name);
        if function.over.is_some() || !function.within_group.is_empty() {
            return Err(SqlError::unsupported("window functions"));
        }
        let mut args: Vec<&ast::Expr> = Vec::new();
        let mut distinct = false;
        let mut star = false;
        match &function.args {
            FunctionArguments::None => {}
            FunctionArguments::Subquery(query) if name == "array" => {
                let query = self.subquery(query, scope)?;
                let ty =
                    query.columns.first().and_then(|column| array_of(&column.ty)).unwrap_or(Type::TEXT_ARRAY);
                return Ok(Expr { node: Node::ArrayQuery(query), ty });
            }
            FunctionArguments::Subquery(_) => {
                return Err(SqlError::unsupported("a query as a function's argument"));
            }
            FunctionArguments::List(list) => {
                distinct = matches!(list.duplicate_treatment, Some(ast::DuplicateTreatment::Distinct));
                for arg in &list.args {
                    match arg {
                        FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))
                        | FunctionArg::Named { arg: FunctionArgExpr::Expr(arg), .. } => args.push(arg),
                        FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => star = true,
                        other => return Err(SqlError::unsupported(format!("the argument {other}"))),
                    }
                }
            }
        }
        if let Some(kind) = Kind::by_name(&name) {
            return self.aggregate(kind, &args, star, distinct, function.filter.as_deref(), scope);
        }
        match name.as_str() {
            "if" if self.is_mysql() && args.len() == 3 => {
                let condition = self.boolean(args[0], scope)?;
                let typed = if is_open(args[1]) { args[2] } else { args[1] };
                let ty = self.expr(typed, scope, want)?.ty;
                let branches = vec![(condition, self.expr_as(args[1], scope, &ty)?)];
                let otherwise = Some(Box::new(self.expr_as(args[2], scope, &ty)?));
                Ok(Expr { node: Node::Case { branches, otherwise }, ty })
            }
            "timestampdiff" if self.is_mysql() && args.len() == 3 => {
                let unit = Expr::constant(Value::text(args[0].to_string()), Type::TEXT);
                let from = self.expr_as(args[1], scope, &Type::TIMESTAMP)?;
                let to = self.expr_as(args[2], scope, &Type::TIMESTAMP)?;
                self.call("timestampdiff", vec![unit, from, to])
            }
            // In ON DUPLICATE KEY UPDATE: what would have been inserted.
            "values" if self.is_mysql() && args.len() == 1 => match args[0] {
                ast::Expr::Identifier(column) => self.column(scope, Some("excluded"), &folded(column)),
                other => Err(SqlError::unsupported(format!("VALUES({other})"))),
            },
            "coalesce" | "ifnull" | "greatest" | "least" => {
                let typed = args.iter().find(|arg| !is_open(arg)).or(args.first());
                let typed =
                    typed.ok_or_else(|| SqlError::new("42601", format!("{name} needs an argument")))?;
                let ty = self.expr(typed, scope, want)?.ty;
                let args =
                    args.iter().map(|arg| self.expr_as(arg, scope, &ty)).collect::<Result<Vec<_>, _>>()?;
                let node = match name.as_str() {
                    "coalesce" | "ifnull" => Node::Coalesce(args),
                    _ => Node::Extreme { greatest: name == "greatest", args },
                };
                Ok(Expr { node, ty })
            }
            "nullif" if args.len() == 2 => {
                let (left, right) = self.pair(args[0], args[1], scope, "=")?;
                Ok(Expr { ty: left.ty.clone(), node: Node::NullIf(left.into(), right.into()) })
            }
            "pg_typeof" if args.len() == 1 => {
                let ty = self.expr(args[0], scope, None)?.ty;
                Ok(Expr::constant(functions::typeof_text(&ty), Type::REGTYPE))
            }
            "date_part" if args.len() == 2 => {
                let arg = self.expr(args[1], scope, Some(&Type::TIMESTAMPTZ))?;
                self.call("extract_epoch", vec![arg])
            }
            _ => self.named(&name, &args, scope),
        }
    }

    /// Binds a call of an ordinary function.
    pub(super) fn named(
        &mut self,
        name: &str,
        args: &[&ast::Expr],
        scope: &Scope<'_>,
    ) -> Result<Expr, SqlError> {
        functions::require_visible(self.facts, name)?;
        let found = functions::find(self.facts, name).ok_or_else(|| match Relation::function(name) {
            Some(_) => SqlError::unsupported(format!("{name}() outside of FROM")),
            None => functions::no_such_function(&format!("{name}()")),
        })?;
        let letters = found.args.chars().map(functions::argument_type);
        if args.len() < found.required || args.len() > found.args.len() {
            return Err(functions::no_such_function(&format!("{name} with {} arguments", args.len())));
        }
        let bound = args.iter().zip(letters).map(|(arg, ty)| match ty {
            Some(ty) => self.expr_as(arg, scope, &ty),
            None => self.expr(arg, scope, None),
        });
        let args = bound.collect::<Result<Vec<_>, _>>()?;
        Ok(Expr { node: Node::Call { run: found.run, strict: found.strict, args }, ty: found.result })
    }

    /// A call with bound arguments.
    pub(super) fn call(&mut self, name: &str, args: Vec<Expr>) -> Result<Expr, SqlError> {
        let found = functions::find(self.facts, name).ok_or_else(|| functions::no_such_function(name))?;
        Ok(Expr { node: Node::Call { run: found.run, strict: found.strict, args }, ty: found.result })
    }

    fn aggregate(
        &mut self,
        kind: Kind,
        args: &[&ast::Expr],
        star: bool,
        distinct: bool,
        filter: Option<&ast::Expr>,
        scope: &Scope<'_>,
    ) -> Result<Expr, SqlError> {
        let expected = if star { 0 } else { 1 + usize::from(kind == Kind::Text) };
        if args.len() != expected || (star && kind != Kind::Count) {
            return Err(functions::no_such_function(&format!("{kind:?} with {} arguments", args.len())));
        }
        let arg = args.first().map(|arg| self.expr(arg, scope, None)).transpose()?;
        let ty = kind.result(arg.as_ref().map_or(&Type::BOOL, |arg| &arg.ty))?;
        let separator = args.get(1).map(|arg| self.text(arg, scope)).transpose()?;
        let filter = filter.map(|filter| self.boolean(filter, scope)).transpose()?;
        self.aggregates += 1;
        let aggregate = Aggregate { kind, arg, separator, distinct, filter };
        Ok(Expr { node: Node::Aggregate(aggregate.into()), ty })
    }
}
