//! GOAL    What cannot work is refused at once: one message that names the key and what to do, the documented exit
//!         code, nothing on stdout, no backtrace.
//! METHOD  One mistake, or several, in a command that would work otherwise.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use mangrove_tests::process::{Call, turn};
use tempfile::TempDir;

use crate::mangrove;

const USAGE: i32 = 2;
const ENVIRONMENT: i32 = 3;
const WITHIN: Duration = Duration::from_secs(15);
const COMPLETE: &str =
    "stream.name = \"events\"\nbucket.name = \"lake\"\nschema.use = \"climate\"\nops.bind = \"127.0.0.1:0\"\n";

/// A folder with a configuration file.
struct Folder {
    dir: TempDir,
}

impl Folder {
    fn with(config: &str) -> Self {
        let folder = Self { dir: tempfile::tempdir().unwrap() };
        folder.write("mangrove.toml", config);
        folder
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn run(&self, args: &[&str]) -> Call {
        mangrove(&[&["run", "--config", &self.text("mangrove.toml")], args].concat())
    }

    fn demo(&self, args: &[&str]) -> Call {
        mangrove(&[&["demo", "--for", "2s", "--json", "--data-dir", &self.text("data")], args].concat())
    }
}

/// The message has one line for each of these, which holds all parts.
#[track_caller]
fn refused(call: Call, code: i32, lines: &[&[&str]]) {
    let end = call.run();
    let stderr = &end.stderr;
    assert_eq!((end.status.code(), end.stdout.as_str()), (Some(code), ""), "{stderr}");
    assert!(end.after < WITHIN, "only after {:?}: {stderr}", end.after);
    assert_eq!(stderr.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{stderr}");
    for sign in ["panicked", "backtrace", "RUST_BACKTRACE", " WARN ", " ERROR ", "SdkBody", "{ "] {
        assert!(!stderr.contains(sign), "{sign:?} in {stderr}");
    }
    for parts in lines {
        let found = stderr.lines().any(|line| parts.iter().all(|part| line.contains(part)));
        assert!(found, "no line with {parts:?} in {stderr}");
    }
    assert!(stderr.lines().all(|line| line.len() < 400), "{stderr}");
}

/// A port of loopback that nobody listens on.
fn closed() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn unknown_key() {
    let folder = Folder::with(&format!("{COMPLETE}epoch.age_mx = \"10s\"\n"));
    let file = folder.text("mangrove.toml");
    refused(folder.run(&[]), USAGE, &[&["has 1 problem:"], &[&file, "epoch.age_mx: ", "did you mean age_max?"]]);
}

#[test]
fn wrong_type() {
    let folder = Folder::with(&format!("{COMPLETE}reader.records_max = \"many\"\n"));
    refused(
        folder.run(&[]),
        USAGE,
        &[&["has 1 problem:"], &["reader.records_max: must be a whole number", "\"many\""]],
    );
}

#[test]
fn several_problems_at_once() {
    let folder =
        Folder::with("epochs.age_max = \"10s\"\nepoch.bytes_max = true\nlog.level = 7\nbucket.name = \"Lake!\"\n");
    let call = folder.run(&[]).env("MANGROVE_SINKS__UPLOADS_MAX", "eight");
    let lines: &[&[&str]] = &[
        &["problems:"],
        &["epochs: ", "did you mean [epoch]?"],
        &["epoch.bytes_max: ", "such as \"32MiB\""],
        &["log.level: "],
        &["bucket.name: "],
        &["stream.name: "],
        &["schema.use: "],
        &["environment MANGROVE_SINKS__UPLOADS_MAX: sinks.uploads_max: "],
    ];
    refused(call, USAGE, lines);
}

#[test]
fn not_toml() {
    refused(Folder::with("[epoch\nage_max = 3").run(&[]), USAGE, &[&["mangrove.toml: is not TOML: line 1: "]]);
}

#[test]
fn bad_schema_file() {
    let folder = Folder::with(&COMPLETE.replace("schema.use = \"climate\"", "schema.file = \"mine.toml\""));
    folder.write(
        "mine.toml",
        "name = \"mine\"\n[sensor_id]\npath = \"\"\n[time]\npath = \"t\"\nformat = \"iso\"\n[[fields]]\nname = \"x\"\n",
    );
    let lines: &[&[&str]] = &[
        &["problems:"],
        &["mine.toml: sensor_id.path: "],
        &["mine.toml: time.format: ", "rfc3339"],
        &["mine.toml: fields["],
    ];
    refused(folder.run(&[]), USAGE, lines);
    let schema = folder.text("mine.toml");
    refused(folder.demo(&["--ops-port", "0", "--schema", &schema]), USAGE, lines);
}

#[test]
fn missing_files() {
    let folder = Folder::with(COMPLETE);
    let missing = folder.text("missing.toml");
    refused(mangrove(&["run", "--config", &missing]), USAGE, &[&[&missing, "No such file"]]);
    refused(folder.demo(&["--ops-port", "0", "--config", &missing]), USAGE, &[&[&missing, "No such file"]]);
    refused(folder.demo(&["--ops-port", "0", "--schema", &missing]), USAGE, &[&["--schema", &missing, "No such file"]]);
    let replay = ["--ops-port", "0", "--schema", "air-quality", "--replay", "/nowhere/*.csv", "--data-dir"];
    let call = mangrove(&[&["demo"], replay.as_slice(), &[&folder.text("data")]].concat());
    refused(call, USAGE, &[&["no file matches `/nowhere/*.csv`"]]);
}

#[test]
fn unreachable_endpoint() {
    let (folder, url) = (Folder::with(COMPLETE), closed());
    // A worker waits for its services (`waiting.rs`); who produces or asks does not.
    let ledger = folder.text("ledger.jsonl");
    let fleet = mangrove(&["fleet", "--endpoint-url", &url, "--stream", "events", "--ledger", &ledger]);
    refused(fleet, ENVIRONMENT, &[&["\"events\"", "Connection refused", "--endpoint-url"]]);
    refused(mangrove(&["tree", "--ops", &url]), ENVIRONMENT, &[&["no answer from", "--ops"]]);
}

#[test]
fn missing_stream_bucket_and_folder_in_use() {
    let _turn = turn();
    let folder = Folder::with(COMPLETE);
    let data = folder.text("data");
    let mut local = mangrove(&["local", "--bind", "127.0.0.1:0", "--data-dir", &data, "--bucket", "lake"]).start();
    let url = local.printed("local cloud at ").split(',').next().unwrap().to_owned();
    let no_stream: &[&[&str]] = &[&["stream.name: ", "\"events\"", "Create the stream"]];
    refused(folder.run(&["--endpoint-url", &url]), ENVIRONMENT, no_stream);
    let in_use: &[&[&str]] = &[&[&data, "in use by process", "choose another data folder"]];
    refused(folder.demo(&["--ops-port", "0"]), ENVIRONMENT, in_use);
    refused(mangrove(&["local", "--bind", "127.0.0.1:0", "--data-dir", &data]), ENVIRONMENT, in_use);
    local.signal("TERM");
    local.end().ok();

    let args = ["local", "--bind", "127.0.0.1:0", "--data-dir", &data, "--stream", "events", "--bucket", "another"];
    let mut local = mangrove(&args).start();
    let url = local.printed("local cloud at ").split(',').next().unwrap().to_owned();
    folder.write("mangrove.toml", &COMPLETE.replace("\"lake\"", "\"no-lake\""));
    let no_bucket: &[&[&str]] = &[&["bucket.name: ", "\"no-lake\"", "Create the bucket"]];
    refused(folder.run(&["--endpoint-url", &url]), ENVIRONMENT, no_bucket);
}

#[test]
fn ports_in_use() {
    let folder = Folder::with(COMPLETE);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let port = address.port().to_string();
    let lines: &[&[&str]] = &[&["ops.bind", &port, "in use", "0 for a free one"]];
    refused(folder.demo(&["--ops-port", &port]), ENVIRONMENT, lines);
    folder.write("mangrove.toml", &COMPLETE.replace("127.0.0.1:0", &address.to_string()));
    refused(folder.run(&["--endpoint-url", &closed()]), ENVIRONMENT, lines);
    let local = mangrove(&["local", "--bind", &address.to_string(), "--data-dir", &folder.text("data")]);
    refused(local, ENVIRONMENT, &[&[&port, "already in use", "port 0"]]);
}

#[test]
fn unwritable_data_folder() {
    let folder = Folder::with(COMPLETE);
    folder.write("data", "a file");
    refused(folder.demo(&["--ops-port", "0"]), ENVIRONMENT, &[&[&folder.text("data"), "choose another data folder"]]);
    let below = folder.path("data/below").display().to_string();
    let local = mangrove(&["local", "--bind", "127.0.0.1:0", "--data-dir", &below]);
    refused(local, ENVIRONMENT, &[&[&below, "choose another data folder"]]);
}

#[test]
fn bad_flags() {
    let folder = Folder::with(COMPLETE);
    let at_all: [(&[&str], &[&str]); 8] = [
        (&["demo", "--for", "never"], &["--for", "30s"]),
        (&["demo", "--rate", "-5"], &["--rate", "above zero"]),
        (&["demo", "--shards", "0"], &["--shards", "1..=1000"]),
        (&["demo", "--sensor", "5"], &["--sensor"]),
        (&["demo", "--replay", "*.csv"], &["required"]),
        (&["demo", "--replay", "*.csv", "--schema", "clim", "--data-dir", "/nowhere"], &["`clim`", "air-quality"]),
        (&["run"], &["required"]),
        (&["dem"], &["dem"]),
    ];
    for (args, parts) in at_all {
        refused(mangrove(args), USAGE, &[parts]);
    }
    refused(folder.run(&["--faults", "nowhere=abort"]), USAGE, &[&["MANGROVE_FAULTS", "nowhere=abort"]]);
    let not_loopback = mangrove(&["local", "--bind", "0.0.0.0:0", "--data-dir", &folder.text("data")]);
    refused(not_loopback, ENVIRONMENT, &[&["0.0.0.0:0", "bind 127.0.0.1"]]);
}
