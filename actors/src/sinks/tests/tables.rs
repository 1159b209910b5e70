use std::collections::BTreeSet;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType,
};
use messages::{AggregateRow, Reason, SensorId, Verdict, WindowKind, Zone};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::{ParquetMetaDataOptions, ParquetMetaDataReader};

use super::fixture::{
    Event, HOUR_MS, NOW_MS, Part, Reading, batches, clean, content, context, event, keys, objects, read_table,
};
use messages::EncodedEpoch;

use crate::lake::columns;
use crate::sinks::{Codec, Encoding, Encodings, EpochContext, encode_epoch};

const NOW_US: i64 = NOW_MS * 1000;
const HOUR_US: i64 = HOUR_MS * 1000;

fn encode(events: &[Event]) -> EncodedEpoch {
    encode_epoch(&context(), &batches(events, 3), &content()).unwrap()
}

fn table(epoch: &EncodedEpoch, zone: Zone) -> RecordBatch {
    let [object] = objects(epoch, zone).try_into().expect("one object");
    read_table(object)
}

fn texts(table: &RecordBatch, column: &str) -> Vec<Option<String>> {
    table.column_by_name(column).unwrap().as_string::<i32>().iter().map(|v| v.map(str::to_owned)).collect()
}

fn floats(table: &RecordBatch, column: &str) -> Vec<Option<u64>> {
    table.column_by_name(column).unwrap().as_primitive::<Float64Type>().iter().map(|v| v.map(f64::to_bits)).collect()
}

fn micros(table: &RecordBatch, column: &str) -> Vec<i64> {
    table.column_by_name(column).unwrap().as_primitive::<TimestampMicrosecondType>().values().to_vec()
}

fn integers(table: &RecordBatch, column: &str) -> Vec<i32> {
    table.column_by_name(column).unwrap().as_primitive::<Int32Type>().values().to_vec()
}

fn some(values: &[&str]) -> Vec<Option<String>> {
    values.iter().map(|v| Some((*v).to_owned())).collect()
}

#[test]
fn cleansed_rows_come_back_sorted_and_bit_for_bit() {
    let hostile = [f64::MIN_POSITIVE / 2.0, -0.0, 0.0, 1e308, 0.1 + 0.2, -273.15];
    let events: Vec<Event> = hostile
        .iter()
        .zip(11..)
        .map(|(&x, n)| event(n, vec![Part::Reading(clean(["b", "a"][n as usize % 2], NOW_US - n as i64, x))]))
        .collect();
    let epoch = encode(&events);
    let table = table(&epoch, Zone::Cleansed);

    assert_eq!(table.schema().fields(), columns::cleansed(&context().schema).fields());
    assert_eq!(texts(&table, "sensor_id"), some(&["a", "a", "a", "b", "b", "b"]));
    let ago = |n: i64| NOW_US - n;
    assert_eq!(micros(&table, "event_time"), [ago(15), ago(13), ago(11), ago(16), ago(14), ago(12)]);
    let bits: Vec<Option<u64>> = [4, 2, 0, 5, 3, 1].map(|n: usize| Some(hostile[n].to_bits())).to_vec();
    assert_eq!(floats(&table, "temperature"), bits);
    assert_eq!(floats(&table, "latitude"), [Some((-0.0_f64).to_bits()); 6]);
    assert_eq!(table.column_by_name("humidity").unwrap().null_count(), 6);
    assert_eq!(texts(&table, "sequence"), some(&["15", "13", "11", "16", "14", "12"]));
    assert_eq!(texts(&table, "shard"), some(&["shardId-000000000003"; 6]));
    let arrivals = table.column_by_name("arrival_time").unwrap().as_primitive::<TimestampMillisecondType>();
    assert_eq!(arrivals.values().to_vec(), [NOW_MS; 6]);
    assert_eq!(integers(&table, "anomalies"), [9; 6]);
    let scores = table.column_by_name("anomaly_score").unwrap().as_primitive::<Float32Type>();
    assert_eq!(scores.values().to_vec(), [1.5; 6]);
    let counters = table.column_by_name("device_sequence").unwrap().as_primitive::<Int64Type>();
    assert_eq!(counters.values().to_vec(), [5; 6]);
}

#[test]
fn equal_event_times_of_a_sensor_stay_in_stream_order() {
    let reading = |late| Part::Reading(Reading { late, ..clean("a", NOW_US, 1.0) });
    let events = [
        event(9, vec![reading(false), reading(true)]),
        event(10, vec![reading(true)]),
        event(11, vec![reading(false)]),
    ];
    let epoch = encode_epoch(&context(), &batches(&events, 1), &content()).unwrap();
    let table = table(&epoch, Zone::Cleansed);
    assert_eq!(texts(&table, "sequence"), some(&["9", "9", "10", "11"]));
    assert_eq!(integers(&table, "sub_sequence"), [0, 1, 0, 0]);
    let late: Vec<bool> = table.column_by_name("late").unwrap().as_boolean().iter().map(Option::unwrap).collect();
    assert_eq!(late, [false, true, true, false]);
}

#[test]
fn cleansed_rows_lie_under_the_hour_of_their_event() {
    let events: Vec<Event> = (0..4)
        .map(|n| event(11 + n, vec![Part::Reading(clean("a", NOW_US - n as i64 % 2 * 30 * HOUR_US, n as f64))]))
        .collect();
    let epoch = encode(&events);
    let prefix = "cleansed/year=2026/month=11";
    let file = "climate-000000000003-00000007-0.parquet";
    assert_eq!(
        keys(&epoch, Zone::Cleansed),
        [format!("{prefix}/day=21/hour=09/{file}"), format!("{prefix}/day=22/hour=15/{file}")]
    );
    let sequences: Vec<_> =
        objects(&epoch, Zone::Cleansed).into_iter().map(|o| texts(&read_table(o), "sequence")).collect();
    assert_eq!(sequences, [some(&["12", "14"]), some(&["11", "13"])]);
}

#[test]
fn a_cleansed_file_says_where_it_comes_from_and_how_it_is_sorted() {
    let epoch = encode(&[event(11, vec![Part::Reading(clean("a", NOW_US, 1.0))])]);
    let [object] = objects(&epoch, Zone::Cleansed).try_into().unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(object).unwrap();
    assert_eq!(reader.schema().field_with_name("temperature").unwrap().metadata()["unit"], "Cel");
    let sorting = reader.metadata().row_group(0).sorting_columns().unwrap();
    assert_eq!(sorting.iter().map(|c| (c.column_idx, c.descending)).collect::<Vec<_>>(), [(0, false), (1, false)]);
    let pairs = reader.metadata().file_metadata().key_value_metadata().unwrap();
    let value = |key: &str| pairs.iter().find(|p| p.key == key).and_then(|p| p.value.clone());
    assert_eq!(value("mangrove.fingerprint"), Some(context().schema.fingerprint.clone()));
    let found: Vec<_> = ["schema", "shard", "epoch", "from", "to"].map(|k| value(&format!("mangrove.{k}"))).into();
    assert_eq!(found, some(&["climate", "shardId-000000000003", "7", "10", "99"]));
}

#[test]
fn row_groups_are_as_large_as_configured() {
    let events: Vec<Event> =
        (0..10).map(|n| event(11 + n, vec![Part::Reading(clean("a", NOW_US + n as i64, 1.0))])).collect();
    let mut context = context();
    context.encoding.row_group_rows = 4;
    let epoch = encode_epoch(&context, &batches(&events, 3), &content()).unwrap();
    let [object] = objects(&epoch, Zone::Cleansed).try_into().unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(object).unwrap();
    let rows: Vec<i64> = reader.metadata().row_groups().iter().map(|group| group.num_rows()).collect();
    assert_eq!(rows, [4, 4, 2]);
}

/// Version of the file, compressions, kinds of pages, encodings.
fn layout(bytes: bytes::Bytes) -> (i32, BTreeSet<String>, BTreeSet<String>, BTreeSet<String>) {
    let options = ParquetMetaDataOptions::new().with_encoding_stats_as_mask(false);
    let reader = ParquetMetaDataReader::new().with_metadata_options(Some(options));
    let metadata = reader.parse_and_finish(&bytes).unwrap();
    let chunks = || metadata.row_groups().iter().flat_map(|group| group.columns());
    let pages = chunks().flat_map(|chunk| chunk.page_encoding_stats().expect("footers tell").clone());
    (
        metadata.file_metadata().version(),
        chunks().map(|chunk| chunk.compression().to_string()).collect(),
        pages.map(|page| page.page_type.to_string()).collect(),
        chunks().flat_map(|chunk| chunk.encodings().map(|encoding| encoding.to_string())).collect(),
    )
}

/// What Redshift documents, every other reader knows as well.
#[test]
fn files_are_of_version_1_in_every_zone_and_newer_encodings_are_asked_for() {
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let refused = Verdict::Quarantined { reason: Reason::OutOfRange, detail: "hot".to_owned() };
    let again = Reading { verdict: Verdict::Duplicate, ..clean("a", NOW_US, 1.0) };
    let changed = Reading { change: true, ..clean("a", NOW_US, 1.0) };
    let parts = [clean("a", NOW_US, 1.0), Reading { verdict: refused, ..clean("a", NOW_US, 1.0) }, again, changed];
    let events = [event(9, parts.into_iter().map(Part::Reading).collect())];
    let mut content = content();
    content.aggregates = vec![aggregate(WindowKind::Hourly, NOW_US, 0), aggregate(WindowKind::Daily, NOW_US, 0)];
    let newer = Encoding { codec: Codec::Zstd, encodings: Encodings::V2, ..Encoding::RECOMMENDED };
    let mut digests = Vec::new();
    for (encoding, codec, delta) in [(Encoding::RECOMMENDED, "SNAPPY", false), (newer, "ZSTD(ZstdLevel(1))", true)] {
        let context = EpochContext { encoding, ..context() };
        let epoch = encode_epoch(&context, &batches(&events, 3), &content).unwrap();
        let zones = [
            Zone::Cleansed,
            Zone::Quarantine,
            Zone::Duplicates,
            Zone::Dimensions,
            Zone::AggregatesHourly,
            Zone::AggregatesDaily,
        ];
        for zone in zones {
            let [object] = objects(&epoch, zone).try_into().expect("one object");
            let (version, codecs, pages, encodings) = layout(object);
            assert_eq!(version, 1, "{zone:?}");
            assert!(
                codecs.iter().all(|found| found.starts_with(codec.split('(').next().unwrap())),
                "{zone:?}: {codecs:?}"
            );
            assert!(pages.is_subset(&set(&["DATA_PAGE", "DICTIONARY_PAGE"])), "{zone:?}: {pages:?}");
            let mut known = set(&["PLAIN", "RLE", "RLE_DICTIONARY"]);
            known.extend(delta.then(|| "DELTA_BINARY_PACKED".to_owned()));
            assert!(encodings.is_subset(&known), "{zone:?}: {encodings:?}");
            assert_eq!(encodings.contains("DELTA_BINARY_PACKED"), delta, "{zone:?}");
        }
        digests.push(epoch.plan);
    }
    assert_eq!(digests[0], digests[1], "an epoch is what is in it, however it is written");
}

#[test]
fn refused_readings_and_records_stand_in_stream_order_with_their_bytes() {
    let refused = Verdict::Quarantined { reason: Reason::OutOfRange, detail: "é".repeat(500) };
    let quarantined = Part::Reading(Reading { verdict: refused, ..clean("a", NOW_US, 500.0) });
    let reject = |reason| Part::Reject(reason, "why".to_owned());
    let mut events = [
        event(9, vec![quarantined.clone(), reject(Reason::NotJson), quarantined]),
        event(10, vec![reject(Reason::NotUtf8)]),
    ];
    events[0].data = b"aaabbbccc".to_vec();
    events[1].data = b"\xff\x00\n".to_vec();
    let epoch = encode(&events);
    let table = table(&epoch, Zone::Quarantine);

    assert_eq!(texts(&table, "reason"), some(&["out_of_range", "not_json", "out_of_range", "not_utf8"]));
    assert_eq!(integers(&table, "sub_sequence"), [0, 1, 2, 0]);
    let data: Vec<&[u8]> =
        table.column_by_name("data").unwrap().as_binary::<i32>().iter().map(Option::unwrap).collect();
    assert_eq!(data, [&b"aaa"[..], b"bbb", b"ccc", b"\xff\x00\n"]);
    assert_eq!(texts(&table, "sensor_id"), [Some("a".to_owned()), None, Some("a".to_owned()), None]);
    assert_eq!(texts(&table, "detail")[0].as_ref().unwrap().chars().count(), 300);
    assert_eq!(epoch.plan.quarantined, 4);
    assert_eq!(
        epoch.plan.reasons.iter().map(|(k, v)| (k.as_str(), *v)).collect::<Vec<_>>(),
        [("not_json", 1), ("not_utf8", 1), ("out_of_range", 2)]
    );
}

#[test]
fn duplicates_are_listed_in_stream_order() {
    let again = |sensor| Part::Reading(Reading { verdict: Verdict::Duplicate, ..clean(sensor, NOW_US, 1.0) });
    let epoch =
        encode(&[event(9, vec![again("b")]), event(10, vec![Part::Reading(clean("a", NOW_US, 1.0)), again("a")])]);
    let table = table(&epoch, Zone::Duplicates);
    assert_eq!(table.schema().fields(), columns::duplicates().fields());
    assert_eq!(texts(&table, "sequence"), some(&["9", "10"]));
    assert_eq!(integers(&table, "sub_sequence"), [0, 1]);
    assert_eq!(texts(&table, "sensor_id"), some(&["b", "a"]));
    assert_eq!((epoch.plan.readings, epoch.plan.clean, epoch.plan.duplicates), (3, 1, 2));
}

#[test]
fn versions_of_attributes_are_rows() {
    let change = |sensor| Part::Reading(Reading { change: true, ..clean(sensor, NOW_US, 1.0) });
    let epoch = encode(&[event(9, vec![change("b")]), event(10, vec![change("a")])]);
    let table = table(&epoch, Zone::Dimensions);
    assert_eq!(table.schema().fields(), columns::dimensions(&context().schema).fields());
    assert_eq!(texts(&table, "sensor_id"), some(&["b", "a"]));
    assert_eq!(integers(&table, "version"), [2, 2]);
    assert_eq!(micros(&table, "valid_from"), [NOW_US; 2]);
    assert_eq!(texts(&table, "firmware"), some(&["1.2.3"; 2]));
    assert_eq!(texts(&table, "site"), [None, None]);
    assert_eq!(floats(&table, "latitude"), [Some((-0.0_f64).to_bits()); 2]);
    assert_eq!(texts(&table, "changed"), some(&["firmware,latitude"; 2]));
}

fn aggregate(window: WindowKind, start_us: i64, field: u16) -> AggregateRow {
    AggregateRow {
        window,
        start_us: window.start_of(start_us),
        sensor: SensorId::new("a"),
        field,
        revision: 3,
        count: 1,
        sum: 0.1 + 0.2,
        min: -0.0,
        max: 4.0,
        mean: 5.0,
        stddev: None,
        first: 6.0,
        last: 7.0,
        first_us: start_us,
        last_us: start_us + 1,
    }
}

#[test]
fn windows_are_rows_under_their_day_or_month() {
    let mut content = content();
    content.aggregates = vec![
        aggregate(WindowKind::Hourly, NOW_US - 24 * HOUR_US, 0),
        aggregate(WindowKind::Hourly, NOW_US - HOUR_US, 0),
        aggregate(WindowKind::Hourly, NOW_US - HOUR_US, 1),
        aggregate(WindowKind::Hourly, NOW_US, 2),
        aggregate(WindowKind::Daily, NOW_US - 24 * HOUR_US, 0),
        aggregate(WindowKind::Daily, NOW_US, 0),
    ];
    let epoch = encode_epoch(&context(), &[], &content).unwrap();
    let rows: Vec<usize> =
        objects(&epoch, Zone::AggregatesHourly).into_iter().map(|o| read_table(o).num_rows()).collect();
    assert_eq!(rows, [1, 3]);
    assert!(keys(&epoch, Zone::AggregatesDaily)[0].starts_with("aggregates/daily/year=2026/month=11/climate-"));
    let daily = table(&epoch, Zone::AggregatesDaily);
    assert_eq!(daily.schema().fields(), columns::aggregates().fields());
    assert_eq!(texts(&daily, "field"), some(&["temperature"; 2]));
    assert_eq!(micros(&daily, "window_start"), [-24, 0].map(|h| WindowKind::Daily.start_of(NOW_US + h * HOUR_US)));
    assert_eq!(floats(&daily, "sum"), [Some((0.1_f64 + 0.2).to_bits()); 2]);
    assert_eq!(floats(&daily, "stddev"), [None; 2]);
    assert_eq!(integers(&daily, "revision"), [3; 2]);
}

#[test]
fn content_of_another_schema_is_refused() {
    let mut content = content();
    content.aggregates = vec![aggregate(WindowKind::Hourly, NOW_US, 900)];
    let error = encode_epoch(&context(), &[], &content).unwrap_err();
    assert!(error.to_string().starts_with("900: "), "{error}");

    let other = messages::EventSchema::built_in("air-quality").unwrap();
    let context = EpochContext { schema: std::sync::Arc::new(other), ..context() };
    let events = [event(9, vec![Part::Reading(clean("a", NOW_US, 1.0))])];
    assert!(encode_epoch(&context, &batches(&events, 1), &super::fixture::content()).is_err());
}
