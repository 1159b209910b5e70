//! A row as the builds whose plans have format 2 have written it, with a prepared epoch (`tests/prepared.json`, as
//! DynamoDB spells attributes).

use aws_sdk_dynamodb::primitives::Blob;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use messages::{PlannedObject, StreamId, Zone};
use serde_json::{Map, Value as Json};
use sha2::Digest as _;

use super::*;

const PREPARED: &str = include_str!("tests/prepared.json");
/// The plan in it.
const PLAN: &str = include_str!("../../../sinks/tests/stored/plan.json");

fn item() -> Item {
    let attributes: Map<String, Json> = serde_json::from_str(PREPARED).unwrap();
    attributes.into_iter().map(|(name, value)| (name, attribute(&value))).collect()
}

fn attribute(value: &Json) -> AttributeValue {
    let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
    let texts = |list: &Json| list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect();
    match kind.as_str() {
        "S" => AttributeValue::S(value.as_str().unwrap().to_owned()),
        "N" => AttributeValue::N(value.as_str().unwrap().to_owned()),
        "SS" => AttributeValue::Ss(texts(value)),
        "B" => AttributeValue::B(Blob::new(STANDARD.decode(value.as_str().unwrap()).unwrap())),
        other => panic!("an attribute of type {other}"),
    }
}

#[test]
fn a_row_with_a_prepared_epoch_is_read() {
    let plan: EpochPlan = serde_json::from_str(PLAN).unwrap();
    let row = LeaseRow::read(item()).unwrap();
    let pending = row.pending.as_ref().unwrap();
    assert_eq!((&pending.to, pending.plan.as_ref()), (&plan.cut.to, &plan));
    assert_eq!(row, expected(&plan));
}

#[test]
fn a_plan_of_a_newer_format_is_refused_by_its_number() {
    let plan: EpochPlan = serde_json::from_str(PLAN).unwrap();
    let newer = encode_plan(&EpochPlan { format: EpochPlan::FORMAT + 1, ..plan }).unwrap();
    let mut item = item();
    item.insert("pendingCheckpointState".to_owned(), AttributeValue::B(Blob::new(newer)));
    let refused = LeaseRow::read(item).unwrap_err().to_string();
    assert!(refused.contains("newer version (format 3); finish it with that version"), "{refused}");
}

/// `epoch.partitions_max` may be 5,000: as many cleansed files, and the other zones' over as many days and more.
#[test]
fn the_largest_plan_that_may_be_configured_fits_into_a_row() {
    let plan: EpochPlan = serde_json::from_str(PLAN).unwrap();
    let object = |n: usize, zone: Zone, folder: &str| PlannedObject {
        key: format!(
            "{folder}/year={}/month={:02}/day={:02}/hour={:02}/a-stream-with-a-name-000000000042-00{n:06}-0.parquet",
            2020 + n / 8_064,
            n / 672 % 12 + 1,
            n / 24 % 28 + 1,
            n % 24
        ),
        zone,
        rows: n as u64 * 7919 % 250_000,
        digest: crate::lake::digest::hex(&sha2::Sha256::digest(n.to_le_bytes())),
    };
    let cleansed = (0..5_000).map(|n| object(n, Zone::Cleansed, "cleansed"));
    let windows = (0..500).map(|n| object(n * 24, Zone::AggregatesHourly, "aggregates/hourly"));
    let objects = cleansed.chain(windows).collect();
    let packed = encode_plan(&EpochPlan { objects, ..plan }).unwrap();
    assert!(packed.len() < PLAN_BYTES_MAX, "{} bytes", packed.len());
}

fn expected(plan: &EpochPlan) -> LeaseRow {
    let arn = "arn:aws:kinesis:eu-west-1:000000000000:stream/climate";
    let home =
        Home { stream: StreamId { arn: arn.to_owned(), created_ms: 1_795_359_845_000 }, bucket: "lake".to_owned() };
    let suspect = Suspect { sequence: SequenceNumber::parse("120").unwrap(), sub_sequence: Some(3), tries: 2 };
    LeaseRow {
        owner: Some("worker-a".to_owned()),
        counter: 41,
        written_by: Some("0123456789abcdef".to_owned()),
        checkpoint: plan.cut.from.clone(),
        start_at_ms: Some(1_795_000_000_000),
        pending: Some(Pending { to: plan.cut.to.clone(), plan: Box::new(plan.clone()) }),
        epoch: EpochNumber(6),
        state_key: plan.previous_state.clone(),
        alerts_through: EpochNumber(5),
        tries: 2,
        suspects: vec![suspect],
        home: Some(home),
        ..LeaseRow::fresh(plan.shard.clone(), vec![ShardId::new("shardId-000000000001")], ("0".into(), "99".into()))
    }
}
