//! Work and memory grow with the records, not with their square.

use std::time::{Duration, Instant};

use chaos::oracle::{Evidence, judge};
use messages::{CutReason, EventSchema};

use crate::honest::assert_clean;
use crate::lake::{Builder, HALF, START_MS, Shard, event, sensors};

const SENSORS: u32 = 500;
const MINUTES_PER_EPOCH: i64 = 20;

/// Two shards of plain readings, each sensor one a minute.
fn plain(epochs: i64) -> (Evidence, EventSchema) {
    let mut builder = Builder::new();
    let low = builder.open(0, &[], (0, HALF), 1);
    let high = builder.open(1, &[], (HALF + 1, u128::MAX), 2);
    for (mut shard, sensors) in [(low, sensors(SENSORS, false)), (high, sensors(SENSORS, true))] {
        for epoch in 0..epochs {
            let minutes = epoch * MINUTES_PER_EPOCH..(epoch + 1) * MINUTES_PER_EPOCH;
            let records = minutes.flat_map(|minute| readings(&mut builder, &shard, &sensors, minute)).collect();
            builder.epoch(&mut shard, records, CutReason::Bytes);
        }
        builder.epoch(&mut shard, Vec::new(), CutReason::Shutdown);
        builder.release(shard);
    }
    (builder.evidence, (*builder.schema).clone())
}

fn readings(builder: &mut Builder, shard: &Shard, sensors: &[String], minute: i64) -> Vec<messages::RawRecord> {
    let arrival_ms = START_MS + minute * 60_000 + 100;
    let put = |sensor: &String| {
        builder.put(shard, sensor, minute as u64, arrival_ms, event(sensor, minute as u64, 0, minute).into_bytes())
    };
    sensors.iter().map(put).collect()
}

#[test]
fn ten_times_the_records_take_ten_times_as_long() {
    let took = |epochs: i64| {
        let (evidence, schema) = plain(epochs);
        let began = Instant::now();
        let verdict = judge(&evidence, &schema);
        assert_clean(&verdict);
        let records = 2 * epochs * MINUTES_PER_EPOCH * i64::from(SENSORS);
        assert_eq!((verdict.cleansed, verdict.states), (records as u64, 2 * u64::from(SENSORS)));
        println!("{records} records: {:?}", began.elapsed());
        began.elapsed()
    };
    let (few, many) = (took(1), took(10));
    // Thirty, where the square would be a hundred: machines are shared.
    assert!(many < 30 * few.max(Duration::from_millis(50)), "{few:?} {many:?}");
}
