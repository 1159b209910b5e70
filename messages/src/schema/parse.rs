//! From TOML to [`EventSchema`], collecting every problem on the way.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use chrono::DateTime;
use toml::Table;

use super::table::{Notes, SchemaTable};
use super::{
    Detectors, EventSchema, FieldKind, FieldPath, FieldSpec, Flat, IdSpec, PartitionBy, SENSOR_ID_BYTES_MAX, Score,
    TimeFormat, TimeSpec, Tracked,
};

/// Fields of one schema.
pub const FIELDS_MAX: usize = 256;
const DETECTORS_NEED_NUMBERS: &str = "detectors and ranges need a float or integer field";

/// Everything that is wrong with a schema, one line a problem, each beginning with its key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct SchemaProblems(pub Vec<String>);

impl fmt::Display for SchemaProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the event schema has {} problem(s):", self.0.len())?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

pub(super) fn parse(text: &str, fingerprint: String) -> Result<EventSchema, SchemaProblems> {
    let mut notes = Notes::default();
    let schema = read(text, fingerprint, &mut notes);
    schema.filter(|_| notes.problems.is_empty()).ok_or(SchemaProblems(notes.problems))
}

/// The names of the keys that are looked for in this text: all there are, if no section of it is left out.
pub(super) fn keys(text: &str) -> BTreeSet<String> {
    let mut notes = Notes::default();
    read(text, String::new(), &mut notes);
    notes.asked
}

fn read(text: &str, fingerprint: String, notes: &mut Notes) -> Option<EventSchema> {
    let table: Table = text.parse().map_err(|e: toml::de::Error| notes.problems.push(e.to_string())).ok()?;
    let mut root = SchemaTable::new(String::new(), table, notes);

    let name = root.required_text("name");
    let sensor_id = required(&mut root, "sensor_id", id_spec);
    let time = required(&mut root, "time", time_spec);
    let event_id = root.section("event_id", path_of).flatten();
    let sequence = root.section("sequence", path_of).flatten();
    let heartbeat = root.section("heartbeat", |s| required_duration(s, "timeout")).flatten();
    let partition_by = root.section("cleansed", partition_by).unwrap_or(PartitionBy::Hour);
    let field_tables = root.tables("fields");
    root.finish();

    let any_field = !field_tables.is_empty();
    let fields: Vec<FieldSpec> =
        field_tables.into_iter().enumerate().filter_map(|(n, table)| field(n, table, notes)).collect();
    let problems = &mut notes.problems;
    if !any_field {
        problems.push("fields: there must be at least one field, headed [[fields]]".to_owned());
    }
    check_fields(&fields, problems);
    let (sensor_id, time) = (sensor_id.flatten(), time.flatten());
    let mut paths: Vec<(&str, &FieldPath)> = fields.iter().map(|f| (f.name.as_str(), &f.path)).collect();
    paths.extend(sensor_id.as_ref().map(|s| ("sensor_id", &s.path)));
    paths.extend(time.as_ref().map(|t| ("time", &t.path)));
    paths.extend(event_id.as_ref().map(|p| ("event_id", p)));
    paths.extend(sequence.as_ref().map(|p| ("sequence", p)));
    check_paths(&paths, problems);
    let (name, sensor_id, time) = (name?, sensor_id?, time?);
    Some(EventSchema { name, fingerprint, sensor_id, time, event_id, sequence, heartbeat, partition_by, fields })
}

fn required<T>(root: &mut SchemaTable<'_>, key: &str, read: impl FnOnce(&mut SchemaTable<'_>) -> T) -> Option<T> {
    if !root.has(key) {
        root.problem(key, &format!("is missing; add a table [{key}]"));
    }
    root.section(key, read)
}

fn path_of(section: &mut SchemaTable<'_>) -> Option<FieldPath> {
    if !section.has("path") {
        section.problem("path", "is missing; it must be a text such as \"location.lat\", or a list of keys");
    }
    section.path("path")
}

fn id_spec(section: &mut SchemaTable<'_>) -> Option<IdSpec> {
    let path = path_of(section);
    let bytes_max = section.count("bytes_max", 1).unwrap_or(128) as usize;
    if bytes_max > SENSOR_ID_BYTES_MAX {
        let problem = format!("must be at most {SENSOR_ID_BYTES_MAX}: ids are held in memory and stored in every row");
        section.problem("bytes_max", &problem);
    }
    let extra_characters = section.text("extra_characters").unwrap_or_default();
    if extra_characters.chars().any(|c| c.is_control() || matches!(c, '"' | '\'' | '\\' | '`' | '<' | '>' | '&')) {
        section.problem("extra_characters", "must not contain control characters, quotes, backslashes or < > &");
    }
    Some(IdSpec { path: path?, bytes_max, extra_characters })
}

fn time_spec(section: &mut SchemaTable<'_>) -> Option<TimeSpec> {
    let path = path_of(section);
    let format = section.required_text("format").and_then(|text| match text.as_str() {
        "rfc3339" => Some(TimeFormat::Rfc3339),
        "seconds" => Some(TimeFormat::Seconds),
        "milliseconds" => Some(TimeFormat::Milliseconds),
        "microseconds" => Some(TimeFormat::Microseconds),
        other => {
            section.problem("format", &format!("{other:?} is not one of rfc3339, seconds, milliseconds, microseconds"));
            None
        }
    });
    let past_max = section.duration("past_max");
    let future_max = section.duration("future_max").unwrap_or(Duration::from_secs(300));
    let not_before = section.text("not_before").unwrap_or_else(|| "2000-01-01T00:00:00Z".to_owned());
    let not_before_us = match DateTime::parse_from_rfc3339(&not_before) {
        Ok(time) => Some(time.timestamp_micros()),
        Err(error) => {
            section.problem("not_before", &format!("{not_before:?} is not an RFC 3339 time: {error}"));
            None
        }
    };
    Some(TimeSpec { path: path?, format: format?, past_max, future_max, not_before_us: not_before_us? })
}

fn required_duration(section: &mut SchemaTable<'_>, key: &str) -> Option<Duration> {
    if !section.has(key) {
        section.problem(key, "is missing; it must be a duration such as \"5m\"");
    }
    section.duration(key)
}

fn partition_by(section: &mut SchemaTable<'_>) -> PartitionBy {
    match section.text("partition_by").as_deref() {
        None | Some("hour") => PartitionBy::Hour,
        Some("day") => PartitionBy::Day,
        Some(other) => {
            section.problem("partition_by", &format!("{other:?} is not one of hour, day"));
            PartitionBy::Hour
        }
    }
}

fn field(n: usize, table: Table, notes: &mut Notes) -> Option<FieldSpec> {
    let shown = table.get("name").and_then(|name| name.as_str()).map_or_else(|| n.to_string(), str::to_owned);
    let mut section = SchemaTable::new(format!("fields[{shown}]"), table, notes);
    let spec = field_spec(&mut section);
    section.finish();
    spec
}

fn field_spec(section: &mut SchemaTable<'_>) -> Option<FieldSpec> {
    let name = section.required_text("name");
    let path = match section.has("path") {
        true => section.path("path"),
        false => Some(FieldPath::of_name(name.as_deref().unwrap_or_default())),
    };
    let kind = section.required_text("type").and_then(|text| match text.as_str() {
        "float" => Some(FieldKind::Float),
        "integer" => Some(FieldKind::Integer),
        "boolean" => Some(FieldKind::Boolean),
        "text" => Some(FieldKind::Text),
        other => {
            section.problem("type", &format!("{other:?} is not one of float, integer, boolean, text"));
            None
        }
    });
    let unit = section.text("unit");
    let range = section.band("range");
    let text_bytes_max = section.count("bytes_max", 1).unwrap_or(256) as usize;
    let required = section.flag("required").unwrap_or(false);
    let tracked = section.section("tracked", |s| Tracked { tolerance: s.number("tolerance").unwrap_or(0.0) });
    let detectors = section.section("detectors", detectors).unwrap_or_default();
    if kind.is_some_and(|kind| !kind.is_number()) {
        if range.is_some() {
            section.problem("range", DETECTORS_NEED_NUMBERS);
        }
        if detectors != Detectors::default() {
            section.problem("detectors", DETECTORS_NEED_NUMBERS);
        }
    }
    Some(FieldSpec { name: name?, path: path?, kind: kind?, unit, range, text_bytes_max, required, tracked, detectors })
}

fn detectors(section: &mut SchemaTable<'_>) -> Detectors {
    let range = section.band("range");
    let rate_per_second_max = section.number("rate_per_second_max");
    if rate_per_second_max.is_some_and(|rate| rate <= 0.0) {
        section.problem("rate_per_second_max", "must be above zero");
    }
    let flat = section.section("flat", |s| Flat {
        readings: s.count("readings", 2).unwrap_or(30),
        tolerance: s.number("tolerance").unwrap_or(0.0),
    });
    let score = section.section("score", |s| {
        let score = Score {
            threshold: s.number("threshold").unwrap_or(8.0),
            half_life: s.number("half_life").unwrap_or(64.0),
            warmup: s.count("warmup", 2).unwrap_or(32),
            scale_min: s.number("scale_min").unwrap_or(1e-9),
        };
        for (key, value) in
            [("threshold", score.threshold), ("half_life", score.half_life), ("scale_min", score.scale_min)]
        {
            if value <= 0.0 {
                s.problem(key, "must be above zero");
            }
        }
        score
    });
    Detectors { range, rate_per_second_max, flat, score }
}

/// One place in an event cannot be two things, nor both a value and an object around other values.
fn check_paths(paths: &[(&str, &FieldPath)], problems: &mut Vec<String>) {
    for (n, (name, path)) in paths.iter().enumerate() {
        for (other, longer) in paths[n + 1..].iter() {
            if path == longer {
                problems.push(format!("{other}: its path {longer} is the path of {name} already"));
            } else if path.0.starts_with(&longer.0) || longer.0.starts_with(&path.0) {
                problems.push(format!("{other}: its path {longer} runs through {path}, the path of {name}"));
            }
        }
    }
}

/// Column names that every row has, in the lake or in the warehouse; a field of the same name would collide.
const RESERVED: [&str; 20] = [
    "version",
    "valid_from",
    "changed",
    "sensor_id",
    "event_time",
    "event_id",
    "device_sequence",
    "shard",
    "sequence",
    "sub_sequence",
    "arrival_time",
    "anomaly_score",
    "anomalies",
    "sensor_version",
    "late",
    "partition_key",
    "hour",
    "quality",
    "valid_to",
    "is_current",
];

fn check_fields(fields: &[FieldSpec], problems: &mut Vec<String>) {
    if fields.len() > FIELDS_MAX {
        problems.push(format!("fields: at most {FIELDS_MAX} fields, not {}", fields.len()));
    }
    let mut seen = BTreeSet::new();
    for FieldSpec { name, .. } in fields {
        let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !plain || name.is_empty() || name.len() > 64 || name.starts_with(|c: char| c.is_ascii_digit()) {
            problems.push(format!(
                "fields[{name}].name: must be 1 to 64 of a-z, 0-9 and _, and not begin with a digit: it becomes a column"
            ));
        }
        if RESERVED.contains(&name.as_str()) || ["year", "month", "day"].contains(&name.as_str()) {
            problems.push(format!("fields[{name}].name: every row has a column of this name already"));
        }
        if !seen.insert(name.as_str()) {
            problems.push(format!("fields[{name}].name: stands twice"));
        }
    }
}
