//! Where shards begin that nobody has read.
//!
//! **Promises** a beginning is pinned as a time, in the row, before anything is read: what arrives after it is never
//! lost by a restart. A child of a reshard begins where its parents did, which is its own beginning if they were read:
//! nothing of it can be older than its parents' end.
//! **Not here**: reading from there (`reader.rs`).

use actors::ports::leases::{LeaseError, LeaseRow, LeaseTable, StartWord};
use actors::ports::stream::ShardInfo;

/// `stream.start`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StreamStart {
    /// With the oldest record that the stream holds.
    #[default]
    Oldest,
    /// With what arrives from now on.
    Latest,
    /// With what arrived at this time or later, milliseconds since 1970.
    At(i64),
}

impl StreamStart {
    /// A row that a KCL application has left without a checkpoint: what it says of its beginning keeps its meaning.
    pub(crate) fn pin(self, mut row: LeaseRow, now_ms: i64) -> LeaseRow {
        row.start_at_ms = row.start_at_ms.or(match (row.start_word, self) {
            (Some(StartWord::Latest), _) => Some(now_ms),
            // Which time was meant stands in that application's configuration; ours may say the same.
            (Some(StartWord::AtTimestamp), Self::At(at_ms)) => Some(at_ms),
            // The oldest record loses none.
            (Some(StartWord::AtTimestamp) | None, _) => None,
        });
        row
    }

    /// Where a shard without a row begins; none is its oldest record. `begun`: whether shards of the stream were read.
    pub(crate) async fn of_new(
        self,
        info: &ShardInfo,
        table: &LeaseTable,
        begun: bool,
        now_ms: i64,
    ) -> Result<Option<i64>, LeaseError> {
        match self {
            Self::Oldest => Ok(None),
            Self::At(at_ms) => Ok(Some(at_ms.min(now_ms))),
            Self::Latest => {
                let mut found = Vec::new();
                for parent in &info.parents {
                    found.extend(table.get(parent).await?.map(|row| row.start_at_ms));
                }
                Ok(latest(info.parents.is_empty(), &found, begun, now_ms))
            }
        }
    }
}

/// Nothing is known of parents without a row: where the stream has been read, they were read or are lost, and their
/// child is read whole.
fn latest(first: bool, parents: &[Option<i64>], begun: bool, now_ms: i64) -> Option<i64> {
    match parents {
        [] if first || !begun => Some(now_ms),
        [] => None,
        // The earlier of two; the oldest record is before any time.
        parents => parents.iter().copied().min().flatten(),
    }
}

#[cfg(test)]
mod tests {
    use messages::ShardId;

    use super::*;

    #[test]
    fn a_child_begins_where_its_parents_did() {
        assert_eq!(latest(true, &[], true, 9), Some(9));
        assert_eq!(
            latest(false, &[], false, 9),
            Some(9),
            "listed with a parent that is gone, before anything was read"
        );
        assert_eq!(latest(false, &[], true, 9), None, "its parents were read, and tidied away");
        assert_eq!(latest(false, &[Some(3)], true, 9), Some(3));
        assert_eq!(latest(false, &[Some(5), Some(3)], true, 9), Some(3));
        assert_eq!(latest(false, &[Some(5), None], true, 9), None);
    }

    #[test]
    fn the_words_of_kcl_keep_their_meaning() {
        let row = |word| {
            let fresh = LeaseRow::fresh(ShardId::new("shardId-000000000000"), Vec::new(), Default::default());
            LeaseRow { start_word: word, ..fresh }
        };
        let pinned = |start: StreamStart, word| start.pin(row(word), 9).start_at_ms;
        assert_eq!(pinned(StreamStart::Oldest, Some(StartWord::Latest)), Some(9));
        assert_eq!(pinned(StreamStart::At(5), Some(StartWord::AtTimestamp)), Some(5));
        assert_eq!(pinned(StreamStart::Latest, Some(StartWord::AtTimestamp)), None);
        assert_eq!(pinned(StreamStart::Latest, None), None, "a row without such a word has begun, or was made by us");
        let again = StreamStart::Oldest.pin(LeaseRow { start_at_ms: Some(3), ..row(None) }, 9);
        assert_eq!(again.start_at_ms, Some(3));
    }
}
