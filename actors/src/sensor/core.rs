//! The logic of one sensor: judges its readings in order and remembers just enough to judge the next one.
//!
//! **Owns** the state of one `SensorId`: counters, the last event ids, detector states, tracked attributes.
//!
//! **Promises**
//! - STATE: verdicts, alerts, changes and the state are a function of the state before and the rows. How the rows were
//!   cut into batches, what time it is and which worker asks make no difference.
//! - BOUNDED: the state's size depends on the schema, never on the data.
//! - `on_row` is called before anything of the row is looked at. If it panics, the rows before it are applied and this
//!   one is not; the owner drops the sensor, decodes it from its last state and applies the rows again.
//!
//! **Fails** as its owner fails: it holds nothing that its encoded state and the readings since then do not give back.
//! **Not here**: actors, clock, I/O; what of a batch is whose (the reader groups it).

use std::sync::Arc;

use messages::{Assessment, Batch, DimensionChange, GroupOutcome, Reason, SensorId, SensorView, ShardId, Verdict};
use serde::{Deserialize, Serialize};

use super::alerts::Origin;
use super::attributes::{Attributes, ReadAttributes};
use super::dedup::EventIds;
use super::detectors::{FieldState, Findings, Observation};
use super::{codec, judge};

pub use super::alerts::{heartbeat_alert, silence_alert};
pub use super::codec::StateError;
pub use super::rules::SensorRules;

/// One sensor.
#[derive(Clone, Debug)]
pub struct SensorCore {
    pub(super) id: SensorId,
    pub(super) rules: Arc<SensorRules>,
    pub(super) state: State,
}

/// All that a sensor remembers.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) counts: Counts,
    /// The latest event time of a valid reading, microseconds since 1970.
    pub(super) last_event_time_us: Option<i64>,
    /// The latest arrival of any reading, milliseconds since 1970.
    pub(super) last_arrival_ms: Option<i64>,
    pub(super) seen: EventIds,
    /// In order of the rules' watched fields.
    pub(super) watched: Vec<FieldState>,
    pub(super) attributes: Attributes,
}

/// What became of the sensor's readings since the stream began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Counts {
    pub(super) clean: u64,
    pub(super) duplicates: u64,
    pub(super) quarantined: u64,
    pub(super) alerts: u64,
}

impl SensorCore {
    /// A sensor that nothing is known of.
    pub fn new(id: SensorId, rules: Arc<SensorRules>) -> Self {
        let state = State {
            counts: Counts::default(),
            last_event_time_us: None,
            last_arrival_ms: None,
            seen: EventIds::default(),
            watched: vec![FieldState::default(); rules.watched.len()],
            attributes: Attributes::none(&rules),
        };
        Self { id, rules, state }
    }

    /// The sensor as [`SensorCore::encode`] left it, under the same schema.
    pub fn decode(id: SensorId, rules: Arc<SensorRules>, bytes: &[u8]) -> Result<Self, StateError> {
        let state = codec::decode(&id, &rules, bytes)?;
        Ok(Self { id, rules, state })
    }

    /// The state as bytes; the first is the format's version.
    pub fn encode(&self) -> Arc<[u8]> {
        codec::encode(&self.state, &self.rules).into()
    }

    /// Judges the rows of a group, oldest first. Rows in `poison` are quarantined without being looked at, and
    /// without a call of `on_row`, which may be what they die of.
    pub fn apply(
        &mut self,
        shard: &ShardId,
        batch: &Batch,
        group: usize,
        poison: &[u32],
        on_row: &mut dyn FnMut(u32),
    ) -> GroupOutcome {
        debug_assert_eq!(batch.groups[group].sensor, self.id, "a sensor gets its own readings only");
        let rows = batch.group_rows(group);
        let mut outcome = GroupOutcome { verdicts: Vec::with_capacity(rows.len()), ..GroupOutcome::default() };
        for &row in rows {
            let verdict = if poison.contains(&row) {
                poisoned()
            } else {
                on_row(row);
                self.judge(shard, batch, row, &mut outcome)
            };
            self.count(&verdict, batch.record_of(row as usize).arrival_ms);
            outcome.verdicts.push(verdict);
        }
        self.state.counts.alerts += outcome.alerts.len() as u64;
        outcome
    }

    /// The live state, for people. The caller knows the actor's state and restarts and fills them in.
    pub fn view(&self, shard: &str) -> SensorView {
        super::view::of(self, shard)
    }

    /// Whether it has ever had a valid reading. Until then there is nothing to remember of it.
    pub fn has_been_valid(&self) -> bool {
        self.state.counts.clean > 0
    }

    /// When the latest record arrived: silence counts from here.
    pub fn last_arrival_ms(&self) -> Option<i64> {
        self.state.last_arrival_ms
    }

    /// The latest event time of a valid reading.
    pub fn last_event_time_us(&self) -> Option<i64> {
        self.state.last_event_time_us
    }

    fn judge(&mut self, shard: &ShardId, batch: &Batch, row: u32, outcome: &mut GroupOutcome) -> Verdict {
        let at = row as usize;
        if let Some((reason, detail)) = judge::fault_of(&self.rules, batch, at) {
            return Verdict::Quarantined { reason, detail };
        }
        // After validity: an invalid reading was never "seen", so its corrected repetition is welcome.
        if let Some(event_id) = &batch.rows.event_id[at] {
            let hash = EventIds::hash(event_id);
            if self.state.seen.contains(hash) {
                return Verdict::Duplicate;
            }
            self.state.seen.insert(hash, self.rules.event_ids_max);
        }
        let findings = self.detect(batch, at);
        self.version(batch, row, &mut outcome.changes);
        let origin = Origin { sensor: &self.id, shard, batch, row: at };
        outcome.alerts.extend(findings.raised.into_iter().map(|raised| origin.alert(&self.rules, raised)));
        Verdict::Clean(Assessment {
            score: findings.score as f32,
            anomalies: findings.anomalies,
            sensor_version: self.state.attributes.version,
        })
    }

    fn detect(&mut self, batch: &Batch, row: usize) -> Findings {
        let time_us = batch.rows.event_time_us[row];
        let late = self.state.last_event_time_us.is_some_and(|latest| time_us < latest);
        if !late {
            self.state.last_event_time_us = Some(time_us);
        }
        let mut findings = Findings::default();
        for (field, watch) in self.state.watched.iter_mut().zip(&self.rules.watched) {
            if let Some(value) = batch.rows.fields[watch.field].number(row) {
                field.observe(watch, Observation { value, time_us, late }, &mut findings);
            }
        }
        findings
    }

    fn version(&mut self, batch: &Batch, row: u32, changes: &mut Vec<DimensionChange>) {
        let at = row as usize;
        let told = ReadAttributes { rules: &self.rules, fields: &batch.rows.fields, row: at };
        let versions = self.state.attributes.observe(&told, batch.rows.event_time_us[at]);
        let name = |attribute: usize| self.rules.schema.fields[self.rules.tracked[attribute]].name.clone();
        changes.extend(versions.into_iter().map(|(version, of)| DimensionChange {
            sensor: self.id.clone(),
            version,
            valid_from_us: of.from_us,
            row,
            attributes: of.values,
            changed: of.changed.into_iter().map(name).collect(),
        }));
    }

    /// Counts from the first valid reading on: a sensor that is forgotten because it never had one, and comes back, is
    /// the same as one that was not.
    fn count(&mut self, verdict: &Verdict, arrival_ms: i64) {
        let counts = &mut self.state.counts;
        if counts.clean == 0 && !matches!(verdict, Verdict::Clean(_)) {
            return;
        }
        match verdict {
            Verdict::Clean(_) => counts.clean += 1,
            Verdict::Duplicate => counts.duplicates += 1,
            Verdict::Quarantined { .. } => counts.quarantined += 1,
        }
        // A sensor that sends rubbish is not silent, so every reading counts here. The latest, since records of two
        // merged shards need not have arrived in the order in which they are read.
        self.state.last_arrival_ms = self.state.last_arrival_ms.max(Some(arrival_ms));
    }
}

fn poisoned() -> Verdict {
    Verdict::Quarantined { reason: Reason::Poison, detail: "processing it failed again and again".to_owned() }
}
