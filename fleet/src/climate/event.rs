//! One reading and its JSON.

use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat};

/// What a device reports. The order of fields is the order in the JSON.
#[derive(Clone, Debug)]
pub(super) struct Event<'a> {
    pub sensor_id: &'a str,
    pub event_id: u64,
    pub seq: u64,
    pub ts_ms: i64,
    pub temperature: f64,
    pub humidity: f64,
    pub battery: f64,
    pub firmware: Firmware,
    pub place: Place,
}

/// A version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Firmware {
    pub major: u8,
    pub minor: u8,
    pub patch: u16,
}

/// Where a device stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Place {
    pub site: u8,
    pub lat: f64,
    pub lon: f64,
}

impl Event<'_> {
    /// `sensor_id` needs no escaping: devices are numbered.
    pub(super) fn to_json(&self) -> String {
        let mut json = String::with_capacity(288);
        let Firmware { major, minor, patch } = self.firmware;
        let Place { site, lat, lon } = self.place;
        write!(
            json,
            "{{\"sensor_id\":\"{}\",\"event_id\":\"{:016x}\",\"seq\":{},\"ts\":\"{}\",\
             \"temperature\":{:.2},\"humidity\":{:.1},\"battery\":{:.1},\"firmware\":\"{major}.{minor}.{patch}\",\
             \"location\":{{\"site\":\"plant-{site}\",\"lat\":{lat:.4},\"lon\":{lon:.4}}}}}",
            self.sensor_id,
            self.event_id,
            self.seq,
            rfc3339_ms(self.ts_ms),
            self.temperature,
            self.humidity,
            self.battery,
        )
        .expect("writing to a string cannot fail");
        json
    }
}

pub(super) fn rfc3339_ms(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}
