//! GOAL    Whatever a device sends, nothing stops: each bad event has a row in quarantine with its reason and its bytes,
//!         every record comes back from the raw zone byte for byte, every good event is cleansed, and no byte of input
//!         reaches a key (RAW-ONCE, CLEAN-ONCE, COMPLETE, INERT).
//! METHOD  Every kind of bad record among good ones of other sensors, some in the same record.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use fleet::BrokenKind;
use mangrove_tests::judge::assert_whole;
use mangrove_tests::lake::{bytes, integer, text};
use mangrove_tests::world::{Record, Setup, World, an_hour_ago, caught_up, finish};

/// An event whose parts can be exchanged, as they stand in the JSON.
struct Parts<'a> {
    id: &'a str,
    event_id: &'a str,
    time: &'a str,
    temperature: &'a str,
    more: &'a str,
}

impl Parts<'_> {
    fn json(&self) -> Vec<u8> {
        let Self { id, event_id, time, temperature, more } = self;
        format!(r#"{{"sensor_id":{id},"event_id":{event_id},"ts":{time},"temperature":{temperature}{more}}}"#).into()
    }
}

/// What becomes of one event: its bytes, and the reason if it is refused.
struct Bad {
    reason: &'static str,
    data: Vec<u8>,
}

fn bad(reason: &'static str, data: impl Into<Vec<u8>>) -> Bad {
    Bad { reason, data: data.into() }
}

/// The reasons of the fleet's broken events. Two of them are not told apart here, since their reason depends on the
/// clock: the fleet gives them a fixed time.
fn reason_of(kind: BrokenKind) -> Option<&'static str> {
    Some(match kind {
        BrokenKind::NotJson | BrokenKind::Nan => "not_json",
        BrokenKind::Truncated => "truncated",
        BrokenKind::WrongType => "wrong_type",
        BrokenKind::BigRecord => "too_large",
        BrokenKind::MissingId => "missing_id",
        BrokenKind::EmptyId => "empty_id",
        BrokenKind::PathId | BrokenKind::NewlineId | BrokenKind::QuoteId => "id_forbidden",
        BrokenKind::HugeId => "id_too_long",
        BrokenKind::Deep => "too_deep",
        BrokenKind::HugeNumber => "number_out_of_range",
        BrokenKind::Year1970 | BrokenKind::Year9999 => "time_out_of_bounds",
        BrokenKind::DuplicateKey => "duplicate_key",
        BrokenKind::BadUtf8 => "not_utf8",
        BrokenKind::MissingTemperature | BrokenKind::OutOfRange => return None,
    })
}

/// Records that are one bad event each.
fn bad_events() -> Vec<Bad> {
    let now = format!("{:?}", an_hour_ago(0));
    let good = Parts { id: "\"b-1\"", event_id: "\"e\"", time: &now, temperature: "21.5", more: "" };
    let with_id = |id: &str| Parts { id, ..good }.json();
    let with_time = |time: &str| Parts { time, ..good }.json();
    let with_temperature = |temperature: &str| Parts { temperature, ..good }.json();
    let with_more = |more: &str| Parts { more, ..good }.json();
    let text = |bytes: usize| format!("\"{}\"", "x".repeat(bytes));
    let nested = |open: &str, close: &str| open.repeat(10_000) + "1" + &close.repeat(10_000);

    let whole = good.json();
    let mut events: Vec<Bad> =
        fleet::broken::all().into_iter().filter_map(|(kind, data)| Some(bad(reason_of(kind)?, data))).collect();
    events.extend([
        bad("empty", ""),
        bad("empty", " \r\n\t\n "),
        bad("not_json", "temperature=21.5"),
        bad("not_json", "\0"),
        bad("not_json", [b"\xef\xbb\xbf".as_slice(), &whole].concat()),
        bad("not_json", [whole.as_slice(), b" x"].concat()),
        bad("not_json", whole.iter().flat_map(|byte| [*byte, 0]).collect::<Vec<_>>()),
        bad("not_json", with_id("\"b\0\"")),
        bad("not_json", with_id("\"\\ud800\"")),
        bad("not_json", with_temperature("NaN")),
        bad("not_json", with_temperature("-Infinity")),
        bad("not_json", with_temperature("+21.5")),
        bad("not_json", with_more(",")),
        bad("truncated", &whole[..whole.len() - 1]),
        bad("truncated", "{\"sensor_id\":\"b-1"),
        bad("not_an_object", "[1,2]"),
        bad("not_an_object", "\"text\""),
        bad("not_an_object", "17"),
        bad("not_an_object", "true"),
        bad("not_an_object", [b"[".as_slice(), &whole, b"]"].concat()),
        bad("not_an_object", with_more(",\"location\":\"here\"")),
        bad("not_utf8", b"{\"sensor_id\":\"b-1\xff\"}".as_slice()),
        bad("not_utf8", b"\x1f\x8b\x08\x00".as_slice()),
        bad(
            "not_utf8",
            with_more(",\"note\":\"?\"").iter().map(|b| if *b == b'?' { 0xc0 } else { *b }).collect::<Vec<_>>(),
        ),
        bad("too_deep", nested("[", "]")),
        bad("too_deep", nested("{\"a\":", "}")),
        bad("too_deep", "[".repeat(10_000)),
        bad("too_deep", with_more(&format!(",\"note\":{}", nested("[", "]")))),
        bad("too_large", vec![b'x'; 1_000_000]),
        bad("too_large", with_more(&format!(",\"note\":{}", text(1_000_000)))),
        bad("too_large", [whole.as_slice(), b"\n"].concat().repeat(4_000)),
        bad("too_many_events", [whole.as_slice(), b"\n"].concat().repeat(1_001)),
        bad("duplicate_key", with_more(",\"temperature\":21.5")),
        bad("duplicate_key", with_more(",\"location\":{\"lat\":1,\"lat\":1}")),
        bad("wrong_type", with_id("true")),
        bad("wrong_type", with_id("[\"b-1\"]")),
        bad("wrong_type", with_time("1795359845")),
        bad("wrong_type", with_temperature("\"21.5\"")),
        bad("wrong_type", with_temperature("true")),
        bad("wrong_type", with_temperature("{\"value\":21.5}")),
        bad("wrong_type", with_more(",\"firmware\":1.2")),
        bad("wrong_type", with_more(",\"seq\":1.5")),
        bad("number_out_of_range", with_temperature("1e400")),
        bad("number_out_of_range", with_temperature("-1e400")),
        bad("missing_id", "{}"),
        bad("missing_id", "null"),
        bad("missing_id", with_id("null")),
        bad("empty_id", with_id("\"\"")),
        bad("id_too_long", with_id(&text(129))),
        bad("id_too_long", with_id(&text(64 << 10))),
        bad("id_too_long", Parts { event_id: &text(257), ..good }.json()),
        bad("id_forbidden", with_id("\"../../etc/passwd\"")),
        bad("id_forbidden", with_id("\"a\\nb\"")),
        bad("id_forbidden", with_id("\"a\\u0000b\"")),
        bad("id_forbidden", with_id("\"a'b\"")),
        bad("id_forbidden", with_id("\"a\\\"b\"")),
        bad("id_forbidden", with_id("\"a b\"")),
        bad("id_forbidden", with_id("\"sensor=1\"")),
        bad("id_forbidden", with_id("\"f\u{fc}hler\"")),
        bad("id_forbidden", with_id("\"\u{202e}1-s\"")),
        bad("missing_time", with_time("null")),
        bad("bad_time", with_time("\"yesterday\"")),
        bad("bad_time", with_time("\"\"")),
        bad("bad_time", with_time("\"2026-13-01T00:00:00Z\"")),
        bad("time_out_of_bounds", with_time("\"1970-01-01T00:00:00Z\"")),
        bad("time_out_of_bounds", with_time("\"9999-12-31T23:59:59.999Z\"")),
        bad("time_out_of_bounds", with_time("\"0001-01-01T00:00:00Z\"")),
        bad("missing_field", with_temperature("null")),
        bad("out_of_range", with_temperature("4000")),
        bad("out_of_range", with_temperature("1e308")),
        bad("out_of_range", with_more(&format!(",\"firmware\":{}", text(10_000)))),
        bad("out_of_range", with_more(",\"location\":{\"lat\":90.1}")),
        bad("out_of_range", with_more(",\"firmware\":\"1\\u0000\"")),
        bad("out_of_range", Parts { event_id: "\"e\\u0000\"", ..good }.json()),
        bad("number_out_of_range", with_more(",\"seq\":18446744073709551615")),
        bad("number_out_of_range", with_more(",\"seq\":1e19")),
        bad("not_json", [whole.as_slice(), b"\0"].concat()),
        bad("not_json", [whole.as_slice(), b"}"].concat()),
        bad("not_json", pretty_of(&with_temperature("NaN"))),
        bad("truncated", &pretty_of(&whole)[..80]),
        bad("not_utf8", gzip(&whole)),
    ]);
    events
}

/// The same over many lines.
fn pretty_of(json: &[u8]) -> Vec<u8> {
    json.iter().flat_map(|b| if *b == b',' { b",\n  ".to_vec() } else { vec![*b] }).collect()
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(data).unwrap();
    gzip.finish().unwrap()
}

/// Good events in unusual clothes: the record, and how many events are in it. Their ids begin with `g-`.
fn unusual_events() -> Vec<(Vec<u8>, Vec<String>)> {
    let now = format!("{:?}", an_hour_ago(0));
    let event = |n: u32, more: &str| {
        let (id, event_id) = (format!("\"g-{n}\""), format!("\"u-{n}\""));
        (Parts { id: &id, event_id: &event_id, time: &now, temperature: "21.5", more }.json(), vec![format!("u-{n}")])
    };
    let pretty = |n: u32, line: &[u8]| {
        let (json, ids) = event(n, "");
        (json.iter().flat_map(|b| if *b == b',' { [line, b","].concat() } else { vec![*b] }).collect::<Vec<_>>(), ids)
    };
    let ended = |n: u32, end: &[u8]| {
        let (json, ids) = event(n, "");
        ([json.as_slice(), end].concat(), ids)
    };
    let lines = |n: u32, end: &[u8]| {
        let (a, b) = (event(n, ""), event(n + 1, ""));
        ([&a.0, end, end, &b.0, end].concat(), [a.1, b.1].concat())
    };
    let values = |n: u32, before: &[u8], between: &[u8], after: &[u8]| {
        let (a, b) = (event(n, ""), event(n + 1, ""));
        ([before, &a.0, between, &pretty_of(&b.0), after].concat(), [a.1, b.1].concat())
    };
    let dots = Parts { id: "\"..\"", event_id: "\"u-dots\"", time: &now, temperature: "21.5", more: "" };
    vec![
        pretty(1, b"\n"),
        pretty(2, b"\r\n"),
        pretty(3, b"\r"),
        ended(4, b"\n"),
        ended(5, b"\r\n"),
        lines(6, b"\n"),
        lines(8, b"\r\n"),
        event(10, ",\"note\":1e400"),
        event(11, ",\"note\":1,\"note\":2"),
        event(12, &format!(",\"note\":{}1{}", "[".repeat(60), "]".repeat(60))),
        event(13, &format!(",\"note\":\"{}\"", "[".repeat(10_000))),
        event(14, ",\"firmware\":\"'; DROP TABLE x; --<script>\\u2028\""),
        event(15, &format!(",\"note\":\"{}\"", "x".repeat(200_000))),
        (dots.json(), vec!["u-dots".to_owned()]),
        lines(20, b"\r"),
        values(22, b"", b"", b""),
        values(24, b"", b",", b""),
        values(26, b"", b",\r\n", b",\r\n"),
        values(28, b"\x1e", b"\n\x1e", b"\n"),
        values(30, b"\n\n", b" ", b"\t"),
        event(32, ",\"seq\":12345678901234567.0"),
    ]
}

/// Partition keys are input too.
const KEYS: [&str; 6] = ["k", "../../etc", "a\nb", "'; DROP TABLE x; --", "<script>", "\u{202e}\u{1f333}"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_events_are_quarantined_and_nothing_else_notices() {
    let (mut put, mut good): (Vec<Record>, BTreeSet<String>) = Default::default();
    let (mut refused, mut records): (Vec<(String, Vec<u8>)>, Vec<Vec<u8>>) = Default::default();
    for Bad { reason, data } in bad_events() {
        let trimmed = match reason {
            // Blank around an event is not the event's; of a record that is refused whole, all is.
            "too_large" | "too_many_events" | "empty" => data.clone(),
            _ => data.trim_ascii().to_vec(),
        };
        refused.push((reason.to_owned(), trimmed));
        records.push(data);
    }
    for (data, ids) in unusual_events() {
        good.extend(ids);
        records.push(data);
    }
    // A bad line among good ones, and lines that are no events at all.
    let line = |n: u32| {
        let (id, time) = (format!("\"m-{n}\""), format!("{:?}", an_hour_ago(0)));
        Parts { id: "\"m\"", event_id: &id, time: &time, temperature: "20", more: "" }.json()
    };
    records.push([&line(0), b"\n".as_slice(), b"{\"sensor_id\":\"m\"", b"\n", &line(1)].concat());
    refused.push(("truncated".to_owned(), b"{\"sensor_id\":\"m\"".to_vec()));
    records.push(b"not\njson".to_vec());
    refused.push(("not_json".to_owned(), b"not\njson".to_vec()));
    good.extend(["m-0".to_owned(), "m-1".to_owned()]);

    for (n, data) in records.into_iter().enumerate() {
        let (id, event_id) = (format!("\"good-{}\"", n % 5), format!("\"good-{n}\""));
        let time = format!("{:?}", an_hour_ago(n as i64));
        let ordinary = Parts { id: &id, event_id: &event_id, time: &time, temperature: "21.5", more: "" };
        put.push((format!("good-{}", n % 5), ordinary.json()));
        good.insert(format!("good-{n}"));
        // A key of one byte leaves room for the largest record.
        let key = if data.len() > 1_000_000 { "s-000042" } else { KEYS[n % KEYS.len()] };
        put.push((key.to_owned(), data));
    }

    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 2).await;
    world.put(&put).await;
    let worker = world.worker(&Setup::default()).await;
    caught_up(&worker).await;
    assert_eq!(worker.restarts(), 0, "an actor or a sensor was restarted");
    finish(worker).await;

    let lake = world.lake();
    assert_whole(&lake, &put);
    let cleansed = lake.rows("cleansed");
    let ids: BTreeSet<String> = cleansed.iter().map(|row| text(row, "event_id")).collect();
    assert_eq!(ids, good, "good events");
    assert_eq!(cleansed.len(), good.len(), "good events, once each");
    let hostile = cleansed.iter().find(|row| text(row, "event_id") == "u-14").unwrap();
    assert_eq!(text(hostile, "firmware"), "'; DROP TABLE x; --<script>\u{2028}");
    let exact = cleansed.iter().find(|row| text(row, "event_id") == "u-32").unwrap();
    assert_eq!(integer(exact, "device_sequence"), 12_345_678_901_234_567);

    let rows = lake.rows("quarantine");
    let mut found: Vec<_> = rows.iter().map(|row| (text(row, "reason"), bytes(row, "data"))).collect();
    found.sort();
    refused.sort();
    let text_of = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let shown = |row: &(String, Vec<u8>)| {
        let (data, ends) = (&row.1, row.1.len().min(80));
        (row.0.clone(), text_of(&data[..ends]), text_of(&data[data.len() - ends..]), data.len())
    };
    let other = found.iter().zip(&refused).find(|(found, expected)| found != expected);
    assert!(
        other.is_none(),
        "found and expected: {:?}",
        other.map(|(found, expected)| (shown(found), shown(expected)))
    );
    assert_eq!(found.len(), refused.len());
    assert!(rows.iter().all(|row| !text(row, "detail").is_empty() && text(row, "detail").chars().count() <= 300));
    let second = rows.iter().find(|row| bytes(row, "data") == b"{\"sensor_id\":\"m\"").unwrap();
    assert_eq!(integer(second, "sub_sequence"), 1, "the second event of its record");

    let mut counted: BTreeMap<String, u64> = BTreeMap::new();
    for manifest in lake.manifests() {
        for (reason, n) in manifest["reasons"].as_object().unwrap() {
            *counted.entry(reason.clone()).or_default() += n.as_u64().unwrap();
        }
    }
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    refused.into_iter().for_each(|(reason, _)| *expected.entry(reason).or_default() += 1);
    assert_eq!(counted, expected, "reasons by the manifests");
}
