use messages::EventSchema;

use crate::warehouse::Cell;
use crate::warehouse::diff::{ActualTables, DiffError, FoundColumn, changes, found};
use crate::warehouse::metadata::MetadataColumns;
use crate::warehouse::tables::{Kind, StarSchema};

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

fn star(extra: &str) -> StarSchema {
    StarSchema::new(&EventSchema::parse(&format!("{SMALL}{extra}")).unwrap(), "mangrove", &MetadataColumns::default())
        .unwrap()
}

/// The tables as a warehouse shows them after they were made.
fn made(star: &StarSchema) -> ActualTables {
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
    ActualTables(tables.collect())
}

#[test]
fn what_is_there_needs_nothing() {
    assert_eq!(changes(&star(""), &made(&star(""))), Ok(vec![]));
}

#[test]
fn an_empty_warehouse_gets_every_table() {
    let all = changes(&star(""), &ActualTables::default()).unwrap();
    assert_eq!(all.iter().filter(|sql| sql.starts_with("CREATE TABLE IF NOT EXISTS")).count(), 16);
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

/// What the table had before its keys were as wide as they can be.
fn narrowed(mut found: ActualTables, table: &str, column: &str, bytes: u32) -> ActualTables {
    found.0.get_mut(table).unwrap().get_mut(column).unwrap().bytes = Some(bytes);
    found
}

#[test]
fn no_column_of_a_key_is_ever_altered() {
    let with = |id: u32, site: u32| {
        let text = SMALL.replace("path = \"id\"", &format!("path = \"id\"\nbytes_max = {id}"));
        let fields = format!("[[fields]]\nname = \"site\"\ntype = \"text\"\nbytes_max = {site}\n[fields.tracked]\n");
        StarSchema::new(
            &EventSchema::parse(&format!("{text}{fields}")).unwrap(),
            "mangrove",
            &MetadataColumns::default(),
        )
        .unwrap()
    };
    let (old, new) = (with(16, 16), with(1_024, 1_024));
    let statements = changes(&new, &made(&old)).unwrap();
    for sql in &statements {
        assert!(sql.contains("ALTER COLUMN \"site\" TYPE VARCHAR(1024)"), "{sql}");
        let table = new.tables.iter().find(|table| sql.contains(&format!(".\"{}\" ", table.name))).unwrap();
        assert!(!table.is_key("site"), "{sql}");
    }
    assert_eq!(statements.len(), 4, "{statements:?}");
    // Every text of a key that follows the schema is as wide as the schema can make it.
    for table in &new.tables {
        let keys = |star: &StarSchema| {
            let table = star.tables.iter().find(|other| other.name == table.name).unwrap();
            let keys = table.columns.iter().filter(|column| table.is_key(&column.name));
            keys.map(|column| (column.name.clone(), column.kind)).collect::<Vec<_>>()
        };
        assert_eq!(keys(&old), keys(&new), "{}", table.name);
    }
}

#[test]
fn a_key_that_is_narrower_and_wide_enough_stays_and_one_that_is_not_is_refused_with_what_to_do() {
    let star = star("");
    let found = made(&star);
    assert_eq!(changes(&star, &narrowed(found.clone(), "dim_sensors", "sensor_id", 128)), Ok(vec![]));
    let Err(DiffError::Incompatible(problems)) = changes(&star, &narrowed(found, "dim_sensors", "sensor_id", 64))
    else {
        panic!()
    };
    let anew =
        "CREATE TABLE \"mangrove\".\"dim_sensors_old\" AS SELECT * FROM \"mangrove\".\"dim_sensors\"; DROP TABLE";
    let [problem] = problems.as_slice() else { panic!("{problems:?}") };
    assert!(problem.contains("holds 64 bytes") && problem.contains(anew), "{problem}");
}

#[test]
fn windows_are_kept_when_their_parts_get_tables_of_their_own() {
    let star = star("");
    let mut before = made(&star);
    for (table, parts) in [("sensor_hourly", "sensor_hourly_parts"), ("sensor_daily", "sensor_daily_parts")] {
        before.0.remove(parts);
        let windows = before.0.get_mut(table).unwrap();
        for column in ["shards", "first_time", "last_time"] {
            windows.remove(column);
        }
        let all = changes(&star, &before).unwrap();
        let at = |begin: String| {
            all.iter().position(|sql| sql.starts_with(&begin)).unwrap_or_else(|| panic!("{begin}: {all:?}"))
        };
        let create = at(format!("CREATE TABLE IF NOT EXISTS \"mangrove\".\"{parts}\""));
        let keep = at(format!("INSERT INTO \"mangrove\".\"{parts}\" (\"sensor_id\", \"field\", \"window_start\""));
        let shards = at(format!("ALTER TABLE \"mangrove\".\"{table}\" ADD COLUMN \"shards\""));
        assert!(create < keep && keep < shards, "{all:?}");
        assert!(!all[keep].contains("first_time"), "older rows have none: {}", all[keep]);
        assert!(!star.tables.iter().find(|t| t.name == parts).unwrap().column("first_time").unwrap().required);
    }
}
