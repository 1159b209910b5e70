//! Which field stands where in a sensor's stored state.
//!
//! **Owns** the order of the watched fields and of the tracked attributes, and the hash by which a state names it.
//! **Promises** a detector may be put on a tracked number, or taken off it, without a state being lost: the other fields
//! are found where they were.
//! **Not here**: fields that come or go. The shard refuses those, by their names (`recovery.rs`).

use messages::schema::{EventSchema, FieldSpec};
use xxhash_rust::xxh3::xxh3_64;

use super::rules::is_watched;

/// Tracked numbers for which it is left open whether they were watched: each doubles the number of layouts.
const OPEN_MAX: usize = 6;

/// One order of fields.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) hash: u32,
    /// How many fields are watched in it.
    pub(super) watched: usize,
    /// For each field that is watched now: its place in it.
    pub(super) places: Vec<Option<usize>>,
}

/// The layout of a schema, and behind it those of the same fields with other detectors.
pub(super) fn of(schema: &EventSchema) -> Vec<Layout> {
    let is_open = |field: &&FieldSpec| field.kind.is_number() && field.tracked.is_some();
    let open: Vec<&str> = schema.fields.iter().filter(is_open).map(|field| field.name.as_str()).collect();
    let n_others = if open.len() <= OPEN_MAX { 1 << open.len() } else { 0 };
    let other = |set: usize| {
        let watched = |field: &FieldSpec| match open.iter().position(|name| *name == field.name) {
            Some(place) => set & (1 << place) != 0,
            None => is_watched(field),
        };
        layout(schema, watched)
    };
    std::iter::once(layout(schema, is_watched)).chain((0..n_others).map(other)).collect()
}

fn layout(schema: &EventSchema, watched: impl Fn(&FieldSpec) -> bool) -> Layout {
    let names = |fields: &[&FieldSpec]| fields.iter().map(|field| field.name.as_str()).collect::<Vec<_>>().join("\n");
    let of =
        |wanted: &dyn Fn(&FieldSpec) -> bool| schema.fields.iter().filter(|field| wanted(field)).collect::<Vec<_>>();
    let (stored, tracked, now) = (of(&watched), of(&|field| field.tracked.is_some()), of(&is_watched));
    // Names have no line breaks, so this text is the layout and nothing else.
    let text = format!("{}\n\n{}", names(&stored), names(&tracked));
    let place = |field: &&FieldSpec| stored.iter().position(|other| other.name == field.name);
    let places = now.iter().map(place).collect();
    Layout { hash: xxh3_64(text.as_bytes()) as u32, watched: stored.len(), places }
}
