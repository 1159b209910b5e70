//! The reference: all records, judged one after another by the sensors' own rules in a single thread.
//!
//! **Owns** the order: parents before children, within a shard by sequence number. There are no actors, batches by the
//! clock, epochs, restarts or states in between: whatever those did must make no difference (STATE).
//!
//! **Promises** every reading of a record is given its outcome, in order.
//! **Fails** with none if a record's bytes or arrival are unknown.
//! **Not here**: comparing (`state.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use actors::reader::decode::{DecodeLimits, Decoder};
use actors::sensor::{SensorCore, SensorRules};
use messages::{Batch, Credit, EventSchema, HashRange, RawRecord, Reason, SensorId, SequenceNumber, ShardId, Verdict};

use super::content::Content;
use super::evidence::{Limits, Record, ShardNode};
use super::lake::Stored;
use super::place::Place;
use super::rows::Landed;
use super::shards::Shards;

/// Records that are decoded at a time.
const BATCH_RECORDS: usize = 2_000;

/// What has to become of a reading.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judged {
    pub(super) shard: u32,
    pub(super) place: Place,
    pub(super) sub: u32,
    pub(super) landed: Landed,
    pub(super) reason: Option<Reason>,
    /// What is known of a cleansed row.
    pub(super) content: u64,
}

/// Readings that were refused for what happened to the workers, not for what they say.
pub(super) type Excused = BTreeMap<(u32, Place, u32), Reason>;

/// What was decided on records and is not in them.
#[derive(Default)]
pub(super) struct Rulings<'a> {
    pub(super) excused: Excused,
    /// Whether the aggregate at a place of a shard was taken whole; none where none was.
    pub(super) whole: Option<&'a dyn Fn(u32, Place) -> bool>,
}

/// A replay under way.
pub(super) struct Replay<'a> {
    shards: &'a Shards,
    decode: DecodeLimits,
    schema: Arc<EventSchema>,
    rules: Arc<SensorRules>,
    /// Each sensor and the last shard that it was on.
    pub(super) sensors: BTreeMap<SensorId, (SensorCore, u32)>,
    /// Sensors on shards that do not descend from one another: there is no order between their readings.
    pub(super) unordered: BTreeSet<SensorId>,
}

/// The state of every sensor after all records. Sensors whose records lie on shards that do not descend from one another
/// are left out, and so are records without bytes or arrival.
pub fn reference_states(
    records: &[Record],
    lineage: &[ShardNode],
    schema: &EventSchema,
    limits: &Limits,
) -> BTreeMap<String, Vec<u8>> {
    let shards = Shards::new(lineage, records.iter().map(|record| record.shard.as_str()));
    let place = |(n, record): (usize, &Record)| {
        let shard = shards.number(&record.shard)?;
        Some(Stored { shard, place: Place::parse(&record.sequence)?, record: n as u32 })
    };
    let whole = |(_, record): &(usize, &Record)| record.data.is_some() && record.arrival_ms.is_some();
    let mut stored: Vec<Stored> = records.iter().enumerate().filter(whole).filter_map(place).collect();
    stored.sort_unstable();
    let mut replay = Replay::new(&shards, schema, limits);
    replay.run(&stored, records, &Rulings::default(), &mut |_| {});
    let known = |(sensor, (core, _)): &(&SensorId, &(SensorCore, u32))| {
        core.has_been_valid() && !replay.unordered.contains(*sensor)
    };
    let states = replay.sensors.iter().filter(known);
    states.map(|(sensor, (core, _))| (sensor.to_string(), core.encode().to_vec())).collect()
}

impl<'a> Replay<'a> {
    pub(super) fn new(shards: &'a Shards, schema: &EventSchema, limits: &Limits) -> Self {
        let schema = Arc::new(schema.clone());
        Self {
            shards,
            decode: limits.decode.clone(),
            schema: schema.clone(),
            rules: Arc::new(SensorRules::new(schema, limits.event_ids_max)),
            sensors: BTreeMap::new(),
            unordered: BTreeSet::new(),
        }
    }

    /// Replays records that come in order, and tells of each batch of them.
    pub(super) fn run(
        &mut self,
        stored: &[Stored],
        records: &[Record],
        rulings: &Rulings<'_>,
        tell: &mut dyn FnMut(&[Judged]),
    ) {
        for of_shard in stored.chunk_by(|a, b| a.shard == b.shard) {
            // A shard takes of an aggregate what belongs into its range.
            let (start, end) = self.shards.range(of_shard[0].shard);
            let range = HashRange::parse(&start.to_string(), &end.to_string()).unwrap_or(HashRange::FULL);
            let mut decoder = Decoder::new(self.schema.clone(), self.decode.clone(), range);
            let whole = |stored: &Stored| rulings.whole.is_some_and(|whole| whole(stored.shard, stored.place));
            let alike = of_shard.chunk_by(|a, b| whole(a) == whole(b));
            for chunk in alike.flat_map(|records| records.chunks(BATCH_RECORDS)) {
                decoder.take_whole_aggregates(whole(&chunk[0]));
                let mut builder = decoder.batch();
                for record in chunk.iter().filter_map(|stored| raw(&records[stored.record as usize])) {
                    builder.push(record);
                }
                let batch = builder.finish(Credit::none());
                let mut judged = self.judge(chunk, &batch, &rulings.excused);
                judged.sort_unstable_by_key(|j| (j.place, j.sub));
                tell(&judged);
            }
        }
    }

    fn judge(&mut self, chunk: &[Stored], batch: &Batch, excused: &Excused) -> Vec<Judged> {
        let identity = |record: u32, sub: u32| (chunk[record as usize].shard, chunk[record as usize].place, sub);
        let refused = |(shard, place, sub), reason| Judged {
            shard,
            place,
            sub,
            landed: Landed::Quarantine,
            reason: Some(reason),
            content: 0,
        };
        let rejects = batch.rejects.iter();
        let mut judged: Vec<Judged> =
            rejects.map(|reject| refused(identity(reject.record, reject.sub_sequence), reject.reason)).collect();
        let shard = chunk[0].shard;
        let id = ShardId::new(self.shards.name(shard));
        for group in 0..batch.groups.len() {
            let rows = batch.group_rows(group);
            let place = |row: u32| identity(batch.rows.record[row as usize], batch.rows.sub_sequence[row as usize]);
            let excuse = |row: u32| excused.get(&place(row)).copied();
            // A sensor that a shard does not take never gets a state.
            if rows.iter().all(|row| excuse(*row) == Some(Reason::TooManySensors)) {
                judged.extend(rows.iter().map(|row| refused(place(*row), Reason::TooManySensors)));
                continue;
            }
            let poison: Vec<u32> = rows.iter().copied().filter(|row| excuse(*row) == Some(Reason::Poison)).collect();
            let sensor = batch.groups[group].sensor.clone();
            let outcome = self.core(&sensor, shard).apply(&id, batch, group, &poison, &mut |_| {});
            for (row, verdict) in rows.iter().zip(&outcome.verdicts) {
                let (shard, place, sub) = place(*row);
                judged.push(match verdict {
                    Verdict::Clean(assessment) => {
                        let mut content = content(batch, *row as usize, &sensor);
                        content.identity(
                            batch.rows.event_id[*row as usize].as_deref(),
                            batch.rows.device_sequence[*row as usize],
                        );
                        let (score, anomalies) = (f64::from(assessment.score), i64::from(assessment.anomalies.0));
                        let content = content.assessment(score, anomalies, i64::from(assessment.sensor_version));
                        Judged { shard, place, sub, landed: Landed::Cleansed, reason: None, content }
                    }
                    Verdict::Duplicate => {
                        Judged { shard, place, sub, landed: Landed::Duplicates, reason: None, content: 0 }
                    }
                    Verdict::Quarantined { reason, .. } => refused((shard, place, sub), *reason),
                });
            }
        }
        judged
    }

    fn core(&mut self, sensor: &SensorId, shard: u32) -> &mut SensorCore {
        let rules = &self.rules;
        let fresh = || (SensorCore::new(sensor.clone(), rules.clone()), shard);
        let (core, last) = self.sensors.entry(sensor.clone()).or_insert_with(fresh);
        if !self.shards.follows(shard, *last) {
            self.unordered.insert(sensor.clone());
        }
        *last = shard;
        core
    }
}

fn content(batch: &Batch, row: usize, sensor: &SensorId) -> Content {
    let mut content = Content::of(sensor.as_str(), batch.rows.event_time_us[row]);
    for column in &batch.rows.fields {
        content.decoded(column, row);
    }
    content
}

fn raw(record: &Record) -> Option<RawRecord> {
    Some(RawRecord {
        sequence: SequenceNumber::parse(&record.sequence).ok()?,
        arrival_ms: record.arrival_ms?,
        partition_key: record.sensor.as_deref().unwrap_or_default().into(),
        data: record.data.clone()?,
    })
}
