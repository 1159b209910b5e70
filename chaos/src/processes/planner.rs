//! Which fault comes next.
//!
//! **Owns** the random numbers of the run: one stream chooses the faults, another one what they hit, so that the faults
//! of a seed are the same whatever the processes do.
//! **Promises** every fault comes up once before any comes up again as often; splits and a merge come early.
//! **Fails** never: what cannot be done now is passed over.
//! **Not here**: doing it (`driver.rs`).

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

/// Shards that may be open.
pub(super) const SHARDS_MAX: usize = 8;
pub(super) const SHARDS_MIN: usize = 3;

const SHARD_ACTORS: [&str; 5] = ["reader", "sensors", "aggregator", "sinks", "committer"];
const WORKER_ACTORS: [&str; 3] = ["leases", "shards", "alerts"];
const SERVICES: [&str; 4] = ["kinesis", "dynamodb", "s3", WAREHOUSE];
/// The last of the services; not every run has one.
const WAREHOUSE: &str = "redshift";
/// In every bag of a run with a warehouse: its loader is killed, and it misbehaves.
pub(super) const LOADER: &str = "loader";
const KINDS: [&str; 5] = ["throttle", "error", "lose_reply", "delay", "timeout_before"];
/// Faults of windows in every bag: they are one kind of many.
const WINDOWS: usize = 5;
/// A short run has to have these: place in the run and fault.
const FORCED: [(usize, Fault); 4] =
    [(1, Fault::Split), (2, Fault::WorkerActor(LOADER)), (3, Fault::Split), (6, Fault::Merge)];
/// How long `timeout_before` keeps a caller waiting: longer than the callers' patience of 5 s.
const SILENCE_MS: u64 = 6_000;

/// Something that is broken.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fault {
    /// SIGKILL of a worker, and a new one a little later.
    Kill,
    /// SIGSTOP for longer than the others wait, then SIGCONT.
    Pause,
    /// SIGTERM of a worker, and a new one when it has ended.
    Terminate,
    /// An actor of a shard is killed.
    ShardActor(&'static str),
    /// An actor of a whole worker is killed.
    WorkerActor(&'static str),
    /// A sensor's actor is killed.
    Sensor,
    /// A shard is split.
    Split,
    /// Two shards are merged.
    Merge,
    /// A service misbehaves for some seconds.
    Window(Window),
}

/// How a service misbehaves.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Window {
    pub(super) service: &'static str,
    pub(super) kind: &'static str,
    pub(super) probability: f64,
    pub(super) delay_ms: Option<u64>,
    pub(super) seed: u64,
}

/// What can be done now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Situation {
    /// Whether a worker can be done without.
    pub(super) spare_worker: bool,
    /// Shards that are open.
    pub(super) open_shards: usize,
}

/// The plan of a run.
#[derive(Debug)]
pub(super) struct Planner {
    faults: StdRng,
    targets: StdRng,
    warehouse: bool,
    bag: Vec<Fault>,
    n: usize,
}

impl Fault {
    /// As it is counted.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Kill => "worker_kill".to_owned(),
            Self::Pause => "worker_pause".to_owned(),
            Self::Terminate => "worker_terminate".to_owned(),
            Self::ShardActor(name) | Self::WorkerActor(name) => format!("actor_{name}"),
            Self::Sensor => "actor_sensor".to_owned(),
            Self::Split => "split".to_owned(),
            Self::Merge => "merge".to_owned(),
            Self::Window(window) => format!("{}_{}", window.service, window.kind),
        }
    }

    fn is_possible(&self, situation: Situation) -> bool {
        match self {
            Self::Kill | Self::Pause | Self::Terminate => situation.spare_worker,
            Self::Split => situation.open_shards < SHARDS_MAX,
            Self::Merge => situation.open_shards > SHARDS_MIN,
            Self::ShardActor(_) | Self::WorkerActor(_) | Self::Sensor | Self::Window(_) => true,
        }
    }
}

impl Planner {
    pub(super) fn new(seed: u64, warehouse: bool) -> Self {
        let (faults, targets) = (StdRng::seed_from_u64(seed), StdRng::seed_from_u64(!seed));
        Self { faults, targets, warehouse, bag: Vec::new(), n: 0 }
    }

    /// The next fault.
    pub(super) fn next(&mut self, situation: Situation) -> Fault {
        let forced = FORCED.iter().find(|(place, _)| *place == self.n).map(|(_, fault)| fault.clone());
        self.n += 1;
        let has = |fault: &Fault| self.warehouse || *fault != Fault::WorkerActor(LOADER);
        if let Some(fault) = forced.filter(|fault| has(fault) && fault.is_possible(situation)) {
            return fault;
        }
        if self.bag.is_empty() {
            self.fill();
        }
        match self.bag.iter().rposition(|fault| fault.is_possible(situation)) {
            Some(place) => self.bag.remove(place),
            // A window can be opened at any time.
            None => Fault::Window(self.window()),
        }
    }

    /// One of these.
    pub(super) fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.targets.random_range(0..from.len())].clone())
    }

    /// A number below this.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.targets.random_range(0..end.max(1))
    }

    fn fill(&mut self) {
        let twice = [Fault::Kill, Fault::Pause, Fault::Terminate];
        self.bag.extend(twice.iter().cloned().chain(twice.iter().cloned()));
        self.bag.extend(SHARD_ACTORS.map(Fault::ShardActor));
        self.bag.extend(WORKER_ACTORS.map(Fault::WorkerActor));
        self.bag.extend([Fault::Sensor, Fault::Split, Fault::Merge]);
        for _ in 0..WINDOWS {
            let window = self.window();
            self.bag.push(Fault::Window(window));
        }
        if self.warehouse {
            self.bag.extend([Fault::WorkerActor(LOADER), Fault::WorkerActor(LOADER)]);
            let window = self.window();
            self.bag.push(Fault::Window(Window { service: WAREHOUSE, ..window }));
        }
        self.bag.shuffle(&mut self.faults);
    }

    fn window(&mut self) -> Window {
        let rng = &mut self.faults;
        let kind = KINDS[rng.random_range(0..KINDS.len())];
        let delay_ms = match kind {
            "delay" => Some(rng.random_range(200..1_500)),
            "timeout_before" => Some(SILENCE_MS),
            _ => None,
        };
        let service = SERVICES[rng.random_range(0..SERVICES.len() - usize::from(!self.warehouse))];
        Window { service, kind, probability: rng.random_range(0.05..0.3), delay_ms, seed: rng.random_range(0..1 << 32) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const CALM: Situation = Situation { spare_worker: true, open_shards: 4 };

    fn names(seed: u64, n: usize) -> Vec<String> {
        let mut planner = Planner::new(seed, true);
        (0..n).map(|_| planner.next(CALM).name()).collect()
    }

    #[test]
    fn a_seed_is_a_plan() {
        assert_eq!(names(7, 60), names(7, 60));
        assert_ne!(names(7, 60), names(8, 60));
    }

    #[test]
    fn everything_comes_up() {
        let names: BTreeSet<String> = names(7, 60).into_iter().collect();
        for name in [
            "worker_kill",
            "worker_pause",
            "worker_terminate",
            "actor_leases",
            "actor_committer",
            "actor_sensor",
            "actor_loader",
        ] {
            assert!(names.contains(name), "{name}: {names:?}");
        }
    }

    #[test]
    fn a_run_without_a_warehouse_breaks_none() {
        let mut planner = Planner::new(7, false);
        let names: Vec<String> = (0..200).map(|_| planner.next(CALM).name()).collect();
        assert!(!names.iter().any(|name| name.contains(LOADER) || name.starts_with(WAREHOUSE)), "{names:?}");
    }

    #[test]
    fn a_short_run_splits_twice_and_merges_once() {
        for seed in 0..20 {
            let names = names(seed, 8);
            let count = |what: &str| names.iter().filter(|name| *name == what).count();
            assert!(count("split") >= 2 && count("merge") >= 1, "{names:?}");
        }
    }

    #[test]
    fn the_last_worker_is_left_alone() {
        let mut planner = Planner::new(7, true);
        for _ in 0..100 {
            let fault = planner.next(Situation { spare_worker: false, open_shards: SHARDS_MAX });
            assert!(!matches!(fault, Fault::Kill | Fault::Pause | Fault::Terminate | Fault::Split), "{fault:?}");
        }
    }
}
