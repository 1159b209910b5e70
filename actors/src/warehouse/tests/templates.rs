//! INERT

use std::path::Path;
use std::{env, fs};

use sqlparser::dialect::RedshiftSqlDialect;
use sqlparser::tokenizer::{Token, Tokenizer, Whitespace};

use super::fixture::{batch, schema};
use crate::warehouse::describe::{Describe, InForce};
use crate::warehouse::literal::{Sql, problems, sections, text};
use crate::warehouse::metadata::{
    LastGood, Limits, MetadataColumn, MetadataColumns, MetadataRows, Object, ObjectRows, Subject,
};
use crate::warehouse::sql::ALL;
use crate::warehouse::tables::StarSchema;
use crate::warehouse::{Load, Mode, star};

const NOW_MS: i64 = 1_767_225_600_000;

fn declared() -> MetadataColumns {
    let columns = |text| vec![MetadataColumn::parse(text).unwrap()];
    MetadataColumns { sensors: columns("owner"), locations: columns("region"), text_bytes_max: 100 }
}

fn tokens(sql: &str) -> Vec<Token> {
    let tokens = Tokenizer::new(&RedshiftSqlDialect {}, sql).tokenize().unwrap_or_else(|e| panic!("{e}: {sql}"));
    tokens.into_iter().filter(|token| !matches!(token, Token::Whitespace(_))).collect()
}

#[test]
fn every_template_has_the_slots_that_are_declared() {
    for (file, text, templates) in ALL {
        let found: Vec<&str> = sections(text).map(|(name, _)| name).collect();
        let expected: Vec<&str> = templates.iter().map(|(name, _)| *name).collect();
        assert_eq!(found, expected, "sections of sql/{file}.sql, and what sql.rs declares");
        for ((name, text), (_, slots)) in sections(text).zip(*templates) {
            assert_eq!(problems(text, slots), [] as [&str; 0], "sql/{file}.sql: {name}");
        }
    }
}

#[test]
fn a_template_that_is_not_as_declared_is_found() {
    let right = "-- Asks.\nSELECT {a}, '{b' FROM {{c}}";
    assert_eq!(problems(right, &["a", "c"]), [] as [&str; 0]);
    for (text, slots) in [
        (right, &["a"][..]),
        (right, &["a", "c", "d"]),
        ("SELECT 'a\nb'", &[]),
        ("SELECT 1 -- one", &[]),
        ("SELECT 1;", &[]),
        ("SELECT 1\n\nFROM b", &[]),
        ("SELECT 1\n-- one", &[]),
        ("-- {a}\nSELECT {a}", &["a"]),
    ] {
        assert_ne!(problems(text, slots), [] as [&str; 0], "{text}: {slots:?}");
    }
}

#[test]
fn templates_name_tables_that_there_are() {
    let star = StarSchema::new(&schema(), "mangrove", &declared()).unwrap();
    let mut named = 0;
    for (file, text, _) in ALL {
        for behind in text.split("{schema}.\"").skip(1) {
            let (table, _) = behind.split_once('"').unwrap();
            assert!(star.tables.iter().any(|known| known.name == table), "sql/{file}.sql: {table}");
            named += 1;
        }
    }
    assert!(named > 40, "{named}");
}

#[test]
fn the_sums_of_windows_stand_in_the_order_of_the_columns() {
    let star = StarSchema::new(&schema(), "mangrove", &declared()).unwrap();
    let (_, text, _) = ALL.iter().find(|(file, _, _)| *file == "windows").unwrap();
    let (_, text) = sections(text).find(|(name, _)| *name == "Windows").unwrap();
    let sums = text.lines().take_while(|line| *line != "FROM (").filter(|line| line.starts_with("    "));
    let named = |line: &str| {
        Some(line.strip_suffix(',').unwrap_or(line).strip_suffix('"')?.rsplit_once(" AS \"")?.1.to_owned())
    };
    let named: Vec<String> = sums.filter_map(named).collect();
    for table in [star::HOURLY, star::DAILY] {
        let columns: Vec<&str> = star.columns(table).iter().map(|column| column.name.as_str()).collect();
        assert_eq!(named, columns, "{table}");
    }
}

#[test]
fn layout_is_told_from_the_line_breaks_of_a_text() {
    let value = "a\n  -- b\n)";
    let range = super::super::sql::load::Known { stream: text(value).unwrap(), ranges: Sql::default() }.sql();
    assert_eq!(range.sent(), format!("\"stream\" = '{value}' AND ()"));
    assert_eq!(tokens(&range.sent()), tokens(&range.with_comments()));
}

/// A load, and a content of metadata.
fn transactions() -> [Vec<Sql>; 2] {
    let (schema, declared) = (schema(), declared());
    let star = StarSchema::new(&schema, "mangrove", &declared).unwrap();
    let batch = batch(&[("shardId-000000000000", 7), ("shardId-000000000000", 8), ("shardId-000000000001", 3)]);
    let manifests = batch.manifests("lake");
    let (bucket, iam_role, mode, now_ms) = ("lake", "", Mode::New, NOW_MS);
    let load =
        Load { star: &star, schema: &schema, batch: &batch, manifests: &manifests, bucket, iam_role, mode, now_ms };
    let mut rows = MetadataRows::default();
    for (subject, body) in [(Subject::Sensors, "sensor_id,owner\ns-1,me\n"), (Subject::Locations, "site,region\na,b\n")]
    {
        let object = Object { subject, key: "a.csv".to_owned(), body: body.into() };
        let part =
            ObjectRows::read(&object, &schema, &declared, &Limits { objects_max: 2, bytes_max: 1_000, rows_max: 10 });
        let source = LastGood::of(&part, &object.body);
        rows.take(part, source);
    }
    let (content, before) = (rows.into_content(&schema, &declared), InForce::default());
    let describe = Describe { star: &star, stream: "climate", content: &content, before: &before, bucket, iam_role };
    [load.transaction().unwrap(), describe.transaction().unwrap()]
}

#[test]
fn what_is_shown_is_what_is_sent() {
    for sql in transactions().concat() {
        let (shown, sent) = (sql.with_comments(), sql.sent());
        assert!(shown.starts_with("-- "), "no word of what it is for: {shown}");
        assert_eq!(tokens(&shown), tokens(&sent));
        let comment = |token: &Token| matches!(token, Token::Whitespace(Whitespace::SingleLineComment { .. }));
        let all = Tokenizer::new(&RedshiftSqlDialect {}, &sent).tokenize().unwrap();
        assert!(!all.iter().any(comment) && !sent.contains(['\n', '\0']), "{sent}");
    }
}

/// `UPDATE=1 cargo test` writes the page; without it, it has to be what would be written.
#[test]
fn the_page_shows_a_whole_load() {
    let [load, metadata] = transactions();
    let mut page = format!(
        "-- One whole load as it is sent to the warehouse: {} statements, one transaction. Behind it, as one more, the {} by\n\
         -- which a content of the metadata is put in force. What is sent has neither these comments nor this layout.\n\
         --\n\
         -- Three epochs of two shards, of the built-in event schema climate; metadata knows the owner of a sensor and the\n\
         -- region of a site beside it. The statements are made of the templates in actors/src/warehouse/sql/, and this page\n\
         -- of them: `UPDATE=1 cargo test --release the_page_shows_a_whole_load`.\n",
        load.len(),
        metadata.len(),
    );
    for (title, statements) in [("A load", load), ("A content of the metadata", metadata)] {
        page.push_str(&format!("\n\n---------- {title} ----------\n"));
        for (n, sql) in statements.iter().enumerate() {
            page.push_str(&format!("\n-- {}.\n{};\n", n + 1, sql.with_comments()));
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/load.sql");
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == page, "docs/load.sql is out of date: run this test with UPDATE=1");
}
