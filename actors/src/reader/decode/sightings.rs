//! Which paths of the schema were found in events, and which never are: a path with a typing error, or a key with a
//! dot in it, would else be a column of nulls for ever.
//!
//! **Owns** the look at whole epochs, and the guess at what was meant.
//! **Promises** a bit per value on the way of every event, and a look into a few events where a path is missing; of
//! what is in them, only a plain key that resembles the schema's own is ever shown.
//! **Not here**: events that cannot be read; they say nothing about paths.

use std::collections::VecDeque;

use bytes::Bytes;
use messages::schema::{FieldPath, FieldSpec};
use messages::{EventSchema, closest};
use serde_json::Value;

use super::paths::{PathEnd, SLOTS_MAX, slots};
use crate::shard::UnseenPath;

/// Events that must have come before a path counts as never found.
const EVENTS_MIN: u64 = 100;
/// Events that are looked into for keys that resemble it.
const SAMPLES_MAX: usize = 8;
/// Paths of one event that are looked at, and how deep.
const SEEN_MAX: usize = 1_000;
const DEPTH_MAX: usize = 8;
/// Longer keys are no typing errors.
const KEY_BYTES_MAX: usize = 64;

/// What was found in some events.
#[derive(Clone, Debug, Default)]
pub struct Sightings {
    events: u64,
    slots: [u64; SLOTS_MAX.div_ceil(64)],
    sample: Option<Bytes>,
}

impl Sightings {
    pub(super) fn saw(&mut self, slot: PathEnd) {
        let number = slot.number();
        self.slots[number / 64] |= 1 << (number % 64);
    }

    /// One more event was read. `bytes` gives its bytes.
    pub(super) fn event(&mut self, bytes: impl FnOnce() -> Bytes) {
        self.events += 1;
        self.sample.get_or_insert_with(bytes);
    }

    fn has(&self, slot: PathEnd) -> bool {
        let number = slot.number();
        self.slots[number / 64] & 1 << (number % 64) != 0
    }
}

/// The look at a shard's epochs.
#[derive(Debug, Default)]
pub struct PathWatch {
    seen: Sightings,
    samples: VecDeque<Bytes>,
}

impl PathWatch {
    /// Adds what was found in a batch.
    pub fn take(&mut self, batch: Sightings) {
        self.seen.events += batch.events;
        self.seen.slots.iter_mut().zip(batch.slots).for_each(|(all, new)| *all |= new);
        if let Some(sample) = batch.sample {
            self.samples.push_back(sample);
            if self.samples.len() > SAMPLES_MAX {
                self.samples.pop_front();
            }
        }
    }

    /// An epoch ends. Says which paths none of its events had; nothing while there were too few events to tell: then
    /// the next epoch's are added.
    pub fn cut(&mut self, schema: &EventSchema) -> Option<Vec<UnseenPath>> {
        if self.seen.events < EVENTS_MIN {
            return None;
        }
        let Self { seen, samples } = std::mem::take(self);
        let unseen: Vec<_> = slots(schema).into_iter().filter(|(slot, _)| !seen.has(*slot)).collect();
        if unseen.is_empty() {
            return Some(Vec::new());
        }
        let mut found = Vec::new();
        samples.iter().filter_map(|bytes| serde_json::from_slice::<Value>(bytes).ok()).for_each(|event| {
            paths_of(&event, &mut Vec::new(), &mut found);
        });
        let known: Vec<&FieldPath> = slots(schema).into_iter().map(|(_, path)| path).collect();
        found.retain(|path| !known.contains(&path));
        Some(unseen.into_iter().map(|(slot, path)| describe(schema, slot, path, &found)).collect())
    }
}

fn describe(schema: &EventSchema, slot: PathEnd, path: &FieldPath, found: &[FieldPath]) -> UnseenPath {
    let field = |index: usize| -> &FieldSpec { &schema.fields[index] };
    let (of, required) = match slot {
        PathEnd::SensorId => ("sensor_id", true),
        PathEnd::Time => ("time", true),
        PathEnd::EventId => ("event_id", false),
        PathEnd::Sequence => ("sequence", false),
        PathEnd::Field(index) => (field(index).name.as_str(), field(index).required),
    };
    let closest = meant(path, found).map(ToString::to_string);
    UnseenPath { of: of.to_owned(), path: path.to_string(), closest, required }
}

/// What the path may have been meant to be: the same keys joined or split at other dots, the same last key elsewhere,
/// or what is a few edits away.
fn meant<'a>(path: &FieldPath, found: &'a [FieldPath]) -> Option<&'a FieldPath> {
    let flat = |path: &FieldPath| path.0.join(".").to_lowercase();
    let wanted = flat(path);
    if let Some(same) = found.iter().find(|found| flat(found) == wanted) {
        return Some(same);
    }
    let shown: Vec<String> = found.iter().map(flat).collect();
    if let Some(near) = closest(&wanted, shown.iter().map(String::as_str)) {
        return found.get(shown.iter().position(|shown| shown == near)?);
    }
    found
        .iter()
        .find(|found| found.0.last().map(|key| key.to_lowercase()) == path.0.last().map(|key| key.to_lowercase()))
}

/// The paths of an event's values, plain keys only: what is shown must not be what a device made up.
fn paths_of(value: &Value, above: &mut Vec<String>, found: &mut Vec<FieldPath>) {
    let Some(object) = value.as_object().filter(|_| above.len() < DEPTH_MAX) else {
        let path = FieldPath(above.clone());
        if !above.is_empty() && found.len() < SEEN_MAX && !found.contains(&path) {
            found.push(path);
        }
        return;
    };
    for (key, value) in object {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-:@/% ".contains(c);
        if found.len() < SEEN_MAX && !key.is_empty() && key.len() <= KEY_BYTES_MAX && key.chars().all(plain) {
            above.push(key.clone());
            paths_of(value, above, found);
            above.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(fields: &str) -> EventSchema {
        let head = "name = \"t\"\n[sensor_id]\npath = \"id\"\n[time]\npath = \"ts\"\nformat = \"rfc3339\"\n";
        EventSchema::parse(&format!("{head}{fields}")).unwrap()
    }

    fn watch(schema: &EventSchema, event: &str, n: u64, saw: &[PathEnd]) -> Option<Vec<UnseenPath>> {
        let mut watch = PathWatch::default();
        for _ in 0..n {
            let mut sightings = Sightings::default();
            sightings.event(|| Bytes::copy_from_slice(event.as_bytes()));
            saw.iter().for_each(|slot| sightings.saw(*slot));
            watch.take(sightings);
        }
        watch.cut(schema)
    }

    #[test]
    fn a_path_that_is_never_found_is_named_with_what_resembles_it() {
        let field = |path: &str| format!("[[fields]]\nname = \"x\"\ntype = \"float\"\npath = {path}\n");
        for (path, event, closest) in [
            ("\"PM2.x\"", r#"{"PM2.x":1}"#, Some("'PM2.x'")),
            ("[\"a.b\", \"c\"]", r#"{"a":{"b":{"c":1}}}"#, Some("a.b.c")),
            ("\"Temperature\"", r#"{"temperature":1}"#, Some("temperature")),
            ("\"temprature\"", r#"{"temperature":1}"#, Some("temperature")),
            ("\"temperature\"", r#"{"data":{"env":{"temperature":1}}}"#, Some("data.env.temperature")),
            ("\"temperature\"", r#"{"humidity":1}"#, None),
            ("\"temperature\"", "{\"temperature\\u202e\":1}", None),
        ] {
            let schema = schema(&field(path));
            let unseen = watch(&schema, event, 100, &[PathEnd::SensorId, PathEnd::Time]).unwrap();
            assert_eq!(unseen.len(), 1, "{unseen:?}");
            assert_eq!((unseen[0].of.as_str(), unseen[0].closest.as_deref()), ("x", closest), "{path} in {event}");
        }
    }

    #[test]
    fn nothing_is_said_of_paths_that_are_there_or_before_there_are_enough_events() {
        let schema = schema("[[fields]]\nname = \"x\"\ntype = \"float\"\n");
        assert_eq!(watch(&schema, "{}", 99, &[]), None);
        let all = [PathEnd::SensorId, PathEnd::Time, PathEnd::Field(0)];
        assert_eq!(watch(&schema, "{}", 100, &all), Some(Vec::new()));
        let required: Vec<_> = watch(&schema, "{}", 100, &[]).unwrap().iter().map(|path| path.required).collect();
        assert_eq!(required, [true, true, false]);
    }
}
