//! What a real worker leaves on the local cloud is clean, and a restart of it writes nothing (RAW-ONCE, CLEAN-ONCE,
//! COMPLETE, ORDER, STATE, CHECKPOINT).

use std::time::Duration;

use actors::ports::aws::{self, AwsSettings};
use actors::ports::leases::LeaseTable;
use actors::ports::stream::Stream;
use actors::reader::decode::DecodeLimits;
use actors::sensor::SensorRules;
use aws_config::SdkConfig;
use chaos::oracle::{Evidence, Limits, Record, Row, ShardNode, collect, judge, nothing_new};
use mangrove_tests::history::{history, setup};
use mangrove_tests::world::{BUCKET, STREAM, Setup, World, finish};
use messages::Position;
use sha2::{Digest, Sha256};

use crate::honest::assert_clean;

/// That of the test's workers.
const LATENESS: Duration = Duration::from_secs(3_600);

pub(crate) async fn evidence(sdk: &SdkConfig) -> Evidence {
    let (stream, leases) = (Stream::new(sdk, STREAM), LeaseTable::new(sdk, "leases"));
    let decode = DecodeLimits { record_bytes_max: 256 << 10, events_per_record_max: 1_000, depth_max: 64 };
    let mut evidence = Evidence {
        exact: true,
        drained: true,
        objects: collect(sdk, BUCKET).await.unwrap(),
        limits: Some(Limits { decode, event_ids_max: SensorRules::EVENT_IDS, lateness: LATENESS }),
        ..Evidence::default()
    };
    for shard in stream.shards().await.unwrap() {
        let range = (shard.hash_range.0.parse().unwrap(), shard.hash_range.1.parse().unwrap());
        let parents = shard.parents.iter().map(ToString::to_string).collect();
        evidence.lineage.push(ShardNode { shard: shard.shard.to_string(), parents, hash_range: range });
        evidence.final_rows.extend(leases.get(&shard.shard).await.unwrap().as_ref().map(Row::from));
        let mut next = Some(stream.iterator(&shard.shard, &Position::TrimHorizon).await.unwrap());
        while let Some(iterator) = next {
            let page = stream.records(&shard.shard, &iterator, 1_000).await.unwrap();
            next = page.next.filter(|_| !page.records.is_empty());
            evidence.records.extend(page.records.into_iter().map(|record| Record {
                shard: shard.shard.to_string(),
                sequence: record.sequence.to_string(),
                arrival_ms: Some(record.arrival_ms),
                sha256: Sha256::digest(&record.data).into(),
                sensor: Some(record.partition_key.into()),
                n: None,
                data: Some(record.data),
            }));
        }
    }
    evidence
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_is_clean_and_its_restart_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let setup = Setup { age_max: Duration::from_millis(300), ..setup() };
    let put = history(12, 2);
    let world = World::new(dir.path(), 2).await;
    let sdk = aws::load(&AwsSettings {
        region: None,
        endpoint_url: Some(world.cloud.endpoint_url()),
        attempt_timeout: Duration::from_secs(10),
    })
    .await;
    world.put(&put).await;
    finish(world.worker(&setup).await).await;

    let before = evidence(&sdk).await;
    let verdict = judge(&before, &setup.schema);
    assert_clean(&verdict);
    assert_eq!((verdict.records, verdict.raw), (put.len() as u64, put.len() as u64));
    assert!(verdict.states == 12 && verdict.shards == 2 && verdict.checked.contains("STATE"), "{verdict:?}");
    assert!(verdict.duplicates > 10 && verdict.quarantined > 10 && verdict.aggregates > 100, "{verdict:?}");

    finish(world.worker(&setup).await).await;
    assert_eq!(nothing_new(&before, &evidence(&sdk).await), []);
}
