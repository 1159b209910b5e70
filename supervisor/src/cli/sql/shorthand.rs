//! `\d`: which tables there are; `\d name`: which columns a table has.
//!
//! **Promises** nothing of what is typed gets into a statement but letters, digits and `_`.

use crate::exit::CliError;

const TABLES: &str = "SELECT table_schema, table_name, table_type FROM information_schema.tables \
                      WHERE table_schema NOT IN ('information_schema', 'pg_catalog', 'pg_internal') ORDER BY 1, 2";

/// Whether a line is one, and so needs no semicolon.
pub(super) fn is_one(line: &str) -> bool {
    line.trim_start().starts_with('\\')
}

/// The statement that it stands for; a statement stands for itself.
pub(super) fn statement(text: &str) -> Result<String, CliError> {
    if !is_one(text) {
        return Ok(text.to_owned());
    }
    let unknown = || CliError::configuration("write \\d for all tables, \\d table or \\d schema.table for its columns");
    let mut words = text.trim().trim_end_matches(';').split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some("\\d" | "\\dt"), None, None) => Ok(TABLES.to_owned()),
        (Some("\\d"), Some(name), None) => columns(name).ok_or_else(unknown),
        _ => Err(unknown()),
    }
}

fn columns(name: &str) -> Option<String> {
    let plain =
        |name: &str| (1..=127).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let (schema, table) = name.split_once('.').map_or((None, name), |(schema, table)| (Some(schema), table));
    if !plain(table) || schema.is_some_and(|schema| !plain(schema)) {
        return None;
    }
    let of = schema.map(|schema| format!(" AND table_schema = '{}'", schema.to_lowercase())).unwrap_or_default();
    Some(format!(
        "SELECT table_schema, column_name, data_type, character_maximum_length AS bytes, is_nullable \
         FROM information_schema.columns WHERE table_name = '{}'{of} ORDER BY table_schema, ordinal_position",
        table.to_lowercase()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shorthand_is_a_statement_and_a_statement_is_itself() {
        assert_eq!(statement("SELECT 1").unwrap(), "SELECT 1");
        assert_eq!(statement(" \\d;").unwrap(), TABLES);
        let columns = statement("\\d mangrove.Load_Ledger").unwrap();
        assert!(columns.contains("table_name = 'load_ledger' AND table_schema = 'mangrove'"), "{columns}");
        for bad in ["\\q", "\\d a b", "\\d a'b", "\\d .", "\\d a.", "\\d a.b.c"] {
            assert!(statement(bad).is_err(), "{bad}");
        }
    }
}
