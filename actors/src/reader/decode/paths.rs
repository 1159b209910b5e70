//! The schema's paths as a tree, so that one pass over an event finds everything.

use std::collections::BTreeMap;

use messages::EventSchema;
use messages::schema::{FIELDS_MAX, FieldPath};

/// Slots of a schema: its fields, and four others.
pub(super) const SLOTS_MAX: usize = FIELDS_MAX + 4;
/// Children of one object: each leads to a slot.
pub(super) const CHILDREN_MAX: usize = SLOTS_MAX;

/// What stands at the end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathEnd {
    SensorId,
    Time,
    EventId,
    Sequence,
    Field(usize),
}

impl PathEnd {
    /// Its place among all slots of a schema.
    pub(super) fn number(self) -> usize {
        match self {
            Self::SensorId => 0,
            Self::Time => 1,
            Self::EventId => 2,
            Self::Sequence => 3,
            Self::Field(index) => 4 + index,
        }
    }
}

/// An object whose keys matter.
#[derive(Debug, Default)]
pub(super) struct Paths {
    children: BTreeMap<String, (usize, PathNode)>,
}

#[derive(Debug)]
pub(super) enum PathNode {
    Object(Paths),
    Leaf(PathEnd),
}

impl Paths {
    pub(super) fn new(schema: &EventSchema) -> Self {
        let mut root = Self::default();
        for (slot, path) in slots(schema) {
            root.insert(path, slot);
        }
        root
    }

    // The schema has checked that no path is a prefix of another.
    fn insert(&mut self, path: &FieldPath, slot: PathEnd) {
        let mut at = self;
        let (last, before) = path.0.split_last().expect("a path has at least one key");
        for key in before {
            let number = at.children.len();
            let child = at.children.entry(key.clone());
            let (_, node) = child.or_insert_with(|| (number, PathNode::Object(Paths::default())));
            match node {
                PathNode::Object(inner) => at = inner,
                PathNode::Leaf(_) => unreachable!("the schema refuses paths that run through one another"),
            }
        }
        let number = at.children.len();
        at.children.insert(last.clone(), (number, PathNode::Leaf(slot)));
    }

    /// The child under a key, with its number among its siblings.
    pub(super) fn get(&self, key: &str) -> Option<&(usize, PathNode)> {
        self.children.get(key)
    }
}

/// All that a schema looks for, with where.
pub(super) fn slots(schema: &EventSchema) -> Vec<(PathEnd, &FieldPath)> {
    let mut slots = vec![(PathEnd::SensorId, &schema.sensor_id.path), (PathEnd::Time, &schema.time.path)];
    slots.extend(schema.event_id.iter().map(|path| (PathEnd::EventId, path)));
    slots.extend(schema.sequence.iter().map(|path| (PathEnd::Sequence, path)));
    slots.extend(schema.fields.iter().enumerate().map(|(index, field)| (PathEnd::Field(index), &field.path)));
    slots
}
