//! GOAL    Every shard of a large stream has a row within seconds of the first start (LIVE).
//! METHOD  A thousand shards, of which the binary may read one; each call to the lease table and to the bucket takes 20 ms
//!         longer. Measured by what three calls for each shard would take, one after the other.

use std::fs;
use std::time::{Duration, Instant};

use actors::ports::leases::LeaseTable;
use mangrove_tests::process::turn_alone;
use mangrove_tests::world::{BUCKET, STREAM, World};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::mangrove;

const SHARDS: u32 = 1_000;
const CALL: Duration = Duration::from_millis(20);

#[test]
fn a_thousand_shards_are_known_within_seconds() {
    let _turn = turn_alone();
    let (dir, runtime) = (tempfile::tempdir().unwrap(), Runtime::new().unwrap());
    let world = runtime.block_on(World::new(&dir.path().join("cloud"), SHARDS));
    runtime.block_on(LeaseTable::new(world.sdk(), "leases").ensure()).unwrap();
    let slow = |service: &str| json!({"service": service, "kind": "delay", "delay_ms": CALL.as_millis() as u64});
    runtime.block_on(world.faults().set(1, &["dynamodb", "s3"].map(slow)));
    let config = dir.path().join("mangrove.toml");
    let text = format!(
        "stream.name = {STREAM:?}\nbucket.name = {BUCKET:?}\nschema.use = \"climate\"\nworker.id = \"worker-a\"\n\
         ops.bind = \"127.0.0.1:0\"\nleases.table = \"leases\"\nleases.shards_max = 1\n"
    );
    fs::write(&config, text).unwrap();
    let config = config.display().to_string();
    let began = Instant::now();
    let mut worker = mangrove(&["run", "--config", &config, "--endpoint-url", &world.cloud.endpoint_url()]).start();
    // Rows of shards; the table's own and the worker's are beside them.
    let known = || {
        let rows = runtime.block_on(world.lease_rows());
        rows.iter().filter(|row| row["leaseKey"].as_s().unwrap().starts_with("shardId-")).count()
    };
    let one_by_one = CALL * 3 * SHARDS;
    while known() < SHARDS as usize {
        assert!(worker.is_running() && began.elapsed() < one_by_one, "{} shards after {:?}", known(), began.elapsed());
        std::thread::sleep(Duration::from_millis(500));
    }
    let took = began.elapsed();
    println!("{SHARDS} shards known after {took:?}: {:.3} of one by one", took.div_duration_f64(one_by_one));
    assert!(took < one_by_one / 2, "{took:?}");
    worker.signal("TERM");
    worker.end().ok();
    runtime.block_on(world.stop());
}
