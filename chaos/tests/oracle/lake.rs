//! An honest lake: the product's own core, run actor by actor in one thread, with the histories that go with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use actors::aggregator::{Windows, WindowsConfig};
use actors::hash_key;
use actors::reader::decode::{DecodeLimits, Decoder};
use actors::sensor::{SensorCore, SensorRules};
use actors::sinks::{Encoding, EpochContext, encode_epoch};
use chaos::oracle::{Evidence, LeaseWrite, Limits, ObjectWrite, Record, Row, ShardNode};
use messages::{
    Assessed, Credit, Cut, CutReason, EpochContent, EpochNumber, EpochPlan, EventSchema, InFlight, Position, RawRecord,
    Receipts, SensorId, SequenceNumber, ShardId, StateEntry, StateKind, StreamId,
};
use sha2::{Digest, Sha256};

/// 2026-11-22 00:00:00 UTC.
pub(crate) const START_MS: i64 = 1_795_305_600_000;
const MINUTE_MS: i64 = 60_000;

/// What is done to an epoch before it is encoded.
pub(crate) type Tamper = fn(&mut EpochContent);

pub(crate) struct Builder {
    pub(crate) schema: Arc<EventSchema>,
    pub(crate) evidence: Evidence,
    pub(crate) tamper: Option<Tamper>,
    decoder: Decoder,
    rules: Arc<SensorRules>,
    now_ms: i64,
    sequence: u64,
}

/// A shard as a worker holds it.
pub(crate) struct Shard {
    pub(crate) node: ShardNode,
    sensors: BTreeMap<SensorId, (SensorCore, u128)>,
    windows: Windows,
    watermark_us: i64,
    row: Row,
    client: u32,
    epoch: u64,
    from: Position,
    state: Option<String>,
}

impl Builder {
    pub(crate) fn new() -> Self {
        let schema = Arc::new(EventSchema::built_in("climate").unwrap());
        let decode = DecodeLimits { record_bytes_max: 256 << 10, events_per_record_max: 1_000, depth_max: 64 };
        let lateness = Duration::from_secs(3600);
        let limits = Limits { decode: decode.clone(), event_ids_max: SensorRules::EVENT_IDS, lateness };
        Self {
            decoder: Decoder::new(schema.clone(), decode, messages::HashRange::FULL),
            rules: Arc::new(SensorRules::new(schema.clone(), limits.event_ids_max)),
            schema,
            evidence: Evidence {
                exact: true,
                drained: true,
                leases: Some(Vec::new()),
                writes: Some(Vec::new()),
                limits: Some(limits),
                ..Evidence::default()
            },
            tamper: None,
            now_ms: START_MS,
            sequence: 0,
        }
    }

    /// Opens a shard that goes on from its parents, and takes it for a client.
    pub(crate) fn open(&mut self, number: u32, parents: &[&Shard], hash_range: (u128, u128), client: u32) -> Shard {
        let name = format!("shardId-{number:012}");
        let parent_names: Vec<String> = parents.iter().map(|parent| parent.node.shard.clone()).collect();
        let node = ShardNode { shard: name.clone(), parents: parent_names.clone(), hash_range };
        self.evidence.lineage.push(node.clone());
        let lateness = WindowsConfig { allowed_lateness: Duration::from_secs(3600), windows_per_sensor_max: 64 };
        let mut windows = Windows::new(self.schema.clone(), lateness);
        let inside = |hash: u128| hash_range.0 <= hash && hash <= hash_range.1;
        let mut sensors = BTreeMap::new();
        for parent in parents {
            let own = parent.sensors.iter().filter(|(_, (_, hash))| inside(*hash));
            sensors.extend(own.map(|(sensor, state)| (sensor.clone(), state.clone())));
            // Windows stay with whoever has counted them.
            windows.restore(&[], parent.watermark_us, []).unwrap();
        }
        let row = Row { key: name, checkpoint: "TRIM_HORIZON".into(), parents: parent_names, ..Row::default() };
        let mut shard = Shard {
            node,
            sensors,
            windows,
            watermark_us: 0,
            row,
            client,
            epoch: 0,
            from: Position::TrimHorizon,
            state: None,
        };
        let created = LeaseWrite {
            at_ms: self.now_ms,
            client,
            key: shard.row.key.clone(),
            before: None,
            after: Some(shard.row.clone()),
            restored: false,
        };
        self.evidence.leases.as_mut().unwrap().push(created);
        self.write(&mut shard, |row| row.owner = Some(format!("worker-{client}")));
        shard
    }

    /// Another worker takes the shard.
    pub(crate) fn take(&mut self, shard: &mut Shard, client: u32) {
        shard.client = client;
        self.write(shard, |row| row.owner = Some(format!("worker-{client}")));
    }

    pub(crate) fn write(&mut self, shard: &mut Shard, change: impl FnOnce(&mut Row)) {
        self.now_ms += 10;
        let before = Some(shard.row.clone());
        shard.row.counter += 1;
        change(&mut shard.row);
        let (key, after) = (shard.row.key.clone(), Some(shard.row.clone()));
        let write = LeaseWrite { at_ms: self.now_ms, client: shard.client, key, before, after, restored: false };
        self.evidence.leases.as_mut().unwrap().push(write);
    }

    /// Stores a record.
    pub(crate) fn put(&mut self, shard: &Shard, key: &str, n: u64, arrival_ms: i64, data: Vec<u8>) -> RawRecord {
        self.sequence += 7;
        let sequence = format!("49590338271490256608559692538361571095{:018}", self.sequence);
        let record = Record {
            shard: shard.node.shard.clone(),
            sequence: sequence.clone(),
            arrival_ms: Some(arrival_ms),
            sha256: Sha256::digest(&data).into(),
            sensor: Some(key.to_owned()),
            n: Some(n),
            data: Some(data.into()),
        };
        let data = record.data.clone().unwrap();
        self.evidence.records.push(record);
        RawRecord { sequence: SequenceNumber::parse(&sequence).unwrap(), arrival_ms, partition_key: key.into(), data }
    }

    /// Reads, writes and commits an epoch.
    pub(crate) fn epoch(&mut self, shard: &mut Shard, records: Vec<RawRecord>, reason: CutReason) {
        let id = ShardId::new(&shard.node.shard);
        let last = records.last().map(|record| Position::At(record.sequence.clone()));
        let mut batch = self.decoder.batch();
        records.into_iter().for_each(|record| batch.push(record));
        let in_flight = InFlight::new(0, batch.finish(Credit::none()));
        let mut touched = BTreeSet::new();
        for (group, members) in in_flight.batch.groups.iter().enumerate() {
            let first = in_flight.batch.record_of(in_flight.batch.group_rows(group)[0] as usize);
            let fresh =
                || (SensorCore::new(members.sensor.clone(), self.rules.clone()), hash_key(&first.partition_key));
            let (core, _) = shard.sensors.entry(members.sensor.clone()).or_insert_with(fresh);
            let outcome = core.apply(&id, &in_flight.batch, group, &[], &mut |_| {});
            let _ = in_flight.settle(group, outcome);
            touched.insert(members.sensor.clone());
        }
        let late = shard.windows.fold(&in_flight);
        let ended = reason == CutReason::ShardEnd;
        let full_state = ended || shard.epoch % 3 == 2;
        shard.epoch += 1;
        let to = if ended { Position::ShardEnd } else { last.unwrap_or_else(|| shard.from.clone()) };
        let cut = Cut {
            epoch: EpochNumber(shard.epoch),
            from: shard.from.clone(),
            to: to.clone(),
            reason,
            full_state,
            whole_aggregates: false,
            spread: false,
        };
        let windows = shard.windows.cut(&cut);
        shard.watermark_us = windows.watermark_us;
        let own = shard.sensors.iter().filter(|(sensor, _)| full_state || touched.contains(*sensor));
        let own = own.map(|(sensor, (core, hash_key))| StateEntry {
            kind: StateKind::Sensor,
            sensor: sensor.clone(),
            hash_key: *hash_key,
            bytes: core.encode(),
        });
        let mut content = EpochContent {
            cut,
            states: own.chain(windows.states).collect(),
            aggregates: windows.aggregates,
            watermark_us: windows.watermark_us,
            silences: Vec::new(),
            receipts: Receipts::default(),
            turn: None,
        };
        if let Some(tamper) = self.tamper {
            tamper(&mut content);
        }
        let context = EpochContext {
            stream: "events".into(),
            origin: StreamId { arn: "arn:aws:kinesis:us-east-1:000000000000:stream/events".into(), created_ms: 0 },
            format: EpochPlan::FORMAT,
            shard: id,
            schema: self.schema.clone(),
            encoding: Encoding::RECOMMENDED,
            previous_state: shard.state.take(),
        };
        let assessed = Assessed { in_flight: Arc::new(in_flight), late };
        let encoded = encode_epoch(&context, &[assessed], &content).unwrap();
        shard.state = encoded.plan.state_key().map(str::to_owned);
        shard.from = to.clone();
        self.write(shard, |row| row.pending_to = Some(to.to_string()));
        for object in [encoded.claim].into_iter().chain(encoded.objects).chain([encoded.manifest]) {
            self.now_ms += 1;
            let (key, client) = (object.planned.key, shard.client);
            let write = ObjectWrite { at_ms: self.now_ms, client, key: key.clone(), created: true, replaced: false };
            self.evidence.writes.as_mut().unwrap().push(write);
            self.evidence.objects.insert(key, object.bytes);
        }
        let (epoch, state) = (shard.epoch, shard.state.clone());
        self.write(shard, |row| {
            (row.checkpoint, row.epoch, row.state_key, row.pending_to) = (to.to_string(), epoch, state, None);
        });
    }

    /// Gives the shard up.
    pub(crate) fn release(&mut self, mut shard: Shard) {
        self.write(&mut shard, |row| row.owner = None);
        self.evidence.final_rows.push(shard.row);
    }

    /// Some minutes of readings of these sensors, with everything in it that may come.
    pub(crate) fn minutes(
        &mut self,
        shard: &Shard,
        sensors: &[String],
        minutes: std::ops::Range<i64>,
    ) -> Vec<RawRecord> {
        let mut records = Vec::new();
        for minute in minutes {
            let n = minute as u64;
            for (at, sensor) in sensors.iter().enumerate() {
                let arrival_ms = START_MS + minute * MINUTE_MS + 100 + at as i64;
                let plain = event(sensor, n, 0, minute);
                let data = match (minute + at as i64) % 17 {
                    3 => {
                        records.push(self.put(shard, sensor, n, arrival_ms, plain.clone().into_bytes()));
                        plain.into_bytes()
                    }
                    5 => plain.as_bytes()[..plain.len() / 2].to_vec(),
                    7 => plain.replace("temperature\":2", "temperature\":4000").into_bytes(),
                    9 => format!("{plain}\n{}\n", event(sensor, n, 1, minute)).into_bytes(),
                    11 => event(sensor, n, 2, minute - 130).into_bytes(),
                    13 => b"\n".to_vec(),
                    _ => plain.into_bytes(),
                };
                records.push(self.put(shard, sensor, n, arrival_ms, data));
            }
        }
        records
    }
}

pub(crate) fn event(sensor: &str, n: u64, part: u64, minute: i64) -> String {
    let time = chrono::DateTime::from_timestamp_millis(START_MS + minute * MINUTE_MS).unwrap().to_rfc3339();
    let (temperature, humidity, firmware) = (20.0 + (n * 7 % 11) as f64 / 3.0, 40 + n % 9, n / 40);
    format!(
        r#"{{"sensor_id":"{sensor}","event_id":"{n}-{part}","seq":{},"ts":"{time}","temperature":{temperature},"humidity":{humidity},"firmware":"1.{firmware}"}}"#,
        n * 3 + part
    )
}

/// Sensors whose hash key lies in the lower or the upper half.
pub(crate) fn sensors(count: u32, upper: bool) -> Vec<String> {
    let names = (0..).map(|n| format!("s-{n:05}"));
    names.filter(|name| (hash_key(name) > u128::MAX / 2) == upper).take(count as usize).collect()
}

pub(crate) const HALF: u128 = u128::MAX / 2;

/// A shard that splits, and whose children merge again; workers change on the way.
pub(crate) fn family(tamper: Option<Tamper>) -> (Evidence, EventSchema) {
    let mut builder = Builder { tamper, ..Builder::new() };
    let (low, high) = (sensors(4, false), sensors(4, true));
    let both: Vec<String> = low.iter().chain(&high).cloned().collect();
    let mut root = builder.open(0, &[], (0, u128::MAX), 1);
    for epoch in 0..4 {
        let records = builder.minutes(&root, &both, epoch * 25..epoch * 25 + 25);
        builder.epoch(&mut root, records, CutReason::Age);
        if epoch == 1 {
            builder.take(&mut root, 2);
        }
    }
    builder.epoch(&mut root, Vec::new(), CutReason::ShardEnd);
    let mut left = builder.open(1, &[&root], (0, HALF), 2);
    let mut right = builder.open(2, &[&root], (HALF + 1, u128::MAX), 3);
    builder.release(root);
    for (shard, sensors) in [(&mut left, &low), (&mut right, &high)] {
        for epoch in 4..7 {
            let records = builder.minutes(shard, sensors, epoch * 25..epoch * 25 + 25);
            builder.epoch(shard, records, CutReason::Age);
        }
        builder.epoch(shard, Vec::new(), CutReason::ShardEnd);
    }
    let mut merged = builder.open(3, &[&left, &right], (0, u128::MAX), 2);
    builder.release(left);
    builder.release(right);
    for epoch in 7..9 {
        let records = builder.minutes(&merged, &both, epoch * 25..epoch * 25 + 25);
        builder.epoch(&mut merged, records, CutReason::Age);
    }
    builder.epoch(&mut merged, Vec::new(), CutReason::Shutdown);
    builder.release(merged);
    ((builder.evidence), (*builder.schema).clone())
}
