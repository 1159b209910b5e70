//! GOAL    `mangrove config` says what is in effect and why, never a secret; `--check` and `--help` do what they say.
//! METHOD  A file, a variable and a flag set one key each; the output is read as TOML and as JSON.

use std::fs;
use std::path::PathBuf;

use mangrove_tests::process::Call;
use tempfile::TempDir;

use crate::mangrove;

const SECRET: &str = "x0xb-3141592653-s3cr3tT0ken";

/// A sound file with a secret in it.
fn file() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mangrove.toml");
    let text = format!(
        "[stream]\nname = \"events\"\n[bucket]\nname = \"lake\"\n[schema]\nuse = \"climate\"\n[epoch]\nage_max = \"20s\"\n\
         [alerts]\nwebhooks = [\"https://user:{SECRET}@hooks.example.org/services/{SECRET}?key={SECRET}\"]\n"
    );
    fs::write(&file, text).unwrap();
    (dir, file)
}

fn config(args: &[&str]) -> Call {
    mangrove(&[&["config"], args].concat()).env("MANGROVE_READER__RECORDS_MAX", "5000")
}

#[test]
fn every_value_has_its_source_and_secrets_stay_secret() {
    let (_dir, file) = file();
    let path = file.to_str().unwrap();
    let toml = config(&["--config", path]).run().ok().stdout;
    let json = config(&["--config", path, "--json"]).run().ok().stdout;
    assert!(!toml.contains(SECRET) && !json.contains(SECRET), "{toml}{json}");
    assert!(toml.contains("hooks.example.org"), "{toml}");
    let line = |key: &str| toml.lines().find(|line| line.starts_with(&format!("{key} = "))).unwrap();
    assert!(line("age_max").contains("\"20s\"") && line("age_max").ends_with(&format!("# from {path}")), "{toml}");
    assert!(line("records_max").ends_with("# from environment MANGROVE_READER__RECORDS_MAX"), "{toml}");
    assert!(line("bytes_max").ends_with("# from default"), "{toml}");
    assert!(toml.lines().filter(|line| line.contains(" = ")).all(|line| line.contains("# from ")), "{toml}");

    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["epoch"]["age_max"], serde_json::json!({ "value": "20s", "source": path }));
    assert_eq!(json["reader"]["records_max"]["value"], 5000);
    assert_eq!(json["reader"]["records_max"]["source"], "environment MANGROVE_READER__RECORDS_MAX");
}

#[test]
fn what_is_shown_loads_again() {
    let (dir, file) = file();
    let plain = fs::read_to_string(&file).unwrap();
    fs::write(&file, plain.split("[alerts]").next().unwrap()).unwrap();
    let toml = config(&["--config", file.to_str().unwrap()]).run().ok().stdout;
    let shown = dir.path().join("shown.toml");
    fs::write(&shown, toml).unwrap();
    let path = shown.to_str().unwrap();
    assert_eq!(mangrove(&["config", "--check", path]).run().ok().stdout, format!("{path}: ok\n"));
}

#[test]
fn the_shipped_file_is_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mangrove.toml");
    let defaults = mangrove(&["config", "--defaults"]).run().ok().stdout;
    fs::write(&file, &defaults).unwrap();
    // Three names have no default, and are asked for.
    let end = mangrove(&["config", "--check", file.to_str().unwrap()]).run();
    assert_eq!((end.status.code(), end.stdout.as_str()), (Some(2), ""), "{}", end.stderr);
    assert!(["stream.name", "bucket.name", "schema.use"].iter().all(|key| end.stderr.contains(key)), "{}", end.stderr);
}

#[test]
fn problems_are_shown_beside_the_values() {
    let end = config(&[]).run();
    assert_eq!(end.status.code(), Some(2));
    assert!(end.stdout.contains("[epoch]") && end.stderr.contains("stream.name"), "{}{}", end.stdout, end.stderr);
}

#[test]
fn every_command_shows_examples() {
    for command in ["demo", "run", "local", "fleet", "config", "tree", "leases"] {
        let help = mangrove(&[command, "--help"]).run().ok().stdout;
        let examples = help.split("Examples:").nth(1).unwrap_or_else(|| panic!("{command} has no example: {help}"));
        assert!(examples.contains(&format!("mangrove {command}")), "{help}");
        // Those of the local cloud are for users; those of a worker are for its tests.
        assert!(command == "local" || !help.contains("--faults"), "{help}");
    }
    let help = mangrove(&["--help"]).run().ok().stdout;
    assert!(help.contains("Examples:") && help.contains("Exit codes:"), "{help}");
    assert!(mangrove(&["--version"]).run().ok().stdout.starts_with("mangrove "));
}
