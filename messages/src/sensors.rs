//! What the sensors of a shard can be told as a whole.

use ractor::{ActorId, RpcReplyPort};
use serde::Serialize;

use crate::epoch::Receipt;
use crate::{Alert, Batch, Cut, SensorId, SensorView};

/// The protocol of one shard's sensor router.
#[derive(Debug)]
pub enum SensorsMsg {
    /// Hand every sensor its rows.
    Route(Batch),
    /// The shard has been read up to this time (milliseconds since 1970), and all of it was routed.
    Time(i64),
    /// The epoch ends here: collect the state of every sensor that it touched.
    Cut(Cut),
    /// From a sensor: it filled the last empty slot of this batch.
    BatchDone(u64),
    /// From a sensor: its state, as asked by `Snapshot` or (without number) by `Retire`.
    State {
        /// The sensor.
        sensor: SensorId,
        /// The incarnation that reports.
        actor: ActorId,
        /// The snapshot's number; none for a retirement.
        snapshot: Option<u64>,
        /// The encoded state; empty if there is nothing to remember.
        bytes: std::sync::Arc<[u8]>,
        /// The last arrival in it, milliseconds since 1970.
        last_arrival_ms: Option<i64>,
    },
    /// From the alerts actor: what it had no room for; none if it has ended.
    Offered(Option<Vec<(Alert, Option<Receipt>)>>),
    /// From the router's own timer: find silent, idle and hanging sensors.
    Scan,
    /// End one sensor's actor as by a bug outside any reading; for tests of what follows. Answers whether it had one.
    Kill(SensorId, RpcReplyPort<bool>),
    /// Answer with the live state of one sensor; none if the shard does not know it.
    /// Its readings are kept from then on, until nobody has asked for a minute.
    Inspect(SensorId, RpcReplyPort<Option<SensorView>>),
    /// Answer with the first sensors, ordered by id, whose id begins with this.
    Find {
        /// What ids begin with; empty for all.
        prefix: String,
        /// Sensors to list at most.
        limit: usize,
        /// Where the answer goes.
        reply: RpcReplyPort<Vec<SensorSummary>>,
    },
    /// Answer with one page of the shard's sensors, ordered by id.
    Page {
        /// The id before the page; none for the first page.
        after: Option<String>,
        /// Sensors to list at most.
        limit: usize,
        /// Where the answer goes.
        reply: RpcReplyPort<SensorPage>,
    },
}

/// One line of a page of sensors.
#[derive(Clone, Debug, Serialize)]
pub struct SensorSummary {
    /// The sensor's id.
    pub sensor_id: String,
    /// `live`, `passive` or `restarting`.
    pub state: &'static str,
    /// Restarts of its actor by this worker.
    pub restarts: u32,
    /// Batches handed to it and not yet judged.
    pub queue: u32,
    /// Why it last restarted.
    pub last_error: Option<String>,
}

/// A page of a shard's sensors.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SensorPage {
    /// Sensors that the shard knows.
    pub total: usize,
    /// How many of them have an actor now.
    pub live: usize,
    /// The page.
    pub sensors: Vec<SensorSummary>,
}
