//! Forms of objects: what spreadsheets, exports and accidents make of a table. Each is read, or named and not used.

use crate::warehouse::metadata::{ContentSources, LastGood, Object, ObjectRows, Subject};

use super::*;

const LATIN: &str = "is not UTF-8 in line 2, but Latin-1 or Windows-1252 perhaps: save it as UTF-8";
const NO_COLUMN: &str = "has no column sensor_id, with a comma, semicolon, tab or bar between columns";
const NO_ENDING: &str = "is none of .csv, .tsv, .json, .jsonl, .ndjson and .parquet, nor one of them with .gz";
const NUL: &str = "has NUL characters in its first line, as UTF-16 without a mark has: save it as UTF-8";

fn packed(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, body).unwrap();
    encoder.finish().unwrap()
}

fn utf16(text: &str, unit: fn(u16) -> [u8; 2]) -> Vec<u8> {
    std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(unit).collect()
}

#[test]
fn an_object_that_cannot_be_read_is_named_and_costs_no_other() {
    let of = |key: &str, body: &[u8]| {
        let found = content(&[
            object(Subject::Sensors, key, body),
            object(Subject::Sensors, "z.csv", b"sensor_id,owner\ns-1,me\n"),
        ]);
        assert_eq!((found.sensors.rows, found.unreadable.len()), (1, 1), "{key}");
        reasons(&found)
    };
    for (key, body, reason) in [
        ("a.xlsx", &b"PK"[..], "is a spreadsheet: save the sheet as CSV UTF-8"),
        ("a.zip", b"PK", "is an archive: put its file itself, packed with gzip or not at all"),
        ("a.md", b"x", NO_ENDING),
        ("a", b"x", NO_ENDING),
        ("a.csv", b"PK\x03\x04zip", "is a ZIP archive, as .xlsx files are: save the sheet as CSV UTF-8"),
        ("a.csv", b"\xd0\xcf\x11\xe0", "is an old Excel file: save the sheet as CSV UTF-8"),
        ("a.csv", b"PAR1", "is a Parquet file by another name: let its name end in .parquet"),
        ("a.csv", b"<html><body>404", "is HTML or XML, an error page perhaps"),
        ("a.csv", b"", "is empty"),
        ("a.csv", b"\xef\xbb\xbf\r\n\r\n", "is empty"),
        ("a.csv", b"id,owner\nx,y\n", NO_COLUMN),
        ("a.csv", b"Sensor ID;owner\nx;y\n", "has no column sensor_id: write \"Sensor ID\" so"),
        ("a.csv", b"sensor_id,owner,owner\nx,y,z\n", "has two columns owner"),
        ("a.csv", b"sensor_id,owner\nx,J\xf6rg\n", LATIN),
        ("a.csv", b"s\0e\0n\0\n\0", NUL),
        ("a.csv", b"\xff\xfes\0e", "is UTF-16 with half a character at its end: is it cut off?"),
        ("a.csv", b"sensor_id,owner\na,b\n\"x,y\nz,w\n", "ends within the quotes opened in line 3: is it cut off?"),
        ("a.csv", b"sensor_id,owner\na,b\nx", "ends within line 3, which has 1 cells of 2"),
        ("a.json", b"[{\"sensor_id\":\"a\"}]", "is one list: write one object a line, without a list around them"),
        ("a.json", b"{\"sensor_id\":\"a\"}\n{\"sensor_id\":", "ends within the object of line 2"),
    ] {
        let expected = format!("0: {reason}; nothing is known of it");
        assert_eq!(of(key, body), [expected], "{key}: {}", body.escape_ascii());
    }
    assert_eq!(of("a.parquet", b"PAR1").len(), 1);
    assert_eq!(of("a.csv.gz", b"\x1f\x8bnot gzip").len(), 1);
    assert_eq!(of("a.csv.gz", &packed(b"sensor_id,owner\nx,y\n")[..20]).len(), 1, "cut off");
    assert_eq!(of("a.csv.gz", &packed(&vec![b'x'; 2 << 20])).len(), 1, "a bomb");
}

#[test]
fn what_spreadsheets_and_exports_write_is_read() {
    let plain = "sensor_id,owner,built,mass\ns-1,J\u{f6}rg,2020,1.5\ns-2,bob,,\n";
    let semicolon = "sensor_id;owner;built;mass\r\ns-1;J\u{f6}rg;2020;1,5\r\ns-2;bob;;\r\n";
    let cleared = "sensor_id;owner;built;mass;;\ns-1;J\u{f6}rg;2020;1,5;;\n;;;;;\ns-2;bob;;;;\n;;;;;\n";
    let quoted = "\"sensor_id\",\"owner\",\"built\",\"mass\"\n\"s-1\",\"J\u{f6}rg\",\"2020\",\"1.5\"\n\"s-2\",\"bob\",\"\",\"\"\n";
    let json = "{\"sensor_id\":\"s-1\",\"owner\":\"J\u{f6}rg\",\"built\":2020.0,\"mass\":1.5}\n{\"sensor_id\":\"s-2\",\"owner\":\"bob\"}";
    let tabs = semicolon.replace(';', "\t").replace("1,5", "1.5");
    let expected = lines(&sensors("a.csv", plain).sensors);
    assert_eq!(expected.len(), 2);
    let forms: Vec<(&str, &str, Vec<u8>)> = vec![
        ("capitals", "A.CSV", plain.into()),
        ("mark", "a.csv", format!("\u{feff}{plain}").into()),
        ("semicolons", "a.csv", semicolon.into()),
        ("semicolons and a mark", "a.csv", format!("\u{feff}{semicolon}").into()),
        ("tabs", "a.tsv", tabs.clone().into()),
        ("tabs by another name", "a.csv", plain.replace(',', "\t").into()),
        ("bars", "a.csv", plain.replace(',', "|").into()),
        ("sep", "a.csv", format!("sep=;\r\n{semicolon}").into()),
        ("sep with a mark", "a.csv", format!("\u{feff}SEP=,\n{plain}").into()),
        ("sep in quotes", "a.csv", format!("\"sep=\t\"\n{tabs}").into()),
        ("sep of its own", "a.csv", format!("sep=^\n{}", plain.replace(',', "^")).into()),
        ("UTF-16, little", "a.csv", utf16(&tabs, u16::to_le_bytes)),
        ("UTF-16, big", "a.csv", utf16(plain, u16::to_be_bytes)),
        ("gzip", "a.csv.gz", packed(plain.as_bytes())),
        ("gzip of UTF-16 in capitals", "a.CSV.GZ", packed(&utf16(semicolon, u16::to_le_bytes))),
        ("gzip by another name", "a.csv", packed(plain.as_bytes())),
        ("no last line break", "a.csv", plain.trim_end().into()),
        ("floats of pandas", "a.csv", plain.replace("2020", "2020.0").into()),
        ("cleared rows and columns", "a.csv", cleared.into()),
        ("quotes everywhere", "a.csv", quoted.into()),
        ("JSON in gzip", "a.json.gz", packed(json.as_bytes())),
    ];
    for (form, key, body) in forms {
        let found = content(&[object(Subject::Sensors, key, &body)]);
        assert_eq!(reasons(&found), [] as [&str; 0], "{form}");
        assert_eq!(lines(&found.sensors), expected, "{form}");
    }
    let built =
        |cell: &str| lines(&sensors("a.csv", &format!("sensor_id,built\ns-1,{cell}\n")).sensors)[0]["built"].clone();
    assert_eq!(built("9223372036854775807.0"), i64::MAX);
    for wrong in ["2020.5", "2020.", "1e3", "9223372036854775808.0", "\"2,020\"", ".0", "-.0"] {
        assert!(built(wrong).is_null(), "{wrong}");
    }
}

#[test]
fn an_object_that_looks_cut_off_is_doubted() {
    let part = |body: &str| {
        let object: Object = object(Subject::Sensors, "a.csv", body.as_bytes());
        let part = ObjectRows::read(&object, &schema(), &declared(), &LIMITS);
        (LastGood::of(&part, &object.body), part)
    };
    let rows = |n: usize| (0..n).fold("sensor_id,owner\n".to_owned(), |all, n| format!("{all}s-{n},me\n"));
    let doubt = |before: &str, now: &str| {
        let ((source, _), (_, part)) = (part(before), part(now));
        assert_eq!(part.unreadable, None);
        source.doubt(&part, before.starts_with(now) && now.len() < before.len())
    };
    let good = rows(2);
    // Half a cell looks like a whole one.
    assert!(doubt(&good, &good[..good.len() - 2]).unwrap().contains("within a line"));
    assert!(doubt(good.trim_end(), &good[..good.len() - 2]).unwrap().contains("within a line"));
    assert!(doubt(&good, "sensor_id,owner\n").unwrap().contains("no row that can be used, and had 2"));
    assert!(doubt(&good, "sensor_id,owner\ns 1,x\n").is_some());
    assert!(doubt(&rows(20), &rows(9)).unwrap().contains("has 9 rows and had 20"));
    for (before, now) in [
        (good.as_str(), good.as_str()),
        (&good, &rows(1)),
        (&good, &rows(3)),
        (good.trim_end(), "sensor_id,owner\ns-0,you"),
        (&rows(20), &rows(10)),
        (&rows(9), &rows(1)),
    ] {
        assert_eq!(doubt(before, now), None, "{now}");
    }
}

#[test]
fn a_list_of_sources_is_read_back() {
    let found = sensors("a.csv", "sensor_id,owner\ns-1,me\n");
    assert_eq!(ContentSources::parse(&found.sources.to_json()).unwrap(), found.sources);
    let source = found.sources.find(Subject::Sensors, "a.csv").unwrap();
    assert_eq!((source.rows, source.bytes, source.ends_line), (1, 23, true));
    assert_eq!(found.sources.find(Subject::Locations, "a.csv"), None);
    assert!(ContentSources::parse(br#"{"format":9,"objects":[]}"#).unwrap_err().contains("format 9"));
    assert!(ContentSources::parse(b"{").is_err());
    let other = sensors("a.csv", "sensor_id,owner\r\ns-1,me\n");
    assert_ne!(found.digest, other.digest, "a content names what it was made of");
}
