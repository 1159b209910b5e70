use std::time::Duration;

use actors::ports::aws::Failure;
use actors::ports::leases::{Home, LeaseRow, LeaseTable};
use actors::ports::objects::{Objects, Put};
use messages::{ShardId, StreamId};
use tokio::time::{Instant, sleep};

use super::*;

const TIMEOUT: Duration = ATTEMPT_TIMEOUT;

fn world() -> (World, Objects) {
    let world = World::new(11);
    world.cloud.create_bucket("lake");
    let objects = Objects::new(&world.sdk(ME), "lake");
    (world, objects)
}

fn put_matcher() -> OpMatcher {
    OpMatcher::new(Service::S3, "PutObject")
}

async fn put(objects: &Objects, key: &str) -> Result<Put, Failure> {
    objects.put_new(key, Bytes::from_static(b"body"), "digest", 1).await.map_err(|error| error.failure)
}

fn outcomes(cloud: &Cloud) -> Vec<PutOutcome> {
    cloud.object_history().iter().map(|write| write.outcome).collect()
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_is_applied_exactly_once() {
    let (world, objects) = world();
    world.cloud.lose_reply_once(put_matcher().containing("b").nth(2));
    assert_eq!(put(&objects, "b/0").await, Ok(Put::Created));
    assert_eq!(put(&objects, "b/1").await, Err(Failure::Transient));
    assert_eq!(world.cloud.armed(), 0);
    assert_eq!(put(&objects, "b/1").await, Ok(Put::Same));
    assert_eq!(outcomes(&world.cloud), [PutOutcome::Created, PutOutcome::Created, PutOutcome::Refused]);
}

#[tokio::test(start_paused = true)]
async fn a_lease_whose_reply_is_lost_is_held() {
    let (world, _) = world();
    let table = LeaseTable::new(&world.sdk(ME), "leases");
    table.ensure().await.unwrap();
    let row = LeaseRow::fresh(ShardId::new("shardId-000000000000"), vec![], Default::default());
    table.create_if_absent(&row).await.unwrap();
    world.cloud.lose_reply_once(OpMatcher::new(Service::DynamoDb, "UpdateItem").containing("leaseOwner"));
    let home = Home { stream: StreamId { arn: "arn".into(), created_ms: 7 }, bucket: "lake".into() };
    let lease = table.take(row, "me", &home, None).await.unwrap();
    assert_eq!(lease.row.counter, 1);
    // Once by the request whose reply was lost; the second attempt's condition failed.
    assert_eq!(world.cloud.lease_history().len(), 2);
    assert_eq!(world.cloud.counts().calls[&(Service::DynamoDb, "UpdateItem".to_owned())], 2);
}

#[tokio::test(start_paused = true)]
async fn each_fault_does_what_it_says() {
    let cases = [
        (Fault::Throttle, Failure::Throttled, false, false),
        (Fault::Error, Failure::Transient, false, false),
        (Fault::Reset, Failure::Transient, false, false),
        (Fault::LoseReply, Failure::Transient, true, false),
        (Fault::HangBefore, Failure::Transient, false, true),
        (Fault::HangAfter, Failure::Transient, true, true),
        (Fault::Delay, Failure::Transient, true, true),
        (Fault::Conflict, Failure::Transient, false, false),
    ];
    for (fault, failure, applied, until_timeout) in cases {
        let (world, objects) = world();
        let mut slow = Weather::calm();
        slow.s3.delay_ms = (20_000, 20_000);
        world.cloud.set_faults(slow);
        world.cloud.inject_once(fault, put_matcher().of(ME));
        assert_eq!(put(&Objects::new(&world.sdk(OTHER), "lake"), "other").await, Ok(Put::Created), "{fault:?}");
        let start = Instant::now();
        assert_eq!(put(&objects, "k").await, Err(failure), "{fault:?}");
        assert_eq!(start.elapsed() >= TIMEOUT, until_timeout, "{fault:?}");
        assert_eq!(world.cloud.objects().contains_key("k"), applied, "{fault:?}");
        assert_eq!(world.cloud.counts().faults, BTreeMap::from([(fault, 1)]));
        assert_eq!(put(&objects, "k").await, Ok(if applied { Put::Same } else { Put::Created }), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_zombie_writes_late() {
    let (world, objects) = world();
    let mut faults = Weather::calm();
    faults.s3.delay_ms = (20_000, 20_000);
    world.cloud.set_faults(faults);
    world.cloud.inject_once(Fault::Late, put_matcher());
    let start_ms = world.now_ms();
    assert_eq!(put(&objects, "k").await, Err(Failure::Transient));
    assert!(world.now_ms() < start_ms + 6_000);
    sleep(Duration::from_secs(60)).await;
    assert!(world.cloud.objects().is_empty());
    world.cloud.settle(world.now_ms());
    let late = world.cloud.object_history().pop().unwrap();
    assert!((20_000..20_020).contains(&(late.at_ms - start_ms)), "{late:?}");

    // A delay that the client waits for is nothing but slow.
    faults.s3.delay_ms = (2_000, 2_000);
    world.cloud.set_faults(faults);
    world.cloud.inject_once(Fault::Late, put_matcher());
    assert_eq!(put(&objects, "l").await, Ok(Put::Created));
}

#[tokio::test(start_paused = true)]
async fn who_is_cut_off_changes_and_hears_nothing() {
    let (world, objects) = world();
    let mut faults = Weather::calm();
    faults.s3.latency_ms = (100, 100);
    faults.s3.delay_ms = (1_000, 1_000);
    world.cloud.set_faults(faults);
    world.cloud.inject_once(Fault::Late, put_matcher().containing("held"));
    let on_the_way = put(&objects, "way");
    let held = put(&objects, "held");
    let cut = async {
        sleep(Duration::from_millis(150)).await;
        world.cloud.cut_off(ME);
        put(&objects, "after").await
    };
    // The first was applied before the cut, and its reply is never heard.
    let (way, held, after) = tokio::join!(on_the_way, held, cut);
    assert_eq!([way, held, after], [Err(Failure::Transient); 3]);
    world.cloud.settle(world.now_ms());
    assert_eq!(world.cloud.objects().into_keys().collect::<Vec<_>>(), ["way"]);
    let other = Objects::new(&world.sdk(OTHER), "lake");
    assert_eq!(put(&other, "way").await, Ok(Put::Same));
}

#[tokio::test(start_paused = true)]
async fn a_failed_request_can_be_tried_again() {
    let (world, objects) = world();
    world.cloud.fail_once(put_matcher());
    assert_eq!(put(&objects, "k").await, Err(Failure::Transient));
    assert!(world.cloud.object_history().is_empty());
    assert_eq!(put(&objects, "k").await, Ok(Put::Created));
}
