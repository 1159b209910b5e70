//! The warehouse of a simulation: whoever holds it says which statement runs next.

use std::sync::Arc;

use mangrove_local_warehouse::{Step, Stepped};
use serde_json::{Value, json};

use super::Objects;

/// Submits a batch; its id.
fn submit(warehouse: &mut Stepped, sqls: &[&str]) -> String {
    let body = json!({ "WorkgroupName": "w", "Database": "dev", "Sqls": sqls, "WaitTimeSeconds": 30 });
    let answer = warehouse.handle("BatchExecuteStatement", body.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.body);
    let id = serde_json::from_str::<Value>(&answer.body).unwrap()["Id"].as_str().unwrap().to_owned();
    assert_eq!(warehouse.begin(), Some(id.clone()));
    id
}

fn steps(warehouse: &mut Stepped, id: &str, n: usize) -> Vec<Step> {
    (0..n).map(|_| warehouse.step(id)).collect()
}

#[test]
fn who_waits_for_a_lock_sees_what_its_holder_left() {
    let dir = tempfile::tempdir().unwrap();
    let mut warehouse = Stepped::open(dir.path(), Arc::new(Objects(dir.path().into()))).unwrap();
    let made = submit(&mut warehouse, &["CREATE TABLE t (x INTEGER)"]);
    assert_eq!(steps(&mut warehouse, &made, 2), [Step::Ran, Step::Ended("FINISHED")]);

    let once = ["LOCK t", "INSERT INTO t SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM t)"];
    let (first, second) = (submit(&mut warehouse, &once), submit(&mut warehouse, &once));
    assert_eq!(steps(&mut warehouse, &first, 1), [Step::Ran]);
    assert_eq!(steps(&mut warehouse, &second, 2), [Step::Waits, Step::Waits]);
    assert_eq!(steps(&mut warehouse, &first, 2), [Step::Ran, Step::Ended("FINISHED")]);
    assert_eq!(steps(&mut warehouse, &second, 3), [Step::Ran, Step::Ran, Step::Ended("FINISHED")]);

    // Without the lock, each has its snapshot from before the other's end.
    let (first, second) = (
        submit(&mut warehouse, &["INSERT INTO t SELECT COUNT(*) + 10 FROM t"]),
        submit(&mut warehouse, &["INSERT INTO t SELECT COUNT(*) + 10 FROM t"]),
    );
    assert_eq!((warehouse.step(&first), warehouse.step(&second)), (Step::Ran, Step::Ran));
    assert_eq!((warehouse.step(&first), warehouse.step(&second)), (Step::Ended("FINISHED"), Step::Ended("FINISHED")));
    let rows = "SELECT string_agg(x, ',' ORDER BY x) FROM t";
    let rows: String = warehouse.connection().unwrap().query_row(rows, [], |row| row.get(0)).unwrap();
    assert_eq!(rows, "1,11,11");
}

#[test]
fn what_fails_or_is_cancelled_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut warehouse = Stepped::open(dir.path(), Arc::new(Objects(dir.path().into()))).unwrap();
    let made = submit(&mut warehouse, &["CREATE TABLE t (x INTEGER)"]);
    steps(&mut warehouse, &made, 2);
    let wrong = submit(&mut warehouse, &["INSERT INTO t VALUES (1)", "INSERT INTO nowhere VALUES (1)"]);
    assert_eq!(steps(&mut warehouse, &wrong, 2), [Step::Ran, Step::Ended("FAILED")]);
    let cancelled = submit(&mut warehouse, &["INSERT INTO t VALUES (2)", "INSERT INTO t VALUES (3)"]);
    assert_eq!(warehouse.step(&cancelled), Step::Ran);
    assert_eq!(warehouse.handle("CancelStatement", json!({ "Id": cancelled }).to_string().as_bytes()).status, 200);
    assert_eq!(warehouse.step(&cancelled), Step::Ended("ABORTED"));
    let n: i64 = warehouse.connection().unwrap().query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
    assert_eq!(n, 0);
}
