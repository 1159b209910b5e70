//! The cloud of the simulation: Kinesis, DynamoDB, S3, SNS and Redshift behind the real SDK, in memory.
//!
//! **Owns** the state of every service, the faults that are injected, and the history that an oracle judges by.
//! **Promises** determinism: no clock, thread or chance of its own. Times come from the caller, and chance from
//! generators that are seeded per client, so that what one worker meets does not depend on how others interleave.
//! **Fails** a request that it does not understand is refused, never answered as if it had worked.
//! **Not here**: more than one stream, bucket, table and warehouse; what the workers never ask for.

mod bucket;
mod config;
mod state;
mod stream;
mod table;
mod trace;
mod warehouse;
mod wire;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_config::SdkConfig;
use bytes::Bytes;

pub use self::bucket::{ObjectWrite, PutOutcome, StoredObject};
use self::state::State;
pub use self::stream::{ShardView, StoredRecord};
pub use self::table::RESTORER;
pub use self::trace::Counts;
pub use self::warehouse::LoadMutant;
pub use local_engine::faults::{Fault, OpMatcher, ServiceFaults, Weather};
use local_engine::stream::{Put, place_of};
pub use local_engine::table::{Item, RowWrite};
pub use local_engine::{ClientId, Service};

/// What an attempt of a call may take, as in the shipped configuration.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// Tells the simulated wall-clock time, in milliseconds since 1970.
pub type Now = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The cloud. Clones share it.
#[derive(Clone)]
pub struct Cloud(Arc<Mutex<State>>);

impl std::fmt::Debug for Cloud {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cloud")
    }
}

/// How workers reach it, and what befalls them.
impl Cloud {
    /// An empty cloud without faults.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State::new(seed))))
    }

    /// What the SDK clients of a worker are made from. `now` is the true time; a worker whose own clock is wrong has
    /// that clock elsewhere. To be used within a tokio runtime, whose clock may be paused.
    pub fn client(&self, id: ClientId, now: Now) -> SdkConfig {
        self.client_with_timeout(id, now, ATTEMPT_TIMEOUT)
    }

    /// The same, with another limit for one attempt of one call.
    pub fn client_with_timeout(&self, id: ClientId, now: Now, attempt_timeout: Duration) -> SdkConfig {
        config::sdk_config(self.clone(), id, now, attempt_timeout)
    }

    /// As kill -9, or a machine that is gone: from now on nothing of this client is applied or answered.
    pub fn cut_off(&self, id: ClientId) {
        self.state().cut_off(id);
    }

    /// Lets go of all that is stored, also what a client that was never told of its end still holds on to.
    pub fn clear(&self) {
        *self.state() = State::new(0);
    }

    /// Which faults are injected from now on.
    pub fn set_faults(&self, plan: Weather) {
        self.state().faults.set(plan);
    }

    /// The matching request meets this fault, whatever the plan says.
    pub fn inject_once(&self, fault: Fault, matcher: OpMatcher) {
        self.state().faults.arm(fault, matcher);
    }

    /// The matching request is applied, and its reply is lost.
    pub fn lose_reply_once(&self, matcher: OpMatcher) {
        self.inject_once(Fault::LoseReply, matcher);
    }

    /// The matching request fails and is not applied.
    pub fn fail_once(&self, matcher: OpMatcher) {
        self.inject_once(Fault::Error, matcher);
    }

    /// From now on every load lacks this.
    pub fn load_without(&self, mutant: LoadMutant) {
        self.state().warehouse.lacks(mutant);
    }

    /// How many injected faults still wait for their request.
    pub fn armed(&self) -> usize {
        self.state().faults.armed()
    }

    /// Applies the delayed writes that are due. Every request does so too: this is for the end of a run.
    pub fn settle(&self, now_ms: i64) {
        self.state().settle(now_ms);
    }
}

/// The producer's side, and the operator's. Each panics on what the real service would refuse: a wrong simulation.
impl Cloud {
    /// Creates the stream, with equal hash ranges.
    pub fn create_stream(&self, name: &str, shards: u32) {
        self.state().stream.create(name, shards);
    }

    /// Lets a second stream be seen: another name and ARN over the same shards, as if two streams had shards of the same
    /// ids.
    pub fn alias_stream(&self, name: &str) {
        self.state().stream.alias(name);
    }

    /// Puts the lease table back as it was when these were all of its rows.
    pub fn restore_rows(&self, now_ms: i64, rows: BTreeMap<String, Item>) {
        self.state().table.restore(now_ms, rows);
    }

    /// Creates the bucket.
    pub fn create_bucket(&self, name: &str) {
        self.state().bucket.name = Some(name.to_owned());
    }

    /// Creates a topic.
    pub fn create_topic(&self, name: &str) {
        self.state().topics.create(state::HERE, name, BTreeMap::new());
    }

    /// Stores a record, and gives its shard and sequence number.
    pub fn put(&self, now_ms: i64, partition_key: &str, data: Vec<u8>) -> (String, String) {
        self.put_to_hash(now_ms, partition_key, place_of(partition_key), data)
    }

    /// Stores a record at a place of the hash range of its own.
    pub fn put_to_hash(&self, now_ms: i64, partition_key: &str, hash: u128, data: Vec<u8>) -> (String, String) {
        let mut state = self.state();
        state.settle(now_ms);
        let put = Put { partition_key: partition_key.into(), hash: Some(hash), data: data.into() };
        let (shard, sequence) = state.stream.put(now_ms, put);
        state.trace.feed(format_args!("{now_ms} put {shard} {sequence}"));
        (shard, sequence)
    }

    /// From now on records are spread over the shards, or go by their keys again.
    pub fn spread(&self, now_ms: i64, spread: bool) {
        let mut state = self.state();
        state.settle(now_ms);
        state.stream.the().set_spread(spread);
        state.trace.feed(format_args!("{now_ms} spread {spread}"));
    }

    /// Splits an open shard in the middle, and gives its children.
    pub fn split(&self, now_ms: i64, shard: &str) -> [String; 2] {
        let mut state = self.state();
        state.settle(now_ms);
        state.trace.feed(format_args!("{now_ms} split {shard}"));
        state.stream.the().split_evenly(shard).expect("only an open shard is split")
    }

    /// Merges two open shards side by side, and gives their child.
    pub fn merge(&self, now_ms: i64, a: &str, b: &str) -> String {
        let mut state = self.state();
        state.settle(now_ms);
        state.trace.feed(format_args!("{now_ms} merge {a} {b}"));
        state.stream.the().merge(a, b).expect("only open shards side by side are merged")
    }

    /// Retention has passed a closed shard: the service forgets it.
    pub fn trim(&self, shard: &str) {
        assert!(self.state().stream.the().trim(shard), "only a closed shard is forgotten");
    }

    /// Plants a row of the lease table, as another application would have written it.
    pub fn put_row(&self, item: Item) {
        self.state().table.plant(item);
    }

    /// Gives an object other bytes, leaving its metadata; false if there is none. For tests of the oracle.
    pub fn tamper_object(&self, key: &str, bytes: impl Into<Bytes>) -> bool {
        let mut state = self.state();
        state.bucket.objects.get_mut(key).map(|object| object.bytes = bytes.into()).is_some()
    }

    /// Takes an object away, as a lifecycle rule does; false if there is none.
    pub fn remove_object(&self, key: &str) -> bool {
        self.state().bucket.objects.remove(key).is_some()
    }
}

/// The truth, for the oracle.
impl Cloud {
    /// Every shard that there ever was, in the order of creation.
    pub fn shards(&self) -> Vec<ShardView> {
        self.state().stream.views()
    }

    /// Every record that was ever stored, by shard and in order, those of trimmed shards too.
    pub fn records(&self) -> Vec<StoredRecord> {
        self.state().stream.stored()
    }

    /// The objects as they are.
    pub fn objects(&self) -> BTreeMap<String, StoredObject> {
        self.state().bucket.objects.clone()
    }

    /// Every PUT that reached the bucket, refused ones included.
    pub fn object_history(&self) -> Vec<ObjectWrite> {
        self.state().bucket.history.clone()
    }

    /// The rows of the lease table.
    pub fn rows(&self) -> BTreeMap<String, Item> {
        self.state().table.rows()
    }

    /// Every write of a row that was applied.
    pub fn lease_history(&self) -> Vec<RowWrite> {
        self.state().table.history()
    }

    /// The reads of a shard: by which client, and when, in order.
    pub fn reads(&self, shard: &str) -> Vec<(ClientId, i64)> {
        self.state().stream.reads(shard)
    }

    /// The epochs whose manifests lie in the bucket, and the transactions of the warehouse that have ended; none of these
    /// while something is on its way to it.
    pub fn loads(&self) -> (usize, Option<u64>) {
        let state = self.state();
        let manifests = state.bucket.objects.range("manifests/".to_owned().."manifests0".to_owned());
        let n_epochs = manifests.filter(|(key, _)| key.ends_with(".json")).count();
        (n_epochs, (!state.is_loading()).then_some(state.warehouse.n_ended))
    }

    /// A session of the warehouse, for whoever judges it; none if nobody has used it.
    pub fn warehouse(&self) -> Option<duckdb::Connection> {
        self.state().warehouse.connection()
    }

    /// The messages that were published, in order.
    pub fn published(&self) -> Vec<String> {
        self.state().published.clone()
    }

    /// A hash over every request so far: time, client, operation, key and outcome, in order.
    pub fn trace_hash(&self) -> String {
        self.state().trace.hash()
    }

    /// The last requests, a line each: to be printed when a run has failed.
    pub fn trace_tail(&self) -> Vec<String> {
        self.state().trace.tail()
    }

    /// How many requests there were, and how many faults.
    pub fn counts(&self) -> Counts {
        self.state().trace.counts.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic of the simulation itself leaves nothing half-written: every change is one step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
