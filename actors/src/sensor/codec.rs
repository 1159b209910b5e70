//! A sensor's state as bytes: what an epoch's state object holds and what is left of a sensor that sleeps.
//!
//! **Owns** the format: one byte of version, the state in postcard, four bytes of checksum. Values stand in the order of
//! the schema without names (`layout.rs`).
//!
//! | format | what is different |
//! |---|---|
//! | 1 | one version of the attributes, and nothing of those before; only read |
//! | 2 | the first four detectors, each in its place |
//! | 3 | any detectors: for each that has a state its tag, the length, and the state |
//!
//! **Promises**
//! - Equal states have equal bytes.
//! - A state is written in format 2 as long as only the first four detectors have anything to remember: what a build
//!   writes that knows no others, byte for byte. So an epoch that one of them has prepared is finished by the other, and
//!   each goes on from what the other has left.
//! - A further detector breaks no stored state: it begins afresh where nothing is stored of it. A tag that this build does
//!   not know is dropped, and so is the state of a further detector that the schema does not ask for: builds that know it
//!   and builds that do not go on from the same bytes alike. The first four keep theirs, as ever.
//! - Damage is found (the checksum), a newer format is named as such, and no number that is not finite gets in.
//!
//! **Fails** with a [`StateError`]; nothing is guessed.

use messages::SensorId;
use messages::schema::Value;
use serde::{Deserialize, Serialize, Serializer};
use xxhash_rust::xxh3::xxh3_64;

use super::attributes::Attributes;
use super::core::{Counts, State};
use super::dedup::EventIds;
use super::detectors::{DetectorStates, FieldState, Latest, band, flat, rate, score};
use super::layout::Layout;
use super::rules::SensorRules;

/// The newest format that this build reads.
const FORMAT: u8 = 3;
const PLACES: u8 = 2;
const ONE_VERSION: u8 = 1;
/// The last tag of those that have a place in format 2.
const LAST_WITH_PLACE: u32 = 4;
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
    /// Written under other fields than the schema has.
    #[error("state of sensor {sensor} was written under another schema than the one given")]
    OtherLayout {
        /// The sensor.
        sensor: SensorId,
    },
}

/// What stands before the fields, in all formats.
type Head = (Counts, Option<i64>, Option<i64>, EventIds);
/// A field in formats 1 and 2.
type PositionalField = (Option<Latest>, band::State, rate::State, bool, flat::State, score::Baseline);
/// A field in format 3.
type TaggedField<'a> = (Option<Latest>, Vec<(u32, &'a [u8])>);

pub(super) fn encode(state: &State, rules: &SensorRules) -> Vec<u8> {
    let State { counts, last_event_time_us, last_arrival_ms, seen, watched, attributes } = state;
    let (head, hash) = ((counts, last_event_time_us, last_arrival_ms, seen), rules.layouts[0].hash);
    let further = watched.iter().any(|field| field.detectors.goes_beyond(LAST_WITH_PLACE));
    let encoded = match further {
        false => postcard::to_stdvec(&(PLACES, hash, head, InPlaces(watched), attributes)),
        true => {
            let fields: Vec<_> = watched.iter().map(|field| (field.latest, field.detectors.tagged())).collect();
            postcard::to_stdvec(&(FORMAT, hash, head, fields, attributes))
        }
    };
    sealed(encoded.expect("a vector grows, and every part knows its length"))
}

fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = xxh3_64(&bytes) as u32;
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

struct InPlaces<'a>(&'a [FieldState]);

impl Serialize for InPlaces<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|FieldState { latest, detectors }| {
            let score = &detectors.score;
            (latest, &detectors.band, &detectors.rate, score.far, &detectors.flat, &score.baseline)
        }))
    }
}

/// Reads a state and fits it to `rules`.
pub(super) fn decode(sensor: &SensorId, rules: &SensorRules, bytes: &[u8]) -> Result<State, StateError> {
    let corrupt = |what| StateError::Corrupt { sensor: sensor.clone(), what };
    // Before the checksum: a newer format may do without it, and is no damage.
    match bytes.first() {
        Some(&(ONE_VERSION..=FORMAT)) => {}
        Some(&found) if found > FORMAT => return Err(StateError::NewerFormat { sensor: sensor.clone(), found }),
        Some(_) => return Err(corrupt("its format does not exist")),
        None => return Err(corrupt("it is empty")),
    }
    let (payload, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or_else(|| corrupt("it is too short"))?;
    if xxh3_64(payload) as u32 != u32::from_le_bytes(*checksum) {
        return Err(corrupt("its checksum is wrong"));
    }
    let (hash, mut state) =
        content(payload).ok_or_else(|| corrupt("its checksum is right but its content is no state"))?;
    let Some(layout) = rules.layouts.iter().find(|layout| layout.hash == hash) else {
        return Err(StateError::OtherLayout { sensor: sensor.clone() });
    };
    let complete = state.watched.len() == layout.watched && state.attributes.is_sound(rules.tracked.len());
    if !complete || !state.watched.iter().all(|field| field.is_sound()) {
        return Err(corrupt("its checksum is right but its content is not consistent"));
    }
    fit(&mut state, rules, layout);
    Ok(state)
}

/// The layout's hash and the state; none if it is not one, or something follows.
fn content(payload: &[u8]) -> Option<(u32, State)> {
    match *payload.first()? {
        ONE_VERSION => {
            type OneVersion = (u32, i64, Vec<Option<Value>>);
            let (hash, head, fields, of_one) = whole::<(u32, Head, Vec<PositionalField>, OneVersion)>(payload)?;
            let (version, valid_from_us, values) = of_one;
            // All of its readings since then said this, as far as they said anything.
            let until_us = head.1.unwrap_or(valid_from_us);
            let attributes = Attributes::of_one(version, valid_from_us, until_us, values);
            Some((hash, state(head, fields.into_iter().map(of_places).collect(), attributes)))
        }
        PLACES => {
            let (hash, head, fields, attributes) = whole::<(u32, Head, Vec<PositionalField>, Attributes)>(payload)?;
            Some((hash, state(head, fields.into_iter().map(of_places).collect(), attributes)))
        }
        _ => {
            let (hash, head, fields, attributes) = whole::<(u32, Head, Vec<TaggedField<'_>>, Attributes)>(payload)?;
            Some((hash, state(head, fields.into_iter().map(of_tags).collect::<Option<_>>()?, attributes)))
        }
    }
}

/// What follows the byte of the format, if it is all there is.
fn whole<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Option<T> {
    let (value, rest) = postcard::take_from_bytes(payload.get(1..)?).ok()?;
    rest.is_empty().then_some(value)
}

fn state((counts, last_event_time_us, last_arrival_ms, seen): Head, watched: Vec<FieldState>, of: Attributes) -> State {
    State { counts, last_event_time_us, last_arrival_ms, seen, watched, attributes: of }
}

fn of_places((latest, band, rate, far, flat, baseline): PositionalField) -> FieldState {
    let mut field = FieldState { latest, ..FieldState::default() };
    (field.detectors.band, field.detectors.rate, field.detectors.flat) = (band, rate, flat);
    field.detectors.score = score::State { far, baseline };
    field
}

fn of_tags((latest, tagged): TaggedField<'_>) -> Option<FieldState> {
    Some(FieldState { latest, detectors: DetectorStates::of_tagged(&tagged)? })
}

fn fit(state: &mut State, rules: &SensorRules, layout: &Layout) {
    if layout.hash != rules.layouts[0].hash {
        let place = |place: &Option<usize>| place.map(|place| std::mem::take(&mut state.watched[place]));
        state.watched = layout.places.iter().map(place).map(Option::unwrap_or_default).collect();
    }
    for (field, watch) in state.watched.iter_mut().zip(&rules.watched) {
        field.detectors.forget_unasked(&watch.rules, LAST_WITH_PLACE);
    }
    state.attributes.conform(rules);
    state.seen.shorten(rules.event_ids_max);
}
