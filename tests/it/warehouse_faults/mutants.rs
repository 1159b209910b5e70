//! What the checks of this folder would say of a load that lacks one of its safety mechanisms: each is left out of the
//! product's own statements, or of what is done after them, and the same comparison must fail. The whole recipe must
//! pass under the same fate. Each fate is brought about on purpose, so that one run is enough; two loads at the same
//! moment are tried [`RUNS`] times.

use std::path::Path;

use actors::ports::objects::Objects;
use actors::ports::warehouse::{Warehouse, WarehouseFailure, WarehousePlace, WarehouseTarget};
use actors::warehouse::batch::LoadBatch;
use actors::warehouse::metadata::MetadataColumns;
use actors::warehouse::tables::StarSchema;
use actors::warehouse::{Load, Mode};
use mangrove_tests::history::setup;
use mangrove_tests::world::{BUCKET, World};
use serde_json::json;

use super::{PATIENCE, assert_whole, copy_of, loading, stock};

/// Two loads may miss each other by chance.
const RUNS: usize = 5;

/// What a load lacks.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lacks {
    Nothing,
    /// Nothing asks the ledger within the transaction.
    Guard,
    /// The ledger is asked, but not locked before.
    Lock,
    /// The ledger's rows are written in a transaction of their own, afterwards.
    LedgerInside,
    /// The ledger's rows are written in a transaction of their own, before.
    LedgerNotBefore,
    /// What has no answer counts as applied.
    Question,
}

/// What befalls a load.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// It is sent twice, the second time late.
    Late,
    /// Two loaders send it at once.
    Together,
    /// Its loader dies when the first transaction has ended.
    Death,
    /// It is cut off before anybody has read it.
    CutOff,
}

/// A load of one batch, sent as two transactions if it lacks that.
struct Recipe {
    first: Vec<String>,
    second: Vec<String>,
}

impl Recipe {
    fn of(batch: &LoadBatch, lacks: Lacks) -> Self {
        let (schema, manifests) = (setup().schema, batch.manifests(BUCKET));
        let star = StarSchema::new(&schema, "mangrove", &MetadataColumns::default()).unwrap();
        let load = Load {
            star: &star,
            schema: &schema,
            batch,
            manifests: &manifests,
            bucket: BUCKET,
            iam_role: "",
            mode: Mode::New,
            now_ms: 0,
        };
        let mut sql = load.statements().unwrap().sql;
        let into_ledger = |text: &String| {
            text.contains("\"load_epochs\"") || text.starts_with("INSERT INTO \"mangrove\".\"load_ledger\"")
        };
        assert!(sql[0].starts_with("LOCK ") && sql[1].contains("\"load_guard\""), "{sql:#?}");
        assert_eq!(sql.iter().filter(|text| into_ledger(text)).count(), 3, "{sql:#?}");
        let opening = sql[..2].to_vec();
        let ledger = |sql: &[String]| {
            [&opening[..], &sql.iter().filter(|t| into_ledger(t)).cloned().collect::<Vec<_>>()].concat()
        };
        let mut second = Vec::new();
        match lacks {
            Lacks::Nothing | Lacks::Question => {}
            Lacks::Guard => sql[1] = "CREATE TEMP TABLE \"load_guard\" AS SELECT 1 AS \"ok\"".to_owned(),
            Lacks::Lock => drop(sql.remove(0)),
            Lacks::LedgerInside => {
                second = ledger(&sql);
                sql.retain(|text| !into_ledger(text));
            }
            Lacks::LedgerNotBefore => {
                second = sql.iter().filter(|text| !into_ledger(text)).cloned().collect();
                sql = ledger(&sql);
            }
        }
        Self { first: sql, second }
    }
}

fn warehouse(world: &World) -> Warehouse {
    let place = WarehousePlace::Workgroup("local".into());
    let target = WarehouseTarget { place, database: "dev".into(), db_user: None, secret_arn: None };
    Warehouse::new(world.sdk(), target, PATIENCE)
}

/// Whether the warehouse is right in the end. The rest is loaded by the product.
async fn comes_right(stock: &Path, name: &str, lacks: Lacks, fate: Fate) -> bool {
    let world = copy_of(stock, name).await;
    let (loading, warehouse, faults) = (loading(&world), warehouse(&world), world.faults());
    loading.ensure_tables().await.unwrap();
    let (batch, _) = loading.next_batch(2).await.unwrap().unwrap();
    let objects = Objects::new(world.sdk(), BUCKET);
    for manifest in batch.manifests(BUCKET) {
        let _ = objects.put_new(&manifest.key, manifest.body.into(), &manifest.digest, manifest.rows).await.unwrap();
    }
    let Recipe { first, second } = Recipe::of(&batch, lacks);
    let whole = async || {
        for transaction in [&first, &second].into_iter().filter(|sql| !sql.is_empty()) {
            // What loses against another one is tried again by no loader that has seen the other's rows.
            if let Err(error) = warehouse.batch(transaction, "mutant").await {
                assert_eq!(error.failure, WarehouseFailure::Unavailable, "{error}");
            }
        }
    };
    match fate {
        Fate::Late => {
            whole().await;
            whole().await;
        }
        Fate::Together => drop(tokio::join!(whole(), whole())),
        Fate::Death => drop(warehouse.batch(&first, "mutant").await.unwrap()),
        Fate::CutOff => {
            faults.set(0, &[json!({ "service": "redshift", "operation": "BatchExecuteStatement", "kind": "reset", "count": 1 })]).await;
            let error = warehouse.batch(&first, "mutant").await.unwrap_err();
            assert_eq!((error.failure, faults.end().await), (WarehouseFailure::Unknown, vec![1]));
            if lacks == Lacks::Question {
                // It notes what it believes, and goes on behind it.
                let believed = Recipe::of(&batch, Lacks::LedgerNotBefore).first;
                warehouse.batch(&believed, "mutant").await.unwrap();
            }
        }
    }
    loading.load_all(PATIENCE).await.unwrap();
    tokio::spawn(async move { assert_whole(&world).await }).await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_that_lacks_a_mechanism_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let stock = stock(dir.path()).await;
    for (n, fate) in [Fate::Late, Fate::Together, Fate::Death, Fate::CutOff].into_iter().enumerate() {
        assert!(comes_right(&stock, &format!("whole-{n}"), Lacks::Nothing, fate).await, "{fate:?}");
    }
    let mutants = [
        (Lacks::Guard, Fate::Late),
        (Lacks::Lock, Fate::Together),
        (Lacks::LedgerInside, Fate::Death),
        (Lacks::LedgerNotBefore, Fate::Death),
        (Lacks::Question, Fate::CutOff),
    ];
    for (lacks, fate) in mutants {
        let runs = if matches!(fate, Fate::Together) { RUNS } else { 1 };
        let mut noticed = false;
        for run in 0..runs {
            noticed |= !comes_right(&stock, &format!("{lacks:?}-{run}"), lacks, fate).await;
            if noticed {
                break;
            }
        }
        assert!(noticed, "a load that lacks {lacks:?} came right under {fate:?}");
    }
}
