use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use actors::ports::faults::Faults;
use actors::ports::leases::{LeaseRows, LeaseView, Standing, WorkerRow};
use actors::ports::stream::ShardInfo;
use messages::{EpochNumber, Position, ShardId};

use super::assignment::{Orders, Rules, Situation, orders};
use super::lineage::{self, ListedShards, disposable, may_start, missing, trimmed};
use super::observer::{Observer, Patience};
use super::watching::Pace;

const PATIENCE: Patience = Patience { worker: Duration::from_secs(3), foreign: Duration::from_secs(20) };
const RULES: Rules = Rules {
    shards_max: 100,
    give_up_pause: Duration::from_secs(20),
    claim_patience: Duration::from_secs(9),
    skip_trimmed: false,
};

fn id(n: u32) -> ShardId {
    ShardId::new(&format!("shardId-{n:012}"))
}

fn lease(n: u32, owner: Option<&str>) -> LeaseView {
    LeaseView {
        shard: id(n),
        owner: owner.map(str::to_owned),
        checkpoint_owner: None,
        counter: 1,
        checkpoint: Position::TrimHorizon,
        parents: Vec::new(),
        pending: false,
        epoch: EpochNumber(0),
        alerts_through: EpochNumber(0),
        given_up_by: None,
        sample: None,
        state_key: None,
    }
}

/// A table, a stream that has all its shards, and one worker that looks at it.
struct World {
    rows: LeaseRows,
    listed: ListedShards,
    observer: Observer,
    running: BTreeSet<ShardId>,
    seconds: u64,
    beating: Vec<&'static str>,
    standings: BTreeMap<&'static str, Standing>,
}

impl World {
    fn new(leases: Vec<LeaseView>, beating: &[&'static str]) -> Self {
        let info = |lease: &LeaseView| ShardInfo {
            shard: lease.shard.clone(),
            parents: lease.parents.clone(),
            hash_range: Default::default(),
            closed: false,
        };
        let listed = leases.iter().map(|lease| (lease.shard.clone(), info(lease))).collect();
        let leases = leases.into_iter().map(|lease| (lease.shard.clone(), lease)).collect();
        let rows = LeaseRows { leases, ..LeaseRows::default() };
        let observer = Observer::new("a", PATIENCE, &Faults::none());
        let mut world = Self {
            rows,
            listed,
            observer,
            running: BTreeSet::new(),
            seconds: 0,
            beating: beating.to_vec(),
            standings: BTreeMap::new(),
        };
        world.pass(2);
        world
    }

    /// Lets seconds pass, each with a beat of who beats, and a look at the table.
    fn pass(&mut self, seconds: u64) {
        self.pass_with(seconds, |observer, rows, now| observer.see(rows, now, now));
    }

    fn pass_with(&mut self, seconds: u64, look: impl Fn(&mut Observer, &LeaseRows, Duration)) {
        for _ in 0..seconds {
            self.seconds += 1;
            for name in &self.beating {
                let row = WorkerRow {
                    id: (*name).to_owned(),
                    incarnation: "1".to_owned(),
                    beat: self.seconds,
                    address: String::new(),
                    leaving: false,
                    standing: self.standings.get(name).copied().unwrap_or_default(),
                };
                self.rows.workers.insert((*name).to_owned(), row);
            }
            look(&mut self.observer, &self.rows, Duration::from_secs(self.seconds));
        }
    }

    fn orders(&self) -> Orders {
        orders(&Situation {
            me: "a",
            rows: &self.rows,
            listed: &self.listed,
            observer: &self.observer,
            standing: self.standings.get("a").copied().unwrap_or_default(),
            running: &self.running,
            rules: RULES,
            faults: &Faults::none(),
        })
    }

    fn takes(&self) -> Vec<ShardId> {
        self.orders().take.into_iter().map(|(shard, _)| shard).collect()
    }
}

#[test]
fn whoever_is_alone_takes_everything() {
    let world = World::new(vec![lease(0, None), lease(1, None), lease(2, None)], &["a"]);
    assert_eq!(world.takes(), [id(0), id(1), id(2)]);
}

#[test]
fn what_has_no_owner_is_shared_out_evenly() {
    let world = World::new((0..4).map(|n| lease(n, None)).collect(), &["a", "b"]);
    assert_eq!(world.takes(), [id(0), id(2)], "the other two are left to b");
    assert_eq!(world.orders().unowned, 4);
}

#[test]
fn a_living_owner_keeps_its_shards_and_a_silent_one_loses_them() {
    let mut world = World::new(vec![lease(0, Some("b"))], &["a", "b"]);
    assert_eq!(world.takes(), []);
    world.beating = vec!["a"];
    world.pass(2);
    assert_eq!(world.takes(), [], "two seconds of silence are not death");
    world.pass(2);
    assert_eq!(world.takes(), [id(0)]);
}

#[test]
fn among_a_thousand_shards_the_silent_are_noticed_by_heartbeats_alone() {
    const WORKERS: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let leases = (0..1_000).map(|n| lease(n, Some(WORKERS[n as usize % 12]))).collect();
    let mut world = World::new(leases, &WORKERS);
    world.running = (0..1_000).step_by(12).map(id).collect();
    let of = |world: &World| world.observer.candidates().count();
    assert_eq!((of(&world), world.takes().len()), (12, 0));
    world.beating.retain(|name| *name != "b");
    // It has committed between the last look at its leases and its death.
    world.rows.leases.get_mut(&id(1)).unwrap().counter += 1;
    let watches = |observer: &mut Observer, rows: &LeaseRows, now| {
        observer.see_workers(&rows.workers, |_| true, now, now);
    };
    world.pass_with(2, watches);
    assert_eq!(of(&world), 12, "two seconds of silence are not death");
    world.pass_with(2, watches);
    assert_eq!(of(&world), 11, "the leases were not looked at");
    // The look at the table that follows: an eleventh of what b had.
    world.pass(1);
    assert_eq!(world.orders().unowned, 84);
    assert!((7..=8).contains(&world.takes().len()), "{}", world.takes().len());
    // A foreign owner is judged by the looks at its lease alone.
    let mut world = World::new(vec![lease(0, Some("kcl"))], &["a", "b"]);
    world.pass_with(100, watches);
    assert_eq!(world.takes(), []);
}

#[test]
fn a_look_at_heartbeats_asks_for_one_at_the_table_only_when_who_is_there_changes() {
    let mut world = World::new(vec![lease(0, Some("b"))], &["a", "b", "c"]);
    let mut asks = |beating: &[&'static str], asked_for: &[&str]| {
        world.beating = beating.to_vec();
        let asked = std::cell::Cell::new(false);
        world.pass_with(1, |observer, rows, now| {
            let mut rows = rows.workers.clone();
            rows.retain(|id, _| beating.contains(&id.as_str()));
            asked.set(observer.heard(&rows, |id| asked_for.contains(&id), (now, now)));
        });
        asked.get()
    };
    assert!(!asks(&["b", "c"], &["b", "c"]) && !asks(&["b", "c"], &["b", "c"]));
    // Of whom nothing was asked nothing is known; whoever was asked for and has no row has said goodbye.
    assert!(!asks(&["b"], &["b"]));
    assert!(asks(&["b"], &["b", "c"]) && !asks(&["b"], &["b"]));
}

#[test]
fn the_pace_of_looks_keeps_to_the_budget() {
    let config = crate::config::Config::shipped("a", messages::EventSchema::built_in("climate").unwrap()).leases;
    // Twenty units a second: five for each of four looks.
    assert_eq!(Pace::after(5.0, true, &config), Pace { scan: config.scan_interval, watches: false });
    // A thousand rows of 1 KB, half a unit for each four of them.
    assert_eq!(Pace::after(125.0, true, &config), Pace { scan: Duration::from_secs_f64(12.5), watches: true });
    assert_eq!(Pace::after(125.0, false, &config), Pace { scan: Duration::from_secs_f64(6.25), watches: false });
}

#[test]
fn a_slow_look_does_not_make_the_living_dead() {
    let mut world = World::new(vec![lease(0, Some("b"))], &["a", "b"]);
    let seconds = Duration::from_secs;
    // Asked for at 200 and answered at 203: what it shows is of 203. The next look is from before b's next beat.
    world.rows.workers.get_mut("b").unwrap().beat = 200;
    world.observer.see(&world.rows, seconds(200), seconds(203));
    world.observer.see(&world.rows, seconds(203), seconds(203));
    assert_eq!(world.takes(), []);
    world.observer.see(&world.rows, seconds(206), seconds(206));
    assert_eq!(world.takes(), [id(0)]);
}

#[test]
fn a_look_at_a_replica_that_lags_is_no_sign_of_life() {
    let mut world = World::new(vec![lease(0, Some("b"))], &["a", "b"]);
    let beat = world.rows.workers["b"].beat;
    world.beating = vec!["a"];
    for second in 0..4 {
        world.rows.workers.get_mut("b").unwrap().beat = beat - second % 2;
        world.rows.leases.get_mut(&id(0)).unwrap().counter = 1 - second % 2;
        world.pass(1);
    }
    assert_eq!(world.takes(), [id(0)]);
}

#[test]
fn a_table_that_was_put_back_is_believed_when_it_shows_the_same_twice_or_goes_on() {
    let mut world = World::new(vec![lease(0, Some("kcl")), lease(1, Some("b"))], &["a", "b"]);
    let counts = |world: &mut World, counter: u64| {
        world.rows.leases.get_mut(&id(0)).unwrap().counter = counter;
        world.pass(1);
    };
    counts(&mut world, 900);
    world.pass(19);
    // Back by some minutes; its owner goes on from there at once.
    counts(&mut world, 300);
    counts(&mut world, 301);
    world.pass(5);
    assert_eq!(world.takes(), [], "it moves");
    world.beating = vec!["a"];
    world.rows.workers.get_mut("b").unwrap().beat = 1;
    world.pass(2);
    world.rows.workers.get_mut("b").unwrap().beat = 2;
    world.pass(2);
    assert_eq!(world.takes(), [], "b goes on from where its row was put back to");
}

#[test]
fn whoever_writes_a_lease_lives_however_old_its_beat_looks() {
    let mut world = World::new(vec![lease(0, None), lease(1, Some("b"))], &["a", "b"]);
    world.beating = vec!["a"];
    world.pass(5);
    assert_eq!(world.takes(), [id(0), id(1)]);
    // It was started again, and has taken one; the look shows its beat of before: a lease that moves is a sign of life.
    *world.rows.leases.get_mut(&id(0)).unwrap() = LeaseView { counter: 2, ..lease(0, Some("b")) };
    world.pass(1);
    assert_eq!(world.takes(), []);
    world.pass(4);
    assert_eq!(world.takes(), [id(0), id(1)], "it takes nothing more, and does not beat");
}

#[test]
fn whoever_takes_a_lease_after_a_goodbye_lives_before_its_beat_is_seen() {
    let mut world = World::new(vec![lease(0, None)], &["a", "b"]);
    world.beating = vec!["a"];
    world.rows.workers.remove("b");
    world.pass(5);
    *world.rows.leases.get_mut(&id(0)).unwrap() = LeaseView { counter: 2, ..lease(0, Some("b")) };
    world.pass(1);
    assert_eq!(world.takes(), []);
    world.pass(4);
    assert_eq!(world.takes(), [id(0)]);
}

#[test]
fn a_worker_that_was_never_seen_to_beat_is_given_nothing_and_robbed_of_nothing_at_once() {
    let mut world = World::new(vec![lease(0, Some("b")), lease(1, None)], &["a", "b"]);
    world.observer = Observer::new("a", PATIENCE, &Faults::none());
    world.observer.see(&world.rows, Duration::from_secs(100), Duration::from_secs(100));
    assert_eq!(world.takes(), [id(1)]);
}

#[test]
fn an_owner_without_heartbeat_is_judged_by_its_counter() {
    let mut world = World::new(vec![lease(0, Some("kcl"))], &["a"]);
    world.pass(15);
    assert_eq!(world.takes(), []);
    world.rows.leases.get_mut(&id(0)).unwrap().counter += 1;
    world.pass(15);
    assert_eq!(world.takes(), []);
    world.pass(10);
    assert_eq!(world.takes(), [id(0)]);
}

#[test]
fn while_kcl_hands_over_the_owner_before_counts() {
    let handed = LeaseView { checkpoint_owner: Some("kcl-1".to_owned()), ..lease(0, Some("a")) };
    let mut world = World::new(vec![handed], &["a"]);
    assert_eq!(world.takes(), [], "kcl-1 still works on it");
    world.pass(25);
    assert_eq!(world.takes(), [id(0)]);
}

#[test]
fn surplus_goes_to_who_has_two_fewer_and_no_further() {
    let mut world = World::new((0..4).map(|n| lease(n, Some("a"))).collect(), &["a", "b"]);
    world.running = (0..4).map(id).collect();
    assert_eq!(world.orders().hand_over.len(), 2);
    let mut world = World::new(vec![lease(0, Some("a")), lease(1, Some("a")), lease(2, Some("b"))], &["a", "b"]);
    world.running = [id(0), id(1)].into();
    assert_eq!(world.orders().hand_over, []);
}

#[test]
fn only_who_has_most_gives() {
    let owners = ["a", "a", "b", "b", "b", "b"];
    let leases = owners.iter().zip(0..).map(|(owner, n)| lease(n, Some(owner))).collect();
    let mut world = World::new(leases, &["a", "b", "c"]);
    world.running = [id(0), id(1)].into();
    assert_eq!(world.orders().hand_over, [], "two of b's make it even");
}

#[test]
fn nothing_is_evened_out_while_something_stands_still() {
    let mut leases: Vec<_> = (0..4).map(|n| lease(n, Some("a"))).collect();
    leases.push(lease(4, None));
    let mut world = World::new(leases, &["a", "b"]);
    world.running = (0..4).map(id).collect();
    let orders = world.orders();
    assert_eq!((orders.hand_over, orders.take), (vec![], vec![]), "b takes shard 4");
}

#[test]
fn who_leaves_is_given_nothing() {
    let mut world = World::new((0..4).map(|n| lease(n, Some("a"))).collect(), &["a", "b"]);
    world.running = (0..4).map(id).collect();
    world.beating = vec!["a"];
    world.rows.workers.get_mut("b").unwrap().leaving = true;
    world.pass(1);
    assert_eq!(world.orders().hand_over, []);
}

#[test]
fn whoever_gave_a_shard_up_leaves_it_to_others_for_a_while() {
    let given_up = LeaseView { given_up_by: Some("a".to_owned()), ..lease(0, None) };
    let mut world = World::new(vec![given_up], &["a"]);
    assert_eq!(world.takes(), []);
    world.pass(25);
    assert_eq!(world.takes(), [id(0)], "nobody else wanted it");
}

#[test]
fn what_nobody_takes_is_taken_by_anybody() {
    let mut world = World::new(vec![lease(0, Some("a")), lease(1, None)], &["a", "b"]);
    world.running = [id(0)].into();
    assert_eq!(world.takes(), [], "b has fewer");
    world.pass(10);
    assert_eq!(world.takes(), [id(1)]);
}

#[test]
fn a_child_waits_for_all_its_parents() {
    let child = LeaseView { parents: vec![id(0), id(1)], ..lease(2, None) };
    let mut world = World::new(vec![lease(0, Some("b")), lease(1, Some("b")), child], &["a", "b"]);
    for parent in [0, 1] {
        assert_eq!(world.takes(), []);
        let row = world.rows.leases.get_mut(&id(parent)).unwrap();
        (row.checkpoint, row.owner) = (Position::ShardEnd, None);
    }
    assert_eq!(world.takes(), [id(2)]);
}

#[test]
fn a_parent_without_row_holds_its_child_back_only_while_it_is_listed() {
    let child = LeaseView { parents: vec![id(0)], ..lease(1, None) };
    let mut world = World::new(vec![child.clone()], &["a"]);
    assert!(may_start(&child, &world.listed, &world.rows, false));
    let parent = ShardInfo { shard: id(0), parents: vec![], hash_range: Default::default(), closed: true };
    world.listed.insert(id(0), parent);
    assert!(!may_start(&child, &world.listed, &world.rows, false));
    assert_eq!(missing(&world.listed, &world.rows).len(), 1);
}

#[test]
fn a_trimmed_parent_holds_its_children_back_unless_that_is_allowed() {
    let child = LeaseView { parents: vec![id(0)], ..lease(1, None) };
    let mut world = World::new(vec![lease(0, None), child.clone()], &["a"]);
    world.listed.remove(&id(0));
    let known = [id(0), id(1)].into();
    assert_eq!(trimmed(&world.listed, &known, &world.rows).len(), 1);
    let open = |listed| lineage::open(listed, &world.rows).map(|row| row.shard.clone()).collect::<Vec<_>>();
    assert_eq!(open(Some(&world.listed)), [id(1)], "it gets no more records, and shares no sensor");
    assert_eq!(open(None), [id(0), id(1)], "before the first listing");
    // One that got its row while the stream was being listed is not gone.
    assert!(trimmed(&world.listed, &[id(1)].into(), &world.rows).is_empty());
    assert!(!may_start(&child, &world.listed, &world.rows, false));
    assert!(may_start(&child, &world.listed, &world.rows, true));
    assert_eq!(world.takes(), [], "what the stream has forgotten cannot be read");
}

#[test]
fn a_shard_at_its_end_is_taken_only_to_send_its_last_alerts() {
    let ended = LeaseView { checkpoint: Position::ShardEnd, ..lease(0, None) };
    assert_eq!(World::new(vec![ended.clone()], &["a"]).takes(), []);
    let mut world = World::new(vec![LeaseView { owner: Some("b".to_owned()), ..ended }], &["a"]);
    world.pass(25);
    assert_eq!(world.takes(), [id(0)]);
}

#[test]
fn rows_go_when_the_stream_has_forgotten_them_and_no_child_needs_them() {
    let parent = LeaseView { checkpoint: Position::ShardEnd, ..lease(0, None) };
    let child = LeaseView { parents: vec![id(0)], ..lease(1, Some("b")) };
    let mut world = World::new(vec![parent, child], &["a"]);
    assert_eq!(disposable(&world.listed, &world.rows).len(), 0);
    world.listed.remove(&id(0));
    assert_eq!(disposable(&world.listed, &world.rows).len(), 0, "the child still begins from it");
    world.rows.leases.get_mut(&id(1)).unwrap().epoch = EpochNumber(1);
    assert_eq!(disposable(&world.listed, &world.rows).len(), 1);
}

#[test]
fn who_has_proved_nothing_is_given_one_shard_and_no_more() {
    let mut world = World::new((0..4).map(|n| lease(n, None)).collect(), &["a", "b"]);
    world.standings = [("a", Standing::OnTrial)].into();
    world.pass(1);
    assert_eq!(world.takes(), [id(0)], "the others are b's");
    // Alone with its like, it takes no more either.
    world.standings = [("a", Standing::OnTrial), ("b", Standing::OnTrial)].into();
    world.pass(1);
    assert_eq!(world.takes(), [id(0)]);
    world.rows.leases.get_mut(&id(0)).unwrap().owner = Some("a".to_owned());
    world.running = [id(0)].into();
    assert_eq!(world.takes(), []);
    // Unless what nobody takes has lain about for long, and nobody is there whom it could harm.
    world.pass(10);
    assert_eq!(world.takes().len(), 3);
    world.standings.remove("b");
    world.pass(1);
    assert_eq!(world.takes(), [], "b takes it");
    world.beating = vec!["a"];
    world.pass(4);
    assert_eq!(world.takes().len(), 3, "there is no b any more");
}

#[test]
fn who_has_proved_nothing_and_is_alone_takes_all_but_only_when_it_knows_that_it_is_alone() {
    let mut world = World::new((0..4).map(|n| lease(n, None)).collect(), &["a", "b"]);
    world.standings = [("a", Standing::OnTrial)].into();
    world.beating = vec!["a"];
    world.observer = Observer::new("a", PATIENCE, &Faults::none());
    world.observer.see(&world.rows, Duration::from_secs(100), Duration::from_secs(100));
    assert_eq!(world.takes(), [id(0)], "b has not been seen to beat, and may be about to");
    world.seconds = 100;
    world.pass(4);
    assert_eq!(world.takes().len(), 4);
}

#[test]
fn who_cannot_work_is_given_nothing_and_who_does_not_do_well_only_what_nobody_else_can_have() {
    for (standing, alone) in [(Standing::Unfit, 0), (Standing::Unwell, 2)] {
        let mut world = World::new(vec![lease(0, None), lease(1, None)], &["a", "b"]);
        world.standings = [("a", standing)].into();
        world.pass(1);
        assert_eq!(world.takes(), [], "{standing:?}: b takes both");
        world.beating = vec!["a"];
        world.pass(4);
        assert_eq!(world.takes().len(), alone, "{standing:?}");
    }
}

#[test]
fn shards_are_handed_over_one_to_who_is_on_trial_and_none_to_who_does_not_do_well() {
    for (standing, n) in [(Standing::Proven, 2), (Standing::OnTrial, 1), (Standing::Unfit, 0), (Standing::Unwell, 0)] {
        let mut world = World::new((0..4).map(|n| lease(n, Some("a"))).collect(), &["a", "b"]);
        world.running = (0..4).map(id).collect();
        world.standings = [("b", standing)].into();
        world.pass(1);
        assert_eq!(world.orders().hand_over.len(), n, "{standing:?}");
    }
}

#[test]
fn what_a_worker_gave_up_is_not_handed_back_to_it_at_once() {
    let mut leases: Vec<_> = (0..4).map(|n| lease(n, Some("a"))).collect();
    leases[3].given_up_by = Some("b".to_owned());
    let mut world = World::new(leases, &["a", "b"]);
    world.running = (0..4).map(id).collect();
    assert_eq!(world.orders().hand_over, [id(2), id(1)]);
    world.pass(25);
    assert_eq!(world.orders().hand_over, [id(3), id(2)]);
}

#[test]
fn a_new_worker_converges_with_the_old_ones_step_by_step() {
    // a has four, b is new: it is given one, proves itself, is given the second, and that is all.
    let mut world = World::new((0..4).map(|n| lease(n, Some("a"))).collect(), &["a", "b"]);
    world.running = (0..4).map(id).collect();
    world.standings = [("b", Standing::OnTrial)].into();
    for (standing, given) in
        [(Standing::OnTrial, 1), (Standing::OnTrial, 0), (Standing::Proven, 1), (Standing::Proven, 0)]
    {
        world.standings.insert("b", standing);
        world.pass(1);
        let handed = world.orders().hand_over;
        assert_eq!(handed.len(), given, "{standing:?}");
        for shard in handed {
            world.running.remove(&shard);
            world.rows.leases.get_mut(&shard).unwrap().owner = Some("b".to_owned());
        }
    }
}
