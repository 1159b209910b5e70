//! A stretch of sensor life with everything in it: readings, spikes, new firmware, duplicates, broken ones.
//!
//! Where epochs end does not depend on the clock when they are cut by partitions alone: every epoch of
//! `PARTITIONS_MAX` ends with the first record of every third hour, and the last record is such a one.

use crate::world::{Record, Setup, hour_start_ms, rfc3339};

pub const PARTITIONS_MAX: usize = 4;
const READINGS_PER_HOUR: u64 = 6;

/// One reading of sensor `s-<sensor>`, the `n`-th of its life.
pub fn reading(sensor: u64, n: u64, time_ms: i64) -> Record {
    let temperature = match n % 23 {
        17 => 70.0 + sensor as f64 / 10.0,
        phase => 20.0 + (phase * (sensor + 3) % 11) as f64 / 7.0,
    };
    event(sensor, n, time_ms, temperature)
}

fn event(sensor: u64, n: u64, time_ms: i64, temperature: f64) -> Record {
    let (id, time, humidity) = (sensor_id(sensor), rfc3339(time_ms), 40 + (n * 7 + sensor) % 13);
    let (firmware, lat) = (1 + n / 25, 50 + sensor % 3);
    let json = format!(
        r#"{{"sensor_id":"{id}","event_id":"{sensor}-{n}","seq":{n},"ts":"{time}","temperature":{temperature},"humidity":{humidity},"battery":80,"firmware":"1.{firmware}","location":{{"site":"site-{}","lat":{lat},"lon":13.5}}}}"#,
        sensor % 4
    );
    (id, json.into_bytes())
}

pub fn sensor_id(sensor: u64) -> String {
    format!("s-{sensor:03}")
}

/// The life of these sensors over three hours per epoch, cut into that many epochs.
pub fn history(sensors: u64, epochs: u64) -> Vec<Record> {
    let (hours, step_ms) = (3 * epochs, 3_600_000 / READINGS_PER_HOUR as i64);
    let start_ms = hour_start_ms(hours as i64 + 2);
    let mut records = Vec::new();
    for n in 0..hours * READINGS_PER_HOUR {
        for sensor in 0..sensors {
            let record = reading(sensor, n, start_ms + n as i64 * step_ms + sensor as i64);
            let (key, again) = record.clone();
            records.push(record);
            match n % 20 {
                7 => records.push((key, again)),
                11 => records.push(event(sensor, n + 1_000_000, start_ms + n as i64 * step_ms, 4000.0)),
                13 => records.push((key, again[..again.len() / 2].to_vec())),
                _ => {}
            }
        }
    }
    // The first record of the next hour closes the last epoch.
    records.push(reading(0, hours * READINGS_PER_HOUR, start_ms + hours as i64 * 3_600_000));
    records
}

/// A worker that cuts by partitions alone, with the full state in every epoch.
pub fn setup() -> Setup {
    Setup {
        age_max: std::time::Duration::from_secs(3600),
        bytes_max: u64::MAX,
        partitions_max: PARTITIONS_MAX,
        full_state_every: 1,
        ..Setup::default()
    }
}
