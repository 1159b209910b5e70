//! The star: which tables the warehouse has, made from the event schema.
//!
//! **Promises** the columns of a table that is filled from a zone are those of the zone, by the same list
//! (`lake/columns.rs`).
//! **Not here**: DDL (`tables.rs`), filling (`load.rs`).

use arrow::datatypes::{DataType, Schema};
use messages::EventSchema;
use messages::schema::FieldKind;

use super::literal::{self, Sql, Unquotable};
use super::metadata::{MetadataColumn, MetadataColumns};
use super::sql;
use super::tables::{Kind, Spread, Table, TableColumn, qualified};
use crate::lake::columns;

/// Names that stand in more than one place.
pub(super) const READINGS: &str = "sensor_readings";
pub(super) const SAID: &str = "sensor_versions";
pub(super) const SENSORS: &str = "dim_sensors";
pub(super) const LOCATIONS: &str = "dim_locations";
pub(super) const HOURLY: &str = "sensor_hourly";
pub(super) const DAILY: &str = "sensor_daily";
pub(super) const HOURLY_PARTS: &str = "sensor_hourly_parts";
pub(super) const DAILY_PARTS: &str = "sensor_daily_parts";
pub(super) const ALERTS: &str = "alerts";
pub(super) const LEDGER: &str = "load_ledger";
pub(super) const REFUSED: &str = "load_refused";
pub(super) const VERSIONS: &str = "schema_versions";
pub(super) const DESCRIBED: &str = "sensor_metadata";
pub(super) const DESCRIBED_PLACES: &str = "location_metadata";
pub(super) const METADATA_VERSIONS: &str = "metadata_versions";
pub(super) const METADATA_REFUSED: &str = "metadata_refused";

/// The attribute by which places are described.
pub(super) const SITE: &str = "site";
pub(super) const SOURCE: &str = "source";
/// Columns of dimensions that no declaration may take.
pub(super) const RESERVED: [&str; 17] = [
    columns::SENSOR_ID,
    columns::VERSION,
    columns::VALID_FROM,
    columns::CHANGED,
    columns::SHARD,
    columns::SEQUENCE,
    columns::SUB_SEQUENCE,
    columns::ARRIVAL_TIME,
    VALID_TO,
    IS_CURRENT,
    ORDINAL,
    SOURCE,
    FIRST_SEEN,
    SITE,
    "latitude",
    "longitude",
    "valid_from_us",
];

/// Columns that the statements about versions have beside those of the tables (`sql/versions.sql`).
const OF_STATEMENTS: [&str; 5] = ["namesakes", "same_number", "place", "before", "anew"];

/// Columns that the loader computes.
pub(super) const FIRST_SEEN: &str = "first_seen";
pub(super) const VALID_TO: &str = "valid_to";
pub(super) const IS_CURRENT: &str = "is_current";
pub(super) const ORDINAL: &str = "ordinal";
pub(super) const SHARDS: &str = "shards";

/// The attributes that make a place, when a schema tracks them.
const PLACE: [(&str, FieldKind); 3] =
    [(SITE, FieldKind::Text), ("latitude", FieldKind::Float), ("longitude", FieldKind::Float)];

/// As long as an event schema may let a sensor's id be.
const SENSOR_ID_BYTES_MAX: u32 = messages::schema::SENSOR_ID_BYTES_MAX as u32;
/// The longest site that places can be told apart by: it is in keys, and those never get wider.
pub const SITE_BYTES_MAX: u32 = 1_024;
/// Kinesis names shards in 128 bytes at most.
const SHARD_BYTES: u32 = 128;
/// As long as its documentation lets a sequence number be.
const SEQUENCE_BYTES: u32 = 129;
const EVENT_ID_BYTES: u32 = 256;
/// Field names have at most 64 bytes.
const FIELD_BYTES: u32 = 64;
/// The longest text that a column can hold.
const TEXT_BYTES_MAX: u32 = 65_535;
/// SHA-256 in hex.
const DIGEST_BYTES: u32 = 64;
/// As long as S3 lets a key be.
const KEY_BYTES: u32 = 1_024;
/// A reason of at most 200 characters.
const REASON_BYTES: u32 = 800;
/// What is kept of an error.
pub(super) const ERROR_BYTES: u32 = 4_096;

/// Whether the statements about versions have a column of this name beside those of the tables: two for each of so many
/// tracked attributes.
pub(super) fn is_of_statements(name: &str, attributes: usize) -> bool {
    let numbered = |prefix| {
        let number =
            name.strip_prefix(prefix).and_then(|n: &str| n.parse::<usize>().ok().filter(|of| of.to_string() == n));
        number.is_some_and(|n| n < attributes)
    };
    OF_STATEMENTS.contains(&name) || numbered("now_") || numbered("was_")
}

/// The first tracked attribute that is called like a column that the versions of a sensor have already: no load of it
/// would go through.
pub fn taken(schema: &EventSchema) -> Option<&str> {
    let attributes = schema.tracked().count();
    // Only metadata, which loads do not wait for, is staged beside this column.
    let of_metadata = |name: &str| name == "valid_from_us";
    let of_place = |name: &str| name == FIRST_SEEN || PLACE.iter().any(|(known, _)| *known == name);
    let of_table = |name: &&str| RESERVED.contains(name) && !of_place(name) && !of_metadata(name);
    let is_taken = |name: &&str| is_of_statements(name, attributes) || of_table(name);
    schema.tracked().map(|(_, spec)| spec.name.as_str()).find(is_taken)
}

/// Every table of the warehouse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StarSchema {
    /// The warehouse's schema that holds them.
    pub namespace: String,
    /// The tables, in the order in which they are made.
    pub tables: Vec<Table>,
    /// The tracked attributes that make a place, in order; none for a schema without them.
    pub(super) place: Vec<String>,
    /// The tracked attributes, in schema order.
    pub(super) attributes: Vec<String>,
    /// What only metadata knows.
    pub(super) declared: MetadataColumns,
    /// The fingerprint of the event schema.
    pub(super) fingerprint: String,
}

impl StarSchema {
    /// The tables for this event schema, and for what metadata says beyond it.
    pub fn new(schema: &EventSchema, namespace: &str, declared: &MetadataColumns) -> Result<Self, Unquotable> {
        qualified(namespace, READINGS)?;
        let tracked = |(name, kind): &(&str, FieldKind)| {
            schema.tracked().any(|(_, spec)| spec.name == *name && spec.kind == *kind).then(|| (*name).to_owned())
        };
        let place: Vec<String> = PLACE.iter().filter_map(tracked).collect();
        let mut tables = vec![
            readings(schema),
            said(schema),
            sensors(schema, declared),
            locations(schema, &place, declared),
            // Before the tables that are made of them.
            parts(HOURLY_PARTS, schema, "What each shard has counted of an hour: its latest revision."),
            parts(DAILY_PARTS, schema, "What each shard has counted of a day: its latest revision."),
            windows(HOURLY, schema, "One row for each hour (UTC), sensor and field, over all shards."),
            windows(DAILY, schema, "One row for each day (UTC), sensor and field, over all shards."),
            alerts(schema),
            ledger(),
            refused(),
            versions(),
            described(schema, declared),
            described_places(schema, &place, declared),
            metadata_versions(),
            metadata_refused(),
        ];
        for table in &mut tables {
            table.widen_key(columns::SENSOR_ID, SENSOR_ID_BYTES_MAX);
            table.widen_key(SITE, SITE_BYTES_MAX);
        }
        let attributes = schema.tracked().map(|(_, spec)| spec.name.clone()).collect();
        let (namespace, fingerprint) = (namespace.to_owned(), schema.fingerprint.clone());
        Ok(Self { namespace, tables, place, attributes, declared: declared.clone(), fingerprint })
    }

    /// What only metadata knows.
    pub fn declared(&self) -> &MetadataColumns {
        &self.declared
    }

    /// Asks whether the warehouse's schema is there: one row, or none.
    pub fn has_namespace(&self) -> Result<String, Unquotable> {
        Ok(sql::tables::HasNamespace { namespace: literal::text(&self.namespace)? }.sql().sent())
    }

    /// The statement that makes the warehouse's schema unless it is there.
    pub fn create_namespace(&self) -> Result<String, Unquotable> {
        Ok(sql::tables::CreateNamespace { schema: self.schema()? }.sql().sent())
    }

    /// Every statement that makes an empty warehouse, in order.
    pub fn ddl(&self) -> Result<Vec<String>, Unquotable> {
        let mut statements = vec![self.create_namespace()?];
        for table in &self.tables {
            statements.push(table.create(&self.namespace)?);
            statements.extend(table.comments(&self.namespace)?);
        }
        Ok(statements)
    }

    pub(super) fn table(&self, name: &str) -> &Table {
        self.tables.iter().find(|table| table.name == name).expect("every name above has its table")
    }

    /// The columns of a table.
    pub(super) fn columns(&self, table: &str) -> &[TableColumn] {
        &self.table(table).columns
    }

    /// The warehouse's schema, as `{schema}` of templates.
    pub(super) fn schema(&self) -> Result<Sql, Unquotable> {
        literal::identifier(&self.namespace)
    }

    pub(super) fn at(&self, table: &str) -> Result<Sql, Unquotable> {
        qualified(&self.namespace, table)
    }
}

fn readings(schema: &EventSchema) -> Table {
    let mut columns = of_zone(&columns::cleansed(schema), schema);
    for column in columns.iter_mut().filter(|column| column.name == columns::SENSOR_VERSION) {
        column.comment = "the version of the sensor, in dim_sensors, that holds at the event's time";
    }
    columns.push(TableColumn {
        comment: "good; suspect if a detector fired; late if no hourly aggregate counts the reading",
        ..TableColumn::required("quality", Kind::Text(8))
    });
    Table {
        name: READINGS,
        columns: raw(columns, columns::EVENT_TIME),
        key: vec![columns::SHARD, columns::SEQUENCE, columns::SUB_SEQUENCE],
        spread: Spread::By(columns::SENSOR_ID),
        sorted_by: vec![columns::EVENT_TIME, columns::SENSOR_ID],
        comment: "Every valid reading exactly once: the rows of the cleansed zone.",
    }
}

fn said(schema: &EventSchema) -> Table {
    Table {
        name: SAID,
        columns: raw(of_zone(&columns::dimensions(schema), schema), columns::SENSOR_ID),
        key: vec![columns::SHARD, columns::SEQUENCE, columns::SUB_SEQUENCE, columns::VERSION],
        spread: Spread::By(columns::SENSOR_ID),
        sorted_by: vec![columns::SENSOR_ID, columns::VALID_FROM],
        comment: "What sensors said about themselves: the rows of the dimensions zone. dim_sensors is made of it.",
    }
}

fn sensors(schema: &EventSchema, declared: &MetadataColumns) -> Table {
    let mut columns = of_zone(&columns::dimensions(schema), schema);
    widen_changed(&mut columns, declared);
    let after = columns.iter().position(|column| column.name == columns::VALID_FROM).map_or(0, |at| at + 1);
    let ends = TableColumn {
        comment: "event time from which the next version holds; empty for the current one",
        ..TableColumn::optional(VALID_TO, Kind::Timestamp)
    };
    columns.splice(after..after, [ends, TableColumn::required(IS_CURRENT, Kind::Boolean)]);
    columns.push(TableColumn {
        comment: "its place among the versions of its sensor, by the time from which they hold; 1 is the first",
        ..TableColumn::optional(ORDINAL, Kind::BigInt)
    });
    columns.push(TableColumn {
        comment: "event or metadata: who said it",
        ..TableColumn::optional(SOURCE, Kind::Text(8))
    });
    columns.extend(extra(&declared.sensors, declared.text_bytes_max));
    Table {
        name: SENSORS,
        columns: raw(columns, columns::SENSOR_ID),
        key: vec![columns::SENSOR_ID, columns::SHARD, columns::SEQUENCE, columns::SUB_SEQUENCE, columns::VERSION],
        spread: Spread::By(columns::SENSOR_ID),
        sorted_by: vec![columns::SENSOR_ID, columns::VALID_FROM],
        comment: "Every version of every sensor's attributes, with the interval of event time in which it holds.",
    }
}

fn locations(schema: &EventSchema, place: &[String], declared: &MetadataColumns) -> Table {
    let known = schema.tracked().map(|(_, spec)| spec);
    let kinds: Vec<(String, Kind)> = known
        .filter(|spec| place.contains(&spec.name))
        .map(|spec| (spec.name.clone(), field_kind(spec.kind, spec.text_bytes_max)))
        .collect();
    let mut columns: Vec<TableColumn> = Vec::new();
    for (name, kind) in PLACE {
        let found = kinds.iter().find(|(known, _)| known == name).map(|(_, kind)| *kind);
        columns.push(TableColumn::optional(name, found.unwrap_or_else(|| field_kind(kind, FIELD_BYTES as usize))));
    }
    let since = TableColumn {
        comment: "event time from which a version names this place",
        ..TableColumn::required(FIRST_SEEN, Kind::Timestamp)
    };
    columns.push(since);
    columns.extend(extra(&declared.locations, declared.text_bytes_max));
    Table {
        name: LOCATIONS,
        columns,
        key: Vec::new(),
        spread: Spread::Everywhere,
        sorted_by: vec!["site"],
        comment: "Every place that a version of a sensor names: the tracked attributes site, latitude and longitude. Empty if the event schema tracks none of them.",
    }
}

/// The columns of the zone; the times came later, and older rows have none.
fn of_windows(schema: &EventSchema) -> Vec<TableColumn> {
    let mut columns = of_zone(&columns::aggregates(), schema);
    let times = [columns::FIRST_TIME, columns::LAST_TIME];
    columns
        .iter_mut()
        .filter(|column| times.contains(&column.name.as_str()))
        .for_each(|column| column.required = false);
    columns
}

/// A window as one shard knows it: the rows of the zone.
fn parts(name: &'static str, schema: &EventSchema, comment: &'static str) -> Table {
    Table {
        name,
        columns: raw(of_windows(schema), columns::WINDOW_START),
        key: vec![columns::SENSOR_ID, columns::FIELD, columns::WINDOW_START, columns::SHARD],
        spread: Spread::By(columns::SENSOR_ID),
        sorted_by: vec![columns::WINDOW_START, columns::SENSOR_ID],
        comment,
    }
}

/// A window as all shards together know it.
fn windows(name: &'static str, schema: &EventSchema, comment: &'static str) -> Table {
    let mut columns = of_windows(schema);
    for column in &mut columns {
        column.comment = match column.name.as_str() {
            columns::REVISION => "grows with every part that is written again",
            columns::SHARD => "the first of the shards that have counted readings of it",
            columns::EPOCH => "the highest of the epochs that wrote the parts",
            _ => column.comment,
        };
    }
    columns.push(TableColumn {
        comment: "the number of shards that have counted readings of it; 1 unless the sensor was on several",
        ..TableColumn::optional(SHARDS, Kind::BigInt)
    });
    Table {
        name,
        columns: raw(columns, columns::WINDOW_START),
        key: vec![columns::SENSOR_ID, columns::FIELD, columns::WINDOW_START],
        spread: Spread::By(columns::SENSOR_ID),
        sorted_by: vec![columns::WINDOW_START, columns::SENSOR_ID],
        comment,
    }
}

fn alerts(schema: &EventSchema) -> Table {
    let columns = vec![
        TableColumn::required("id", Kind::Text(FIELD_BYTES)),
        TableColumn::required("kind", Kind::Text(16)),
        TableColumn::required("severity", Kind::Text(16)),
        TableColumn::required(columns::SENSOR_ID, sensor_id(schema)),
        TableColumn::optional(columns::FIELD, Kind::Text(FIELD_BYTES)),
        TableColumn::optional("value", Kind::Double),
        TableColumn {
            comment: "what was expected, for a person",
            ..TableColumn::required("message", Kind::Text(1_024))
        },
        TableColumn { raw: true, ..TableColumn::required(columns::EVENT_TIME, Kind::Timestamp) },
        TableColumn::required(columns::ARRIVAL_TIME, Kind::Timestamp),
        TableColumn::required(columns::SHARD, Kind::Text(SHARD_BYTES)),
        TableColumn::optional(columns::SEQUENCE, Kind::Text(SEQUENCE_BYTES)),
    ];
    Table {
        name: ALERTS,
        columns,
        key: vec!["id"],
        spread: Spread::By(columns::SENSOR_ID),
        sorted_by: vec![columns::EVENT_TIME, columns::SENSOR_ID],
        comment: "Every alert that a reading raised, exactly once.",
    }
}

fn ledger() -> Table {
    let columns = vec![
        TableColumn::required("stream", Kind::Text(SHARD_BYTES)),
        TableColumn::required(columns::SHARD, Kind::Text(SHARD_BYTES)),
        TableColumn::required(columns::EPOCH, Kind::BigInt),
        TableColumn {
            comment: "the end of the epoch: a sequence number, or SHARD_END",
            ..TableColumn::required("to_position", Kind::Text(SEQUENCE_BYTES))
        },
        TableColumn { comment: "the load that brought it", ..TableColumn::required("batch", Kind::Text(32)) },
        TableColumn {
            comment: "loaded, or refused: then load_refused says why",
            ..TableColumn::required("state", Kind::Text(8))
        },
        TableColumn::required("readings", Kind::BigInt),
        TableColumn::required("loaded_at", Kind::Timestamp),
        TableColumn {
            comment: "the digest of the metadata in force, in metadata_versions; empty if there was none",
            ..TableColumn::optional("metadata", Kind::Text(DIGEST_BYTES))
        },
        TableColumn {
            comment: "the digest of the epoch's manifest: what was loaded; empty in rows of earlier versions",
            ..TableColumn::optional("content", Kind::Text(DIGEST_BYTES))
        },
    ];
    Table {
        name: LEDGER,
        columns,
        key: vec!["stream", columns::SHARD, columns::EPOCH],
        spread: Spread::Everywhere,
        sorted_by: vec!["stream", columns::SHARD, columns::EPOCH],
        comment: "One row for each epoch that was loaded, written in the transaction that loaded it.",
    }
}

fn refused() -> Table {
    let columns = vec![
        TableColumn::required("stream", Kind::Text(SHARD_BYTES)),
        TableColumn::required(columns::SHARD, Kind::Text(SHARD_BYTES)),
        TableColumn::required(columns::EPOCH, Kind::BigInt),
        TableColumn::required("manifest", Kind::Text(1_024)),
        TableColumn::required("attempts", Kind::Integer),
        TableColumn::required("error", Kind::Text(ERROR_BYTES)),
        TableColumn::required("refused_at", Kind::Timestamp),
    ];
    Table {
        name: REFUSED,
        columns,
        key: vec!["stream", columns::SHARD, columns::EPOCH],
        spread: Spread::Everywhere,
        sorted_by: Vec::new(),
        comment: "Epochs that the warehouse refuses, with its own words. They stay in the lake; mangrove load --retry loads them.",
    }
}

fn versions() -> Table {
    let columns = vec![
        TableColumn::required("applied_at", Kind::Timestamp),
        TableColumn { comment: "of the event schema", ..TableColumn::required("fingerprint", Kind::Text(FIELD_BYTES)) },
        TableColumn::required("statement", Kind::Text(TEXT_BYTES_MAX)),
    ];
    Table {
        name: VERSIONS,
        columns,
        key: Vec::new(),
        spread: Spread::Everywhere,
        sorted_by: vec!["applied_at"],
        comment: "Every statement that changed the tables, in order.",
    }
}

fn described(schema: &EventSchema, declared: &MetadataColumns) -> Table {
    let zone = of_zone(&columns::dimensions(schema), schema);
    let origin = [columns::SHARD, columns::SEQUENCE, columns::SUB_SEQUENCE, columns::ARRIVAL_TIME];
    let mut columns: Vec<TableColumn> =
        zone.into_iter().filter(|column| !origin.contains(&column.name.as_str())).collect();
    widen_changed(&mut columns, declared);
    columns.extend(extra(&declared.sensors, declared.text_bytes_max));
    Table {
        name: DESCRIBED,
        columns: raw(columns, columns::SENSOR_ID),
        key: vec![columns::SENSOR_ID, columns::VERSION],
        spread: Spread::By(columns::SENSOR_ID),
        sorted_by: vec![columns::SENSOR_ID, columns::VALID_FROM],
        comment: "What the metadata in force says of sensors. dim_sensors is made of it and of sensor_versions.",
    }
}

fn described_places(schema: &EventSchema, place: &[String], declared: &MetadataColumns) -> Table {
    let site = if place.iter().any(|name| name == SITE) { text_of(SITE, schema) } else { Kind::Text(FIELD_BYTES) };
    let mut columns = vec![TableColumn::required(SITE, site)];
    columns.extend(extra(&declared.locations, declared.text_bytes_max));
    Table {
        name: DESCRIBED_PLACES,
        columns,
        key: vec![SITE],
        spread: Spread::Everywhere,
        sorted_by: vec![SITE],
        comment: "What the metadata in force says of sites.",
    }
}

fn metadata_versions() -> Table {
    let columns = vec![
        TableColumn { comment: "the highest is in force", ..TableColumn::required("number", Kind::BigInt) },
        TableColumn {
            comment: "of the content, which lies under metadata/<digest>/ in the bucket",
            ..TableColumn::required("digest", Kind::Text(DIGEST_BYTES))
        },
        TableColumn {
            comment: "whose loader put it in force",
            ..TableColumn::required("stream", Kind::Text(SHARD_BYTES))
        },
        TableColumn::required("sensors", Kind::BigInt),
        TableColumn::required("locations", Kind::BigInt),
        TableColumn::required("refused", Kind::BigInt),
        TableColumn::required("applied_at", Kind::Timestamp),
    ];
    Table {
        name: METADATA_VERSIONS,
        columns,
        key: vec!["number"],
        spread: Spread::Everywhere,
        sorted_by: vec!["number"],
        comment: "Every content of the metadata that was ever in force, in order, with its rows.",
    }
}

fn metadata_refused() -> Table {
    let columns = vec![
        TableColumn::required("object", Kind::Text(KEY_BYTES)),
        TableColumn { comment: "from 1; 0 is the object as a whole", ..TableColumn::required("line", Kind::BigInt) },
        TableColumn::required("reason", Kind::Text(REASON_BYTES)),
    ];
    Table {
        name: METADATA_REFUSED,
        columns,
        key: Vec::new(),
        spread: Spread::Everywhere,
        sorted_by: Vec::new(),
        comment: "Rows of the metadata in force that are not used, and why; the first of them.",
    }
}

/// The columns that only metadata has.
fn extra(declared: &[MetadataColumn], text_bytes_max: usize) -> impl Iterator<Item = TableColumn> {
    declared.iter().map(move |column| TableColumn::optional(&column.name, field_kind(column.kind, text_bytes_max)))
}

/// A version from metadata names what it states.
fn widen_changed(columns: &mut [TableColumn], declared: &MetadataColumns) {
    let more: usize = declared.sensors.iter().map(|column| column.name.len() + 1).sum();
    for column in columns.iter_mut().filter(|column| column.name == columns::CHANGED) {
        if let Kind::Text(bytes) = &mut column.kind {
            *bytes = bytes.saturating_add(u32::try_from(more).unwrap_or(u32::MAX)).min(TEXT_BYTES_MAX);
        }
    }
}

/// The columns of a Parquet zone.
pub(super) fn of_zone(zone: &Schema, schema: &EventSchema) -> Vec<TableColumn> {
    let column = |field: &arrow::datatypes::FieldRef| {
        let kind = match field.data_type() {
            DataType::Timestamp(..) => Kind::Timestamp,
            DataType::Int32 => Kind::Integer,
            DataType::Int64 => Kind::BigInt,
            DataType::Float32 => Kind::Real,
            DataType::Float64 => Kind::Double,
            DataType::Boolean => Kind::Boolean,
            _ => text_of(field.name(), schema),
        };
        if field.is_nullable() {
            TableColumn::optional(field.name(), kind)
        } else {
            TableColumn::required(field.name(), kind)
        }
    };
    zone.fields().iter().map(column).collect()
}

/// How long a text can be: what is longer never got into the zone.
fn text_of(name: &str, schema: &EventSchema) -> Kind {
    match name {
        columns::SENSOR_ID => sensor_id(schema),
        columns::SHARD => Kind::Text(SHARD_BYTES),
        columns::SEQUENCE => Kind::Text(SEQUENCE_BYTES),
        columns::EVENT_ID => Kind::Text(EVENT_ID_BYTES),
        columns::FIELD => Kind::Text(FIELD_BYTES),
        columns::CHANGED => {
            // Names joined by commas.
            let bytes: usize = schema.tracked().map(|(_, spec)| spec.name.len() + 1).sum();
            text(bytes.max(1))
        }
        name => {
            let spec = schema.fields.iter().find(|spec| spec.name == name);
            text(spec.map_or(TEXT_BYTES_MAX as usize, |spec| spec.text_bytes_max))
        }
    }
}

fn sensor_id(schema: &EventSchema) -> Kind {
    text(schema.sensor_id.bytes_max)
}

fn field_kind(kind: FieldKind, text_bytes_max: usize) -> Kind {
    match kind {
        FieldKind::Float => Kind::Double,
        FieldKind::Integer => Kind::BigInt,
        FieldKind::Boolean => Kind::Boolean,
        FieldKind::Text => text(text_bytes_max),
    }
}

fn text(bytes: usize) -> Kind {
    Kind::Text(u32::try_from(bytes).unwrap_or(TEXT_BYTES_MAX).clamp(1, TEXT_BYTES_MAX))
}

/// The first column of the sort key is stored as it is, so that whole blocks can be skipped by it.
fn raw(mut columns: Vec<TableColumn>, name: &str) -> Vec<TableColumn> {
    for column in columns.iter_mut().filter(|column| column.name == name) {
        column.raw = true;
    }
    columns
}
