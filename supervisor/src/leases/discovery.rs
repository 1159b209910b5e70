//! Lists the stream's shards, and gives those a row that have none.
//!
//! **Promises** a stream that was deleted and made again is noticed before anything of it is believed. Parents get their
//! rows before their children. A shard whose epochs are in the bucket already gets no fresh row: a table that was lost must
//! not make everything be read, and stored, a second time. Shards of one generation are looked for together, at most
//! [`AT_ONCE`] at a time, so that a stream of a thousand is known within seconds (LIVE).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use actors::lake::{epoch_of_manifest, manifests_of};
use actors::ports::leases::{Home, LeaseError, LeaseRow, LeaseTable};
use actors::ports::objects::Objects;
use actors::ports::stream::{Description, ShardInfo, Stream};
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use messages::{ShardId, StreamId};

use crate::protocol::Discovered;
use crate::shard::StreamStart;

/// A claim and its manifest.
const FIRST_KEYS: usize = 2;
/// Shards that are looked for at once.
const AT_ONCE: usize = 16;

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
    let Places { stream, table, home, .. } = places;
    let (description, shards) = tokio::join!(stream.describe(), stream.shards());
    let shards = shards?;
    if let Some(why) = description.as_ref().ok().and_then(|now| other_stream(now, home, table)) {
        let (created, orphans, other_stream) = (Vec::new(), Vec::new(), Some(why));
        return Ok(Discovered { description, shards, known, created, orphans, other_stream });
    }
    let (mut created, mut orphans) = (Vec::new(), Vec::new());
    for generation in generations(&shards, &known) {
        let calls: Vec<_> = generation.iter().map(|info| row_of(places, info, begins).boxed()).collect();
        let rows: Vec<RowOf> = stream::iter(calls).buffered(AT_ONCE).try_collect().await?;
        for (info, row) in generation.into_iter().zip(rows) {
            match row {
                RowOf::There => {}
                RowOf::Created => created.push(info),
                RowOf::Orphan => orphans.push(info.shard.clone()),
            }
        }
    }
    let with_new_children: BTreeSet<&ShardId> = created.iter().flat_map(|info| &info.parents).collect();
    let notes: Vec<_> =
        with_new_children.into_iter().map(|parent| note_children(table, parent, &shards).boxed()).collect();
    stream::iter(notes).buffered(AT_ONCE).try_collect::<Vec<()>>().await?;
    let created = created.into_iter().map(|info| info.shard.clone()).collect();
    Ok(Discovered { description, shards, known, created, orphans, other_stream: None })
}

/// The shards that nobody has seen a row of, those first whose parents are not among them.
fn generations<'a>(shards: &'a [ShardInfo], known: &BTreeSet<ShardId>) -> Vec<Vec<&'a ShardInfo>> {
    let mut generations: Vec<Vec<&ShardInfo>> = Vec::new();
    let mut generation_of: BTreeMap<&ShardId, usize> = BTreeMap::new();
    // They are ordered by id, and a child's id is higher than its parents'.
    for info in shards.iter().filter(|info| !known.contains(&info.shard)) {
        let behind = info.parents.iter().filter_map(|parent| generation_of.get(parent)).max();
        let generation = behind.map_or(0, |parents| parents + 1);
        generation_of.insert(&info.shard, generation);
        if generation == generations.len() {
            generations.push(Vec::new());
        }
        generations[generation].push(info);
    }
    generations
}

/// What has become of a shard that nobody had seen a row of.
enum RowOf {
    There,
    Created,
    /// The table has none, and epochs of it are in the bucket.
    Orphan,
}

async fn row_of(places: &Places, info: &ShardInfo, begins: Begins) -> Result<RowOf, LeaseError> {
    let Places { stream, table, objects, home } = places;
    // The rows that were seen may be out of date.
    match table.get(&info.shard).await {
        Ok(None) => {}
        // One that cannot be read is a row too: its shard is left alone, and the others are not kept waiting.
        Ok(Some(_)) | Err(LeaseError::Row(_)) => return Ok(RowOf::There),
        Err(error) => return Err(error),
    }
    // A claim comes before its manifest: with a claim alone nothing is committed, and whoever takes the shard finishes it,
    // from where it begins.
    let prefix = manifests_of(stream.name(), &info.shard);
    let first = objects.list_after(&prefix, &prefix, FIRST_KEYS).await?;
    if first.iter().any(|key| epoch_of_manifest(key).is_some()) {
        return Ok(RowOf::Orphan);
    }
    let mut fresh = LeaseRow::fresh(info.shard.clone(), info.parents.clone(), info.hash_range.clone()).at(home);
    if first.is_empty() {
        fresh.start_at_ms = begins.start.of_new(info, table, begins.begun, begins.now_ms).await?;
    }
    Ok(if table.create_if_absent(&fresh).await? { RowOf::Created } else { RowOf::There })
}

async fn note_children(table: &LeaseTable, parent: &ShardId, shards: &[ShardInfo]) -> Result<(), LeaseError> {
    let children = shards.iter().filter(|info| info.parents.contains(parent)).map(|info| info.shard.clone());
    Ok(table.note_children(parent, &children.collect::<Vec<_>>()).await?)
}

/// Why the stream is no longer the one that the table is of.
fn other_stream(now: &Description, home: &Home, table: &LeaseTable) -> Option<String> {
    let stream = StreamId { arn: now.arn.clone(), created_ms: now.created_ms };
    let now = Home { stream, bucket: home.bucket.clone() };
    now.is_of(&format!("the lease table {:?}", table.name()), home).err().map(|other| other.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(n: u32, parents: &[u32]) -> ShardInfo {
        let id = |n: &u32| ShardId::new(&format!("shardId-{n:012}"));
        let (shard, parents) = (id(&n), parents.iter().map(id).collect());
        ShardInfo { shard, parents, hash_range: ("0".to_owned(), "1".to_owned()), closed: false }
    }

    #[test]
    fn parents_come_before_their_children_and_what_has_no_unseen_parent_comes_at_once() {
        let shards =
            [info(0, &[]), info(1, &[]), info(2, &[0]), info(3, &[0]), info(4, &[1, 3]), info(5, &[9]), info(6, &[4])];
        let shown = |known: &[usize]| -> Vec<Vec<ShardId>> {
            let known = known.iter().map(|n| shards[*n].shard.clone()).collect();
            let of = |generation: Vec<&ShardInfo>| generation.into_iter().map(|info| info.shard.clone()).collect();
            generations(&shards, &known).into_iter().map(of).collect()
        };
        let ids = |ids: &[&[usize]]| -> Vec<Vec<ShardId>> {
            ids.iter().map(|ids| ids.iter().map(|n| shards[*n].shard.clone()).collect()).collect()
        };
        assert_eq!(shown(&[]), ids(&[&[0, 1, 5], &[2, 3], &[4], &[6]]));
        assert_eq!(shown(&[0, 1, 3]), ids(&[&[2, 4, 5], &[6]]));
        assert!(shown(&[0, 1, 2, 3, 4, 5, 6]).is_empty());
    }
}
