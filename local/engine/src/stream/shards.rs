//! One stream: shards, their lineage, and their records.
//!
//! **Promises** sequence numbers grow within a lineage and are not dense. A record is numbered first and shown then: what
//! is numbered and never shown leaves a gap. Nothing is forgotten but by `trim`, and that only for readers.
//! **Fails** a reshard as the service does; nothing is changed then.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use md5::{Digest, Md5};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{in_use, invalid, not_found};
use crate::stream::Sequence;
use crate::{ClientId, Refusal};

/// Numbers are not dense.
const SEQUENCE_STEP_MAX: u64 = 4;
/// The service's limits on one shard in one second.
const WRITE_BYTES_MAX: usize = 1024 * 1024;
const WRITE_RECORDS_MAX: usize = 1_000;
const READ_BYTES_MAX: usize = 2 * 1024 * 1024;
const READS_MAX: usize = 5;

/// Where the service puts a partition key. Its own, and not the product's: a fake that shares the hash with what it checks
/// cannot find a wrong one.
pub fn place_of(partition_key: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(partition_key).into())
}

/// A record as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number, which is unique within its shard only.
    pub sequence: Sequence,
    /// Its key; empty if it has none.
    pub partition_key: Arc<str>,
    /// When it arrived, in milliseconds since 1970.
    pub arrival_ms: i64,
    /// What the producer sent.
    pub data: Bytes,
}

/// A shard.
#[derive(Debug)]
pub struct Shard {
    /// Its id.
    pub id: Arc<str>,
    /// The shards it was split or merged from.
    pub parents: Vec<Arc<str>>,
    /// The first and the last key of its hash range.
    pub range: (u128, u128),
    /// All its numbers are larger.
    pub first: Sequence,
    /// The number at which it was closed.
    pub last: Option<Sequence>,
    /// Whether retention has passed it: readers do not find it.
    pub trimmed: bool,
    /// What it holds, in order.
    pub records: Vec<Record>,
    /// The clients that read it, and when, where that is remembered.
    pub readers: Vec<(ClientId, i64)>,
    /// The last number that was given.
    pub(super) tip: Sequence,
    pub(super) read: ReadLately,
    written: Written,
}

/// What was written to a shard within a second.
#[derive(Clone, Copy, Debug, Default)]
struct Written {
    since_ms: i64,
    n_bytes: usize,
    n_records: usize,
}

impl Written {
    /// Whether so much more is allowed; it is counted then.
    fn allows(&mut self, now_ms: i64, n_bytes: usize) -> bool {
        if now_ms - self.since_ms >= 1_000 {
            *self = Self { since_ms: now_ms, ..Self::default() };
        }
        let allowed = self.n_bytes + n_bytes <= WRITE_BYTES_MAX && self.n_records < WRITE_RECORDS_MAX;
        if allowed {
            (self.n_bytes, self.n_records) = (self.n_bytes + n_bytes, self.n_records + 1);
        }
        allowed
    }
}

/// What was read of a shard lately.
#[derive(Debug, Default)]
pub(super) struct ReadLately {
    /// When, within the last second.
    calls: VecDeque<i64>,
    since_ms: i64,
    /// What was read since then, without what the seconds since then have allowed: one large page is paid off later.
    n_bytes: usize,
}

impl ReadLately {
    /// Whether one more call is allowed; it is counted then.
    pub(super) fn allows(&mut self, now_ms: i64) -> bool {
        self.calls.retain(|call_ms| now_ms - call_ms < 1_000);
        let seconds = ((now_ms - self.since_ms) / 1_000).max(0);
        self.n_bytes = self.n_bytes.saturating_sub(READ_BYTES_MAX.saturating_mul(seconds as usize));
        self.since_ms = if self.n_bytes == 0 { now_ms } else { self.since_ms + seconds * 1_000 };
        let allowed = self.calls.len() < READS_MAX && self.n_bytes < READ_BYTES_MAX;
        if allowed {
            self.calls.push_back(now_ms);
        }
        allowed
    }

    /// Counts a page.
    pub(super) fn took(&mut self, n_bytes: usize) {
        self.n_bytes += n_bytes;
    }
}

impl Shard {
    /// Whether it takes records.
    pub fn is_open(&self) -> bool {
        self.last.is_none()
    }

    pub(super) fn with(id: String, parents: Vec<Arc<str>>, range: (u128, u128), first: Sequence) -> Self {
        Self {
            id: id.into(),
            parents,
            range,
            first,
            last: None,
            trimmed: false,
            records: Vec::new(),
            readers: Vec::new(),
            tip: first,
            read: ReadLately::default(),
            written: Written::default(),
        }
    }
}

/// A record that is to be stored.
#[derive(Clone, Debug)]
pub struct Put {
    /// Its key; empty if it has none.
    pub partition_key: Arc<str>,
    /// Its place in the hash range; none if its key decides.
    pub hash: Option<u128>,
    /// What the producer sent.
    pub data: Bytes,
}

/// A stream.
#[derive(Debug)]
pub struct Stream {
    pub(super) name: String,
    pub(super) arn: String,
    pub(super) created_ms: i64,
    pub(super) retention_hours: u32,
    pub(super) on_demand: bool,
    pub(super) warm_mibps: u32,
    pub(super) record_kib_max: u32,
    pub(super) metrics: Vec<String>,
    pub(super) tags: BTreeMap<String, String>,
    /// Whether records are spread over the shards, whatever their keys are.
    pub(super) spread: bool,
    pub(super) shards: Vec<Shard>,
    shared_numbers: bool,
    n_spread: u64,
    dice: StdRng,
}

impl Stream {
    /// A stream without shards.
    pub(super) fn bare(name: &str, arn: String, seed: u64, shared_numbers: bool) -> Self {
        Self {
            name: name.to_owned(),
            arn,
            created_ms: 0,
            retention_hours: 24,
            on_demand: false,
            warm_mibps: 0,
            record_kib_max: 1024,
            metrics: Vec::new(),
            tags: BTreeMap::new(),
            spread: false,
            shards: Vec::new(),
            shared_numbers,
            n_spread: 0,
            dice: StdRng::seed_from_u64(seed),
        }
    }

    /// The first shards, with equal hash ranges.
    pub(super) fn populate(&mut self, n_shards: u32) {
        let mut from = 0;
        for start in starts(n_shards).into_iter().map(Some).chain([None]) {
            let to = start.map_or(u128::MAX, |start| start - 1);
            self.open(Vec::new(), (from, to), Sequence::ZERO);
            from = to.wrapping_add(1);
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Every shard that there ever was, in the order of creation.
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// From now on records are spread over the shards, or go by their keys again.
    pub fn set_spread(&mut self, spread: bool) {
        self.spread = spread;
    }

    pub(super) fn n_open(&self) -> usize {
        self.shards.iter().filter(|shard| shard.is_open()).count()
    }

    fn open(&mut self, parents: Vec<Arc<str>>, range: (u128, u128), first: Sequence) -> String {
        let index = self.shards.len();
        let id = format!("shardId-{index:012}");
        let first = if self.shared_numbers { first } else { first.max(Sequence::of_shard(self.created_ms, index)) };
        self.shards.push(Shard::with(id.clone(), parents, range, first));
        id
    }

    /// Whether this can be a number of the shard.
    pub(super) fn may_be_of(&self, shard: &Shard, number: Sequence) -> bool {
        let index = self.shards.iter().position(|known| known.id == shard.id).unwrap_or_default();
        let next = Sequence::of_shard(self.created_ms, index + 1);
        // A shard of a build before the engine has numbers of another form.
        number >= shard.first && (self.shared_numbers || shard.first >= next || number < next)
    }

    /// Where a record goes, and its number; none where the shard has no room this second.
    pub(super) fn number(&mut self, now_ms: i64, put: &Put, limits: bool) -> Option<(usize, Sequence)> {
        let hash = if self.spread { self.anywhere() } else { put.hash.unwrap_or_else(|| place_of(&put.partition_key)) };
        let step = self.dice.random_range(1..=SEQUENCE_STEP_MAX);
        let covers = |shard: &Shard| shard.is_open() && (shard.range.0..=shard.range.1).contains(&hash);
        let index = self.shards.iter().position(covers).expect("a stream's open shards cover every key");
        let shard = &mut self.shards[index];
        if limits && !shard.written.allows(now_ms, put.data.len()) {
            return None;
        }
        shard.tip = shard.tip.after(step);
        Some((index, shard.tip))
    }

    fn anywhere(&mut self) -> u128 {
        self.n_spread += 1;
        place_of(&self.n_spread.to_string())
    }

    /// Splits an open shard where the second child is to begin, and gives the children.
    pub fn split(&mut self, shard: &str, at: u128) -> Result<[String; 2], Refusal> {
        let index = self.closable(shard)?;
        let (from, to) = self.shards[index].range;
        if !(from < at && at <= to) {
            return Err(invalid(format!("NewStartingHashKey {at} is not strictly between the ends of {shard}")));
        }
        let (parent, end) = self.close(index);
        Ok([(from, at - 1), (at, to)].map(|range| self.open(vec![parent.clone()], range, end.after(1))))
    }

    /// Splits an open shard in the middle, and gives the children.
    pub fn split_evenly(&mut self, shard: &str) -> Result<[String; 2], Refusal> {
        let (from, to) = self.shards[self.closable(shard)?].range;
        self.split(shard, from + (to - from) / 2 + 1)
    }

    /// Merges two open shards side by side, and gives their child.
    pub fn merge(&mut self, a: &str, b: &str) -> Result<String, Refusal> {
        let (a, b) = (self.closable(a)?, self.closable(b)?);
        let (range_a, range_b) = (self.shards[a].range, self.shards[b].range);
        let (low, high) = if range_a < range_b { (range_a, range_b) } else { (range_b, range_a) };
        if low.1.checked_add(1) != Some(high.0) {
            return Err(invalid("the shards to merge are not side by side"));
        }
        let ((a, end_a), (b, end_b)) = (self.close(a), self.close(b));
        Ok(self.open(vec![a, b], (low.0, high.1), end_a.max(end_b).after(1)))
    }

    /// As many open shards, of equal ranges, each descended from the shards whose range it has.
    pub(super) fn scale(&mut self, n_shards: u32) -> Result<(), Refusal> {
        let starts = starts(n_shards);
        // Every shard of the result begins where a shard begins; then what lies between is merged away.
        for start in halving(&starts) {
            let within = |shard: &&Shard| shard.is_open() && shard.range.0 < start && start <= shard.range.1;
            if let Some(id) = self.shards.iter().find(within).map(|shard| shard.id.clone()) {
                self.split(&id, start)?;
            }
        }
        // Pairs side by side in each round, so that a shard has few ancestors.
        loop {
            let mut open: Vec<(u128, Arc<str>)> = self
                .shards
                .iter()
                .filter(|shard| shard.is_open())
                .map(|shard| (shard.range.0, shard.id.clone()))
                .collect();
            open.sort();
            let (mut rest, mut merged) = (open.as_slice(), false);
            while let [left, right, ..] = rest {
                let stays = starts.binary_search(&right.0).is_ok();
                if !stays {
                    self.merge(&left.1, &right.1)?;
                    merged = true;
                }
                rest = &rest[if stays { 1 } else { 2 }..];
            }
            if !merged {
                return Ok(());
            }
        }
    }

    /// Retention has passed a closed shard: the service forgets it. False if there is no such shard.
    pub fn trim(&mut self, id: &str) -> bool {
        let shard = self.shards.iter_mut().find(|shard| &*shard.id == id && !shard.is_open());
        shard.map(|shard| shard.trimmed = true).is_some()
    }

    /// Which open shard this is.
    fn closable(&self, id: &str) -> Result<usize, Refusal> {
        let name = &self.name;
        let index = self.shards.iter().position(|shard| &*shard.id == id);
        let index = index.ok_or_else(|| not_found(format!("Could not find shard {id} in stream {name}.")))?;
        match self.shards[index].is_open() {
            true => Ok(index),
            false => Err(in_use(format!(
                "Shard {id} in stream {name} has already been merged or split, and thus is not eligible for merging or \
                 splitting."
            ))),
        }
    }

    fn close(&mut self, index: usize) -> (Arc<str>, Sequence) {
        let shard = &mut self.shards[index];
        let end = shard.tip.after(1);
        shard.last = Some(end);
        (shard.id.clone(), end)
    }
}

/// Where the shards of a uniform stream begin, but the first.
fn starts(n_shards: u32) -> Vec<u128> {
    let n_shards = u128::from(n_shards);
    // 2^128 / n, which does not fit when n is 1; there is no start then.
    let width = u128::MAX / n_shards + u128::from(u128::MAX % n_shards == n_shards - 1 && n_shards > 1);
    (1..n_shards).map(|index| index * width).collect()
}

/// The same, the middle first, so that one shard becomes many in few generations.
fn halving(starts: &[u128]) -> Vec<u128> {
    let mut ordered = Vec::with_capacity(starts.len());
    let mut parts = VecDeque::from([starts]);
    while let Some(part) = parts.pop_front() {
        let (left, rest) = part.split_at(part.len() / 2);
        if let [middle, right @ ..] = rest {
            ordered.push(*middle);
            parts.extend([left, right]);
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_uniform_and_halved() {
        assert_eq!(starts(1), []);
        assert_eq!(starts(2), [1 << 127]);
        assert_eq!(starts(4), [1 << 126, 1 << 127, 3 << 126]);
        assert_eq!(starts(3), [u128::MAX / 3, u128::MAX / 3 * 2]);
        assert_eq!(halving(&[1, 2, 3, 4, 5, 6, 7]), [4, 2, 6, 1, 3, 5, 7]);
        assert_eq!(halving(&[]), []);
    }

    #[test]
    fn a_shard_takes_so_much_a_second() {
        let mut stream = Stream::bare("s", "arn".to_owned(), 1, false);
        stream.populate(1);
        let put = |n_bytes| Put { partition_key: "k".into(), hash: None, data: vec![0; n_bytes].into() };
        assert!(stream.number(5_000, &put(WRITE_BYTES_MAX), true).is_some());
        assert!(stream.number(5_999, &put(1), true).is_none());
        assert!((0..WRITE_RECORDS_MAX).all(|_| stream.number(6_000, &put(1), true).is_some()));
        assert!(stream.number(6_001, &put(1), true).is_none());
        assert!(stream.number(6_001, &put(1), false).is_some(), "without limits");
    }

    #[test]
    fn a_shard_is_read_so_often_and_so_much_a_second() {
        let mut read = ReadLately::default();
        assert!((0..READS_MAX).all(|_| read.allows(5_000)));
        assert!(!read.allows(5_999));
        assert!(read.allows(6_000));
        read.took(READ_BYTES_MAX - 1);
        assert!(read.allows(6_000), "small pages are allowed until they are many");
        read.took(READ_BYTES_MAX * 4 + 1);
        assert!(!read.allows(10_999), "10 MiB are paid off in five seconds");
        assert!(read.allows(11_000));
        read.took(1);
        assert!(read.allows(4_000), "a clock that was put back ends nothing");
    }

    #[test]
    fn a_number_is_of_one_shard_of_one_stream() {
        let stream = |created_ms| {
            let mut stream = Stream { created_ms, ..Stream::bare("s", "arn".to_owned(), 1, false) };
            stream.populate(2);
            stream
        };
        let (first, second) = (stream(1_000), stream(1_001));
        let [one, other] = [&first.shards[0], &first.shards[1]];
        assert!(first.may_be_of(one, one.first.after(9)) && !first.may_be_of(one, other.first));
        assert!(first.may_be_of(other, other.first) && !first.may_be_of(other, one.first.after(9)));
        assert!(!second.may_be_of(&second.shards[0], other.first.after(9)), "of an older stream of the name");
    }
}
