//! What a query may be made of. One walk over the tree refuses what is not listed and rewrites what DuckDB says
//! otherwise (`rewrite`).

use std::fmt::Display;
use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Distinct, Expr, GroupByExpr, Ident, Join, JoinConstraint, JoinOperator, LimitClause, ObjectName,
    ObjectNamePart, OrderBy, OrderByExpr, OrderByKind, Query, Select, SelectFlavor, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, SetQuantifier, Statement, TableFactor, TableWithJoins, TopQuantity,
    UnaryOperator, Value, ValueWithSpan, VisitMut, VisitorMut, WildcardAdditionalOptions,
};

use super::{names, rewrite};
use crate::error::SqlError;

/// A part of a statement as SQL for DuckDB.
pub(super) fn rewritten<T: VisitMut + Display>(part: &mut T) -> Result<String, SqlError> {
    walk(part, Judge { values: false })
}

/// The source of an INSERT, which may be VALUES.
pub(super) fn rewritten_source(query: &mut Query) -> Result<String, SqlError> {
    let values = matches!(*query.body, SetExpr::Values(_));
    walk(query, Judge { values })
}

fn walk<T: VisitMut + Display>(part: &mut T, mut judge: Judge) -> Result<String, SqlError> {
    match part.visit(&mut judge) {
        ControlFlow::Continue(()) => Ok(part.to_string()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Judge {
    /// Whether the next query may be VALUES: Redshift has them in INSERT only.
    values: bool,
}

type Verdict = ControlFlow<SqlError>;

/// Goes on, or refuses what has a name.
fn allow(allowed: bool, what: &str) -> Verdict {
    if allowed { ControlFlow::Continue(()) } else { ControlFlow::Break(SqlError::unsupported(what)) }
}

fn checked(result: Result<(), SqlError>) -> Verdict {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

impl VisitorMut for Judge {
    type Break = SqlError;

    fn pre_visit_statement(&mut self, _: &mut Statement) -> Verdict {
        allow(false, "a statement inside a statement")
    }

    fn pre_visit_query(&mut self, query: &mut Query) -> Verdict {
        let plain = query.fetch.is_none()
            && query.locks.is_empty()
            && query.for_clause.is_none()
            && query.settings.is_none()
            && query.format_clause.is_none()
            && query.pipe_operators.is_empty();
        allow(plain, "FETCH, FOR, SETTINGS, FORMAT or a pipe in a query")?;
        if let Some(with) = &query.with {
            let ctes = with.cte_tables.iter().all(|cte| cte.from.is_none() && cte.materialized.is_none());
            allow(ctes, "MATERIALIZED or FROM in a WITH clause")?;
        }
        match &query.limit_clause {
            None => {}
            Some(LimitClause::LimitOffset { limit_by, .. }) => allow(limit_by.is_empty(), "LIMIT BY")?,
            Some(LimitClause::OffsetCommaLimit { .. }) => allow(false, "LIMIT with a comma")?,
        }
        let values = std::mem::take(&mut self.values);
        body(&query.body, values)?;
        top_to_limit(query)
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> Verdict {
        let plain = select.optimizer_hints.is_empty()
            && select.select_modifiers.is_none()
            && select.lateral_views.is_empty()
            && select.prewhere.is_none()
            && select.connect_by.is_empty()
            && select.cluster_by.is_empty()
            && select.distribute_by.is_empty()
            && select.sort_by.is_empty()
            && select.named_window.is_empty()
            && select.value_table_mode.is_none()
            && select.flavor == SelectFlavor::Standard;
        allow(plain, "This clause of SELECT")?;
        allow(select.top.is_none(), "TOP in a part of UNION, INTERSECT or EXCEPT")?;
        allow(select.exclude.is_none(), "EXCLUDE")?;
        allow(select.into.is_none(), "SELECT INTO")?;
        allow(!matches!(select.distinct, Some(Distinct::On(_))), "DISTINCT ON")?;
        match &select.group_by {
            GroupByExpr::Expressions(_, modifiers) => allow(modifiers.is_empty(), "WITH in GROUP BY")?,
            GroupByExpr::All(_) => allow(false, "GROUP BY ALL")?,
        }
        // "the FROM relation name must have an alias specified before the QUALIFY clause", says its documentation.
        let nameless = |from: &TableWithJoins| {
            from.joins.is_empty() && matches!(from.relation, TableFactor::Table { alias: None, .. })
        };
        let directly = select.qualify.is_some() && select.selection.is_none() && select.having.is_none();
        allow(!(directly && select.from.iter().all(nameless)), "QUALIFY behind a table without an alias")?;
        for item in &mut select.projection {
            name_after_function(item);
            match item {
                SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. } => {}
                SelectItem::ExprWithAliases { .. } => allow(false, "an alias of several names")?,
                SelectItem::Wildcard(options) => wildcard(options)?,
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(_), options) => {
                    wildcard(options)?;
                }
                SelectItem::QualifiedWildcard(..) => allow(false, "a wildcard of an expression")?,
            }
        }
        Verdict::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> Verdict {
        match factor {
            TableFactor::Table {
                name,
                alias: _,
                args,
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
            } => {
                if args.is_some() {
                    return ControlFlow::Break(SqlError(format!(
                        "function {name} is not a table function of Redshift"
                    )));
                }
                let plain = with_hints.is_empty()
                    && version.is_none()
                    && !*with_ordinality
                    && partitions.is_empty()
                    && json_path.is_none()
                    && sample.is_none()
                    && index_hints.is_empty();
                allow(plain, "This form of a table in FROM")
            }
            TableFactor::Derived { lateral, sample, .. } => {
                allow(!*lateral && sample.is_none(), "LATERAL or a sample in FROM")
            }
            TableFactor::NestedJoin { table_with_joins, .. } => joins(&table_with_joins.joins),
            _ => allow(false, "This form of a table in FROM"),
        }
    }

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> Verdict {
        checked(names::resolve(relation))
    }

    fn pre_visit_ident(&mut self, ident: &mut Ident) -> Verdict {
        checked(names::checked(ident).map(|name| {
            ident.value = name;
            ident.quote_style = Some('"');
        }))
    }

    fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> Verdict {
        match &value.value {
            Value::Number(digits, false) => {
                // Digits, a point, an exponent: `1_000` and `0xff` are DuckDB's.
                let plain = digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
                allow(plain, "This form of a number")
            }
            Value::Boolean(_) | Value::Null => ControlFlow::Continue(()),
            Value::SingleQuotedString(text) => {
                // The parser's printer guesses whether a quote is escaped already. A placeholder it prints as it is.
                value.value = Value::Placeholder(names::literal(text));
                ControlFlow::Continue(())
            }
            _ => allow(false, "This form of a literal"),
        }
    }

    fn pre_visit_order_by(&mut self, order_by: &mut OrderBy) -> Verdict {
        allow(matches!(order_by.kind, OrderByKind::Expressions(_)) && order_by.interpolate.is_none(), "ORDER BY ALL")
    }

    fn pre_visit_order_by_expr(&mut self, order: &mut OrderByExpr) -> Verdict {
        allow(order.with_fill.is_none(), "WITH FILL")
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> Verdict {
        expression(expr)?;
        checked(rewrite::before(expr))
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> Verdict {
        checked(rewrite::after(expr))
    }
}

/// Redshift calls a column without a name after its function.
fn name_after_function(item: &mut SelectItem) {
    if let SelectItem::UnnamedExpr(Expr::Function(function)) = item
        && let [ObjectNamePart::Identifier(name)] = function.name.0.as_slice()
    {
        let alias = Ident::new(name.value.to_lowercase());
        *item = SelectItem::ExprWithAlias { expr: Expr::Function(function.clone()), alias };
    }
}

fn body(body: &SetExpr, values: bool) -> Verdict {
    match body {
        SetExpr::Select(select) => select.from.iter().try_for_each(|from| joins(&from.joins)),
        SetExpr::Query(_) => ControlFlow::Continue(()),
        SetExpr::SetOperation { left, right, set_quantifier, .. } => {
            let known = matches!(set_quantifier, SetQuantifier::None | SetQuantifier::All | SetQuantifier::Distinct);
            allow(known, "BY NAME")?;
            body_of_side(left)?;
            body_of_side(right)
        }
        SetExpr::Values(_) => allow(values, "VALUES outside of INSERT"),
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) | SetExpr::Table(_) => {
            allow(false, "This statement as a query")
        }
    }
}

fn body_of_side(side: &SetExpr) -> Verdict {
    body(side, false)
}

/// `SELECT TOP 5 ...` is `SELECT ... LIMIT 5`.
fn top_to_limit(query: &mut Query) -> Verdict {
    let SetExpr::Select(select) = query.body.as_mut() else { return ControlFlow::Continue(()) };
    let Some(top) = select.top.take() else { return ControlFlow::Continue(()) };
    allow(!top.with_ties && !top.percent && query.limit_clause.is_none(), "TOP with TIES, PERCENT or LIMIT")?;
    let limit = match top.quantity {
        Some(TopQuantity::Constant(n)) => rewrite::number(n),
        Some(TopQuantity::Expr(expr)) => expr,
        None => return allow(false, "TOP without a number"),
    };
    query.limit_clause = Some(LimitClause::LimitOffset { limit: Some(limit), offset: None, limit_by: Vec::new() });
    ControlFlow::Continue(())
}

pub(super) fn joins(joins: &[Join]) -> Verdict {
    joins.iter().try_for_each(|join| {
        let constraint = match &join.join_operator {
            JoinOperator::Join(constraint)
            | JoinOperator::Inner(constraint)
            | JoinOperator::Left(constraint)
            | JoinOperator::LeftOuter(constraint)
            | JoinOperator::Right(constraint)
            | JoinOperator::RightOuter(constraint)
            | JoinOperator::FullOuter(constraint)
            | JoinOperator::CrossJoin(constraint) => constraint,
            _ => return allow(false, "This kind of join"),
        };
        let cross = matches!(join.join_operator, JoinOperator::CrossJoin(_));
        allow(!join.global && cross == matches!(constraint, JoinConstraint::None), "a join without ON or USING")
    })
}

fn wildcard(options: &WildcardAdditionalOptions) -> Verdict {
    let plain = options.opt_ilike.is_none()
        && options.opt_exclude.is_none()
        && options.opt_except.is_none()
        && options.opt_replace.is_none()
        && options.opt_rename.is_none()
        && options.opt_alias.is_none();
    allow(plain, "EXCLUDE, EXCEPT, REPLACE or RENAME after a wildcard")
}

/// The kinds of expressions that Redshift has and that mean the same here, or are rewritten.
fn expression(expr: &Expr) -> Verdict {
    match expr {
        Expr::Identifier(_)
        | Expr::IsFalse(_)
        | Expr::IsNotFalse(_)
        | Expr::IsTrue(_)
        | Expr::IsNotTrue(_)
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotUnknown(_)
        | Expr::InList { .. }
        | Expr::InSubquery { .. }
        | Expr::Between { .. }
        | Expr::Cast { .. }
        | Expr::Extract { .. }
        | Expr::Position { .. }
        | Expr::Substring { .. }
        | Expr::Trim { .. }
        | Expr::Nested(_)
        | Expr::Value(_)
        | Expr::TypedString(_)
        | Expr::Function(_)
        | Expr::Case { .. }
        | Expr::Exists { .. }
        | Expr::Subquery(_)
        | Expr::Tuple(_)
        | Expr::Interval(_)
        | Expr::Ceil { .. }
        | Expr::Floor { .. }
        | Expr::GroupingSets(_)
        | Expr::Cube(_)
        | Expr::Rollup(_) => ControlFlow::Continue(()),
        Expr::CompoundIdentifier(parts) => allow(parts.len() <= 3, "a name of more than three parts"),
        Expr::Like { any, .. } | Expr::ILike { any, .. } => allow(!any, "LIKE ANY"),
        Expr::BinaryOp { op, .. } => match op {
            BinaryOperator::Plus
            | BinaryOperator::Minus
            | BinaryOperator::Multiply
            | BinaryOperator::Divide
            | BinaryOperator::Modulo
            | BinaryOperator::StringConcat
            | BinaryOperator::Gt
            | BinaryOperator::Lt
            | BinaryOperator::GtEq
            | BinaryOperator::LtEq
            | BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::And
            | BinaryOperator::Or
            | BinaryOperator::BitwiseOr
            | BinaryOperator::BitwiseAnd
            | BinaryOperator::PGBitwiseShiftLeft
            | BinaryOperator::PGBitwiseShiftRight
            | BinaryOperator::PGExp
            | BinaryOperator::PGRegexMatch
            | BinaryOperator::PGRegexIMatch
            | BinaryOperator::PGRegexNotMatch
            | BinaryOperator::PGRegexNotIMatch => ControlFlow::Continue(()),
            other => ControlFlow::Break(SqlError(format!("operator does not exist: {other}"))),
        },
        Expr::UnaryOp { op, .. } => {
            let known = matches!(op, UnaryOperator::Plus | UnaryOperator::Minus | UnaryOperator::Not);
            allow(known, "This operator")
        }
        _ => allow(false, "This kind of expression"),
    }
}
