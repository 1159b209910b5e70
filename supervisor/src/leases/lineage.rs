//! Which shards there are, which of them may be read, and which rows the table lacks or no longer needs.
//!
//! **Promises** LINEAGE: a shard is offered only when every parent's row is at its end. Rows are never deleted while a
//! child might still begin from them.
//! **Not here**: who reads a shard (`assignment.rs`).

use std::collections::{BTreeMap, BTreeSet};

use actors::ports::leases::{LeaseRows, LeaseView};
use actors::ports::stream::ShardInfo;
use messages::{Position, ShardId};

/// The shards that the stream still holds, by id: parents before their children.
pub(super) type ListedShards = BTreeMap<ShardId, ShardInfo>;

/// Rows of shards that may still be read. One that retention has taken before all was read keeps its row, and is none of
/// them.
pub(super) fn open<'a>(
    listed: Option<&'a ListedShards>,
    rows: &'a LeaseRows,
) -> impl Iterator<Item = &'a LeaseView> + Clone {
    let is_listed = move |shard| listed.is_none_or(|listed| listed.contains_key(shard));
    rows.leases.values().filter(move |row| row.checkpoint != Position::ShardEnd && is_listed(&row.shard))
}

/// Shards without a row, parents first.
pub(super) fn missing<'a>(listed: &'a ListedShards, rows: &LeaseRows) -> Vec<&'a ShardInfo> {
    listed.values().filter(|info| !rows.leases.contains_key(&info.shard)).collect()
}

/// The shards that had a row before the stream was asked, and that it has forgotten before all of them was read.
pub(super) fn trimmed<'a>(listed: &ListedShards, known: &BTreeSet<ShardId>, rows: &'a LeaseRows) -> Vec<&'a LeaseView> {
    let unread = rows.leases.values().filter(|lease| lease.checkpoint != Position::ShardEnd);
    unread.filter(|lease| known.contains(&lease.shard) && !listed.contains_key(&lease.shard)).collect()
}

/// What becomes of the shards behind one that was trimmed before all of it was read.
pub(super) fn after_loss(trimmed: &ShardId, listed: &ListedShards, skip_trimmed: bool) -> String {
    let children: Vec<&str> =
        listed.values().filter(|info| info.parents.contains(trimmed)).map(|info| info.shard.short()).collect();
    match (children.as_slice(), skip_trimmed) {
        // Which of the listed shards come from it, the stream does not say any more.
        ([], _) => "the stream has none of its children either: shards that come from them are read from their \
                    beginning, and their sensors begin without states"
            .to_owned(),
        (children, true) => format!("its children {} are read (stream.on_trimmed)", children.join(", ")),
        (children, false) => format!("its children {} wait (stream.on_trimmed)", children.join(", ")),
    }
}

/// Whether there is anything left to do for a shard: to read it, or to send its last alerts.
pub(super) fn is_open(lease: &LeaseView) -> bool {
    lease.checkpoint != Position::ShardEnd || lease.owner.is_some() || lease.alerts_through < lease.epoch
}

/// Whether all parents have ended. `skip_trimmed`: whether a parent that the stream has forgotten counts as ended,
/// which is what `stream.on_trimmed = "continue"` says.
pub(super) fn may_start(lease: &LeaseView, listed: &ListedShards, rows: &LeaseRows, skip_trimmed: bool) -> bool {
    lease.parents.iter().all(|parent| match rows.leases.get(parent) {
        Some(row) => row.checkpoint == Position::ShardEnd || (skip_trimmed && !listed.contains_key(parent)),
        // Its row was there once and was tidied away, or it was never ours; but one that is listed has a row coming.
        None => !listed.contains_key(parent),
    })
}

/// Rows that nobody needs: of shards that the stream has forgotten, whose children have states of their own, and whose
/// own parents' rows are gone. Then no row can be taken for that of a shard nobody has read.
pub(super) fn disposable<'a>(listed: &ListedShards, rows: &'a LeaseRows) -> Vec<&'a LeaseView> {
    let is_child_of = |parent: &ShardId, lease: &LeaseView| lease.parents.contains(parent);
    let done = |lease: &LeaseView| lease.epoch.0 > 0 || lease.checkpoint == Position::ShardEnd;
    let disposable = |lease: &&LeaseView| {
        let mut children = rows.leases.values().filter(|child| is_child_of(&lease.shard, child)).peekable();
        !is_open(lease)
            && !listed.contains_key(&lease.shard)
            && lease.parents.iter().all(|parent| !rows.leases.contains_key(parent))
            && children.peek().is_some()
            && children.all(done)
    };
    rows.leases.values().filter(disposable).collect()
}
