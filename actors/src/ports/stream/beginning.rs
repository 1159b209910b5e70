//! Where reading a shard begins.

use aws_sdk_kinesis::types::ShardIteratorType;
use messages::Position;

use crate::ports::faults::{Faults, Mechanism};

/// What an iterator is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct IteratorStart {
    /// False only in a mutant: the record at the checkpoint is read once more.
    after_checkpoint: bool,
    /// False only in a mutant: a shard that nobody has read begins with what comes now.
    from_start: bool,
}

impl IteratorStart {
    pub(super) fn new(faults: &Faults) -> Self {
        Self {
            after_checkpoint: !faults.lacks(Mechanism::AfterCheckpoint),
            from_start: !faults.lacks(Mechanism::ChildFromStart),
        }
    }

    /// The type of an iterator that begins behind this position, and the sequence number that it is given; none at the
    /// end of a shard, behind which nothing comes.
    pub(super) fn after<'a>(&self, position: &'a Position) -> Option<(ShardIteratorType, Option<&'a str>)> {
        match position {
            Position::At(sequence) if self.after_checkpoint => {
                Some((ShardIteratorType::AfterSequenceNumber, Some(sequence.as_str())))
            }
            Position::At(sequence) => Some((ShardIteratorType::AtSequenceNumber, Some(sequence.as_str()))),
            Position::TrimHorizon if self.from_start => Some((ShardIteratorType::TrimHorizon, None)),
            Position::TrimHorizon => Some((ShardIteratorType::Latest, None)),
            Position::ShardEnd => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use messages::SequenceNumber;

    use super::*;

    #[test]
    fn reading_goes_on_behind_the_checkpoint_and_begins_at_the_oldest_record() {
        let (all, checkpoint) =
            (IteratorStart::new(&Faults::none()), Position::At(SequenceNumber::parse("7").unwrap()));
        let after = |beginning: IteratorStart, position| beginning.after(position).unwrap();
        assert_eq!(after(all, &checkpoint), (ShardIteratorType::AfterSequenceNumber, Some("7")));
        assert_eq!(after(all, &Position::TrimHorizon), (ShardIteratorType::TrimHorizon, None));
        assert_eq!(all.after(&Position::ShardEnd), None);
        let lacking = IteratorStart { after_checkpoint: false, from_start: false };
        assert_eq!(after(lacking, &checkpoint), (ShardIteratorType::AtSequenceNumber, Some("7")));
        assert_eq!(after(lacking, &Position::TrimHorizon), (ShardIteratorType::Latest, None));
    }
}
