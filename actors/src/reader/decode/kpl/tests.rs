use std::sync::Arc;

use messages::{Batch, Credit, EventSchema, RawRecord, SequenceNumber};
use proptest::collection::vec;
use proptest::prelude::*;

use super::super::{DecodeLimits, Decoder};
use super::*;

/// A user record as a producer gives it to the library.
#[derive(Clone, Debug)]
struct User {
    key: String,
    explicit: Option<String>,
    data: Vec<u8>,
}

fn user(key: &str, data: impl Into<Vec<u8>>) -> User {
    User { key: key.to_owned(), explicit: None, data: data.into() }
}

fn varint(mut n: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while n >= 0x80 {
        bytes.push(n as u8 | 0x80);
        n >>= 7;
    }
    bytes.push(n as u8);
    bytes
}

fn number(field: u8, n: u64) -> Vec<u8> {
    [vec![field << 3], varint(n)].concat()
}

fn block(field: u8, bytes: &[u8]) -> Vec<u8> {
    [vec![field << 3 | 2], varint(bytes.len() as u64), bytes.to_vec()].concat()
}

fn sealed(message: &[u8]) -> Vec<u8> {
    [MAGIC, message, &Md5::digest(message)].concat()
}

/// What the library makes of these user records. Every key is in its table once.
fn aggregate(users: &[User]) -> Vec<u8> {
    fn index(table: &mut Vec<String>, key: &str) -> u64 {
        let known = table.iter().position(|other| other == key);
        known.unwrap_or_else(|| {
            table.push(key.to_owned());
            table.len() - 1
        }) as u64
    }
    let (mut keys, mut explicit_keys, mut records) = (Vec::new(), Vec::new(), Vec::new());
    for user in users {
        let mut record = number(1, index(&mut keys, &user.key));
        if let Some(explicit) = &user.explicit {
            record.extend(number(2, index(&mut explicit_keys, explicit)));
        }
        record.extend(block(3, &user.data));
        records.extend(block(3, &record));
    }
    let table = |field, keys: &[String]| keys.iter().flat_map(|key| block(field, key.as_bytes())).collect::<Vec<_>>();
    sealed(&[table(1, &keys), table(2, &explicit_keys), records].concat())
}

fn decoder(range: HashRange, events_per_record_max: usize) -> Decoder {
    let schema = Arc::new(EventSchema::built_in("climate").unwrap());
    let limits = DecodeLimits { record_bytes_max: 10 << 20, events_per_record_max, depth_max: 32 };
    Decoder::new(schema, limits, range)
}

fn batch_within(range: HashRange, events_per_record_max: usize, data: &[u8]) -> Batch {
    batch_of(&decoder(range, events_per_record_max), data)
}

fn batch_of(decoder: &Decoder, data: &[u8]) -> Batch {
    let mut builder = decoder.batch();
    builder.push(RawRecord {
        sequence: SequenceNumber::parse("1").unwrap(),
        arrival_ms: 0,
        partition_key: "a".into(),
        data: Bytes::copy_from_slice(data),
    });
    builder.finish(Credit::none())
}

fn batch(data: &[u8]) -> Batch {
    batch_within(HashRange::FULL, 100, data)
}

fn event(id: &str) -> Vec<u8> {
    format!(r#"{{"sensor_id":"{id}","ts":"2026-01-01T00:00:00Z"}}"#).into()
}

/// The one refusal of a record in which nothing was read.
fn refused_whole(events_max: usize, data: &[u8]) -> (Reason, String) {
    let batch = batch_within(HashRange::FULL, events_max, data);
    assert_eq!((batch.rows.len(), batch.rejects.len()), (0, 1), "{:?}", batch.rejects);
    let reject = &batch.rejects[0];
    assert_eq!((reject.sub_sequence, reject.span.clone()), (0, 0..data.len()));
    (reject.reason, reject.detail.clone())
}

fn assert_opaque(data: &[u8]) {
    let (reason, detail) = refused_whole(100, data);
    assert_eq!(reason, Reason::NotUtf8, "{detail}");
}

#[test]
fn the_librarys_own_bytes_are_read() {
    // Written by a program of its own, that agrees with published output of the library to the byte.
    let data = b"\xf3\x89\x9a\xc2\n\x03abc\n\x05other\x12\x0242\x1a\x0b\x08\x00\x1a\x07{\"a\":1}\
        \x1a\r\x08\x01\x10\x00\x1a\x07{\"b\":2}\x1a\x04\x08\x01\x1a\x00\
        \xf5\xf9\x08\x87\xc9T\xd9\x9d(\xac\x87\xca\xe7\xfb\x9a-";
    let found = places(&Bytes::from_static(data), 3).unwrap();
    let shown: Vec<_> = found.iter().map(|(span, hash_key)| (&data[span.clone()], *hash_key)).collect();
    let expected: [(&[u8], u128); 3] = [
        (b"{\"a\":1}", 0x900150983cd24fb0d6963f7d28e17f72),
        (b"{\"b\":2}", 42),
        (b"", 0x795f3202b17cb6bc3d4b771d8c6c9eaf),
    ];
    assert_eq!(shown, expected);

    let users = [user("abc", "{\"a\":1}"), User { explicit: Some("42".into()), ..user("other", "{\"b\":2}") }];
    assert_eq!(aggregate(&[&users[..], &[user("other", "")]].concat()), data, "the encoder of these tests");
}

#[test]
fn events_are_numbered_over_the_whole_record() {
    let lines = [event("b").as_slice(), b"\r\n\n", b"{oops\n", &event("c"), b"\n"].concat();
    let pretty = String::from_utf8(event("d")).unwrap().replace(',', ",\n");
    let data = aggregate(&[user("k", event("a")), user("l", lines), user("k", " "), user("m", pretty.clone())]);
    let batch = batch(&data);
    assert_eq!(batch.rows.sub_sequence, [0, 1, 3, 5]);
    let found: Vec<&[u8]> = (0..4).map(|row| batch.bytes_of(row)).collect();
    assert_eq!(found, [event("a"), event("b"), event("c"), pretty.into()]);
    let rejects: Vec<_> = batch.rejects.iter().map(|r| (r.sub_sequence, r.reason, &data[r.span.clone()])).collect();
    let expected: [(u32, Reason, &[u8]); 2] = [(2, Reason::NotJson, b"{oops"), (4, Reason::Empty, b" ")];
    assert_eq!(rejects, expected);
}

#[test]
fn a_sensor_is_where_its_first_user_record_belongs() {
    let placed = |id, explicit: &str| User { explicit: Some(explicit.to_owned()), ..user("k", event(id)) };
    let batch = batch(&aggregate(&[placed("a", "7"), user("l", event("b")), placed("a", "8")]));
    let groups: Vec<_> = batch.groups.iter().map(|group| (group.sensor.as_str(), group.hash_key)).collect();
    assert_eq!(groups, [("a", 7), ("b", hash_key("l"))]);
    let plain = batch_within(HashRange::FULL, 100, &event("a"));
    assert_eq!(plain.groups[0].hash_key, hash_key("a"), "of the record");
}

#[test]
fn a_user_record_of_another_shard_harms_none_of_its_neighbours() {
    let placed = |id, explicit: &str| User { explicit: Some(explicit.to_owned()), ..user("k", event(id)) };
    let outside = User { data: [event("x"), event("y")].join(&b'\n'), ..placed("x", "9") };
    let data = aggregate(&[placed("z", "21"), placed("a", "10"), outside.clone(), placed("b", "20")]);
    let batch = batch_within(HashRange::parse("10", "20").unwrap(), 4, &data);
    assert_eq!(batch.rows.sub_sequence, [1, 3]);
    let rejects: Vec<_> = batch.rejects.iter().map(|r| (r.sub_sequence, r.reason, &data[r.span.clone()])).collect();
    let of = Reason::OutsideHashRange;
    assert_eq!(rejects, [(0, of, event("z").as_slice()), (2, of, &outside.data)]);
    assert_eq!(batch.rejects[1].detail, "the hash key 9 is outside the shard's range, 10 to 20");
    // A plain record is where Kinesis has put it.
    assert_eq!(batch_within(HashRange::parse("0", "0").unwrap(), 1, &event("a")).rows.len(), 1);
}

#[test]
fn what_is_not_whole_is_opaque() {
    let good = aggregate(&[user("k", event("a")), user("l", [event("b"), event("c"), event("d")].join(&b'\n'))]);
    assert_eq!(batch(&good).rows.len(), 4);
    for end in 4..good.len() {
        assert_opaque(&good[..end]);
    }
    assert_opaque(&[&good, b"\n".as_slice()].concat());
    let mut wrong_md5 = good.clone();
    *wrong_md5.last_mut().unwrap() ^= 1;
    assert_opaque(&wrong_md5);
}

#[test]
fn messages_that_lie_are_opaque_even_under_a_right_md5() {
    let key = block(1, b"k");
    let data = block(3, &event("a"));
    let fits = [number(1, 0), data.clone()].concat();
    let with = |record: &[u8]| sealed(&[key.clone(), block(3, record), block(3, &fits)].concat());
    assert_eq!(batch(&with(&fits)).rows.len(), 2);
    let cases: [(&str, Vec<u8>); 12] = [
        ("the key's index is outside its table", with(&[number(1, 1), data.clone()].concat())),
        ("the index is huge", with(&[number(1, u64::MAX), data.clone()].concat())),
        ("no table of explicit hash keys", with(&[number(1, 0), number(2, 0), data.clone()].concat())),
        ("no key", with(&data)),
        ("no data", with(&number(1, 0))),
        ("data longer than their record", with(&[number(1, 0), vec![0x1a, 0x7f, b'{']].concat())),
        ("data of 2^64 - 1 bytes", with(&[number(1, 0), vec![0x1a], varint(u64::MAX)].concat())),
        ("a length without an end", with(&[number(1, 0), vec![0x1a], vec![0xff; 11]].concat())),
        ("data that are a number", with(&[number(1, 0), number(3, 7)].concat())),
        ("a key that is no text", sealed(&[&block(1, b"\xff"), &block(3, &fits)[..]].concat())),
        ("a record longer than the message", sealed(&[&key[..], &[0x1a, 0xff, 0x7f], &fits].concat())),
        ("groups in groups", sealed(&[0x2b; 100_000])),
    ];
    for (what, data) in cases {
        let (reason, detail) = refused_whole(100, &data);
        assert_eq!(reason, Reason::NotUtf8, "{what}: {detail}");
    }
}

#[test]
fn what_the_library_may_add_is_passed_over() {
    let tag = block(4, &[block(1, b"name"), block(2, b"value")].concat());
    let record = [number(1, 0), block(3, &event("a")), tag, number(15, 1)].concat();
    let batch = batch(&sealed(&[block(1, b"k"), block(3, &record), block(14, b"later")].concat()));
    assert_eq!((batch.rows.len(), batch.rejects.len()), (1, 0));
}

#[test]
fn an_explicit_hash_key_that_is_no_number_counts_as_none() {
    for explicit in ["undefined", "", "-1", &"9".repeat(40)] {
        let data = aggregate(&[User { explicit: Some(explicit.to_owned()), ..user("k", event("a")) }]);
        assert_eq!(batch(&data).groups[0].hash_key, hash_key("k"), "{explicit:?}");
    }
}

#[test]
fn an_aggregate_without_a_user_record_is_empty() {
    for data in [aggregate(&[]), sealed(&block(1, b"k"))] {
        assert_eq!(refused_whole(100, &data).0, Reason::Empty);
    }
}

#[test]
fn an_aggregate_inside_an_aggregate_stays_closed() {
    let inner = aggregate(&[user("k", [event("a"), event("b"), event("c")].join(&b'\n'))]);
    let data = aggregate(&[user("k", inner.clone()), user("k", event("d"))]);
    let batch = batch(&data);
    assert_eq!(batch.rows.sub_sequence, [1]);
    assert_eq!(batch.rejects.len(), 1);
    assert_eq!((batch.rejects[0].reason, &data[batch.rejects[0].span.clone()]), (Reason::NotUtf8, inner.as_slice()));
}

#[test]
fn too_many_events_refuse_the_whole_record() {
    let one = user("k", event("a"));
    let lines = |n| user("k", vec![event("a"); n].join(&b'\n'));
    let fits =
        [vec![one.clone(); 4], vec![lines(3), lines(2), one.clone()], vec![lines(4)], vec![one.clone(), lines(3)]];
    for (users, events) in fits.into_iter().zip([4, 6, 4, 4]) {
        let data = aggregate(&users);
        assert_eq!(batch_within(HashRange::FULL, events, &data).rows.len(), events);
        let (reason, detail) = refused_whole(events - 1, &data);
        assert_eq!(reason, Reason::TooManyEvents);
        assert_eq!(detail, format!("more than the {} events allowed in a record", events - 1));
    }
    // What is refused counts too: it has a row each in quarantine.
    assert_eq!(
        refused_whole(2, &aggregate(&[user("k", ""), user("k", "x"), user("k", "[]")])).0,
        Reason::TooManyEvents
    );
}

#[test]
fn a_hundred_thousand_user_records_are_read_or_refused_as_the_limit_says() {
    let n = 100_000;
    // One long key for all of them: hashing it for every user record would take minutes.
    let records = block(3, &[number(1, 0), block(3, b"{}")].concat()).repeat(n);
    let data = sealed(&[block(1, "k".repeat(1 << 20).as_bytes()), records].concat());
    assert_eq!(refused_whole(n - 1, &data).0, Reason::TooManyEvents);
    let batch = batch_within(HashRange::FULL, n, &data);
    assert_eq!(batch.rejects.len(), n);
    assert!(
        batch.rejects.iter().all(|reject| reject.reason == Reason::MissingId && data[reject.span.clone()] == *b"{}")
    );
    assert!(batch.rejects.iter().map(|reject| reject.sub_sequence).eq(0..n as u32));
}

/// User records of JSON events, lines of them, and rubbish.
fn users() -> impl Strategy<Value = Vec<User>> {
    let line = prop_oneof![
        3 => "[a-z]{1,3}".prop_map(|id| event(&id)),
        1 => vec(any::<u8>(), 0..20),
    ];
    let data = vec(line, 0..4).prop_map(|lines| lines.join(&b'\n'));
    let explicit = prop_oneof![Just(None), any::<u128>().prop_map(|key| Some(key.to_string()))];
    vec(("\\PC{0,5}", explicit, data).prop_map(|(key, explicit, data)| User { key, explicit, data }), 1..6)
}

proptest! {
    #[test]
    fn any_bytes_after_the_magic_end_as_rows_or_rejects(bytes in vec(any::<u8>(), 0..200)) {
        for data in [sealed(&bytes), [MAGIC, &bytes].concat()] {
            let batch = batch(&data);
            prop_assert!(batch.rows.len() + batch.rejects.len() >= 1);
        }
    }

    #[test]
    fn any_message_of_the_right_fields_ends_as_rows_or_rejects(
        fields in vec((1u8..5, prop_oneof![
            any::<u64>().prop_map(Err),
            vec(any::<u8>(), 0..30).prop_map(Ok),
            (0u64..4, 0u64..4, "\\PC{0,9}").prop_map(|(key, explicit, data)| {
                Ok([number(1, key), number(2, explicit), block(3, data.as_bytes())].concat())
            }),
        ]), 0..12)
    ) {
        let field = |(field, value): (u8, Result<Vec<u8>, u64>)| match value {
            Ok(bytes) => block(field, &bytes),
            Err(n) => number(field, n),
        };
        let batch = batch(&sealed(&fields.into_iter().flat_map(field).collect::<Vec<_>>()));
        prop_assert!(batch.rows.len() + batch.rejects.len() >= 1);
    }

    #[test]
    fn what_goes_in_comes_out_as_slices_of_the_record(users in users()) {
        let data = Bytes::from(aggregate(&users));
        let found = places(&data, users.len()).unwrap();
        prop_assert_eq!(found.len(), users.len());
        for ((span, found_key), user) in found.into_iter().zip(&users) {
            prop_assert_eq!(&data[span], user.data.as_slice());
            let expected = user.explicit.as_ref().map_or_else(|| hash_key(&user.key), |key| key.parse().unwrap());
            prop_assert_eq!(found_key, expected);
        }
    }

    #[test]
    fn every_user_record_is_its_events_or_one_reject(users in users(), start in any::<u128>()) {
        let range = HashRange::parse(&start.to_string(), &u128::MAX.to_string()).unwrap();
        let batch = batch_within(range, 100, &aggregate(&users));
        let mut numbers: Vec<u32> = batch.rows.sub_sequence.clone();
        numbers.extend(batch.rejects.iter().map(|reject| reject.sub_sequence));
        numbers.sort();
        prop_assert!(numbers.iter().copied().eq(0..numbers.len() as u32), "{:?}", numbers);
        let key = |user: &User| user.explicit.as_ref().map_or_else(|| hash_key(&user.key), |key| key.parse().unwrap());
        let outside: Vec<&[u8]> = users.iter().filter(|user| key(user) < start).map(|user| &user.data[..]).collect();
        let refused = batch.rejects.iter().filter(|reject| reject.reason == Reason::OutsideHashRange);
        let refused: Vec<&[u8]> = refused.map(|reject| &batch.records[0].data[reject.span.clone()]).collect();
        prop_assert_eq!(refused, outside);
    }

    #[test]
    fn one_changed_byte_never_makes_another_event(users in users(), at in any::<prop::sample::Index>(), with in 1u8..) {
        let good = aggregate(&users);
        let mut data = good.clone();
        let at = at.index(data.len());
        data[at] ^= with;
        let batch = batch(&data);
        if at >= MAGIC.len() {
            prop_assert_eq!((batch.rows.len(), batch.rejects.len()), (0, 1));
            prop_assert_eq!(batch.rejects[0].reason, Reason::NotUtf8);
        }
        // Without its magic it is a record of lines like any other; those that are whole are what was sent.
        let sent: Vec<&[u8]> = users.iter().flat_map(|user| user.data.split(|byte| *byte == b'\n')).collect();
        for row in 0..batch.rows.len() {
            prop_assert!(sent.iter().any(|line| line.trim_ascii() == batch.bytes_of(row)));
        }
    }
}

#[test]
fn where_keys_decide_nothing_an_aggregate_is_taken_whole() {
    let users: Vec<User> = (0..20).map(|n| user(&format!("k{n}"), event(&format!("s{n}")))).collect();
    let data = aggregate(&users);
    let mut decoder = decoder(HashRange::parse("0", "10").unwrap(), 100);
    let counts = |decoder: &Decoder| {
        let batch = batch_of(decoder, &data);
        (batch.rows.len(), batch.rejects.len())
    };
    assert_eq!(counts(&decoder), (0, 20));
    decoder.take_whole_aggregates(true);
    assert_eq!(counts(&decoder), (20, 0));
    // Each keeps its place: its key may come to decide again.
    let keys: Vec<u128> = batch_of(&decoder, &data).groups.iter().map(|group| group.hash_key).collect();
    assert_eq!(keys, (0..20).map(|n| hash_key(&format!("k{n}"))).collect::<Vec<_>>());
    decoder.take_whole_aggregates(false);
    assert_eq!(counts(&decoder), (0, 20));
}
