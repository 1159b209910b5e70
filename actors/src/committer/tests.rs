//! The protocol without its actor: the table that ARCHITECTURE.md shows, and all orders of events.

mod orders;
mod table;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use messages::{Cut, CutReason, EpochNumber, EpochPlan, Position, SequenceNumber, ShardId};

use super::protocol::{Begin, EpochRules, Protocol};

const AGE_MAX: Duration = Duration::from_secs(10);
const ROWS_MAX: u64 = 10;

fn rules() -> EpochRules {
    EpochRules {
        age_max: AGE_MAX,
        bytes_max: 1_000,
        partitions_max: 100,
        rows_max: ROWS_MAX,
        full_state_every: 3,
        prepares: true,
        commits_last: true,
    }
}

fn begin(epoch: u64, checkpoint: Position, pinned: Option<EpochPlan>) -> Begin {
    let pinned = pinned.map(Box::new);
    Begin { epoch: EpochNumber(epoch), checkpoint, pinned, unsettled: VecDeque::new(), cautious_for: 0 }
}

fn at(record: u64) -> Position {
    Position::At(SequenceNumber::parse(&record.to_string()).unwrap())
}

fn plan(epoch: u64, from: Position, to: Position, reason: CutReason) -> EpochPlan {
    let (epoch, full_state) = (EpochNumber(epoch), false);
    EpochPlan {
        format: EpochPlan::FORMAT,
        stream: None,
        shard: ShardId::new("shardId-000000000001"),
        cut: Cut { epoch, from, to, reason, full_state, whole_aggregates: false, spread: false },
        schema: "schema".to_owned(),
        records: 1,
        readings: 1,
        clean: 1,
        quarantined: 0,
        duplicates: 0,
        reasons: BTreeMap::new(),
        alerts: 0,
        poisoned: Vec::new(),
        previous_state: None,
        objects: Vec::new(),
    }
}

/// A machine whose shard has committed one epoch, up to record 5.
fn after_one_epoch(pinned: Option<EpochPlan>) -> Protocol {
    Protocol::new(rules(), begin(1, at(5), pinned))
}
