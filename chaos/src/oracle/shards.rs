//! The shards and their descent.
//!
//! **Owns** the numbers of shards: parents have lower ones than their children, so that sorting by number, sequence and
//! sub-sequence puts the readings of a sensor in order.
//! **Promises** a number for every shard that it was told of; an unknown lineage is no lineage.
//! **Fails** never: a circle of parents is cut where it is found.
//! **Not here**: who may read which shard when (`lineage.rs`).

use std::collections::{BTreeMap, BTreeSet};

use super::evidence::ShardNode;

/// All shards, parents first.
#[derive(Debug)]
pub(super) struct Shards {
    names: Vec<String>,
    numbers: BTreeMap<String, u32>,
    parents: Vec<Vec<u32>>,
    ancestors: Vec<BTreeSet<u32>>,
    ranges: Vec<(u128, u128)>,
}

impl Shards {
    pub(super) fn new<'a>(lineage: &'a [ShardNode], others: impl Iterator<Item = &'a str>) -> Self {
        let mut nodes: BTreeMap<&str, Option<&ShardNode>> = others.map(|name| (name, None)).collect();
        nodes.extend(lineage.iter().map(|node| (node.shard.as_str(), Some(node))));
        let mut shards = Self {
            names: Vec::new(),
            numbers: BTreeMap::new(),
            parents: Vec::new(),
            ancestors: Vec::new(),
            ranges: Vec::new(),
        };
        while !nodes.is_empty() {
            // Parents that have expired are not in the list: nothing is known to wait for.
            let free = nodes.iter().find(|(_, node)| {
                node.is_none_or(|node| !node.parents.iter().any(|parent| nodes.contains_key(parent.as_str())))
            });
            let Some(name) = free.or_else(|| nodes.iter().next()).map(|(name, _)| *name) else { break };
            let node = nodes.remove(name).flatten();
            shards.push(name, node);
        }
        shards
    }

    fn push(&mut self, name: &str, node: Option<&ShardNode>) {
        let parents: Vec<u32> =
            node.iter().flat_map(|node| &node.parents).filter_map(|parent| self.number(parent)).collect();
        let mut ancestors: BTreeSet<u32> = parents.iter().copied().collect();
        for parent in &parents {
            ancestors.extend(self.ancestors[*parent as usize].iter().copied());
        }
        self.numbers.insert(name.to_owned(), self.names.len() as u32);
        self.names.push(name.to_owned());
        self.parents.push(parents);
        self.ancestors.push(ancestors);
        self.ranges.push(node.map_or((0, u128::MAX), |node| node.hash_range));
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    pub(super) fn number(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    pub(super) fn name(&self, shard: u32) -> &str {
        &self.names[shard as usize]
    }

    pub(super) fn parents(&self, shard: u32) -> &[u32] {
        &self.parents[shard as usize]
    }

    pub(super) fn range(&self, shard: u32) -> (u128, u128) {
        self.ranges[shard as usize]
    }

    /// Whether `child` goes on where `shard` ended, over any number of generations; a shard follows itself.
    pub(super) fn follows(&self, child: u32, shard: u32) -> bool {
        child == shard || self.ancestors[child as usize].contains(&shard)
    }

    /// The shards that have no children.
    pub(super) fn leaves(&self) -> Vec<u32> {
        let inner: BTreeSet<u32> = self.parents.iter().flatten().copied().collect();
        (0..self.len() as u32).filter(|shard| !inner.contains(shard)).collect()
    }
}
