//! Order, doubt and giving up, against an endpoint that fails as scripted.

use std::collections::VecDeque;
use std::path::PathBuf;

use super::*;
use crate::fake::{Fake, Reply, count, outcomes};
use crate::{Kind, Outcome};

const THROTTLED: &str = "ProvisionedThroughputExceededException";

fn record(sensor: &str, n: u64) -> Record {
    let data = n.to_string().into_bytes().into();
    Record { sensor: sensor.into(), claims: None, n, kind: Kind::Reading, data, due: Instant::now(), due_ms: 0 }
}

struct Bench {
    fake: Fake,
    sender: Sender,
    progress: Arc<Progress>,
    ledger: PathBuf,
    _folder: tempfile::TempDir,
}

async fn bench(delivery: Delivery, script: impl IntoIterator<Item = Reply>, after: Reply) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.jsonl");
    let fake = Fake::start(script, after).await;
    let ledger = Arc::new(Ledger::create(&path).unwrap());
    let progress = Arc::<Progress>::default();
    let sender = Sender::start(&fake.target().await, &ledger, &progress, &delivery);
    Bench { fake, sender, progress, ledger: path, _folder: folder }
}

fn one_lane() -> Delivery {
    Delivery { lanes: 1, ..Delivery::open_loop() }
}

#[tokio::test]
async fn a_refused_record_is_repeated_before_its_sensors_newer_ones() {
    let script = [Reply::Refuse(&[0], THROTTLED), Reply::Refuse(&[0], THROTTLED)];
    let bench = bench(one_lane(), script, Reply::Store).await;
    for (sensor, n) in [("a", 0), ("a", 1), ("b", 0), ("a", 2), ("b", 1)] {
        bench.sender.offer(record(sensor, n)).unwrap();
    }
    let tally = bench.sender.finish().await.unwrap();
    assert_eq!(bench.fake.stored_of("a"), ["0", "1", "2"]);
    assert_eq!(bench.fake.stored_of("b"), ["0", "1"]);
    // Only what was refused goes out again: a0 twice, between a0+b0 and the rest.
    assert_eq!(bench.fake.sizes(), [2, 1, 1, 2, 1]);
    assert_eq!((tally.acked, tally.retried, tally.throttled, tally.overtaken), (5, 2, 2, 0));
    assert_eq!(count(&outcomes(&bench.ledger), Outcome::Acked), 5);
    assert_eq!(bench.progress.snapshot().backlog, 0);
}

#[tokio::test]
async fn without_strict_order_a_partial_failure_lets_records_overtake_and_that_is_counted() {
    let delivery = Delivery { strict_order: false, ..one_lane() };
    let bench = bench(delivery, [Reply::Refuse(&[0, 2], THROTTLED)], Reply::Store).await;
    (0..5).for_each(|n| bench.sender.offer(record("a", n)).unwrap());
    let tally = bench.sender.finish().await.unwrap();
    assert_eq!(bench.fake.stored_of("a"), ["1", "3", "4", "0", "2"]);
    assert_eq!(bench.fake.sizes(), [5, 2]);
    assert_eq!(tally.overtaken, 2);
}

#[tokio::test]
async fn a_lost_reply_is_in_the_ledger_before_the_repeat_stores_a_second_copy() {
    let bench = bench(one_lane(), [Reply::StoreAndLose, Reply::StoreAndLose], Reply::Store).await;
    bench.sender.offer(record("a", 0)).unwrap();
    let tally = bench.sender.finish().await.unwrap();
    assert_eq!(bench.fake.stored_of("a"), ["0", "0", "0"]);
    let kinds: Vec<_> = outcomes(&bench.ledger).iter().map(|entry| entry.k).collect();
    assert_eq!(kinds, [Outcome::Maybe, Outcome::Acked]);
    assert_eq!((tally.acked, tally.maybe, tally.failed), (1, 1, 0));
}

#[tokio::test]
async fn an_internal_failure_of_one_record_leaves_only_that_one_in_doubt() {
    let bench = bench(one_lane(), [Reply::Refuse(&[1], "InternalFailure")], Reply::Store).await;
    ["a", "b", "c"].iter().for_each(|sensor| bench.sender.offer(record(sensor, 0)).unwrap());
    bench.sender.finish().await.unwrap();
    let doubtful: Vec<_> = outcomes(&bench.ledger).into_iter().filter(|entry| entry.k == Outcome::Maybe).collect();
    assert_eq!(doubtful.len(), 1);
    assert_eq!(doubtful[0].sensor, "b");
}

#[tokio::test]
async fn a_stream_that_does_not_exist_ends_the_run_with_its_error() {
    let bench = bench(one_lane(), [], Reply::Error("ResourceNotFoundException")).await;
    bench.sender.offer(record("a", 0)).unwrap();
    let error = bench.sender.finish().await.unwrap_err();
    assert!(matches!(&error, FleetError::Refused { code, .. } if code == "ResourceNotFoundException"), "{error}");
    assert_eq!(count(&outcomes(&bench.ledger), Outcome::Failed), 1);
}

#[tokio::test]
async fn attempts_are_bounded() {
    let delivery = Delivery { attempts_max: 3, ..one_lane() };
    let bench = bench(delivery, [], Reply::Error(THROTTLED)).await;
    bench.sender.offer(record("a", 0)).unwrap();
    let tally = bench.sender.finish().await.unwrap();
    assert_eq!(bench.fake.sizes(), [1, 1, 1]);
    assert_eq!((tally.acked, tally.failed, tally.retried, tally.throttled), (0, 1, 2, 3));
}

#[tokio::test]
async fn a_batch_that_is_rejected_is_given_up_at_once_and_the_next_goes_on() {
    let bench = bench(one_lane(), [Reply::Error("ValidationException")], Reply::Store).await;
    (0..2).for_each(|n| bench.sender.offer(record("a", n)).unwrap());
    let tally = bench.sender.finish().await.unwrap();
    assert_eq!((tally.acked, tally.failed), (1, 1));
    assert_eq!(bench.fake.stored_of("a"), ["1"]);
}

#[tokio::test]
async fn draining_ends_in_time_and_tells_what_was_left() {
    let delivery = Delivery { drain_max: Duration::from_millis(200), attempts_max: 1000, ..one_lane() };
    let bench = bench(delivery, [], Reply::Error(THROTTLED)).await;
    (0..10).for_each(|n| bench.sender.offer(record("a", n)).unwrap());
    let tally = bench.sender.finish().await.unwrap();
    assert_eq!((tally.acked, tally.failed, tally.unsent), (0, 1, 9));
    assert_eq!(bench.progress.snapshot().backlog, 0);
}

#[tokio::test]
async fn a_connection_that_is_refused_is_not_a_doubt() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let target = Target { stream: "test".to_owned(), client: crate::client(Some(&url), "us-east-1").await };
    let put = target.hardened().put([record("a", 0)].iter()).await;
    assert!(matches!(put, crate::target::Put::Refused { throttled: false, .. }), "{put:?}");
}

fn numbers(records: &[Record]) -> Vec<(&str, u64)> {
    records.iter().map(|record| (&*record.sensor, record.n)).collect()
}

#[test]
fn a_strict_request_holds_one_record_per_sensor() {
    let mut waiting: VecDeque<_> =
        [("a", 0), ("a", 1), ("b", 0), ("a", 2), ("c", 0)].map(|(sensor, n)| record(sensor, n)).into();
    assert_eq!(numbers(&batch::take(&mut waiting, true)), [("a", 0), ("b", 0), ("c", 0)]);
    assert_eq!(numbers(&batch::take(&mut waiting, true)), [("a", 1)]);
    assert_eq!(numbers(&batch::take(&mut waiting, true)), [("a", 2)]);
    assert!(waiting.is_empty());
}

#[test]
fn requests_stay_within_the_limits_and_lose_nothing() {
    let mut waiting: VecDeque<_> = (0..1100).map(|n| record("a", n)).collect();
    let sizes: Vec<_> = (0..3).map(|_| batch::take(&mut waiting, false).len()).collect();
    assert_eq!(sizes, [500, 500, 100]);
    assert!(waiting.is_empty());
}

#[test]
fn a_small_record_does_not_overtake_its_sensors_big_one() {
    let big = |sensor, n| Record { data: vec![0; 1_000_000].into(), ..record(sensor, n) };
    let mut waiting: VecDeque<_> = [big("a", 0), big("b", 0), record("b", 1), record("c", 0)].into();
    assert_eq!(numbers(&batch::take(&mut waiting, false)), [("a", 0), ("c", 0)]);
    assert_eq!(numbers(&batch::take(&mut waiting, false)), [("b", 0), ("b", 1)]);
}
