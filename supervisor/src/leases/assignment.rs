//! The assignment of shards to workers: the same answer on every worker that sees the same table.
//!
//! **Promises**
//! - A shard without a living owner goes to the living worker with the fewest shards; all compute the same one, so that
//!   they do not race for it. The conditional write settles what they saw differently.
//! - A worker gives a shard up for balance only to one that has at least two fewer: every move makes the cluster more
//!   even, so that moves come to an end (no ping-pong).
//! - Never while a shard is without owner: what stands still comes first.
//! - Who has proved nothing is given one shard, who cannot work none, and who does not do well nothing that others
//!   could have (`trial.rs`).
//!
//! **Not here**: taking and handing over (`leases.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use actors::ports::faults::{Faults, Mechanism};
use actors::ports::leases::{LeaseRows, LeaseView, Standing};
use messages::ShardId;

use super::lineage::{ListedShards, is_open, may_start};
use super::observer::Observer;

/// All that the answer depends on.
#[derive(Debug)]
pub(super) struct Situation<'a> {
    pub(super) me: &'a str,
    pub(super) rows: &'a LeaseRows,
    pub(super) listed: &'a ListedShards,
    pub(super) observer: &'a Observer,
    /// What this worker may be given; of others the observer knows it.
    pub(super) standing: Standing,
    /// The shards that this worker works on.
    pub(super) running: &'a BTreeSet<ShardId>,
    pub(super) rules: Rules,
    /// Mutants; none outside tests.
    pub(super) faults: &'a Faults,
}

impl Situation<'_> {
    fn standing(&self, id: &str) -> Standing {
        match id == self.me {
            // Whom nobody is beside can harm nobody, and what it leaves nobody reads.
            true if self.standing == Standing::OnTrial && !self.observer.anybody_else() => Standing::Proven,
            true => self.standing,
            false => self.observer.standing(id),
        }
    }
}

/// What operators decide.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Shards that one worker may own.
    pub shards_max: usize,
    /// How long a shard that a worker gave up is kept from it.
    pub give_up_pause: Duration,
    /// How long a shard may lie about before any worker takes it, whoever should.
    pub claim_patience: Duration,
    /// Whether a parent that the stream has forgotten counts as read.
    pub skip_trimmed: bool,
}

/// What this worker should do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Orders {
    /// Take these; the counter is the one that was seen.
    pub(super) take: Vec<(ShardId, u64)>,
    /// Hand these over, as soon as what was read is committed.
    pub(super) hand_over: Vec<ShardId>,
    /// Shards that can be read and whose owner is dead or absent, whoever will take them.
    pub(super) unowned: usize,
}

pub(super) fn orders(situation: &Situation<'_>) -> Orders {
    let Situation { me, rows, observer, running, rules, .. } = situation;
    let rob = situation.faults.lacks(Mechanism::OnlyDeadOwners);
    let mut loads: BTreeMap<&str, Vec<&ShardId>> = observer.candidates().map(|id| (id, Vec::new())).collect();
    let mut claimable = Vec::new();
    let mut orders = Orders::default();
    for lease in rows.leases.values().filter(|lease| is_offered(lease, situation)) {
        let owner = lease.owner.as_deref();
        if owner == Some(*me) && lease.checkpoint_owner.is_none() {
            if !running.contains(&lease.shard) {
                orders.take.push((lease.shard.clone(), lease.counter));
            }
        } else if rob || !observer.owner_is_alive(lease) {
            claimable.push(lease);
            continue;
        }
        if let Some(load) = owner.and_then(|owner| loads.get_mut(owner)) {
            load.push(&lease.shard);
        }
    }
    orders.unowned = claimable.len() + orders.take.len();
    // What nobody could take for so long, though it was offered, is a matter of its own: the others are shared on.
    let lies = |lease: &LeaseView| observer.unmoved_for(&lease.shard) > rules.claim_patience * 2;
    let waiting = claimable.iter().filter(|lease| !lies(lease)).count() + orders.take.len();
    let proven = loads.keys().any(|id| situation.standing(id) == Standing::Proven);
    for lease in &claimable {
        let claimant = claimant(lease, &loads, situation);
        if let Some(load) = claimant.and_then(|id| loads.get_mut(id)).filter(|_| !lies(lease)) {
            load.push(&lease.shard);
        }
        let room_max = match situation.standing(me) {
            Standing::Proven | Standing::Unwell => rules.shards_max + 1,
            Standing::OnTrial if proven => 1,
            // Nobody is there whom it could harm.
            Standing::OnTrial => rules.shards_max + 1,
            Standing::Unfit => 0,
        };
        let room = loads.get(me).is_some_and(|load| load.len() < room_max);
        // Somebody else should have taken it long ago: perhaps it cannot.
        let overdue = observer.unmoved_for(&lease.shard) > rules.claim_patience && may_claim(lease, me, situation);
        if claimant == Some(*me) || (overdue && room) {
            orders.take.push((lease.shard.clone(), lease.counter));
        }
    }
    if waiting == 0 {
        orders.hand_over = surplus(me, loads, situation);
    }
    orders
}

/// Whether a shard can be read by anybody.
fn is_offered(lease: &LeaseView, situation: &Situation<'_>) -> bool {
    let Situation { rows, listed, rules, faults, .. } = situation;
    // What the stream has forgotten cannot be read; but its last alerts can be sent.
    let readable = listed.contains_key(&lease.shard) || lease.checkpoint == messages::Position::ShardEnd;
    let waits = !may_start(lease, listed, rows, rules.skip_trimmed) && !faults.lacks(Mechanism::AllParents);
    is_open(lease) && readable && !waits
}

/// The worker that should take a lease.
fn claimant<'a>(
    lease: &LeaseView,
    loads: &BTreeMap<&'a str, Vec<&ShardId>>,
    situation: &Situation<'_>,
) -> Option<&'a str> {
    let has_room = |id: &str, n: usize| match situation.standing(id) {
        Standing::Proven | Standing::Unwell => n < situation.rules.shards_max,
        Standing::OnTrial => n < 1,
        Standing::Unfit => false,
    };
    let fit = loads.iter().filter(|(id, load)| has_room(id, load.len()) && may_claim(lease, id, situation));
    let unwell = |id: &str| situation.standing(id) == Standing::Unwell;
    fit.min_by_key(|(id, load)| (unwell(id), load.len(), **id)).map(|(id, _)| *id)
}

/// A worker that gave a shard up waits, so that others can try; alone, it waits too, or it would spin.
fn may_claim(lease: &LeaseView, id: &str, situation: &Situation<'_>) -> bool {
    let gave_up = lease.given_up_by.as_deref() == Some(id);
    !gave_up || situation.observer.given_up_for(&lease.shard) >= situation.rules.give_up_pause
}

/// The shards that this worker should give away to make the loads even.
fn surplus(me: &str, mut loads: BTreeMap<&str, Vec<&ShardId>>, situation: &Situation<'_>) -> Vec<ShardId> {
    let may_have = |id: &str, n: usize| match situation.standing(id) {
        Standing::Proven => true,
        Standing::OnTrial => n < 1,
        Standing::Unfit | Standing::Unwell => false,
    };
    // Who has given a shard up is not given it back at once.
    let wanted = |shard: &ShardId, taker: &str| {
        situation.rows.leases.get(shard).is_none_or(|lease| may_claim(lease, taker, situation))
    };

    let mut mine = Vec::new();
    loop {
        let most = loads.iter().max_by_key(|(id, load)| (load.len(), **id)).map(|(id, load)| (*id, load.len()));
        let takers = loads.iter().filter(|(id, load)| may_have(id, load.len()));
        let least = takers.min_by_key(|(id, load)| (load.len(), **id)).map(|(id, load)| (*id, load.len()));
        let (Some((donor, most)), Some((taker, least))) = (most, least) else { return mine };
        if most < least + 2 {
            return mine;
        }
        let Some(from) = loads.get_mut(donor) else { return mine };
        let Some(at) = from.iter().rposition(|shard| wanted(shard, taker)) else { return mine };
        let shard = from.remove(at);
        if donor == me {
            mine.push(shard.clone());
        }
        loads.entry(taker).or_default().insert(0, shard);
    }
}
