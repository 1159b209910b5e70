//! Lists the stream's shards, and gives those a row that have none.
//!
//! **Promises** a stream that was deleted and made again is noticed before anything of it is believed. Parents get their rows before their children. A shard whose epochs are in the bucket already gets no
//! fresh row: a table that was lost must not make everything be read, and stored, a second time.

use std::collections::BTreeSet;
use std::sync::Arc;

use actors::lake::{epoch_of_manifest, manifests_of};
use actors::ports::leases::{Home, LeaseError, LeaseRow, LeaseTable};
use actors::ports::objects::Objects;
use actors::ports::stream::{Description, Stream};
use messages::{ShardId, StreamId};

use crate::protocol::Discovered;
use crate::shard::StreamStart;

/// A claim and its manifest.
const FIRST_KEYS: usize = 2;

/// Where shards begin that get a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begins {
    pub(super) start: StreamStart,
    /// Whether anything of the stream was read.
    pub(super) begun: bool,
    pub(super) now_ms: i64,
}

/// Where a discovery looks.
#[derive(Clone, Debug)]
pub(super) struct Places {
    pub(super) stream: Stream,
    pub(super) table: LeaseTable,
    pub(super) objects: Objects,
    /// What new rows say they belong to.
    pub(super) home: Arc<Home>,
}

pub(super) async fn discover(
    places: &Places,
    known: BTreeSet<ShardId>,
    begins: Begins,
) -> Result<Discovered, LeaseError> {
    let Places { stream, table, objects, home } = places;
    // Ordered by id, and a child's id is higher than its parents'.
    let (description, shards) = tokio::join!(stream.describe(), stream.shards());
    let shards = shards?;
    if let Some(why) = description.as_ref().ok().and_then(|now| other_stream(now, home, table)) {
        let (created, orphans, other_stream) = (Vec::new(), Vec::new(), Some(why));
        return Ok(Discovered { description, shards, known, created, orphans, other_stream });
    }
    let mut with_new_children: BTreeSet<&ShardId> = BTreeSet::new();
    let (mut created, mut orphans) = (Vec::new(), Vec::new());
    for info in shards.iter().filter(|info| !known.contains(&info.shard)) {
        // The rows that were seen may be out of date.
        match table.get(&info.shard).await {
            Ok(None) => {}
            // One that cannot be read is a row too: its shard is left alone, and the others are not kept waiting.
            Ok(Some(_)) | Err(LeaseError::Row(_)) => continue,
            Err(error) => return Err(error),
        }
        // A claim comes before its manifest: with a claim alone nothing is committed, and whoever takes the shard
        // finishes it, from where it begins.
        let prefix = manifests_of(stream.name(), &info.shard);
        let first = objects.list_after(&prefix, &prefix, FIRST_KEYS).await?;
        if first.iter().any(|key| epoch_of_manifest(key).is_some()) {
            orphans.push(info.shard.clone());
            continue;
        }
        let mut fresh = LeaseRow::fresh(info.shard.clone(), info.parents.clone(), info.hash_range.clone()).at(home);
        if first.is_empty() {
            fresh.start_at_ms = begins.start.of_new(info, table, begins.begun, begins.now_ms).await?;
        }
        if table.create_if_absent(&fresh).await? {
            created.push(info.shard.clone());
            with_new_children.extend(&info.parents);
        }
    }
    for parent in with_new_children {
        let children = shards.iter().filter(|info| info.parents.contains(parent)).map(|info| info.shard.clone());
        table.note_children(parent, &children.collect::<Vec<_>>()).await?;
    }
    Ok(Discovered { description, shards, known, created, orphans, other_stream: None })
}

/// Why the stream is no longer the one that the table is of.
fn other_stream(now: &Description, home: &Home, table: &LeaseTable) -> Option<String> {
    let stream = StreamId { arn: now.arn.clone(), created_ms: now.created_ms };
    let now = Home { stream, bucket: home.bucket.clone() };
    now.is_of(&format!("the lease table {:?}", table.name()), home).err().map(|other| other.to_string())
}
