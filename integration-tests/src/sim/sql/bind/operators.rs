//! Binding of operators: both sides settle on types together.
//!
//! What may not live here: what the operators do (`eval.rs`).

use pgwire::api::Type;
use sqlparser::ast::{self, BinaryOperator};

use super::{Binder, Scope, converted, is_numeric, is_open, placeholder};
use crate::sim::error::SqlError;
use crate::sim::sql::eval::comparable;
use crate::sim::sql::expr::{Comparison, Expr, Node};
use crate::sim::sql::value::{Family, array_of, family, type_name};

impl Binder<'_> {
    pub(super) fn binary(
        &mut self,
        left: &ast::Expr,
        op: &BinaryOperator,
        right: &ast::Expr,
        scope: &Scope<'_>,
    ) -> Result<Expr, SqlError> {
        // OPERATOR(pg_catalog.=) and the plain sign are the same here.
        let sign = match op {
            BinaryOperator::PGCustomBinaryOperator(parts) => parts.last().cloned().unwrap_or_default(),
            other => other.to_string().to_ascii_uppercase(),
        };
        if let Some(op) = comparison(&sign) {
            let (left, right) = self.pair(left, right, scope, &sign)?;
            return Ok(compare(op, left, right));
        }
        let node = match sign.as_str() {
            "AND" => Node::And(self.boolean(left, scope)?.into(), self.boolean(right, scope)?.into()),
            "OR" => Node::Or(self.boolean(left, scope)?.into(), self.boolean(right, scope)?.into()),
            "||" => {
                let (left, right) = (self.expr(left, scope, None)?, self.expr(right, scope, None)?);
                return Ok(Expr { node: Node::Concat(left.into(), right.into()), ty: Type::TEXT });
            }
            "~" | "~*" | "!~" | "!~*" => Node::Matches {
                arg: self.text(left, scope)?.into(),
                pattern: self.text(right, scope)?.into(),
                any_case: sign.ends_with('*'),
                negated: sign.starts_with('!'),
            },
            "~~" | "~~*" | "!~~" | "!~~*" => Node::Like {
                arg: self.text(left, scope)?.into(),
                pattern: self.text(right, scope)?.into(),
                any_case: sign.ends_with('*'),
                negated: sign.starts_with('!'),
            },
            "+" | "-" | "*" | "/" | "%" => return self.arithmetic(left, &sign, right, scope),
            _ => return Err(SqlError::unsupported(format!("the operator {sign}"))),
        };
        Ok(Expr { node, ty: Type::BOOL })
    }

    fn arithmetic(
        &mut self,
        left: &ast::Expr,
        sign: &str,
        right: &ast::Expr,
        scope: &Scope<'_>,
    ) -> Result<Expr, SqlError> {
        let (mut left_expr, mut right_expr) = (self.expr(left, scope, None)?, self.expr(right, scope, None)?);
        // A literal or parameter beside a typed operand takes its type (a span beside a time).
        let beside = |ty: &Type| if family(ty) == Family::Time { Type::INTERVAL } else { ty.clone() };
        if is_open(left) && !is_open(right) {
            left_expr = self.retyped(left, scope, beside(&right_expr.ty))?;
        } else if is_open(right) && !is_open(left) {
            right_expr = self.retyped(right, scope, beside(&left_expr.ty))?;
        }
        let (l, r) = (&left_expr.ty, &right_expr.ty);
        let ty = match (family(l), family(r)) {
            (Family::Int, Family::Int) if *l == Type::INT8 || *r == Type::INT8 => Type::INT8,
            (Family::Int, Family::Int) => Type::INT4,
            (Family::Int | Family::Float, Family::Int | Family::Float) => {
                let exact = |ty: &Type| *ty == Type::NUMERIC || family(ty) == Family::Int;
                if exact(l) && exact(r) { Type::NUMERIC } else { Type::FLOAT8 }
            }
            (Family::Time, Family::Time) if sign == "-" => Type::INTERVAL,
            (Family::Time, Family::Span) => l.clone(),
            (Family::Span, Family::Time) if sign == "+" => r.clone(),
            (Family::Span, Family::Span | Family::Int | Family::Float) => Type::INTERVAL,
            (Family::Int | Family::Float, Family::Span) if sign == "*" => Type::INTERVAL,
            _ => return Err(no_operator(l, sign, r)),
        };
        let op = sign.chars().next().unwrap_or('+');
        Ok(Expr { node: Node::Arithmetic { op, left: left_expr.into(), right: right_expr.into() }, ty })
    }

    /// Binds again with another wish, unless the client declared the parameter's type.
    fn retyped(&mut self, ast: &ast::Expr, scope: &Scope<'_>, ty: Type) -> Result<Expr, SqlError> {
        if let Some(index) = placeholder(ast) {
            let known = self.params.get(index).cloned().flatten();
            if known.is_none_or(|known| known == Type::TEXT) {
                self.params[index] = Some(ty.clone());
            }
        }
        self.expr(ast, scope, Some(&ty))
    }

    /// Binds both sides of a comparison so that a literal or parameter takes the type of the other side.
    pub(super) fn pair(
        &mut self,
        left: &ast::Expr,
        right: &ast::Expr,
        scope: &Scope<'_>,
        sign: &str,
    ) -> Result<(Expr, Expr), SqlError> {
        let (left, right) = if is_open(left) && !is_open(right) {
            let right = self.expr(right, scope, None)?;
            (self.expr(left, scope, Some(&right.ty))?, right)
        } else {
            let left = self.expr(left, scope, None)?;
            let right = self.expr(right, scope, Some(&left.ty))?;
            (left, right)
        };
        let (of_left, of_right) = (family(&left.ty), family(&right.ty));
        if self.is_mysql() && of_left != of_right && is_numeric(of_left) && is_numeric(of_right) {
            let number = |side: Expr| match family(&side.ty) {
                Family::Bool => converted(side, &Type::INT8),
                _ => side,
            };
            return Ok((number(left), number(right)));
        }
        match comparable(of_left, of_right) {
            true => Ok((left, right)),
            false => Err(no_operator(&left.ty, sign, &right.ty)),
        }
    }

    pub(super) fn quantified(
        &mut self,
        left: &ast::Expr,
        op: &BinaryOperator,
        right: &ast::Expr,
        all: bool,
        scope: &Scope<'_>,
    ) -> Result<Expr, SqlError> {
        let sign = match op {
            BinaryOperator::PGCustomBinaryOperator(parts) => parts.last().cloned().unwrap_or_default(),
            other => other.to_string(),
        };
        let op = comparison(&sign).ok_or_else(|| SqlError::unsupported(format!("{sign} ANY")))?;
        let left = self.expr(left, scope, None)?;
        let array = match right {
            ast::Expr::Subquery(query) => {
                let query = self.subquery(query, scope)?;
                Expr { node: Node::ArrayQuery(query), ty: array_of(&left.ty).unwrap_or(Type::TEXT_ARRAY) }
            }
            other => self.expr(other, scope, array_of(&left.ty).as_ref())?,
        };
        Ok(Expr {
            node: Node::Quantified { op, all, left: left.into(), array: array.into() },
            ty: Type::BOOL,
        })
    }
}

pub(super) fn compare(op: Comparison, left: Expr, right: Expr) -> Expr {
    Expr { node: Node::Compare { op, left: left.into(), right: right.into() }, ty: Type::BOOL }
}

fn comparison(sign: &str) -> Option<Comparison> {
    Some(match sign {
        "=" => Comparison::Eq,
        "<>" | "!=" => Comparison::Ne,
        "<" => Comparison::Lt,
        "<=" => Comparison::Le,
        ">" => Comparison::Gt,
        ">=" => Comparison::Ge,
        _ => return None,
    })
}

fn no_operator(left: &Type, sign: &str, right: &Type) -> SqlError {
    let (left, right) = (type_name(left), type_name(right));
    SqlError::new("42883", format!("operator does not exist: {left} {sign} {right}"))
}
