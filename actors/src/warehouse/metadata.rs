//! Metadata: what people know of sensors and places beside their events, from objects of the bucket.
//!
//! **Owns** which columns it may have, what a row must be, and the digest that names a content.
//!
//! **Promises**
//! - The same objects make the same content, with the same digest, on every worker and at any time.
//! - A cell that is not as it should be costs that cell, a row that row, and each says why. An object that cannot be read,
//!   or is cut off, costs nothing of what it said before (`sources.rs`).
//! - A value that gets through has its column's type and fits into it (INERT).
//!
//! **Not here**: fetching objects (`loading/metadata.rs`), the warehouse's part (`describe.rs`).

mod cells;
mod files;
mod form;
mod rows;
mod sources;

use messages::EventSchema;
use messages::schema::FieldKind;

pub use self::files::{Limits, Object, Subject};
pub use self::rows::{Content, Lines, MetadataRows, ObjectRows, RowRefusal};
pub use self::sources::{ContentSources, LastGood};
use super::star::{RESERVED, is_of_statements};

/// Columns that one list may declare.
pub const COLUMNS_MAX: usize = 100;
/// The longest name of a column.
const NAME_BYTES_MAX: usize = 63;

/// A column that only metadata has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataColumn {
    /// Its name, in the objects and in the warehouse.
    pub name: String,
    /// Its type.
    pub kind: FieldKind,
}

/// The columns that only metadata has. A tracked attribute of the event schema needs no declaration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataColumns {
    /// Columns of sensors.
    pub sensors: Vec<MetadataColumn>,
    /// Columns of places.
    pub locations: Vec<MetadataColumn>,
    /// Their longest text.
    pub text_bytes_max: usize,
}

impl MetadataColumn {
    /// Reads `name:type`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, kind) = text.split_once(':').unwrap_or((text, "text"));
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let named = name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(plain);
        if !named || name.len() > NAME_BYTES_MAX {
            return Err(format!(
                "must be name:type with a name of at most {NAME_BYTES_MAX} of a-z, 0-9 and _, such as \"owner:text\", not {text:?}"
            ));
        }
        if RESERVED.contains(&name) {
            return Err(format!("{name} is a column of the table already: choose another name"));
        }
        let kinds = [FieldKind::Text, FieldKind::Float, FieldKind::Integer, FieldKind::Boolean];
        match kinds.into_iter().find(|known| known.as_str() == kind) {
            Some(kind) => Ok(Self { name: name.to_owned(), kind }),
            None => Err(format!("the type of {name} must be text, float, integer or boolean, not {kind:?}")),
        }
    }
}

impl MetadataColumns {
    /// What is wrong with the columns of sensors, and with those of places, beside this event schema.
    pub fn problems(&self, schema: &EventSchema) -> (Vec<String>, Vec<String>) {
        let tracked = |name: &str| schema.tracked().any(|(_, spec)| spec.name == name);
        let again = |list: &[MetadataColumn]| {
            let again = |n: &usize| list[..*n].iter().any(|other| other.name == list[*n].name);
            (0..list.len()).filter(again).map(|n| format!("{} is declared twice", list[n].name)).collect::<Vec<_>>()
        };
        let known = self.sensors.iter().filter(|column| tracked(&column.name)).map(|column| {
            format!("{} is a tracked attribute of the event schema: it needs no declaration, remove it", column.name)
        });
        let attributes = schema.tracked().count();
        let taken = self.sensors.iter().filter(|column| is_of_statements(&column.name, attributes));
        let taken = taken
            .map(|column| format!("{} is a column of the load's own statements: choose another name", column.name));
        (again(&self.sensors).into_iter().chain(known).chain(taken).collect(), again(&self.locations))
    }
}
