mod framing;
mod numbers;

use bytes::Bytes;
use messages::SequenceNumber;

use super::*;

fn decoder() -> Decoder {
    let schema = Arc::new(EventSchema::built_in("climate").unwrap());
    let limits = DecodeLimits { record_bytes_max: 10_000, events_per_record_max: 3, depth_max: 32 };
    Decoder::new(schema, limits, HashRange::FULL)
}

fn batch(records: &[&[u8]]) -> Batch {
    decoded_by(&decoder(), records)
}

fn batch_of(schema: EventSchema, events_per_record_max: usize, records: &[&[u8]]) -> Batch {
    let limits = DecodeLimits { record_bytes_max: 10 << 20, events_per_record_max, depth_max: 32 };
    decoded_by(&Decoder::new(Arc::new(schema), limits, HashRange::FULL), records)
}

fn decoded_by(decoder: &Decoder, records: &[&[u8]]) -> Batch {
    let mut builder = decoder.batch();
    for (n, data) in records.iter().enumerate() {
        builder.push(RawRecord {
            sequence: SequenceNumber::parse(&n.to_string()).unwrap(),
            arrival_ms: 0,
            partition_key: "k".into(),
            data: Bytes::copy_from_slice(data),
        });
    }
    builder.finish(Credit::none())
}

fn reason_of(data: impl AsRef<[u8]>) -> Reason {
    let batch = batch(&[data.as_ref()]);
    assert_eq!((batch.rows.len(), batch.rejects.len()), (0, 1), "{:?}", String::from_utf8_lossy(data.as_ref()));
    batch.rejects[0].reason
}

#[test]
fn a_good_event_becomes_a_row() {
    let data =
        br#"{"sensor_id":"s-1","event_id":"e","seq":7,"ts":"1970-01-01T00:00:01.5Z","temperature":21,"extra":[{}],
        "location":{"site":"a","lat":1.5,"lon":null},"firmware":"1\u0041"}"#;
    let batch = batch(&[data]);
    assert!(batch.rejects.is_empty(), "{:?}", batch.rejects);
    assert_eq!(batch.groups[0].sensor.as_str(), "s-1");
    assert_eq!(batch.rows.event_time_us, [1_500_000]);
    assert_eq!(batch.rows.device_sequence, [Some(7)]);
    assert_eq!(batch.rows.fields[0], Column::Float(vec![Some(21.0)]));
    assert_eq!(batch.rows.fields[3], Column::Text(vec![Some("1A".into())]));
    assert_eq!(batch.rows.fields[5], Column::Float(vec![Some(1.5)]));
    assert_eq!(batch.rows.fields[6], Column::Float(vec![None]));
    assert_eq!(batch.bytes_of(0), data);
}

#[test]
fn every_kind_of_bad_input_has_its_reason() {
    let deep =
        format!(r#"{{"sensor_id":"a","ts":"2026-01-01T00:00:00Z","x":{}1{}}}"#, "[".repeat(500), "]".repeat(500));
    let id = |id: &str| format!(r#"{{"sensor_id":{id},"ts":"2026-01-01T00:00:00Z","temperature":1}}"#);
    let cases: Vec<(Vec<u8>, Reason)> = vec![
        (b"".to_vec(), Reason::Empty),
        (b" \n\r\n".to_vec(), Reason::Empty),
        (b"hello".to_vec(), Reason::NotJson),
        (b"{\"sensor_id\":\"a\"".to_vec(), Reason::Truncated),
        (b"\xff\xfe{}".to_vec(), Reason::NotUtf8),
        (b"{\"sensor_id\":\"a\xc3\x28\"}".to_vec(), Reason::NotUtf8),
        (b"[1,2]".to_vec(), Reason::NotAnObject),
        (b"42".to_vec(), Reason::NotAnObject),
        (b"{}".to_vec(), Reason::MissingId),
        (b"{\"sensor_id\":\"a\"}".to_vec(), Reason::MissingTime),
        (id("null").into(), Reason::MissingId),
        (id("\"\"").into(), Reason::EmptyId),
        (id("true").into(), Reason::WrongType),
        (id(&format!("\"{}\"", "x".repeat(200))).into(), Reason::IdTooLong),
        (id(r#""../../etc""#).into(), Reason::IdForbidden),
        (id(r#""a\nb""#).into(), Reason::IdForbidden),
        (id(r#""a\"b""#).into(), Reason::IdForbidden),
        (id("\"a'b\"").into(), Reason::IdForbidden),
        (br#"{"sensor_id":"a","sensor_id":"b","ts":"2026-01-01T00:00:00Z"}"#.to_vec(), Reason::DuplicateKey),
        (br#"{"sensor_id":"a","ts":"2026-01-01T00:00:00Z","temperature":"warm"}"#.to_vec(), Reason::WrongType),
        (br#"{"sensor_id":"a","ts":"2026-01-01T00:00:00Z","temperature":NaN}"#.to_vec(), Reason::NotJson),
        (br#"{"sensor_id":"a","ts":"2026-01-01T00:00:00Z","temperature":1e400}"#.to_vec(), Reason::NumberOutOfRange),
        (br#"{"sensor_id":"a","ts":"yesterday","temperature":1}"#.to_vec(), Reason::BadTime),
        (br#"{"sensor_id":"a","ts":12,"temperature":1}"#.to_vec(), Reason::WrongType),
        (br#"{"sensor_id":"a","ts":"2026-01-01T00:00:00Z","location":7}"#.to_vec(), Reason::NotAnObject),
        (deep.into(), Reason::TooDeep),
        (vec![b'['; 10_000], Reason::TooDeep),
        (vec![b'x'; 10_001], Reason::TooLarge),
        (b"{}\n{}\n{}\n{}".to_vec(), Reason::TooManyEvents),
    ];
    for (data, reason) in cases {
        assert_eq!(
            reason_of(&data),
            reason,
            "{:?}",
            String::from_utf8_lossy(&data).chars().take(80).collect::<String>()
        );
    }
}

#[test]
fn a_bad_line_does_not_harm_its_neighbours() {
    let good = r#"{"sensor_id":"a","ts":"2026-01-01T00:00:00Z"}"#;
    let batch = batch(&[format!("{good}\r\n\n{{oops\n{good}\n").as_bytes()]);
    assert_eq!(batch.rows.sub_sequence, [0, 2]);
    assert_eq!(batch.rejects[0].sub_sequence, 1);
    assert_eq!(&batch.records[0].data[batch.rejects[0].span.clone()], b"{oops");
    assert_eq!(batch.bytes_of(1), good.as_bytes());
}

#[test]
fn rows_are_grouped_by_sensor_in_stream_order() {
    let event = |id: &str| format!(r#"{{"sensor_id":"{id}","ts":"2026-01-01T00:00:00Z"}}"#);
    let events = [event("b"), event("a"), event("b")];
    let batch = batch(&events.iter().map(String::as_bytes).collect::<Vec<_>>());
    assert_eq!(batch.groups.iter().map(|g| g.sensor.as_str()).collect::<Vec<_>>(), ["b", "a"]);
    assert_eq!(batch.group_rows(0), [0, 2]);
    assert_eq!(batch.group_rows(1), [1]);
}

/// BOUNDED: what cannot become valid is no partition, whatever time stands in it.
#[test]
fn only_times_that_can_be_valid_are_partitions() {
    let decoder = decoder();
    let mut builder = decoder.batch();
    for time in ["1000-01-01T00:00:00Z", "2026-01-01T00:30:00Z", "2025-12-31T23:30:00Z", "9999-01-01T00:00:00Z"] {
        builder.push(RawRecord {
            sequence: SequenceNumber::parse("1").unwrap(),
            // 2026-01-01T01:00:00Z.
            arrival_ms: 1_767_229_200_000,
            partition_key: "k".into(),
            data: format!(r#"{{"sensor_id":"a","ts":"{time}"}}"#).into_bytes().into(),
        });
    }
    assert_eq!(builder.take_partitions().len(), 2);
    assert_eq!(builder.readings(), 4);
}

proptest::proptest! {
    #[test]
    fn any_bytes_end_as_rows_or_rejects_and_never_panic(data in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
        let batch = batch(&[&data]);
        proptest::prop_assert!(batch.rows.len() + batch.rejects.len() >= 1);
    }

    #[test]
    fn mutated_events_end_as_rows_or_rejects_and_never_panic(at in 0usize..120, with in proptest::num::u8::ANY) {
        let mut data = br#"{"sensor_id":"s-1","event_id":"e","seq":7,"ts":"2026-01-01T00:00:01.5Z","temperature":2.1e1,"location":{"lat":1}}"#.to_vec();
        let at = at % data.len();
        data[at] = with;
        let batch = batch(&[&data]);
        proptest::prop_assert!(batch.rows.len() + batch.rejects.len() >= 1);
    }
}
