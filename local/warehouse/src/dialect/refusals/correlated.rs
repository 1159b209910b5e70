//! Subqueries that look outside. Whose a column is, is known only if its table is named with it.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, GroupByExpr, Ident, JoinConstraint, JoinOperator, ObjectName, Select, SelectItem, TableAlias, TableFactor,
    TableWithJoins, Value, Visit, Visitor,
};

/// What a FROM clause calls its tables.
pub(super) fn names(from: &[TableWithJoins]) -> Vec<String> {
    let mut names = Vec::new();
    for table in from {
        names.extend(of_factor(&table.relation));
        names.extend(table.joins.iter().flat_map(|join| of_factor(&join.relation)));
    }
    names
}

fn of_factor(factor: &TableFactor) -> Vec<String> {
    match factor {
        TableFactor::Table { name, alias, .. } => table(name, alias.as_ref()).into_iter().collect(),
        TableFactor::Derived { alias, .. } => alias.iter().map(|alias| alias.name.value.to_lowercase()).collect(),
        TableFactor::NestedJoin { table_with_joins, .. } => names(std::slice::from_ref(table_with_joins)),
        _ => Vec::new(),
    }
}

/// What a table is called: by its alias, or by the last part of its name.
pub(super) fn table(name: &ObjectName, alias: Option<&TableAlias>) -> Option<String> {
    let ident = alias.map(|alias| &alias.name).or_else(|| name.0.last()?.as_ident())?;
    Some(ident.value.to_lowercase())
}

/// The table of a column.
pub(super) fn qualifier(parts: &[Ident]) -> Option<String> {
    parts.len().checked_sub(2).map(|at| parts[at].value.to_lowercase())
}

/// A subquery in ON of an outer join that looks at the tables of the join.
pub(super) fn in_outer_join(select: &Select, names: &[String]) -> bool {
    let outer = select.from.iter().flat_map(|table| &table.joins).filter_map(|join| match &join.join_operator {
        JoinOperator::Left(JoinConstraint::On(on))
        | JoinOperator::LeftOuter(JoinConstraint::On(on))
        | JoinOperator::Right(JoinConstraint::On(on))
        | JoinOperator::RightOuter(JoinConstraint::On(on))
        | JoinOperator::FullOuter(JoinConstraint::On(on)) => Some(on),
        _ => None,
    });
    outer.into_iter().any(|on| looks_at(on, names))
}

/// A column of GROUP BY that is a subquery which looks at the tables of the query.
pub(super) fn in_group(select: &Select, names: &[String]) -> bool {
    let GroupByExpr::Expressions(columns, _) = &select.group_by else { return false };
    columns.iter().any(|column| looks_at(selected(select, column), names))
}

/// What a column of GROUP BY stands for: by its place, by its alias, or as it is.
fn selected<'a>(select: &'a Select, column: &'a Expr) -> &'a Expr {
    let item = match column {
        Expr::Value(value) => match &value.value {
            Value::Number(place, _) => {
                place.parse::<usize>().ok().and_then(|n| select.projection.get(n.wrapping_sub(1)))
            }
            _ => None,
        },
        Expr::Identifier(name) => select.projection.iter().find(|item| match item {
            SelectItem::ExprWithAlias { alias, .. } => alias.value.eq_ignore_ascii_case(&name.value),
            _ => false,
        }),
        _ => None,
    };
    match item {
        Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) => expr,
        _ => column,
    }
}

fn looks_at(expr: &Expr, outside: &[String]) -> bool {
    expr.visit(&mut Inside { outside, blocks: Vec::new() }).is_break()
}

/// A walk that breaks off where a subquery names a table that is not its own.
struct Inside<'a> {
    outside: &'a [String],
    blocks: Vec<Vec<String>>,
}

impl Visitor for Inside<'_> {
    type Break = ();

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        self.blocks.push(names(&select.from));
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _: &Select) -> ControlFlow<()> {
        self.blocks.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let Expr::CompoundIdentifier(parts) = expr else { return ControlFlow::Continue(()) };
        let Some(of) = qualifier(parts) else { return ControlFlow::Continue(()) };
        let is_own = self.blocks.is_empty() || self.blocks.iter().any(|block| block.contains(&of));
        if !is_own && self.outside.contains(&of) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
