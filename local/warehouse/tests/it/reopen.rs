//! GOAL    What was committed is there after a stop and after `kill -9`; what was not is not.
//! METHOD  The warehouse is closed, or a child process (this test binary again) is killed in the middle of writing.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::{World, open, run};

const FOLDER: &str = "MANGROVE_WAREHOUSE_TEST_FOLDER";

/// The child: does nothing unless it is told where.
#[test]
fn write_in_a_child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let warehouse = open(folder, |_| {});
    run(&warehouse, "CREATE TABLE public.t (n BIGINT, text VARCHAR(20))").unwrap();
    for n in 0.. {
        let statements = [format!("INSERT INTO t VALUES ({n}, 'a')"), format!("INSERT INTO t VALUES ({n}, 'b')")];
        assert_eq!(crate::batch(&warehouse, &statements)["Status"], "FINISHED");
        std::fs::write(folder.join("written.tmp"), n.to_string()).unwrap();
        std::fs::rename(folder.join("written.tmp"), folder.join("written")).unwrap();
    }
}

fn spawn(folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "reopen::write_in_a_child", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn what_was_committed_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = spawn(dir.path());
    let written = || std::fs::read_to_string(dir.path().join("written")).ok()?.parse::<u64>().ok();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while written().is_none_or(|n| n < 20) {
        assert!(std::time::Instant::now() < until && child.try_wait().unwrap().is_none(), "the child does not write");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let acknowledged = written().unwrap();
    let world = World::on(dir);
    let found = world.rows("SELECT MAX(n), COUNT(*), COUNT(DISTINCT n) FROM t");
    let numbers: Vec<u64> = found[0].split(',').map(|n| n.parse().unwrap()).collect();
    assert!(numbers[0] == acknowledged || numbers[0] == acknowledged + 1, "{found:?} after {acknowledged}");
    assert_eq!((numbers[1], numbers[2]), (2 * (numbers[0] + 1), numbers[0] + 1), "batches are whole");
    assert!(world.error("INSERT INTO t VALUES (0, 'a text that is much too long')").contains("too long"));
}

#[test]
fn a_closed_warehouse_is_one_file_that_opens_again() {
    let world = World::new();
    world.all(&["CREATE SCHEMA m", "CREATE TABLE m.t (a VARCHAR(3))", "INSERT INTO m.t VALUES ('x')"]);
    world.all(&["CREATE VIEW m.v AS SELECT a FROM m.t"]);
    let World { dir, warehouse } = world;
    warehouse.close();
    assert!(run_after_close(&warehouse));
    assert!(!dir.path().join("warehouse.duckdb.wal").exists(), "everything is in the file");
    let world = World::on(dir);
    assert_eq!(world.rows("SELECT a FROM m.v"), ["x"]);
    assert!(world.error("INSERT INTO m.t VALUES ('four')").contains("too long"));
}

fn run_after_close(warehouse: &mangrove_local_warehouse::Warehouse) -> bool {
    let request = serde_json::json!({ "WorkgroupName": "w", "Database": "d", "Sql": "SELECT 1" });
    crate::call(warehouse, "ExecuteStatement", request).0 == 500
}
