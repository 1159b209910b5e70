use messages::EventSchema;

use crate::ports::warehouse::Cell;
use crate::warehouse::diff::{DiffError, Found, FoundColumn, changes, found};
use crate::warehouse::metadata::MetadataColumns;
use crate::warehouse::tables::{Kind, Star};

const SMALL: &str = r#"
name = "small"
[sensor_id]
path = "id"
[time]
path = "time"
format = "rfc3339"
[[fields]]
name = "temp"
type = "float"
"#;

fn star(extra: &str) -> Star {
    Star::new(&EventSchema::parse(&format!("{SMALL}{extra}")).unwrap(), "mangrove", &MetadataColumns::default())
        .unwrap()
}

/// The tables as a warehouse shows them after they were made.
fn made(star: &Star) -> Found {
    let column = |kind| match kind {
        Kind::Text(bytes) => ("character varying", Some(bytes)),
        Kind::Timestamp => ("timestamp without time zone", None),
        Kind::BigInt => ("bigint", None),
        Kind::Integer => ("integer", None),
        Kind::Real => ("real", None),
        Kind::Double => ("double precision", None),
        Kind::Boolean => ("boolean", None),
    };
    let tables = star.tables.iter().map(|table| {
        let columns = table.columns.iter().map(|c| {
            let (type_name, bytes) = column(c.kind);
            let found = FoundColumn { type_name: type_name.into(), bytes, required: c.required, has_default: false };
            (c.name.clone(), found)
        });
        (table.name.to_owned(), columns.collect())
    });
    Found(tables.collect())
}

#[test]
fn what_is_there_needs_nothing() {
    assert_eq!(changes(&star(""), &made(&star(""))), Ok(vec![]));
}

#[test]
fn an_empty_warehouse_gets_every_table() {
    let all = changes(&star(""), &Found::default()).unwrap();
    assert_eq!(all.iter().filter(|sql| sql.starts_with("CREATE TABLE IF NOT EXISTS")).count(), 14);
}

#[test]
fn a_new_field_is_added_and_a_longer_text_gets_room() {
    let old = star("[[fields]]\nname = \"site\"\ntype = \"text\"\nbytes_max = 10\n");
    let new = star(
        "[[fields]]\nname = \"site\"\ntype = \"text\"\nbytes_max = 20\n[[fields]]\nname = \"hum\"\ntype = \"float\"\n",
    );
    let statements = changes(&new, &made(&old)).unwrap();
    assert_eq!(
        statements,
        [
            "ALTER TABLE \"mangrove\".\"sensor_readings\" ALTER COLUMN \"site\" TYPE VARCHAR(20)",
            "ALTER TABLE \"mangrove\".\"sensor_readings\" ADD COLUMN \"hum\" DOUBLE PRECISION",
        ]
    );
    // Less is never made of it.
    assert_eq!(changes(&old, &made(&new)), Ok(vec![]));
}

#[test]
fn what_would_change_data_is_refused_with_what_to_do() {
    let old = star("[[fields]]\nname = \"level\"\ntype = \"text\"\n");
    let new = star("[[fields]]\nname = \"level\"\ntype = \"integer\"\n");
    let Err(DiffError::Incompatible(problems)) = changes(&new, &made(&old)) else { panic!() };
    assert_eq!(problems.len(), 1);
    assert!(problems[0].contains("mangrove.sensor_readings.level") && problems[0].contains("rename the field"));
}

#[test]
fn rows_of_the_catalogue_are_read() {
    let text = |text: &str| Cell::Text(text.to_owned());
    let row = vec![text("t"), text("c"), text("Character Varying"), Cell::Integer(8), text("NO"), Cell::Null];
    let expected =
        FoundColumn { type_name: "character varying".into(), bytes: Some(8), required: true, has_default: false };
    assert_eq!(found(&[row]).0["t"]["c"], expected);
}

#[test]
fn what_sensors_said_is_kept_when_it_gets_a_table_of_its_own() {
    let star = star("[[fields]]\nname = \"site\"\ntype = \"text\"\n[fields.tracked]\n");
    let mut before = made(&star);
    before.0.remove("sensor_versions");
    let sensors = before.0.get_mut("dim_sensors").unwrap();
    sensors.remove("source");
    sensors.remove("ordinal");
    let all = changes(&star, &before).unwrap();
    let at =
        |begin: &str| all.iter().position(|sql| sql.starts_with(begin)).unwrap_or_else(|| panic!("{begin}: {all:?}"));
    let create = at("CREATE TABLE IF NOT EXISTS \"mangrove\".\"sensor_versions\"");
    let keep = at("INSERT INTO \"mangrove\".\"sensor_versions\" (\"sensor_id\", \"version\", \"valid_from\", \"site\"");
    let source = at("ALTER TABLE \"mangrove\".\"dim_sensors\" ADD COLUMN \"source\"");
    assert!(create < keep && keep < source, "{all:?}");
    assert!(all[keep].ends_with("WHERE NOT EXISTS (SELECT 1 FROM \"mangrove\".\"sensor_versions\")"));
}
