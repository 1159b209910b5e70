//! GOAL    The reference of the event schema and of the replay mapping says what their parsers do.
//! METHOD  The page's tables against the keys that the parsers look for; its examples with each key taken out, and with
//!         the default that the page gives put in.

use std::collections::BTreeSet;

use fleet::ReplayMapping;
use messages::EventSchema;
use messages::schema::FieldPath;
use toml::{Table, Value};

const PAGE: &str = include_str!("../../docs/schema.md");

/// A row of one of the page's tables.
struct Key {
    name: String,
    /// `required`, `none`, `the name`, or a value of TOML.
    default: String,
}

/// The part of the page under a heading.
fn part(heading: &str) -> &'static str {
    let (_, after) = PAGE.split_once(&format!("\n## {heading}\n")).unwrap();
    after.split("\n## ").next().unwrap()
}

fn keys(part: &str) -> Vec<Key> {
    let rows = part.lines().filter(|line| line.starts_with("| `"));
    let plain = |cell: &str| cell.trim().trim_matches('`').to_owned();
    rows.map(|row| row.split(" | ").map(plain).collect::<Vec<_>>())
        .map(|cells| Key { name: cells[0].trim_start_matches("| `").to_owned(), default: cells[2].clone() })
        .collect()
}

fn examples(part: &str) -> Vec<Table> {
    let blocks = part.split("```toml\n").skip(1).map(|after| after.split("```").next().unwrap());
    blocks.map(|block| block.parse().unwrap()).collect()
}

/// The tables of an example in which this key may stand: of fields, all of them.
fn places<'a>(example: &'a mut Table, name: &'a str) -> (Vec<&'a mut Table>, &'a str) {
    let (path, key) = name.rsplit_once('.').unwrap_or(("", name));
    let mut tables = vec![example];
    for part in path.split('.').filter(|part| !part.is_empty()) {
        tables = tables
            .into_iter()
            .flat_map(|table| match table.get_mut(part) {
                Some(Value::Table(inner)) => vec![inner],
                Some(Value::Array(items)) => items.iter_mut().filter_map(Value::as_table_mut).collect(),
                _ => Vec::new(),
            })
            .collect();
    }
    (tables, key)
}

/// The example without a key, and with it set to a value wherever it stood or may stand.
fn without_and_with(example: &Table, name: &str, value: Option<&Value>) -> (Table, Table) {
    let mut without = example.clone();
    let (tables, key) = places(&mut without, name);
    let mut n = 0;
    tables.into_iter().for_each(|table| n += usize::from(table.remove(key).is_some()));
    assert!(n > 0, "the example has no {name}");
    let mut with = without.clone();
    if let Some(value) = value {
        let (tables, key) = places(&mut with, name);
        tables.into_iter().for_each(|table| drop(table.insert(key.to_owned(), value.clone())));
    }
    (without, with)
}

fn value_of(text: &str) -> Value {
    let table: Table = format!("x = {text}").parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    table["x"].clone()
}

/// What a schema says, apart from how it is written.
fn schema(table: &Table) -> Result<EventSchema, String> {
    let schema = EventSchema::parse(&table.to_string()).map_err(|problems| problems.to_string())?;
    Ok(EventSchema { fingerprint: String::new(), ..schema })
}

fn mapping(table: &Table) -> Result<ReplayMapping, String> {
    ReplayMapping::parse(&table.to_string()).map_err(|error| error.to_string())
}

#[test]
fn the_page_has_every_key_of_the_event_schema_and_no_other() {
    let part = part("Keys of the event schema");
    let [example] = examples(part).try_into().unwrap();
    let asked = EventSchema::keys(&example.to_string()).into_iter().map(|key| match key.split_once("].") {
        Some((_, of_field)) => format!("fields.{of_field}"),
        None => key,
    });
    let asked: BTreeSet<String> = asked.collect();
    let is_table = |key: &String| *key == "fields" || asked.iter().any(|other| other.starts_with(&format!("{key}.")));
    let asked: BTreeSet<&String> = asked.iter().filter(|key| !is_table(key)).collect();
    let keys = keys(part);
    assert_eq!(keys.iter().map(|key| &key.name).collect::<BTreeSet<_>>(), asked);
}

#[test]
fn the_defaults_of_the_event_schema_are_those_of_the_page() {
    let part = part("Keys of the event schema");
    let [example] = examples(part).try_into().unwrap();
    let whole = schema(&example).unwrap();
    for Key { name, default } in keys(part) {
        match default.as_str() {
            "required" => {
                let problems = schema(&without_and_with(&example, &name, None).0).unwrap_err();
                assert!(problems.contains("is missing"), "{name}: {problems}");
            }
            "the name" => {
                let without = schema(&without_and_with(&example, &name, None).0).unwrap();
                assert!(without.fields.iter().all(|field| field.path == FieldPath(vec![field.name.clone()])), "{name}");
            }
            "none" => {
                // A table that has one key only goes with it.
                let table = name.rsplit_once('.').map_or(name.as_str(), |(table, _)| table);
                let alone = ["event_id", "sequence", "heartbeat"].contains(&table);
                let without = without_and_with(&example, if alone { table } else { &name }, None).0;
                assert_ne!(schema(&without).unwrap(), whole, "{name} has no effect");
            }
            value => {
                let (without, with) = without_and_with(&example, &name, Some(&value_of(value)));
                assert_eq!(schema(&without), schema(&with), "{name} = {value}");
                assert_ne!(schema(&without).unwrap(), whole, "{name} has no effect");
            }
        }
    }
}

/// The keys of one table of a mapping, as its parser names them when it meets another.
fn known(mut example: Table, table: &str) -> Vec<String> {
    let name = if table.is_empty() { "zzz".to_owned() } else { format!("{table}.zzz") };
    let (tables, key) = places(&mut example, &name);
    tables.into_iter().for_each(|table| drop(table.insert(key.to_owned(), Value::Boolean(true))));
    let error = mapping(&example).unwrap_err();
    let (_, expected) = error.split_once("expected one of ").unwrap_or_else(|| panic!("{error}"));
    let names = expected.lines().next().unwrap().split(", ").map(|name| name.trim_matches('`'));
    names.map(|name| if table.is_empty() { name.to_owned() } else { format!("{table}.{name}") }).collect()
}

#[test]
fn the_page_has_every_key_of_the_replay_mapping_and_its_default() {
    let part = part("Keys of the replay mapping");
    let examples = examples(part);
    let known: BTreeSet<String> =
        ["", "id", "time", "fields"].iter().flat_map(|table| known(examples[0].clone(), table)).collect();
    let is_table = |key: &String| ["id", "time", "fields"].contains(&key.as_str());
    let keys = keys(part);
    let of_page: BTreeSet<&String> = keys.iter().map(|key| &key.name).collect();
    assert_eq!(of_page, known.iter().filter(|key| !is_table(key)).collect());
    for Key { name, default } in &keys {
        if name == "time.column" {
            continue; // It stands in a sentence of its own, and is the same as one of `columns`.
        }
        let has = |example: &&Table| {
            let mut example = (*example).clone();
            let (tables, key) = places(&mut example, name);
            tables.iter().any(|table| table.contains_key(key))
        };
        let example = examples.iter().find(has).unwrap_or_else(|| panic!("no example has {name}"));
        let whole = mapping(example).unwrap();
        match default.as_str() {
            "required" => {
                let error = mapping(&without_and_with(example, name, None).0).unwrap_err();
                assert!(error.contains("missing field"), "{name}: {error}");
            }
            "none" => {
                // Alternatives: one of them is needed.
                let without = mapping(&without_and_with(example, name, None).0);
                assert!(
                    without.as_ref().err().is_none_or(|error| error.contains("needs either")),
                    "{name}: {without:?}"
                );
                assert_ne!(without.ok(), Some(whole), "{name} has no effect");
            }
            value => {
                let (without, with) = without_and_with(example, name, Some(&value_of(value)));
                assert_eq!(mapping(&without), mapping(&with), "{name} = {value}");
                assert_ne!(mapping(&without), Ok(whole), "{name} has no effect");
            }
        }
    }
    let one = "column = \"timestamp\"\nformat = \"%Y-%m-%dT%H:%M:%SZ\"";
    assert!(PAGE.contains("`column = \"timestamp\"` and `format = \"%Y-%m-%dT%H:%M:%SZ\"`"));
    let text =
        format!("name = \"t\"\nfields = []\n[id]\ncolumn = \"id\"\nname = \"id\"\n[time]\nname = \"ts\"\n{one}\n");
    ReplayMapping::parse(&text).unwrap();
}
