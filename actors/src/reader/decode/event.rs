//! One event: found in its record, checked as JSON, and picked apart along the schema's paths.

use std::fmt;
use std::ops::Range;

use chrono::DateTime;
use messages::schema::{FieldKind, TimeFormat};
use messages::{EventSchema, Reason};
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::paths::{Node, Paths, Slot};

/// Ids of events are kept per sensor and stored per row.
const EVENT_ID_BYTES_MAX: usize = 256;
const DETAIL_CHARS_MAX: usize = 200;

/// A value in the type of its field.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scalar {
    Float(f64),
    Integer(i64),
    Boolean(bool),
    Text(Box<str>),
}

/// A decoded event.
#[derive(Debug, PartialEq)]
pub(super) struct Event {
    pub(super) sensor: Box<str>,
    pub(super) time_us: i64,
    pub(super) event_id: Option<Box<str>>,
    pub(super) device_sequence: Option<i64>,
    pub(super) fields: Vec<Option<Scalar>>,
}

/// Why something is no event, and what exactly is wrong with it, for a person.
pub(super) type Refusal = (Reason, String);

/// Where the events of a record stand: the whole record is one object, or each non-blank line is.
pub(super) fn split(data: &[u8], events_max: usize) -> Result<Vec<Range<usize>>, Refusal> {
    let whole = trim(data, 0..data.len());
    if whole.is_empty() {
        return Err((Reason::Empty, "the record has no event in it".into()));
    }
    let has_lines = data[whole.clone()].contains(&b'\n');
    // An object may be written over several lines; only a record that is not one value is taken line by line.
    if !has_lines || serde_json::from_slice::<IgnoredAny>(&data[whole.clone()]).is_ok() {
        return Ok(vec![whole]);
    }
    let mut spans = Vec::new();
    let mut start = whole.start;
    for line in data[whole.clone()].split(|byte| *byte == b'\n') {
        let span = trim(data, start..start + line.len());
        start += line.len() + 1;
        if span.is_empty() {
            continue;
        }
        if spans.len() == events_max {
            return Err(too_many(events_max));
        }
        spans.push(span);
    }
    Ok(spans)
}

/// A record holds more events than it may.
pub(super) fn too_many(events_max: usize) -> Refusal {
    (Reason::TooManyEvents, format!("more than the {events_max} events allowed in a record"))
}

fn trim(data: &[u8], mut span: Range<usize>) -> Range<usize> {
    while span.start < span.end && data[span.start].is_ascii_whitespace() {
        span.start += 1;
    }
    while span.start < span.end && data[span.end - 1].is_ascii_whitespace() {
        span.end -= 1;
    }
    span
}

/// Decodes one event. The JSON is checked to its end before any of its values is judged.
pub(super) fn decode(bytes: &[u8], schema: &EventSchema, paths: &Paths, depth_max: usize) -> Result<Event, Refusal> {
    let text = std::str::from_utf8(bytes)
        .map_err(|e| (Reason::NotUtf8, format!("the byte at {} is not UTF-8", e.valid_up_to())))?;
    // serde_json skips unknown values without a limit on their depth, so the limit is ours.
    if bytes.len() > 2 * depth_max && deeper_than(bytes, depth_max) {
        return Err((Reason::TooDeep, format!("nested deeper than the {depth_max} levels allowed")));
    }
    let mut found = Found { schema, values: Values::new(schema), refusal: None };
    let mut json = serde_json::Deserializer::from_str(text);
    let parsed = ObjectSeed { paths, found: &mut found }.deserialize(&mut json).and_then(|()| json.end());
    if let Err(error) = parsed {
        return Err(json_refusal(&error));
    }
    match found.refusal {
        Some(refusal) => Err(refusal),
        None => found.values.into_event(),
    }
}

fn json_refusal(error: &serde_json::Error) -> Refusal {
    let shown = error.to_string();
    let reason = if error.is_eof() {
        Reason::Truncated
    } else if shown.starts_with("number out of range") {
        Reason::NumberOutOfRange
    } else if shown.starts_with("recursion limit exceeded") {
        Reason::TooDeep
    } else {
        Reason::NotJson
    };
    (reason, shown)
}

fn deeper_than(bytes: &[u8], depth_max: usize) -> bool {
    let (mut depth, mut in_text, mut escaped) = (0usize, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => depth += 1,
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > depth_max {
            return true;
        }
    }
    false
}

/// What has been found of an event so far.
struct Found<'a> {
    schema: &'a EventSchema,
    values: Values,
    /// The first thing that is wrong with a value; syntax errors found later still take precedence.
    refusal: Option<Refusal>,
}

#[derive(Default)]
struct Values {
    sensor: Option<Box<str>>,
    time_us: Option<i64>,
    event_id: Option<Box<str>>,
    device_sequence: Option<i64>,
    fields: Vec<Option<Scalar>>,
}

impl Values {
    fn new(schema: &EventSchema) -> Self {
        Self { fields: vec![None; schema.fields.len()], ..Self::default() }
    }

    fn into_event(self) -> Result<Event, Refusal> {
        let sensor = self.sensor.ok_or((Reason::MissingId, "the sensor id is absent or null".to_owned()))?;
        let time_us = self.time_us.ok_or((Reason::MissingTime, "the event time is absent or null".to_owned()))?;
        let Self { event_id, device_sequence, fields, .. } = self;
        Ok(Event { sensor, time_us, event_id, device_sequence, fields })
    }
}

impl Found<'_> {
    fn refuse(&mut self, reason: Reason, detail: String) {
        if self.refusal.is_none() {
            self.refusal = Some((reason, detail.chars().take(DETAIL_CHARS_MAX).collect()));
        }
    }

    fn wrong_type(&mut self, slot: Slot, found: &str) {
        let (what, expected) = match slot {
            Slot::SensorId => ("the sensor id", "a text or an integer"),
            Slot::Time => match self.schema.time.format {
                TimeFormat::Rfc3339 => ("the event time", "an RFC 3339 text"),
                TimeFormat::Seconds => ("the event time", "a number of seconds"),
                TimeFormat::Milliseconds => ("the event time", "a whole number of milliseconds"),
                TimeFormat::Microseconds => ("the event time", "a whole number of microseconds"),
            },
            Slot::EventId => ("the event id", "a text or an integer"),
            Slot::Sequence => ("the sequence", "an integer"),
            Slot::Field(index) => (self.schema.fields[index].name.as_str(), self.schema.fields[index].kind.as_str()),
        };
        self.refuse(Reason::WrongType, format!("{what}: expected {expected}, found {found}"));
    }

    fn text(&mut self, slot: Slot, text: &str) {
        match slot {
            Slot::SensorId => self.sensor_id(text),
            Slot::Time if self.schema.time.format == TimeFormat::Rfc3339 => match DateTime::parse_from_rfc3339(text) {
                Ok(time) => self.values.time_us = Some(time.timestamp_micros()),
                Err(error) => self.refuse(Reason::BadTime, format!("{text:?}: {error}")),
            },
            Slot::EventId if text.len() > EVENT_ID_BYTES_MAX => {
                self.refuse(Reason::IdTooLong, format!("the event id has {} bytes", text.len()));
            }
            Slot::EventId => self.values.event_id = Some(text.into()),
            Slot::Field(index) if self.schema.fields[index].kind == FieldKind::Text => {
                self.values.fields[index] = Some(Scalar::Text(text.into()));
            }
            Slot::Time | Slot::Sequence | Slot::Field(_) => self.wrong_type(slot, "a text"),
        }
    }

    fn sensor_id(&mut self, id: &str) {
        let spec = &self.schema.sensor_id;
        if id.is_empty() {
            self.refuse(Reason::EmptyId, "the sensor id is empty".into());
        } else if id.len() > spec.bytes_max {
            let detail = format!("the sensor id has {} bytes, more than the {} allowed", id.len(), spec.bytes_max);
            self.refuse(Reason::IdTooLong, detail);
        } else if let Some(c) = id.chars().find(|c| !spec.allows(*c)) {
            self.refuse(Reason::IdForbidden, format!("the sensor id contains {c:?}, which the schema does not allow"));
        } else {
            self.values.sensor = Some(id.into());
        }
    }

    fn integer(&mut self, slot: Slot, n: i64) {
        match slot {
            Slot::SensorId => self.sensor_id(&n.to_string()),
            Slot::EventId => self.values.event_id = Some(n.to_string().into()),
            Slot::Sequence => self.values.device_sequence = Some(n),
            Slot::Time => self.time_from_integer(n),
            Slot::Field(index) => match self.schema.fields[index].kind {
                FieldKind::Float => self.values.fields[index] = Some(Scalar::Float(n as f64)),
                FieldKind::Integer => self.values.fields[index] = Some(Scalar::Integer(n)),
                FieldKind::Boolean | FieldKind::Text => self.wrong_type(slot, "a number"),
            },
        }
    }

    fn time_from_integer(&mut self, n: i64) {
        let micros_each = match self.schema.time.format {
            TimeFormat::Seconds => 1_000_000,
            TimeFormat::Milliseconds => 1_000,
            TimeFormat::Microseconds => 1,
            TimeFormat::Rfc3339 => return self.wrong_type(Slot::Time, "a number"),
        };
        match n.checked_mul(micros_each) {
            Some(time_us) => self.values.time_us = Some(time_us),
            None => self.refuse(Reason::BadTime, format!("{n} is beyond any calendar")),
        }
    }

    fn float(&mut self, slot: Slot, x: f64) {
        // The largest f64 below 2^63 still fits; 2^63 itself does not.
        let whole = (x.fract() == 0.0 && x.abs() < 9.2e18).then_some(x as i64);
        match (slot, whole) {
            (Slot::Field(index), _) if self.schema.fields[index].kind == FieldKind::Float => {
                self.values.fields[index] = Some(Scalar::Float(x));
            }
            (Slot::Time, _) if self.schema.time.format == TimeFormat::Seconds => {
                let micros = (x * 1e6).round();
                if micros.abs() < 9.2e18 {
                    self.values.time_us = Some(micros as i64);
                } else {
                    self.refuse(Reason::BadTime, format!("{x} is beyond any calendar"));
                }
            }
            (Slot::Field(index), None) if self.schema.fields[index].kind == FieldKind::Integer && x.fract() == 0.0 => {
                let name = &self.schema.fields[index].name;
                self.refuse(Reason::NumberOutOfRange, format!("{name}: {x} does not fit 64 bits"));
            }
            (Slot::Field(_) | Slot::Sequence | Slot::Time, Some(n)) => self.integer(slot, n),
            _ => self.wrong_type(slot, "a decimal number"),
        }
    }

    fn boolean(&mut self, slot: Slot, b: bool) {
        match slot {
            Slot::Field(index) if self.schema.fields[index].kind == FieldKind::Boolean => {
                self.values.fields[index] = Some(Scalar::Boolean(b));
            }
            _ => self.wrong_type(slot, "a boolean"),
        }
    }
}

/// Reads an object, following the paths that begin in it.
struct ObjectSeed<'a, 'f> {
    paths: &'a Paths,
    found: &'a mut Found<'f>,
}

impl<'de> DeserializeSeed<'de> for ObjectSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ObjectSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = vec![false; self.paths.len()];
        while let Some(child) = map.next_key_seed(KeySeed(self.paths))? {
            let Some((number, node)) = child else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if std::mem::replace(&mut seen[*number], true) {
                self.found.refuse(Reason::DuplicateKey, "a key that the schema reads stands twice".into());
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            match node {
                Node::Object(paths) => map.next_value_seed(ObjectSeed { paths, found: self.found })?,
                Node::Leaf(slot) => map.next_value_seed(LeafSeed { slot: *slot, found: self.found })?,
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        self.not_an_object("a list")
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<(), E> {
        self.not_an_object("a text")
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<(), E> {
        self.not_an_object("a boolean")
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<(), E> {
        self.not_an_object("a number")
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<(), E> {
        self.not_an_object("a number")
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        self.not_an_object("a number")
    }

    // A null where an object could stand: everything below it is absent.
    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }
}

impl ObjectSeed<'_, '_> {
    fn not_an_object<E>(self, what: &str) -> Result<(), E> {
        self.found.refuse(Reason::NotAnObject, format!("expected an object, found {what}"));
        Ok(())
    }
}

/// Finds the child under a key without keeping the key.
struct KeySeed<'a>(&'a Paths);

impl<'de, 'a> DeserializeSeed<'de> for KeySeed<'a> {
    type Value = Option<&'a (usize, Node)>;

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for KeySeed<'a> {
    type Value = Option<&'a (usize, Node)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.get(key))
    }
}

/// Reads the value at the end of a path.
struct LeafSeed<'a, 'f> {
    slot: Slot,
    found: &'a mut Found<'f>,
}

impl<'de> DeserializeSeed<'de> for LeafSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for LeafSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.found.text(self.slot, text);
        Ok(())
    }

    fn visit_i64<E: serde::de::Error>(self, n: i64) -> Result<(), E> {
        self.found.integer(self.slot, n);
        Ok(())
    }

    fn visit_u64<E: serde::de::Error>(self, n: u64) -> Result<(), E> {
        match i64::try_from(n) {
            Ok(n) => self.found.integer(self.slot, n),
            Err(_) => self.found.float(self.slot, n as f64),
        }
        Ok(())
    }

    fn visit_f64<E: serde::de::Error>(self, x: f64) -> Result<(), E> {
        if !x.is_finite() {
            return Err(E::custom("number out of range"));
        }
        self.found.float(self.slot, x);
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, b: bool) -> Result<(), E> {
        self.found.boolean(self.slot, b);
        Ok(())
    }

    // A null is an absent value.
    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        self.found.wrong_type(self.slot, "an object");
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        self.found.wrong_type(self.slot, "a list");
        Ok(())
    }
}
