//! INSERT, UPDATE and MERGE: what Redshift checks and DuckDB does not.

use super::{Outcome, Session, fitting, list, places};
use crate::dialect::{Insert, Merge, Update, quoted};
use crate::error::SqlError;

impl Session {
    pub(super) fn insert(&mut self, insert: &Insert) -> Result<Outcome, SqlError> {
        let Insert { table, columns, source } = insert;
        let columns = self.chosen(table, columns)?;
        let names = list(columns.iter().map(|column| column.name.as_str()));
        let limits = self.limits(table)?;
        let places = places(columns.len());
        let mut checks = Vec::new();
        for (column, place) in columns.iter().zip(&places) {
            if limits.iter().any(|limit| limit.column == column.name) {
                checks.push(format!("{} AS {place}", fitting(&limits, &column.name, place)));
            }
        }
        let sql = if checks.is_empty() {
            format!("INSERT INTO {table} ({names}) {source}")
        } else {
            // All columns of the source pass, so that one too many is still refused.
            let (checks, places) = (checks.join(", "), places.join(", "));
            format!("INSERT INTO {table} ({names}) SELECT * REPLACE ({checks}) FROM ({source}) AS source({places})")
        };
        self.change(&sql)
    }

    pub(super) fn update(&mut self, update: &Update) -> Result<Outcome, SqlError> {
        let limits = self.limits(&update.table)?;
        let set =
            |(column, value): &(String, String)| format!("{} = {}", quoted(column), fitting(&limits, column, value));
        let set: Vec<String> = update.assignments.iter().map(set).collect();
        self.change(&format!("UPDATE {} SET {}{}", update.target, set.join(", "), update.rest))
    }

    pub(super) fn merge(&mut self, merge: &Merge) -> Result<Outcome, SqlError> {
        let Merge { table, alias, target, source, on, .. } = merge;
        let twice = format!(
            "SELECT count(*) FROM (SELECT {alias}.rowid FROM {target} JOIN {source} ON {on} GROUP BY 1 HAVING count(*) > 1)"
        );
        let n_twice: i64 = self.connection.query_row(&twice, [], |row| row.get(0))?;
        if n_twice > 0 {
            return Err(SqlError::new("Found multiple matches to update the same tuple"));
        }
        let limits = self.limits(table)?;
        let columns = self.chosen(table, &merge.columns)?;
        if columns.len() != merge.values.len() {
            return Err(SqlError::new("INSERT in MERGE has not as many values as columns"));
        }
        let names = list(columns.iter().map(|column| column.name.as_str()));
        let fit = |(column, value): (&super::StoredColumn, &String)| fitting(&limits, &column.name, value);
        let values: Vec<String> = columns.iter().zip(&merge.values).map(fit).collect();
        let matched = match &merge.updates {
            None => "DELETE".to_owned(),
            Some(updates) => {
                let set = updates
                    .iter()
                    .map(|(column, value)| format!("{} = {}", quoted(column), fitting(&limits, column, value)));
                format!("UPDATE SET {}", set.collect::<Vec<_>>().join(", "))
            }
        };
        let values = values.join(", ");
        self.change(&format!(
            "MERGE INTO {target} USING {source} ON ({on}) WHEN MATCHED THEN {matched} \
             WHEN NOT MATCHED THEN INSERT ({names}) VALUES ({values})"
        ))
    }
}
