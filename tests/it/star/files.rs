//! Epochs as files of the lake, written by hand in the layout of the zones.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use actors::lake::columns;
use actors::warehouse::batch::{Feed, LoadEpoch, LoadFile};
use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    TimestampMillisecondArray, new_null_array,
};
use arrow::datatypes::SchemaRef;
use mangrove_tests::world::BUCKET;
use messages::{EpochNumber, EventSchema, Position, SequenceNumber, ShardId};

use super::reference::{Epoch, Known, Version, number_of, shown};

/// Second 0, in microseconds.
const START_US: i64 = 1_767_225_600_000_000;

/// A place in the bucket.
pub(super) struct Files {
    root: PathBuf,
    folder: String,
    schema: EventSchema,
}

impl Files {
    pub(super) fn new(dir: &Path, folder: &str, schema: EventSchema) -> Self {
        Self { root: dir.join("s3").join(BUCKET), folder: folder.to_owned(), schema }
    }

    /// Writes the files of an epoch.
    pub(super) fn epoch(&self, epoch: &Epoch) -> LoadEpoch {
        let zones = [(Feed::Dimensions, self.dimensions(epoch)), (Feed::Readings, self.cleansed(epoch))];
        let files = zones.into_iter().filter(|(_, batch)| batch.num_rows() > 0);
        let files = files.map(|(feed, batch)| (feed, self.put(epoch, feed, &batch))).collect();
        let to = SequenceNumber::parse(&epoch.sequence(49).to_string()).unwrap();
        LoadEpoch {
            shard: ShardId::new(&epoch.shard()),
            epoch: EpochNumber(epoch.number),
            to: Position::At(to),
            readings: epoch.readings.len() as u64,
            manifest: format!("{}/{}-{}.json", self.folder, epoch.shard, epoch.number),
            content: format!("{:064}", epoch.number),
            files,
        }
    }

    /// Makes the objects of the metadata say this. Sensors as CSV, and every second row as lines of JSON; both in
    /// objects whose keys keep the order.
    pub(super) fn known(&self, known: &Known) {
        let (sensors, sites) =
            (self.root.join(&self.folder).join("sensors"), self.root.join(&self.folder).join("sites"));
        for folder in [&sensors, &sites] {
            let _ = fs::remove_dir_all(folder);
            fs::create_dir_all(folder).unwrap();
        }
        let name = |kind: &str, value: Option<u8>| value.map_or(String::new(), |_| shown(kind, value));
        for (n, row) in known.sensors.iter().enumerate() {
            let from = row.from.map_or(String::new(), |second| format!("2026-01-01 00:00:{second:02}"));
            let (firmware, site, owner) = (name("f", row.firmware), name("p", row.site), name("o", row.owner));
            let sensor = row.sensor;
            let (ending, body) = match n % 2 {
                0 => {
                    let line = format!("{owner},{from},{site},ignored,s{sensor},{firmware}");
                    ("csv", format!("owner,valid_from,site,unknown,sensor_id,firmware\n{line}\n"))
                }
                _ => {
                    let cells = [("valid_from", from), ("firmware", firmware), ("site", site), ("owner", owner)];
                    let cells = cells.into_iter().filter(|(_, cell)| !cell.is_empty());
                    let cells: String = cells.map(|(name, cell)| format!(",\"{name}\":\"{cell}\"")).collect();
                    ("jsonl", format!("{{\"sensor_id\":\"s{sensor}\"{cells}}}\n"))
                }
            };
            fs::write(sensors.join(format!("{n:03}.{ending}")), body).unwrap();
        }
        // An object that loses all of its rows is taken for one that was cut off: what is meant is said by deleting it.
        if known.sites.is_empty() {
            return;
        }
        let lines = known.sites.iter().map(|(site, region)| format!("p{site},{}\n", name("r", *region)));
        fs::write(sites.join("all.csv"), format!("site,region\n{}", lines.collect::<String>())).unwrap();
    }

    fn put(&self, epoch: &Epoch, feed: Feed, batch: &RecordBatch) -> LoadFile {
        let key = format!("{}/{}-{}-{}.parquet", self.folder, feed.as_str(), epoch.shard, epoch.number);
        let mut bytes = Vec::new();
        let mut writer = parquet::arrow::ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
        writer.write(batch).unwrap();
        writer.close().unwrap();
        let path = self.root.join(&key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &bytes).unwrap();
        LoadFile { key, bytes: bytes.len() as u64, rows: batch.num_rows() as u64 }
    }

    fn cleansed(&self, epoch: &Epoch) -> RecordBatch {
        let rows = &epoch.readings;
        let sensors = rows.iter().map(|reading| format!("s{}", reading.sensor)).collect();
        let times = rows.iter().map(|reading| micros(reading.at)).collect();
        let versions = (0..rows.len()).map(|n| epoch.version_at_arrival(n) as i32).collect();
        let columns = vec![
            (columns::SENSOR_ID, text(sensors)),
            (columns::EVENT_TIME, time(times)),
            (columns::ANOMALY_SCORE, Arc::new(Float32Array::from(vec![0.0; rows.len()])) as ArrayRef),
            (columns::ANOMALIES, integer(vec![0; rows.len()])),
            (columns::SENSOR_VERSION, integer(versions)),
            (columns::LATE, Arc::new(BooleanArray::from(vec![false; rows.len()]))),
        ];
        batch(columns::cleansed(&self.schema), epoch, columns, rows.len())
    }

    fn dimensions(&self, epoch: &Epoch) -> RecordBatch {
        let rows = &epoch.versions;
        let name = |kind: &str, value: Option<u8>| value.map(|_| shown(kind, value));
        let columns = vec![
            (columns::SENSOR_ID, text(rows.iter().map(|version| format!("s{}", version.sensor)).collect())),
            (columns::VERSION, integer((0..rows.len()).map(|n| number_of(epoch, n) as i32).collect())),
            (columns::VALID_FROM, time(rows.iter().map(|version| micros(version.from)).collect())),
            ("firmware", Arc::new(StringArray::from_iter(rows.iter().map(|v| name("f", v.firmware)))) as ArrayRef),
            ("site", Arc::new(StringArray::from_iter(rows.iter().map(|v| name("p", v.site))))),
            (columns::CHANGED, text(rows.iter().map(changed).collect())),
        ];
        batch(columns::dimensions(&self.schema), epoch, columns, rows.len())
    }
}

/// The attributes that a version says something of.
fn changed(version: &Version) -> String {
    let said = [("firmware", version.firmware.is_some()), ("site", version.site.is_some())];
    said.into_iter().filter(|(_, said)| *said).map(|(name, _)| name).collect::<Vec<_>>().join(",")
}

/// A batch of a zone: these columns, where the rows come from, and nothing in all others.
fn batch(schema: SchemaRef, epoch: &Epoch, mut columns: Vec<(&str, ArrayRef)>, rows: usize) -> RecordBatch {
    let arrival = (0..rows).map(|n| epoch.arrival_ms(n)).collect::<Vec<_>>();
    columns.extend([
        (columns::SHARD, text(vec![epoch.shard(); rows])),
        (columns::SEQUENCE, text((0..rows).map(|n| epoch.sequence(n).to_string()).collect())),
        (columns::SUB_SEQUENCE, integer(vec![0; rows])),
        (columns::ARRIVAL_TIME, Arc::new(TimestampMillisecondArray::from(arrival).with_timezone("UTC"))),
    ]);
    let column = |field: &arrow::datatypes::FieldRef| {
        let known = columns.iter().find(|(name, _)| name == field.name());
        known.map_or_else(|| new_null_array(field.data_type(), rows), |(_, column)| column.clone())
    };
    let columns = schema.fields().iter().map(column).collect();
    RecordBatch::try_new(schema, columns).unwrap()
}

fn micros(second: i64) -> i64 {
    START_US + second * 1_000_000
}

fn text(values: Vec<String>) -> ArrayRef {
    Arc::new(StringArray::from(values))
}

fn integer(values: Vec<i32>) -> ArrayRef {
    Arc::new(Int32Array::from(values))
}

fn time(values: Vec<i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC"))
}
