//! INERT, CLEAN-ONCE

use proptest::prelude::*;
use sqlparser::dialect::{Dialect, RedshiftSqlDialect};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, Tokenizer};

use super::fixture::{batch, epoch, schema};
use crate::warehouse::batch::{Feed, LoadBatch};
use crate::warehouse::literal::{identifier, plain_text, text};
use crate::warehouse::metadata::MetadataColumns;
use crate::warehouse::tables::StarSchema;
use crate::warehouse::{Load, Mode, Statements, ledger};

fn tokens(sql: &str) -> Vec<Token> {
    let dialect: &dyn Dialect = &RedshiftSqlDialect {};
    let tokens = Tokenizer::new(dialect, sql).tokenize().unwrap_or_else(|e| panic!("{e}: {sql}"));
    tokens.into_iter().filter(|token| !matches!(token, Token::Whitespace(_))).collect()
}

/// The statement without what its literals say.
fn shape(sql: &str) -> Vec<String> {
    let bare = |token: Token| match token {
        Token::SingleQuotedString(_) => "'…'".to_owned(),
        other => other.to_string(),
    };
    tokens(sql).into_iter().map(bare).collect()
}

fn statements(batch: &LoadBatch, bucket: &str, iam_role: &str, mode: Mode) -> Statements {
    let (schema, manifests) = (schema(), batch.manifests(bucket));
    let star = StarSchema::new(&schema, "mangrove", &MetadataColumns::default()).unwrap();
    let now_ms = 1_767_225_600_000;
    Load { star: &star, schema: &schema, batch, manifests: &manifests, bucket, iam_role, mode, now_ms }
        .statements()
        .unwrap()
}

#[test]
fn every_statement_parses_in_the_dialect() {
    let star = StarSchema::new(&schema(), "mangrove", &MetadataColumns::default()).unwrap();
    let load = statements(&batch(&[("shardId-000000000000", 1)]), "lake", "arn:aws:iam::1:role/x", Mode::Again);
    let queries = [
        ledger::tips_query(&star, "climate").unwrap(),
        ledger::status_query(&star, "climate").unwrap(),
        ledger::refused_query(&star, "climate", 10).unwrap(),
        ledger::counts_query(&star, "climate").unwrap(),
    ];
    for sql in load.sql.iter().chain(&queries) {
        // The parser knows no LOCK, and COPY only in another system's form.
        if sql.starts_with("LOCK ") || sql.starts_with("COPY ") {
            tokens(sql);
            continue;
        }
        Parser::parse_sql(&RedshiftSqlDialect {}, sql).unwrap_or_else(|e| panic!("{e}: {sql}"));
    }
}

#[test]
fn a_load_locks_first_and_ends_with_the_ledger() {
    let load = statements(&batch(&[("a", 5), ("a", 6), ("b", 3)]), "lake", "", Mode::New);
    assert_eq!(load.sql[0], "LOCK \"mangrove\".\"load_ledger\"");
    assert!(load.sql[1].contains(
        "(\"shard\" = 'a' AND \"epoch\" BETWEEN 5 AND 6) OR (\"shard\" = 'b' AND \"epoch\" BETWEEN 3 AND 3)"
    ));
    let last_write = load.sql.iter().rposition(|sql| !sql.starts_with("SELECT")).unwrap();
    assert!(load.sql[last_write].starts_with("INSERT INTO \"mangrove\".\"load_ledger\""));
    assert_eq!(load.guard, last_write + 1);
    // What reads alone, or fills a table that ends with the session, writes nothing.
    let reads = |sql: &str| sql.starts_with("SELECT") || sql.starts_with("CREATE TEMP TABLE");
    let writes = load.sql.iter().filter(|sql| sql.contains("\"mangrove\".") && !reads(sql)).skip(1);
    for write in writes {
        assert!(write.contains("\"load_guard\""), "not guarded: {write}");
    }
}

#[test]
fn as_many_epochs_as_are_allowed_fit_into_the_service() {
    let shard = "s".repeat(128);
    let epochs = (0..200).map(|n| epoch(&shard, 2 * n + 1)).collect();
    let load = statements(&LoadBatch::new("climate", epochs), "lake", "", Mode::New);
    assert!(load.sql.len() <= 40 && load.sql.iter().all(|sql| sql.len() < 100_000));
}

#[test]
fn as_many_attributes_as_a_schema_may_have_fit_into_the_service() {
    for (n, name_bytes) in [(8, 8), (100, 16), (250, 16)] {
        let name = |n: usize| format!("{:a<name_bytes$}", format!("f{n}_"));
        let field = |n| format!("[[fields]]\nname = \"{}\"\ntype = \"float\"\n[fields.tracked]\n", name(n));
        let fields: String = (0..n).map(field).collect();
        let text = format!(
            "name = \"wide\"\n[sensor_id]\npath = \"id\"\n[time]\npath = \"time\"\nformat = \"rfc3339\"\n{fields}"
        );
        let schema = messages::EventSchema::parse(&text).unwrap();
        let star = StarSchema::new(&schema, "mangrove", &MetadataColumns::default()).unwrap();
        let (batch, bucket) = (batch(&[("s", 1)]), "lake");
        let manifests = batch.manifests(bucket);
        let load = Load {
            star: &star,
            schema: &schema,
            batch: &batch,
            manifests: &manifests,
            bucket,
            iam_role: "",
            mode: Mode::New,
            now_ms: 0,
        };
        let sql = load.statements().unwrap_or_else(|error| panic!("{n} attributes: {error}")).sql;
        let said = sql.iter().find(|sql| sql.contains("\"load_reported\" AS")).unwrap();
        assert_eq!(said.contains("\"namesakes\" AS"), n == 250, "{n} attributes take {} bytes", said.len());
        for statement in sql.iter().filter(|sql| !sql.starts_with("LOCK ") && !sql.starts_with("COPY ")) {
            Parser::parse_sql(&RedshiftSqlDialect {}, statement).unwrap_or_else(|e| panic!("{e}"));
        }
    }
}

#[test]
fn batches_are_named_after_what_is_in_them() {
    let (one, other) = (batch(&[("a", 1), ("b", 1)]), batch(&[("b", 1), ("a", 1)]));
    assert_eq!(one, other);
    assert_ne!(one.id, batch(&[("a", 1)]).id);
    let manifests = one.manifests("lake");
    assert_eq!(manifests.len(), Feed::ALL.len());
    let body: serde_json::Value = serde_json::from_slice(&manifests[1].body).unwrap();
    assert_eq!(body["entries"][0]["url"], "s3://lake/cleansed/a-1.parquet");
    assert_eq!(body["entries"][0]["meta"]["content_length"], 1_000);
    assert_eq!(body["entries"][0]["mandatory"], true);
}

proptest! {
    #[test]
    fn a_literal_is_one_token_that_means_its_text(value in ".*") {
        match plain_text(&value) {
            Ok(sql) => prop_assert_eq!(tokens(&sql.sent()), vec![Token::SingleQuotedString(value)]),
            Err(_) => prop_assert!(value.contains(['\0', '\\'])),
        }
    }

    #[test]
    fn a_text_with_backslashes_is_a_concatenation(value in "[a'\\\\;\n-]{0,12}") {
        let mut meant = String::new();
        for token in tokens(&text(&value).unwrap().sent()) {
            match token {
                Token::SingleQuotedString(part) => { prop_assert!(!part.contains('\\')); meant.push_str(&part); }
                Token::Number(code, _) => { prop_assert_eq!(code, "92"); meant.push('\\'); }
                Token::Word(word) => prop_assert_eq!(word.value, "CHR"),
                Token::StringConcat | Token::LParen | Token::RParen => {}
                other => prop_assert!(false, "{}", other),
            }
        }
        prop_assert_eq!(meant, value);
    }

    #[test]
    fn an_identifier_is_one_token_that_means_its_name(name in ".*") {
        if let Ok(sql) = identifier(&name) {
            let found = tokens(&sql.sent());
            prop_assert!(matches!(found.as_slice(), [Token::Word(word)] if word.value == name && word.quote_style == Some('"')));
        } else {
            prop_assert!(name.is_empty() || name.len() > 127 || name.chars().any(char::is_control));
        }
    }

    /// INERT: whatever names and errors say, a statement is its template with other literals.
    #[test]
    fn statements_keep_their_shape(
        shard in "[^\\\\\0]{1,20}", stream in "[^\\\\\0]{1,20}", bucket in "[^\\\\\0]{0,20}", error in "[^\\\\]{0,200}",
    ) {
        let (schema, star) = (schema(), StarSchema::new(&schema(), "mangrove", &MetadataColumns::default()).unwrap());
        let of = |shard: &str, stream: &str, bucket: &str, error: &str| {
            let batch = LoadBatch::new(stream, vec![epoch(shard, 5)]);
            let manifests = batch.manifests(bucket);
            let load = Load {
                star: &star, schema: &schema, batch: &batch, manifests: &manifests, bucket,
                iam_role: "", mode: Mode::Again, now_ms: 0,
            };
            let mut sql = load.statements().unwrap().sql;
            sql.extend(load.refusal(3, error).unwrap());
            sql.iter().map(|sql| shape(sql)).collect::<Vec<_>>()
        };
        prop_assert_eq!(of(&shard, &stream, &bucket, &error), of("a", "b", "c", "d"));
    }
}
