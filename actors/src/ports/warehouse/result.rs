//! The result of a statement: typed cells, read page by page.

use aws_sdk_redshiftdata::Client;
use aws_sdk_redshiftdata::types::{ColumnMetadata, Field};

use super::super::aws::classify;
use super::{WarehouseError, WarehouseFailure};
use crate::warehouse::Cell;

impl From<Field> for Cell {
    fn from(field: Field) -> Self {
        match field {
            Field::BooleanValue(b) => Self::Boolean(b),
            Field::LongValue(n) => Self::Integer(n),
            Field::DoubleValue(x) => Self::Float(x),
            Field::StringValue(text) => Self::Text(text),
            Field::BlobValue(bytes) => Self::Bytes(bytes.into_inner()),
            // What a newer service may send is no value that this build knows.
            _ => Self::Null,
        }
    }
}

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultColumn {
    /// Its name, or its alias.
    pub name: String,
    /// The warehouse's own name of its type, such as `int4` or `varchar`.
    pub type_name: String,
}

/// A part of a result.
#[derive(Clone, Debug, Default)]
pub struct ResultPage {
    /// The columns; the same on every page.
    pub columns: Vec<ResultColumn>,
    /// The rows, a cell for each column.
    pub rows: Vec<Vec<Cell>>,
    /// Rows of the whole result.
    pub rows_total: u64,
}

/// Reads a result. Holds one page at a time.
#[derive(Debug)]
pub struct Pages {
    client: Client,
    id: String,
    next: NextPart,
}

#[derive(Debug)]
enum NextPart {
    First,
    Token(String),
    End,
}

impl Pages {
    pub(super) fn new(client: Client, id: &str) -> Self {
        Self { client, id: id.to_owned(), next: NextPart::First }
    }

    /// The next page; none after the last. After an error the same page may be asked for again.
    pub async fn next(&mut self) -> Result<Option<ResultPage>, WarehouseError> {
        let token = match &self.next {
            NextPart::First => None,
            NextPart::Token(token) => Some(token.clone()),
            NextPart::End => return Ok(None),
        };
        let answer = self.client.get_statement_result().id(&self.id).set_next_token(token).send().await;
        let action = format!("read the result of statement {}", self.id);
        let answer = answer.map_err(|e| WarehouseError::of_call(classify(action, e)))?;
        self.next = match answer.next_token.filter(|token| !token.is_empty()) {
            Some(token) => NextPart::Token(token),
            None => NextPart::End,
        };
        let rows = answer.records.into_iter().map(|row| row.into_iter().map(Cell::from).collect()).collect();
        let columns = answer.column_metadata.unwrap_or_default().into_iter().map(column).collect();
        Ok(Some(ResultPage { columns, rows, rows_total: u64::try_from(answer.total_num_rows).unwrap_or(0) }))
    }

    /// All rows that are left, which must not be more than `rows_max`.
    pub async fn all(mut self, rows_max: usize) -> Result<Vec<Vec<Cell>>, WarehouseError> {
        let mut rows = Vec::new();
        while let Some(page) = self.next().await? {
            rows.extend(page.rows);
            if rows.len() > rows_max {
                let action = format!("read the result of statement {}", self.id);
                let message = format!("more than {rows_max} rows");
                return Err(WarehouseError::new(action, WarehouseFailure::Refused, message));
            }
        }
        Ok(rows)
    }
}

fn column(column: ColumnMetadata) -> ResultColumn {
    let name = column.label.filter(|label| !label.is_empty()).or(column.name);
    ResultColumn { name: name.unwrap_or_default(), type_name: column.type_name.unwrap_or_default() }
}
