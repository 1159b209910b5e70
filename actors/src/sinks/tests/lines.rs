use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use messages::{Alert, Zone};
use proptest::prelude::*;
use serde_json::Value;

use super::fixture::{
    Event, HOUR_MS, NOW_MS, Part, batches, clean, content, context, event, gunzip, keys, objects, sequence,
};
use crate::sinks::encode_epoch;

/// The lines of an object, split by line feeds alone.
fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    let plain = gunzip(bytes);
    assert_eq!(plain.last(), Some(&b'\n'));
    plain[..plain.len() - 1].split(|b| *b == b'\n').map(<[u8]>::to_vec).collect()
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        any::<String>().prop_map(String::into_bytes),
        Just(b"\xef\xbb\xbf{}".to_vec()),
        Just(b"{}\n{}".to_vec()),
        Just(b"{}\r".to_vec()),
        Just(b"{\"a\":1}".to_vec()),
        Just(b"{\"a\":1}\n".to_vec()),
        Just(b"{\"a\":1} \r\n".to_vec()),
        Just(b"{\"a\":1}\n\n".to_vec()),
        Just(b"{\"a\":\n1}\n".to_vec()),
        Just(b" ".to_vec()),
        Just(Vec::new()),
    ]
}

proptest! {
    /// RAW-ONCE, for payloads of any bytes.
    #[test]
    fn raw_and_its_companion_give_back_every_record(
        payloads in prop::collection::vec(payload(), 1..30),
        batch_len in 1..8_usize,
    ) {
        let events: Vec<Event> = payloads
            .iter()
            .zip(1..)
            .map(|(data, n)| Event { sequence: n, arrival_ms: NOW_MS, data: data.clone(), parts: Vec::new() })
            .collect();
        let epoch = encode_epoch(&context(), &batches(&events, batch_len), &content()).unwrap();
        prop_assert_eq!(epoch.plan.records, events.len() as u64);

        let mut files: BTreeMap<&[u8], std::vec::IntoIter<Vec<u8>>> = BTreeMap::new();
        for (key, object) in keys(&epoch, Zone::Raw).iter().zip(objects(&epoch, Zone::Raw)) {
            let end: &[u8] = match key {
                key if key.ends_with(".crlf.jsonl.gz") => b"\r\n",
                key if key.ends_with(".lf.jsonl.gz") => b"\n",
                _ => b"",
            };
            let lines = lines(&object);
            prop_assert!(lines.iter().all(|line| serde_json::from_slice::<Value>(line).unwrap().is_object()));
            let with_end = |line: &Vec<u8>| [line.strip_suffix(b"\r").unwrap_or(line), end].concat();
            files.insert(end, lines.iter().map(with_end).collect::<Vec<_>>().into_iter());
        }
        let escaped: Vec<Vec<u8>> = objects(&epoch, Zone::RawEscaped).iter().flat_map(|o| lines(o)).collect();
        let escaped: BTreeMap<String, Vec<u8>> = escaped.iter().map(|line| {
            let json: Value = serde_json::from_slice(line).unwrap();
            assert_eq!(json["arrival_ms"], NOW_MS);
            assert_eq!(json["partition_key"], "key \"of\" <it>");
            (json["sequence"].as_str().unwrap().to_owned(), STANDARD.decode(json["data"].as_str().unwrap()).unwrap())
        }).collect();
        for event in &events {
            let end: &[u8] = match event.data.as_slice() {
                data if data.ends_with(b"\r\n") => b"\r\n",
                data if data.ends_with(b"\n") => b"\n",
                _ => b"",
            };
            let in_stream_order = |files: &mut BTreeMap<&[u8], std::vec::IntoIter<Vec<u8>>>| files.get_mut(end)?.next();
            let stored = escaped.get(sequence(event.sequence).as_str()).cloned();
            let stored = stored.or_else(|| in_stream_order(&mut files));
            prop_assert_eq!(stored.as_ref(), Some(&event.data));
        }
        prop_assert!(files.into_values().all(|mut rest| rest.next().is_none()));
    }
}

#[test]
fn what_is_not_one_line_goes_to_the_companion() {
    let payloads: [(&[u8], bool); 19] = [
        (b"{\"a\":1}", true),
        (b" {\"a\":1} ", true),
        ("{\"a\":\"\u{85}\u{2028}\"}".as_bytes(), true),
        (b"{\"a\":1}\n", true),
        (b"{\"a\":1}\r\n", true),
        (b"{\"a\":1}\n\n", false),
        (b"{\"a\":1}\n\r\n", false),
        (b"\n{\"a\":1}", false),
        (b"{\"a\":\n1}", false),
        (b"{\"a\":1}\r", false),
        (b"[1]", false),
        (b"text", false),
        (b" ", false),
        (b"", false),
        (b"a\nb", false),
        (b"a\r", false),
        (b"\xff", false),
        (b"\xef\xbb\xbf{}", false),
        (b"\xc3", false),
    ];
    let name = |key: &str| key.rsplit('/').next().unwrap().to_owned();
    for (data, is_line) in payloads {
        let events = [Event { data: data.to_vec(), ..event(11, Vec::new()) }];
        let epoch = encode_epoch(&context(), &batches(&events, 1), &content()).unwrap();
        assert_eq!(keys(&epoch, Zone::Raw).len(), usize::from(is_line), "{data:?}");
        let companions = keys(&epoch, Zone::RawEscaped);
        assert_eq!(companions.len(), usize::from(!is_line), "{data:?}");
        // Readers of whole folders pass over such a name.
        assert!(companions.iter().all(|key| name(key).starts_with('_')), "{companions:?}");
    }
}

#[test]
fn raw_lies_under_the_hour_of_arrival_in_stream_order() {
    let arrivals = [NOW_MS, NOW_MS + HOUR_MS, NOW_MS, NOW_MS + HOUR_MS];
    let events: Vec<Event> =
        arrivals.iter().zip(11..).map(|(&arrival_ms, n)| Event { arrival_ms, ..event(n, Vec::new()) }).collect();
    let epoch = encode_epoch(&context(), &batches(&events, 3), &content()).unwrap();

    let found: Vec<Vec<Vec<u8>>> = objects(&epoch, Zone::Raw).iter().map(|o| lines(o)).collect();
    let line = |n: u64| format!("{{\"n\":{n}}}").into_bytes();
    assert_eq!(found, [[line(11), line(13)], [line(12), line(14)]]);
    let hours: Vec<bool> =
        keys(&epoch, Zone::Raw).iter().zip(["15", "16"]).map(|(k, h)| k.contains(&format!("hour={h}/"))).collect();
    assert_eq!(hours, [true, true]);
}

#[test]
fn alerts_are_lines_in_the_order_of_their_records() {
    let raise = |sensor: &str| Part::Reading(super::fixture::Reading { alerts: 2, ..clean(sensor, 5, 70.0) });
    let events = [event(9, vec![raise("b"), raise("a")]), event(10, vec![raise("a")])];
    let epoch = encode_epoch(&context(), &batches(&events, 2), &content()).unwrap();
    let [object] = objects(&epoch, Zone::Alerts).try_into().unwrap();
    let alerts: Vec<Alert> = lines(&object).iter().map(|line| serde_json::from_slice(line).unwrap()).collect();
    let ids: Vec<&str> = alerts.iter().map(|alert| alert.id.as_str()).collect();
    assert_eq!(ids, ["9-a-0", "9-a-1", "9-b-0", "9-b-1", "10-a-0", "10-a-1"]);
    assert_eq!(epoch.plan.alerts, 6);
}
