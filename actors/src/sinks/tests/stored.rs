//! An epoch as the builds of format 2 have written it: its plan and its state object are read, and come out the same
//! again, so that one that was prepared by such a build is finished by this one.

use std::sync::Arc;

use messages::{EncodedEpoch, EpochPlan, Reason, SensorId, StateEntry, StateKind, Verdict, Zone};

use super::fixture::{Part, Reading, batches, clean, content, context, event, objects};
use crate::lake::decode_state;
use crate::sinks::{EpochContext, encode_epoch};

/// The limits of the shipped configuration, as those builds have pinned them; `supervisor/src/worker/limits.rs` holds
/// this text against what is pinned now.
const LIMITS: &str = "DecodeLimits { record_bytes_max: 262144, events_per_record_max: 1000, depth_max: 64 } \
    WindowsConfig { allowed_lateness: 3600s, windows_per_sensor_max: 64 } known 1500000 crashes 3 ids 32 history 16";

fn states() -> Vec<StateEntry> {
    let entry = |kind, sensor: &str, bytes: &[u8]| StateEntry {
        kind,
        sensor: SensorId::new(sensor),
        hash_key: u128::MAX / 3 - bytes.len() as u128,
        bytes: Arc::from(bytes),
    };
    vec![
        entry(StateKind::Sensor, "a", &[2, 200, 1, 7, 0]),
        entry(StateKind::Sensor, "b", &[]),
        entry(StateKind::Windows, "a", &[1, 0, 255]),
    ]
}

fn epoch() -> EncodedEpoch {
    let schema = context().schema.as_ref().clone().with_limits(LIMITS);
    let context = EpochContext { schema: Arc::new(schema), ..context() };
    let refused = Verdict::Quarantined { reason: Reason::OutOfRange, detail: "heat is 99".to_owned() };
    let events = [
        event(11, vec![Part::Reading(Reading { change: true, alerts: 2, ..clean("a", 5, 1.0) })]),
        event(12, vec![Part::Reading(Reading { verdict: Verdict::Duplicate, ..clean("a", 5, 1.0) })]),
        event(13, vec![Part::Reading(Reading { verdict: refused, ..clean("b", 3_600_000_006, 2.0) })]),
        event(14, vec![Part::Reject(Reason::NotJson, "no".to_owned()), Part::Reading(clean("c", 7, -3.5))]),
    ];
    let mut content = content();
    content.states = states();
    encode_epoch(&context, &batches(&events, 3), &content).unwrap()
}

#[test]
fn a_prepared_epoch_comes_out_the_same_again() {
    let then: EpochPlan = serde_json::from_str(include_str!("stored/plan.json")).unwrap();
    assert_eq!(epoch().plan, then);
}

#[test]
fn a_state_object_is_read() {
    let state = decode_state(include_bytes!("stored/states.state")).unwrap();
    assert_eq!(state.entries, states());
    let again = decode_state(&objects(&epoch(), Zone::State)[0]).unwrap();
    assert_eq!(state.header, again.header);
}
