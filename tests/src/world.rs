//! A local cloud and a worker in this process, on a folder of their own.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use actors::alerts::AlertsConfig;
use actors::committer::CommitterConfig;
use actors::loader::LoaderConfig;
use actors::loading::{Loading, LoadingConfig};
use actors::ports::aws::{self, AwsSettings};
use actors::ports::chance::Chance;
use actors::ports::clock::Clock;
use actors::ports::faults::Faults;
use actors::ports::leases::LeaseTable;
use actors::ports::objects::{Encryption, Objects};
use actors::ports::provision;
use actors::ports::receivers::{self, ReceiversConfig};
use actors::ports::stream::Stream;
use actors::ports::transports::Transport;
use actors::ports::work::Work;
use actors::sensors::SensorsConfig;
use actors::traces::Traces;
use aws_config::SdkConfig;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{
    PutRecordsRequestEntry, RecordDistributionStrategy, Shard, StreamMode, StreamModeDetails,
};
use local::{LocalCloud, LocalOptions};
use messages::EventSchema;
use supervisor::config::Config;
use supervisor::leases::Patience;
use supervisor::shard::ShardConfig;
use supervisor::shard::StreamStart;
use supervisor::worker::{Worker, WorkerConfig, WorkerError, WorkerPorts};

use crate::faults::CloudFaults;
use crate::lake::Lake;
use crate::warehouse::{Analyst, loading, loading_in};

/// Partition key and data.
pub type Record = (String, Vec<u8>);

pub const STREAM: &str = "events";
pub const BUCKET: &str = "mangrove";

/// A cloud on a folder.
pub struct World {
    pub cloud: LocalCloud,
    dir: PathBuf,
    kinesis: aws_sdk_kinesis::Client,
    sdk: SdkConfig,
}

/// What differs from test to test.
#[derive(Clone)]
pub struct Setup {
    pub worker_id: &'static str,
    pub stream: &'static str,
    /// Where shards begin that nobody has read.
    pub start: StreamStart,
    /// Whether the stream is asked for by its ARN.
    pub by_arn: bool,
    pub bucket: &'static str,
    pub schema: EventSchema,
    pub records_max: i32,
    pub age_max: Duration,
    pub bytes_max: u64,
    pub partitions_max: usize,
    pub rows_max: u64,
    pub full_state_every: u64,
    pub refresh_after: Duration,
    pub faults: String,
    pub sensors: SensorsConfig,
    /// Whether aggregates are taken whole where keys decide.
    pub whole_aggregates: bool,
    pub memory_budget: u64,
    pub transports: Vec<Transport>,
    pub alerts_queue_max: usize,
    /// For how long an alert is tried.
    pub alerts_retry: Duration,
    /// How long a drain waits for receivers of alerts.
    pub alerts_drain: Duration,
    /// When the worker loads the warehouse; none if it does not.
    pub loads: Option<LoaderConfig>,
    pub traces: Traces,
    pub encryption: Encryption,
}

impl Default for Setup {
    fn default() -> Self {
        let sensors = SensorsConfig {
            known_max: 100_000,
            live_max: 10_000,
            idle_timeout: Duration::from_secs(60),
            crashes_max: 3,
            hang_timeout: Duration::from_secs(10),
            scan_interval: Duration::from_millis(100),
        };
        Self {
            worker_id: "worker-a",
            stream: STREAM,
            start: StreamStart::Oldest,
            by_arn: false,
            bucket: BUCKET,
            schema: EventSchema::built_in("climate").unwrap(),
            records_max: 10_000,
            age_max: Duration::from_millis(500),
            bytes_max: 8 << 20,
            partitions_max: 256,
            rows_max: 250_000,
            full_state_every: 4,
            refresh_after: Duration::from_secs(7 * 86_400),
            faults: String::new(),
            sensors,
            whole_aggregates: false,
            memory_budget: 128 << 20,
            transports: Vec::new(),
            alerts_queue_max: 10_000,
            alerts_retry: Duration::from_secs(5),
            alerts_drain: Duration::from_secs(10),
            loads: None,
            traces: Traces::off(),
            encryption: Encryption::Default,
        }
    }
}

impl World {
    pub async fn new(dir: &Path, shards: u32) -> Self {
        let bind = "127.0.0.1:0".parse().unwrap();
        let options = LocalOptions { faults: true, ..LocalOptions::new(bind, dir.to_owned()) };
        let cloud = LocalCloud::start(options).await.unwrap();
        let sdk = clients(cloud.endpoint_url()).await;
        provision::stream(&sdk, STREAM, shards).await.unwrap();
        provision::bucket(&sdk, BUCKET).await.unwrap();
        let kinesis = aws_sdk_kinesis::Client::new(&sdk);
        Self { cloud, dir: dir.to_owned(), kinesis, sdk }
    }

    /// Puts records under their partition keys, in order; panics if one is refused.
    pub async fn put(&self, records: &[Record]) {
        // No two records of one key may overtake each other: one call after another.
        let mut rest = records;
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(call_records(rest));
            let entry = |(key, data): &Record| {
                PutRecordsRequestEntry::builder().partition_key(key).data(Blob::new(data.clone())).build().unwrap()
            };
            let entries = chunk.iter().map(entry).collect();
            let answer =
                self.kinesis.put_records().stream_name(STREAM).set_records(Some(entries)).send().await.unwrap();
            assert_eq!(answer.failed_record_count(), Some(0));
            rest = after;
        }
    }

    /// From now on the stream spreads records over its shards, or goes by their keys again.
    pub async fn spread(&self, spread: bool) {
        let stream = self.kinesis.describe_stream_summary().stream_name(STREAM).send().await.unwrap();
        let arn = stream.stream_description_summary.unwrap().stream_arn;
        let mode = StreamModeDetails::builder().stream_mode(StreamMode::OnDemand).build().unwrap();
        self.kinesis.update_stream_mode().stream_arn(&arn).stream_mode_details(mode).send().await.unwrap();
        let strategy = match spread {
            true => RecordDistributionStrategy::Auto,
            false => RecordDistributionStrategy::UserPartitionKey,
        };
        let update = self.kinesis.update_stream_record_distribution_strategy().stream_arn(arn);
        update.record_distribution_strategy(strategy).send().await.unwrap();
    }

    /// Puts records without keys: the stream has to spread them.
    pub async fn put_keyless(&self, records: &[Record]) {
        for chunk in records.chunks(100) {
            let entry =
                |(_, data): &Record| PutRecordsRequestEntry::builder().data(Blob::new(data.clone())).build().unwrap();
            let entries = chunk.iter().map(entry).collect();
            let answer =
                self.kinesis.put_records().stream_name(STREAM).set_records(Some(entries)).send().await.unwrap();
            assert_eq!(answer.failed_record_count(), Some(0));
        }
    }

    /// Makes another bucket.
    pub async fn bucket(&self, name: &str) {
        provision::bucket(&self.sdk, name).await.unwrap();
    }

    /// The row of a shard in the lease table, as any DynamoDB client sees it.
    pub async fn lease_row(&self, shard: &str) -> HashMap<String, AttributeValue> {
        self.find_row(shard).await.unwrap()
    }

    /// The same; none if there is no such row, or no table yet.
    pub async fn find_row(&self, shard: &str) -> Option<HashMap<String, AttributeValue>> {
        let request = aws_sdk_dynamodb::Client::new(&self.sdk).get_item().table_name("leases").consistent_read(true);
        request.key("leaseKey", AttributeValue::S(shard.to_owned())).send().await.ok()?.item
    }

    /// Puts a row into the lease table, which is made if it is not there, as any DynamoDB client can.
    pub async fn plant_row(&self, row: BTreeMap<String, AttributeValue>) {
        LeaseTable::new(&self.sdk, "leases").ensure().await.unwrap();
        let request = aws_sdk_dynamodb::Client::new(&self.sdk).put_item().table_name("leases");
        request.set_item(Some(row.into_iter().collect())).send().await.unwrap();
    }

    /// Every row of the lease table, as any DynamoDB client sees it: what a backup of it holds.
    pub async fn lease_rows(&self) -> Vec<HashMap<String, AttributeValue>> {
        let answer = aws_sdk_dynamodb::Client::new(&self.sdk).scan().table_name("leases").consistent_read(true);
        answer.send().await.unwrap().items.unwrap_or_default()
    }

    /// Puts the lease table back as it was when these were all of its rows.
    pub async fn restore_leases(&self, rows: &[HashMap<String, AttributeValue>]) {
        for row in self.lease_rows().await {
            self.delete_row(row["leaseKey"].as_s().unwrap()).await;
        }
        for row in rows {
            self.plant_row(row.clone().into_iter().collect()).await;
        }
    }

    /// Deletes the stream and makes one of its name again.
    pub async fn make_stream_again(&self, shards: u32) {
        // The local cloud tells times of creation in whole seconds.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        self.kinesis.delete_stream().stream_name(STREAM).send().await.unwrap();
        let gone = || async { self.kinesis.describe_stream_summary().stream_name(STREAM).send().await.is_err() };
        while !gone().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        provision::stream(&self.sdk, STREAM, shards).await.unwrap();
    }

    /// Where the objects of the bucket lie.
    pub fn objects(&self) -> PathBuf {
        self.dir.join("s3").join(BUCKET)
    }

    /// Deletes a row of the lease table.
    pub async fn delete_row(&self, key: &str) {
        let request = aws_sdk_dynamodb::Client::new(&self.sdk).delete_item().table_name("leases");
        request.key("leaseKey", AttributeValue::S(key.to_owned())).send().await.unwrap();
    }

    /// Ends the cloud; its folder may be copied or opened again.
    pub async fn stop(self) {
        self.cloud.stop().await.unwrap();
    }

    /// The shards that take records, by their place in the hash range.
    pub async fn open_shards(&self) -> Vec<(u128, u128, String)> {
        let shards = self.kinesis.list_shards().stream_name(STREAM).send().await.unwrap();
        let is_open = |shard: &&Shard| {
            shard.sequence_number_range().is_some_and(|range| range.ending_sequence_number().is_none())
        };
        let place = |shard: &Shard| {
            let range = shard.hash_key_range().unwrap();
            let key = |text: &str| text.parse::<u128>().unwrap();
            (key(range.starting_hash_key()), key(range.ending_hash_key()), shard.shard_id().to_owned())
        };
        let mut open: Vec<_> = shards.shards().iter().filter(is_open).map(place).collect();
        open.sort();
        open
    }

    /// Splits the first open shard in the middle of its range; it is closed by that.
    pub async fn split_first_shard(&self) {
        let (start, end, shard) = self.open_shards().await.remove(0);
        let middle = start + (end - start) / 2 + 1;
        let split = self.kinesis.split_shard().stream_name(STREAM).shard_to_split(shard);
        split.new_starting_hash_key(middle.to_string()).send().await.unwrap();
    }

    /// Merges the last two open shards; both are closed by that.
    pub async fn merge_last_shards(&self) {
        let mut open = self.open_shards().await;
        let (right, left) = (open.pop().unwrap().2, open.pop().unwrap().2);
        let merge = self.kinesis.merge_shards().stream_name(STREAM).shard_to_merge(left);
        merge.adjacent_shard_to_merge(right).send().await.unwrap();
    }

    /// Transports to receivers at this address, and to a topic of the local cloud.
    pub async fn transports(&self, address: &str) -> Vec<Transport> {
        let config = ReceiversConfig {
            webhooks: vec![format!("{address}/hook")],
            alertmanagers: vec![address.to_owned()],
            sns_topics: vec![provision::topic(&self.sdk, "alerts").await.unwrap()],
            timeout: Duration::from_secs(2),
        };
        receivers::open(&config, &self.sdk).unwrap().to_vec()
    }

    pub async fn worker(&self, setup: &Setup) -> Worker {
        self.try_worker(setup).await.unwrap()
    }

    pub async fn try_worker(&self, setup: &Setup) -> Result<Worker, WorkerError> {
        start_worker(&self.sdk, setup).await
    }

    /// What the cloud can be made to do wrong.
    pub fn faults(&self) -> CloudFaults {
        CloudFaults::of(self.cloud.endpoint_url())
    }

    pub fn endpoint_url(&self) -> String {
        self.cloud.endpoint_url()
    }

    /// What every client of this cloud is made from.
    pub fn sdk(&self) -> &SdkConfig {
        &self.sdk
    }

    /// What loads the stream into the warehouse.
    pub fn loading(&self, schema: &EventSchema, faults: &str) -> Loading {
        loading(&self.sdk, STREAM, BUCKET, schema, faults, |_| {})
    }

    /// The same with another configuration.
    pub fn loading_with(&self, schema: &EventSchema, change: impl FnOnce(&mut LoadingConfig)) -> Loading {
        self.loading_faulty(schema, "", change)
    }

    /// The same with crash points.
    pub fn loading_faulty(
        &self,
        schema: &EventSchema,
        faults: &str,
        change: impl FnOnce(&mut LoadingConfig),
    ) -> Loading {
        loading(&self.sdk, STREAM, BUCKET, schema, faults, change)
    }

    /// The client of the warehouse.
    pub fn analyst(&self) -> Analyst {
        Analyst::new(&self.sdk)
    }

    /// Puts another object in the place of one that the lake has as this file.
    pub async fn replace(&self, file: &Path, content: Vec<u8>) {
        let key = file.strip_prefix(self.dir.join("s3").join(BUCKET)).unwrap().to_str().unwrap().to_owned();
        let config = aws_sdk_s3::config::Builder::from(&self.sdk).force_path_style(true).build();
        let put = aws_sdk_s3::Client::from_conf(config).put_object().bucket(BUCKET).key(key).body(content.into());
        put.send().await.unwrap();
    }

    /// Deletes what lies under a prefix and is older than this, as a lifecycle rule does. Answers with the keys.
    pub async fn expire(&self, prefix: &str, age: Duration) -> Vec<String> {
        let config = aws_sdk_s3::config::Builder::from(&self.sdk).force_path_style(true).build();
        let bucket = aws_sdk_s3::Client::from_conf(config);
        let (mut expired, mut token) = (Vec::new(), None);
        loop {
            let page = bucket.list_objects_v2().bucket(BUCKET).prefix(prefix).set_continuation_token(token);
            let page = page.send().await.unwrap();
            let end_ms = Clock::system().now_ms() - age.as_millis() as i64;
            let old =
                page.contents().iter().filter(|object| object.last_modified().unwrap().to_millis().unwrap() < end_ms);
            for key in old.map(|object| object.key().unwrap().to_owned()) {
                bucket.delete_object().bucket(BUCKET).key(&key).send().await.unwrap();
                expired.push(key);
            }
            token = page.next_continuation_token;
            if token.is_none() {
                return expired;
            }
        }
    }

    pub fn lake(&self) -> Lake {
        Lake::read(&self.dir.join("s3").join(BUCKET))
    }
}

/// What every client of a cloud is made from. Clients of one share their connections.
pub async fn clients(endpoint_url: String) -> SdkConfig {
    let (endpoint_url, attempt_timeout) = (Some(endpoint_url), Duration::from_secs(10));
    aws::load(&AwsSettings { region: None, endpoint_url, attempt_timeout }).await
}

/// Starts a worker with these clients.
pub async fn start_worker(sdk: &SdkConfig, setup: &Setup) -> Result<Worker, WorkerError> {
    let faults = Faults::parse(&setup.faults).unwrap();
    let objects = Objects::new(sdk, setup.bucket).encrypted(setup.encryption.clone());
    let ports = WorkerPorts {
        stream: Stream::new(sdk, setup.stream).at(setup.by_arn.then(stream_arn)).with(faults.clone()),
        objects: objects.clone().with(faults.clone()),
        leases: LeaseTable::new(sdk, "leases").with(Chance::system(), faults.clone()),
        loading: setup
            .loads
            .clone()
            .map(|loads| (loading_in(objects, sdk, setup.stream, &setup.schema, &setup.faults, |_| {}), loads)),
        transports: setup.transports.clone().into(),
        clock: Clock::system(),
        chance: Chance::system(),
        work: Work::Pool,
        faults,
        traces: setup.traces.clone(),
    };
    Worker::start(config(setup), ports).await
}

/// The stream's ARN, as the local cloud's account has it.
fn stream_arn() -> String {
    format!("arn:aws:kinesis:us-east-1:123456789012:stream/{STREAM}")
}

/// How many records the next call takes: 5 MiB and 500 records are the service's limits.
fn call_records(records: &[Record]) -> usize {
    let mut bytes = 0;
    let within = records.iter().take(100).take_while(|(key, data)| {
        bytes += key.len() + data.len();
        bytes <= 4 << 20
    });
    within.count().max(1)
}

/// A folder whose stream holds these records, and nothing else. Worlds on copies of it see the same sequence numbers
/// and arrival times: what differs in the end was not in the stream.
pub async fn stocked(dir: &Path, shards: u32, records: &[Record]) {
    let world = World::new(dir, shards).await;
    world.put(records).await;
    world.stop().await;
}

/// Copies a folder with all that is in it.
pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// As it is shipped, but for what tests set, and in more of a hurry.
fn config(setup: &Setup) -> WorkerConfig {
    let mut config = Config::shipped(setup.worker_id, setup.schema.clone());
    config.memory_budget = setup.memory_budget;
    let leases = &mut config.leases;
    leases.heartbeat_interval = Duration::from_millis(200);
    leases.patience = Patience { worker: Duration::from_secs(2), foreign: Duration::from_secs(3) };
    leases.scan_interval = Duration::from_millis(50);
    leases.read_units_max = 1_000.0;
    leases.discover_interval = Duration::from_millis(500);
    leases.give_up_pause_max = Duration::from_secs(30);
    leases.rules.give_up_pause = Duration::from_secs(1);
    leases.rules.claim_patience = Duration::from_secs(6);
    leases.start = setup.start;
    shard(setup, &mut config.shard);
    config.alerts = AlertsConfig {
        queue_max: setup.alerts_queue_max,
        in_flight_max: 16,
        retry_for: setup.alerts_retry,
        backoff_max: Duration::from_secs(1),
        drain_timeout: setup.alerts_drain,
    };
    let supervisor = &mut config.supervisor;
    (supervisor.restart.backoff_min, supervisor.restart.backoff_max) =
        (Duration::from_millis(20), Duration::from_secs(1));
    (supervisor.stop_timeout, supervisor.kill_grace) = (Duration::from_secs(5), Duration::from_secs(1));
    config
}

fn shard(setup: &Setup, config: &mut ShardConfig) {
    let reader = &mut config.reader;
    reader.poll_interval = Duration::from_millis(50);
    (reader.records_max, reader.partitions_max, reader.rows_max) =
        (setup.records_max, setup.partitions_max, setup.rows_max);
    reader.whole_aggregates = setup.whole_aggregates;
    (reader.backoff_max, reader.failures_max) = (Duration::from_secs(1), 10);
    config.sensors = setup.sensors.clone();
    (config.sinks.attempts_max, config.sinks.backoff_max) = (5, Duration::from_secs(1));
    config.committer = CommitterConfig {
        age_max: setup.age_max,
        bytes_max: setup.bytes_max,
        partitions_max: setup.partitions_max,
        rows_max: setup.rows_max,
        full_state_every: setup.full_state_every,
        refresh_after: setup.refresh_after,
    };
    config.start = setup.start;
}

/// Waits until the worker has committed all that is in the stream.
pub async fn caught_up(worker: &Worker) {
    let since_ms = Clock::system().now_ms();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !worker.has_caught_up(since_ms) {
        assert!(Instant::now() < deadline, "the worker did not catch up: {:#?}", worker.tree().nodes());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Records that the worker has read, and of these committed.
pub fn progress(worker: &Worker) -> (u64, u64) {
    let totals = worker.owned().totals();
    (totals.read, totals.committed)
}

/// Catches up and drains.
pub async fn finish(worker: Worker) {
    caught_up(&worker).await;
    let late = worker.drain(Duration::from_secs(30)).await.unwrap();
    assert_eq!(late, Vec::<String>::new());
}

/// A time within the clock bounds of every schema, this much later than an hour ago, as RFC 3339.
pub fn an_hour_ago(plus_ms: i64) -> String {
    rfc3339(Clock::system().now_ms() - 3_600_000 + plus_ms)
}

/// The beginning of the hour that was this many hours ago, in milliseconds since 1970.
pub fn hour_start_ms(hours_ago: i64) -> i64 {
    (Clock::system().now_ms() / 3_600_000 - hours_ago) * 3_600_000
}

/// A time as devices write it.
pub fn rfc3339(ms: i64) -> String {
    chrono::DateTime::from_timestamp_millis(ms).unwrap().to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}
