//! Windows made anew from stored readings, and compared with what was written of them.
//!
//! **Owns** the statistics of the windows that are asked for, and the highest revision of each that is stored.
//! **Promises** the same readings in the same order make the same rows. A row is made only of a window that says
//! something else than its last revision; its revision is higher than any that was seen. A window never loses readings:
//! one that counts more than there are now is left as it is.
//! **Fails** with [`Full`] beyond the number of windows allowed (BOUNDED).
//! **Not here**: reading objects, which windows are closed.

use std::collections::{BTreeMap, HashMap};

use messages::{AggregateRow, SensorId, ShardId, WindowKind};

use super::stats::Stats;

/// What rounding may differ by, relative to the values: readings may be added in another order than they came in.
const TOLERANCE: f64 = 1e-9;

/// There are more windows than are held at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more windows than are held at once")]
pub struct Full;

/// What one shard has counted of one window of one field.
type TallyKey = (ShardId, WindowKind, i64, SensorId, u16);

/// Windows under way.
#[derive(Debug)]
pub struct Tally {
    windows_max: usize,
    windows: HashMap<TallyKey, CountedParts>,
    readings: u64,
}

#[derive(Debug)]
struct CountedParts {
    stats: Stats,
    /// The highest revision of all.
    revision: u32,
    /// The highest that counts as written.
    written: Option<AggregateRow>,
}

/// What came of a tally.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tallied {
    /// By shard, the windows that say something else now, under their next revision, ordered by window, sensor and field.
    pub rows: BTreeMap<ShardId, Vec<AggregateRow>>,
    /// Windows of a field and shard that were looked at.
    pub windows: u64,
    /// Those of them whose last revision counts more readings than there are.
    pub fewer: u64,
    /// Readings that fell into them.
    pub readings: u64,
}

impl Tally {
    /// Nothing yet, and at most so many windows of a field.
    pub fn new(windows_max: usize) -> Self {
        Self { windows_max, windows: HashMap::new(), readings: 0 }
    }

    /// Counts a reading of a shard in these windows; values by the number of their field in the schema.
    pub fn add(
        &mut self,
        (shard, sensor): (&ShardId, &SensorId),
        event_time_us: i64,
        values: &[(u16, f64)],
        kinds: impl Iterator<Item = WindowKind>,
    ) -> Result<(), Full> {
        let mut counts = false;
        for kind in kinds {
            for (field, value) in values {
                counts = true;
                let key = (shard.clone(), kind, kind.start_of(event_time_us), sensor.clone(), *field);
                if let Some(counted) = self.windows.get_mut(&key) {
                    counted.stats.add(event_time_us, *value);
                } else if self.windows.len() < self.windows_max {
                    let stats = Stats::of(event_time_us, *value);
                    self.windows.insert(key, CountedParts { stats, revision: 0, written: None });
                } else {
                    return Err(Full);
                }
            }
        }
        self.readings += u64::from(counts);
        Ok(())
    }

    /// A row of a shard that is stored. Whether it counts as written: one that nothing names does not, and is to be outdone.
    pub fn stored(&mut self, shard: &ShardId, row: AggregateRow, is_written: bool) {
        let key = (shard.clone(), row.window, row.start_us, row.sensor.clone(), row.field);
        let Some(counted) = self.windows.get_mut(&key) else { return };
        counted.revision = counted.revision.max(row.revision);
        if is_written && counted.written.as_ref().is_none_or(|known| known.revision < row.revision) {
            counted.written = Some(row);
        }
    }

    /// What has to be written.
    pub fn finish(self) -> Tallied {
        let mut done = Tallied { readings: self.readings, windows: self.windows.len() as u64, ..Tallied::default() };
        let ordered: BTreeMap<TallyKey, CountedParts> = self.windows.into_iter().collect();
        for ((shard, window, start_us, sensor, field), counted) in ordered {
            let CountedParts { stats, revision, written } = counted;
            let row = AggregateRow {
                window,
                start_us,
                sensor,
                field,
                revision: revision.saturating_add(1),
                count: stats.count(),
                sum: stats.sum(),
                min: stats.min(),
                max: stats.max(),
                mean: stats.mean(),
                stddev: stats.stddev(),
                first: stats.first(),
                last: stats.last(),
                first_us: stats.first_us(),
                last_us: stats.last_us(),
            };
            match written {
                Some(written) if written.count > row.count => done.fewer += 1,
                Some(written) if says_the_same(&written, &row) => {}
                _ => done.rows.entry(shard).or_default().push(row),
            }
        }
        done
    }
}

fn says_the_same(a: &AggregateRow, b: &AggregateRow) -> bool {
    let scale = b.min.abs().max(b.max.abs());
    let close = |a: f64, b: f64, scale: f64| a == b || (a - b).abs() <= TOLERANCE * scale.max(b.abs());
    (a.count, a.min, a.max, a.first, a.last) == (b.count, b.min, b.max, b.first, b.last)
        && close(a.sum, b.sum, scale * b.count as f64)
        && close(a.mean, b.mean, scale)
        && close(a.stddev.unwrap_or(-1.0), b.stddev.unwrap_or(-1.0), scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard() -> ShardId {
        ShardId::new("shardId-000000000000")
    }

    fn rows(tallied: Tallied) -> Vec<AggregateRow> {
        tallied.rows.into_values().flatten().collect()
    }

    fn tally(values: &[(i64, f64)]) -> Tally {
        let mut tally = Tally::new(10);
        for (us, value) in values {
            tally.add((&shard(), &SensorId::new("s")), *us, &[(0, *value)], WindowKind::ALL.into_iter()).unwrap();
        }
        tally
    }

    #[test]
    fn what_is_written_already_is_not_written_again() {
        let first = tally(&[(1, 2.0), (2, 4.0)]).finish();
        assert_eq!((first.windows, first.readings), (2, 2));
        let first = rows(first);
        assert_eq!((first[0].revision, first[0].count, first[0].sum), (1, 2, 6.0));
        let mut again = tally(&[(2, 4.0), (1, 2.0)]);
        first.iter().for_each(|row| again.stored(&shard(), row.clone(), true));
        assert!(rows(again.finish()).is_empty());
        // What another shard has counted is another part of the window.
        let mut other = tally(&[(2, 4.0), (1, 2.0)]);
        first.iter().for_each(|row| other.stored(&ShardId::new("another"), row.clone(), true));
        assert_eq!(rows(other.finish()).len(), 2);
    }

    #[test]
    fn a_revision_is_higher_than_any_and_no_window_loses_readings() {
        let stored = rows(tally(&[(1, 2.0), (2, 4.0)]).finish()).remove(0);
        let at = |revision| AggregateRow { revision, ..stored.clone() };
        // One that nothing names is outdone, and compared with nothing.
        let mut more = tally(&[(1, 2.0), (2, 4.0), (3, 5.0)]);
        more.stored(&shard(), at(4), true);
        more.stored(&shard(), at(9), false);
        let more = rows(more.finish());
        let hour = more.iter().find(|row| row.window == WindowKind::Hourly).unwrap();
        assert_eq!((hour.revision, hour.count), (10, 3));
        let mut same = tally(&[(1, 2.0), (2, 4.0)]);
        same.stored(&shard(), at(9), false);
        assert_eq!(rows(same.finish()).len(), 2, "nothing was written");
        let mut fewer = tally(&[(1, 2.0)]);
        fewer.stored(&shard(), at(1), true);
        let fewer = fewer.finish();
        assert_eq!((fewer.fewer, rows(fewer).len()), (1, 1), "the day was not known");
    }

    #[test]
    fn windows_have_an_end() {
        let mut tally = Tally::new(1);
        let hour = || [WindowKind::Hourly].into_iter();
        let (shard, s, t) = (shard(), SensorId::new("s"), SensorId::new("t"));
        tally.add((&shard, &s), 0, &[(0, 1.0)], hour()).unwrap();
        tally.add((&shard, &s), 1, &[(0, 1.0)], hour()).unwrap();
        assert_eq!(tally.add((&shard, &t), 1, &[(0, 1.0)], hour()), Err(Full));
    }
}
