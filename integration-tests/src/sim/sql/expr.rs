//! Bound expressions and queries: names resolved, types known.
//!
//! What may not live here: how they come about (`bind.rs`) and how they are run (`eval.rs`, `select.rs`).

use std::sync::Arc;

use pgwire::api::Type;

use super::aggregate::Aggregate;
use super::functions::Run;
use super::value::Value;
use super::{OutColumn, catalog::Relation};

/// An expression with its type.
#[derive(Clone, Debug)]
pub(crate) struct Expr {
    pub(crate) node: Node,
    pub(crate) ty: Type,
}

#[derive(Clone, Debug)]
pub(crate) enum Node {
    Const(Value),
    Param(usize),
    /// Column of the row `up` queries outwards.
    Column {
        up: usize,
        index: usize,
    },
    Call {
        run: Run,
        strict: bool,
        args: Vec<Expr>,
    },
    Cast(Box<Expr>),
    Compare {
        op: Comparison,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    /// `IS [NOT] DISTINCT FROM`.
    Distinct {
        negated: bool,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    Arithmetic {
        op: char,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    Concat(Box<Expr>, Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Not(Box<Expr>),
    Negate(Box<Expr>),
    /// `IS [NOT] NULL`.
    IsNull {
        negated: bool,
        arg: Box<Expr>,
    },
    /// `IS [NOT] TRUE`, `IS [NOT] FALSE`.
    IsBool {
        wanted: bool,
        negated: bool,
        arg: Box<Expr>,
    },
    Like {
        pattern: Box<Expr>,
        arg: Box<Expr>,
        any_case: bool,
        negated: bool,
    },
    /// `~` and its relatives.
    Matches {
        pattern: Box<Expr>,
        arg: Box<Expr>,
        any_case: bool,
        negated: bool,
    },
    Case {
        branches: Vec<(Expr, Expr)>,
        otherwise: Option<Box<Expr>>,
    },
    Coalesce(Vec<Expr>),
    /// `GREATEST` (true) or `LEAST`.
    Extreme {
        greatest: bool,
        args: Vec<Expr>,
    },
    NullIf(Box<Expr>, Box<Expr>),
    In {
        arg: Box<Expr>,
        list: Vec<Expr>,
        negated: bool,
    },
    InQuery {
        arg: Box<Expr>,
        query: Arc<Query>,
        negated: bool,
    },
    /// `op ANY (array)` and `op ALL (array)`.
    Quantified {
        op: Comparison,
        all: bool,
        left: Box<Expr>,
        array: Box<Expr>,
    },
    Array(Vec<Expr>),
    Element {
        array: Box<Expr>,
        index: Box<Expr>,
    },
    Scalar(Arc<Query>),
    ArrayQuery(Arc<Query>),
    Exists(Arc<Query>),
    Aggregate(Box<Aggregate>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

/// A bound query with its result columns.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    pub(crate) columns: Vec<OutColumn>,
    pub(crate) body: Body,
    pub(crate) order: Vec<SortKey>,
    pub(crate) limit: Option<Expr>,
    pub(crate) offset: Option<Expr>,
    /// `FOR UPDATE` and the like, which a read-only transaction may not do.
    pub(crate) locks: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) enum Body {
    Plain(Box<Plain>),
    Values(Vec<Vec<Expr>>),
    Union { left: Box<Body>, right: Box<Body>, all: bool },
    Nested(Box<Query>),
}

/// SELECT … FROM … WHERE … GROUP BY … HAVING.
#[derive(Clone, Debug)]
pub(crate) struct Plain {
    pub(crate) from: Option<From>,
    pub(crate) filter: Option<Expr>,
    pub(crate) group: Vec<Expr>,
    pub(crate) grouped: bool,
    pub(crate) having: Option<Expr>,
    /// The result columns, then columns that only sort keys use.
    pub(crate) output: Vec<Expr>,
    pub(crate) distinct: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct SortKey {
    /// Position among the outputs.
    pub(crate) index: usize,
    pub(crate) descending: bool,
    pub(crate) nulls_first: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum From {
    Source(Source),
    Join { left: Box<From>, right: Box<From>, kind: JoinKind, on: Option<Expr>, right_width: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JoinKind {
    Inner,
    Left,
}

#[derive(Clone, Debug)]
pub(crate) enum Source {
    Table(String),
    /// A system view or a function that returns rows.
    Relation(Relation, Vec<Expr>),
    /// A function that returns one value, used as a table of one row.
    Value(Expr),
    Query(Arc<Query>),
}

impl Expr {
    pub(crate) fn constant(value: Value, ty: Type) -> Self {
        Expr { node: Node::Const(value), ty }
    }
}
