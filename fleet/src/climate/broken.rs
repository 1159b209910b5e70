//! Payloads that a consumer must survive: malformed, hostile, or valid only just.
//!
//! **Owns** the payload of each [`BrokenKind`].
//! **Promises** that each fits into one record, together with the partition key of the device that sends it.
//! **Fails** never.
//! **Not here**: how often which is sent (`device`).

use super::event::{Event, Firmware, Place, rfc3339_ms};
use crate::BrokenKind;

/// What Kinesis takes as one record by default, data and partition key together.
const RECORD_BYTES_MAX: usize = 1_048_576;
const HUGE_ID_BYTES: usize = 64 * 1024;
const DEPTH: usize = 10_000;
const YEAR_9999_MS: i64 = 253_402_300_799_999;

/// One payload of each kind, for tests of consumers. The device is `s-000042`.
pub fn all() -> Vec<(BrokenKind, Vec<u8>)> {
    let event = Event {
        sensor_id: "s-000042",
        event_id: 0x0123_4567_89ab_cdef,
        seq: 7,
        ts_ms: 1_795_359_845_123,
        temperature: 21.4,
        humidity: 45.2,
        battery: 88.1,
        firmware: Firmware { major: 1, minor: 4, patch: 2 },
        place: Place { site: 3, lat: 52.5201, lon: 13.4049 },
    };
    BrokenKind::ALL.into_iter().map(|kind| (kind, make(kind, &event).1)).collect()
}

/// The payload, and the id in it where it is readable and not the device's.
pub(super) fn make(kind: BrokenKind, event: &Event<'_>) -> (Option<String>, Vec<u8>) {
    let json = event.to_json();
    let with = |field: &str, token: &str| (None, replace(&json, field, Some(token)).into_bytes());
    let with_id = |id: &str| {
        let token = serde_json::Value::from(id).to_string();
        (Some(id.to_owned()), replace(&json, "sensor_id", Some(&token)).into_bytes())
    };
    match kind {
        BrokenKind::NotJson => (None, b"temperature is fine today, thanks".to_vec()),
        BrokenKind::Truncated => (None, json.as_bytes()[..json.len() / 2].to_vec()),
        BrokenKind::WrongType => with("temperature", &format!("\"{:.2}\"", event.temperature)),
        BrokenKind::BigRecord => (None, big(&json, event.sensor_id)),
        BrokenKind::MissingId => (None, replace(&json, "sensor_id", None).into_bytes()),
        BrokenKind::EmptyId => with_id(""),
        BrokenKind::PathId => with_id("../../etc"),
        BrokenKind::HugeId => with_id(&"x".repeat(HUGE_ID_BYTES)),
        BrokenKind::NewlineId => with_id("s-1\r\n{\"level\":\"error\",\"message\":\"forged\"}\n"),
        BrokenKind::QuoteId => with_id("'; DROP TABLE sensor_readings; --\"<script>alert(1)</script>\\"),
        BrokenKind::Nan => with("temperature", "NaN"),
        BrokenKind::Deep => {
            let nested = "[".repeat(DEPTH) + &"]".repeat(DEPTH);
            (None, append(&json, &format!("\"extra\":{nested}")).into_bytes())
        }
        BrokenKind::HugeNumber => with("temperature", "1e400"),
        BrokenKind::Year1970 => with("ts", &format!("\"{}\"", rfc3339_ms(0))),
        BrokenKind::Year9999 => with("ts", &format!("\"{}\"", rfc3339_ms(YEAR_9999_MS))),
        BrokenKind::DuplicateKey => (None, append(&json, "\"sensor_id\":\"s-impostor\"").into_bytes()),
        BrokenKind::BadUtf8 => (None, bad_utf8(&json)),
        BrokenKind::MissingTemperature => (None, replace(&json, "temperature", None).into_bytes()),
        BrokenKind::OutOfRange => with("temperature", "4000"),
    }
}

/// Replaces the value of a top-level field, or drops the field. Works on our own JSON only.
fn replace(json: &str, field: &str, token: Option<&str>) -> String {
    let name = format!("\"{field}\":");
    let start = json.find(&name).expect("the event has this field");
    let rest = &json[start..];
    let end = start + rest.find(",\"").expect("`location` is the last field");
    match token {
        Some(token) => format!("{}{name}{token}{}", &json[..start], &json[end..]),
        None => format!("{}{}", &json[..start], &json[end + 1..]),
    }
}

fn append(json: &str, member: &str) -> String {
    format!("{},{member}}}", &json[..json.len() - 1])
}

/// Valid JSON that fills the record to its last byte.
fn big(json: &str, partition_key: &str) -> Vec<u8> {
    let bare = append(json, "\"note\":\"\"").len();
    let padding = "x".repeat(RECORD_BYTES_MAX - partition_key.len() - bare);
    append(json, &format!("\"note\":\"{padding}\"")).into_bytes()
}

fn bad_utf8(json: &str) -> Vec<u8> {
    let mut bytes = replace(json, "firmware", Some("\"??\"")).into_bytes();
    for byte in bytes.iter_mut().filter(|byte| **byte == b'?') {
        *byte = 0xff;
    }
    bytes
}
