//! INERT, BOUNDED

mod forms;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value as Json;
use sqlparser::dialect::RedshiftSqlDialect;
use sqlparser::parser::Parser;

use super::fixture::schema;
use crate::warehouse::describe::{Describe, InForce};
use crate::warehouse::metadata::{
    Content, LastGood, Limits, Lines, MetadataColumn, MetadataColumns, MetadataRows, Object, ObjectRows, Subject,
};
use crate::warehouse::tables::StarSchema;

const LIMITS: Limits = Limits { objects_max: 10, bytes_max: 1 << 20, rows_max: 100 };

fn declared() -> MetadataColumns {
    let columns = |texts: &[&str]| texts.iter().map(|text| MetadataColumn::parse(text).unwrap()).collect();
    MetadataColumns {
        sensors: columns(&["owner:text", "built:integer", "mass:float", "indoor:boolean"]),
        locations: columns(&["region"]),
        text_bytes_max: 20,
    }
}

fn object(subject: Subject, key: &str, body: &[u8]) -> Object {
    Object { subject, key: key.to_owned(), body: Bytes::copy_from_slice(body) }
}

fn content(objects: &[Object]) -> Content {
    let mut rows = MetadataRows::default();
    for object in objects {
        take(&mut rows, object, &declared(), &LIMITS);
    }
    rows.into_content(&schema(), &declared())
}

/// As the loader does with an object that nothing was known of.
fn take(rows: &mut MetadataRows, object: &Object, declared: &MetadataColumns, limits: &Limits) {
    let part = ObjectRows::read(object, &schema(), declared, limits);
    match &part.unreadable {
        Some(reason) => rows.hold(&object.key, reason, false),
        None => {
            let source = LastGood::of(&part, &object.body);
            rows.take(part, source);
        }
    }
}

fn sensors(key: &str, body: &str) -> Content {
    content(&[object(Subject::Sensors, key, body.as_bytes())])
}

fn lines(lines: &Lines) -> Vec<Json> {
    let found: Vec<Json> = serde_json::Deserializer::from_slice(&lines.body).into_iter().map(Result::unwrap).collect();
    assert_eq!(found.len() as u64, lines.rows);
    found
}

fn reasons(content: &Content) -> Vec<String> {
    lines(&content.refused)
        .iter()
        .map(|line| format!("{}: {}", line["line"], line["reason"].as_str().unwrap()))
        .collect()
}

#[test]
fn formats_say_the_same() {
    let csv =
        sensors("a.csv", "\u{feff}built,sensor_id,owner, mass ,indoor\n7,s-1,\"a \"\"b\"\", c\",1.5,TRUE\n,s-2,,,\n");
    let json = sensors(
        "b.jsonl",
        "{\"sensor_id\":\"s-1\",\"built\":7.0,\"owner\":\"a \\\"b\\\", c\",\"mass\":1.5,\"indoor\":true,\"extra\":[{}]}\n\n{\"sensor_id\":\"s-2\",\"owner\":null}",
    );
    assert_eq!(csv.sensors, json.sensors);
    let found = lines(&csv.sensors);
    assert_eq!(found[0]["owner"], "a \"b\", c");
    assert_eq!(found[0]["changed"], "owner,built,mass,indoor");
    assert_eq!((&found[0]["version"], &found[1]["version"]), (&Json::from(-1), &Json::from(-1)));
    assert_eq!((csv.refusals, json.refusals), (0, 0));
    assert_eq!(reasons(&csv), [] as [&str; 0]);
    let unused = "1: the column extra is not used: it is no tracked attribute, and not declared";
    assert_eq!(reasons(&json), [unused], "said, and not counted");
}

#[test]
fn a_cell_that_is_wrong_costs_that_cell_and_a_key_its_row() {
    let long = "x".repeat(1 << 20);
    let body = format!(
        "sensor_id,owner,built,mass,indoor,valid_from,latitude\n\
         ok,'; DROP TABLE x; --,1,2,false,2026-01-01,51.5\n\
         ,nobody,,,,,\n\
         s 1,,,,,,\n\
         long,{long},,,,,\n\
         nul,a\0b,,,,,\n\
         whole,kept,1.5,,,,\n\
         huge,,9223372036854775808,,,,\n\
         nan,,,NaN,,,\n\
         yes,,,,yes,,\n\
         when,,,,,soon,\n\
         early,,,,,0001-01-01,\n\
         short,x\n\
         where,,,,,,north\n"
    );
    let found = sensors("a.csv", &body);
    let sensors = lines(&found.sensors);
    let ids: Vec<&str> = sensors.iter().filter_map(|line| line["sensor_id"].as_str()).collect();
    assert_eq!(ids, ["huge", "long", "nan", "nul", "ok", "where", "whole", "yes"]);
    let of = |id: &str| sensors.iter().find(|line| line["sensor_id"] == id).unwrap();
    assert_eq!(of("ok")["owner"], "'; DROP TABLE x; --");
    assert_eq!(of("ok")["valid_from_us"], 1_767_225_600_000_000_i64);
    assert!(of("whole")["built"].is_null() && of("whole")["owner"] == "kept", "the rest of the row stands");
    let when = "valid_from: must be a time of the years 1900 to 2999, such as 2026-11-22 or 2026-11-22T15:04:05Z";
    assert_eq!(
        reasons(&found),
        [
            "3: sensor_id: is missing",
            "4: sensor_id: has the character ' ', which no id may have",
            "5: owner: has 1048576 bytes, more than the 20 allowed: the cell is left out",
            "6: owner: has a NUL character: the cell is left out",
            "7: built: must be a whole number of 64 bits: the cell is left out",
            "8: built: must be a whole number of 64 bits: the cell is left out",
            "9: mass: must be a number: the cell is left out",
            "10: indoor: must be true or false: the cell is left out",
            &format!("11: {when}"),
            &format!("12: {when}"),
            "13: has 2 cells, and the header 7",
            "14: latitude: must be a number: the cell is left out",
        ]
    );
}

#[test]
fn a_row_has_an_end() {
    let long = "x".repeat(1 << 20);
    let found = sensors("a.json", &format!("{{\"sensor_id\":\"s-1\",\"b\":\"{long}\"}}\n{{\"sensor_id\":\"\"}}"));
    assert_eq!(
        reasons(&found),
        ["1: has 1048602 bytes, more than the 1048576 that a line may have", "2: sensor_id: is empty"]
    );
    let mut declared = declared();
    declared.text_bytes_max = 400_000;
    declared.sensors.push(MetadataColumn::parse("maker").unwrap());
    let text = "x".repeat(300_000);
    let body = format!("sensor_id,owner,maker\ns-1,{text},{text}\ns-2,{text},\n");
    let mut rows = MetadataRows::default();
    take(&mut rows, &object(Subject::Sensors, "a.csv", body.as_bytes()), &declared, &LIMITS);
    let found = rows.into_content(&schema(), &declared);
    assert_eq!(reasons(&found), ["2: has 600000 bytes of text, more than the 524288 that a row may have"]);
    assert_eq!(found.sensors.rows, 1);
}

#[test]
fn the_first_of_two_that_contradict_holds() {
    let found = content(&[
        object(Subject::Sensors, "b.csv", b"sensor_id,owner\ns-1,me\ns-1,me\n"),
        object(Subject::Sensors, "a.csv", b"sensor_id,owner,valid_from\ns-1,you,\ns-1,them,2026-01-01\n"),
        object(Subject::Locations, "c.csv", b"site,region\nroof,north\nroof,south\n"),
    ]);
    let said: Vec<_> =
        lines(&found.sensors).iter().map(|line| (line["owner"].clone(), line["version"].clone())).collect();
    assert_eq!(said, [(Json::from("you"), Json::from(-1)), (Json::from("them"), Json::from(-2))]);
    assert_eq!(lines(&found.locations)[0]["region"], "north");
    assert_eq!(
        reasons(&found),
        [
            "2: says otherwise than line 2 of a.csv, which holds",
            "3: says otherwise than line 2 of a.csv, which holds",
            "3: says otherwise than line 2 of c.csv, which holds",
        ]
    );
}

#[test]
fn rows_have_an_end() {
    let body: String = (0..1_000).map(|n| format!("s-{n},x\n")).collect();
    let mut rows = MetadataRows::default();
    let object = object(Subject::Sensors, "a.csv", format!("sensor_id,owner\n{body}").as_bytes());
    take(&mut rows, &object, &declared(), &LIMITS);
    assert!(rows.is_full(&LIMITS));
    assert_eq!(rows.into_content(&schema(), &declared()).sensors.rows, 101);
}

#[test]
fn columns_are_declared_by_name_and_type() {
    for wrong in ["", "Owner:text", "owner:date", "valid_to:text", "a b:text", "1a", "owner:", "o\"; --:text"] {
        assert!(MetadataColumn::parse(wrong).is_err(), "{wrong}");
    }
    let mut columns = declared();
    assert_eq!(columns.problems(&schema()), (vec![], vec![]));
    columns.sensors.extend([MetadataColumn::parse("owner").unwrap(), MetadataColumn::parse("firmware").unwrap()]);
    assert_eq!(columns.problems(&schema()).0.len(), 2);
}

/// The statements that put a content in force.
fn statements(content: &Content, number: u64, bucket: &str) -> Vec<String> {
    let star = StarSchema::new(&schema(), "mangrove", &declared()).unwrap();
    let before = InForce { number, ..InForce::default() };
    Describe { star: &star, stream: "climate", content, before: &before, bucket, iam_role: "" }.statements().unwrap()
}

#[test]
fn metadata_is_put_in_force_behind_the_lock_and_the_guard() {
    let content = sensors("a.csv", "sensor_id,owner\ns-1,me\n");
    let sql = statements(&content, 4, "lake");
    assert_eq!(sql[0], "LOCK \"mangrove\".\"load_ledger\"");
    assert!(sql[1].ends_with("WHERE \"number\" >= 5)"), "{}", sql[1]);
    for statement in sql.iter().filter(|sql| !sql.starts_with("LOCK ") && !sql.starts_with("COPY ")) {
        Parser::parse_sql(&RedshiftSqlDialect {}, statement).unwrap_or_else(|e| panic!("{e}: {statement}"));
    }
    let writes = ["INSERT INTO \"mangrove\".", "DELETE FROM \"mangrove\".", "UPDATE \"mangrove\"."];
    for write in sql.iter().filter(|sql| writes.iter().any(|write| sql.starts_with(write))) {
        assert!(write.contains("\"load_guard\""), "not guarded: {write}");
    }
    let copies: Vec<&String> = sql.iter().filter(|sql| sql.starts_with("COPY")).collect();
    assert_eq!(copies.len(), 1);
    assert!(copies[0].contains(&format!("FROM 's3://lake/metadata/{}/sensors.manifest'", content.digest)));
}

proptest! {
    /// Whatever lies in the bucket: nothing fails, and what gets through fits its column.
    #[test]
    fn any_object_is_read(body in any::<Vec<u8>>(), ending in "csv|json|parquet", head in any::<bool>()) {
        let mut bytes = if head { b"sensor_id,owner,built,valid_from\n".to_vec() } else { Vec::new() };
        bytes.extend(body);
        let found = content(&[object(Subject::Sensors, &format!("a.{ending}"), &bytes)]);
        for line in lines(&found.sensors) {
            prop_assert!(line["owner"].as_str().is_none_or(|owner| owner.len() <= 20 && !owner.contains('\0')));
            prop_assert!(line["built"].is_null() || line["built"].is_i64());
        }
    }

    /// No cell gets into a statement: another content makes the same statements, but for its digest.
    #[test]
    fn statements_are_a_template(owner in "[^\0]{1,5}", reason in any::<bool>()) {
        let line = serde_json::json!({ "sensor_id": if reason { "s 1" } else { "s-1" }, "owner": owner });
        let (found, plain) = (
            content(&[object(Subject::Sensors, "a.json", line.to_string().as_bytes())]),
            content(&[object(Subject::Sensors, "a.json", if reason { b"{}" } else { b"{\"sensor_id\":\"a\"}" })]),
        );
        let of = |content: &Content| {
            statements(content, 0, "lake").iter().map(|sql| sql.replace(&content.digest, "")).collect::<Vec<_>>()
        };
        prop_assert_eq!(of(&found), of(&plain));
    }
}
