use messages::{
    CutReason, EpochNumber, EpochPlan, EventSchema, PlannedObject, Position, SequenceNumber, ShardId, Zone,
};

use crate::warehouse::batch::{LoadBatch, LoadEpoch};

pub(super) fn schema() -> EventSchema {
    EventSchema::built_in("climate").unwrap()
}

pub(super) fn plan(shard: &str, epoch: u64) -> EpochPlan {
    let zones = [
        Zone::Raw,
        Zone::Cleansed,
        Zone::Dimensions,
        Zone::AggregatesHourly,
        Zone::AggregatesDaily,
        Zone::Alerts,
        Zone::State,
    ];
    let object = |zone: Zone| PlannedObject {
        key: format!("{}/{shard}-{epoch}.{}", zone.folder(), zone.extension()),
        zone,
        rows: 10,
        digest: "0".repeat(64),
    };
    let at = |n: u64| Position::At(SequenceNumber::parse(&(n * 100).to_string()).unwrap());
    EpochPlan {
        format: EpochPlan::FORMAT,
        stream: None,
        shard: ShardId::new(shard),
        cut: messages::Cut {
            epoch: EpochNumber(epoch),
            from: at(epoch - 1),
            to: at(epoch),
            reason: CutReason::Age,
            full_state: false,
            whole_aggregates: false,
            spread: false,
        },
        schema: "f".repeat(16),
        records: 10,
        readings: 10,
        clean: 10,
        quarantined: 0,
        duplicates: 0,
        reasons: Default::default(),
        alerts: 1,
        poisoned: Vec::new(),
        previous_state: None,
        objects: zones.map(object).to_vec(),
    }
}

pub(super) fn epoch(shard: &str, epoch: u64) -> LoadEpoch {
    let manifest = format!("manifests/s/{shard}/{epoch:08}-{}.json", epoch * 100);
    LoadEpoch::new((&manifest, "c".repeat(64)), &plan(shard, epoch), |_| Some(1_000)).unwrap()
}

pub(super) fn batch(epochs: &[(&str, u64)]) -> LoadBatch {
    LoadBatch::new("climate", epochs.iter().map(|(shard, n)| epoch(shard, *n)).collect())
}
