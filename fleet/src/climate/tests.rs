//! Content by seed, the schedule, the shares, and whole runs.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::*;
use crate::fake::{Fake, Reply, count, outcomes, until};
use crate::{AnomalyKind, BrokenKind, Delivery, Kind, Outcome};

fn options(sensors: u32, rate: f64, ledger: &Path) -> FleetOptions {
    FleetOptions::new(sensors, rate, 7, ledger.join("ledger.jsonl"))
}

/// Everything `turns` turns of one device give, in sending order.
fn emissions(seed: u64, index: u32, turns: u64, shares: &Shares, ms_apart: i64) -> Vec<Emission> {
    let mut device = Device::new(seed, index);
    (0..turns as i64)
        .flat_map(|k| {
            let step = device.step(shares, 1_795_359_845_123 + k * ms_apart);
            [step.fresh, step.echo]
        })
        .flatten()
        .collect()
}

/// The payload without its timestamp.
fn timeless(emission: &Emission) -> String {
    let text = String::from_utf8_lossy(&emission.data).into_owned();
    match text.find("\"ts\":\"") {
        Some(start) if text.len() > start + 30 => format!("{}{}", &text[..start], &text[start + 30..]),
        _ => text,
    }
}

#[test]
fn content_depends_on_the_seed_and_not_on_timing() {
    let shares = Shares { broken: 0.05, ..Shares::demo() };
    for index in [0, 3, 17, 4711] {
        let slow = emissions(7, index, 3000, &shares, 1000);
        let fast = emissions(7, index, 3000, &shares, 1);
        assert_eq!(slow.len(), fast.len());
        for (slow, fast) in slow.iter().zip(&fast) {
            assert_eq!((slow.n, slow.kind, &slow.claims), (fast.n, fast.kind, &fast.claims));
            // Half an event ends within its timestamp.
            if slow.kind != Kind::Broken(BrokenKind::Truncated) {
                assert_eq!(timeless(slow), timeless(fast));
            }
        }
        assert_ne!(slow, emissions(8, index, 3000, &shares, 1000));
    }
}

#[test]
fn an_event_has_exactly_the_agreed_shape() {
    let (_, payload) = broken::all().into_iter().find(|(kind, _)| *kind == BrokenKind::OutOfRange).unwrap();
    assert_eq!(
        String::from_utf8(payload).unwrap(),
        r#"{"sensor_id":"s-000042","event_id":"0123456789abcdef","seq":7,"ts":"2026-11-22T15:04:05.123Z","temperature":4000,"humidity":45.2,"battery":88.1,"firmware":"1.4.2","location":{"site":"plant-3","lat":52.5201,"lon":13.4049}}"#
    );
}

#[test]
fn numbers_are_dense_and_duplicates_follow_closely_byte_for_byte() {
    let shares = Shares { duplicate: 0.2, anomaly: 0.01, ..Shares::none() };
    let all = emissions(7, 5, 5000, &shares, 100);
    let mut last = None;
    let mut n_duplicates = 0;
    for emission in &all {
        if emission.kind == Kind::Duplicate {
            let original = all.iter().find(|it| it.n == emission.n).unwrap();
            assert_eq!(original.data, emission.data);
            assert!((1..=4).contains(&(last.unwrap() - emission.n)), "{last:?} {}", emission.n);
            n_duplicates += 1;
        } else {
            assert_eq!(emission.n, last.map_or(0, |last| last + 1));
            last = Some(emission.n);
        }
    }
    // One waits at a time, so a few of the 20 % are not made.
    assert!((500..1000).contains(&n_duplicates), "{n_duplicates}");
}

#[test]
fn shares_are_met_and_every_anomaly_occurs() {
    let mut kinds: BTreeMap<Kind, u64> = BTreeMap::new();
    for index in 0..100 {
        for emission in emissions(7, index, 5000, &Shares::demo(), 100) {
            *kinds.entry(emission.kind).or_default() += 1;
        }
    }
    let share = |count: u64| count as f64 / 500_000.0;
    let broken = kinds.iter().filter(|(kind, _)| matches!(kind, Kind::Broken(_))).map(|(_, n)| n).sum();
    assert!((0.0045..0.0055).contains(&share(kinds[&Kind::Duplicate])), "{kinds:?}");
    assert!((0.0045..0.0055).contains(&share(kinds[&Kind::Late])), "{kinds:?}");
    assert!((0.0017..0.0023).contains(&share(broken)), "{kinds:?}");
    assert!(AnomalyKind::ALL.iter().all(|kind| kinds[&Kind::Anomaly(*kind)] > 50), "{kinds:?}");
    assert!(BrokenKind::ALL.iter().all(|kind| kinds.contains_key(&Kind::Broken(*kind))), "{kinds:?}");
    assert!(share(kinds[&Kind::Reading]) > 0.95, "{kinds:?}");
}

#[test]
fn plain_readings_are_a_calm_baseline() {
    let temperature =
        |emission: &Emission| serde_json::from_slice::<Value>(&emission.data).unwrap()["temperature"].as_f64().unwrap();
    let values: Vec<_> = emissions(7, 1, 3000, &Shares::none(), 100).iter().map(temperature).collect();
    assert!(values.windows(2).all(|pair| (pair[0] - pair[1]).abs() < 0.8));
    assert!(values.iter().all(|value| (8.0..32.0).contains(value)));
}

#[test]
fn late_events_lie_ten_seconds_to_45_minutes_back() {
    let shares = Shares { late: 1.0, ..Shares::none() };
    for emission in emissions(7, 1, 500, &shares, 0) {
        let event: Value = serde_json::from_slice(&emission.data).unwrap();
        let ts = chrono::DateTime::parse_from_rfc3339(event["ts"].as_str().unwrap()).unwrap();
        let late_ms = 1_795_359_845_123 - ts.timestamp_millis();
        assert!((10_000..=2_700_000).contains(&late_ms), "{late_ms}");
    }
}

#[test]
fn heavy_payloads_are_bounded_however_long_a_fleet_runs() {
    let shares = Shares { broken: 1.0, ..Shares::none() };
    let mut n_heavy = 0;
    for index in 0..60 {
        let all = emissions(7, index, 200, &shares, 100);
        n_heavy += all.iter().filter(|it| matches!(it.kind, Kind::Broken(kind) if kind.is_heavy())).count();
    }
    assert_eq!(n_heavy, 19 * 3);
}

#[test]
fn every_broken_payload_is_what_its_name_says_and_fits_into_a_record() {
    use BrokenKind as B;
    for (kind, payload) in broken::all() {
        assert!(payload.len() + "s-000042".len() <= 1_048_576, "{kind:?} has {} bytes", payload.len());
        let parsed = serde_json::from_slice::<Value>(&payload);
        let event = || parsed.as_ref().unwrap();
        match kind {
            // serde_json refuses depth as well: nested arrays beyond 128.
            B::NotJson | B::Truncated | B::Nan | B::HugeNumber | B::BadUtf8 | B::Deep => {
                assert!(parsed.is_err(), "{kind:?}");
            }
            B::WrongType => assert!(event()["temperature"].is_string()),
            B::MissingId => assert!(event().get("sensor_id").is_none()),
            B::EmptyId => assert_eq!(event()["sensor_id"], ""),
            B::PathId => assert_eq!(event()["sensor_id"], "../../etc"),
            B::HugeId => assert_eq!(event()["sensor_id"].as_str().unwrap().len(), 65_536),
            B::NewlineId => assert!(event()["sensor_id"].as_str().unwrap().contains('\n')),
            B::QuoteId => assert!(event()["sensor_id"].as_str().unwrap().contains('"')),
            B::Year1970 => assert_eq!(event()["ts"], "1970-01-01T00:00:00.000Z"),
            B::Year9999 => assert_eq!(event()["ts"], "9999-12-31T23:59:59.999Z"),
            B::MissingTemperature => assert!(event().get("temperature").is_none()),
            B::OutOfRange => assert_eq!(event()["temperature"], 4000),
            B::DuplicateKey => {
                assert_eq!(String::from_utf8(payload).unwrap().matches("\"sensor_id\":").count(), 2);
            }
            B::BigRecord => {
                assert!(parsed.is_ok());
                assert_eq!(payload.len() + "s-000042".len(), 1_048_576);
            }
        }
    }
}

#[test]
fn the_schedule_knows_nothing_but_start_and_rate() {
    let schedule = Schedule::new(3.0, Some(Duration::from_secs(10)));
    assert_eq!(schedule.n_events(), Some(30));
    assert_eq!(schedule.offset(0), Duration::ZERO);
    assert_eq!(schedule.offset(3_000_000), Duration::from_secs(1_000_000));
    assert_eq!(schedule.n_due(Duration::ZERO), 1);
    assert_eq!(schedule.n_due(Duration::from_millis(700)), 3);
    assert_eq!(schedule.n_due(Duration::from_secs(99)), 30);
    assert_eq!(Schedule::new(3.0, None).n_due(Duration::from_secs(99)), 298);
}

#[test]
fn nonsense_options_are_refused() {
    let good = FleetOptions::new(1, 1.0, 0, "x");
    assert!(good.check().is_ok());
    for bad in [
        FleetOptions { sensors: 0, ..good.clone() },
        FleetOptions { rate: f64::NAN, ..good.clone() },
        FleetOptions { rate: 0.0, ..good.clone() },
        FleetOptions { shares: Shares { late: 0.9, broken: 0.2, ..Shares::none() }, ..good.clone() },
        FleetOptions { shares: Shares { late: -0.1, ..Shares::none() }, ..good.clone() },
        FleetOptions { delivery: Delivery { lanes: 0, ..Delivery::open_loop() }, ..good.clone() },
    ] {
        assert!(matches!(bad.check(), Err(FleetError::Option { .. })), "{bad:?}");
    }
}

#[tokio::test]
async fn a_slow_stream_does_not_slow_the_schedule_but_makes_it_shed() {
    let folder = tempfile::tempdir().unwrap();
    let fake = Fake::start([], Reply::Store).await;
    fake.set_open(false);
    let mut options = options(20, 4000.0, folder.path());
    options.shares = Shares::none();
    options.duration = Some(Duration::from_millis(500));
    options.delivery.backlog_max = 160;
    let progress = Arc::<Progress>::default();
    let (_keep, stop) = watch::channel(false);
    let run = tokio::spawn(run_fleet(fake.target().await, options, progress.clone(), stop));
    until("the schedule to end", || {
        let now = progress.snapshot();
        now.due + now.shed == 2000
    })
    .await;
    let held = progress.snapshot();
    assert!(held.shed > 0 && held.acked == 0, "{held:?}");
    fake.set_open(true);
    let report = run.await.unwrap().unwrap();
    assert_eq!(report.acked + report.shed, 2000);
    // Measured from when an event was due: the oldest waited for the whole half second.
    assert!(report.latency.max_ms >= 450.0, "{:?}", report.latency);
    assert_eq!(report.shed, held.shed);
    // What was not shed is dense: no number is missing.
    for index in 0..20 {
        let events = fake.stored_of(&format!("s-{index:06}"));
        let seqs: Vec<_> =
            events.iter().map(|it| serde_json::from_str::<Value>(it).unwrap()["seq"].as_u64().unwrap()).collect();
        assert_eq!(seqs, (0..events.len() as u64).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn stop_settles_what_is_in_flight_and_the_ledger_holds_it() {
    let folder = tempfile::tempdir().unwrap();
    let throttle = Reply::Refuse(&[0], "ProvisionedThroughputExceededException");
    let fake = Fake::start(vec![throttle; 8], Reply::Store).await;
    let options = options(300, 3000.0, folder.path());
    let ledger = options.ledger.clone();
    let progress = Arc::<Progress>::default();
    let (stop, stopping) = watch::channel(false);
    let run = tokio::spawn(run_fleet(fake.target().await, options, progress.clone(), stopping));
    until("some acknowledgements", || progress.snapshot().acked > 1000).await;
    stop.send(true).unwrap();
    let report = run.await.unwrap().unwrap();
    let end = progress.snapshot();
    assert_eq!((report.failed, report.unsent, end.backlog), (0, 0, 0));
    assert_eq!(report.acked, end.due);
    assert_eq!(report.acked, fake.stored().len() as u64);
    assert_eq!(count(&outcomes(&ledger), Outcome::Acked), report.acked);
    assert_eq!(report.acked_by_kind.values().sum::<u64>(), report.acked);
}
