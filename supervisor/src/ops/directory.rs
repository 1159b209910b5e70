//! What the endpoint asks about sensors, whoever hosts them.
//!
//! **Not here**: how. The implementation asks the router of every owned shard, each with its own time limit.

use futures_util::future::BoxFuture;
use messages::{SensorId, SensorPage, SensorSummary, SensorView};
use serde::Serialize;

/// Knows the sensors of all shards that this worker owns.
pub trait SensorDirectory: Send + Sync + 'static {
    /// The live state of one sensor; none if no owned shard knows it.
    fn find(&self, id: SensorId) -> BoxFuture<'_, Result<Option<SensorView>, Unanswered>>;

    /// One page of a shard's sensors, ordered by id, behind the id `after`; none if this worker does not own the shard.
    /// `shard` is the short id, as in the path `shards/<shard>` of the tree.
    fn page<'a>(
        &'a self,
        shard: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Option<SensorPage>, Unanswered>>;

    /// The first sensors, by id, whose id begins with this: of each owned shard at most `limit`. A shard that does not
    /// answer does not keep the others' from being found.
    fn search<'a>(&'a self, prefix: &'a str, limit: usize) -> BoxFuture<'a, SearchFound>;

    /// Kills one sensor's actor, for tests of what follows. False if no owned shard has an actor for it.
    #[cfg(feature = "fault-points")]
    fn kill(&self, id: SensorId) -> BoxFuture<'_, Result<bool, Unanswered>>;

    /// The number of sensors of every owned shard. Must be cheap: it is asked for with every tree.
    fn counts(&self) -> BoxFuture<'_, Vec<SensorCounts>>;
}

/// What a search has found.
#[derive(Clone, Debug, Default)]
pub struct SearchFound {
    /// The sensors, shard by shard.
    pub sensors: Vec<FoundSensor>,
    /// Shards that did not answer: they may be restarting.
    pub unanswered: Vec<String>,
}

/// A sensor with its shard.
#[derive(Clone, Debug, Serialize)]
pub struct FoundSensor {
    /// The short id of its shard.
    pub shard: String,
    /// The sensor.
    #[serde(flatten)]
    pub summary: SensorSummary,
}

/// The sensors of one shard in numbers.
#[derive(Clone, Debug)]
pub struct SensorCounts {
    /// The short id, as in the path `shards/<shard>` of the tree.
    pub shard: String,
    /// Sensors that the shard knows.
    pub total: usize,
    /// Those with an actor.
    pub live: usize,
    /// Those that wait for a restart.
    pub restarting: usize,
}

/// A shard did not answer in time, so that the answer would be incomplete.
#[derive(Clone, Debug, thiserror::Error)]
#[error("shard {shard} did not answer in time")]
pub struct Unanswered {
    /// The shard.
    pub shard: String,
}
