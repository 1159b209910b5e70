use super::print::{field, printable};
use super::split::{statements, whole};

#[test]
fn a_statement_ends_at_its_semicolon() {
    let text = "SELECT ';' , \"a;b\" -- no; end\n; /* ; /* ; */ */ SELECT 'it''s \\'; x';\n;; -- only this\n";
    let expected = ["SELECT ';' , \"a;b\" -- no; end", "/* ; /* ; */ */ SELECT 'it''s \\'; x'"];
    assert_eq!(statements(text), expected);
    assert_eq!(statements("SELECT 1; SELECT ü 'open; "), ["SELECT 1", "SELECT ü 'open;"]);
    assert_eq!(whole("SELECT 1; SELECT"), (vec!["SELECT 1".to_owned()], " SELECT"));
    assert!(statements(" \n-- nothing").is_empty());
}

#[test]
fn fields_are_read_back_and_terminals_are_not_commanded() {
    assert_eq!([field("a"), field(""), field("a,\"b\"\n")], ["a", "\"\"", "\"a,\"\"b\"\"\n\""]);
    assert_eq!(printable("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
}
