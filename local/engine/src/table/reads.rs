//! Rows, queries, scans, and batches of rows.

use serde_json::{Map, Value, json};

use super::expression::Definitions;
use super::keys::{Key, Schema};
use super::path::project;
use super::value::{Item, item, item_bytes};
use super::{Asking, Index, Table, Tables};
use crate::Refusal;

const BATCH_MAX: usize = 100;
const PAGE_BYTES_MAX: usize = 1024 * 1024;
const READ_UNIT_BYTES: usize = 4 * 1024;

impl Tables {
    pub(super) fn on_get(&self, asking: Asking<'_>, request: &Map<String, Value>) -> Result<Value, Refusal> {
        let table = self.table(asking, request)?;
        let row = table.row(request)?;
        let mut answer = row.as_ref().map_or_else(|| json!({}), |row| json!({ "Item": row }));
        note_capacity(&mut answer, request, &table.name, row.iter());
        Ok(answer)
    }

    pub(super) fn on_batch_get(&self, asking: Asking<'_>, request: &Map<String, Value>) -> Result<Value, Refusal> {
        let asked = request.get("RequestItems").and_then(Value::as_object).into_iter().flatten();
        let (mut responses, mut consumed, mut n_keys) = (Map::new(), Vec::new(), 0);
        for (name, of_table) in asked {
            let table = self.table(asking, &Map::from_iter([("TableName".to_owned(), name.clone().into())]))?;
            let keys = of_table["Keys"].as_array().map(Vec::as_slice).unwrap_or_default();
            let keys = keys.iter().map(|key| table.schema().key_alone(&item(key)?)).collect::<Result<Vec<_>, _>>()?;
            if keys.len() <= BATCH_MAX && (1..keys.len()).any(|n| keys[..n].contains(&keys[n])) {
                return Err(Refusal::validation("Provided list of item keys contains duplicates"));
            }
            n_keys += keys.len();
            let rows: Vec<&Item> = keys.iter().filter_map(|key| table.rows.get(key)).collect();
            // A row that is not there is paid for, too.
            let units = rows.iter().map(|row| read_units(item_bytes(row), of_table)).sum::<f64>()
                + (keys.len() - rows.len()) as f64 * read_units(1, of_table);
            consumed.push(json!({ "TableName": name, "CapacityUnits": units }));
            responses.insert(name.clone(), json!(rows));
        }
        if n_keys == 0 || n_keys > BATCH_MAX {
            return Err(Refusal::validation(format!("BatchGetItem takes 1 to {BATCH_MAX} items, not {n_keys}")));
        }
        let mut answer = json!({ "Responses": responses, "UnprocessedKeys": {} });
        if wants_capacity(request) {
            answer["ConsumedCapacity"] = consumed.into();
        }
        Ok(answer)
    }

    pub(super) fn on_transact_get(&self, asking: Asking<'_>, request: &Map<String, Value>) -> Result<Value, Refusal> {
        let asked = request.get("TransactItems").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if asked.is_empty() || asked.len() > BATCH_MAX {
            let message = format!("TransactGetItems takes 1 to {BATCH_MAX} items, not {}", asked.len());
            return Err(Refusal::validation(message));
        }
        let mut responses = Vec::with_capacity(asked.len());
        for get in asked {
            let get = get["Get"].as_object().ok_or_else(|| Refusal::validation("a TransactItem needs Get"))?;
            let row = self.table(asking, get)?.row(get)?;
            responses.push(row.map_or_else(|| json!({}), |row| json!({ "Item": row })));
        }
        Ok(json!({ "Responses": responses }))
    }

    /// Query and Scan. All rows are in the first segment of a scan.
    pub(super) fn on_list(
        &self,
        asking: Asking<'_>,
        operation: &str,
        request: &Map<String, Value>,
    ) -> Result<Value, Refusal> {
        let table = self.table(asking, request)?;
        let is_last = first_segment_is_asked(request)?;
        let index = table.index(request)?;
        let definitions = Definitions::of(request);
        let asked = definitions.condition("KeyConditionExpression")?;
        let filter = definitions.condition("FilterExpression")?;
        let projection = definitions.projection()?;
        definitions.all_used()?;
        let counts = counts(request, projection.is_some())?;
        match &asked {
            Some(asked) => table.listed(index).judge(asked)?,
            None if operation == "Query" => {
                let message = "Either the KeyConditions or KeyConditionExpression parameter must be specified";
                return Err(Refusal::validation(message));
            }
            None => {}
        }
        let mut rows = table.in_order(index);
        rows.retain(|(_, row)| is_last && asked.as_ref().is_none_or(|asked| asked.holds(Some(row))));
        let backwards = request.get("ScanIndexForward") == Some(&Value::Bool(false));
        if backwards {
            rows.reverse();
        }
        if let Some(start) = request.get("ExclusiveStartKey").filter(|start| !start.is_null()) {
            let start = table.place(index, &item(start)?)?;
            rows.retain(|(place, _)| if backwards { *place < start } else { *place > start });
        }
        let (page, more) = cut(&rows, limit(request)?.min(asking.habits.rows_per_page));
        let found = page.iter().filter(|(_, row)| filter.as_ref().is_none_or(|filter| filter.holds(Some(row))));
        let shown = |row: &Item| {
            let row = index.map_or_else(|| row.clone(), |index| table.seen_by(index, row));
            projection.as_ref().map_or_else(|| row.clone(), |paths| project(&row, paths))
        };
        let items: Vec<Item> = found.map(|(_, row)| shown(row)).collect();
        let mut answer = json!({ "Count": items.len(), "ScannedCount": page.len() });
        if !counts {
            answer["Items"] = json!(items);
        }
        if let (true, Some((_, last))) = (more, page.last()) {
            answer["LastEvaluatedKey"] = json!(table.position(index, last));
        }
        note_capacity(&mut answer, request, &table.name, page.iter().map(|(_, row)| *row));
        Ok(answer)
    }
}

/// Where a row is in a list: by the key of the index, then by that of the table.
type Position = (Key, Key);

impl Table {
    /// The row of a request for one, as far as it asks for it.
    fn row(&self, request: &Map<String, Value>) -> Result<Option<Item>, Refusal> {
        let key = self.schema().key_alone(&item(request.get("Key").unwrap_or(&Value::Null))?)?;
        let definitions = Definitions::of(request);
        let projection = definitions.projection()?;
        definitions.all_used()?;
        let shown = |row: &Item| projection.as_ref().map_or_else(|| row.clone(), |paths| project(row, paths));
        Ok(self.rows.get(&key).map(shown))
    }

    fn index(&self, request: &Map<String, Value>) -> Result<Option<&Index>, Refusal> {
        let Some(name) = request.get("IndexName").and_then(Value::as_str) else { return Ok(None) };
        let index = self.indices().find(|index| index.index_name == name);
        let message = || format!("The table does not have the specified index: {name}");
        index.map(Some).ok_or_else(|| Refusal::validation(message()))
    }

    fn listed<'a>(&'a self, index: Option<&'a Index>) -> Schema<'a> {
        index.map_or_else(|| self.schema(), |index| self.schema_of(index))
    }

    fn in_order(&self, index: Option<&Index>) -> Vec<(Position, &Item)> {
        let placed = |row| Some((self.place(index, row).ok()?, row));
        let mut rows: Vec<(Position, &Item)> = self.rows.values().filter_map(placed).collect();
        rows.sort_by(|(a, _), (b, _)| a.cmp(b));
        rows
    }

    fn place(&self, index: Option<&Index>, row: &Item) -> Result<Position, Refusal> {
        Ok((self.listed(index).key(row)?, self.schema().key(row)?))
    }

    /// The keys of a row, for the next page.
    fn position(&self, index: Option<&Index>, row: &Item) -> Item {
        let mut position = self.schema().attributes(row);
        position.extend(self.listed(index).attributes(row));
        position
    }

    /// As much of a row as an index has.
    fn seen_by(&self, index: &Index, row: &Item) -> Item {
        let mut seen = row.clone();
        if index.projection_type != "ALL" {
            let keys = self.position(Some(index), row);
            seen.retain(|name, _| keys.contains_key(name) || index.non_key_attributes.contains(name));
        }
        seen
    }
}

/// As many rows as a page has, and whether there are more.
fn cut<'a, 'r>(rows: &'a [(Position, &'r Item)], n_max: usize) -> (&'a [(Position, &'r Item)], bool) {
    let mut bytes = 0;
    let full = rows.iter().position(|(_, row)| {
        bytes += item_bytes(row);
        bytes > PAGE_BYTES_MAX
    });
    let n = rows.len().min(n_max).min(full.map_or(usize::MAX, |full| full.max(1)));
    (&rows[..n], n < rows.len())
}

fn limit(request: &Map<String, Value>) -> Result<usize, Refusal> {
    match request.get("Limit").filter(|limit| !limit.is_null()) {
        None => Ok(usize::MAX),
        Some(limit) => limit.as_u64().filter(|limit| *limit > 0).map(|limit| limit as usize).ok_or_else(|| {
            Refusal::validation(
                "Value at 'limit' failed to satisfy constraint: Member must be greater than or equal to 1",
            )
        }),
    }
}

fn first_segment_is_asked(request: &Map<String, Value>) -> Result<bool, Refusal> {
    let number = |name: &str| request.get(name).filter(|value| !value.is_null()).map(Value::as_u64);
    match (number("Segment"), number("TotalSegments")) {
        (None, None) => Ok(true),
        (Some(Some(segment)), Some(Some(total))) if segment < total => Ok(segment == 0),
        _ => Err(Refusal::validation("Segment must be less than TotalSegments, and one needs the other")),
    }
}

/// Whether `Select` asks for the count alone; it must agree with the projection.
fn counts(request: &Map<String, Value>, projected: bool) -> Result<bool, Refusal> {
    match (request.get("Select").and_then(Value::as_str), projected) {
        (None | Some("ALL_PROJECTED_ATTRIBUTES"), _)
        | (Some("ALL_ATTRIBUTES"), false)
        | (Some("SPECIFIC_ATTRIBUTES"), true) => Ok(false),
        (Some("COUNT"), false) => Ok(true),
        (Some("SPECIFIC_ATTRIBUTES"), false) => Err(Refusal::validation(
            "Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES",
        )),
        (Some(other), _) => Err(Refusal::validation(format!(
            "Cannot specify the ProjectionExpression when choosing to get {other}, or this cloud does not support it"
        ))),
    }
}

fn wants_capacity(request: &Map<String, Value>) -> bool {
    request.get("ReturnConsumedCapacity").and_then(Value::as_str).is_some_and(|wanted| wanted != "NONE")
}

/// Half a unit for each 4 KB, or a whole one if the read is consistent.
fn read_units(bytes: usize, request: &Value) -> f64 {
    let half_units = bytes.max(1).div_ceil(READ_UNIT_BYTES) as f64;
    if request["ConsistentRead"] == true { half_units } else { half_units / 2.0 }
}

fn note_capacity<'a>(
    answer: &mut Value,
    request: &Map<String, Value>,
    table: &str,
    rows: impl Iterator<Item = &'a Item>,
) {
    if wants_capacity(request) {
        let consistent = json!({ "ConsistentRead": request.get("ConsistentRead") });
        let units = read_units(rows.map(item_bytes).sum(), &consistent);
        answer["ConsumedCapacity"] = json!({ "TableName": table, "CapacityUnits": units });
    }
}
