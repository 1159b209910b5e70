//! The bill, against sums made by hand.

use super::{Bill, Prices, Workload, bill, hints};
use crate::config::{Config, Sources};

fn config(keys: &[(&'static str, &str)]) -> Config {
    with_warehouse(keys, false)
}

fn with_warehouse(keys: &[(&'static str, &str)], enabled: bool) -> Config {
    let names = [("stream.name", "events"), ("bucket.name", "lake"), ("schema.use", "climate"), ("worker.id", "w")];
    let sources =
        names.iter().chain(keys).fold(Sources::default(), |all, (key, value)| all.preset("test", key, *value));
    Config::load(&sources.preset("test", "warehouse.enabled", enabled)).unwrap().config
}

/// A million events a minute.
fn load() -> Workload {
    Workload {
        events_per_second: 16_700.0,
        event_bytes: 200.0,
        events_per_record: 100.0,
        shards: 20,
        sensors: 100_000,
        workers: 2,
        retention_hours: 72,
        events_per_alert: 10_000.0,
    }
}

fn usd(bill: &Bill, name: &str) -> f64 {
    bill.items.iter().find(|item| item.name == name).map_or(0.0, |item| item.usd_month)
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 0.01 * b.abs() + 0.01
}

#[test]
fn the_items_are_what_the_prices_say() {
    let bill = bill(&load(), &config(&[("epoch.age_max", "10s")]), &Prices::shipped());
    // 20 shards, 720 hours.
    assert!(close(usd(&bill, "Kinesis: shards"), 20.0 * 720.0 * 0.015), "{bill:?}");
    assert!(close(usd(&bill, "Kinesis: retention beyond a day"), 20.0 * 720.0 * 0.02), "{bill:?}");
    // 259,200 epochs a shard, 6.5 objects each.
    assert!(close(usd(&bill, "S3: PUT"), 20.0 * 259_200.0 * 6.5 / 1_000.0 * 0.005), "{bill:?}");
    assert!(close(usd(&bill, "DynamoDB: epochs"), 20.0 * 259_200.0 * 4.0 / 1e6 * 0.625), "{bill:?}");
    assert!(close(usd(&bill, "DynamoDB: heartbeats"), 2.0 * 2_592_000.0 / 1e6 * 0.625), "{bill:?}");
    assert_eq!(bill.epoch_s, 10.0);
    let sum: f64 = bill.items.iter().map(|item| item.usd_month).sum();
    assert!(close(bill.total_usd_month, sum) && bill.accumulates_usd_month < sum, "{bill:?}");
    assert!(bill.items.is_sorted_by(|a, b| a.usd_month >= b.usd_month), "{bill:?}");
    assert_eq!(bill.prices_of, Prices::shipped().as_of);
}

#[test]
fn longer_epochs_cost_less_until_bytes_end_them() {
    let at = |age: &str, load: &Workload| bill(load, &config(&[("epoch.age_max", age)]), &Prices::shipped());
    let (ten, minute) = (at("10s", &load()), at("60s", &load()));
    assert!(close(usd(&ten, "S3: PUT"), 6.0 * usd(&minute, "S3: PUT")));
    assert!(usd(&minute, "S3: storage of states") < usd(&ten, "S3: storage of states"));
    assert!(minute.total_usd_month < 1_000.0, "a million events a minute: {minute:#?}");
    // 32 MiB at 4 MB/s.
    let fast = Workload { events_per_second: 400_000.0, ..load() };
    assert!(close(at("10m", &fast).epoch_s, f64::from(32 << 20) / 4e6));
    // A shard with a record every ten minutes has an epoch for each.
    let slow = Workload { events_per_second: 20.0 / 600.0, ..load() };
    assert!(close(usd(&at("10s", &slow), "S3: PUT"), 20.0 * 4_320.0 * 6.5 / 1_000.0 * 0.005));
}

#[test]
fn what_is_configured_is_on_the_bill_and_nothing_else() {
    let plain = bill(&load(), &config(&[]), &Prices::shipped());
    for name in ["Redshift Serverless", "KMS", "SNS"] {
        assert_eq!(usd(&plain, name), 0.0, "{name}: {plain:?}");
    }
    let keys = [("bucket.encryption", "aws:kms"), ("warehouse.workgroup", "iot"), ("warehouse.load_interval", "60s")];
    let all = bill(&load(), &with_warehouse(&keys, true), &Prices::shipped());
    assert!(close(usd(&all, "Redshift Serverless"), 720.0 * 8.0 * 0.375), "awake all month: {all:?}");
    assert!(usd(&all, "KMS") > 50.0, "{all:?}");
    let hints = hints(&with_warehouse(&keys, true), &Prices::shipped());
    for key in ["epoch.age_max", "bucket.kms_bucket_key", "warehouse.load_interval"] {
        assert!(hints.iter().any(|hint| hint.contains(key)), "{key}: {hints:?}");
    }
    let thrifty = [("epoch.age_max", "60s"), ("bucket.encryption", "AES256")];
    assert_eq!(super::hints(&config(&thrifty), &Prices::shipped()), [""; 0]);
}

#[test]
fn a_load_that_its_shards_do_not_take_is_told() {
    let notes = |load: Workload| bill(&load, &config(&[]), &Prices::shipped()).notes;
    assert_eq!(notes(load()), [""; 0]);
    assert!(notes(Workload { events_per_record: 0.5, ..load() })[0].contains("it needs 34"), "by records");
    assert!(notes(Workload { shards: 3, ..load() })[0].contains("it needs 4"), "by bytes");
}

#[test]
fn a_table_of_prices_says_what_is_wrong_with_it() {
    let error = Prices::parse("as_of = 'now'\n").unwrap_err().to_string();
    assert!(error.contains("region"), "{error}");
}

/// The part of `docs/cost.md` that is computed: `UPDATE=1` writes it.
#[test]
fn the_page_has_the_worked_examples() {
    let rows = [(1.0_f64, 20, 100_000), (10.0, 200, 1_000_000), (100.0, 2_000, 10_000_000)].map(
        |(millions, shards, sensors)| {
            let events_per_second = millions * 1e6 / 60.0;
            let workers = (events_per_second / 40_000.0).ceil().max(f64::from(shards) / 50.0).max(2.0) as u32;
            let load = Workload { events_per_second, shards, sensors, workers, ..load() };
            let [shipped, minute] =
                ["10s", "60s"].map(|age| bill(&load, &config(&[("epoch.age_max", age)]), &Prices::shipped()));
            let first: Vec<String> =
                minute.items[..3].iter().map(|i| format!("{} {:.0}", i.name, i.usd_month)).collect();
            format!(
                "| {millions} | {shards} | {sensors} | {workers} | {:.0} | {:.0} | {:.0} | {} |\n",
                shipped.total_usd_month,
                minute.total_usd_month,
                minute.accumulates_usd_month,
                first.join(", ")
            )
        },
    );
    let head = "| million events a minute | shards | sensors | workers | `age_max` 10 s (shipped) | 60 s | of it storage, \
                every month on top | the dearest at 60 s |\n|---|---|---|---|---|---|---|---|\n";
    let written = format!("\n{head}{}", rows.concat());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/cost.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (before, rest) = page.split_once("as `supervisor/src/cost/tests.rs` writes them -->").unwrap();
    let (found, after) = rest.split_once("<!-- the end of the examples -->").unwrap();
    if std::env::var_os("UPDATE").is_some() {
        let page = format!(
            "{before}as `supervisor/src/cost/tests.rs` writes them -->{written}<!-- the end of the examples -->{after}"
        );
        std::fs::write(path, page).unwrap();
        return;
    }
    assert_eq!(found, written, "docs/cost.md is out of date: run this test with UPDATE=1");
}
