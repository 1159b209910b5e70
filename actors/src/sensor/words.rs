//! Writes numbers and times for people, in details of quarantined readings and in messages of alerts.
//!
//! **Owns** nothing.
//! **Promises** bounded length and the same text on every worker: these texts are part of an epoch's content.
//! **Not here**: any text of a producer. What a device sent is never repeated in a message.

use chrono::{DateTime, SecondsFormat};
use messages::schema::FieldSpec;

/// A number as short as it can be read back; exponents where digits would only be zeros.
pub(super) fn number(value: f64) -> String {
    let plain = value == 0.0 || (1e-4..1e15).contains(&value.abs());
    if plain { format!("{value}") } else { format!("{value:e}") }
}

/// A derived number, to five significant digits: more would claim a precision that an estimate does not have.
pub(super) fn rounded(value: f64) -> String {
    number(format!("{value:.4e}").parse().unwrap_or(value))
}

/// A blank and the field's unit, or nothing.
pub(super) fn unit(field: &FieldSpec) -> String {
    field.unit.as_ref().map(|unit| format!(" {unit}")).unwrap_or_default()
}

/// A time in UTC, or its bare number where no calendar reaches.
pub(super) fn time(time_us: i64) -> String {
    match DateTime::from_timestamp_micros(time_us) {
        Some(time) => time.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        None => format!("{time_us} us since 1970"),
    }
}

/// A length of time in seconds.
pub(super) fn seconds(length_us: i64) -> String {
    format!("{} s", number(length_us as f64 / 1e6))
}
