//! CREATE, ALTER, DROP and COMMENT, with our notes about the length of texts and about columns that stay as they are.

use duckdb::params;

use super::{Session, TextLimit};
use crate::dialect::{CATALOG, Column, Comment, Commented, CreateTable, Plan, Shape, TableName, Type, literal, quoted};
use crate::error::SqlError;

impl Session {
    pub(super) fn define(&mut self, plan: Plan) -> Result<(), SqlError> {
        match plan {
            Plan::CreateSchema { name, if_not_exists } => {
                let condition = if if_not_exists { "IF NOT EXISTS " } else { "" };
                self.execute(&format!("CREATE SCHEMA {condition}{}", quoted(&name)))
            }
            Plan::CreateTable(create) => self.create(create),
            Plan::CreateExternalSchema { name, database, if_not_exists } => {
                self.create_external_schema(&name, &database, if_not_exists)
            }
            Plan::CreateExternal(create) => self.create_external(&create),
            Plan::AddPartitions { table, if_not_exists, partitions } => {
                self.add_partitions(&table, if_not_exists, &partitions)
            }
            Plan::CreateView { name, replace, sql } => {
                let replace = if replace { "OR REPLACE " } else { "" };
                self.execute(&format!("CREATE {replace}VIEW {name} {sql}"))
            }
            Plan::AddColumn { table, column } => {
                self.execute(&format!("ALTER TABLE {table} ADD COLUMN {}", definition(&column)))?;
                self.pin(&table, std::slice::from_ref(&column))?;
                self.note(&table, &limits(&[column]))
            }
            Plan::DropColumn { table, column } => {
                if let Some(key @ ("distkey" | "sortkey")) = self.pinned(&table, &column)?.as_deref() {
                    return Err(SqlError(format!("cannot drop {key} column \"{column}\"")));
                }
                self.execute(&format!("ALTER TABLE {table} DROP COLUMN {}", quoted(&column)))?;
                self.forget(&table, Some(&column))
            }
            Plan::AlterType { table, column, to } => self.widen(&table, &column, &to),
            Plan::RenameTable { table, to } => self.rename(&table, &to),
            Plan::DropTables { names, if_exists } => {
                for table in &names {
                    if self.drop_external(table)? {
                        continue;
                    }
                    self.drop_one("TABLE", table, if_exists)?;
                    self.forget(table, None)?;
                }
                Ok(())
            }
            Plan::DropViews { names, if_exists } => {
                names.iter().try_for_each(|view| self.drop_one("VIEW", view, if_exists))
            }
            Plan::DropSchema { name, if_exists } => {
                let condition = if if_exists { "IF EXISTS " } else { "" };
                self.execute(&format!("DROP SCHEMA {condition}{}", quoted(&name)))?;
                self.forget_external_schema(&name)
            }
            Plan::Truncate(table) => self.execute(&format!("DELETE FROM {table}")),
            Plan::Comment(Comment { on, text }) => {
                let text = text.map_or("NULL".to_owned(), |text| literal(&text));
                let on = match on {
                    Commented::Table(table) => format!("TABLE {table}"),
                    Commented::View(view) => format!("VIEW {view}"),
                    Commented::Column(table, column) => format!("COLUMN {table}.{}", quoted(&column)),
                };
                self.execute(&format!("COMMENT ON {on} IS {text}"))
            }
            // `run` has taken them.
            Plan::Query(_)
            | Plan::Lock(_)
            | Plan::Insert(_)
            | Plan::Update(_)
            | Plan::Delete(_)
            | Plan::Merge(_)
            | Plan::Copy(_)
            | Plan::Nothing { .. } => Ok(()),
        }
    }

    pub(super) fn execute(&self, sql: &str) -> Result<(), SqlError> {
        Ok(self.connection.execute_batch(sql)?)
    }

    fn create(&mut self, create: CreateTable) -> Result<(), SqlError> {
        let CreateTable { name, temporary, if_not_exists, shape } = create;
        if if_not_exists && self.exists(&name)? {
            return Ok(());
        }
        if let Some(schema) = name.schema.as_deref().filter(|_| !temporary)
            && self.is_external(schema)?
        {
            return Err(SqlError(format!("cannot create a local table in the external schema \"{schema}\"")));
        }
        let mut pinned = Vec::new();
        let (body, texts) = match shape {
            Shape::Columns(columns) => {
                let definitions: Vec<String> = columns.iter().map(definition).collect();
                let texts = limits(&columns);
                pinned = columns;
                (format!("({})", definitions.join(", ")), texts)
            }
            Shape::Like(other) => {
                let columns = self.columns(&other)?.into_iter().map(|column| {
                    let not_null = if column.not_null { " NOT NULL" } else { "" };
                    format!("{} {}{not_null}", quoted(&column.name), column.duck)
                });
                (format!("({})", columns.collect::<Vec<_>>().join(", ")), self.limits(&other)?)
            }
            Shape::Query(query) => (format!("AS {query}"), Vec::new()),
        };
        if temporary {
            self.execute(&format!("CREATE TEMP TABLE {name} {body}"))?;
            self.temporary.insert(name.name, texts);
            return Ok(());
        }
        self.execute(&format!("CREATE TABLE {name} {body}"))?;
        self.pin(&name, &pinned)?;
        self.note(&name, &texts)
    }

    fn drop_one(&mut self, what: &str, name: &TableName, if_exists: bool) -> Result<(), SqlError> {
        let condition = if if_exists { "IF EXISTS " } else { "" };
        self.execute(&format!("DROP {what} {condition}{name}"))
    }

    /// Only a length can change, and only to a larger one: no row has to be looked at.
    fn widen(&mut self, table: &TableName, column: &str, to: &Type) -> Result<(), SqlError> {
        let known = self.limits(table)?.into_iter().find(|limit| limit.column == column);
        let (Some(limit), Some(n_bytes_max)) = (known, to.n_bytes_max) else {
            return Err(SqlError(format!("column \"{column}\" of relation \"{}\" is no VARCHAR", table.shown())));
        };
        if limit.type_name != to.name || n_bytes_max < limit.n_bytes_max {
            return Err(SqlError(format!("cannot alter \"{column}\" to a shorter or another type")));
        }
        match self.pinned(table, column)?.as_deref() {
            None => {}
            // What its documentation says of these, and what it has been seen to say of those.
            Some("constraint") => {
                let why = "ALTER COLUMN TYPE is not supported for columns with UNIQUE, PRIMARY KEY or FOREIGN KEY";
                return Err(SqlError(format!("{why}: column \"{column}\" of relation \"{}\"", table.shown())));
            }
            Some("default") => {
                let why = "ALTER COLUMN TYPE is not supported for columns with default values";
                return Err(SqlError(format!("{why}: column \"{column}\" of relation \"{}\"", table.shown())));
            }
            Some(_) => return Err(SqlError::new("found unexpected dependency for column")),
        }
        // The note about what pins it is not there, or we would not be here.
        self.forget(table, Some(column))?;
        self.note(table, &[TextLimit { n_bytes_max, ..limit }])
    }

    fn rename(&mut self, table: &TableName, to: &str) -> Result<(), SqlError> {
        if table.schema.is_none() && self.temporary.contains_key(&table.name) {
            return Err(SqlError::unsupported("renaming a temporary table"));
        }
        self.execute(&format!("ALTER TABLE {table} RENAME TO {}", quoted(to)))?;
        for notes in ["texts", "pinned"] {
            let sql = format!("UPDATE {CATALOG}.{notes} SET table_name = ? WHERE (schema_name, table_name) = (?, ?)");
            self.connection.execute(&sql, params![to, table.schema_or_default(), table.name])?;
        }
        Ok(())
    }

    /// Notes the columns that stay as they are. Temporary tables live too short to be altered.
    fn pin(&self, table: &TableName, columns: &[Column]) -> Result<(), SqlError> {
        let sql = format!("INSERT INTO {CATALOG}.pinned VALUES (?, ?, ?, ?)");
        for column in columns {
            if let Some(pin) = column.pinned {
                let row = params![table.schema_or_default(), table.name, column.name, pin.as_str()];
                self.connection.execute(&sql, row)?;
            }
        }
        Ok(())
    }

    /// What keeps a column as it is.
    fn pinned(&self, table: &TableName, column: &str) -> Result<Option<String>, SqlError> {
        let sql = format!(
            "SELECT why FROM {CATALOG}.pinned WHERE (schema_name, table_name, column_name) = (?, ?, ?) LIMIT 1"
        );
        let mut statement = self.connection.prepare(&sql)?;
        let mut rows = statement.query(params![table.schema_or_default(), table.name, column])?;
        Ok(rows.next()?.map(|row| row.get(0)).transpose()?)
    }

    fn note(&mut self, table: &TableName, texts: &[TextLimit]) -> Result<(), SqlError> {
        if let Some(known) = self.temporary_limits(table) {
            known.extend(texts.iter().cloned());
            return Ok(());
        }
        let sql = format!("INSERT INTO {CATALOG}.texts VALUES (?, ?, ?, ?, ?)");
        for TextLimit { column, type_name, n_bytes_max } in texts {
            let row = params![table.schema_or_default(), table.name, column, type_name, n_bytes_max];
            self.connection.execute(&sql, row)?;
        }
        Ok(())
    }

    /// The notes about one column, or about all.
    fn forget(&mut self, table: &TableName, column: Option<&str>) -> Result<(), SqlError> {
        if let Some(known) = self.temporary_limits(table) {
            match column {
                Some(column) => known.retain(|limit| limit.column != column),
                None => drop(self.temporary.remove(&table.name)),
            }
            return Ok(());
        }
        for notes in ["texts", "pinned"] {
            let sql = format!(
                "DELETE FROM {CATALOG}.{notes} WHERE (schema_name, table_name) = (?, ?) AND column_name = coalesce(?, column_name)"
            );
            self.connection.execute(&sql, params![table.schema_or_default(), table.name, column])?;
        }
        Ok(())
    }

    fn temporary_limits(&mut self, table: &TableName) -> Option<&mut Vec<TextLimit>> {
        if table.schema.is_some() { None } else { self.temporary.get_mut(&table.name) }
    }
}

fn definition(column: &Column) -> String {
    let default = column.default.as_ref().map_or(String::new(), |default| format!(" DEFAULT {default}"));
    let not_null = if column.not_null { " NOT NULL" } else { "" };
    format!("{} {}{default}{not_null}", quoted(&column.name), column.ty.duck)
}

fn limits(columns: &[Column]) -> Vec<TextLimit> {
    let limit = |column: &Column| {
        let n_bytes_max = column.ty.n_bytes_max?;
        Some(TextLimit { column: column.name.clone(), type_name: column.ty.name.to_owned(), n_bytes_max })
    };
    columns.iter().filter_map(limit).collect()
}
