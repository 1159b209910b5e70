//! Everything that the batches of an epoch hold, sorted out by where it goes.
//!
//! **Owns** the order of rows: stream order, and for valid readings sensor and event time before it.
//! **Promises** every reading stands in exactly one of the lists (COMPLETE), and no list depends on where one batch
//! ends and the next begins.
//! **Fails** by a panic if a batch is not complete: only complete batches are stored.
//! **Not here**: values. Rows are places in the batches; the bytes stay where they are.

use std::collections::BTreeMap;
use std::ops::Range;

use messages::schema::PartitionBy;
use messages::{
    Alert, Assessed, Assessment, Batch, DimensionChange, Form, Group, RawRecord, Reason, SensorId, SequenceNumber,
    Verdict,
};

use crate::lake::keys::within_years;

/// A valid reading.
#[derive(Clone, Copy, Debug)]
pub(super) struct CleanRow<'a> {
    /// Its sensor's place in [`EpochRows::sensors`].
    pub(super) sensor: u32,
    /// Its event time.
    pub(super) event_time_us: i64,
    /// Its batch's place in [`EpochRows::batches`].
    pub(super) batch: u32,
    /// Its row in the batch.
    pub(super) row: u32,
    /// What its sensor found.
    pub(super) assessment: &'a Assessment,
    /// Whether no aggregate counts it.
    pub(super) late: bool,
}

/// A reading that had been seen before.
#[derive(Clone, Copy, Debug)]
pub(super) struct DuplicateRow<'a> {
    batch_index: u32,
    /// Its row in the batch.
    pub(super) row: usize,
    /// Its batch.
    pub(super) batch: &'a Batch,
    /// Its sensor.
    pub(super) sensor: &'a SensorId,
}

/// A reading or record that was refused.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused<'a> {
    place: (u32, u32),
    /// Which event of its record.
    pub(super) sub_sequence: u32,
    /// Its record.
    pub(super) record: &'a RawRecord,
    /// Its bytes within the record.
    pub(super) span: &'a Range<usize>,
    /// Why.
    pub(super) reason: Reason,
    /// What exactly.
    pub(super) detail: &'a str,
    /// Its sensor, if it could be read.
    pub(super) sensor: Option<&'a SensorId>,
}

/// A change of a sensor's attributes.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChangeRow<'a> {
    batch_index: u32,
    /// The batch that brought it.
    pub(super) batch: &'a Batch,
    /// The change.
    pub(super) change: &'a DimensionChange,
}

/// The rows of an epoch.
#[derive(Debug, Default)]
pub(super) struct EpochRows<'a> {
    /// The batches, in stream order.
    pub(super) batches: Vec<&'a Batch>,
    /// The sensors, ordered by id.
    pub(super) sensors: Vec<&'a SensorId>,
    /// Valid readings by the start of their event-time partition (microseconds since 1970); within it ordered by
    /// sensor, event time and stream order.
    pub(super) clean: BTreeMap<i64, Vec<CleanRow<'a>>>,
    /// Duplicates, in stream order.
    pub(super) duplicates: Vec<DuplicateRow<'a>>,
    /// Refused readings, in stream order.
    pub(super) refused: Vec<Refused<'a>>,
    /// Changes of attributes, in stream order.
    pub(super) changes: Vec<ChangeRow<'a>>,
    /// Alerts, in the order of the records that raised them; within a record by sensor.
    pub(super) alerts: Vec<&'a Alert>,
}

impl<'a> EpochRows<'a> {
    /// Sorts out what the batches hold.
    ///
    /// # Panics
    /// If a group has no outcome, or not one verdict (or late flag) per row.
    pub(super) fn sort_out(batches: &'a [Assessed], partition_by: PartitionBy) -> Self {
        let mut rows = Self::default();
        rows.refused.reserve_exact(batches.iter().map(|assessed| assessed.in_flight.batch.rejects.len()).sum());
        for (index, assessed) in batches.iter().enumerate() {
            let batch = &assessed.in_flight.batch;
            assert_eq!(assessed.late.len(), batch.rows.len(), "every row is late or not");
            assert_eq!(batch.forms.len(), batch.records.len(), "every record has its form");
            rows.batches.push(batch);
            rows.take_rejects(index as u32, batch);
        }
        // Sensor by sensor: only the rows of one sensor remain to be sorted, and they nearly are.
        for groups in groups_by_sensor(batches).chunk_by(|a, b| a.sensor == b.sensor) {
            let first = rows.sensors.len() as u32;
            rows.sensors.push(groups[0].sensor);
            let mut clean = Vec::new();
            for group in groups {
                rows.take_group(first, &batches[group.batch], group, &mut clean);
            }
            clean.sort_by_key(|row| row.event_time_us);
            for row in clean {
                let start_us = partition_by.start_of(within_years(row.event_time_us));
                rows.clean.entry(start_us).or_default().push(row);
            }
        }
        rows.order();
        rows
    }

    /// How many readings are valid.
    pub(super) fn n_clean(&self) -> u64 {
        self.clean.values().map(|rows| rows.len() as u64).sum()
    }

    /// What is refused because processing it failed again and again: readings by their number, records without.
    pub(super) fn poisoned(&self) -> Vec<(SequenceNumber, Option<u32>)> {
        let poisoned = self.refused.iter().filter(|refused| refused.reason == Reason::Poison);
        let place = |refused: &Refused<'_>| {
            (refused.record.sequence.clone(), refused.sensor.is_some().then_some(refused.sub_sequence))
        };
        poisoned.map(place).collect()
    }

    /// Readings found in the records, decodable or not.
    pub(super) fn readings(&self) -> u64 {
        self.batches.iter().map(|batch| (batch.rows.len() + batch.rejects.len()) as u64).sum()
    }

    /// The records, in stream order.
    pub(super) fn records(&self) -> impl Iterator<Item = &'a RawRecord> {
        self.batches.iter().flat_map(|batch| &batch.records)
    }

    /// The records, in stream order, each with how it can stand in a file of lines.
    pub(super) fn forms(&self) -> impl Iterator<Item = (Form, &'a RawRecord)> {
        self.batches.iter().flat_map(|batch| batch.forms.iter().copied().zip(&batch.records))
    }

    fn take_rejects(&mut self, batch_index: u32, batch: &'a Batch) {
        self.refused.extend(batch.rejects.iter().map(|reject| Refused {
            place: (batch_index, reject.record),
            sub_sequence: reject.sub_sequence,
            record: &batch.records[reject.record as usize],
            span: &reject.span,
            reason: reject.reason,
            detail: &reject.detail,
            sensor: None,
        }));
    }

    fn take_group(
        &mut self,
        rank: u32,
        assessed: &'a Assessed,
        group: &SensorGroup<'a>,
        clean: &mut Vec<CleanRow<'a>>,
    ) {
        let batch = &assessed.in_flight.batch;
        let (sensor, batch_index) = (group.sensor, group.batch as u32);
        let outcome = assessed.in_flight.outcome(group.group).expect("only complete batches are stored");
        let rows = batch.group_rows(group.group);
        assert_eq!(rows.len(), outcome.verdicts.len(), "every row has one verdict");
        for (&row, verdict) in rows.iter().zip(&outcome.verdicts) {
            let at = row as usize;
            match verdict {
                Verdict::Clean(assessment) => clean.push(CleanRow {
                    sensor: rank,
                    event_time_us: batch.rows.event_time_us[at],
                    batch: batch_index,
                    row,
                    assessment,
                    late: assessed.late[at],
                }),
                Verdict::Duplicate => self.duplicates.push(DuplicateRow { batch_index, row: at, batch, sensor }),
                Verdict::Quarantined { reason, detail } => self.refused.push(Refused {
                    place: (batch_index, batch.rows.record[at]),
                    sub_sequence: batch.rows.sub_sequence[at],
                    record: batch.record_of(at),
                    span: &batch.rows.span[at],
                    reason: *reason,
                    detail,
                    sensor: Some(sensor),
                }),
            }
        }
        self.changes.extend(outcome.changes.iter().map(|change| ChangeRow { batch_index, batch, change }));
        self.alerts.extend(&outcome.alerts);
    }

    fn order(&mut self) {
        self.duplicates.sort_unstable_by_key(|r| (r.batch_index, r.row));
        // What does not decode comes in order; to sort it again would hold half of it twice.
        if !self.refused.is_sorted_by_key(|r| (r.place, r.sub_sequence)) {
            self.refused.sort_by_key(|r| (r.place, r.sub_sequence));
        }
        self.changes.sort_by_key(|r| (r.batch_index, r.change.row));
        // Stable, and sensors were visited in the order of their ids: alerts of one record stand by sensor, as raised.
        self.alerts.sort_by_cached_key(|alert| {
            let sequence = alert.sequence.as_deref().and_then(|text| SequenceNumber::parse(text).ok());
            (sequence.is_none(), sequence)
        });
    }
}

/// Groups rows by the hour in which their record arrived; within an hour their order stays.
pub(super) fn by_arrival_hour<T>(
    rows: impl IntoIterator<Item = T>,
    arrival_ms: impl Fn(&T) -> i64,
) -> BTreeMap<i64, Vec<T>> {
    let mut hours: BTreeMap<i64, Vec<T>> = BTreeMap::new();
    for row in rows {
        let hour = PartitionBy::Hour.start_of(within_years(arrival_ms(&row).saturating_mul(1000)));
        hours.entry(hour).or_default().push(row);
    }
    hours
}

/// One sensor's rows in one batch.
struct SensorGroup<'a> {
    sensor: &'a SensorId,
    batch: usize,
    group: usize,
}

/// All groups, ordered by sensor; those of one sensor in stream order.
fn groups_by_sensor(batches: &[Assessed]) -> Vec<SensorGroup<'_>> {
    let mut groups = Vec::new();
    for (batch, assessed) in batches.iter().enumerate() {
        let found = assessed.in_flight.batch.groups.iter().enumerate();
        groups.extend(found.map(|(group, Group { sensor, .. })| SensorGroup { sensor, batch, group }));
    }
    groups.sort_by_key(|group| group.sensor);
    groups
}
