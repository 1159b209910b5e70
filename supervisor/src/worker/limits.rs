//! The limits that decide what becomes of a reading: every epoch pins them, with the schema, before anything of it is
//! written.
//!
//! **Owns** the list, by name, and how it is written.
//!
//! **Promises**
//! - The text of a version never changes, whatever becomes of the types that hold the values: an epoch that one build has
//!   prepared is finished by another under the same configuration. Version 1 looks like what Rust made of two structs
//!   once, because builds of that time pinned that.
//! - No limit is left out: a field that is added to the limits of the decoder or of the windows does not compile here.
//!
//! A limit that is added makes version 2: it stands behind version 1 as ` name value`, and only where it is set otherwise
//! than builds before it did without asking. So what an older build has pinned stays what it was.
//!
//! **Not here**: limits on how much an epoch holds, which its plan says itself, and how objects are encoded.

use std::time::Duration;

use actors::aggregator::WindowsConfig;
use actors::reader::decode::DecodeLimits;

use super::WorkerConfig;

/// All limits of a worker, as its epochs pin them.
pub(super) fn pinned(config: &WorkerConfig) -> String {
    version_1(config)
}

fn version_1(config: &WorkerConfig) -> String {
    let DecodeLimits { record_bytes_max, events_per_record_max, depth_max } = &config.shard.reader.decode;
    let WindowsConfig { allowed_lateness, windows_per_sensor_max } = config.shard.aggregator;
    let (known, crashes) = (config.shard.sensors.known_max, config.shard.sensors.crashes_max);
    let (ids, history) = (config.event_ids_max, config.history_max);
    let lateness = duration(allowed_lateness);
    format!(
        "DecodeLimits {{ record_bytes_max: {record_bytes_max}, events_per_record_max: {events_per_record_max}, \
         depth_max: {depth_max} }} \
         WindowsConfig {{ allowed_lateness: {lateness}, windows_per_sensor_max: {windows_per_sensor_max} }} \
         known {known} crashes {crashes} ids {ids} history {history}"
    )
}

/// In the largest unit that it fills, with what is left as decimals.
fn duration(length: Duration) -> String {
    let nanos = length.as_nanos();
    let units = [("s", 9), ("ms", 6), ("µs", 3)];
    let (unit, digits) = units.into_iter().find(|(_, digits)| nanos >= 10_u128.pow(*digits)).unwrap_or(("ns", 0));
    let (whole, rest) = (nanos / 10_u128.pow(digits), nanos % 10_u128.pow(digits));
    if rest == 0 {
        return format!("{whole}{unit}");
    }
    let decimals = format!("{rest:0width$}", width = digits as usize);
    format!("{whole}.{}{unit}", decimals.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    /// As builds have pinned it that wrote the limits with `{:?}`.
    const SHIPPED: &str = "DecodeLimits { record_bytes_max: 262144, events_per_record_max: 1000, depth_max: 64 } \
        WindowsConfig { allowed_lateness: 3600s, windows_per_sensor_max: 64 } known 1500000 crashes 3 ids 32 history 16";

    fn shipped() -> WorkerConfig {
        Config::shipped("worker-a", messages::EventSchema::built_in("climate").unwrap())
    }

    #[test]
    fn the_text_of_version_1_is_that_of_the_builds_before() {
        let config = shipped();
        assert_eq!(pinned(&config), SHIPPED);
        // The plan in `actors/src/sinks/tests/stored/plan.json` has it too.
        let schema = messages::EventSchema::built_in("climate").unwrap().with_limits(&pinned(&config));
        assert_eq!(schema.fingerprint, "15e14c9120597e69");
    }

    #[test]
    fn every_limit_makes_another_text() {
        type Change = fn(&mut WorkerConfig);
        let changes: [Change; 9] = [
            |config| config.shard.reader.decode.record_bytes_max += 1,
            |config| config.shard.reader.decode.events_per_record_max += 1,
            |config| config.shard.reader.decode.depth_max += 1,
            |config| config.shard.aggregator.allowed_lateness += Duration::from_nanos(1),
            |config| config.shard.aggregator.windows_per_sensor_max += 1,
            |config| config.shard.sensors.known_max += 1,
            |config| config.shard.sensors.crashes_max += 1,
            |config| config.event_ids_max += 1,
            |config| config.history_max += 1,
        ];
        let mut texts: Vec<String> = changes.iter().map(|change| pinned(&changed(*change))).collect();
        texts.push(SHIPPED.to_owned());
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), changes.len() + 1);
    }

    fn changed(change: fn(&mut WorkerConfig)) -> WorkerConfig {
        let mut config = shipped();
        change(&mut config);
        config
    }

    #[test]
    fn durations_are_written_as_they_were() {
        let written = [
            (0, "0ns"),
            (999, "999ns"),
            (1_000, "1µs"),
            (1_500, "1.5µs"),
            (250_000_000, "250ms"),
            (250_000_001, "250.000001ms"),
            (90_000_000_000, "90s"),
            (1_050_000_000, "1.05s"),
            (604_800_000_000_000, "604800s"),
        ];
        for (nanos, text) in written {
            assert_eq!(duration(Duration::from_nanos(nanos)), text);
            // What the builds before wrote; should another toolchain write it otherwise, the text above is right.
            assert_eq!(format!("{:?}", Duration::from_nanos(nanos)), text);
        }
    }
}
