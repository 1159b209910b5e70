//! Rows: what is said of one sensor from one time on, or of one place; and all of them as a content with a digest.

use std::collections::BTreeMap;

use messages::EventSchema;
use messages::schema::{FieldKind, Value};
use serde_json::{Map, Value as Json, json};
use sha2::{Digest as _, Sha256};

use super::MetadataColumns;
use super::cells::{RawCell, checked};
use super::files::{self, FileRow, Object, Subject};
use super::sources::{ContentSources, LastGood};
use crate::lake::columns;
use crate::warehouse::star::SITE;

/// Texts of one row. A line of JSON may be six times as long, and COPY takes lines of 4 MiB.
const TEXTS_BYTES_MAX: usize = 512 << 10;
/// Reasons are cut to this.
const REASON_CHARS_MAX: usize = 200;
/// Refusals that are kept; the others are counted.
const REFUSALS_MAX: usize = 1_000;

/// A row, or an object, that is not used.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowRefusal {
    /// The object's key.
    pub object: String,
    /// The line, from 1; 0 if it is the object.
    pub line: u64,
    /// What is wrong.
    pub reason: String,
}

/// The rows of some objects.
#[derive(Clone, Debug, Default)]
pub struct MetadataRows {
    sensors: Vec<GoodRow>,
    locations: Vec<GoodRow>,
    refused: Vec<RowRefusal>,
    /// What is worth knowing and costs nothing.
    notes: Vec<RowRefusal>,
    /// Objects that cannot be read.
    unreadable: Vec<RowRefusal>,
    sources: Vec<LastGood>,
    count: usize,
}

/// The rows of one object, before it is known whether they are used.
#[derive(Clone, Debug)]
pub struct ObjectRows {
    /// What it is about.
    pub subject: Subject,
    /// The object's key.
    pub key: String,
    /// Why the object cannot be read as a whole.
    pub unreadable: Option<String>,
    /// Whether its last line ends with a line break.
    pub ends_line: bool,
    rows: Vec<GoodRow>,
    refused: Vec<RowRefusal>,
    unknown: Vec<String>,
    count: usize,
}

/// A row that is as it should be.
#[derive(Clone, Debug, PartialEq)]
struct GoodRow {
    /// The sensor's id, or the site.
    about: String,
    /// Microseconds since 1970; none says always.
    valid_from_us: Option<i64>,
    /// In the order of the columns; none says nothing.
    values: Vec<Option<Value>>,
    object: String,
    line: u64,
}

/// All that is known, ready for the warehouse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// SHA-256 over all of it, in hex.
    pub digest: String,
    /// A line of JSON per row about sensors.
    pub sensors: Lines,
    /// A line of JSON per place.
    pub locations: Lines,
    /// A line of JSON per refusal, the first of them.
    pub refused: Lines,
    /// Rows and objects that were refused, all of them.
    pub refusals: u64,
    /// The first refusal, for a log.
    pub first_refusal: Option<RowRefusal>,
    /// Objects that cannot be read. What they said before, if anything, is in the content.
    pub unreadable: Vec<RowRefusal>,
    /// What is worth knowing and costs nothing: columns that are not used.
    pub notes: Vec<RowRefusal>,
    /// Which bodies it was made of.
    pub sources: ContentSources,
}

/// Lines of JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// Their bytes.
    pub body: Vec<u8>,
    /// How many.
    pub rows: u64,
}

/// A column: name, type, longest text.
type TypedColumn<'a> = (&'a str, FieldKind, usize);

/// The columns that rows about sensors may have: the tracked attributes, and those that are declared.
fn of_sensors<'a>(schema: &'a EventSchema, declared: &'a MetadataColumns) -> Vec<TypedColumn<'a>> {
    let tracked = schema.tracked().map(|(_, spec)| (spec.name.as_str(), spec.kind, spec.text_bytes_max));
    tracked.chain(extra(&declared.sensors, declared.text_bytes_max)).collect()
}

fn extra(declared: &[super::MetadataColumn], text_bytes_max: usize) -> impl Iterator<Item = (&str, FieldKind, usize)> {
    declared.iter().map(move |column| (column.name.as_str(), column.kind, text_bytes_max))
}

impl Content {
    /// Whether it says nothing at all.
    pub fn is_empty(&self) -> bool {
        self.sensors.rows == 0 && self.locations.rows == 0 && self.refusals == 0
    }
}

impl ObjectRows {
    /// Reads one object, and at most one row more than `limits.rows_max` of it.
    pub fn read(object: &Object, schema: &EventSchema, declared: &MetadataColumns, limits: &files::Limits) -> Self {
        let (key, columns) = match object.subject {
            Subject::Sensors => (columns::SENSOR_ID, of_sensors(schema, declared)),
            Subject::Locations => (SITE, extra(&declared.locations, declared.text_bytes_max).collect()),
        };
        let mut wanted = vec![key];
        wanted.extend((object.subject == Subject::Sensors).then_some(columns::VALID_FROM));
        wanted.extend(columns.iter().map(|(name, ..)| *name));
        let rows_max = limits.rows_max;
        let mut part = Self::none(object);
        let ended = files::read(object, &wanted, limits.bytes_max, &mut |line, cells| {
            part.count += 1;
            match cells.and_then(|cells| part.row(line, cells, schema, &columns)) {
                Ok(row) => part.rows.push(row),
                Err(reason) => part.refuse(line, &reason),
            }
            part.count <= rows_max
        });
        match ended {
            Ok(noticed) => {
                part.ends_line = noticed.ends_line;
                part.unknown = noticed.unknown.into_iter().collect();
            }
            Err(reason) => part.unreadable = Some(reason),
        }
        part
    }

    /// A part of an object that could not be looked into.
    pub fn failed(object: &Object, reason: String) -> Self {
        Self { unreadable: Some(reason), ..Self::none(object) }
    }

    fn none(object: &Object) -> Self {
        let (subject, key) = (object.subject, object.key.clone());
        let (rows, refused, unknown) = (Vec::new(), Vec::new(), Vec::new());
        Self { subject, key, unreadable: None, ends_line: true, rows, refused, unknown, count: 0 }
    }

    /// How many rows can be used.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    fn refuse(&mut self, line: u64, reason: &str) {
        self.refused.push(RowRefusal::new(&self.key, line, reason));
    }

    /// A row; a cell that is not as it should be is empty, and refused for itself.
    fn row(
        &mut self,
        line: u64,
        cells: FileRow,
        schema: &EventSchema,
        columns: &[TypedColumn<'_>],
    ) -> Result<GoodRow, String> {
        let mut cells = cells.into_iter();
        let about = cells.next().unwrap_or(RawCell::Absent);
        let (about, valid_from_us) = match self.subject {
            Subject::Sensors => {
                let at = |what: String| format!("{}: {what}", columns::VALID_FROM);
                (sensor(about, schema)?, cells.next().unwrap_or(RawCell::Absent).time().map_err(at)?)
            }
            Subject::Locations => (site(about, schema)?, None),
        };
        let mut values = Vec::new();
        for ((name, kind, text_bytes_max), cell) in columns.iter().zip(cells) {
            values.push(cell.value(*kind, *text_bytes_max).unwrap_or_else(|what| {
                self.refuse(line, &format!("{name}: {what}: the cell is left out"));
                None
            }));
        }
        let text = |value: &Option<Value>| if let Some(Value::Text(text)) = value { text.len() } else { 0 };
        let texts: usize = values.iter().map(text).sum();
        if texts > TEXTS_BYTES_MAX {
            return Err(format!("has {texts} bytes of text, more than the {TEXTS_BYTES_MAX} that a row may have"));
        }
        Ok(GoodRow { about, valid_from_us, values, object: self.key.clone(), line })
    }
}

impl RowRefusal {
    fn new(object: &str, line: u64, reason: &str) -> Self {
        let clean = |c: char| if c.is_control() { ' ' } else { c };
        let reason = reason.chars().map(clean).take(REASON_CHARS_MAX).collect();
        Self { object: object.chars().map(clean).collect(), line, reason }
    }
}

impl MetadataRows {
    /// Uses what an object says, which was read from this source.
    pub fn take(&mut self, part: ObjectRows, source: LastGood) {
        let ObjectRows { subject, key, rows, refused, unknown, count, .. } = part;
        self.count += count;
        self.refused.extend(refused);
        match subject {
            Subject::Sensors => self.sensors.extend(rows),
            Subject::Locations => self.locations.extend(rows),
        }
        for name in unknown {
            let note = format!("the column {name} is not used: it is no tracked attribute, and not declared");
            self.notes.push(RowRefusal::new(&key, 1, &note));
        }
        self.sources.push(source);
    }

    /// An object cannot be read. What it said before, if anything, is taken beside this.
    pub fn hold(&mut self, object: &str, reason: &str, keeps: bool) {
        let rest = if keeps { "what it said before stays in force" } else { "nothing is known of it" };
        // The rest must not be cut off.
        let reason: String = reason.chars().take(REASON_CHARS_MAX - 50).collect();
        let refusal = RowRefusal::new(object, 0, &format!("{reason}; {rest}"));
        self.refused.push(refusal.clone());
        self.unreadable.push(refusal);
    }

    /// Whether there was more than may be.
    pub fn is_full(&self, limits: &files::Limits) -> bool {
        self.count > limits.rows_max
    }

    /// All of it, in an order of its own. Where two rows say different things of the same, the one that stands first
    /// holds, by key and line.
    pub fn into_content(mut self, schema: &EventSchema, declared: &MetadataColumns) -> Content {
        let (sensors, locations) = (std::mem::take(&mut self.sensors), std::mem::take(&mut self.locations));
        let sensors = self.without_doubles(sensors);
        let locations = self.without_doubles(locations);
        let sensors = sensor_lines(&sensors, &of_sensors(schema, declared));
        let columns: Vec<TypedColumn<'_>> = extra(&declared.locations, declared.text_bytes_max).collect();
        let locations = lines(locations.iter().map(|row| {
            let mut line = Map::from_iter([(SITE.to_owned(), json!(row.about))]);
            values(&mut line, row, &columns);
            line
        }));
        self.refused.sort();
        self.notes.sort();
        let told = self.refused.iter().chain(&self.notes).take(REFUSALS_MAX);
        let refused = lines(told.map(|refusal| {
            let RowRefusal { object, line, reason } = refusal;
            Map::from_iter([
                ("object".to_owned(), json!(object)),
                ("line".to_owned(), json!(line)),
                ("reason".to_owned(), json!(reason)),
            ])
        }));
        let sources = ContentSources::new(std::mem::take(&mut self.sources));
        let mut hash = Sha256::new();
        for part in [&sensors.body, &locations.body, &refused.body, &sources.to_json()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.update((self.refused.len() as u64).to_be_bytes());
        let digest = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let (refusals, first_refusal) = (self.refused.len() as u64, self.refused.first().cloned());
        let Self { unreadable, notes, .. } = self;
        Content { digest, sensors, locations, refused, refusals, first_refusal, unreadable, notes, sources }
    }

    fn without_doubles(&mut self, mut rows: Vec<GoodRow>) -> Vec<GoodRow> {
        rows.sort_by(|a, b| {
            let (left, right) = ((&a.about, a.valid_from_us), (&b.about, b.valid_from_us));
            left.cmp(&right).then_with(|| (&a.object, a.line).cmp(&(&b.object, b.line)))
        });
        let mut kept: Vec<GoodRow> = Vec::new();
        for row in rows {
            let first = kept.last().filter(|k| k.about == row.about && k.valid_from_us == row.valid_from_us);
            match first {
                Some(first) if first.values == row.values => {}
                Some(first) => {
                    let reason = format!("says otherwise than line {} of {}, which holds", first.line, first.object);
                    self.refused.push(RowRefusal::new(&row.object, row.line, &reason));
                }
                None => kept.push(row),
            }
        }
        kept
    }
}

fn sensor(cell: RawCell, schema: &EventSchema) -> Result<String, String> {
    let (spec, at) = (&schema.sensor_id, |what: &str| format!("{}: {what}", columns::SENSOR_ID));
    let id = match cell {
        RawCell::Text(id) | RawCell::Localised(id) => checked(id, spec.bytes_max).map_err(|what| at(&what))?,
        // As a number stands for an id in an event.
        RawCell::Integer(n) => n.to_string(),
        RawCell::Absent => return Err(at("is missing")),
        _ => return Err(at("must be a text")),
    };
    if id.is_empty() {
        return Err(at("is empty"));
    }
    match id.chars().find(|c| !spec.allows(*c)) {
        Some(c) => Err(at(&format!("has the character {c:?}, which no id may have"))),
        None => Ok(id),
    }
}

fn site(cell: RawCell, schema: &EventSchema) -> Result<String, String> {
    let at = |what: String| format!("{SITE}: {what}");
    let spec = schema.tracked().map(|(_, spec)| spec).find(|spec| spec.name == SITE && spec.kind == FieldKind::Text);
    let spec = spec.ok_or_else(|| at("the event schema tracks no text of this name".to_owned()))?;
    match cell.value(FieldKind::Text, spec.text_bytes_max).map_err(at)? {
        Some(Value::Text(site)) => Ok(site),
        _ => Err(at("is missing".to_owned())),
    }
}

/// Rows about sensors, with the names of their versions: -1 is the first of a sensor.
fn sensor_lines(rows: &[GoodRow], columns: &[TypedColumn<'_>]) -> Lines {
    let mut versions: BTreeMap<&str, i64> = BTreeMap::new();
    lines(rows.iter().map(|row| {
        let version = versions.entry(&row.about).or_default();
        *version -= 1;
        let stated = columns.iter().zip(&row.values).filter(|(_, value)| value.is_some());
        let stated: Vec<&str> = stated.map(|((name, ..), _)| *name).collect();
        let mut line = Map::from_iter([
            (columns::SENSOR_ID.to_owned(), json!(row.about)),
            (columns::VERSION.to_owned(), json!(*version)),
            ("valid_from_us".to_owned(), json!(row.valid_from_us)),
            (columns::CHANGED.to_owned(), json!(stated.join(","))),
        ]);
        values(&mut line, row, columns);
        line
    }))
}

fn values(line: &mut Map<String, Json>, row: &GoodRow, columns: &[TypedColumn<'_>]) {
    for ((name, ..), value) in columns.iter().zip(&row.values) {
        let value = match value {
            None => continue,
            Some(Value::Float(x)) => json!(x),
            Some(Value::Integer(n)) => json!(n),
            Some(Value::Boolean(b)) => json!(b),
            Some(Value::Text(text)) => json!(text),
        };
        line.insert((*name).to_owned(), value);
    }
}

fn lines(objects: impl Iterator<Item = Map<String, Json>>) -> Lines {
    let mut lines = Lines::default();
    for object in objects {
        serde_json::to_writer(&mut lines.body, &object).expect("it is plain data with text keys");
        lines.body.push(b'\n');
        lines.rows += 1;
    }
    lines
}
