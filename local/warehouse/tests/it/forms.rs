//! GOAL    Every form of statement of the contract does what Redshift's does.

use serde_json::json;

use crate::{World, call};

fn furnished() -> World {
    let world = World::new();
    world.all(&[
        "CREATE TABLE t (id BIGINT NOT NULL, name VARCHAR(5), at TIMESTAMP, x DOUBLE PRECISION, ok BOOLEAN, day DATE, PRIMARY KEY (id))",
        "INSERT INTO t VALUES (1, 'a', '2026-01-01 10:20:30.5', 1.5, TRUE, '2026-01-01'), (2, 'b', '2026-01-02', 2.5, FALSE, NULL)",
        "INSERT INTO t (id, name) SELECT 3, 'c'",
    ]);
    world
}

#[test]
fn keys_are_not_enforced_and_lengths_and_not_null_are() {
    let world = furnished();
    world.all(&["INSERT INTO t (id) VALUES (1)", "INSERT INTO t (id, name) VALUES (1, 'ääx')"]);
    assert_eq!(world.rows("SELECT COUNT(*) FROM t WHERE id = 1"), ["3"]);
    for long in ["'sixsix'", "'äää'"] {
        let error = world.error(&format!("INSERT INTO t (id, name) VALUES (9, {long})"));
        assert!(error.contains("value too long for character type"), "{error}");
        assert!(world.error(&format!("UPDATE t SET name = {long}")).contains("too long"));
    }
    assert!(world.error("INSERT INTO t (name) VALUES ('x')").contains("Cannot insert a NULL value into column id"));
    assert!(world.error("INSERT INTO t (id, name) VALUES (1, 'x', 2)").starts_with("ERROR"));
    assert!(world.error("INSERT INTO t (id, name) SELECT 1").starts_with("ERROR"));
    assert!(world.error("INSERT INTO t (nothing) SELECT 1").contains("\"nothing\" of relation \"t\" does not exist"));
    assert_eq!(world.rows("SELECT COUNT(*) FROM t"), ["5"]);
}

/// What its documentation refuses, and what it has been seen to refuse of sort and distribution keys.
#[test]
fn columns_of_keys_and_with_defaults_stay_as_they_are() {
    let world = World::new();
    world.all(&[
        "CREATE SCHEMA m",
        "CREATE TABLE m.t (k VARCHAR(3), d VARCHAR(3), s VARCHAR(3), v VARCHAR(3) DEFAULT 'x', u VARCHAR(3) UNIQUE, a VARCHAR(3), \
         PRIMARY KEY (k)) DISTSTYLE KEY DISTKEY (d) COMPOUND SORTKEY (s, k)",
        "CREATE TABLE m.w (k VARCHAR(3) PRIMARY KEY)",
        "ALTER TABLE m.t ADD COLUMN w VARCHAR(3) DEFAULT 'x'",
    ]);
    let widen = |column: &str| format!("ALTER TABLE m.{column} TYPE VARCHAR(4)").replacen('/', " ALTER COLUMN ", 1);
    for column in ["t/d", "t/s", "t/k"] {
        let error = world.error(&widen(column));
        assert!(error.contains("unexpected dependency for column"), "{column}: {error}");
    }
    for (column, words) in
        [("w/k", "PRIMARY KEY"), ("t/u", "UNIQUE"), ("t/v", "default values"), ("t/w", "default values")]
    {
        let error = world.error(&widen(column));
        assert!(error.contains("not supported") && error.contains(words), "{column}: {error}");
    }
    for (column, key) in [("d", "distkey"), ("s", "sortkey")] {
        assert!(world.error(&format!("ALTER TABLE m.t DROP COLUMN {column}")).contains(&format!("cannot drop {key}")));
    }
    world.all(&[&widen("t/a"), "INSERT INTO m.t (k, a) VALUES ('k', 'four')"]);
    // The notes go with the table, and do not outlive it.
    world.all(&["ALTER TABLE m.t RENAME TO t2"]);
    assert!(world.error("ALTER TABLE m.t2 ALTER COLUMN d TYPE VARCHAR(4)").contains("unexpected dependency"));
    world.all(&[
        "CREATE TABLE m.t AS SELECT * FROM m.t2",
        "DROP TABLE m.t2",
        "CREATE TABLE m.t2 (d VARCHAR(3))",
        "ALTER TABLE m.t2 ALTER COLUMN d TYPE VARCHAR(4)",
    ]);
}

#[test]
fn tables_change_and_say_what_they_are() {
    let world = World::new();
    world.all(&[
        "CREATE SCHEMA \"m\"",
        "CREATE TABLE \"m\".\"t\" (\"a\" VARCHAR(3) NOT NULL ENCODE ZSTD, \"b\" INTEGER DEFAULT 7, \"s\" SUPER, \"r\" REAL, \"k\" SMALLINT) BACKUP NO DISTSTYLE ALL",
        "ALTER TABLE m.t ADD COLUMN \"c\" VARCHAR(4) ENCODE ZSTD",
        "COMMENT ON TABLE m.t IS 'it''s; a table'",
        "COMMENT ON COLUMN m.t.a IS 'a \\\\ b'",
        "INSERT INTO m.t (a, c) VALUES ('abc', 'abcd')",
    ]);
    assert!(world.error("INSERT INTO m.t (a) VALUES ('abcd')").contains("too long"));
    assert!(world.error("INSERT INTO m.t (a, c) VALUES ('abc', 'abcde')").contains("too long"));
    world.all(&["ALTER TABLE m.t ALTER COLUMN \"a\" TYPE VARCHAR(4)", "INSERT INTO m.t (a) VALUES ('abcd')"]);
    assert!(world.error("ALTER TABLE m.t ALTER COLUMN a TYPE VARCHAR(2)").contains("shorter"));
    let columns = "SELECT column_name, data_type, character_maximum_length, is_nullable FROM information_schema.columns \
                   WHERE table_schema = 'm' AND table_name = 't' ORDER BY ordinal_position";
    let expected = [
        "a,character varying,4,NO",
        "b,integer,null,YES",
        "s,super,null,YES",
        "r,real,null,YES",
        "k,smallint,null,YES",
    ];
    assert_eq!(world.rows(columns)[..5], expected);
    assert_eq!(world.rows(columns)[5], "c,character varying,4,YES");
    assert_eq!(world.rows("SELECT a, b FROM m.t ORDER BY a"), ["abc,7", "abcd,7"]);
    assert_eq!(world.rows("SELECT \"schema\", \"table\" FROM svv_table_info"), ["m,t"]);
    assert_eq!(world.rows("SELECT \"type\" FROM pg_table_def WHERE \"column\" = 'a'"), ["character varying(4)"]);
    assert_eq!(world.rows("SELECT remarks FROM information_schema.tables"), ["it's; a table"]);
    world.all(&[
        "CREATE OR REPLACE VIEW m.v AS SELECT a FROM m.t WITH NO SCHEMA BINDING",
        "CREATE OR REPLACE VIEW m.v AS SELECT b FROM m.t",
    ]);
    assert_eq!(world.rows("SELECT * FROM m.v"), ["7", "7"]);
    assert!(world.error("CREATE TABLE m.t (a INT)").contains("already exists"));
    world.all(&[
        "CREATE TABLE IF NOT EXISTS m.t (z INT)",
        "DROP VIEW m.v",
        "DROP TABLE IF EXISTS m.t",
        "DROP TABLE IF EXISTS m.t",
    ]);
    assert!(world.error("SELECT * FROM m.t").contains("relation \"t\" does not exist"));
    world.all(&["CREATE TABLE m.t (a VARCHAR(9))", "INSERT INTO m.t VALUES ('123456789')"]);
}

#[test]
fn temporary_tables_end_with_their_batch() {
    let world = furnished();
    let like = [
        "CREATE TEMP TABLE stg (LIKE t)",
        "INSERT INTO stg SELECT * FROM t",
        "INSERT INTO t SELECT * FROM stg",
        "SELECT COUNT(*) FROM t",
    ];
    assert_eq!(world.batch(&like.map(str::to_owned))["Status"], "FINISHED");
    let strict = ["CREATE TEMP TABLE stg (LIKE t)", "INSERT INTO stg (id, name) VALUES (1, 'much too long')"];
    assert!(world.batch(&strict.map(str::to_owned))["Error"].as_str().unwrap().contains("too long"));
    assert!(world.error("SELECT * FROM stg").contains("does not exist"));
    assert_eq!(world.rows("SELECT COUNT(*) FROM t"), ["6"]);
}

#[test]
fn merge_updates_and_inserts_and_refuses_two_matches() {
    let world = furnished();
    world.all(&["CREATE TABLE n (id BIGINT, name VARCHAR(9))", "INSERT INTO n VALUES (1, 'one'), (9, 'nine')"]);
    let merge = "MERGE INTO t USING n ON t.id = n.id WHEN MATCHED THEN UPDATE SET name = n.name \
                 WHEN NOT MATCHED THEN INSERT (id, name) VALUES (n.id, n.name)";
    world.all(&[merge, merge]);
    assert_eq!(world.rows("SELECT id, name FROM t ORDER BY id"), ["1,one", "2,b", "3,c", "9,nine"]);
    world.all(&["INSERT INTO n VALUES (1, 'uno')"]);
    assert!(world.error(merge).contains("multiple matches"));
    world.all(&["DELETE FROM n", "INSERT INTO n VALUES (1, 'too long')"]);
    assert!(world.error(merge).contains("too long"));
}

#[test]
fn queries_answer_as_redshift_does() {
    let world = furnished();
    let cases = [
        ("SELECT 1", "1"),
        ("SELECT 7 / 2, -7 / 2, 7.0 / 2 > 3.4", "3,-3,true"),
        ("SELECT TOP 1 id FROM t ORDER BY x DESC", "3"),
        ("SELECT id FROM t ORDER BY x LIMIT 1", "1"),
        (
            "SELECT DATE_TRUNC('hour', at), DATEADD(day, 1, at), DATEADD(month, -1, day) FROM t WHERE id = 1",
            "2026-01-01 10:00:00,2026-01-02 10:20:30.5,2025-12-01 00:00:00",
        ),
        (
            "SELECT DATEDIFF(second, TIMESTAMP '2026-01-01 00:00:00', at), EXTRACT(epoch FROM at), DATE_PART(hour, at) FROM t WHERE id = 1",
            "37230,1767262830,10",
        ),
        (
            "SELECT NVL(name, 'z'), NVL2(x, 'some', 'none'), DECODE(id, 3, 'three', 'other') FROM t WHERE id = 3",
            "c,none,three",
        ),
        ("SELECT LISTAGG(name, ',') WITHIN GROUP (ORDER BY id DESC) FROM t", "c,b,a"),
        ("SELECT APPROXIMATE COUNT(DISTINCT name) FROM t", "3"),
        ("SELECT PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY x), MEDIAN(x), STDDEV_SAMP(x) < 1 FROM t", "2.0,2.0,true"),
        ("SELECT id FROM t AS r QUALIFY ROW_NUMBER() OVER (ORDER BY id DESC) = 1", "3"),
        ("SELECT name FROM t WHERE name ILIKE 'A%'", "a"),
        ("SELECT 'x_y' LIKE 'x\\\\_y', 'xay' LIKE 'x\\\\_y', 'abc' ~ 'b', 'abc' !~ 'b'", "true,false,true,false"),
        ("SELECT '12'::int + 1, CAST(1.25 AS NUMERIC(5,1)), 'abcdef'::varchar(3)", "13,1.3,abc"),
        (
            "SELECT LEN('äb'), OCTET_LENGTH('äb'), CHARINDEX('b', 'ab'), CONCAT('a', 'b'), SPLIT_PART('a,b', ',', 2)",
            "2,3,2,ab,b",
        ),
        ("SELECT JSON_EXTRACT_PATH_TEXT('{\"a\": {\"b/c\": 5}}', 'a', 'b/c')", "5"),
        ("SELECT TO_CHAR(at, 'YYYY-MM-DD HH24:MI:SS') FROM t WHERE id = 1", "2026-01-01 10:20:30"),
        ("SELECT RATIO_TO_REPORT(x) OVER () FROM t WHERE id = 1", "1.0"),
        (
            "WITH a AS (SELECT id FROM t), b AS (SELECT id FROM a WHERE id > 1) SELECT SUM(id), COUNT(*), AVG(id) > 2 FROM b",
            "5,2,true",
        ),
        ("SELECT COUNT(*) FROM t a JOIN t b ON a.id = b.id LEFT JOIN t c ON c.id = 99, t d", "9"),
        (
            "SELECT a, b FROM (SELECT 1 AS a, CAST(0.1 AS REAL) AS b UNION ALL SELECT 2, 3) u ORDER BY a LIMIT 1",
            "1,0.1",
        ),
        ("SELECT COUNT(*) FROM t WHERE DATEDIFF(minute, GETDATE(), SYSDATE) = 0 AND CURRENT_DATE > '2020-01-01'", "3"),
        ("SELECT LAG(id) OVER (ORDER BY id), LEAD(id, 1) OVER (ORDER BY id) FROM t ORDER BY 1 DESC LIMIT 1", "null,2"),
        (
            "SELECT at::date, day, INTERVAL '1 day' + day FROM t WHERE id = 1",
            "2026-01-01,2026-01-01,2026-01-02 00:00:00",
        ),
    ];
    for (sql, expected) in cases {
        assert_eq!(world.rows(sql), [expected], "{sql}");
    }
    assert!(world.error("SELECT 1 / 0").to_lowercase().contains("zero"));
    assert!(world.error("SELECT nothing FROM t").contains("column \"nothing\" does not exist"));
    world.all(&[
        "UPDATE t SET x = n.y FROM (SELECT id, LEAD(x) OVER (ORDER BY id) AS y FROM t) n WHERE t.id = n.id",
        "DELETE FROM t USING t u WHERE t.id = u.id AND u.name = 'c'",
    ]);
    assert_eq!(world.rows("SELECT id, x FROM t ORDER BY id"), ["1,2.5", "2,null"]);
    world.all(&["ANALYZE t", "VACUUM t", "TRUNCATE t"]);
    assert_eq!(world.rows("SELECT COUNT(*) FROM t"), ["0"]);
}

#[test]
fn some_statements_are_for_no_transaction() {
    let world = furnished();
    for alone in ["TRUNCATE t", "VACUUM", "ALTER TABLE t ALTER COLUMN name TYPE VARCHAR(50)"] {
        let ended = world.batch(&["SELECT 1".to_owned(), alone.to_owned()]);
        assert!(ended["Error"].as_str().unwrap().contains("cannot run inside a transaction block"), "{ended}");
    }
    let (status, _) = call(&world.warehouse, "ListDatabases", json!({ "WorkgroupName": "w", "Database": "d" }));
    assert_eq!(status, 200);
}

/// The Data API's own limit, of `data-api-troubleshooting`.
#[test]
fn a_row_has_at_most_64_kb() {
    let world = World::new();
    world.all(&["CREATE TABLE t (a VARCHAR(65535), n BIGINT)", "INSERT INTO t VALUES (REPEAT('x', 65528), 1)"]);
    assert_eq!(world.rows("SELECT LEN(a), n FROM t"), ["65528,1"]);
    assert_eq!(world.sql("SELECT a, n FROM t").unwrap().len(), 1);
    let error = world.error("SELECT a, n, n FROM t");
    assert!(error.contains("Packet for query is too large"), "{error}");
}
