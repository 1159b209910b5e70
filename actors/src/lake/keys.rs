//! The names of an epoch's objects.
//!
//! **Owns** the layout of the bucket: which zone and time go under which prefix, and what a file is called.
//! **Promises** the same key for the same (stream, shard, cut, zone, partition) on every worker (RAW-ONCE,
//! CLEAN-ONCE); of what people and data choose, only `a-z 0-9 . -` gets into a key (INERT).
//! **Fails** never: every input has a key.
//! **Not here**: which rows go under which key; storing anything.

use chrono::{DateTime, Datelike, Timelike};
use messages::{Cut, EpochNumber, EpochPlan, Form, Position, ShardId, Zone};
use sha2::{Digest as _, Sha256};

use super::digest::hex;

/// Longest key, as long as epoch numbers have nine digits at most.
///
/// File names end at 255 bytes, and a store on a local file system keeps what belongs to an object in one file named
/// after the Base64 of the key (207 bytes for 155) between a prefix, the bucket's name and a suffix.
pub const KEY_BYTES_MAX: usize = 155;

/// Longest form of a name that people chose. Stream and shard together are what [`KEY_BYTES_MAX`] leaves.
const SLUG_BYTES_MAX: usize = 16;
/// What begins a name that readers of whole folders pass over (Spark, Hive, Athena, Spectrum): the lines of such an
/// object are of another shape than those beside it.
pub const HIDDEN: &str = "_";
/// Hex digits that keep two names apart which look alike after cleaning.
const SLUG_HASH_DIGITS: usize = 8;
/// Kinesis writes 56 digits; its documentation allows 129, which no key could hold.
const SEQUENCE_DIGITS_MAX: usize = 56;

/// The ending of claims, which lie beside the manifests.
const CLAIM: &str = "claim";

/// The years that have four digits: a partition of any other time could not be told from garbage.
const PARTITION_US_MIN: i64 = -62_135_596_800_000_000;
const PARTITION_US_MAX: i64 = 253_402_300_799_999_999;

/// The folder of what was made anew, and its shard.
const RECOMPUTED: &str = "recomputed";

/// How fine the prefix of an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Partition {
    /// Down to the hour of this time (microseconds since 1970).
    Hour(i64),
    /// Down to the day.
    Day(i64),
    /// Down to the month.
    Month(i64),
}

impl Partition {
    fn path(self) -> String {
        let (Self::Hour(us) | Self::Day(us) | Self::Month(us)) = self;
        let time = DateTime::from_timestamp_micros(within_years(us))
            .expect("chrono knows every time between the years 1 and 9999");
        let month = format!("year={:04}/month={:02}", time.year(), time.month());
        match self {
            Self::Month(_) => month,
            Self::Day(_) => format!("{month}/day={:02}", time.day()),
            Self::Hour(_) => format!("{month}/day={:02}/hour={:02}", time.day(), time.hour()),
        }
    }
}

/// The parts that the keys of one epoch share.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    stream: String,
    shard: String,
    /// Eight digits, and in plans of the first format the epoch's end.
    epoch: String,
}

impl Names {
    pub(crate) fn new(stream: &str, shard: &ShardId, cut: &Cut, format: u32) -> Self {
        let epoch = match format {
            EpochPlan::NAMED_BY_END => format!("{:08}-{}", cut.epoch.0, end_of(&cut.to)),
            // Nothing else decides it: two epochs of one number cannot lie beside each other.
            _ => format!("{:08}", cut.epoch.0),
        };
        Self { stream: slug(stream), shard: shard_slug(shard), epoch }
    }

    /// The key of an object that lies under a date; `n` counts the objects of one zone and partition.
    pub(crate) fn dated(&self, zone: Zone, partition: Partition, n: usize) -> String {
        self.dated_as(zone, partition, &n.to_string())
    }

    /// The key of raw records that are lines: before the ending stands how the records themselves end.
    pub(crate) fn lines(&self, partition: Partition, form: Form) -> String {
        match form {
            Form::Line => self.dated_as(Zone::Raw, partition, "0"),
            Form::LineFeed => self.dated_as(Zone::Raw, partition, "0.lf"),
            Form::CarriageReturn => self.dated_as(Zone::Raw, partition, "0.crlf"),
            Form::Other => self.dated_as(Zone::RawEscaped, partition, "0"),
        }
    }

    fn dated_as(&self, zone: Zone, partition: Partition, n: &str) -> String {
        let Self { stream, shard, epoch } = self;
        let (folder, path, extension) = (zone.folder(), partition.path(), zone.extension());
        let hidden = if zone == Zone::RawEscaped { HIDDEN } else { "" };
        format!("{folder}/{path}/{hidden}{stream}-{shard}-{epoch}-{n}.{extension}")
    }

    /// The key of an object that is found by its shard and number: the state and the manifest.
    pub(crate) fn chained(&self, zone: Zone) -> String {
        let Self { stream, shard, epoch } = self;
        format!("{}/{stream}/{shard}/{epoch}.{}", zone.folder(), zone.extension())
    }
}

/// The key of a shard's claim on an epoch: beside its manifest, and without the epoch's end in every format.
pub(crate) fn claim_of(stream: &str, shard: &ShardId, epoch: EpochNumber) -> String {
    format!("{}{:08}.{CLAIM}", manifests_of(stream, shard), epoch.0)
}

/// What every key of a later epoch sorts behind, and none of this one or an earlier one: `-` comes before `.`.
pub fn behind(prefix: &str, epoch: EpochNumber) -> String {
    format!("{prefix}{:08}.~", epoch.0)
}

/// The number in a manifest's key, in whatever format; none if it is no manifest's.
pub fn epoch_of_manifest(key: &str) -> Option<EpochNumber> {
    number_in(key.strip_suffix(Zone::Manifest.extension())?.strip_suffix('.')?)
}

/// The number in a claim's key; none if it is no claim's.
pub fn epoch_of_claim(key: &str) -> Option<EpochNumber> {
    number_in(key.strip_suffix(CLAIM)?.strip_suffix('.')?)
}

fn number_in(path: &str) -> Option<EpochNumber> {
    let name = path.rsplit('/').next()?;
    name.split('-').next()?.parse().ok().map(EpochNumber)
}

/// Whether a state object's key is one of this stream's shard: another stream's states are of another stream's rows.
pub fn is_state_of(key: &str, stream: &str, shard: &ShardId) -> bool {
    key.starts_with(&format!("{}/{}/{}/", Zone::State.folder(), slug(stream), shard_slug(shard)))
}

/// The manifest of the epoch that a state object belongs to: they differ in folder and ending only.
pub fn manifest_of_state(state_key: &str) -> String {
    let (state, manifest) = (Zone::State, Zone::Manifest);
    let path = state_key.strip_prefix(state.folder()).unwrap_or(state_key);
    let path = path.strip_suffix(state.extension()).unwrap_or(path);
    format!("{}{path}{}", manifest.folder(), manifest.extension())
}

/// Where the manifests of a shard are.
pub fn manifests_of(stream: &str, shard: &ShardId) -> String {
    format!("{}{}/", manifests_of_stream(stream), shard_slug(shard))
}

/// The time itself, or the nearest one that a partition can be named after.
pub(crate) fn within_years(us: i64) -> i64 {
    us.clamp(PARTITION_US_MIN, PARTITION_US_MAX)
}

/// Where the manifests of all shards of a stream are.
pub fn manifests_of_stream(stream: &str) -> String {
    format!("{}/{}/", Zone::Manifest.folder(), slug(stream))
}

/// Where the raw objects of an hour of arrival are, given any time in it (microseconds since 1970).
pub fn raw_of_hour(us: i64) -> String {
    format!("{}/{}/", Zone::Raw.folder(), Partition::Hour(us).path())
}

/// Where the objects of a zone are that have rows of a day, given any time in it (microseconds since 1970).
pub fn keys_under(zone: Zone, us: i64) -> String {
    let partition = match zone {
        Zone::AggregatesDaily => Partition::Month(us),
        _ => Partition::Day(us),
    };
    format!("{}/{}/", zone.folder(), partition.path())
}

/// The writer of windows that were made anew: no shard of the stream, though it has a number for each of its writings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recomputed {
    /// In columns, and in the ledger.
    pub shard: ShardId,
    /// In names of objects.
    pub prefix: String,
}

/// The one for all streams.
pub fn recomputed() -> Recomputed {
    let shard = ShardId::new(RECOMPUTED);
    Recomputed { prefix: shard_slug(&shard), shard }
}

/// Where the manifests of windows that were made anew are.
pub fn recomputed_of(stream: &str) -> String {
    format!("{RECOMPUTED}/{}/", slug(stream))
}

/// The beginning of the name of every dated object of a stream, before the shard.
pub fn dated_names_of(stream: &str) -> String {
    format!("{}-", slug(stream))
}

fn end_of(to: &Position) -> String {
    match to {
        Position::TrimHorizon => "start".to_owned(),
        Position::At(sequence) if sequence.as_str().len() <= SEQUENCE_DIGITS_MAX => sequence.to_string(),
        Position::At(sequence) => format!("x{}", &hash_of(sequence.as_str())[..SEQUENCE_DIGITS_MAX - 1]),
        Position::ShardEnd => "end".to_owned(),
    }
}

/// Shards named by Kinesis keep their twelve digits; any other name is marked by its hash, so that it cannot be
/// mistaken for them.
fn shard_slug(shard: &ShardId) -> String {
    let digits = shard.short();
    let usual = shard.as_str().len() > digits.len() && digits.len() == 12 && digits.bytes().all(|b| b.is_ascii_digit());
    if usual { digits.to_owned() } else { hashed_slug(shard.as_str()) }
}

/// A name as a part of a key: itself if it is short and plain, else what is left of it and a hash.
fn slug(name: &str) -> String {
    let kept = plain(name);
    if kept == name && !name.is_empty() && name.len() <= SLUG_BYTES_MAX { kept } else { hashed_slug(name) }
}

fn hashed_slug(name: &str) -> String {
    let mut stem = plain(name);
    // Only ASCII is left, so any byte is a place to cut.
    stem.truncate(SLUG_BYTES_MAX - SLUG_HASH_DIGITS - 1);
    let stem = if stem.is_empty() { "x" } else { stem.as_str() };
    format!("{stem}-{}", &hash_of(name)[..SLUG_HASH_DIGITS])
}

/// Lower-case letters, digits, `-`, and `.` only behind a letter or digit: `..` would climb out of its folder.
fn plain(name: &str) -> String {
    let mut kept = String::with_capacity(name.len().min(2 * SLUG_BYTES_MAX));
    for c in name.chars() {
        let c = c.to_ascii_lowercase();
        let allowed = match c {
            'a'..='z' | '0'..='9' | '-' => true,
            '.' => kept.ends_with(|before: char| before.is_ascii_alphanumeric()),
            _ => false,
        };
        kept.push(if allowed { c } else { '-' });
    }
    kept
}

fn hash_of(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}
