use super::*;

/// The SQL of a query for DuckDB.
fn duck(text: &str) -> String {
    match plan(text) {
        Ok(Plan::Query(sql)) => sql,
        other => panic!("{text}: {other:?}"),
    }
}

fn refused(text: &str) -> String {
    match plan(text) {
        Err(error) => error.0,
        Ok(plan) => panic!("{text}: {plan:?}"),
    }
}

#[test]
fn every_name_is_quoted_and_every_literal_written_anew() {
    assert_eq!(duck("select A.b from T a where c = 'x'"), r#"SELECT "a"."b" FROM "t" "a" WHERE "c" = 'x'"#);
    // A backslash escapes in Redshift and not in DuckDB; two quotes of a text stay two.
    let literals = [
        (r"'a\'b'", "'a''b'"),
        (r"'a''''b'", "'a''''b'"),
        (r"'\''", "''''"),
        (r"'x\\'", r"'x\'"),
        ("'-- no comment'", "'-- no comment'"),
        ("'/* nor this; */'", "'/* nor this; */'"),
        ("'two\nlines'", "'two\nlines'"),
        ("'ünï 🌱'", "'ünï 🌱'"),
    ];
    for (redshift, written) in literals {
        assert_eq!(duck(&format!("SELECT {redshift}")), format!("SELECT {written}"));
    }
    assert_eq!(duck(r"SELECT '\'; DROP TABLE x; --' AS a"), r#"SELECT '''; DROP TABLE x; --' AS "a""#);
    for name in [r#""a""b""#, r#""a\b""#, r#""a\""#, "\"a\nb\""] {
        assert!(refused(&format!("SELECT {name} FROM t")).contains("identifier"), "{name}");
    }
    assert!(refused("SELECT 'a\0b'").contains("0x00"));
}

#[test]
fn what_is_not_redshifts_is_refused() {
    let statements = [
        "SELECT 1; SELECT 2",
        "PRAGMA database_list",
        "ATTACH 'x.db' AS x",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET memory_limit = '1GB'",
        "SELECT * FROM read_parquet('x')",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        r#"SELECT * FROM "/etc/passwd""#,
        r#"SELECT * FROM "x.csv""#,
        "SELECT * FROM duckdb_settings()",
        "SELECT * FROM duckdb_tables",
        "SELECT * FROM pragma_database_list",
        "SELECT * FROM sqlite_master",
        "SELECT * FROM system.main.duckdb_tables",
        "SELECT * FROM redshift_catalog.texts",
        "SELECT * FROM main.x",
        "DELETE FROM redshift_catalog.texts",
        "DROP SCHEMA redshift_catalog",
        "SELECT getenv('HOME')",
        "SELECT current_setting('memory_limit')",
        "SELECT read_text('/etc/passwd')",
        "SELECT system.main.lower('x')",
        "SELECT * EXCLUDE (a) FROM t",
        "SELECT * REPLACE (1 AS a) FROM t",
        "SELECT COLUMNS('a') FROM t",
        "SELECT DISTINCT ON (a) b FROM t",
        "SELECT a FROM t GROUP BY ALL",
        "SELECT a FROM t LIMIT 5, 10",
        "SELECT a FROM t USING SAMPLE 5",
        "SELECT x -> x + 1",
        "SELECT [1, 2]",
        "SELECT $$a$$",
        "SELECT 0xff",
        "SELECT a FROM t, LATERAL (SELECT 1) u",
        "SELECT a FROM t ASOF JOIN u ON t.a = u.a",
        "SELECT a FROM (VALUES (1)) t(a)",
        "VALUES (1)",
        "FROM t",
        "WITH a AS (INSERT INTO t VALUES (1)) SELECT 1",
        "SELECT 1 INTO t",
        "SELECT a FROM t FOR UPDATE",
        "SELECT count(*) FILTER (WHERE a) FROM t",
        "SELECT a::hugeint",
        "SELECT TRY_CAST(a AS INT) FROM t",
        "COPY t TO 's3://b/k'",
        "COPY t FROM '/etc/passwd' IAM_ROLE DEFAULT FORMAT PARQUET",
        "COPY t FROM 's3://b/k' FORMAT PARQUET",
        "COPY t FROM 's3://b/k' IAM_ROLE DEFAULT CSV",
        "COPY t FROM 's3://b/k' IAM_ROLE DEFAULT FORMAT PARQUET MAXERROR 5",
        "COPY t FROM 's3://b/k' IAM_ROLE DEFAULT FORMAT PARQUET HEADER",
        "COPY (SELECT 1) TO 's3://b/k'",
        "UNLOAD ('SELECT 1') TO 's3://b/k' IAM_ROLE DEFAULT",
        "INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING",
        "INSERT INTO t VALUES (1) RETURNING a",
        "INSERT OR REPLACE INTO t VALUES (1)",
        "UPDATE t SET a = 1 RETURNING a",
        "DELETE FROM t WHERE a = 1 LIMIT 5",
        "MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN UPDATE SET b = u.b",
        "MERGE INTO t USING u ON t.a = u.a WHEN NOT MATCHED THEN INSERT VALUES (1) WHEN MATCHED THEN UPDATE SET b = u.b",
        "MERGE INTO t USING u ON t.a = u.a WHEN MATCHED AND u.b > 1 THEN UPDATE SET b = u.b WHEN NOT MATCHED THEN INSERT VALUES (1)",
        "CREATE OR REPLACE TABLE t (a INT)",
        "CREATE TABLE t (a STRUCT(b INT))",
        "CREATE TABLE t (a INT CHECK (a > 1))",
        "CREATE TABLE t (a HUGEINT)",
        "CREATE TABLE t (a INT, A INT)",
        "CREATE TEMP TABLE public.t (a INT)",
        "CREATE MACRO f(x) AS x",
        "CREATE INDEX i ON t (a)",
        "CREATE SEQUENCE s",
        "CREATE MATERIALIZED VIEW v AS SELECT 1",
        "ALTER TABLE t ALTER COLUMN a TYPE BIGINT",
        "BEGIN",
        "CALL pragma_version()",
        "EXPORT DATABASE 'x'",
        "CHECKPOINT",
        "",
        ";",
        "-- nothing",
    ];
    for statement in statements {
        assert!(!refused(statement).is_empty());
    }
}

#[test]
fn what_redshift_says_otherwise_is_rewritten() {
    let cases = [
        ("SELECT TOP 5 a FROM t", r#"SELECT "a" FROM "t" LIMIT 5"#),
        ("SELECT NVL(a, 0) AS n FROM t", r#"SELECT coalesce("a", 0) AS "n" FROM "t""#),
        ("SELECT count(*) FROM public.t", r#"SELECT count(*) AS "count" FROM "main"."t""#),
        ("SELECT APPROXIMATE COUNT(DISTINCT a) FROM t", r#"SELECT count(DISTINCT "a") AS "count" FROM "t""#),
        (
            "SELECT LISTAGG(a, ',') WITHIN GROUP (ORDER BY b) AS l FROM t",
            r#"SELECT string_agg(CAST("a" AS VARCHAR), ',' ORDER BY "b") AS "l" FROM "t""#,
        ),
        ("SELECT a::varchar(3) AS x FROM t", r#"SELECT left(CAST("a" AS VARCHAR), 3) AS "x" FROM "t""#),
        ("SELECT 1 FROM t WHERE a LIKE 'x%'", r#"SELECT 1 FROM "t" WHERE "a" LIKE 'x%' ESCAPE '\'"#),
        ("SELECT 1 FROM t WHERE a !~ 'x'", r#"SELECT 1 FROM "t" WHERE (NOT regexp_matches("a", 'x', 'c'))"#),
        (
            "SELECT LAG(a) IGNORE NULLS OVER (ORDER BY b) AS l FROM t",
            r#"SELECT lag("a" IGNORE NULLS) OVER (ORDER BY "b") AS "l" FROM "t""#,
        ),
        ("SELECT a FROM svv_table_info", r#"SELECT "a" FROM "redshift_catalog"."svv_table_info""#),
    ];
    for (redshift, written) in cases {
        assert_eq!(duck(redshift), written);
    }
    assert_eq!(plan("ANALYZE t"), Ok(Plan::Nothing { alone: false }));
    assert_eq!(plan("VACUUM").unwrap().must_be_alone(), Some("VACUUM"));
}

#[test]
fn a_statement_as_large_as_there_may_be_is_read_or_refused() {
    let chains = ["1+", "a OR ", "NOT ", "(", "- ", "CASE WHEN ", "1 UNION SELECT ", "a||", "(SELECT "];
    let walk = move || {
        for piece in chains {
            let _ = plan(&format!("SELECT {}1", piece.repeat(100_000 / piece.len())));
            let fits = plan(&format!("SELECT {}1", piece.repeat(9_000)));
            drop(fits);
        }
    };
    let thread = std::thread::Builder::new().stack_size(crate::STACK_BYTES).spawn(walk);
    thread.unwrap().join().unwrap();
}
