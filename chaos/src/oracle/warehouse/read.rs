//! The tables, out of the file of the embedded warehouse.
//!
//! **Owns** the SQL: DuckDB's own, over names that consumers are told. No word of the product's statements.
//! **Promises** the file is not changed; readings are read shard by shard.
//! **Fails** with [`LoadError`] where the file is held by somebody, or a table is not what it should be.
//! **Not here**: what the rows should be.

use std::path::Path;
use std::sync::Arc;

use duckdb::types::ValueRef;
use duckdb::{AccessMode, Config, Connection, Row, ToSql};
use messages::schema::{FieldKind, FieldSpec};
use messages::{EventSchema, WindowKind};

use super::super::content::Content;
use super::super::load::LoadError;
use super::super::place::Place;
use super::super::table::Read;
use super::tables::{Described, Fact, Identity, Interval, Load, Reported, Tables, Window};

const MEMORY: &str = "2GB";
/// The order of a window's values.
const ORDER: &str = "event_time, shard, length(sequence), sequence, sub_sequence";
/// The identity of a reading, and when it arrived.
const ORIGIN: &str = "shard, sequence, sub_sequence, epoch_us(arrival_time)";

/// The tables of a stream in this file, in this schema of it; none if there are no such tables.
pub fn tables(path: &Path, namespace: &str, stream: &str, schema: &EventSchema) -> Result<Option<Tables>, LoadError> {
    let failed = |problem: String| LoadError::Warehouse { path: path.to_owned(), problem };
    let file = File::open(path, namespace).map_err(failed)?;
    match file.has_tables().map_err(failed)? {
        true => file.tables(stream, schema).map(Some).map_err(failed),
        false => Ok(None),
    }
}

/// The same of a warehouse that is open.
pub fn tables_of(connection: Connection, namespace: &str, stream: &str, schema: &EventSchema) -> Read<Option<Tables>> {
    let file = File { connection, namespace: namespace.to_owned() };
    if file.has_tables()? { file.tables(stream, schema).map(Some) } else { Ok(None) }
}

struct File {
    connection: Connection,
    namespace: String,
}

impl File {
    fn open(path: &Path, namespace: &str) -> Read<Self> {
        let config = Config::default().access_mode(AccessMode::ReadOnly).map_err(text)?;
        let config = config.max_memory(MEMORY).map_err(text)?;
        let connection = Connection::open_with_flags(path, config).map_err(text)?;
        Ok(Self { connection, namespace: namespace.to_owned() })
    }

    fn has_tables(&self) -> Read<bool> {
        let sql = "SELECT table_name FROM duckdb_tables() WHERE schema_name = ? AND table_name = 'load_ledger'";
        Ok(!self.rows(sql, &[&self.namespace], |_| Ok(()))?.is_empty())
    }

    fn tables(&self, stream: &str, schema: &EventSchema) -> Read<Tables> {
        let mut tables = Tables {
            readings: self.readings(schema)?,
            intervals: self.intervals(schema)?,
            reported: self.reported(schema)?,
            described: self.described()?,
            alerts: self.rows(&format!("SELECT id FROM {}", self.at("alerts")), &[], |row| owned(row, 0))?,
            ledger: self.ledger(stream)?,
            refused: self.refused(stream)?,
            ..Tables::default()
        };
        for kind in WindowKind::ALL {
            tables.windows.extend(self.windows(kind)?);
            for (_, field) in schema.aggregated() {
                tables.computed.extend(self.computed(kind, field)?);
            }
        }
        Ok(tables)
    }

    fn readings(&self, schema: &EventSchema) -> Read<Vec<Fact>> {
        let readings = self.at("sensor_readings");
        let fields = list(schema.fields.iter());
        let sql = format!(
            "SELECT {ORIGIN}, sensor_id, epoch_us(event_time), event_id, device_sequence, CAST(anomaly_score AS DOUBLE), \
             anomalies, late, quality, sensor_version{fields} FROM {readings} WHERE shard = ?"
        );
        let mut facts = Vec::new();
        let shards = format!("SELECT DISTINCT shard FROM {readings} ORDER BY shard");
        for shard in self.rows(&shards, &[], |row| owned(row, 0))? {
            let name: Arc<str> = shard.as_str().into();
            facts.extend(self.rows(&sql, &[&shard], |row| {
                let mut content = Content::of(&owned(row, 4)?, whole(row, 5)?);
                for (n, field) in schema.fields.iter().enumerate() {
                    add(&mut content, field.kind, row, 13 + n)?;
                }
                content.identity(owned_or_null(row, 6)?.as_deref(), whole_or_null(row, 7)?);
                let (score, anomalies) = (number(row, 8)?, whole(row, 9)?);
                let content = content.fact(score, anomalies, flag(row, 10)?, &owned(row, 11)?, whole(row, 3)?);
                Ok(Fact { identity: identity(name.clone(), row)?, version: whole(row, 12)?, content })
            })?);
        }
        Ok(facts)
    }

    fn intervals(&self, schema: &EventSchema) -> Read<Vec<Interval>> {
        let tracked: Vec<&FieldSpec> = schema.tracked().map(|(_, field)| field).collect();
        let sql = format!(
            "SELECT {ORIGIN}, sensor_id, version, epoch_us(valid_from), epoch_us(valid_to), is_current, changed, source{} FROM {}",
            list(tracked.iter().copied()),
            self.at("dim_sensors")
        );
        self.rows(&sql, &[], |row| {
            let (sensor, from_us) = (owned(row, 4)?, whole(row, 6)?);
            let mut content = Content::of(&sensor, from_us);
            for (n, field) in tracked.iter().enumerate() {
                add(&mut content, field.kind, row, 11 + n)?;
            }
            Ok(Interval {
                identity: identity(owned(row, 0)?.as_str().into(), row)?,
                described: owned(row, 10)? == "metadata",
                sensor,
                version: whole(row, 5)?,
                from_us,
                to_us: whole_or_null(row, 7)?,
                is_current: flag(row, 8)?,
                content: content.version(&owned(row, 9)?, whole(row, 3)?),
            })
        })
    }

    fn reported(&self, schema: &EventSchema) -> Read<Vec<Reported>> {
        let tracked: Vec<&FieldSpec> = schema.tracked().map(|(_, field)| field).collect();
        let sql = format!(
            "SELECT {ORIGIN}, sensor_id, version, epoch_us(valid_from), changed{} FROM {}",
            list(tracked.iter().copied()),
            self.at("sensor_versions")
        );
        self.rows(&sql, &[], |row| {
            let (sensor, from_us) = (owned(row, 4)?, whole(row, 6)?);
            let mut content = Content::of(&sensor, from_us);
            for (n, field) in tracked.iter().enumerate() {
                add(&mut content, field.kind, row, 8 + n)?;
            }
            let content = content.version(&owned(row, 7)?, whole(row, 3)?);
            let identity = identity(owned(row, 0)?.as_str().into(), row)?;
            Ok(Reported { identity, sensor, version: whole(row, 5)?, from_us, content })
        })
    }

    fn described(&self) -> Read<Vec<Described>> {
        let sql = format!("SELECT sensor_id, version, epoch_us(valid_from) FROM {}", self.at("sensor_metadata"));
        self.rows(&sql, &[], |row| {
            Ok(Described { sensor: owned(row, 0)?, version: whole(row, 1)?, from_us: whole(row, 2)? })
        })
    }

    fn windows(&self, kind: WindowKind) -> Read<Vec<Window>> {
        let table = match kind {
            WindowKind::Hourly => "sensor_hourly",
            WindowKind::Daily => "sensor_daily",
        };
        let sql = format!(
            "SELECT sensor_id, field, epoch_us(window_start), revision, count, sum, min, max, mean, first, last, stddev \
             FROM {}",
            self.at(table)
        );
        self.rows(&sql, &[], |row| window(kind, row))
    }

    /// The same by SQL: late readings are in no window; among equal times, the order of the stream counts.
    fn computed(&self, kind: WindowKind, field: &FieldSpec) -> Read<Vec<Window>> {
        let unit = match kind {
            WindowKind::Hourly => "hour",
            WindowKind::Daily => "day",
        };
        let sql = format!(
            "SELECT sensor_id, CAST(? AS VARCHAR) AS field, epoch_us(CAST(date_trunc('{unit}', event_time) AS TIMESTAMP)) AS start, 0, \
             count(x), sum(x), min(x), max(x), avg(x), first(x ORDER BY {ORDER}), last(x ORDER BY {ORDER}), stddev_samp(x) \
             FROM (SELECT *, CAST({} AS DOUBLE) AS x FROM {} WHERE NOT late) WHERE x IS NOT NULL GROUP BY sensor_id, start",
            quoted(&field.name),
            self.at("sensor_readings")
        );
        self.rows(&sql, &[&field.name], |row| window(kind, row))
    }

    fn ledger(&self, stream: &str) -> Read<Vec<Load>> {
        let columns = "shard, epoch, to_position, batch, state, readings, content";
        let sql = format!("SELECT {columns} FROM {} WHERE stream = ?", self.at("load_ledger"));
        self.rows(&sql, &[&stream], |row| {
            Ok(Load {
                shard: owned(row, 0)?,
                epoch: count(row, 1)?,
                to: owned(row, 2)?,
                batch: owned(row, 3)?,
                state: owned(row, 4)?,
                readings: count(row, 5)?,
                content: owned_or_null(row, 6)?,
            })
        })
    }

    fn refused(&self, stream: &str) -> Read<Vec<(String, u64)>> {
        let sql = format!("SELECT shard, epoch FROM {} WHERE stream = ?", self.at("load_refused"));
        self.rows(&sql, &[&stream], |row| Ok((owned(row, 0)?, count(row, 1)?)))
    }

    fn rows<T>(&self, sql: &str, of: &[&dyn ToSql], read: impl Fn(&Row<'_>) -> Read<T>) -> Read<Vec<T>> {
        let mut statement = self.connection.prepare(sql).map_err(text)?;
        let mut rows = statement.query(of).map_err(text)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(text)? {
            found.push(read(row)?);
        }
        Ok(found)
    }

    fn at(&self, table: &str) -> String {
        format!("{}.{}", quoted(&self.namespace), quoted(table))
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Further columns, each behind a comma.
fn list<'a>(fields: impl Iterator<Item = &'a FieldSpec>) -> String {
    fields.map(|field| format!(", {}", quoted(&field.name))).collect()
}

fn identity(shard: Arc<str>, row: &Row<'_>) -> Read<Identity> {
    let (sequence, sub) = (owned(row, 1)?, whole(row, 2)?);
    let place = Place::parse(&sequence).ok_or_else(|| format!("{sequence:?} is no sequence number"))?;
    let sub = u32::try_from(sub).map_err(|_| format!("{sub} is no sub-sequence"))?;
    Ok(Identity { shard, place, sub })
}

fn window(kind: WindowKind, row: &Row<'_>) -> Read<Window> {
    let mut values = [0.0; 6];
    for (n, value) in values.iter_mut().enumerate() {
        *value = number(row, 5 + n)?;
    }
    Ok(Window {
        kind,
        sensor: owned(row, 0)?,
        field: owned(row, 1)?,
        start_us: whole(row, 2)?,
        revision: whole(row, 3)?,
        count: whole(row, 4)?,
        values,
        stddev: number_or_null(row, 11)?,
    })
}

fn add(content: &mut Content, kind: FieldKind, row: &Row<'_>, column: usize) -> Read<()> {
    match kind {
        FieldKind::Float => content.add(number_or_null(row, column)?.map(f64::to_bits)),
        FieldKind::Integer => content.add(whole_or_null(row, column)?),
        FieldKind::Boolean => content.add(row.get::<_, Option<bool>>(column).map_err(text)?),
        FieldKind::Text => content.add(owned_or_null(row, column)?.as_deref()),
    }
    Ok(())
}

fn owned_or_null(row: &Row<'_>, column: usize) -> Read<Option<String>> {
    row.get(column).map_err(text)
}

fn owned(row: &Row<'_>, column: usize) -> Read<String> {
    row.get(column).map_err(text)
}

fn whole_or_null(row: &Row<'_>, column: usize) -> Read<Option<i64>> {
    row.get(column).map_err(text)
}

fn whole(row: &Row<'_>, column: usize) -> Read<i64> {
    row.get(column).map_err(text)
}

fn count(row: &Row<'_>, column: usize) -> Read<u64> {
    let n = whole(row, column)?;
    u64::try_from(n).map_err(|_| format!("{n} is no count"))
}

fn number_or_null(row: &Row<'_>, column: usize) -> Read<Option<f64>> {
    match row.get_ref(column).map_err(text)? {
        ValueRef::Null => Ok(None),
        ValueRef::Double(x) => Ok(Some(x)),
        other => Err(format!("column {column} is {other:?}")),
    }
}

fn number(row: &Row<'_>, column: usize) -> Read<f64> {
    number_or_null(row, column)?.ok_or_else(|| format!("column {column} is empty"))
}

fn flag(row: &Row<'_>, column: usize) -> Read<bool> {
    row.get(column).map_err(text)
}

fn text(error: duckdb::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
