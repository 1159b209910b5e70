//! Makes closed windows anew from the cleansed zone, and publishes what differs as new revisions.
//!
//! **Owns** nothing that lasts: what was published stands in the bucket.
//!
//! **Promises**
//! - Only what is closed: a shard's part of a window that this shard does not revise any more, by its own watermark
//!   (OWNER). A worker may run meanwhile.
//! - A part gets a revision only if it says something else, and one that is higher than any. Run twice, the second run
//!   writes nothing; two at once, one of them looks again.
//! - Objects are created and never replaced, under names made of what is in them; the manifest goes last, and the loader
//!   knows no recomputation without one. One that was interrupted is made whole by the next (CLEAN-ONCE).
//! - One day at a time, in as many passes as its windows take (BOUNDED).
//!
//! **Fails** with a [`RecomputeError`]; what is published by then stands.
//! **Not here**: the arithmetic (`aggregator/tally.rs`), reading rows (`recompute/files.rs`).

mod files;
mod shards;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use messages::{
    AggregateRow, Cut, CutReason, EpochNumber, EpochPlan, EventSchema, Position, SensorId, SequenceNumber, ShardId,
    StreamId, WindowKind, Zone,
};
use sha2::{Digest as _, Sha256};
use tracing::info;

pub use self::files::FileError;
use self::files::Named;
use self::shards::Shards;
use crate::aggregator::{Full, Tallied, Tally};
use crate::lake::{epoch_of_manifest, keys_under, recomputed, recomputed_of};
use crate::ports::aws::CallError;
use crate::ports::leases::{LeaseError, LeaseTable};
use crate::ports::objects::{Objects, Put};
use crate::sinks::{EncodeError, Encoding, EpochContext, encode_windows};

const DAY_US: i64 = 86_400_000_000;
/// Far beyond what an epoch may hold.
const OBJECT_BYTES_MAX: usize = 1 << 30;
const MANIFEST_BYTES_MAX: usize = 64 << 20;
/// A day is begun again so often because somebody else published meanwhile.
const RACES_MAX: u32 = 8;
/// A day is split into no more passes than this.
const PASSES_MAX: u64 = 4_096;

/// Makes windows of one stream anew.
#[derive(Clone, Debug)]
pub struct Recompute {
    /// The bucket.
    pub objects: Objects,
    /// Where the shards' checkpoints are.
    pub leases: LeaseTable,
    /// The stream.
    pub stream: String,
    /// The schema of its events.
    pub schema: Arc<EventSchema>,
    /// How objects are laid out.
    pub encoding: Encoding,
    /// How long after its end a window takes readings.
    pub lateness: Duration,
    /// Windows of a field that are held at once: some 300 bytes each.
    pub windows_max: usize,
}

/// What is to be made anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Windows that overlap with the interval from here, microseconds since 1970,
    pub from_us: i64,
    /// to before here.
    pub to_us: i64,
    /// The only sensor, if not all.
    pub sensor: Option<SensorId>,
    /// Whether to tell only what would be written.
    pub dry_run: bool,
}

/// What became of one day.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Day {
    /// Its date.
    pub day: String,
    /// Files of the cleansed zone that were read.
    pub files: u64,
    /// Readings that fell into closed windows.
    pub readings: u64,
    /// Windows of a field that were looked at.
    pub windows: u64,
    /// Those of them that say something else now, and were published.
    pub changed: u64,
    /// Those of them that count more readings than the cleansed zone has: they were left as they are.
    pub fewer: u64,
    /// Hours, and the day, that are open still: the aggregator counts them.
    pub open: u64,
    /// The numbers of what was published.
    pub published: Vec<u64>,
}

/// Windows could not be made anew.
#[derive(Debug, thiserror::Error)]
pub enum RecomputeError {
    /// The bucket or the lease table failed, or refused.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A lease row cannot be read.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// An object of the lake is not what it should be.
    #[error("{key}: {problem}")]
    Lake {
        /// The object.
        key: String,
        /// What is wrong.
        problem: String,
    },
    /// A file of the lake cannot be read.
    #[error("{key}: {problem}")]
    File {
        /// The object.
        key: String,
        /// Why not.
        problem: FileError,
    },
    /// No shard of the stream has committed anything.
    #[error("{table:?} has no shard of {stream:?} that has committed anything: is it the lease table of this stream?")]
    NothingCommitted {
        /// The table.
        table: String,
        /// The stream.
        stream: String,
    },
    /// The rows cannot be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// Others published all the time.
    #[error("{day} was begun {RACES_MAX} times, and others published each time: let one recompute at a time")]
    Raced {
        /// The day.
        day: String,
    },
    /// There are more windows than memory allows in so many passes.
    #[error("{day} has too many windows for {PASSES_MAX} passes: ask for one sensor, or for fewer hours")]
    TooMany {
        /// The day.
        day: String,
    },
    /// A task of this process failed.
    #[error(transparent)]
    Internal(#[from] tokio::task::JoinError),
}

/// One pass over a day.
#[derive(Clone, Debug)]
struct Pass {
    wanted: Wanted,
    day_us: i64,
    /// Which part of the sensors, of how many.
    part: (u64, u64),
}

impl Pass {
    /// Whether a window is asked for, and closed in a shard that has closed what ends by then.
    fn is_wanted(&self, kind: WindowKind, start_us: i64, closed_us: i64) -> bool {
        let end_us = start_us.saturating_add(kind.length_us());
        start_us < self.wanted.to_us && end_us > self.wanted.from_us && end_us <= closed_us
    }

    fn takes(&self, sensor: &str) -> bool {
        let (part, parts) = self.part;
        self.wanted.sensor.as_ref().is_none_or(|wanted| wanted.as_str() == sensor)
            && (parts == 1 || xxhash_rust::xxh3::xxh3_64(sensor.as_bytes()) % parts == part)
    }

    /// Windows of the day that are asked for and open in some shard.
    fn open(&self, closed_us: i64) -> u64 {
        let overlaps = |start_us: i64, length_us: i64| {
            start_us < self.wanted.to_us
                && start_us + length_us > self.wanted.from_us
                && start_us + length_us > closed_us
        };
        let windows = WindowKind::ALL.into_iter().flat_map(|kind| {
            let length_us = kind.length_us();
            (0..DAY_US / length_us).map(move |n| (n, length_us))
        });
        windows.filter(|(n, length_us)| overlaps(self.day_us + n * length_us, *length_us)).count() as u64
    }
}

impl Recompute {
    /// Makes the windows anew, day by day, and tells of each.
    pub async fn run(&self, wanted: &Wanted, tell: &mut (dyn FnMut(&Day) + Send)) -> Result<Vec<Day>, RecomputeError> {
        let shards = self.shards().await?;
        info!(closed_us = shards.closed_us(), "windows that end by then are closed in every shard");
        let mut days = Vec::new();
        let mut day_us = wanted.from_us.div_euclid(DAY_US) * DAY_US;
        while day_us < wanted.to_us {
            let day = self.day(wanted, &shards, day_us).await?;
            tell(&day);
            days.push(day);
            day_us += DAY_US;
        }
        Ok(days)
    }

    async fn day(&self, wanted: &Wanted, shards: &Shards, day_us: i64) -> Result<Day, RecomputeError> {
        let mut pass = Pass { wanted: wanted.clone(), day_us, part: (0, 1) };
        let mut day = Day { day: date(day_us), open: pass.open(shards.closed_us()), ..Day::default() };
        let readings = self.named(Zone::Cleansed, day_us, shards).await?;
        // Rows of an epoch that is not committed may be written otherwise still.
        let readings: Vec<Named> = readings.into_iter().filter(|file| shards.is_committed(file)).collect();
        day.files = readings.len() as u64;
        let mut races = 0;
        while pass.part.0 < pass.part.1 {
            let committed = self.published().await?;
            let done = match self.tally(&pass, &readings, shards, &committed).await? {
                Ok(done) => done,
                Err(Full) if pass.part.1 < PASSES_MAX => {
                    // What was published by now says the same, and is not written again.
                    pass.part = (0, pass.part.1 * 2);
                    (day.readings, day.windows, day.fewer) = (0, 0, 0);
                    continue;
                }
                Err(Full) => return Err(RecomputeError::TooMany { day: day.day }),
            };
            let Tallied { rows, windows, fewer, readings } = done;
            let changed = rows.values().map(|rows| rows.len() as u64).sum::<u64>();
            if !rows.is_empty() && !wanted.dry_run {
                match self.publish(rows, committed.next).await? {
                    Some(number) => day.published.push(number.0),
                    None if races < RACES_MAX => {
                        races += 1;
                        continue;
                    }
                    None => return Err(RecomputeError::Raced { day: day.day }),
                }
            }
            day.changed += changed;
            (day.readings, day.windows, day.fewer) =
                (day.readings + readings, day.windows + windows, day.fewer + fewer);
            pass.part.0 += 1;
        }
        Ok(day)
    }

    /// Counts the readings of a pass, and looks up what was written of their windows.
    async fn tally(
        &self,
        pass: &Pass,
        readings: &[Named],
        shards: &Shards,
        committed: &Published,
    ) -> Result<Result<Tallied, Full>, RecomputeError> {
        let mut tally = Tally::new(self.windows_max);
        for file in readings {
            match self.readings(file, pass, shards.closed_in(file), tally).await? {
                Ok(counted) => tally = counted,
                Err(Full) => return Ok(Err(Full)),
            }
        }
        for zone in [Zone::AggregatesHourly, Zone::AggregatesDaily] {
            for file in self.named(zone, pass.day_us, shards).await? {
                let is_written = file.shard != recomputed().prefix || committed.keys.contains(&file.key);
                tally = self.windows(&file, is_written, pass, tally).await?;
            }
        }
        Ok(Ok(tally.finish()))
    }

    /// Publishes rows under a number; none if somebody else has taken it.
    async fn publish(
        &self,
        rows: BTreeMap<ShardId, Vec<AggregateRow>>,
        number: EpochNumber,
    ) -> Result<Option<EpochNumber>, RecomputeError> {
        let context = EpochContext {
            stream: self.stream.clone(),
            // Nothing is written of it in this format, whose names tell contents apart.
            origin: StreamId { arn: self.stream.clone(), created_ms: 0 },
            format: EpochPlan::NAMED_BY_END,
            shard: recomputed().shard,
            schema: Arc::clone(&self.schema),
            encoding: self.encoding,
            previous_state: None,
        };
        let cut = |shard: &ShardId, rows: &[AggregateRow]| Cut {
            epoch: number,
            from: Position::TrimHorizon,
            // The end of an epoch is in the names of its objects: here it is made of what is in them.
            to: Position::At(fingerprint(shard, rows)),
            reason: CutReason::Age,
            full_state: false,
            whole_aggregates: false,
            spread: false,
        };
        let all: Vec<AggregateRow> = rows.values().flatten().cloned().collect();
        let whole = cut(&context.shard, &all);
        let parts: Vec<(ShardId, Cut, Vec<AggregateRow>)> =
            rows.into_iter().map(|(shard, rows)| (shard.clone(), cut(&shard, &rows), rows)).collect();
        let encoded = tokio::task::spawn_blocking(move || encode_windows(&context, &whole, &parts)).await;
        let encoded = encoded??;
        for object in &encoded.objects {
            let planned = &object.planned;
            if self.objects.put_new(&planned.key, object.bytes.clone(), &planned.digest, planned.rows).await?
                == Put::Different
            {
                let problem = "exists with other content: a broken promise, look before going on".to_owned();
                return Err(RecomputeError::Lake { key: planned.key.clone(), problem });
            }
        }
        let manifest = &encoded.manifest.planned;
        // One name for every content: whoever comes second finds the number taken.
        let key = format!("{}{:08}-windows.json", recomputed_of(&self.stream), number.0);
        let put = self.objects.put_new(&key, encoded.manifest.bytes.clone(), &manifest.digest, manifest.rows).await?;
        Ok((put != Put::Different).then_some(number))
    }

    /// What was published so far.
    async fn published(&self) -> Result<Published, RecomputeError> {
        let mut published = Published { keys: BTreeSet::new(), next: EpochNumber(1) };
        for key in self.objects.list(&recomputed_of(&self.stream)).await? {
            let Some(number) = epoch_of_manifest(&key) else { continue };
            published.next = published.next.max(number.next());
            let body = self.objects.get(&key, MANIFEST_BYTES_MAX).await?;
            let plan: EpochPlan = serde_json::from_slice(&body)
                .map_err(|error| RecomputeError::Lake { key, problem: format!("is no manifest: {error}") })?;
            published.keys.extend(plan.objects.into_iter().map(|object| object.key));
        }
        Ok(published)
    }

    /// The stream's objects of a zone that may have rows of a day.
    async fn named(&self, zone: Zone, day_us: i64, shards: &Shards) -> Result<Vec<Named>, RecomputeError> {
        let keys = self.objects.list(&keys_under(zone, day_us)).await?;
        Ok(keys.into_iter().filter_map(|key| shards.named(&self.stream, key)).collect())
    }
}

/// What was published so far, and the number that comes next.
#[derive(Clone, Debug)]
struct Published {
    keys: BTreeSet<String>,
    next: EpochNumber,
}

/// A number of 30 digits that stands for a shard's rows.
fn fingerprint(shard: &ShardId, rows: &[AggregateRow]) -> SequenceNumber {
    let mut hash = Sha256::new();
    hash.update(shard.as_str());
    for row in rows {
        let AggregateRow { window, start_us, sensor, field, revision, count, .. } = row;
        hash.update(format!("{window:?} {start_us} {} {field} {revision} {count}", sensor.as_str()));
        for value in [row.sum, row.min, row.max, row.mean, row.stddev.unwrap_or(f64::NAN), row.first, row.last] {
            hash.update(value.to_bits().to_le_bytes());
        }
    }
    let number = hash.finalize().iter().take(12).fold(0_u128, |number, byte| (number << 8) | u128::from(*byte));
    SequenceNumber::parse(&format!("{:030}", number + 10_u128.pow(29))).expect("it is a number of 30 digits")
}

fn date(day_us: i64) -> String {
    let time = chrono::DateTime::from_timestamp_micros(day_us);
    time.map_or_else(|| day_us.to_string(), |time| time.format("%Y-%m-%d").to_string())
}
