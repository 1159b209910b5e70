//! The schema's paths as a tree, so that one pass over an event finds everything.

use std::collections::BTreeMap;

use messages::EventSchema;
use messages::schema::FieldPath;

/// What stands at the end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    SensorId,
    Time,
    EventId,
    Sequence,
    Field(usize),
}

/// An object whose keys matter.
#[derive(Debug, Default)]
pub(super) struct Paths {
    children: BTreeMap<String, (usize, Node)>,
}

#[derive(Debug)]
pub(super) enum Node {
    Object(Paths),
    Leaf(Slot),
}

impl Paths {
    pub(super) fn new(schema: &EventSchema) -> Self {
        let mut root = Self::default();
        root.insert(&schema.sensor_id.path, Slot::SensorId);
        root.insert(&schema.time.path, Slot::Time);
        if let Some(path) = &schema.event_id {
            root.insert(path, Slot::EventId);
        }
        if let Some(path) = &schema.sequence {
            root.insert(path, Slot::Sequence);
        }
        for (index, field) in schema.fields.iter().enumerate() {
            root.insert(&field.path, Slot::Field(index));
        }
        root
    }

    // The schema has checked that no path is a prefix of another.
    fn insert(&mut self, path: &FieldPath, slot: Slot) {
        let mut at = self;
        let (last, before) = path.0.split_last().expect("a path has at least one key");
        for key in before {
            let number = at.children.len();
            let child = at.children.entry(key.clone());
            let (_, node) = child.or_insert_with(|| (number, Node::Object(Paths::default())));
            match node {
                Node::Object(inner) => at = inner,
                Node::Leaf(_) => unreachable!("the schema refuses paths that run through one another"),
            }
        }
        let number = at.children.len();
        at.children.insert(last.clone(), (number, Node::Leaf(slot)));
    }

    /// The child under a key, with its number among its siblings.
    pub(super) fn get(&self, key: &str) -> Option<&(usize, Node)> {
        self.children.get(key)
    }

    pub(super) fn len(&self) -> usize {
        self.children.len()
    }
}
