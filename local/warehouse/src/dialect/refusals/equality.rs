//! UPDATE .. FROM and DELETE .. USING: something must be equal in the target and in what it is joined with.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Delete, Expr, FromTable, TableFactor, TableWithJoins, Update, UpdateTableFromKind, Visit, Visitor,
};

use super::correlated::{names, qualifier, table};

/// What the statement names, its target first, and whether they are joined as they have to be.
pub(super) fn of_update(update: &Update) -> (Vec<String>, bool) {
    match &update.from {
        Some(UpdateTableFromKind::AfterSet(from) | UpdateTableFromKind::BeforeSet(from)) => {
            of(&update.table.relation, from, update.selection.as_ref())
        }
        None => (target(&update.table.relation).into_iter().collect(), true),
    }
}

/// As of an UPDATE: the page of DELETE has joins by equality only.
pub(super) fn of_delete(delete: &Delete) -> (Vec<String>, bool) {
    let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
    match (from.as_slice(), &delete.using) {
        ([table], Some(using)) => of(&table.relation, using, delete.selection.as_ref()),
        _ => (names(from), true),
    }
}

fn of(relation: &TableFactor, others: &[TableWithJoins], condition: Option<&Expr>) -> (Vec<String>, bool) {
    let Some(target) = target(relation) else { return (Vec::new(), true) };
    let is_joined = condition.is_some_and(|condition| joins(condition, &target));
    (std::iter::once(target).chain(names(others)).collect(), is_joined)
}

fn target(relation: &TableFactor) -> Option<String> {
    match relation {
        TableFactor::Table { name, alias, .. } => table(name, alias.as_ref()),
        _ => None,
    }
}

/// Whether one of the conditions that all must hold is such an equality.
fn joins(condition: &Expr, target: &str) -> bool {
    let mut parts = vec![condition];
    while let Some(part) = parts.pop() {
        match part {
            Expr::Nested(inner) => parts.push(inner),
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => parts.extend([left.as_ref(), right]),
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
                let (left, right) = (Side::of(left, target), Side::of(right, target));
                if left.of_target && right.of_others || left.of_others && right.of_target {
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}

/// The tables whose columns one side of an equality has; a column without its table may be of either.
struct Side<'a> {
    target: &'a str,
    of_target: bool,
    of_others: bool,
}

impl Side<'_> {
    fn of<'a>(expr: &Expr, target: &'a str) -> Side<'a> {
        let mut side = Side { target, of_target: false, of_others: false };
        let ControlFlow::Continue(()) = expr.visit(&mut side);
        side
    }
}

impl Visitor for Side<'_> {
    type Break = std::convert::Infallible;

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        match expr {
            Expr::Identifier(_) => (self.of_target, self.of_others) = (true, true),
            Expr::CompoundIdentifier(parts) => {
                let is_target = qualifier(parts).is_some_and(|of| of == self.target);
                self.of_target |= is_target;
                self.of_others |= !is_target;
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
