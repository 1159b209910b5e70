//! What lands is what was sent: the nearest double, the very integer, or a refusal that quotes it.

use proptest::prelude::*;

use super::*;

fn schema(time: &str) -> EventSchema {
    let text = format!(
        "name = \"n\"\n[sensor_id]\npath = \"id\"\n[time]\npath = \"ts\"\nformat = \"{time}\"\n[sequence]\npath = \"seq\"\n\
         [event_id]\npath = \"eid\"\n[[fields]]\nname = \"x\"\ntype = \"float\"\n\
         [[fields]]\nname = \"n\"\ntype = \"integer\"\n"
    );
    EventSchema::parse(&text).unwrap()
}

fn decoded(time: &str, json: &str) -> Batch {
    batch_of(schema(time), 100, &[json.as_bytes()])
}

/// The row of an event with these values, or why there is none.
fn row(values: &str) -> Result<(Option<f64>, Option<i64>), (Reason, String)> {
    let batch = decoded("seconds", &format!(r#"{{"id":"a","ts":1,{values}}}"#));
    if let Some(reject) = batch.rejects.first() {
        return Err((reject.reason, reject.detail.clone()));
    }
    match batch.rows.fields.as_slice() {
        [Column::Float(x), Column::Integer(n)] => Ok((x[0], n[0])),
        other => panic!("{other:?}"),
    }
}

fn time(format: &str, ts: &str) -> Result<i64, (Reason, String)> {
    let batch = decoded(format, &format!(r#"{{"id":"a","ts":{ts}}}"#));
    match batch.rejects.first() {
        Some(reject) => Err((reject.reason, reject.detail.clone())),
        None => Ok(batch.rows.event_time_us[0]),
    }
}

#[test]
fn floats_are_the_nearest_doubles() {
    for text in [
        "29.099999999999998",
        "0.1",
        "5e-324",
        "2.2250738585072011e-308",
        "1.7976931348623157e308",
        "0.30000001192092896",
        "9007199254740993",
        "18446744073709551615",
        "123456789012345678901234567890",
        "-0",
        "1E+2",
        "101325.27392817361",
        "7.2057594037927933e16",
    ] {
        let x = row(&format!(r#""x":{text}"#)).unwrap().0.unwrap();
        assert_eq!(x.to_bits(), text.parse::<f64>().unwrap().to_bits(), "{text}");
    }
    let (reason, detail) = row(r#""x":1e400"#).unwrap_err();
    assert_eq!((reason, detail.as_str()), (Reason::NumberOutOfRange, "x: 1e400 is larger than any double"));
}

#[test]
fn integers_are_exact_or_refused_as_they_were_sent() {
    for (text, n) in [
        ("1e3", 1_000),
        ("1000.0", 1_000),
        ("12345678901234567.0", 12_345_678_901_234_567),
        ("9007199254740993.0", 9_007_199_254_740_993),
        ("-0", 0),
        ("1E+2", 100),
        ("100e-2", 1),
        ("-9223372036854775808", i64::MIN),
        ("9.223372036854775807e18", i64::MAX),
    ] {
        assert_eq!(row(&format!(r#""n":{text}"#)), Ok((None, Some(n))), "{text}");
        let batch = decoded("seconds", &format!(r#"{{"id":"a","ts":1,"seq":{text}}}"#));
        assert_eq!(batch.rows.device_sequence, [Some(n)], "{text}");
    }
    for (text, reason, detail) in [
        ("18446744073709551615", Reason::NumberOutOfRange, "n: 18446744073709551615 does not fit 64 bits"),
        ("9223372036854775808", Reason::NumberOutOfRange, "n: 9223372036854775808 does not fit 64 bits"),
        ("1e19", Reason::NumberOutOfRange, "n: 1e19 does not fit 64 bits"),
        ("1e400", Reason::NumberOutOfRange, "n: 1e400 does not fit 64 bits"),
        ("9007199254740993.5", Reason::WrongType, "n: expected integer, found the decimal number 9007199254740993.5"),
        ("1e-400", Reason::WrongType, "n: expected integer, found the decimal number 1e-400"),
    ] {
        assert_eq!(row(&format!(r#""n":{text}"#)), Err((reason, detail.to_owned())));
    }
    let (_, detail) = row(&format!(r#""n":{}"#, "9".repeat(5_000))).unwrap_err();
    assert!(detail.ends_with("(5000 characters) does not fit 64 bits"), "{detail}");
}

#[test]
fn times_as_numbers_are_exact_to_the_microsecond() {
    for (format, ts, us) in [
        ("seconds", "1795359845", 1_795_359_845_000_000),
        ("seconds", "1795359845.123456", 1_795_359_845_123_456),
        ("seconds", "1.795359845123456e9", 1_795_359_845_123_456),
        ("seconds", "1795359845.1234565", 1_795_359_845_123_457),
        ("seconds", "-0.5", -500_000),
        ("milliseconds", "1795359845123", 1_795_359_845_123_000),
        ("milliseconds", "1795359845123.0", 1_795_359_845_123_000),
        ("milliseconds", "1.795359845123e12", 1_795_359_845_123_000),
        ("microseconds", "1795359845123457.0", 1_795_359_845_123_457),
        ("microseconds", "1795359845123457e0", 1_795_359_845_123_457),
    ] {
        assert_eq!(time(format, ts), Ok(us), "{ts} {format}");
    }
    for (format, ts, reason, words) in [
        ("milliseconds", "1795359845123.5", Reason::WrongType, "found the decimal number 1795359845123.5"),
        ("microseconds", "1795359845123456.25", Reason::WrongType, "1795359845123456.25"),
        ("seconds", "1e300", Reason::BadTime, "1e300 is beyond any calendar"),
        ("milliseconds", "9223372036854775807", Reason::BadTime, "9223372036854775807 is beyond any calendar"),
        ("rfc3339", "1795359845", Reason::WrongType, "the number 1795359845"),
    ] {
        let (found, detail) = time(format, ts).unwrap_err();
        assert!(found == reason && detail.contains(words), "{ts} {format}: {found:?} {detail}");
    }
}

#[test]
fn ids_that_are_numbers_keep_all_their_digits() {
    for id in ["7", "18446744073709551616", "9007199254740993", "-3"] {
        let batch = decoded("seconds", &format!(r#"{{"id":{id},"eid":{id},"ts":1}}"#));
        assert!(batch.rejects.is_empty(), "{:?}", batch.rejects);
        assert_eq!((batch.groups[0].sensor.as_str(), batch.rows.event_id[0].as_deref()), (id, Some(id)));
    }
    for id in ["1.0", "1e3"] {
        let batch = decoded("seconds", &format!(r#"{{"id":{id},"ts":1}}"#));
        assert!(batch.rejects[0].detail.ends_with(&format!("found the decimal number {id}")), "{:?}", batch.rejects);
    }
}

proptest! {
    #[test]
    fn every_double_comes_back_from_what_is_printed_of_it(bits in any::<u64>()) {
        let x = f64::from_bits(bits);
        prop_assume!(x.is_finite());
        for text in [format!("{x:?}"), format!("{x:e}"), format!("{x:.20e}"), serde_json::to_string(&x).unwrap()] {
            let found = row(&format!(r#""x":{text}"#)).unwrap().0.unwrap();
            prop_assert_eq!(found.to_bits(), x.to_bits(), "{}", text);
        }
        let single = f64::from(f32::from_bits(bits as u32));
        prop_assume!(single.is_finite());
        let found = row(&format!(r#""x":{single:?}"#)).unwrap().0.unwrap();
        prop_assert_eq!(found.to_bits(), single.to_bits());
    }
}
