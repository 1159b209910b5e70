//! What is done when the stream no longer holds the record that reading is to go on behind, as of a shard that was idle
//! for longer than the stream keeps records.
//!
//! Nothing is written of what Kinesis answers then; seen are a refusal of the number, and empty pages that stay as far
//! behind the tip as the stream's retention. In both cases the shard is read from its oldest record.
//!
//! **Promises** what was read before is not handed on again, and a position that the stream never had is no trimmed one.
//! **Not here**: I/O and clocks (`reader.rs`).

use std::time::Duration;

use messages::{Position, RawRecord, SequenceNumber};

use super::bounds::ReadFrom;
use crate::ports::stream::Page;

/// Less than this no stream keeps its records.
const RETENTION_MIN: Duration = Duration::from_secs(24 * 3_600);
/// Records are not taken away to the second.
const MARGIN: Duration = Duration::from_secs(3_600);
/// A sparse shard has empty pages too.
const PAGES_MIN: u32 = 5;

/// Whether the shard is read from its oldest record instead of its position.
#[derive(Debug, Default)]
pub(super) struct Trimmed {
    empty_pages: u32,
    instead: Option<Why>,
}

/// Why it is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Why {
    /// The stream refuses the position.
    Refused,
    /// It takes it, and gives nothing.
    Empty,
}

/// The stream refuses a position, and still holds what is older.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("the stream refuses {position} as a place to go on, and has the older {found}: it never had that record")]
pub(super) struct PositionUnknown {
    position: SequenceNumber,
    found: SequenceNumber,
}

impl Trimmed {
    /// Whether the next page begins with the oldest record, if no iterator says so.
    pub(super) fn reads_from_oldest(&self) -> bool {
        self.instead.is_some()
    }

    /// The stream refuses this place. True if its oldest record is to be tried.
    pub(super) fn refused(&mut self, from: &ReadFrom<'_>) -> bool {
        self.turn_back(from, Why::Refused)
    }

    /// A page came that was read from here. How far it is behind, if that may be as far as the stream reaches: whoever
    /// knows how long it keeps records has to say.
    pub(super) fn suspects(&mut self, from: &ReadFrom<'_>, page: &Page) -> Option<Duration> {
        let behind = page.millis_behind.map(|ms| Duration::from_millis(ms.max(0) as u64));
        let far = behind.filter(|behind| *behind + MARGIN >= RETENTION_MIN);
        let is_odd =
            page.records.is_empty() && page.next.is_some() && self.instead.is_none() && sequence(from).is_some();
        self.empty_pages = if is_odd && far.is_some() { self.empty_pages + 1 } else { 0 };
        far.filter(|_| self.empty_pages >= PAGES_MIN)
    }

    /// The stream keeps records for so long, and such pages are so far behind. True if its oldest record is to be tried.
    pub(super) fn is_at_horizon(&mut self, from: &ReadFrom<'_>, behind: Duration, retention: Duration) -> bool {
        self.empty_pages = 0;
        behind + MARGIN >= retention && self.turn_back(from, Why::Empty)
    }

    /// Leaves of a page what is to be read from here.
    pub(super) fn skip(&mut self, from: &ReadFrom<'_>, records: &mut Vec<RawRecord>) -> Result<(), PositionUnknown> {
        let (Some(why), Some(place)) = (self.instead, sequence(from)) else { return Ok(()) };
        let is_behind = |record: &RawRecord| match from {
            ReadFrom::At(_) => record.sequence < *place,
            ReadFrom::After(_) | ReadFrom::Since(_) => record.sequence <= *place,
        };
        if let Some(found) = records.first().filter(|first| why == Why::Refused && is_behind(first)) {
            return Err(PositionUnknown { position: place.clone(), found: found.sequence.clone() });
        }
        records.retain(|record| !is_behind(record));
        if !records.is_empty() {
            self.instead = None;
        }
        Ok(())
    }

    fn turn_back(&mut self, from: &ReadFrom<'_>, why: Why) -> bool {
        let turns = self.instead.is_none() && sequence(from).is_some();
        if turns {
            self.instead = Some(why);
        }
        turns
    }
}

/// The record by which a place is named; none if it is named otherwise.
fn sequence<'a>(from: &ReadFrom<'a>) -> Option<&'a SequenceNumber> {
    match from {
        ReadFrom::At(sequence) => Some(sequence),
        ReadFrom::After(Position::At(sequence)) => Some(sequence),
        ReadFrom::Since(_) | ReadFrom::After(Position::TrimHorizon | Position::ShardEnd) => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn number(n: u64) -> SequenceNumber {
        SequenceNumber::parse(&n.to_string()).unwrap()
    }

    fn records(numbers: impl IntoIterator<Item = u64>) -> Vec<RawRecord> {
        let record =
            |n| RawRecord { sequence: number(n), arrival_ms: 0, partition_key: "k".into(), data: Bytes::new() };
        numbers.into_iter().map(record).collect()
    }

    fn numbers(records: &[RawRecord]) -> Vec<u64> {
        records.iter().map(|record| record.sequence.as_str().parse().unwrap()).collect()
    }

    fn page(records: Vec<RawRecord>, behind: Option<Duration>) -> Page {
        Page { records, next: Some("next".into()), millis_behind: behind.map(|behind| behind.as_millis() as i64) }
    }

    #[test]
    fn a_position_that_is_refused_is_gone_unless_there_is_something_older() {
        let (five, seven) = (number(5), Position::At(number(7)));
        for (from, ahead) in [(ReadFrom::At(&five), [5, 9]), (ReadFrom::After(&seven), [8, 9])] {
            let mut trimmed = Trimmed::default();
            assert!(trimmed.refused(&from) && trimmed.reads_from_oldest() && !trimmed.refused(&from));
            trimmed.skip(&from, &mut Vec::new()).unwrap();
            assert!(trimmed.reads_from_oldest(), "nobody knows yet");
            let mut given = records(ahead);
            trimmed.skip(&from, &mut given).unwrap();
            assert_eq!((numbers(&given), trimmed.reads_from_oldest()), (ahead.to_vec(), false));
        }
        let (mut trimmed, from) = (Trimmed::default(), ReadFrom::After(&seven));
        assert!(trimmed.refused(&from));
        let unknown = PositionUnknown { position: number(7), found: number(3) };
        assert_eq!(trimmed.skip(&from, &mut records([3, 8])), Err(unknown));
        let oldest = ReadFrom::After(&Position::TrimHorizon);
        assert!(!Trimmed::default().refused(&oldest) && !Trimmed::default().refused(&ReadFrom::Since(7)));
    }

    #[test]
    fn empty_pages_as_far_behind_as_the_stream_reaches_are_no_gap() {
        let seven = Position::At(number(7));
        let (mut trimmed, from) = (Trimmed::default(), ReadFrom::After(&seven));
        let mut suspects = |behind, given: &[u64]| {
            let given = page(records(given.iter().copied()), behind);
            (0..5).filter_map(|_| trimmed.suspects(&from, &given)).last()
        };
        assert_eq!(suspects(None, &[]), None, "unknown is not far");
        assert_eq!(suspects(Some(HOUR * 22), &[]), None);
        assert_eq!(suspects(Some(HOUR * 24), &[8]), None, "it goes on");
        assert_eq!(suspects(Some(HOUR * 24), &[]), Some(HOUR * 24));
        assert!(!trimmed.is_at_horizon(&from, HOUR * 24, HOUR * 168), "it may walk over a gap");
        assert!(trimmed.is_at_horizon(&from, HOUR * 24, HOUR * 24) && trimmed.reads_from_oldest());
        assert_eq!((0..9).find_map(|_| trimmed.suspects(&from, &page(Vec::new(), Some(HOUR * 24)))), None, "once");
        let mut given = records([6, 7]);
        trimmed.skip(&from, &mut given).unwrap();
        assert!(given.is_empty() && trimmed.reads_from_oldest());
    }

    proptest! {
        /// However the stream is cut into pages: exactly what is behind the position is handed on, once, in order.
        #[test]
        fn nothing_is_read_twice_and_nothing_left_out(
            held in prop::collection::btree_set(1..60_u64, 0..40), position in 1..60_u64, sizes in prop::collection::vec(0..5_usize, 40)
        ) {
            let at = Position::At(number(position));
            let (mut trimmed, mut rest, mut given) = (Trimmed::default(), held.iter().copied().collect::<Vec<_>>(), Vec::new());
            prop_assert!(trimmed.is_at_horizon(&ReadFrom::After(&at), HOUR * 24, HOUR * 24));
            for size in sizes.into_iter().chain([60]) {
                let mut page = records(rest.drain(..size.min(rest.len())));
                trimmed.skip(&ReadFrom::After(&at), &mut page).unwrap();
                given.extend(numbers(&page));
            }
            prop_assert_eq!(given, held.range(position + 1..).copied().collect::<Vec<_>>());
        }
    }
}
