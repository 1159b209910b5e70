//! SELECT, INSERT, UPDATE, DELETE and MERGE.

use sqlparser::ast::{
    Assignment, AssignmentTarget, Delete, FromTable, Insert as InsertTree, Merge as MergeTree, MergeAction,
    MergeClauseKind, MergeInsertKind, MergeUpdateKind, Query, TableFactor, TableObject, TableWithJoins,
    Update as UpdateTree, UpdateTableFromKind,
};

use super::judge::{rewritten, rewritten_source};
use super::names::{self, TableName, quoted};
use super::plan::{Insert, Merge, Plan, Update};
use crate::error::SqlError;

pub(super) fn query(mut query: Box<Query>) -> Result<Plan, SqlError> {
    rewritten(query.as_mut()).map(Plan::Query)
}

pub(super) fn insert(insert: InsertTree) -> Result<Plan, SqlError> {
    let plain = insert.optimizer_hints.is_empty()
        && insert.or.is_none()
        && !insert.ignore
        && insert.into
        && !insert.overwrite
        && insert.table_alias.is_none()
        && insert.assignments.is_empty()
        && insert.partitioned.is_none()
        && insert.after_columns.is_empty()
        && !insert.has_table_keyword
        && insert.on.is_none()
        && insert.returning.is_none()
        && insert.output.is_none()
        && !insert.replace_into
        && insert.priority.is_none()
        && insert.insert_alias.is_none()
        && insert.settings.is_none()
        && insert.format_clause.is_none()
        && insert.multi_table_insert_type.is_none();
    let (TableObject::TableName(name), Some(mut source), true) = (&insert.table, insert.source, plain) else {
        return Err(SqlError::unsupported("This form of INSERT"));
    };
    let columns = insert.columns.iter().map(names::column).collect::<Result<_, _>>()?;
    Ok(Plan::Insert(Insert { table: TableName::of(name)?, columns, source: rewritten_source(&mut source)? }))
}

pub(super) fn update(mut update: UpdateTree) -> Result<Plan, SqlError> {
    let plain = update.optimizer_hints.is_empty()
        && update.table.joins.is_empty()
        && update.returning.is_none()
        && update.output.is_none()
        && update.or.is_none()
        && update.order_by.is_empty()
        && update.limit.is_none();
    if !plain {
        return Err(SqlError::unsupported("This form of UPDATE"));
    }
    let table = table_of(&update.table.relation)?;
    let target = rewritten(&mut update.table)?;
    let assignments = assignments(&mut update.assignments)?;
    let mut rest = String::new();
    match &mut update.from {
        None => {}
        Some(UpdateTableFromKind::AfterSet(from)) => rest.push_str(&format!(" FROM {}", tables(from)?)),
        Some(UpdateTableFromKind::BeforeSet(_)) => return Err(SqlError::unsupported("FROM before SET")),
    }
    if let Some(condition) = &mut update.selection {
        rest.push_str(&format!(" WHERE {}", rewritten(condition)?));
    }
    Ok(Plan::Update(Update { table, target, assignments, rest }))
}

pub(super) fn delete(mut delete: Delete) -> Result<Plan, SqlError> {
    let plain = delete.optimizer_hints.is_empty()
        && delete.tables.is_empty()
        && delete.returning.is_none()
        && delete.output.is_none()
        && delete.order_by.is_empty()
        && delete.limit.is_none();
    let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &mut delete.from;
    let [table] = from.as_mut_slice() else { return Err(SqlError::unsupported("DELETE from several tables")) };
    if !plain || !table.joins.is_empty() {
        return Err(SqlError::unsupported("This form of DELETE"));
    }
    table_of(&table.relation)?;
    let mut sql = format!("DELETE FROM {}", rewritten(table)?);
    if let Some(using) = &mut delete.using {
        sql.push_str(&format!(" USING {}", tables(using)?));
    }
    if let Some(condition) = &mut delete.selection {
        sql.push_str(&format!(" WHERE {}", rewritten(condition)?));
    }
    Ok(Plan::Delete(sql))
}

/// Redshift's MERGE has exactly one clause for rows that match and one for rows that do not.
pub(super) fn merge(mut merge: MergeTree) -> Result<Plan, SqlError> {
    let table = table_of(&merge.table)?;
    let alias = match &merge.table {
        TableFactor::Table { alias: Some(alias), .. } => names::checked(&alias.name)?,
        _ => table.name.clone(),
    };
    let [matched, unmatched] = merge.clauses.as_mut_slice() else {
        return Err(SqlError::new("MERGE needs WHEN MATCHED and WHEN NOT MATCHED, once each"));
    };
    let plain = merge.into
        && merge.optimizer_hints.is_empty()
        && merge.output.is_none()
        && matched.clause_kind == MergeClauseKind::Matched
        && unmatched.clause_kind == MergeClauseKind::NotMatched
        && matched.predicate.is_none()
        && unmatched.predicate.is_none();
    if !plain {
        return Err(SqlError::unsupported("This form of MERGE"));
    }
    let updates = match &mut matched.action {
        MergeAction::Delete { .. } => None,
        MergeAction::Update(update) if update.update_predicate.is_none() && update.delete_predicate.is_none() => {
            match &mut update.kind {
                MergeUpdateKind::Set(set) => Some(assignments(set)?),
                _ => return Err(SqlError::unsupported("This form of UPDATE in MERGE")),
            }
        }
        _ => return Err(SqlError::unsupported("This action in WHEN MATCHED")),
    };
    let MergeAction::Insert(insert) = &mut unmatched.action else {
        return Err(SqlError::unsupported("an action other than INSERT in WHEN NOT MATCHED"));
    };
    let MergeInsertKind::Values(values) = &mut insert.kind else {
        return Err(SqlError::unsupported("INSERT without VALUES in MERGE"));
    };
    let [row] = values.rows.as_mut_slice() else {
        return Err(SqlError::unsupported("INSERT of several rows in MERGE"));
    };
    if insert.insert_predicate.is_some() {
        return Err(SqlError::unsupported("a condition of INSERT in MERGE"));
    }
    let mut inserted = Vec::new();
    for value in row.content.iter_mut() {
        inserted.push(rewritten(value)?);
    }
    Ok(Plan::Merge(Merge {
        table,
        alias: quoted(&alias),
        columns: insert.columns.iter().map(names::column).collect::<Result<_, _>>()?,
        values: inserted,
        updates,
        target: rewritten(&mut merge.table)?,
        source: rewritten(&mut merge.source)?,
        on: rewritten(merge.on.as_mut())?,
    }))
}

/// The table that is changed.
fn table_of(factor: &TableFactor) -> Result<TableName, SqlError> {
    match factor {
        TableFactor::Table { name, .. } => TableName::of(name),
        _ => Err(SqlError::unsupported("changing anything but a table")),
    }
}

fn tables(from: &mut [TableWithJoins]) -> Result<String, SqlError> {
    let mut parts = Vec::new();
    for table in from {
        if let std::ops::ControlFlow::Break(error) = super::judge::joins(&table.joins) {
            return Err(error);
        }
        parts.push(rewritten(table)?);
    }
    Ok(parts.join(", "))
}

fn assignments(set: &mut [Assignment]) -> Result<Vec<(String, String)>, SqlError> {
    let mut assignments = Vec::new();
    for Assignment { target, value } in set {
        let AssignmentTarget::ColumnName(column) = target else {
            return Err(SqlError::unsupported("SET of several columns at once"));
        };
        assignments.push((names::column(column)?, rewritten(value)?));
    }
    Ok(assignments)
}
