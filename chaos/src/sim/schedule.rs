//! What befalls whom, and when: decided before the run begins, by the seed alone.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use actors::ports::faults::{LOADER_POINTS, POINTS};

use crate::cloud::{ClientId, Fault, OpMatcher, Service, ServiceFaults, Weather};

/// Workers of a run.
pub(super) const WORKERS: usize = 3;
/// For how long faults befall.
const STORM_MS: u64 = 30_000;

/// Under which keys the producer sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Habit {
    /// Each sensor under its own.
    #[default]
    Sensor,
    /// Each record under one that nobody has used before.
    Random,
    /// With and without keys, into a stream that spreads records from the beginning.
    Spread,
    /// The same, into a stream that begins to spread them in the middle, and stops, and begins again.
    Switching,
}

/// Something that befalls.
#[derive(Clone, Debug)]
pub enum Event {
    /// As SIGKILL or a power failure; booted again after this long.
    Kill(usize, u64),
    /// As SIGSTOP; SIGCONT after this long.
    Sleep(usize, u64),
    /// As SIGTERM; booted again after this long.
    Drain(usize, u64),
    /// Some actor of the worker is killed.
    KillActor(usize, u64),
    /// Some open shard is split.
    Split(u64),
    /// Some two neighbours are merged.
    Merge(u64),
    /// The lease table is put back as it was some time ago; before that, all workers are killed, or none.
    Restore(u64, bool),
    /// A worker of another stream is started on the same lease table, in the place of this one.
    Share(usize),
    /// Services are faulty for this long.
    Weather(Box<Weather>, u64),
    /// The stream spreads its records from now on, or goes by their keys again.
    Spread(bool),
}

/// A run's script.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Shards at the beginning.
    pub shards: u32,
    /// What each worker's wall clock is wrong by.
    pub skews_ms: [i64; WORKERS],
    /// Milliseconds since the beginning, in order.
    pub events: Vec<(u64, Event)>,
    /// By how much each worker boots after the one before it, in milliseconds.
    pub boot_gap_ms: i64,
    /// For each boot of a worker in turn: what its own faults are. Boots beyond have none.
    pub plans: Vec<String>,
    /// For how long records are put.
    pub storm_ms: u64,
    /// Requests that are applied and whose replies are lost.
    pub lost_replies: Vec<OpMatcher>,
    /// Under which keys records are put.
    pub habit: Habit,
    /// What the warehouse's calls meet, and how often a transaction is ended from outside.
    pub loads: (ServiceFaults, f64),
    /// What the first transactions that load meet, one after the other: the weather alone strikes mostly those before them.
    pub load_faults: Vec<Fault>,
    /// `leases.failover_after` of all workers, if it is not what is shipped.
    pub failover: Option<Duration>,
    /// `leases.read_units_max` of all workers.
    pub read_units_max: f64,
    /// `epoch.refresh_after` of all workers, if it is not what is shipped. At rest the run then goes on for a while, and a
    /// lifecycle rule takes what is twice as old.
    pub refresh_after: Option<Duration>,
}

/// Enough for looking at the whole table as often as wanted.
pub(super) const READ_UNITS: f64 = 1_000.0;

const LOAD_FAULTS: [Fault; 6] =
    [Fault::Error, Fault::LoseReply, Fault::HangBefore, Fault::HangAfter, Fault::Late, Fault::Abort];

impl Schedule {
    /// The script of a seed.
    pub fn of_seed(seed: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(seed ^ 0x5c4e_d01e);
        let dice = &mut dice;
        // By dice of its own, as the habit is.
        let mut of_loads = StdRng::seed_from_u64(seed ^ 0x006c_6f61_6473);
        let mut events = Vec::new();
        let mut at = 2_000;
        while at < STORM_MS {
            at += dice.random_range(300..4_000);
            let host = dice.random_range(0..WORKERS);
            let event = match dice.random_range(0..100) {
                0..16 => Event::Kill(host, dice.random_range(0..8_000)),
                16..27 => Event::Sleep(host, dice.random_range(200..9_000)),
                27..36 => Event::Drain(host, dice.random_range(0..5_000)),
                36..54 => Event::KillActor(host, dice.random()),
                54..67 => Event::Split(dice.random()),
                67..76 => Event::Merge(dice.random()),
                76..83 => Event::Restore(dice.random(), dice.random()),
                83..86 => Event::Share(host),
                _ => Event::Weather(Box::new(weather(dice)), dice.random_range(500..6_000)),
            };
            events.push((at, event));
        }
        let habit = habit(seed);
        if habit == Habit::Switching {
            let spread = [(6_000, true), (14_000, false), (20_000, true)];
            events.extend(spread.map(|(at, spread)| (at, Event::Spread(spread))));
            events.sort_by_key(|(at, _)| *at);
        }
        let skew = |dice: &mut StdRng| if dice.random_bool(0.3) { dice.random_range(-3_600_000..3_600_000) } else { 0 };
        let (shards, skews_ms) = (dice.random_range(1..5), std::array::from_fn(|_| skew(dice)));
        Self {
            shards,
            skews_ms,
            events,
            boot_gap_ms: 700,
            plans: (0..24).map(|_| format!("{};{}", plan(dice), load_plan(&mut of_loads))).collect(),
            storm_ms: STORM_MS,
            lost_replies: lost_replies(seed),
            habit,
            loads: load_weather(&mut of_loads),
            load_faults: (0..2).map(|nth| load_fault(&mut of_loads, nth)).collect(),
            failover: None,
            read_units_max: READ_UNITS,
            refresh_after: refresh_after(seed, skews_ms),
        }
    }
}

/// How old states may get is told by clocks that agree better than that. By a die of its own.
fn refresh_after(seed: u64, skews_ms: [i64; WORKERS]) -> Option<Duration> {
    let short = StdRng::seed_from_u64(seed ^ 0x6c69_6665).random_bool(0.5);
    (short && skews_ms == [0; WORKERS]).then_some(Duration::from_secs(4))
}

/// By a die of its own: a seed's other faults are what they were before there were habits.
fn habit(seed: u64) -> Habit {
    match StdRng::seed_from_u64(seed ^ 0x0068_6162_6974).random_range(0..10) {
        0..6 => Habit::Sensor,
        6..8 => Habit::Random,
        8 => Habit::Spread,
        _ => Habit::Switching,
    }
}

/// Writes of leases whose replies are lost, whatever the weather: it hardly ever hits one that nothing else follows. By a
/// die of its own, too.
fn lost_replies(seed: u64) -> Vec<OpMatcher> {
    const WRITES: [&str; 4] =
        ["SET leaseOwner", "SET pendingCheckpoint", ", mangroveAlertsThrough", "REMOVE leaseOwner"];
    const CLIENTS: u32 = 6;
    let dice = &mut StdRng::seed_from_u64(seed ^ 0x6c6f_7374);
    let all = (1..=CLIENTS).flat_map(|n| WRITES.map(|write| (ClientId(n), write)));
    let lost = all.filter(|_| dice.random_bool(0.25));
    lost.map(|(client, write)| OpMatcher::new(Service::DynamoDb, "UpdateItem").containing(write).of(client)).collect()
}

/// Bad weather: a little of everything, or much of one thing.
fn weather(dice: &mut StdRng) -> Weather {
    let mut faults = Weather::calm();
    match dice.random_range(0..6) {
        0 => faults = Weather::each(dice.random_range(0.01..0.08)),
        1 => faults.kinesis = ServiceFaults { throttle: 0.8, ..ServiceFaults::calm() },
        2 => faults.s3 = ServiceFaults { fail: 0.3, lose_reply: 0.3, ..ServiceFaults::calm() },
        3 => faults.dynamodb = ServiceFaults { lose_reply: 0.3, delay: 0.1, ..ServiceFaults::calm() },
        // Cut off from the lease table.
        4 => faults.dynamodb = ServiceFaults { hang_before: 1.0, ..ServiceFaults::calm() },
        _ => faults.conflict = 0.5,
    }
    faults
}

/// What loads meet as long as the storm lasts: one thing, or a little of everything; and now and then a transaction is
/// ended from outside.
fn load_weather(dice: &mut StdRng) -> (ServiceFaults, f64) {
    let calm = ServiceFaults::calm();
    match dice.random_range(0..6) {
        0 => (ServiceFaults::each(0.05), 0.1),
        1 => (ServiceFaults { lose_reply: 0.3, ..calm }, 0.1),
        // Late enough for another load to have been first.
        2 => (ServiceFaults { delay: 0.3, delay_ms: (1_000, 20_000), ..calm }, 0.1),
        3 => (ServiceFaults { fail: 0.3, throttle: 0.1, ..calm }, 0.1),
        4 => (ServiceFaults { hang_after: 0.1, hang_before: 0.1, ..calm }, 0.4),
        _ => (calm, 0.1),
    }
}

/// What a transaction meets. The second one that fails does so without an answer.
fn load_fault(dice: &mut StdRng, nth: usize) -> Fault {
    match LOAD_FAULTS[dice.random_range(0..LOAD_FAULTS.len())] {
        Fault::Error if nth > 0 => Fault::Reset,
        fault => fault,
    }
}

/// What the loader does to itself.
fn load_plan(dice: &mut StdRng) -> String {
    let (nth, point) = (dice.random_range(1..4), LOADER_POINTS[dice.random_range(0..LOADER_POINTS.len())]);
    match dice.random_range(0..9) {
        0 => format!("{point}=panic@{nth}"),
        1 | 2 => format!("{point}=abort@{nth}"),
        3 => format!("loader.sending=hang@{nth}"),
        _ => String::new(),
    }
}

/// What a worker does to itself.
fn plan(dice: &mut StdRng) -> String {
    let nth = dice.random_range(1..12);
    match dice.random_range(0..10) {
        0..3 => {
            let point = POINTS[dice.random_range(0..POINTS.len())];
            format!("{point}=abort@{nth}")
        }
        3..5 => {
            let point = POINTS[dice.random_range(0..POINTS.len())];
            format!("{point}=panic@{nth}")
        }
        5..7 => format!("sensor.row=panic@{}", nth * 20),
        7 => format!("reader.page=hang@{}", nth * 4),
        _ => String::new(),
    }
}
