//! GOAL    No text of a client's leaves its place: not as a literal, not as a name, not as a file.

use crate::World;

#[test]
fn a_text_comes_back_as_it_was() {
    let world = World::new();
    world.all(&["CREATE TABLE t (a VARCHAR(500))"]);
    let texts = [
        "'",
        "''",
        "\\",
        "\\\\'",
        "'; DROP TABLE t; --",
        "-- x",
        "/* x */",
        "two\nlines\r\n",
        "$1 ? :name",
        "ünï 🌱",
        "%_",
        "\u{1}",
        "\"",
        "$$x$$",
        "{}[]",
        "x'; SELECT * FROM read_text('/etc/passwd'); '",
    ];
    for text in texts {
        let literal = format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"));
        assert_eq!(world.rows(&format!("SELECT {literal}")), [text]);
        world.all(&["DELETE FROM t", &format!("INSERT INTO t VALUES ({literal})")]);
        assert_eq!(world.rows(&format!("SELECT a FROM t WHERE a = {literal}")), [text]);
        world.all(&[&format!("COMMENT ON TABLE t IS {literal}")]);
        assert_eq!(world.rows("SELECT remarks FROM information_schema.tables"), [text]);
    }
    assert!(world.error("SELECT 'a\0b'").contains("0x00"));
    let names = ["select", "a b", "a'b", "a;b", "--", "ä", "1", "c0", "source", "rowid", "x)y"];
    for name in names {
        world.all(&[&format!("CREATE TABLE n (\"{name}\" VARCHAR(5))"), "INSERT INTO n VALUES ('v')"]);
        assert_eq!(world.rows(&format!("SELECT \"{name}\" FROM n")), ["v"], "{name}");
        world.all(&["DROP TABLE n"]);
    }
}

#[test]
fn no_file_is_read_or_written() {
    let world = World::new();
    let secret = world.dir.path().join("secret.csv");
    std::fs::write(&secret, "a\n1\n").unwrap();
    let path = secret.display().to_string();
    for statement in [
        format!("SELECT * FROM '{path}'"),
        format!("SELECT * FROM \"{path}\""),
        format!("SELECT * FROM read_csv('{path}')"),
        format!("COPY (SELECT 1) TO '{path}'"),
        format!("COPY t FROM '{path}' IAM_ROLE DEFAULT FORMAT JSON"),
        format!("ATTACH '{path}'"),
        format!("CREATE TABLE t AS SELECT * FROM \"{path}\""),
        "SET enable_external_access = true".to_owned(),
        "SELECT * FROM duckdb_settings()".to_owned(),
        "SELECT * FROM redshift_catalog.texts".to_owned(),
    ] {
        assert!(world.error(&statement).starts_with("ERROR: "), "{statement}");
    }
    for key in ["../secret.csv", "..", "a/../../secret.csv", "/etc/passwd", "a//b"] {
        let error = world.error(&format!("COPY t FROM 's3://lake/{key}' IAM_ROLE DEFAULT FORMAT JSON"));
        assert!(error.starts_with("ERROR: "), "{error}");
    }
}

#[test]
fn the_deepest_statement_costs_itself_only() {
    let world = World::new();
    for piece in ["1+", "1 OR ", "NOT ", "(", "- ", "CASE WHEN ", "1 UNION SELECT ", "'a'||"] {
        for n in [500, 9_000] {
            let statement = format!("SELECT {}1", piece.repeat(n));
            if statement.len() < 100_000 {
                // Whether it is answered or refused: the next one is answered.
                let _ = world.sql(&statement);
            }
        }
    }
    assert_eq!(world.rows("SELECT 1"), ["1"]);
}
