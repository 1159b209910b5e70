//! Values one after the other, whatever stands between them; and what is done about the rest.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

fn event(id: &str) -> String {
    format!(r#"{{"sensor_id":"{id}","ts":"2026-01-01T00:00:00Z","temperature":21.5}}"#)
}

fn pretty(id: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(&event(id)).unwrap();
    serde_json::to_string_pretty(&value).unwrap()
}

/// The events by id and number, and what is refused by number, reason and bytes.
type Read = (Vec<(String, u32)>, Vec<(u32, Reason, String)>);

fn read(data: impl AsRef<[u8]>) -> Read {
    let batch = batch_of(EventSchema::built_in("climate").unwrap(), 1_000, &[data.as_ref()]);
    let mut rows = Vec::new();
    for (at, group) in batch.groups.iter().enumerate() {
        rows.extend(batch.group_rows(at).iter().map(|row| {
            let row = *row as usize;
            assert_eq!(batch.bytes_of(row).first(), Some(&b'{'));
            (group.sensor.as_str().to_owned(), batch.rows.sub_sequence[row])
        }));
    }
    rows.sort_by_key(|(_, sub)| *sub);
    let refused = batch.rejects.iter().map(|reject| {
        let bytes = &batch.records[0].data[reject.span.clone()];
        (reject.sub_sequence, reject.reason, String::from_utf8_lossy(bytes).into_owned())
    });
    (rows, refused.collect())
}

fn events(ids: &[&str]) -> Vec<(String, u32)> {
    ids.iter().zip(0..).map(|(id, sub)| ((*id).to_owned(), sub)).collect()
}

#[test]
fn values_stand_one_after_the_other() {
    let (a, b, c) = (event("a"), event("b"), event("c"));
    let (p, q) = (pretty("a"), pretty("b"));
    for data in [
        format!("{a}{b}"),
        format!("{a} \t{b}"),
        format!("{a}\n{b}"),
        format!("{a}\n\n\n{b}\n"),
        format!("{a}\r\n{b}\r\n"),
        format!("{a}\r{b}"),
        format!("{a},{b}"),
        format!("{a}, {b}"),
        format!("{a},\n{b}\n"),
        format!("{a},\r\n{b},\r\n"),
        format!("{a}\n,{b}"),
        format!("\u{1e}{a}\n\u{1e}{b}\n"),
        format!("\u{1e}{a}\u{1e}{b}"),
        format!("{p}\n{q}"),
        format!("{p}{q}"),
        format!("{p},\n{q}\n"),
        format!("\u{1e}{p}\n\u{1e}{q}\n"),
        format!("{}\r\n{}", p.replace('\n', "\r\n"), q.replace('\n', "\r\n")),
        format!("{p}\n{b}"),
        format!("  {a}\n  {b}"),
    ] {
        assert_eq!(read(&data), (events(&["a", "b"]), Vec::new()), "{data}");
    }
    assert_eq!(read(format!("{a}\n{p}{b}\n{c}")).0, events(&["a", "a", "b", "c"]));
}

#[test]
fn what_cannot_be_read_is_one_piece_and_takes_no_other_with_it() {
    let (a, b) = (event("a"), event("b"));
    let (p, q) = (pretty("a"), pretty("b"));
    let nan = pretty("x").replace("21.5", "NaN");
    let nested = pretty("x").replace("21.5", "[\n    {\n      \"a\": oops\n    },\n    {}\n  ]");
    for bad in [
        "{oops",
        "oops",
        "{\"sensor_id\":\"m\"",
        "{\"sensor_id\":\"m",
        "{\"sensor_id\":\"m\\",
        "{\"sensor_id\":",
        "{\"sensor_id\":[1,",
        "{\"sensor_id\":\"m\"}}",
        "{\"sensor_id\":\"m\"} x",
        "{\"temperature\":NaN}",
        "}",
        "17",
        "\"text\"",
        "\u{feff}{}",
        "{\"a\":1}\0",
        &nan,
        &nested,
        &p[..p.len() - 2],
    ] {
        for (data, after) in [(format!("{a}\n{bad}\n{b}\n"), "b"), (format!("{p}\n{bad}\n{q}"), "b")] {
            let (rows, refused) = read(&data);
            assert_eq!(rows, [("a".to_owned(), 0), (after.to_owned(), 2)], "{data}");
            assert_eq!(refused.len(), 1, "{data}: {refused:?}");
            assert_eq!((refused[0].0, refused[0].2.as_str()), (1, bad), "{data}");
        }
        let (rows, refused) = read(bad);
        assert!(rows.is_empty() && refused.len() == 1 && refused[0].2 == bad, "{bad}: {refused:?}");
    }
    // Without line breaks its own brackets are all that says where it ends.
    let bad = "{\"temperature\":NaN}";
    for between in ["", ",", "\u{1e}"] {
        let (rows, refused) = read(format!("{a}{between}{bad}{between}{b}"));
        assert_eq!(rows, [("a".to_owned(), 0), ("b".to_owned(), 2)], "{between:?}");
        assert_eq!(refused, [(1, Reason::NotJson, bad.to_owned())]);
    }
    // A line that is cut off keeps its reason.
    assert_eq!(read(format!("{{\"a\":1\n{a}")).1, [(0, Reason::Truncated, "{\"a\":1".to_owned())]);
    let whole = r#"{"sensor_id":"a","x":-21.5e+10"#;
    for end in 1..=whole.len() {
        assert_eq!(read(&whole[..end]).1, [(0, Reason::Truncated, whole[..end].to_owned())]);
    }
    assert_eq!(read(r#"{"x":21.}"#).1[0].1, Reason::NotJson);
    // Text of many lines is one piece.
    assert_eq!(read("not\njson\nat all").1.len(), 1);
    assert_eq!(read("time,value\n1,2\n3,4\n").1.len(), 1);
    assert_eq!(read(nested.replace("oops", "{")).1.len(), 1);
}

#[test]
fn lists_of_lines_and_bytes_among_lines() {
    let (a, b) = (event("a"), event("b"));
    let lists = read(format!("[{a}]\n[{b}]")).1;
    assert_eq!(lists.iter().map(|(_, reason, _)| *reason).collect::<Vec<_>>(), [Reason::NotAnObject; 2]);
    let data = [a.as_bytes(), b"\n{\"sensor_id\":\"\xff\"}\n", b.as_bytes(), b"\n\xff\xff\n", a.as_bytes()].concat();
    let (rows, refused) = read(&data);
    assert_eq!(rows, [("a".to_owned(), 0), ("b".to_owned(), 2), ("a".to_owned(), 4)]);
    assert_eq!(refused.iter().map(|(_, reason, _)| *reason).collect::<Vec<_>>(), [Reason::NotUtf8; 2]);
}

#[test]
fn what_is_known_to_be_no_json_is_called_by_its_name() {
    let detail_of = |data: &[u8]| {
        let batch = batch(&[data]);
        assert_eq!((batch.rows.len(), batch.rejects.len()), (0, 1));
        assert_eq!(batch.rejects[0].span, 0..data.len());
        (batch.rejects[0].reason, batch.rejects[0].detail.clone())
    };
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    for (data, reason, word) in [
        (b"\x1f\x8b\x08\x00\x00\n{\"a\":1}\n\xff".to_vec(), Reason::NotUtf8, "gzip"),
        (b"\x28\xb5\x2f\xfd\x04\n{}".to_vec(), Reason::NotUtf8, "zstd"),
        (b"x\x9c\xcbH".to_vec(), Reason::NotUtf8, "zlib"),
        ([b"\xff\xfe".as_slice(), &utf16("{}")].concat(), Reason::NotUtf8, "UTF-16"),
        (utf16("{\"a\":1}"), Reason::NotJson, "UTF-16"),
        ([b"\xef\xbb\xbf".as_slice(), event("a").as_bytes()].concat(), Reason::NotJson, "byte order mark"),
    ] {
        let (found, detail) = detail_of(&data);
        assert!(found == reason && detail.contains(word), "{word}: {found:?} {detail}");
    }
    // It only begins like compressed data.
    assert_eq!(detail_of(b"x\x01y").0, Reason::NotJson);
}

#[test]
fn records_are_lines_if_they_are_one_object_in_one_line() {
    let form = |data: &[u8]| batch(&[data]).forms[0];
    let a = event("a");
    for (data, expected) in [
        (a.clone(), Form::Line),
        (format!(" {a} "), Form::Line),
        (format!("{a}\n"), Form::LineFeed),
        (format!("{a} \r\n"), Form::CarriageReturn),
        ("{}".to_owned(), Form::Line),
        ("{\"sensor_id\":true}\n".to_owned(), Form::LineFeed),
        (format!("{a}\n\n"), Form::Other),
        (format!("{a}\r"), Form::Other),
        (format!("{a},"), Form::Other),
        (format!("\u{1e}{a}\n"), Form::Other),
        (format!("{a}{a}"), Form::Other),
        (format!("{a}\n{a}"), Form::Other),
        (pretty("a"), Form::Other),
        (format!("[{a}]"), Form::Other),
        ("text".to_owned(), Form::Other),
        ("{oops}".to_owned(), Form::Other),
        ("17".to_owned(), Form::Other),
        (String::new(), Form::Other),
        ("{\"note\":1e99}".to_owned(), Form::Line),
        ("{\"note\":1e400}".to_owned(), Form::Other),
        ("{\"note\":[1E+400]}".to_owned(), Form::Other),
        ("{\"temperature\":1e400}".to_owned(), Form::Other),
        ("{\"note\":\"\\ud83d\\ude00\"}".to_owned(), Form::Line),
        ("{\"note\":\"\\ud83d\"}".to_owned(), Form::Other),
        ("{\"note\":{\"\\uDC00\":1}}".to_owned(), Form::Other),
        ("{\"seq\":1,\"seq\":1}".to_owned(), Form::Other),
        (format!("{{\"note\":{}{}}}", "[".repeat(40), "]".repeat(40)), Form::Other),
        ("x".repeat(10_001), Form::Other),
    ] {
        assert_eq!(form(data.as_bytes()), expected, "{data:?}");
    }
}

#[test]
fn hostile_framing_costs_what_its_bytes_cost() {
    let n = 1 << 20;
    let repeated = |text: &str| text.repeat(n / text.len());
    let indented: String = (0..1_400).map(|blanks| format!("{}{{x}}\n", " ".repeat(blanks))).collect();
    for data in [
        repeated("{\n"),
        repeated("[\n"),
        repeated("{\"a\":[\n"),
        repeated("[1,\n"),
        repeated("{\"a\":{}\n"),
        repeated("{x}"),
        repeated("{x}\n"),
        repeated("{\"\n"),
        repeated("{\"a\\\n"),
        repeated("{\"a\":\n"),
        repeated("\u{1e}["),
        repeated(",\n"),
        repeated("x\n {"),
        indented,
    ] {
        let began = Instant::now();
        let batch = batch_of(EventSchema::built_in("climate").unwrap(), 1_000_000, &[data.as_bytes()]);
        assert!(!batch.rejects.is_empty());
        // A quadratic one takes minutes.
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}: {:?}", &data[..10], began.elapsed());
    }
}

fn line() -> impl Strategy<Value = (String, bool)> {
    prop_oneof![
        3 => "[a-z]{1,5}".prop_map(|id| (event(&id), true)),
        1 => ("[a-z]{1,5}", 1..60_usize).prop_map(|(id, to)| (event(&id)[..to].to_owned(), false)),
        1 => "[a-z=; ]{0,20}".prop_map(|text| (format!("x{text}"), false)),
        1 => Just((r#"{"temperature":NaN}"#.to_owned(), false)),
    ]
}

proptest! {
    #[test]
    fn of_lines_every_good_one_is_read(lines in prop::collection::vec(line(), 1..30), crlf in any::<bool>()) {
        let end = if crlf { "\r\n" } else { "\n" };
        let data = lines.iter().map(|(line, _)| line.as_str()).collect::<Vec<_>>().join(end);
        let (rows, refused) = read(&data);
        prop_assert_eq!(rows.len(), lines.iter().filter(|(_, good)| *good).count(), "{}", data);
        prop_assert_eq!(refused.is_empty(), lines.iter().all(|(_, good)| *good));
    }

    #[test]
    fn pieces_stand_in_order_and_no_byte_of_a_value_is_lost(
        data in prop::collection::vec(prop_oneof![Just(b'{'), Just(b'}'), Just(b'['), Just(b'"'), Just(b'\n'), Just(b' '),
            Just(b','), Just(b':'), Just(b'\\'), Just(0x1e), Just(0xff), Just(b'1'), Just(b'\r')], 1..60),
    ) {
        let batch = batch_of(EventSchema::built_in("climate").unwrap(), 1_000, &[&data]);
        let mut spans: Vec<_> = batch.rejects.iter().map(|reject| (reject.sub_sequence, reject.span.clone())).collect();
        let rows = batch.rows.sub_sequence.iter().zip(&batch.rows.span);
        spans.extend(rows.map(|(sub, span)| (*sub, span.clone())));
        spans.sort_by_key(|(sub, _)| *sub);
        prop_assert!(spans.iter().zip(0..).all(|((sub, _), n)| *sub == n));
        prop_assert!(spans.windows(2).all(|pair| pair[0].1.end <= pair[1].1.start));
        let mut left = data.clone();
        spans.into_iter().rev().for_each(|(_, span)| drop(left.drain(span)));
        prop_assert!(left.iter().all(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t' | b',' | 0x1e)), "{:?}", left);
    }
}
