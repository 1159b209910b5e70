//! One event: what its values mean, and what is wrong with them.
//!
//! **Owns** how a JSON value becomes one of the schema's types, and the reasons why it does not.
//! **Promises** numbers as they were sent: doubles are the nearest ones, whole numbers exact or refused with their text.
//! **Not here**: where an event stands in its record (`framing.rs`), and the way to its values (`walk.rs`).

use chrono::DateTime;
use messages::schema::{FieldKind, TimeFormat};
use messages::{EventSchema, Reason};

use super::number::{self, Nearest};
use super::paths::PathEnd;

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
pub(super) struct DecodedEvent {
    pub(super) sensor: Box<str>,
    pub(super) time_us: i64,
    pub(super) event_id: Option<Box<str>>,
    pub(super) device_sequence: Option<i64>,
    pub(super) fields: Vec<Option<Scalar>>,
}

/// Why something is no event, and what exactly is wrong with it, for a person.
pub(super) type EventRefusal = (Reason, String);

/// What has been found of an event so far.
pub(super) struct FoundFields<'a> {
    schema: &'a EventSchema,
    values: EventValues,
    /// The first thing that is wrong with a value.
    refusal: Option<EventRefusal>,
    /// Whether it holds something, read or not, that readers of JSON may stumble over.
    pub(super) odd: bool,
}

#[derive(Default)]
struct EventValues {
    sensor: Option<Box<str>>,
    time_us: Option<i64>,
    event_id: Option<Box<str>>,
    device_sequence: Option<i64>,
    fields: Vec<Option<Scalar>>,
}

impl EventValues {
    fn into_event(self) -> Result<DecodedEvent, EventRefusal> {
        let sensor = self.sensor.ok_or((Reason::MissingId, "the sensor id is absent or null".to_owned()))?;
        let time_us = self.time_us.ok_or((Reason::MissingTime, "the event time is absent or null".to_owned()))?;
        let Self { event_id, device_sequence, fields, .. } = self;
        Ok(DecodedEvent { sensor, time_us, event_id, device_sequence, fields })
    }
}

impl<'a> FoundFields<'a> {
    pub(super) fn new(schema: &'a EventSchema) -> Self {
        let values = EventValues { fields: vec![None; schema.fields.len()], ..EventValues::default() };
        Self { schema, values, refusal: None, odd: false }
    }

    pub(super) fn into_event(self) -> Result<DecodedEvent, EventRefusal> {
        match self.refusal {
            Some(refusal) => Err(refusal),
            None => self.values.into_event(),
        }
    }

    pub(super) fn refuse(&mut self, reason: Reason, detail: String) {
        if self.refusal.is_none() {
            self.refusal = Some((reason, detail.chars().take(DETAIL_CHARS_MAX).collect()));
        }
    }

    /// Nesting is told before all that is wrong with values: nobody looks into it any further.
    pub(super) fn too_deep(&mut self, depth_max: usize) {
        if !matches!(self.refusal, Some((Reason::TooDeep, _))) {
            self.refusal = Some(too_deep(depth_max));
        }
    }

    pub(super) fn wrong_type(&mut self, slot: PathEnd, found: &str) {
        let expected = match slot {
            PathEnd::SensorId | PathEnd::EventId => "a text or an integer",
            PathEnd::Time => match self.schema.time.format {
                TimeFormat::Rfc3339 => "an RFC 3339 text",
                TimeFormat::Seconds => "a number of seconds",
                TimeFormat::Milliseconds => "a whole number of milliseconds",
                TimeFormat::Microseconds => "a whole number of microseconds",
            },
            PathEnd::Sequence => "an integer",
            PathEnd::Field(index) => self.schema.fields[index].kind.as_str(),
        };
        let what = self.name(slot);
        self.refuse(Reason::WrongType, format!("{what}: expected {expected}, found {found}"));
    }

    fn name(&self, slot: PathEnd) -> &'a str {
        match slot {
            PathEnd::SensorId => "the sensor id",
            PathEnd::Time => "the event time",
            PathEnd::EventId => "the event id",
            PathEnd::Sequence => "the sequence",
            PathEnd::Field(index) => &self.schema.fields[index].name,
        }
    }

    pub(super) fn text(&mut self, slot: PathEnd, text: &str) {
        match slot {
            PathEnd::SensorId => self.sensor_id(text),
            PathEnd::Time if self.schema.time.format == TimeFormat::Rfc3339 => match DateTime::parse_from_rfc3339(text)
            {
                Ok(time) => self.values.time_us = Some(time.timestamp_micros()),
                Err(error) => self.refuse(Reason::BadTime, format!("{text:?}: {error}")),
            },
            PathEnd::EventId if text.len() > EVENT_ID_BYTES_MAX => {
                self.refuse(Reason::IdTooLong, format!("the event id has {} bytes", text.len()));
            }
            PathEnd::EventId => self.values.event_id = Some(text.into()),
            PathEnd::Field(index) if self.schema.fields[index].kind == FieldKind::Text => {
                self.values.fields[index] = Some(Scalar::Text(text.into()));
            }
            PathEnd::Time | PathEnd::Sequence | PathEnd::Field(_) => self.wrong_type(slot, "a text"),
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

    /// A number, as it is written.
    pub(super) fn number(&mut self, slot: PathEnd, text: &str) {
        match slot {
            PathEnd::Field(index) => match self.schema.fields[index].kind {
                FieldKind::Float => match number::float(text) {
                    Some(x) => self.values.fields[index] = Some(Scalar::Float(x)),
                    None => self.beyond(slot, text, "is larger than any double"),
                },
                FieldKind::Integer => {
                    let value = self.integer(slot, text);
                    self.values.fields[index] = value.map(Scalar::Integer);
                }
                FieldKind::Boolean | FieldKind::Text => {
                    self.wrong_type(slot, &format!("the number {}", number::shown(text)))
                }
            },
            PathEnd::Sequence => self.values.device_sequence = self.integer(slot, text),
            PathEnd::Time => self.time(text),
            // An id is a name: its digits are kept, however many, but nobody can say what a point is to mean in it.
            PathEnd::SensorId | PathEnd::EventId if !number::is_plain(text) => {
                self.wrong_type(slot, &format!("the decimal number {}", number::shown(text)));
            }
            PathEnd::SensorId | PathEnd::EventId => self.text(slot, if text == "-0" { "0" } else { text }),
        }
    }

    fn integer(&mut self, slot: PathEnd, text: &str) -> Option<i64> {
        match number::whole(text) {
            Nearest::Exact(n) => return Some(n),
            Nearest::Rounded(_) => self.wrong_type(slot, &format!("the decimal number {}", number::shown(text))),
            Nearest::Beyond => self.beyond(slot, text, "does not fit 64 bits"),
        }
        None
    }

    fn beyond(&mut self, slot: PathEnd, text: &str, what: &str) {
        let name = self.name(slot);
        self.refuse(Reason::NumberOutOfRange, format!("{name}: {} {what}", number::shown(text)));
    }

    fn time(&mut self, text: &str) {
        let format = self.schema.time.format;
        let (nearest, micros_each) = match format {
            // Digits beyond the microsecond are rounded, as a clock would have.
            TimeFormat::Seconds => (number::times_ten_to(text, 6), 1),
            TimeFormat::Milliseconds => (number::whole(text), 1_000),
            TimeFormat::Microseconds => (number::whole(text), 1),
            TimeFormat::Rfc3339 => {
                return self.wrong_type(PathEnd::Time, &format!("the number {}", number::shown(text)));
            }
        };
        let n = match nearest {
            Nearest::Exact(n) => Some(n),
            Nearest::Rounded(n) if format == TimeFormat::Seconds => Some(n),
            Nearest::Rounded(_) => {
                return self.wrong_type(PathEnd::Time, &format!("the decimal number {}", number::shown(text)));
            }
            Nearest::Beyond => None,
        };
        match n.and_then(|n| n.checked_mul(micros_each)) {
            Some(time_us) => self.values.time_us = Some(time_us),
            None => self.refuse(Reason::BadTime, format!("{} is beyond any calendar", number::shown(text))),
        }
    }

    pub(super) fn boolean(&mut self, slot: PathEnd, b: bool) {
        match slot {
            PathEnd::Field(index) if self.schema.fields[index].kind == FieldKind::Boolean => {
                self.values.fields[index] = Some(Scalar::Boolean(b));
            }
            _ => self.wrong_type(slot, "a boolean"),
        }
    }
}

pub(super) fn too_deep(depth_max: usize) -> EventRefusal {
    (Reason::TooDeep, format!("nested deeper than the {depth_max} levels allowed"))
}
