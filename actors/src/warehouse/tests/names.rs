//! INERT

use messages::EventSchema;

use crate::warehouse::metadata::{MetadataColumn, MetadataColumns};
use crate::warehouse::sql::ALL;
use crate::warehouse::tables::StarSchema;
use crate::warehouse::{literal, star, taken};

/// A schema with one field of this name, tracked or not.
fn schema(field: &str, tracked: bool) -> Result<EventSchema, String> {
    let tracked = if tracked { "[fields.tracked]" } else { "" };
    let text = format!(
        "name = \"one\"\n[sensor_id]\npath = \"a.id\"\n[time]\npath = \"a.time\"\nformat = \"rfc3339\"\n\
         [[fields]]\nname = \"{field}\"\npath = \"b\"\ntype = \"text\"\n{tracked}\n"
    );
    EventSchema::parse(&text).map_err(|error| error.to_string())
}

/// The columns of a table that no schema decides.
fn fixed(table: &str) -> Vec<String> {
    let star = StarSchema::new(&schema("only", false).unwrap(), "mangrove", &MetadataColumns::default()).unwrap();
    let names = star.columns(table).iter().map(|column| column.name.clone());
    names.filter(|name| name != "only").collect()
}

#[test]
fn no_field_is_called_like_a_column_of_its_tables() {
    for name in [star::READINGS, star::SAID].map(fixed).concat() {
        let error = schema(&name, false).expect_err(&name);
        assert!(error.contains("every row has a column of this name already"), "{error}");
    }
    for name in [star::SENSORS, star::DESCRIBED].map(fixed).concat() {
        let is_refused = schema(&name, true).map_or(true, |schema| taken(&schema) == Some(&name));
        assert!(is_refused, "{name}");
    }
    // The attributes of a place, and names that only an untracked field has, are as good as any.
    for name in
        ["site", "latitude", "longitude", "first_seen", "firmware", "now_", "was_x", "was_1", "was_2024", "now_00"]
    {
        assert_eq!(taken(&schema(name, true).unwrap()), None, "{name}");
    }
    assert_eq!(taken(&schema("source", false).unwrap()), None);
}

#[test]
fn no_column_of_metadata_is_called_like_another_of_its_tables() {
    for name in [star::SENSORS, star::LOCATIONS, star::DESCRIBED, star::DESCRIBED_PLACES].map(fixed).concat() {
        assert!(MetadataColumn::parse(&name).is_err(), "{name}");
    }
}

#[test]
fn no_attribute_is_called_like_a_column_of_the_statements_about_versions() {
    let star = StarSchema::new(&schema("only", true).unwrap(), "mangrove", &MetadataColumns::default()).unwrap();
    let (_, text, _) = ALL.iter().find(|(file, _, _)| *file == "versions").unwrap();
    let of_versions = ["Every", "ReportedAsCounted", "Reported", "Intervals"];
    let sections = literal::sections(text).filter(|(name, _)| of_versions.contains(name));
    let text: String = sections.map(|(_, text)| text).collect();
    let named = text.split(" AS \"").skip(1).map(|behind| behind.split_once('"').unwrap().0);
    let mut names: Vec<&str> = named.chain(["now_0", "was_0"]).collect();
    // Those that a table has are held above.
    names.retain(|name| star.table(star::SENSORS).column(name).is_none());
    assert!(names.len() >= 7, "{names:?}");
    for name in names {
        assert_eq!(taken(&schema(name, true).unwrap()), Some(name));
        let refused = MetadataColumn::parse(name).map_or(true, |column| {
            let columns = MetadataColumns { sensors: vec![column], ..MetadataColumns::default() };
            !columns.problems(&schema("only", true).unwrap()).0.is_empty()
        });
        assert!(refused, "{name}");
    }
}
