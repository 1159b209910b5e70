//! GOAL    The star is a function of what was said, read and known: in whatever order epochs are loaded, however they
//!         are batched, and whenever metadata is put in force, intervals have no hole and no overlap, one version is
//!         current, and every reading carries the version that holds at its event time (CLEAN-ONCE).
//! METHOD  Epochs and metadata made by chance, loaded by the product into the embedded warehouse; the same in plain Rust
//!         beside it (`reference.rs`). Versions come late, tie, precede all others, and leave attributes out; metadata
//!         contradicts itself, changes, and goes away.

mod files;
mod reference;

use std::cell::Cell;

use actors::loading::{Loading, MetadataWatch};
use actors::warehouse::Mode;
use actors::warehouse::batch::LoadBatch;
use actors::warehouse::metadata::{Limits, MetadataColumn};
use mangrove_tests::judge::assert_same;
use mangrove_tests::warehouse::Analyst;
use mangrove_tests::world::{STREAM, World};
use messages::EventSchema;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use self::files::Files;
use self::reference::{Described, Epoch, Known, Reading, Star, Version};

const SCHEMA: &str = r#"
name = "star"
[sensor_id]
path = "id"
[time]
path = "time"
format = "rfc3339"
[[fields]]
name = "temperature"
type = "float"
[[fields]]
name = "firmware"
type = "text"
[fields.tracked]
[[fields]]
name = "site"
type = "text"
[fields.tracked]
"#;

const CASES: u32 = 24;

/// What happens, in order.
#[derive(Clone, Debug)]
enum Step {
    /// These epochs are loaded in one transaction.
    Load(Vec<usize>),
    /// The objects of the metadata become these.
    Describe(Known),
}

fn schema() -> EventSchema {
    EventSchema::parse(SCHEMA).unwrap()
}

/// What one epoch says.
fn said() -> impl Strategy<Value = (Vec<Version>, Vec<Reading>)> {
    let version = (0..3_u8, 0..12_i64, of(0..3_u8), of(0..2_u8));
    let version = version.prop_map(|(sensor, from, firmware, site)| Version { sensor, from, firmware, site });
    let reading = (0..3_u8, 0..12_i64).prop_map(|(sensor, at)| Reading { sensor, at });
    (vec(version, 0..4), vec(reading, 0..6))
}

fn known() -> impl Strategy<Value = Known> {
    let described = (0..4_u8, of(0..12_i64), of(0..3_u8), of(0..2_u8), of(0..2_u8));
    let described =
        described.prop_map(|(sensor, from, firmware, site, owner)| Described { sensor, from, firmware, site, owner });
    let sensors = vec(described, 0..5);
    (sensors, vec((0..2_u8, of(0..3_u8)), 0..3)).prop_map(|(sensors, sites)| Known { sensors, sites })
}

/// Epochs of two shards, and the steps in which they, and metadata, are loaded.
fn history() -> impl Strategy<Value = (Vec<Epoch>, Vec<Step>)> {
    let epochs = vec((0..2_usize, said()), 1..7).prop_map(|said| {
        let mut numbers = [0, 0];
        let epoch = |(shard, (versions, readings)): (usize, _)| {
            numbers[shard] += 1;
            Epoch { shard, number: numbers[shard], versions, readings }
        };
        said.into_iter().map(epoch).collect::<Vec<_>>()
    });
    epochs.prop_flat_map(|epochs| {
        let order = Just((0..epochs.len()).collect::<Vec<_>>()).prop_shuffle();
        let steps = (order, 1..4_usize, vec((0..7_usize, known()), 0..3)).prop_map(|(order, size, known)| {
            let mut steps: Vec<Step> = order.chunks(size).map(|epochs| Step::Load(epochs.to_vec())).collect();
            for (at, known) in known {
                steps.insert(at.min(steps.len()), Step::Describe(known));
            }
            steps
        });
        (Just(epochs), steps)
    })
}

#[test]
fn any_order_of_loads_and_metadata_gives_the_same_star() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let world = runtime.block_on(World::new(dir.path(), 1));
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let case = Cell::new(0);
    let result = runner.run(&history(), |(epochs, steps)| {
        case.set(case.get() + 1);
        let namespace = format!("case_{}", case.get());
        let files = Files::new(dir.path(), &namespace, schema());
        runtime.block_on(async {
            let loading = loading(&world, &namespace);
            loading.ensure_tables().await.unwrap();
            let mut in_force = None;
            for step in &steps {
                match step {
                    Step::Load(batch) => load(&loading, &files, batch.iter().map(|n| &epochs[*n])).await,
                    Step::Describe(known) => {
                        files.known(known);
                        loading.refresh(&mut MetadataWatch::default()).await;
                        in_force = Some(known);
                    }
                }
            }
            let known = in_force.cloned().unwrap_or_default();
            assert_star(&Star::of(&epochs, &known), &namespace, &world.analyst()).await;
        });
        Ok(())
    });
    result.unwrap();
    runtime.block_on(world.stop());
}

fn loading(world: &World, namespace: &str) -> Loading {
    world.loading_with(&schema(), |config| {
        config.namespace = namespace.to_owned();
        let metadata = &mut config.metadata;
        metadata.sensors = format!("{namespace}/sensors/");
        metadata.locations = format!("{namespace}/sites/");
        metadata.limits = Limits { objects_max: 10, bytes_max: 1 << 20, rows_max: 1_000 };
        metadata.columns.sensors = vec![MetadataColumn::parse("owner:text").unwrap()];
        metadata.columns.locations = vec![MetadataColumn::parse("region:text").unwrap()];
        metadata.columns.text_bytes_max = 100;
    })
}

async fn load<'a>(loading: &Loading, files: &Files, epochs: impl Iterator<Item = &'a Epoch>) {
    let batch = LoadBatch::new(STREAM, epochs.map(|epoch| files.epoch(epoch)).collect());
    assert!(loading.load(&batch, Mode::New).await.unwrap().fresh);
    // It comes again.
    assert!(!loading.load(&batch, Mode::New).await.unwrap().fresh);
}

async fn assert_star(star: &Star, namespace: &str, analyst: &Analyst) {
    for (what, sql, expected) in star.tables(namespace) {
        let mut found = analyst.rows(&sql).await;
        found.sort();
        if !(found.is_empty() && expected.is_empty()) {
            assert_same(&what, &found, &expected);
        }
    }
}
