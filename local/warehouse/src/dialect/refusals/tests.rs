use super::Rule;
use crate::dialect::plan;

/// A rule, a statement that breaks it, and its neighbour that does not.
const CASES: [(Rule, &str, &str); 45] = [
    (
        Rule::SortedBesideDistinct,
        "SELECT COUNT(DISTINCT a), MEDIAN(b) FROM t",
        "SELECT COUNT(DISTINCT a), APPROXIMATE PERCENTILE_DISC(0.5) WITHIN GROUP (ORDER BY b) FROM t",
    ),
    (
        Rule::SortedBesideDistinct,
        "SELECT LISTAGG(DISTINCT a) AS l, COUNT(DISTINCT b) FROM t",
        "SELECT LISTAGG(DISTINCT a) AS l, COUNT(b), SUM(c) FROM t",
    ),
    (
        Rule::SortedBesideDistinct,
        "SELECT MEDIAN(b) FROM t HAVING COUNT(DISTINCT a) > 1",
        "SELECT MEDIAN(b) FROM t WHERE a IN (SELECT COUNT(DISTINCT a) FROM u)",
    ),
    (Rule::TwoOrders, "SELECT MEDIAN(a), MEDIAN(b) FROM t", "SELECT MEDIAN(a), 2 * MEDIAN(\"A\"), MAX(b) FROM t"),
    (
        Rule::TwoOrders,
        "SELECT PERCENTILE_CONT(0.6) WITHIN GROUP (ORDER BY a), MEDIAN(b) FROM t",
        "SELECT PERCENTILE_CONT(0.6) WITHIN GROUP (ORDER BY a), MEDIAN(a) FROM t",
    ),
    (
        Rule::TwoOrders,
        "SELECT LISTAGG(a) WITHIN GROUP (ORDER BY b) AS l, LISTAGG(b) WITHIN GROUP (ORDER BY a) AS m FROM t",
        "SELECT LISTAGG(a) WITHIN GROUP (ORDER BY b) AS l, LISTAGG(b) AS m FROM t",
    ),
    (
        Rule::Frame,
        "SELECT SUM(n) OVER (PARTITION BY a ORDER BY b) FROM t",
        "SELECT SUM(n) OVER (PARTITION BY a ORDER BY b ROWS UNBOUNDED PRECEDING), SUM(n) OVER (PARTITION BY a) FROM t",
    ),
    (
        Rule::Frame,
        "SELECT LAST_VALUE(s) OVER (ORDER BY b) FROM t",
        "SELECT LAST_VALUE(s) OVER (ORDER BY b ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) FROM t",
    ),
    (
        Rule::Frame,
        "SELECT NTH_VALUE(s, 2) OVER (ORDER BY b) FROM t",
        "SELECT ROW_NUMBER() OVER (ORDER BY b), LAG(s) OVER (ORDER BY b), NTILE(4) OVER (ORDER BY b) FROM t",
    ),
    (
        Rule::DistinctWindow,
        "SELECT COUNT(DISTINCT a) OVER (PARTITION BY b) FROM t",
        "SELECT COUNT(a) OVER (PARTITION BY b), LISTAGG(DISTINCT a) OVER (PARTITION BY b) AS l FROM t",
    ),
    (
        Rule::NoEquality,
        "UPDATE t SET a = 1 FROM g WHERE g.ok = 1",
        "UPDATE t SET a = 1 FROM g WHERE g.ok = 1 AND (t.id = g.id AND t.b > 5)",
    ),
    (Rule::NoEquality, "UPDATE t SET a = 1 FROM g", "UPDATE t SET a = 1 WHERE b = 5"),
    (
        Rule::NoEquality,
        "UPDATE s.t SET a = 1 FROM g WHERE t.id = 5 OR t.id = g.id",
        "UPDATE s.t SET a = 1 FROM g WHERE NVL(g.id, 0) = NVL(t.id, 0)",
    ),
    (
        Rule::NoEquality,
        "UPDATE t AS x SET a = 1 FROM g WHERE x.id = x.a",
        "UPDATE t AS x SET a = 1 FROM t y WHERE x.id = y.id",
    ),
    (Rule::NoEquality, "DELETE FROM t USING g WHERE g.ok = 1", "DELETE FROM t USING g WHERE t.id = g.id"),
    (Rule::NoEquality, "DELETE FROM t USING g WHERE t.id < g.id", "DELETE FROM t WHERE (SELECT COUNT(*) FROM g) = 1"),
    (
        Rule::CorrelatedJoin,
        "SELECT 1 FROM c LEFT JOIN e ON c.id = e.id AND e.x = (SELECT MAX(s.x) FROM s WHERE s.id = e.id)",
        "SELECT 1 FROM c LEFT JOIN e ON c.id = e.id AND e.x = (SELECT MAX(s.x) FROM s)",
    ),
    (
        Rule::CorrelatedJoin,
        "SELECT 1 FROM c FULL JOIN e ON EXISTS (SELECT 1 FROM s WHERE s.id = c.id)",
        "SELECT 1 FROM c JOIN e ON EXISTS (SELECT 1 FROM s WHERE s.id = c.id)",
    ),
    (
        Rule::SkippedBlock,
        "SELECT e.n FROM e WHERE NOT EXISTS (SELECT 1 FROM l WHERE NOT EXISTS (SELECT 1 FROM s WHERE e.id = s.id))",
        "SELECT e.n FROM e WHERE NOT EXISTS (SELECT 1 FROM l WHERE l.x = e.x AND NOT EXISTS (SELECT 1 FROM s WHERE l.id = s.id))",
    ),
    (
        Rule::SkippedBlock,
        "DELETE FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.a IN (SELECT v.a FROM v WHERE v.b = t.b))",
        "DELETE FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.b = t.b AND u.a IN (SELECT v.a FROM v))",
    ),
    (
        Rule::CorrelatedGroup,
        "SELECT l.id, (SELECT COUNT(*) FROM s WHERE s.id = l.id) AS n FROM l GROUP BY n, l.id",
        "SELECT l.id, (SELECT COUNT(*) FROM s) AS n FROM l GROUP BY n, l.id",
    ),
    (
        Rule::CorrelatedGroup,
        "SELECT (SELECT COUNT(*) FROM s WHERE s.id = l.id) AS n FROM l GROUP BY 1",
        "SELECT l.id, (SELECT COUNT(*) FROM s WHERE s.id = l.id) AS n FROM l GROUP BY 1",
    ),
    (Rule::NamelessTable, "SELECT a FROM (SELECT a FROM t)", "SELECT a FROM (SELECT a FROM t) x"),
    (
        Rule::NamelessTable,
        "SELECT 1 FROM t JOIN (SELECT a FROM u) ON a = b",
        "SELECT 1 FROM t WHERE a IN (SELECT a FROM u)",
    ),
    (Rule::Reserved, "SELECT tag FROM t", "SELECT \"tag\" FROM t"),
    (Rule::Reserved, "SELECT a AS open FROM t", "SELECT a AS \"open\", LEFT(b, 2), SYSDATE, CURRENT_DATE FROM t"),
    (Rule::Reserved, "SELECT a FROM t new", "SELECT a FROM t AS newer"),
    (Rule::Reserved, "CREATE TABLE t (raw INT)", "CREATE TABLE t (\"raw\" INT)"),
    (Rule::Reserved, "INSERT INTO t (offset) VALUES (1)", "INSERT INTO t (\"offset\") VALUES (1)"),
    (
        Rule::Reserved,
        "COPY t (tag) FROM 's3://b/k' IAM_ROLE DEFAULT PARQUET",
        "COPY t (\"tag\") FROM 's3://b/k' IAM_ROLE DEFAULT PARQUET",
    ),
    (
        Rule::LongInterval,
        "SELECT DATEADD(microsecond, CAST(a AS BIGINT) * 5, b) FROM t",
        "SELECT DATEADD(microsecond, CAST(CAST(a AS BIGINT) % 5 AS INTEGER), b) FROM t",
    ),
    (Rule::LongInterval, "SELECT DATEADD(ms, -2147483648, a) FROM t", "SELECT DATEADD(ms, -2147483647, a) FROM t"),
    (Rule::LeaderOnly, "SELECT 1 FROM t WHERE a = VERSION()", "SELECT VERSION()"),
    (Rule::LongText, "SELECT REPEAT('x', 65536)", "SELECT REPEAT('x', 65535)"),
    (Rule::Encoding, "CREATE TABLE t (a INT, b VARCHAR(9) NOT NULL ENCODE AZ64)", "CREATE TABLE t (a INT ENCODE AZ64)"),
    (Rule::Encoding, "CREATE TABLE t (a BOOLEAN ENCODE DELTA)", "CREATE TABLE t (a NUMERIC(9, 2) ENCODE DELTA)"),
    (Rule::Encoding, "CREATE TABLE t (a SMALLINT ENCODE DELTA32K)", "CREATE TABLE t (a DATE ENCODE DELTA32K)"),
    (Rule::Encoding, "CREATE TABLE t (a REAL ENCODE LZO)", "CREATE TABLE t (a SUPER ENCODE LZO)"),
    (Rule::Encoding, "CREATE TABLE t (a SMALLINT ENCODE MOSTLY16)", "CREATE TABLE t (a SMALLINT ENCODE MOSTLY8)"),
    (Rule::Encoding, "CREATE TABLE t (a INT ENCODE MOSTLY32)", "CREATE TABLE t (a BIGINT ENCODE MOSTLY32)"),
    (Rule::Encoding, "ALTER TABLE t ADD COLUMN a INT ENCODE TEXT255", "ALTER TABLE t ADD COLUMN a TEXT ENCODE TEXT255"),
    (Rule::Encoding, "CREATE TABLE t (a BOOL ENCODE BYTEDICT)", "CREATE TABLE t (a BOOL ENCODE RUNLENGTH)"),
    (Rule::DefaultType, "CREATE TABLE t (a VARCHAR(10) DEFAULT 5)", "CREATE TABLE t (a VARCHAR(10) DEFAULT '5')"),
    (
        Rule::DefaultType,
        "ALTER TABLE t ADD COLUMN a BOOLEAN DEFAULT (0)",
        "ALTER TABLE t ADD COLUMN a BOOLEAN DEFAULT FALSE",
    ),
    (
        Rule::DefaultType,
        "CREATE TABLE t (a TIMESTAMP DEFAULT -1)",
        "CREATE TABLE t (a TIMESTAMP DEFAULT GETDATE(), b REAL DEFAULT -1)",
    ),
];

#[test]
fn what_redshift_refuses_is_refused_and_its_neighbour_is_not() {
    for (rule, refused, accepted) in CASES {
        let (page, words) = rule.row();
        let error = plan(refused).expect_err(refused).0;
        let begins = words.split("{}").next().unwrap_or_default();
        assert!(error.contains(begins) && error.ends_with(&format!("(Redshift: {page})")), "{refused}: {error}");
        assert!(plan(accepted).is_ok(), "{accepted}: {:?}", plan(accepted));
    }
}
