//! Says whether a reading is valid, and if not, why.
//!
//! **Owns** the order of the checks: clock, required fields, ranges, texts. The first that fails is the reason.
//! **Promises** a function of the reading and the schema alone; no number that is not finite passes.
//! **Not here**: duplicates and detectors, which need to know what came before.

use messages::schema::{FieldSpec, TimeLimits};
use messages::{Batch, Column, Reason, Rows};

use super::rules::SensorRules;
use super::words::{number, seconds, time, unit};

/// Why a reading is invalid, with the detail for a person.
pub(super) type InvalidReason = (Reason, String);

/// The first thing that is wrong with a row.
pub(super) fn fault_of(rules: &SensorRules, batch: &Batch, row: usize) -> Option<InvalidReason> {
    clock(rules, batch.rows.event_time_us[row], batch.record_of(row).arrival_ms)
        .or_else(|| required(rules, &batch.rows, row))
        .or_else(|| ranges(rules, &batch.rows, row))
        .or_else(|| texts(rules, &batch.rows, row))
}

fn clock(rules: &SensorRules, time_us: i64, arrival_ms: i64) -> Option<InvalidReason> {
    if rules.time.believe(time_us, arrival_ms) {
        return None;
    }
    let TimeLimits { not_before_us, past_us_max, future_us_max } = rules.time;
    let age_us = arrival_ms.saturating_mul(1000).saturating_sub(time_us);
    let detail = if time_us < not_before_us {
        format!("event time {}; the earliest believed is {}", time(time_us), time(not_before_us))
    } else if let Some(past_us_max) = past_us_max.filter(|max| age_us > *max) {
        format!(
            "event time {} is {} before the record's arrival; at most {} allowed",
            time(time_us),
            seconds(age_us),
            seconds(past_us_max)
        )
    } else {
        format!(
            "event time {} is {} after the record's arrival; at most {} allowed",
            time(time_us),
            seconds(age_us.saturating_neg()),
            seconds(future_us_max)
        )
    };
    Some((Reason::TimeOutOfBounds, detail))
}

fn required(rules: &SensorRules, rows: &Rows, row: usize) -> Option<InvalidReason> {
    let missing = rules.required.iter().find(|field| !rows.fields[**field].is_present(row))?;
    Some((Reason::MissingField, format!("{} is required", rules.schema.fields[*missing].name)))
}

fn ranges(rules: &SensorRules, rows: &Rows, row: usize) -> Option<InvalidReason> {
    rules.numbers.iter().find_map(|&field| {
        let (column, spec) = (&rows.fields[field], &rules.schema.fields[field]);
        let value = column.number(row)?;
        let detail = match spec.range {
            // The decoder refuses these; that one got through must not be able to harm a state for ever.
            _ if !value.is_finite() => format!("{} is not a finite number", spec.name),
            Some((low, high)) if !(low..=high).contains(&value) => {
                let shown = shown(column, row, value);
                format!("{} is {shown}; valid is {} to {}{}", spec.name, number(low), number(high), unit(spec))
            }
            Some(_) | None => return None,
        };
        Some((Reason::OutOfRange, detail))
    })
}

/// Integers in full: as floating-point numbers large ones would not be what the device sent.
fn shown(column: &Column, row: usize, value: f64) -> String {
    match column {
        Column::Integer(values) => values[row].map(|v| v.to_string()).unwrap_or_default(),
        Column::Float(_) | Column::Boolean(_) | Column::Text(_) => number(value),
    }
}

fn texts(rules: &SensorRules, rows: &Rows, row: usize) -> Option<InvalidReason> {
    let of_fields = rules.texts.iter().find_map(|&field| {
        let FieldSpec { name, text_bytes_max, .. } = &rules.schema.fields[field];
        let text = match &rows.fields[field] {
            Column::Text(values) => values[row].as_ref()?,
            Column::Float(_) | Column::Integer(_) | Column::Boolean(_) => return None,
        };
        let bytes = text.len();
        if bytes > *text_bytes_max {
            let detail = format!("{name} is {bytes} bytes long; at most {text_bytes_max} allowed");
            return Some((Reason::OutOfRange, detail));
        }
        nul_in(name, text)
    });
    of_fields.or_else(|| nul_in("the event id", rows.event_id[row].as_ref()?))
}

/// A warehouse ends a text there, or refuses the file that it is in.
fn nul_in(name: &str, text: &str) -> Option<InvalidReason> {
    let at = text.find('\0')?;
    Some((Reason::OutOfRange, format!("{name} has a NUL (U+0000) at byte {at}, which no warehouse can hold")))
}
