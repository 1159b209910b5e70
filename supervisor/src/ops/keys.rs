//! What is not as it should be with the stream's keys, in words.
//!
//! **Promises** nothing is said of what the configuration expects.
//! **Not here**: noticing it (the leases).

use actors::keys::{Expected, Keys};

use super::diagnosis::{Finding, Level};
use super::words;

const RUNBOOK: &str = "MangroveSensorsSpread";

/// The findings, as of this moment.
pub(super) fn findings(keys: &Keys, since_unknown_ms: impl FnOnce() -> i64) -> Vec<Finding> {
    if keys.expected() == Expected::Spread {
        return Vec::new();
    }
    let level = if keys.expected() == Expected::Sensor { Level::Critical } else { Level::Warning };
    let finding =
        |level, what, since_ms| Finding { level, what, since_ms, view: "cluster", at: None, runbook: RUNBOOK };
    let mut findings = Vec::new();
    if keys.is_spread_by_service() {
        let what = "The stream spreads records over its shards whatever their keys are: windows and versions are combined \
                    over shards, repeats are known within a shard only, and no sensor is reported silent.";
        findings.push(finding(level, what.to_owned(), keys.spread_since_ms()));
    } else if let Some(seen) = keys.seen() {
        let [one, other] = &seen.shards;
        let what = format!(
            "{} of those sampled come in two open shards at once, for one {} and {}: their partition key is not the sensor's. \
             Windows and versions are combined over shards, repeats are known within a shard only, and {}.",
            words::count(seen.sensors, "sensor"),
            one.short(),
            other.short(),
            match keys.silence_tells() {
                true => "such a sensor may be reported silent though it is not",
                false => "no sensor is reported silent",
            },
        );
        findings.push(finding(level, what, seen.since_ms));
    }
    if let Some(why) = keys.unknown() {
        let what = format!("Whether the stream places records by their keys cannot be asked: {why}.");
        findings.push(finding(Level::Notice, what, since_unknown_ms()));
    }
    findings
}

#[cfg(test)]
mod tests {
    use messages::ShardId;
    use messages::sample::Shared;

    use super::*;

    fn two(sensors: usize) -> Option<Shared> {
        let shards = ["shardId-000000000001", "shardId-000000000002"].map(ShardId::new);
        Some(Shared { shards, sensors, of: 48 })
    }

    fn levels(keys: &Keys) -> Vec<Level> {
        findings(keys, || 0).iter().map(|finding| finding.level).collect()
    }

    #[test]
    fn what_is_expected_is_no_finding_and_what_is_ruled_out_is_critical() {
        let of = |expected| {
            let keys = Keys::new(expected);
            assert_eq!(levels(&keys), []);
            keys.compared(two(3), 5);
            let seen = levels(&keys);
            keys.heard(false, 9);
            keys.not_heard("no permission".to_owned());
            [seen, levels(&keys)]
        };
        assert_eq!(of(Expected::Detect), [vec![Level::Warning], vec![Level::Warning, Level::Notice]]);
        assert_eq!(of(Expected::Sensor), [vec![Level::Critical], vec![Level::Critical, Level::Notice]]);
        assert_eq!(of(Expected::Spread), [vec![], vec![]]);
    }

    #[test]
    fn a_sensor_in_two_shards_is_told_with_both() {
        let keys = Keys::default();
        keys.compared(two(1), 5);
        let [finding] = findings(&keys, || 0).try_into().unwrap();
        assert!(finding.what.contains("000000000001 and 000000000002"), "{}", finding.what);
        assert_eq!((finding.since_ms, finding.runbook), (5, RUNBOOK));
    }
}
