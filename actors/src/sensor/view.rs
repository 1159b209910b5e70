//! A sensor's live state for people: what `/sensors/<id>` shows.
//!
//! **Promises** the same picture for the same state: fields by name, nothing that depends on the worker.
//! **Not here**: what only the owner of the actor knows. `state` and `restarts` are the caller's to fill.

use messages::SensorView;
use messages::schema::Value;
use serde_json::{Map, Value as Json, json};

use super::core::SensorCore;
use super::detectors::FieldState;

pub(super) fn of(core: &SensorCore, shard: &str) -> SensorView {
    let state = &core.state;
    let counts = state.counts;
    SensorView {
        sensor_id: core.id.as_str().to_owned(),
        shard: shard.to_owned(),
        state: "live",
        readings: counts.clean + counts.duplicates + counts.quarantined,
        clean: counts.clean,
        duplicates: counts.duplicates,
        quarantined: counts.quarantined,
        alerts: counts.alerts,
        last_event_time_us: state.last_event_time_us,
        last_arrival_ms: state.last_arrival_ms,
        version: state.attributes.version,
        version_since_us: state.attributes.valid_from_us,
        restarts: 0,
        fields: fields(core),
        recent: None,
    }
}

fn fields(core: &SensorCore) -> Json {
    let name = |field: usize| core.rules.schema.fields[field].name.clone();
    let mut fields = Map::new();
    for (watch, field) in core.rules.watched.iter().zip(&core.state.watched) {
        let mut entry = watched(field);
        entry.insert("unit".to_owned(), json!(core.rules.schema.fields[watch.field].unit));
        fields.insert(name(watch.field), Json::Object(entry));
    }
    for (field, value) in core.rules.tracked.iter().zip(core.state.attributes.values()) {
        let entry = fields.entry(name(*field)).or_insert_with(|| json!({}));
        entry["tracked"] = value.map_or(Json::Null, tracked);
    }
    Json::Object(fields)
}

fn watched(field: &FieldState) -> Map<String, Json> {
    let mut entry = Map::new();
    if let Some(latest) = field.latest {
        entry.insert("latest".to_owned(), json!(latest.value));
        entry.insert("latest_time_us".to_owned(), json!(latest.time_us));
    }
    if let Some(baseline) = field.detectors.score.shown() {
        entry.insert("baseline".to_owned(), baseline);
    }
    entry
}

fn tracked(value: &Value) -> Json {
    match value {
        Value::Float(x) => json!(x),
        Value::Integer(n) => json!(n),
        Value::Boolean(b) => json!(b),
        Value::Text(text) => json!(text),
    }
}
