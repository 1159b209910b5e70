//! The star: which tables the warehouse has, made from the event schema.
//!
//! **Promises** the columns of a table that is filled from a zone are those of the zone, by the same list
//! (`sinks/columns.rs`).
//! **Not here**: DDL (`tables.rs`), filling (`load.rs`).

use arrow::datatypes::{DataType, Schema};
use messages::EventSchema;
use messages::schema::FieldKind;

use super::literal::Unquotable;
use super::tables::{Column, Kind, Spread, Table, qualified};
use crate::sinks::columns;

/// Names that stand in more than one place.
pub(super) const READINGS: &str = "sensor_readings";
pub(super) const SENSORS: &str = "dim_sensors";
pub(super) const LOCATIONS: &str = "dim_locations";
pub(super) const HOURLY: &str = "sensor_hourly";
pub(super) const DAILY: &str = "sensor_daily";
pub(super) const ALERTS: &str = "alerts";
pub(super) const LEDGER: &str = "load_ledger";
pub(super) const REFUSED: &str = "load_refused";
pub(super) const VERSIONS: &str = "schema_versions";

/// The attributes that make a place, when a schema tracks them.
const PLACE: [(&str, FieldKind); 3] =
    [("site", FieldKind::Text), ("latitude", FieldKind::Float), ("longitude", FieldKind::Float)];

/// Kinesis names shards in 128 bytes at most.
const SHARD_BYTES: u32 = 128;
/// As long as its documentation lets a sequence number be.
const SEQUENCE_BYTES: u32 = 129;
const EVENT_ID_BYTES: u32 = 256;
/// Field names have at most 64 bytes.
const FIELD_BYTES: u32 = 64;
/// The longest text that a column can hold.
const TEXT_BYTES_MAX: u32 = 65_535;
/// What is kept of an error.
pub(super) const ERROR_BYTES: u32 = 4_096;

/// Every table of the warehouse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Star {
    /// The warehouse's schema that holds them.
    pub namespace: String,
    /// The tables, in the order in which they are made.
    pub tables: Vec<Table>,
    /// The tracked attributes that make a place, in order; none for a schema without them.
    pub(super) place: Vec<String>,
    /// The tracked attributes, in schema order.
    pub(super) attributes: Vec<String>,
    /// Of the event schema.
    pub(super) fingerprint: String,
}

impl Star {
    /// The tables for this event schema.
    pub fn new(schema: &EventSchema, namespace: &str) -> Result<Self, Unquotable> {
        qualified(namespace, READINGS)?;
        let tracked = |(name, kind): &(&str, FieldKind)| {
            schema.tracked().any(|(_, spec)| spec.name == *name && spec.kind == *kind).then(|| (*name).to_owned())
        };
        let place: Vec<String> = PLACE.iter().filter_map(tracked).collect();
        let tables = vec![
            readings(schema),
            sensors(schema),
            locations(schema, &place),
            windows(
                HOURLY,
                schema,
                "One row for each hour (UTC), sensor and field: the latest revision of the window.",
            ),
            windows(DAILY, schema, "One row for each day (UTC), sensor and field: the latest revision of the window."),
            alerts(schema),
            ledger(),
            refused(),
            versions(),
        ];
        let attributes = schema.tracked().map(|(_, spec)| spec.name.clone()).collect();
        let (namespace, fingerprint) = (namespace.to_owned(), schema.fingerprint.clone());
        Ok(Self { namespace, tables, place, attributes, fingerprint })
    }

    /// The statement that makes the warehouse's schema unless it is there.
    pub fn create_namespace(&self) -> Result<String, Unquotable> {
        Ok(format!("CREATE SCHEMA IF NOT EXISTS {}", super::literal::identifier(&self.namespace)?))
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

    pub(super) fn at(&self, table: &str) -> Result<String, Unquotable> {
        qualified(&self.namespace, table)
    }
}

fn readings(schema: &EventSchema) -> Table {
    let mut columns = of_zone(&columns::cleansed(schema), schema);
    columns.push(Column {
        comment: "good; suspect if a detector fired; late if no aggregate counts the reading",
        ..Column::required("quality", Kind::Text(8))
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

fn sensors(schema: &EventSchema) -> Table {
    let mut columns = of_zone(&columns::dimensions(schema), schema);
    let after = columns.iter().position(|column| column.name == columns::VALID_FROM).map_or(0, |at| at + 1);
    let ends = Column {
        comment: "event time from which the next version holds; empty for the current one",
        ..Column::optional("valid_to", Kind::Timestamp)
    };
    columns.splice(after..after, [ends, Column::required("is_current", Kind::Boolean)]);
    Table {
        name: SENSORS,
        columns: raw(columns, columns::SENSOR_ID),
        key: vec![columns::SHARD, columns::SEQUENCE, columns::SUB_SEQUENCE],
        spread: Spread::By(columns::SENSOR_ID),
        sorted_by: vec![columns::SENSOR_ID, columns::VALID_FROM],
        comment: "Every version of every sensor's attributes, with the interval of event time in which it holds.",
    }
}

fn locations(schema: &EventSchema, place: &[String]) -> Table {
    let known = schema.tracked().map(|(_, spec)| spec);
    let kinds: Vec<(String, Kind)> = known
        .filter(|spec| place.contains(&spec.name))
        .map(|spec| (spec.name.clone(), field_kind(spec.kind, spec.text_bytes_max)))
        .collect();
    let mut columns: Vec<Column> = Vec::new();
    for (name, kind) in PLACE {
        let found = kinds.iter().find(|(known, _)| known == name).map(|(_, kind)| *kind);
        columns.push(Column::optional(name, found.unwrap_or_else(|| field_kind(kind, FIELD_BYTES as usize))));
    }
    let since = Column {
        comment: "event time of the first version with this place that was loaded",
        ..Column::required("first_seen", Kind::Timestamp)
    };
    columns.push(since);
    Table {
        name: LOCATIONS,
        columns,
        key: Vec::new(),
        spread: Spread::Everywhere,
        sorted_by: vec!["site"],
        comment: "Every place that a version of a sensor names: the tracked attributes site, latitude and longitude. Empty if the event schema tracks none of them.",
    }
}

fn windows(name: &'static str, schema: &EventSchema, comment: &'static str) -> Table {
    Table {
        name,
        columns: raw(of_zone(&columns::aggregates(), schema), columns::WINDOW_START),
        key: vec![columns::SENSOR_ID, columns::FIELD, columns::WINDOW_START],
        spread: Spread::By(columns::SENSOR_ID),
        sorted_by: vec![columns::WINDOW_START, columns::SENSOR_ID],
        comment,
    }
}

fn alerts(schema: &EventSchema) -> Table {
    let columns = vec![
        Column::required("id", Kind::Text(FIELD_BYTES)),
        Column::required("kind", Kind::Text(16)),
        Column::required("severity", Kind::Text(16)),
        Column::required(columns::SENSOR_ID, sensor_id(schema)),
        Column::optional(columns::FIELD, Kind::Text(FIELD_BYTES)),
        Column::optional("value", Kind::Double),
        Column { comment: "what was expected, for a person", ..Column::required("message", Kind::Text(1_024)) },
        Column { raw: true, ..Column::required(columns::EVENT_TIME, Kind::Timestamp) },
        Column::required(columns::ARRIVAL_TIME, Kind::Timestamp),
        Column::required(columns::SHARD, Kind::Text(SHARD_BYTES)),
        Column::optional(columns::SEQUENCE, Kind::Text(SEQUENCE_BYTES)),
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
        Column::required("stream", Kind::Text(SHARD_BYTES)),
        Column::required(columns::SHARD, Kind::Text(SHARD_BYTES)),
        Column::required(columns::EPOCH, Kind::BigInt),
        Column {
            comment: "the end of the epoch: a sequence number, or SHARD_END",
            ..Column::required("to_position", Kind::Text(SEQUENCE_BYTES))
        },
        Column { comment: "the load that brought it", ..Column::required("batch", Kind::Text(32)) },
        Column {
            comment: "loaded, or refused: then load_refused says why",
            ..Column::required("state", Kind::Text(8))
        },
        Column::required("readings", Kind::BigInt),
        Column::required("loaded_at", Kind::Timestamp),
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
        Column::required("stream", Kind::Text(SHARD_BYTES)),
        Column::required(columns::SHARD, Kind::Text(SHARD_BYTES)),
        Column::required(columns::EPOCH, Kind::BigInt),
        Column::required("manifest", Kind::Text(1_024)),
        Column::required("attempts", Kind::Integer),
        Column::required("error", Kind::Text(ERROR_BYTES)),
        Column::required("refused_at", Kind::Timestamp),
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
        Column::required("applied_at", Kind::Timestamp),
        Column { comment: "of the event schema", ..Column::required("fingerprint", Kind::Text(FIELD_BYTES)) },
        Column::required("statement", Kind::Text(TEXT_BYTES_MAX)),
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

/// The columns of a Parquet zone.
pub(super) fn of_zone(zone: &Schema, schema: &EventSchema) -> Vec<Column> {
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
        if field.is_nullable() { Column::optional(field.name(), kind) } else { Column::required(field.name(), kind) }
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
fn raw(mut columns: Vec<Column>, name: &str) -> Vec<Column> {
    for column in columns.iter_mut().filter(|column| column.name == name) {
        column.raw = true;
    }
    columns
}
