//! A sensor's state as bytes: what an epoch's state object holds and what is left of a sensor that sleeps.
//!
//! **Owns** the format: one byte of version, the state in postcard, four bytes of checksum. Values stand in schema
//! order without names; whoever stores states stores the [`StateLayout`] once beside them.
//!
//! **Promises**
//! - Equal states have equal bytes.
//! - Damage is found (the checksum), a newer format is named as such, and no number that is not finite gets in.
//! - A state outlives a change of the schema: what it knows of fields that still exist is found again by name.
//!
//! **Fails** with a [`StateError`]; nothing is guessed.

use messages::SensorId;
use messages::schema::{EventSchema, Value};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::attributes::Attributes;
use super::core::{Counts, State};
use super::dedup::EventIds;
use super::detectors::FieldState;
use super::rules::{SensorRules, is_watched};

/// The format that this build writes.
const FORMAT: u8 = 2;
/// One version of the attributes, and nothing of those before.
const ONE_VERSION: u8 = 1;
const CHECKSUM_BYTES: usize = 4;

/// Why a sensor's state could not be read. One variant per decision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The bytes are not what was written: take an older state and replay.
    #[error("state of sensor {sensor} is damaged: {what}")]
    Corrupt {
        /// The sensor.
        sensor: SensorId,
        /// What is wrong with the bytes.
        what: &'static str,
    },
    /// Written by a newer build: only that build can go on from here.
    #[error("state of sensor {sensor} has format {found}; this build reads up to {FORMAT}")]
    NewerFormat {
        /// The sensor.
        sensor: SensorId,
        /// The format of the bytes.
        found: u8,
    },
    /// Written under other fields than the layout names: find the right layout.
    #[error("state of sensor {sensor} was written under another schema than the one given")]
    OtherLayout {
        /// The sensor.
        sensor: SensorId,
    },
}

/// Which state stands where in a sensor's bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateLayout {
    /// Names of the fields with detector state.
    pub watched: Vec<String>,
    /// Names of the tracked attributes.
    pub tracked: Vec<String>,
}

impl StateLayout {
    pub(super) fn of(schema: &EventSchema) -> Self {
        Self {
            watched: schema.fields.iter().filter(|field| is_watched(field)).map(|field| field.name.clone()).collect(),
            tracked: schema.tracked().map(|(_, field)| field.name.clone()).collect(),
        }
    }

    pub(super) fn hash(&self) -> u32 {
        // Names have no line breaks, so this text is the layout and nothing else.
        let text = format!("{}\n\n{}", self.watched.join("\n"), self.tracked.join("\n"));
        xxh3_64(text.as_bytes()) as u32
    }
}

pub(super) fn encode(state: &State, layout_hash: u32) -> Vec<u8> {
    let mut bytes =
        postcard::to_stdvec(&(FORMAT, layout_hash, state)).expect("a vector grows, and every part knows its length");
    let checksum = xxh3_64(&bytes) as u32;
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Reads a state that was written under `layout` and fits it to `rules`.
pub(super) fn decode(
    sensor: &SensorId,
    rules: &SensorRules,
    layout: &StateLayout,
    bytes: &[u8],
) -> Result<State, StateError> {
    let corrupt = |what| StateError::Corrupt { sensor: sensor.clone(), what };
    // Before the checksum: a newer format may do without it, and is no damage.
    match bytes.first() {
        Some(&(ONE_VERSION | FORMAT)) => {}
        Some(&found) if found > FORMAT => return Err(StateError::NewerFormat { sensor: sensor.clone(), found }),
        Some(_) => return Err(corrupt("its format does not exist")),
        None => return Err(corrupt("it is empty")),
    }
    let (payload, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or_else(|| corrupt("it is too short"))?;
    if xxh3_64(payload) as u32 != u32::from_le_bytes(*checksum) {
        return Err(corrupt("its checksum is wrong"));
    }
    let (layout_hash, mut state) =
        content(payload).ok_or_else(|| corrupt("its checksum is right but its content is no state"))?;
    if layout_hash != layout.hash() {
        return Err(StateError::OtherLayout { sensor: sensor.clone() });
    }
    let complete = state.watched.len() == layout.watched.len() && state.attributes.is_sound(layout.tracked.len());
    if !complete || !state.watched.iter().all(|field| field.is_sound()) {
        return Err(corrupt("its checksum is right but its content is not consistent"));
    }
    if *layout != rules.layout {
        state.watched = by_name(state.watched, &layout.watched, &rules.layout.watched);
        state.attributes.reorder(&layout.tracked, &rules.layout.tracked);
    }
    state.attributes.conform(rules);
    state.seen.shorten(rules.event_ids_max);
    Ok(state)
}

/// The layout's hash and the state; none if it is not one, or something follows.
fn content(payload: &[u8]) -> Option<(u32, State)> {
    let (hash, state, rest) = match payload.first() {
        Some(&ONE_VERSION) => {
            let ((_, hash, state), rest) = postcard::take_from_bytes::<(u8, u32, OneVersion)>(payload).ok()?;
            (hash, state.into(), rest)
        }
        _ => {
            let ((_, hash, state), rest) = postcard::take_from_bytes::<(u8, u32, State)>(payload).ok()?;
            (hash, state, rest)
        }
    };
    rest.is_empty().then_some((hash, state))
}

/// A state of the format [`ONE_VERSION`].
#[derive(Serialize, Deserialize)]
struct OneVersion {
    counts: Counts,
    last_event_time_us: Option<i64>,
    last_arrival_ms: Option<i64>,
    seen: EventIds,
    watched: Vec<FieldState>,
    version: u32,
    valid_from_us: i64,
    values: Vec<Option<Value>>,
}

impl From<OneVersion> for State {
    fn from(old: OneVersion) -> Self {
        let OneVersion { counts, last_event_time_us, last_arrival_ms, seen, watched, version, valid_from_us, values } =
            old;
        // All of its readings since then said this, as far as they said anything.
        let until_us = last_event_time_us.unwrap_or(valid_from_us);
        let attributes = Attributes::of_one(version, valid_from_us, until_us, values);
        Self { counts, last_event_time_us, last_arrival_ms, seen, watched, attributes }
    }
}

/// A state as the first format had it, for tests of its taking over.
#[cfg(test)]
pub(super) fn encode_first_format(state: &State, layout_hash: u32, of_one: (u32, i64, &[Option<Value>])) -> Vec<u8> {
    let State { counts, last_event_time_us, last_arrival_ms, seen, watched, .. } = state;
    let fields = (counts, last_event_time_us, last_arrival_ms, seen, watched, of_one);
    let mut bytes = postcard::to_stdvec(&(ONE_VERSION, layout_hash, fields)).expect("plain values always encode");
    let checksum = xxh3_64(&bytes) as u32;
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The values in the order of `wanted`; what had no such name starts afresh.
fn by_name<T: Default>(mut values: Vec<T>, names: &[String], wanted: &[String]) -> Vec<T> {
    let mut find = |name| names.iter().position(|n| n == name).map(|n| std::mem::take(&mut values[n]));
    wanted.iter().map(|name| find(name).unwrap_or_default()).collect()
}
