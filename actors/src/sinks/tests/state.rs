use std::io::Write;
use std::sync::Arc;

use messages::{EpochContent, Position, SensorId, StateEntry, StateKind, Zone};
use proptest::prelude::*;

use super::fixture::{content, context, objects, sequence};
use crate::lake::state::STATE_VERSION;
use crate::lake::state::decompress;
use crate::lake::{StateObjectError, decode_state};
use crate::sinks::{EpochContext, encode_epoch};

fn entry(kind: StateKind, sensor: &str, bytes: &[u8]) -> StateEntry {
    StateEntry {
        kind,
        sensor: SensorId::new(sensor),
        hash_key: u128::MAX - bytes.len() as u128,
        bytes: Arc::from(bytes),
    }
}

fn encode(context: &EpochContext, content: &EpochContent) -> Vec<u8> {
    let epoch = encode_epoch(context, &[], content).unwrap();
    objects(&epoch, Zone::State)[0].to_vec()
}

fn some_states() -> Vec<StateEntry> {
    vec![
        entry(StateKind::Sensor, "a", b"state of a"),
        entry(StateKind::Sensor, "b", b""),
        entry(StateKind::Windows, "a", &[0, 255, 10]),
    ]
}

#[test]
fn a_state_comes_back_as_it_was() {
    let mut content = content();
    content.states = some_states();
    content.cut.full_state = true;
    let state = decode_state(&encode(&context(), &content)).unwrap();
    assert_eq!(state.entries, some_states());
    assert_eq!(state.header.shard, context().shard);
    assert_eq!(state.header.epoch, content.cut.epoch);
    assert_eq!(state.header.to, Position::At(sequence(99)));
    assert!(state.header.full);
    assert_eq!(state.header.watermark_us, content.watermark_us);
    assert_eq!(state.header.schema, context().schema.fingerprint);
    assert_eq!(state.header.fields[..2], ["temperature", "humidity"]);
    assert_eq!(state.header.previous, context().previous_state);
}

#[test]
fn every_damage_is_noticed() {
    let mut content = content();
    content.states = some_states();
    let good = encode(&context(), &content);
    for n in 0..good.len() {
        assert!(decode_state(&good[..n]).is_err(), "cut after {n} bytes");
        let mut bad = good.clone();
        bad[n] ^= 1;
        assert!(decode_state(&bad).is_err(), "byte {n} changed");
    }
    let longer = [good.as_slice(), &[0]].concat();
    assert!(matches!(decode_state(&longer), Err(StateObjectError::Checksum)));
}

#[test]
fn a_newer_version_and_other_files_are_told_apart() {
    let mut newer = encode(&context(), &content());
    newer[4] = STATE_VERSION + 1;
    assert!(matches!(decode_state(&newer), Err(StateObjectError::Version { found: 2 })));
    for other in [&b""[..], b"MGS", b"PAR1 and so on", b"{}"] {
        assert!(matches!(decode_state(other), Err(StateObjectError::NotState)), "{other:?}");
    }
}

#[test]
fn a_bomb_does_not_go_off() {
    let mut zstd = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    zstd.write_all(&vec![0; 1_000_000]).unwrap();
    let bomb = zstd.finish().unwrap();
    assert!(bomb.len() < 1000);
    assert!(matches!(decompress(&bomb, 999_999), Err(StateObjectError::TooLarge)));
    assert_eq!(decompress(&bomb, 1_000_000).unwrap().len(), 1_000_000);
}

proptest! {
    #[test]
    fn any_states_come_back(
        states in prop::collection::btree_map("[a-z]{1,6}", prop::collection::vec(any::<u8>(), 0..200), 0..40),
    ) {
        let mut content = content();
        content.states = states.iter().map(|(sensor, bytes)| entry(StateKind::Windows, sensor, bytes)).collect();
        prop_assert_eq!(decode_state(&encode(&context(), &content)).unwrap().entries, content.states);
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_state(&bytes);
        let _ = decode_state(&[b"MGST\x01", bytes.as_slice()].concat());
    }
}
