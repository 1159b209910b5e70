//! What an alert says, and that its id is always the same.

use std::time::Duration;

use messages::Severity;

use super::*;
use crate::sensor::heartbeat_alert;

#[test]
fn an_alert_names_its_reading_and_keeps_its_id() {
    let (_, alerts) = assess(&mut sensor(), &[at(0, 20.0), at(9, 61.0)]);
    let alert = &alerts[0];
    assert_eq!(alert.field.as_deref(), Some("heat"));
    assert_eq!((alert.event_time_us, alert.arrival_ms), (START_US + 9 * SECOND_US, START_US / 1000 + 9000));
    assert_eq!((alert.shard.as_str(), alert.sequence.as_deref()), (SHARD, Some("1")));
    // Written down: receivers drop repeats by it, also repeats from an older build.
    assert_eq!(alert.id, "8f9e32c86aab930711a2b8c8982118de");
    let (_, elsewhere) = assess(&mut sensor(), &[at(0, 20.0), at(8, 20.0), at(9, 61.0)]);
    assert_ne!(elsewhere[0].id, alert.id);
}

#[test]
fn a_silence_has_one_id_whoever_notices_it() {
    let silence = |shard, arrival_ms, silent_for_ms| {
        heartbeat_alert(&id(), &ShardId::new(shard), None, arrival_ms, silent_for_ms, Duration::from_secs(300))
    };
    let alert = silence("shardId-000000000000", 77_000, 312_500);
    assert_eq!(alert.message, "nothing has arrived for 312.5 s; expected a reading at least every 300 s");
    assert_eq!((alert.severity, alert.field.as_deref(), alert.sequence.as_deref()), (Severity::Critical, None, None));
    assert_eq!((alert.event_time_us, alert.arrival_ms), (77_000_000, 77_000));
    assert_eq!(alert.id, silence("shardId-000000000007", 77_000, 400_000).id);
    assert_ne!(alert.id, silence("shardId-000000000000", 77_001, 312_500).id);
}
