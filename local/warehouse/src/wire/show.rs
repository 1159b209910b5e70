//! Statements as DescribeStatement and ListStatements show them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::statements::{Batch, Part, Status};

fn nanos(took: Duration) -> u64 {
    u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)
}

/// The whole of a submission.
pub(super) fn batch(batch: &Batch) -> Value {
    let mut shown = common(batch);
    shown["Id"] = json!(batch.id);
    shown["Status"] = json!(batch.status.as_str());
    shown["Duration"] = json!(nanos(batch.took));
    shown["UpdatedAt"] = json!(batch.updated);
    if let Some(error) = &batch.error {
        shown["Error"] = json!(error);
    }
    if batch.request.is_batch {
        let parts = batch.parts.iter().enumerate().map(|(at, part)| self::part(batch, at, part));
        shown["SubStatements"] = Value::Array(parts.collect());
        shown["HasResultSet"] = json!(batch.parts.iter().any(|part| part.result.is_some()));
    } else if let Some(only) = batch.parts.first() {
        shown["QueryString"] = json!(batch.request.sqls[0]);
        rows(&mut shown, batch, only);
    }
    shown
}

/// One statement of a batch, asked for by its own id.
pub(super) fn described_part(batch: &Batch, at: usize, part: &Part) -> Value {
    let mut shown = common(batch);
    if let (Some(shown), Value::Object(own)) = (shown.as_object_mut(), self::part(batch, at, part)) {
        shown.extend(own);
    }
    shown
}

/// A line of a list.
pub(super) fn listed(batch: &Batch) -> Value {
    let mut shown = json!({
        "Id": batch.id,
        "Status": batch.status.as_str(),
        "CreatedAt": batch.created,
        "UpdatedAt": batch.updated,
        "IsBatchStatement": batch.request.is_batch,
    });
    let key = if batch.request.is_batch { "QueryStrings" } else { "QueryString" };
    shown[key] = if batch.request.is_batch { json!(batch.request.sqls) } else { json!(batch.request.sqls[0]) };
    if let Some(name) = &batch.request.name {
        shown["StatementName"] = json!(name);
    }
    shown
}

fn common(batch: &Batch) -> Value {
    let mut shown = Value::Object(batch.request.target.clone());
    shown["CreatedAt"] = json!(batch.created);
    shown["RedshiftPid"] = json!(0);
    shown["RedshiftQueryId"] = json!(0);
    shown["ResultFormat"] = json!("JSON");
    shown
}

fn part(batch: &Batch, at: usize, part: &Part) -> Value {
    let mut shown = json!({
        "Id": format!("{}:{}", batch.id, at + 1),
        "Status": part.status.as_str(),
        "Duration": nanos(part.took),
        "CreatedAt": batch.created,
        "UpdatedAt": part.updated,
        "QueryString": batch.request.sqls[at],
        "RedshiftQueryId": 0,
    });
    if let Some(error) = &part.error {
        shown["Error"] = json!(error);
    }
    rows(&mut shown, batch, part);
    shown
}

fn rows(shown: &mut Value, batch: &Batch, part: &Part) {
    let finished = part.status == Status::Finished;
    shown["HasResultSet"] = json!(batch.status == Status::Finished && part.result.is_some());
    // The API says -1 of what did not run.
    shown["ResultRows"] = if finished { json!(part.n_rows) } else { json!(-1) };
    shown["ResultSize"] = part.result.as_ref().map_or(json!(0), |result| json!(result.n_bytes));
}
