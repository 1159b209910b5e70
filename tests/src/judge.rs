//! What holds for every lake that was left in good order, whatever happened on the way.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::lake::{Lake, Row, Sequence, identity, integer, text};
use crate::world::Record;

/// RAW-ONCE, CLEAN-ONCE, COMPLETE and CHECKPOINT, judged by what was put and what landed.
pub fn assert_whole(lake: &Lake, put: &[Record]) {
    assert_raw_is(lake, put);
    assert_sound(lake);
}

/// What holds without knowing what was put.
pub fn assert_sound(lake: &Lake) {
    assert_adds_up(lake);
    assert_chained(lake);
    assert_within_epochs(lake);
    assert_keys_plain(lake);
}

/// Every record is in the raw zone once, byte for byte.
fn assert_raw_is(lake: &Lake, put: &[Record]) {
    let mut put: Vec<&[u8]> = put.iter().map(|(_, data)| data.as_slice()).collect();
    let raw = lake.raw();
    let mut raw: Vec<&[u8]> = raw.iter().map(Vec::as_slice).collect();
    put.sort_unstable();
    raw.sort_unstable();
    assert_eq!(raw.len(), put.len(), "records in the raw zone");
    let other = put.iter().zip(&raw).find(|(put, raw)| put != raw);
    assert!(other.is_none(), "the raw zone holds other bytes: {:?}", other.map(|(put, raw)| (shown(put), shown(raw))));
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned()
}

/// Every reading is in one zone once, and the manifests count what the zones hold.
fn assert_adds_up(lake: &Lake) {
    let zones = [("clean", "cleansed"), ("quarantined", "quarantine"), ("duplicates", "duplicates")];
    let mut readings = BTreeSet::new();
    let mut n_rows = 0;
    for (count, zone) in zones {
        let rows = lake.rows(zone);
        assert_eq!(rows.len() as u64, lake.promised(count), "rows of {zone} against the manifests");
        n_rows += rows.len();
        readings.extend(rows.iter().map(identity));
    }
    assert_eq!(readings.len(), n_rows, "readings that stand in more than one row");
    assert_eq!(n_rows as u64, lake.promised("readings"), "readings against clean, quarantined and duplicate ones");
}

/// The manifests of each shard, in order of their epochs.
pub fn chains(lake: &Lake) -> BTreeMap<String, Vec<Value>> {
    let mut chains: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for manifest in lake.manifests() {
        chains.entry(manifest["shard"].as_str().unwrap().to_owned()).or_default().push(manifest);
    }
    for chain in chains.values_mut() {
        chain.sort_by_key(|manifest| manifest["cut"]["epoch"].as_u64());
    }
    chains
}

/// Each epoch begins where the one before ended.
fn assert_chained(lake: &Lake) {
    for (shard, chain) in chains(lake) {
        let mut end = Value::from("TrimHorizon");
        for (n, manifest) in chain.iter().enumerate() {
            let cut = &manifest["cut"];
            assert_eq!(cut["epoch"], n as u64 + 1, "epochs of {shard}");
            assert_eq!(cut["from"], end, "epoch {} of {shard} begins elsewhere", n + 1);
            end = cut["to"].clone();
        }
    }
}

/// Every row stands in an object of the epoch that its record belongs to; cleansed ones in the promised order.
fn assert_within_epochs(lake: &Lake) {
    let place = |end: &Value| end["At"].as_str().map(Sequence::of);
    for manifest in lake.manifests() {
        let (from, to) = (place(&manifest["cut"]["from"]), place(&manifest["cut"]["to"]));
        for object in manifest["objects"].as_array().unwrap() {
            let (key, zone) = (object["key"].as_str().unwrap(), object["zone"].as_str().unwrap());
            if !["cleansed", "quarantine", "duplicates", "dimensions"].contains(&zone) {
                continue;
            }
            let rows = lake.rows_of(key);
            let ends = manifest["cut"]["to"] == "ShardEnd";
            let inside = |row: &Row| Some(identity(row).1) > from && (ends || Some(identity(row).1) <= to);
            assert!(rows.iter().all(inside), "{key} holds rows of another epoch");
            let order = |row: &Row| (text(row, "sensor_id"), integer(row, "event_time"), identity(row));
            assert!(zone != "cleansed" || rows.is_sorted_by_key(order), "{key} is not in order");
        }
    }
}

/// INERT: no byte of input reaches a key.
fn assert_keys_plain(lake: &Lake) {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"=_/.-".contains(&b);
    for key in lake.keys() {
        assert!(key.bytes().all(allowed) && !key.contains(".."), "{key:?} is not a plain key");
    }
}

/// ORDER: along the stream, the device's own counter of every sensor only grows.
pub fn assert_device_order(lake: &Lake) {
    let mut rows = lake.rows("cleansed");
    rows.sort_by_key(|row| (text(row, "sensor_id"), identity(row)));
    for sensor in rows.chunk_by(|a, b| text(a, "sensor_id") == text(b, "sensor_id")) {
        let grows = sensor.is_sorted_by(|a, b| integer(a, "device_sequence") < integer(b, "device_sequence"));
        assert!(grows, "readings of {} are out of order", text(&sensor[0], "sensor_id"));
    }
}

/// All rows of a zone as text, in stream order.
pub fn rows_as_text(lake: &Lake, zone: &str) -> Vec<String> {
    let mut rows = lake.rows(zone);
    rows.sort_by_key(identity);
    rows.iter().map(|row| format!("{row:?}")).collect()
}

/// Two lakes over the same records say the same: every row of every zone, and the state that the next epoch begins with.
pub fn assert_same_content(lake: &Lake, calm: &Lake) {
    for zone in ["cleansed", "quarantine", "duplicates", "dimensions"] {
        assert_same(zone, &rows_as_text(lake, zone), &rows_as_text(calm, zone));
    }
    let (aggregates, undisturbed) = (lake.latest_aggregates(), calm.latest_aggregates());
    assert_same("aggregates", &Vec::from_iter(&aggregates), &Vec::from_iter(&undisturbed));
    assert_same("alerts", &lake.json_lines("alerts"), &calm.json_lines("alerts"));
    let entries = |lake: &Lake| lake.full_states().into_iter().flat_map(|state| state.entries).collect::<Vec<_>>();
    assert_same("state", &entries(lake), &entries(calm));
}

/// Equal lists that are not empty; shows the first difference only.
pub fn assert_same<T: PartialEq + std::fmt::Debug>(what: &str, found: &[T], expected: &[T]) {
    assert!(!expected.is_empty(), "{what}: nothing to compare with");
    let other = found.iter().zip(expected).find(|(found, expected)| found != expected);
    assert!(other.is_none(), "{what} differs, found and expected: {other:#?}");
    assert_eq!(found.len(), expected.len(), "{what}");
}
