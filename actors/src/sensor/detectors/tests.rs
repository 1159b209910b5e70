//! What a further detector does to stored states: nothing is lost, and builds with it and without go on alike.

pub(super) mod trial;

use std::sync::Arc;

use messages::EventSchema;
use xxhash_rust::xxh3::xxh3_64;

use super::*;
use crate::sensor::tests::stored::{bytes, stored};
use crate::sensor::tests::{SCHEMA, SHARD, assess, at, feed, id, noise, rules, sensor};
use crate::sensor::{SensorCore, SensorRules, StateError};

/// The rules of the tests, with the further detector on `heat`. The layout is the same.
pub(in crate::sensor) fn further() -> Arc<SensorRules> {
    let schema = EventSchema::parse(&SCHEMA.replace("\"Cel\"", "\"trial\"")).unwrap_or_else(|e| panic!("{e}"));
    Arc::new(SensorRules::new(Arc::new(schema), 4))
}

fn fed(rules: Arc<SensorRules>) -> SensorCore {
    let mut core = SensorCore::new(id(), rules);
    feed(&mut core, &(0..40).map(|n| at(n, noise(n, 1.0))).collect::<Vec<_>>());
    core
}

/// The bytes with this tag in place of that of the further detector.
fn tagged(core: &SensorCore, tag: u32) -> Vec<u8> {
    let varint = |tag: u32| postcard::to_stdvec(&tag).unwrap();
    let mut bytes = core.encode().to_vec();
    let at = bytes.windows(2).position(|pair| pair == varint(1000)).unwrap();
    bytes.splice(at..at + 2, varint(tag));
    resealed(bytes)
}

fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() - 4);
    let checksum = xxh3_64(&bytes) as u32;
    [bytes, checksum.to_le_bytes().to_vec()].concat()
}

/// There are as many as sensors times fields.
#[test]
fn a_field_takes_no_more_memory_than_before_detectors_had_files() {
    assert!(size_of::<FieldState>() - size_of::<trial::State>() <= 96, "{}", size_of::<FieldState>());
}

#[test]
fn a_state_without_the_detector_goes_on_and_it_begins_afresh() {
    let old = bytes(stored("state"));
    let before = SensorCore::decode(id(), rules(), &old).unwrap();
    let mut core = SensorCore::decode(id(), further(), &old).unwrap();
    assert_eq!(core.state.watched, before.state.watched);
    // Until it has learnt something, nothing is written otherwise.
    assert_eq!(core.encode().as_ref(), old);
    assert_eq!(assess(&mut core, &[at(5, 21.0)]).1.len(), 0, "the first value is the highest");
    let (_, alerts) = assess(&mut core, &[at(6, 22.0)]);
    assert_eq!(alerts[0].message, "heat is above 21");
}

#[test]
fn a_state_with_the_detector_has_another_format_and_comes_back() {
    let core = fed(further());
    let stored = core.encode();
    // A build that knows format 2 only stops here, and names it.
    assert_eq!(stored[0], 3);
    let back = SensorCore::decode(id(), further(), &stored).unwrap();
    assert_eq!((back.encode(), &back.state.watched), (stored, &core.state.watched));
}

#[test]
fn an_unknown_tag_is_dropped_and_what_nobody_asks_for_as_well() {
    let core = fed(further());
    let without = fed(rules());
    assert_eq!(without.encode()[0], 2);
    // A build that knows the detector, under a schema that does not ask for it; and one that does not know it.
    for stored in [core.encode().to_vec(), tagged(&core, 1001), tagged(&core, u32::MAX)] {
        let mut back = SensorCore::decode(id(), rules(), &stored).unwrap();
        let mut expected = without.clone();
        assert_eq!(back.view(SHARD).fields["heat"]["baseline"], expected.view(SHARD).fields["heat"]["baseline"]);
        let rows: Vec<_> = (40..50).map(|n| at(n, noise(n, 1.0) + 40.0)).collect();
        let outcomes = (feed(&mut back, &rows).verdicts, feed(&mut expected, &rows).verdicts);
        assert_eq!(outcomes.0, outcomes.1);
        assert_eq!(back.state.watched, expected.state.watched);
        assert_eq!(back.encode()[0], 2, "nothing is left that an older build would not read");
    }
}

#[test]
fn the_first_four_keep_their_states_whatever_the_schema_asks() {
    let silent = SCHEMA.replacen("score = { threshold = 10.0, half_life = 4, warmup = 8, scale_min = 0.5 }", "", 1);
    let silent = Arc::new(SensorRules::new(Arc::new(EventSchema::parse(&silent).unwrap()), 4));
    for core in [fed(rules()), fed(further())] {
        let back = SensorCore::decode(id(), silent.clone(), &core.encode()).unwrap();
        assert_eq!(back.state.watched[0].detectors.score, core.state.watched[0].detectors.score);
    }
}

#[test]
fn a_state_of_another_length_than_it_says_is_damage() {
    let corrupt = |bytes: &[u8]| matches!(SensorCore::decode(id(), further(), bytes), Err(StateError::Corrupt { .. }));
    let core = fed(further());
    let stored = core.encode();
    let at = stored.windows(2).position(|pair| pair == [0xe8, 0x07]).unwrap() + 2;
    // An option, a number of eight bytes and one of one.
    assert_eq!(stored[at], 10);
    for (length, inside) in [(9, stored[at + 1..at + 10].to_vec()), (11, [&stored[at + 1..at + 11], &[0]].concat())] {
        let bent = [&stored[..at], &[length], &inside, &stored[at + 11..]].concat();
        assert!(corrupt(&resealed(bent)), "{length}");
    }
    for at in 1..stored.len() {
        let mut bent = stored.to_vec();
        bent[at] ^= 0x10;
        assert!(corrupt(&bent), "bent at {at}");
    }
    assert!(SensorCore::decode(id(), further(), &stored).is_ok());
    assert!(sensor().encode().len() < stored.len());
}
