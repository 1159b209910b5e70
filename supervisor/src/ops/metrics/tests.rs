//! The text format, and the page that lists every metric.

use std::path::Path;
use std::{env, fs};

use actors::metrics::{Family, MetricKind};

use super::Scrape;
use super::families::everything;

/// `UPDATE=1 cargo test` writes the page; without it, it has to be what would be written.
#[test]
fn the_page_lists_every_metric() {
    let mut page = String::from(
        "# Metrics\n\n\
         `GET /metrics` of the ops endpoint, in Prometheus' text format. This page is made from the descriptions in the \
         code: `UPDATE=1 cargo test --release the_page_lists_every_metric`.\n\n\
         No label holds a sensor id, a partition key or the text of an error. `shard` is the only label that grows, with \
         the shards that the worker owns: at 1,000 shards a scrape stays below 1 MB.\n\n\
         | name | kind | labels | meaning |\n|---|---|---|---|\n",
    );
    for Family { name, kind, labels, help } in everything().values() {
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        page.push_str(&format!("| `{name}` | {} | {} | {help} |\n", kind.as_str(), labels.join(", ")));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == page, "docs/metrics.md is out of date: run this test with UPDATE=1");
}

#[test]
fn names_tell_kind_and_unit() {
    for family in everything().values() {
        assert_eq!(family.name.ends_with("_total"), family.kind == MetricKind::Counter, "{}", family.name);
        assert!(family.kind != MetricKind::Histogram || family.name.ends_with("_seconds"), "{}", family.name);
        assert!(family.name.starts_with("mangrove_") || family.name.starts_with("process_"), "{}", family.name);
        assert!(!family.help.contains(['\n', '|', '\\']), "{}", family.name);
    }
}

/// As the page says: what grows with the shards stays within a megabyte at the most shards of a worker.
#[test]
fn a_thousand_shards_fit_into_a_scrape() {
    let of_shards: Vec<Family> = everything().into_values().filter(|family| family.labels.contains(&"shard")).collect();
    let mut scrape = Scrape::new(String::new());
    let shards: Vec<String> = (0..1_000).map(|n| format!("shardId-{n:012}")).collect();
    for family in &of_shards {
        assert!(family.kind != MetricKind::Histogram, "{} would have a thousand times its buckets", family.name);
        scrape.samples(family, shards.iter().map(|shard| ([shard.as_str()], 1_234_567.5)));
    }
    assert!(of_shards.len() > 5 && scrape.into_text().len() < 900_000);
}

#[test]
fn labels_cannot_break_out() {
    const FAMILY: Family = Family::gauge("mangrove_test", &["a", "b"], "a test");
    let mut scrape = Scrape::new("before\n".to_owned());
    scrape.samples(&FAMILY, [(["x\"} 1\n", "\\"], 2.5)]);
    let expected = "before\n# HELP mangrove_test a test\n# TYPE mangrove_test gauge\n\
                    mangrove_test{a=\"x\\\"} 1\\n\",b=\"\\\\\"} 2.5\n\n";
    assert_eq!(scrape.into_text(), expected);

    let mut scrape = Scrape::new(String::new());
    scrape.samples::<2>(&FAMILY, []);
    assert_eq!(scrape.into_text(), "", "a family without samples is not there");
}

#[cfg(target_os = "linux")]
#[test]
fn the_process_knows_what_it_costs() {
    let mut scrape = Scrape::new(String::new());
    super::process::scrape(&mut scrape, None);
    let text = scrape.into_text();
    for (family, _) in super::families::PROCESS_FIGURES {
        let line = text.lines().find_map(|line| line.strip_prefix(family.name)).unwrap();
        assert!(line.trim().parse::<f64>().unwrap() > 0.0 || family.name.contains("cpu"), "{}{line}", family.name);
    }
}
