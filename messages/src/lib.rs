//! What flows between the actors: identities, readings, epochs, alerts, and one protocol per actor.
//!
//! **Owns** the vocabulary of the system, and the event schema that gives readings their shape.
//! **Promises** types only: no clock, no I/O, no SDK, no HTTP.
//! **Not here**: behaviour. What an actor does with its messages lives in `actors/`.

mod alert;
mod batch;
mod closest;
mod epoch;
mod hash_range;
mod ids;
pub mod sample;
pub mod schema;
mod suspect;
mod trace;
mod verdict;

mod aggregator;
mod alerts;
mod committer;
mod reader;
mod sensor;
mod sensors;
mod sinks;

pub use self::aggregator::AggregatorMsg;
pub use self::alert::{Alert, AlertKind, Severity};
pub use self::alerts::AlertsMsg;
pub use self::batch::{
    Assessed, Batch, Column, Credit, Form, Group, InFlight, RawRecord, Reject, Rows, Settled, verdicts_by_row,
};
pub use self::closest::closest;
pub use self::committer::CommitterMsg;
pub use self::epoch::{
    AggregateRow, Cut, CutReason, CutState, DimensionChange, EncodedEpoch, EncodedObject, EpochContent, EpochPlan,
    PlannedObject, Receipt, Receipts, StateEntry, StateKind, StreamId, WindowKind, Zone,
};
pub use self::hash_range::{HashRange, InvalidHashRange, parse_hash_key};
pub use self::ids::{EpochNumber, InvalidSequence, Position, SensorId, SequenceNumber, ShardId};
pub use self::reader::ReaderMsg;
pub use self::sample::Sample;
pub use self::schema::EventSchema;
pub use self::sensor::{SensorChange, SensorMsg, SensorReading, SensorRecent, SensorView};
pub use self::sensors::{SensorPage, SensorSummary, SensorsMsg};
pub use self::sinks::{Cause, NotStored, SinksMsg};
pub use self::suspect::{Caution, Suspect};
pub use self::trace::{BatchTrace, SpanId, TraceId, TraceParent};
pub use self::verdict::{Anomalies, Assessment, GroupOutcome, Reason, Verdict};
