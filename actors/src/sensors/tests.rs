//! GOAL    Whatever happens in whatever order, a sensor's state holds every reading once and in order, a cut leaves with the
//!         states of its epoch, batches leave in stream order, and the shard comes to rest (STATE, ORDER, COMPLETE).
//! METHOD  A model of actors with mailboxes, of which fewer may live than there are sensors; random steps with batches,
//!         cuts, retirements, deaths at a row and on request, and reports that come late. Sensors that begin again without
//!         their state are noticed by the same walk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use messages::{
    Assessment, Batch, Credit, Cut, CutReason, CutState, EpochNumber, Form, Group, GroupOutcome, InFlight, Position,
    RawRecord, Rows, SensorId, SensorMsg, SequenceNumber, Verdict,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::journal::Entry;
use super::room::Left;
use super::roster::{Roster, RosterRules, Routed};

const SENSORS: usize = 6;
const LIVE_MAX: usize = 2;
const CRASHES_MAX: u32 = 3;

#[derive(Clone, Debug)]
enum Step {
    /// A batch with two readings of each of these sensors.
    Route(BTreeSet<usize>),
    Cut(bool),
    /// An actor handles a message.
    Work(usize),
    /// The router hears what actors have reported.
    Hear,
    /// The longest untouched sensor retires.
    Retire,
    /// An actor dies: with a row in hand, if it has one to judge.
    Die(usize),
    /// Its death is asked for.
    Kill(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => prop::collection::btree_set(0..SENSORS, 1..4).prop_map(Step::Route),
        2 => any::<bool>().prop_map(Step::Cut),
        12 => (0..SENSORS).prop_map(Step::Work),
        8 => Just(Step::Hear),
        1 => Just(Step::Retire),
        1 => (0..SENSORS).prop_map(Step::Die),
        1 => (0..SENSORS).prop_map(Step::Kill),
    ]
}

/// The readings that a sensor has judged, as its state holds them.
type State = Vec<u64>;

fn encode(state: &State) -> Arc<[u8]> {
    state.iter().flat_map(|reading| reading.to_le_bytes()).collect()
}

fn decode(bytes: &[u8]) -> State {
    bytes.chunks(8).map(|reading| u64::from_le_bytes(reading.try_into().unwrap())).collect()
}

#[derive(Debug)]
struct Actor {
    sensor: SensorId,
    state: State,
    mailbox: VecDeque<SensorMsg>,
}

/// What an actor tells the router.
enum Report {
    Snapshot(SensorId, u64, Arc<[u8]>),
    Retired(SensorId, u64, Arc<[u8]>),
}

struct World {
    roster: Roster<u64>,
    actors: BTreeMap<u64, Actor>,
    next_id: u64,
    wire: VecDeque<Report>,
    now: Duration,
    readings: u64,
    epoch: u64,
    /// What each sensor has to hold now, and at each cut that has not left.
    routed: BTreeMap<SensorId, State>,
    cuts: VecDeque<(bool, BTreeSet<SensorId>, BTreeMap<SensorId, State>)>,
    touched: BTreeSet<SensorId>,
    /// How often rows killed their sensor: those that did it too often may be missing.
    deadly: BTreeMap<u64, u32>,
    /// The last batch that has left.
    left: u64,
}

type Walked = Result<(), String>;

fn id(n: usize) -> SensorId {
    SensorId::new(&format!("s{n}"))
}

fn cut(epoch: u64, full_state: bool) -> Cut {
    let (from, to) = (Position::TrimHorizon, Position::TrimHorizon);
    let (epoch, reason) = (EpochNumber(epoch), CutReason::Age);
    Cut { epoch, from, to, reason, full_state, whole_aggregates: false, spread: false }
}

/// Two readings of each sensor, which are told apart by their time.
fn batch(sensors: &BTreeSet<usize>, first: u64) -> Batch {
    let n = 2 * sensors.len();
    let record = |at: u64| RawRecord {
        sequence: SequenceNumber::parse(&at.to_string()).unwrap(),
        arrival_ms: at as i64,
        partition_key: "k".into(),
        data: Bytes::new(),
    };
    let records: Vec<RawRecord> = (first..).take(n).map(record).collect();
    let rows = Rows {
        record: (0..n as u32).collect(),
        sub_sequence: vec![0; n],
        span: vec![0..0; n],
        event_time_us: (first as i64..).take(n).collect(),
        event_id: vec![None; n],
        device_sequence: vec![None; n],
        fields: Vec::new(),
    };
    let group = |(at, n): (usize, &usize)| Group { sensor: id(*n), hash_key: 0, rows: 2 * at..2 * at + 2 };
    Batch {
        forms: vec![Form::Other; n],
        groups: sensors.iter().enumerate().map(group).collect(),
        order: (0..n as u32).collect(),
        rejects: Vec::new(),
        credit: Credit::none(),
        trace: None,
        records,
        rows,
    }
}

fn settle(in_flight: &InFlight, group: usize) {
    let verdict = Verdict::Clean(Assessment::default());
    let verdicts = vec![verdict; in_flight.batch.group_rows(group).len()];
    let _ = in_flight.settle(group, GroupOutcome { verdicts, ..GroupOutcome::default() });
}

impl World {
    fn new(keeps_state: bool) -> Self {
        let rules = RosterRules { known_max: 100, crashes_max: CRASHES_MAX, keeps_state };
        Self {
            roster: Roster::new(rules, Vec::new(), Vec::new()),
            actors: BTreeMap::new(),
            next_id: 0,
            wire: VecDeque::new(),
            now: Duration::ZERO,
            readings: 0,
            epoch: 0,
            routed: BTreeMap::new(),
            cuts: VecDeque::new(),
            touched: BTreeSet::new(),
            deadly: BTreeMap::new(),
            left: 0,
        }
    }

    fn step(&mut self, step: &Step) -> Walked {
        self.now += Duration::from_secs(1);
        match step {
            Step::Route(sensors) => self.route(sensors),
            // The committer ends an epoch when the one before is committed.
            Step::Cut(full_state) if self.cuts.is_empty() => self.cut(*full_state),
            Step::Cut(_) => {}
            Step::Work(at) => {
                if let Some(id) = self.busy().get(*at).copied() {
                    self.work(id);
                }
            }
            Step::Hear => self.hear(),
            Step::Retire => {
                let asked = self.roster.retire_oldest(None).copied();
                self.ask(asked, SensorMsg::Retire);
            }
            Step::Die(at) => {
                if let Some(id) = self.busy().get(*at).copied() {
                    self.die(id)?;
                }
            }
            Step::Kill(at) => {
                let killed = self.roster.slots.get_mut(&self::id(*at)).and_then(|slot| slot.excuse());
                if let Some(id) = killed {
                    self.dead(id, None)?;
                }
            }
        }
        self.forward()
    }

    fn busy(&self) -> Vec<u64> {
        self.actors.iter().filter(|(_, actor)| !actor.mailbox.is_empty()).map(|(id, _)| *id).collect()
    }

    fn ask(&mut self, actor: Option<u64>, message: SensorMsg) {
        if let Some(actor) = actor.and_then(|id| self.actors.get_mut(&id)) {
            actor.mailbox.push_back(message);
        }
    }

    fn route(&mut self, sensors: &BTreeSet<usize>) {
        let batch = batch(sensors, self.readings);
        self.readings += batch.rows.len() as u64;
        let in_flight = self.roster.begin_batch(batch, self.now);
        for group in 0..in_flight.batch.groups.len() {
            let sensor = &in_flight.batch.groups[group].sensor;
            let times =
                in_flight.batch.group_rows(group).iter().map(|row| in_flight.batch.rows.event_time_us[*row as usize]);
            self.routed.entry(sensor.clone()).or_default().extend(times.map(|time| time as u64));
            self.touched.insert(sensor.clone());
            match self.roster.route(&in_flight, group, self.now, LIVE_MAX) {
                Routed::Refused => unreachable!("there is room for all"),
                Routed::To(actor, message) => {
                    let actor = *actor;
                    self.ask(Some(actor), message);
                }
                Routed::Waits => {}
                Routed::Starts => {
                    let actor = self.start(sensor);
                    let message = self.roster.journal.apply(&in_flight, group);
                    self.ask(Some(actor), message);
                }
            }
        }
        self.make_room();
    }

    fn start(&mut self, sensor: &SensorId) -> u64 {
        self.next_id += 1;
        let state = self.roster.base(sensor).map(decode).unwrap_or_default();
        let actor = Actor { sensor: sensor.clone(), state, mailbox: VecDeque::new() };
        self.actors.insert(self.next_id, actor);
        self.roster.lives(sensor, self.next_id, self.next_id);
        self.next_id
    }

    fn revive(&mut self, sensor: &SensorId) {
        let actor = self.start(sensor);
        self.catch_up(sensor, actor);
    }

    fn catch_up(&mut self, sensor: &SensorId, actor: u64) {
        let messages: Vec<SensorMsg> = self.roster.catch_up(sensor).collect();
        messages.into_iter().for_each(|message| self.ask(Some(actor), message));
    }

    fn make_room(&mut self) {
        while let Some(asked) = self.roster.makes_room().copied() {
            self.ask(Some(asked), SensorMsg::Retire);
        }
    }

    fn cut(&mut self, full_state: bool) {
        self.epoch += 1;
        let (mut cutting, touched) = self.roster.begin_cut(cut(self.epoch, full_state), None);
        let number = cutting.number;
        for sensor in touched {
            let asked = self.roster.cut_one(&mut cutting, sensor).copied();
            self.ask(asked, SensorMsg::Snapshot(number));
        }
        self.roster.end_cut(cutting);
        self.cuts.push_back((full_state, std::mem::take(&mut self.touched), self.routed.clone()));
    }

    fn work(&mut self, id: u64) {
        let actor = self.actors.get_mut(&id).unwrap();
        match actor.mailbox.pop_front().unwrap() {
            SensorMsg::Apply { in_flight, group, poison, .. } => {
                assert_eq!(in_flight.batch.groups[group].sensor, actor.sensor, "another sensor's rows");
                let rows = in_flight.batch.group_rows(group).iter().filter(|row| !poison.contains(row));
                actor.state.extend(rows.map(|row| in_flight.batch.rows.event_time_us[*row as usize] as u64));
                settle(&in_flight, group);
            }
            SensorMsg::Snapshot(number) => {
                self.wire.push_back(Report::Snapshot(actor.sensor.clone(), number, encode(&actor.state)));
            }
            SensorMsg::Retire => {
                self.wire.push_back(Report::Retired(actor.sensor.clone(), id, encode(&actor.state)));
            }
            SensorMsg::Become | SensorMsg::Inspect(_) => unreachable!("nobody sends it here"),
        }
    }

    fn hear(&mut self) {
        match self.wire.pop_front() {
            Some(Report::Snapshot(sensor, number, bytes)) => {
                self.roster.reported(&sensor, number, (bytes, Some(0)));
            }
            Some(Report::Retired(sensor, id, bytes)) => {
                match self.roster.retired((&sensor, id), (bytes, Some(0)), LIVE_MAX) {
                    None => return,
                    Some(Left::Ends(id)) => drop(self.actors.remove(&id)),
                    Some(Left::Becomes(sensor, id)) => {
                        let state = self.roster.base(&sensor).map(decode).unwrap_or_default();
                        let actor = self.actors.get_mut(&id).unwrap();
                        (actor.sensor, actor.state) = (sensor.clone(), state);
                        assert!(actor.mailbox.is_empty(), "an actor that retires gets nothing more");
                        self.catch_up(&sensor, id);
                    }
                }
                while let Some(sensor) = self.roster.next_parked(LIVE_MAX) {
                    self.revive(&sensor);
                }
                self.make_room();
            }
            None => {}
        }
    }

    fn die(&mut self, id: u64) -> Walked {
        let row = match self.actors[&id].mailbox.front() {
            Some(SensorMsg::Apply { in_flight, group, poison, .. }) => {
                let rows = in_flight.batch.group_rows(*group);
                rows.iter().find(|row| !poison.contains(row)).map(|row| {
                    *self.deadly.entry(in_flight.batch.rows.event_time_us[*row as usize] as u64).or_default() += 1;
                    (in_flight.number, *row)
                })
            }
            _ => None,
        };
        match row {
            Some(row) => self.dead(id, Some(row)),
            None => Ok(()),
        }
    }

    fn dead(&mut self, id: u64, row: Option<(u64, u32)>) -> Walked {
        self.actors.remove(&id);
        let Some(death) = self.roster.died(id, row, "it died", false) else {
            return Err("an actor of nobody has died".to_owned());
        };
        if death.is_unstable {
            return Err(format!("{} is given up", death.sensor));
        }
        self.revive(&death.sensor);
        self.make_room();
        Ok(())
    }

    fn forward(&mut self) -> Walked {
        while let Some(entry) = self.roster.journal.next_complete() {
            match entry {
                Entry::Batch(batch) if batch.number > self.left => self.left = batch.number,
                Entry::Batch(batch) => return Err(format!("batch {} leaves after {}", batch.number, self.left)),
                Entry::Cut(cut) => self.leaves(cut)?,
            }
        }
        Ok(())
    }

    /// The states of a cut are what was routed before it, each reading once and in order, but for those that killed.
    fn leaves(&mut self, CutState { cut, sensors, .. }: CutState) -> Walked {
        let (full_state, touched, routed) = self.cuts.pop_front().ok_or("a cut that nobody asked for")?;
        let expected: BTreeSet<&SensorId> = if full_state { routed.keys().collect() } else { touched.iter().collect() };
        let states: BTreeMap<&SensorId, State> =
            sensors.iter().map(|entry| (&entry.sensor, decode(&entry.bytes))).collect();
        for sensor in expected {
            // One whose readings were all deadly has nothing to remember.
            let state = states.get(sensor).cloned().unwrap_or_default();
            let kills = |at: &u64| self.deadly.get(at).is_some_and(|deaths| *deaths >= CRASHES_MAX);
            let harmless = |state: &State| state.iter().filter(|at| !kills(at)).copied().collect::<State>();
            let whole = &routed[sensor];
            if harmless(&state) != harmless(whole) || !state.is_sorted_by(|a, b| a < b) {
                return Err(format!("{sensor} has {state:?} at {:?}, not {whole:?}", cut.epoch));
            }
        }
        Ok(())
    }

    /// After all that, nothing dies any more: every batch leaves, and a cut of everything.
    fn comes_to_rest(&mut self) -> Walked {
        self.settles()?;
        self.cut(true);
        self.settles()?;
        match self.cuts.is_empty() && self.roster.journal.forwarded() == self.roster.journal.next_number() {
            true => Ok(()),
            false => Err(format!("{} cuts have not left", self.cuts.len())),
        }
    }

    fn settles(&mut self) -> Walked {
        loop {
            self.forward()?;
            match self.busy().first() {
                Some(id) => self.work(*id),
                None if self.wire.is_empty() => return Ok(()),
                None => self.hear(),
            }
        }
    }
}

fn walk(keeps_state: bool, steps: &[Step]) -> Walked {
    let mut world = World::new(keeps_state);
    steps.iter().try_for_each(|step| world.step(step))?;
    world.comes_to_rest()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_order_keeps_every_state(steps in prop::collection::vec(step(), 0..150)) {
        prop_assert_eq!(walk(true, &steps), Ok(()));
    }
}

#[test]
fn sensors_that_begin_again_without_their_state_are_noticed() {
    let mut runner = TestRunner::deterministic();
    let walks: Vec<Vec<Step>> =
        (0..50).map(|_| prop::collection::vec(step(), 100..150).new_tree(&mut runner).unwrap().current()).collect();
    assert!(walks.iter().any(|steps| walk(false, steps).is_err()));
}

#[test]
fn a_row_that_kills_its_sensor_again_and_again_is_quarantined_and_the_count_goes_on() {
    let mut world = World::new(true);
    world.route(&BTreeSet::from([0]));
    for crashes in 1..=CRASHES_MAX {
        let actor = world.busy()[0];
        let death = world.roster.died(actor, Some((1, 0)), "it died", false).unwrap();
        let tries = death.suspect.as_ref().map(|suspect| suspect.tries);
        assert_eq!((death.crashes, tries, death.is_unstable), (crashes, Some(crashes), false));
        world.actors.remove(&actor);
        world.revive(&death.sensor);
        let poisoned = match &world.actors[&world.busy()[0]].mailbox[0] {
            SensorMsg::Apply { poison, .. } => poison.to_vec(),
            _ => unreachable!("there was one batch"),
        };
        assert_eq!(poisoned, if crashes == CRASHES_MAX { vec![0] } else { vec![] });
    }
}

#[test]
fn a_sensor_that_dies_again_and_again_with_no_row_in_hand_is_given_up() {
    let mut world = World::new(true);
    world.route(&BTreeSet::from([0]));
    for crashes in 1..=CRASHES_MAX {
        let actor = world.busy()[0];
        let death = world.roster.died(actor, None, "it died", false).unwrap();
        assert_eq!((death.suspect.is_none(), death.is_unstable), (true, crashes == CRASHES_MAX));
        world.actors.remove(&actor);
        world.revive(&death.sensor);
    }
}

#[test]
fn a_sensor_that_hangs_is_told_at_the_second_look_and_gives_its_row_up_if_no_kill_ends_it() {
    let mut world = World::new(true);
    world.route(&BTreeSet::from([0]));
    let (actor, after) = (world.busy()[0], Duration::from_secs(1));
    let mut look = |at: u64| {
        let hanging = world.roster.hanging(Duration::from_secs(at), after, |_| Some((1, 0)));
        hanging.into_iter().map(|hanging| (hanging.actor, hanging.is_immortal)).collect::<Vec<_>>()
    };
    assert_eq!(look(0), [], "it has only begun");
    assert_eq!(look(5), [], "it may wait for a processor");
    assert_eq!(look(6), [(actor, false)]);
    assert_eq!(look(7), [(actor, true)], "it was killed, and goes on");
    let death = world.roster.died(actor, Some((1, 0)), "it could not be killed", true).unwrap();
    assert_eq!(death.crashes, 1);
    world.actors.remove(&actor);
    world.revive(&death.sensor);
    let SensorMsg::Apply { poison, .. } = &world.actors[&world.busy()[0]].mailbox[0] else {
        unreachable!("there was one batch")
    };
    assert_eq!(poison.to_vec(), [0], "at once: the thread that it holds is not given a second time");
}
