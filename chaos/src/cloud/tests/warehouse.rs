use std::time::Duration;

use actors::ports::warehouse::{Warehouse, WarehouseFailure, WarehousePlace, WarehouseTarget};

use super::*;
use crate::cloud::LoadMutant;
use crate::cloud::wire::{Call, Input};

const SUBMIT: &str = "BatchExecuteStatement";

fn warehouse(world: &World) -> Warehouse {
    let place = WarehousePlace::Workgroup("simulation".into());
    let target = WarehouseTarget { place, database: "dev".into(), db_user: None, secret_arn: None };
    Warehouse::new(&world.sdk(ME), target, Duration::from_secs(20))
}

fn transaction(sqls: &[&str]) -> Vec<String> {
    sqls.iter().map(|sql| (*sql).to_owned()).collect()
}

fn rows(world: &World) -> i64 {
    world.cloud.warehouse().unwrap().query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn statements_run_in_simulated_time_and_end_by_themselves() {
    let world = World::new(3);
    assert!(world.cloud.warehouse().is_none(), "nobody has asked for one");
    let warehouse = warehouse(&world);
    warehouse.execute("CREATE TABLE t (x INTEGER)", "make").await.unwrap();
    let before = world.now_ms();
    warehouse.batch(&transaction(&["LOCK t", "INSERT INTO t VALUES (1)"]), "one").await.unwrap();
    assert!(world.now_ms() > before);

    // Applied without an answer: it is there all the same.
    world.cloud.lose_reply_once(OpMatcher::new(Service::Redshift, SUBMIT));
    let lost = warehouse.batch(&transaction(&["INSERT INTO t VALUES (2)"]), "two").await.unwrap_err();
    assert_eq!(lost.failure, WarehouseFailure::Unknown);
    world.cloud.settle(world.now_ms() + 5_000);
    assert_eq!((rows(&world), world.cloud.loads()), (2, (0, Some(3))));

    // Ended from outside: nothing of it is.
    world.cloud.inject_once(Fault::Abort, OpMatcher::new(Service::Redshift, SUBMIT));
    let many: Vec<String> = (0..39).map(|n| format!("INSERT INTO t VALUES ({n})")).collect();
    assert_eq!(warehouse.batch(&many, "many").await.unwrap_err().failure, WarehouseFailure::Unavailable);
    assert_eq!(rows(&world), 2);
}

#[tokio::test(start_paused = true)]
async fn what_runs_meanwhile_waits_for_the_lock() {
    let world = World::new(5);
    let (one, other) = (warehouse(&world), warehouse(&world));
    one.execute("CREATE TABLE t (x INTEGER)", "make").await.unwrap();
    let once = transaction(&["LOCK t", "INSERT INTO t SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM t)"]);
    let (first, second) = tokio::join!(one.batch(&once, "first"), other.batch(&once, "second"));
    assert_eq!((first.unwrap().parts[1].rows, second.unwrap().parts[1].rows), (1, 0));
    assert_eq!(rows(&world), 1);
}

fn load(sqls: &[&str]) -> Call {
    let json = serde_json::json!({ "StatementName": "mangrove: load abc", "ClientToken": "t", "Sqls": sqls });
    let (operation, body) = (SUBMIT.to_owned(), json.to_string().into());
    Call { service: Service::Redshift, operation, key: String::new(), input: Input::Json(json), body }
}

#[test]
fn a_mutant_changes_a_load_and_nothing_else() {
    let sqls = [
        "LOCK l",
        "CREATE TEMP TABLE \"load_guard\" AS 1",
        "COPY x",
        "INSERT INTO l FROM \"load_epochs\"",
        "SELECT \"fresh\"",
    ];
    let of = |call: &Call| match &call.input {
        Input::Json(json) => {
            transaction(&json["Sqls"].as_array().unwrap().iter().map(|s| s.as_str().unwrap()).collect::<Vec<_>>())
        }
        _ => Vec::new(),
    };
    let kept = |mutant: LoadMutant| {
        let (first, then) = mutant.of(&load(&sqls))?;
        assert!(then.as_ref().is_none_or(|then| mutant.of(then).is_none()), "{mutant:?} cuts what it has cut");
        let same = |call: &Call| of(call).iter().zip(sqls).map(|(is, was)| *is == was).collect::<Vec<_>>();
        Some((same(&first), then.as_ref().map(same)))
    };
    let (yes, no) = (true, false);
    assert_eq!(kept(LoadMutant::Guard), Some((vec![yes, no, yes, yes, yes], None)));
    assert_eq!(kept(LoadMutant::Lock), Some((vec![no, yes, yes, yes, yes], None)));
    let (after, ledger) = (vec![yes, yes, yes, no, no], vec![yes, yes, no, yes, yes]);
    assert_eq!(kept(LoadMutant::LedgerInside), Some((after, Some(ledger.clone()))));
    assert_eq!(kept(LoadMutant::LedgerNotBefore), Some((ledger.clone(), Some(vec![yes, no, yes, no, no]))));
    assert_eq!(kept(LoadMutant::Question), None);
    assert!(LoadMutant::Question.believed(&load(&sqls)).is_some() && LoadMutant::Lock.believed(&load(&sqls)).is_none());
    assert!(LoadMutant::Guard.of(&load(&["SELECT 1", "SELECT 2", "SELECT 3"])).is_none());
    assert!(LoadMutant::ALL.iter().all(|mutant| LoadMutant::of_name(mutant.name()) == Some(*mutant)));
}
