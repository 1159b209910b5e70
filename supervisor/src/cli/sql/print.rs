//! Rows as a table, as comma-separated values, or as JSON.

use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use actors::ports::warehouse::ResultPage;
use actors::warehouse::Cell;
use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Map, Value, json};

use crate::exit::CliError;
use crate::inert::{inert, inert_json, is_obeyed};

/// Rows that a table holds, since its columns are as wide as the widest; the others are counted.
const TABLE_ROWS_MAX: usize = 1_000;

/// How rows are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PrintFormat {
    Table,
    Csv,
    Json,
}

/// Prints one result.
pub(super) struct Printer {
    form: PrintFormat,
    /// A terminal obeys some characters; a file has to have them as they are.
    terminal: bool,
    table: Option<Table>,
    n_rows: usize,
    began: bool,
}

impl Printer {
    pub(super) fn new(form: PrintFormat) -> Self {
        Self { form, terminal: std::io::stdout().is_terminal(), table: None, n_rows: 0, began: false }
    }

    pub(super) fn page(&mut self, page: &ResultPage) -> Result<(), CliError> {
        write(&self.text(page))
    }

    fn text(&mut self, page: &ResultPage) -> String {
        let mut text = String::new();
        let terminal = self.terminal;
        if !self.began {
            self.began = true;
            match self.form {
                PrintFormat::Table => self.table = Some(header(page)),
                PrintFormat::Csv => {
                    let names = page.columns.iter().map(|column| field(&unobeyed(&column.name, terminal)));
                    text.push_str(&line(names.collect()));
                }
                PrintFormat::Json => {}
            }
        }
        for row in &page.rows {
            self.n_rows += 1;
            match (self.form, &mut self.table) {
                (PrintFormat::Table, Some(table)) if self.n_rows <= TABLE_ROWS_MAX => {
                    table.add_row(row.iter().map(|cell| printable(&shown(cell))));
                }
                (PrintFormat::Table, _) => {}
                (PrintFormat::Csv, _) => {
                    let cells = row.iter().map(|cell| {
                        if *cell == Cell::Null { String::new() } else { field(&unobeyed(&shown(cell), terminal)) }
                    });
                    text.push_str(&line(cells.collect()));
                }
                (PrintFormat::Json, _) => {
                    let named = page.columns.iter().zip(row).map(|(column, cell)| (column.name.clone(), value(cell)));
                    let row = Value::Object(named.collect::<Map<_, _>>()).to_string();
                    // The same value, whoever reads it.
                    text.push_str(&format!("{}\n", inert_json(&row)));
                }
            }
        }
        text
    }

    pub(super) fn end(self, took: Duration) -> Result<(), CliError> {
        let Some(table) = self.table else { return Ok(()) };
        write(&format!("{table}\n"))?;
        if self.n_rows > TABLE_ROWS_MAX {
            eprintln!("the first {TABLE_ROWS_MAX} are shown: use LIMIT, --csv or --json");
        }
        eprintln!("{} rows, {:.3} s", self.n_rows, took.as_secs_f64());
        Ok(())
    }
}

fn header(page: &ResultPage) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY).set_header(page.columns.iter().map(|column| printable(&column.name)));
    for (at, column) in page.columns.iter().enumerate() {
        let number = ["int", "float", "numeric"].iter().any(|kind| column.type_name.starts_with(kind));
        if let Some(column) = table.column_mut(at).filter(|_| number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn write(text: &str) -> Result<(), CliError> {
    // `mangrove sql ... | head` ends the pipe, which is no failure.
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(CliError::environment(format!("stdout: {error}")))
        }
        _ => Ok(()),
    }
}

pub(super) fn shown(cell: &Cell) -> String {
    match cell {
        Cell::Null => "null".to_owned(),
        Cell::Boolean(value) => value.to_string(),
        Cell::Integer(value) => value.to_string(),
        Cell::Float(value) => value.to_string(),
        Cell::Text(text) => text.clone(),
        Cell::Bytes(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

/// A terminal obeys some characters, and what is in a table came from sensors.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if is_obeyed(c) { '\u{fffd}' } else { c }).collect()
}

/// A text of comma-separated values: for a terminal, without what it would obey.
fn unobeyed(text: &str, terminal: bool) -> Cow<'_, str> {
    if terminal { inert(text) } else { Cow::Borrowed(text) }
}

fn value(cell: &Cell) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Boolean(value) => json!(value),
        Cell::Integer(value) => json!(value),
        Cell::Float(value) => json!(value),
        Cell::Text(_) | Cell::Bytes(_) => json!(shown(cell)),
    }
}

/// A field as RFC 4180 writes it. An empty text has quotes, since a field without is no value.
pub(super) fn field(text: &str) -> String {
    if text.is_empty() || text.contains([',', '"', '\n', '\r']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text.to_owned()
}

fn line(fields: Vec<String>) -> String {
    fields.join(",") + "\r\n"
}

#[cfg(test)]
mod tests {
    use actors::ports::warehouse::ResultColumn;

    use super::*;

    const HOSTILE: &str = "\u{1b}]0;pwned\u{7}\u{202e}gpj\u{9b}31m\r\nx";

    fn printed(form: PrintFormat, terminal: bool) -> String {
        let column = ResultColumn { name: format!("c{HOSTILE}"), type_name: "varchar".to_owned() };
        let page =
            ResultPage { columns: vec![column], rows: vec![vec![Cell::Text(HOSTILE.to_owned())]], rows_total: 1 };
        let mut printer = Printer { terminal, ..Printer::new(form) };
        let text = printer.text(&page);
        printer.table.map_or(text, |table| table.to_string())
    }

    #[test]
    fn no_form_commands_a_terminal_and_files_get_values_as_they_are() {
        for form in [PrintFormat::Table, PrintFormat::Csv, PrintFormat::Json] {
            for line in printed(form, true).split(['\n', '\r']) {
                assert!(!line.contains(is_obeyed), "{form:?}: {line:?}");
            }
        }
        assert!(printed(PrintFormat::Csv, false).ends_with(&format!("\"{HOSTILE}\"\r\n")));
        let row: Value = serde_json::from_str(&printed(PrintFormat::Json, false)).unwrap();
        assert_eq!(row[format!("c{HOSTILE}")], HOSTILE);
    }
}
