//! GOAL    An analyst and whoever loads by hand get by with the commands: a question about every month of recorded data
//!         is answered as the file answers it, and an epoch that the warehouse refuses is shown, and loaded once it is
//!         mended (WAREHOUSE, LEDGER).
//! METHOD  `mangrove demo --replay`, then `mangrove local` over its folder, and `mangrove sql` and `mangrove load` beside
//!         it. The answer is held against the file, read here.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use mangrove_tests::lake::Lake;
use mangrove_tests::process::{Process, put_object, turn};
use serde_json::Value;

use crate::mangrove;

const STATION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/beijing-air/Dingling.csv.gz");

/// Readings, readings with a value, and their sum.
type Month = (u64, u64, f64);

fn months_in_file() -> BTreeMap<i32, Month> {
    // No cell of these files has a comma in it.
    let cells = |line: &str| -> Vec<String> { line.split(',').map(|cell| cell.trim_matches('"').to_owned()).collect() };
    let mut lines = BufReader::new(MultiGzDecoder::new(fs::File::open(STATION).unwrap())).lines().map(Result::unwrap);
    let headers = cells(&lines.next().unwrap());
    let at = |name: &str| headers.iter().position(|header| header == name).unwrap();
    let (year, month, pm25) = (at("year"), at("month"), at("PM2.5"));
    let mut months: BTreeMap<i32, Month> = BTreeMap::new();
    for line in lines {
        let row = cells(&line);
        let month = row[year].parse::<i32>().unwrap() * 100 + row[month].parse::<i32>().unwrap();
        let (n, measured, total) = months.entry(month).or_default();
        *n += 1;
        if let Ok(value) = row[pm25].parse::<f64>() {
            (*measured, *total) = (*measured + 1, *total + value);
        }
    }
    months
}

fn local(data: &Path) -> (Process, String) {
    let mut local = mangrove(&["local", "--bind", "127.0.0.1:0", "--data-dir", &data.display().to_string()]).start();
    let url = local.printed("local cloud at ").split(',').next().unwrap().to_owned();
    local.printed("Ctrl-C stops it");
    (local, url)
}

fn rows(url: &str, sql: &str) -> Vec<Value> {
    let end = mangrove(&["sql", "--json", "--endpoint-url", url, sql]).run().ok();
    end.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_question_about_every_month_is_answered_as_the_file_answers_it() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().display().to_string();
    let demo = ["demo", "--replay", STATION, "--schema", "air-quality", "--ops-port", "0", "--json", "--data-dir"];
    let report = mangrove(&[demo.as_slice(), &[&folder]].concat()).run().ok().json();
    let expected = months_in_file();
    let readings: u64 = expected.values().map(|month| month.0).sum();
    assert_eq!(report["warehouse_rows"]["sensor_readings"], readings, "{report}");

    let (local, url) = local(dir.path());
    assert!(rows(&url, "\\d").iter().any(|row| row["table_name"] == "sensor_readings"));
    assert!(rows(&url, "\\d metadata_versions").iter().any(|row| row["column_name"] == "number"));
    let sql = "SELECT CAST(EXTRACT(year FROM event_time) * 100 + EXTRACT(month FROM event_time) AS INTEGER) AS month, \
               COUNT(*) AS n, COUNT(pm25) AS measured, SUM(CAST(pm25 AS DOUBLE PRECISION)) AS total \
               FROM mangrove.sensor_readings GROUP BY 1 ORDER BY 1";
    let found = rows(&url, sql);
    assert_eq!(found.len(), expected.len());
    for (row, (month, (n, measured, total))) in found.iter().zip(&expected) {
        assert_eq!((&row["month"], &row["n"], &row["measured"]), (&(*month).into(), &(*n).into(), &(*measured).into()));
        let sum = row["total"].as_f64().unwrap();
        assert!((sum - total).abs() <= 1e-9 * total.abs(), "{row} is not {total}");
    }
    println!("{readings} readings of {} months", found.len());
    local.signal("TERM");
    local.end().ok();
}

#[test]
fn an_epoch_that_is_refused_is_shown_and_loaded_once_it_is_mended() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (cloud, url) = {
        let args = ["local", "--bind", "127.0.0.1:0", "--stream", "events", "--shards", "1", "--bucket", "lake"];
        let mut cloud = mangrove(&[args.as_slice(), &["--data-dir", &path("cloud")]].concat()).start();
        let url = cloud.printed("local cloud at ").split(',').next().unwrap().to_owned();
        cloud.printed("Ctrl-C stops it");
        (cloud, url)
    };
    let config = "stream.name = \"events\"\nbucket.name = \"lake\"\nschema.use = \"climate\"\nops.bind = \"127.0.0.1:0\"\n\
                  epoch.age_max = \"300ms\"\nwarehouse.workgroup = \"local\"\n";
    fs::write(path("mangrove.toml"), format!("{config}aws.endpoint_url = {url:?}\n")).unwrap();
    let worker = mangrove(&["run", "--config", &path("mangrove.toml"), "--worker-id", "a"]).start();
    let fleet = ["fleet", "--endpoint-url", &url, "--stream", "events", "--for", "2s", "--rate", "1000", "--ledger"];
    mangrove(&[fleet.as_slice(), &[&path("ledger.jsonl")]].concat()).run().ok();
    worker.signal("TERM");
    worker.end().ok();

    let bucket = dir.path().join("cloud/s3/lake");
    let lake = Lake::read(&bucket);
    let files = lake.files("cleansed", ".parquet");
    let broken = &files[files.len() / 2];
    let was = fs::read(broken).unwrap();
    let target = format!("/lake/{}", broken.strip_prefix(&bucket).unwrap().display());
    put_object(&url, &target, &vec![0; was.len()]);
    let load = |what: &str| {
        let load = mangrove(&["load", what, "--json", "--config", &path("mangrove.toml")]);
        let end =
            load.env("MANGROVE_WAREHOUSE__ENABLED", "true").env("MANGROVE_WAREHOUSE__ATTEMPTS_MAX", "1").run().ok();
        end.json()
    };
    let readings = |url: &str| rows(url, "SELECT COUNT(*) AS n FROM mangrove.sensor_readings")[0]["n"].as_u64();
    let (epochs, all) = (lake.manifests().len() as u64, lake.promised("clean"));
    let refused = |status: &Value| status["refused"].as_array().unwrap().len();

    assert_eq!(load("--once")["epochs"], epochs - 1);
    let status = load("--status");
    assert_eq!((refused(&status), &status["shards"][0]["loaded"]), (1, &(epochs - 1).into()), "{status}");
    assert!(readings(&url) < Some(all));
    assert_eq!(load("--retry")["refused"], 1, "it is as broken as before");
    put_object(&url, &target, &was);
    assert_eq!(load("--retry")["loaded"], 1);
    assert_eq!(refused(&load("--status")), 0);
    assert_eq!(readings(&url), Some(all));
    cloud.signal("TERM");
    cloud.end().ok();
}
