//! Named crash points and mutants, for tests and chaos runs. Compiled to nothing without the feature `fault-points`.
//!
//! A plan is text: `point[detail]=action@n`, joined by `;`. `action` is `panic` (the actor dies) or `abort` (the process
//! dies as by SIGKILL: no destructor runs); at points where an actor can wait also `hang`: it never goes on. `@n` picks the n-th time the point is reached, 1 if left out. Without
//! `[detail]` every detail counts. Example: `committer.prepared=abort@2;sensor.row[s-000001]=panic@10`.
//!
//! `mutant=name` switches a safety mechanism off ([`Mechanism`]).

mod mechanism;

pub use self::mechanism::Mechanism;

/// The named points, in the order in which a shard and its epochs pass them.
pub const POINTS: [&str; 15] = [
    "lease.taken",
    "lease.advanced",
    "recovery.states",
    "reader.page",
    "sensor.row",
    "sensors.cut",
    "sinks.sealed",
    "committer.planned",
    "committer.prepared",
    "sinks.claimed",
    "sinks.object",
    "sinks.manifest",
    "committer.uploaded",
    "committer.committed",
    "committer.released",
];

/// The named points of a load, in the order in which a loader passes them.
pub const LOADER_POINTS: [&str; 9] = [
    "loader.taken",
    "loader.describing",
    "loader.described",
    "loader.listed",
    "loader.manifest",
    "loader.sending",
    "loader.sent",
    "loader.refusing",
    "loader.released",
];

/// A plan of faults cannot be read.
#[derive(Debug, thiserror::Error)]
#[error(
    "fault plan {0:?}: expected point=panic, point=abort or point=hang, optionally point[detail] and @n, or mutant=name; \
     points:\n    {points}\n    {loader}",
    points = POINTS.join(" "),
    loader = LOADER_POINTS.join(" ")
)]
pub struct BadFaultPlan(String);

#[cfg(feature = "fault-points")]
mod enabled {
    use std::fmt;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use super::{BadFaultPlan, LOADER_POINTS, Mechanism, POINTS};

    #[derive(Debug)]
    struct Fault {
        point: String,
        detail: Option<String>,
        action: Action,
        at: u64,
        hits: AtomicU64,
    }

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Action {
        Panic,
        Abort,
        Hang,
    }

    #[derive(Default)]
    struct Plan {
        faults: Vec<Fault>,
        off: Option<Mechanism>,
        on_abort: Option<Box<dyn Fn() + Send + Sync>>,
        disarmed: AtomicBool,
        struck: AtomicU64,
    }

    /// The faults to inject.
    #[derive(Clone, Default)]
    pub struct Faults(Arc<Plan>);

    impl fmt::Debug for Faults {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Faults").field("faults", &self.0.faults).field("off", &self.0.off).finish_non_exhaustive()
        }
    }

    impl Faults {
        /// No faults.
        pub fn none() -> Self {
            Self::default()
        }

        /// Reads a plan.
        pub fn parse(plan: &str) -> Result<Self, BadFaultPlan> {
            Ok(Self(Arc::new(read(plan)?)))
        }

        /// Reads a plan whose `abort` calls this function instead of ending the process: for a simulation, where a
        /// process is a part of one. Its worker must have no effect from then on.
        pub fn simulated(plan: &str, on_abort: impl Fn() + Send + Sync + 'static) -> Result<Self, BadFaultPlan> {
            Ok(Self(Arc::new(Plan { on_abort: Some(Box::new(on_abort)), ..read(plan)? })))
        }

        /// The point is reached: dies here if the plan says so.
        pub fn hit(&self, point: &str, detail: &str) {
            self.strike(point, detail);
        }

        /// The same at a point where the actor can wait: it may also hang there.
        pub async fn reach(&self, point: &str, detail: &str) {
            if self.strike(point, detail) {
                std::future::pending::<()>().await;
            }
        }

        /// How many faults have struck.
        pub fn struck(&self) -> u64 {
            self.0.struck.load(Ordering::Relaxed)
        }

        /// Nothing strikes from now on. A mutant stays one.
        pub fn disarm(&self) {
            self.0.disarmed.store(true, Ordering::Relaxed);
        }

        /// True if the actor is to hang.
        fn strike(&self, point: &str, detail: &str) -> bool {
            let mut hangs = false;
            if self.0.disarmed.load(Ordering::Relaxed) {
                return false;
            }
            for fault in &self.0.faults {
                let matches = fault.point == point && fault.detail.as_deref().is_none_or(|d| d == detail);
                if matches && fault.hits.fetch_add(1, Ordering::Relaxed) + 1 == fault.at {
                    self.0.struck.fetch_add(1, Ordering::Relaxed);
                    match (fault.action, &self.0.on_abort) {
                        (Action::Abort, Some(on_abort)) => on_abort(),
                        (Action::Abort, None) => std::process::abort(),
                        (Action::Panic, _) => panic!("injected fault at {point}"),
                        (Action::Hang, _) => hangs = true,
                    }
                }
            }
            hangs
        }

        /// Whether a mutant lacks this mechanism.
        pub fn lacks(&self, mechanism: Mechanism) -> bool {
            self.0.off == Some(mechanism)
        }
    }

    fn read(plan: &str) -> Result<Plan, BadFaultPlan> {
        let mut read = Plan::default();
        for part in plan.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let bad = || BadFaultPlan(part.to_owned());
            match part.strip_prefix("mutant=") {
                Some(name) => read.off = Some(Mechanism::of_mutant(name).ok_or_else(bad)?),
                None => read.faults.push(fault(part).ok_or_else(bad)?),
            }
        }
        Ok(read)
    }

    fn fault(part: &str) -> Option<Fault> {
        let (left, right) = part.split_once('=')?;
        let (action, at) = right.split_once('@').unwrap_or((right, "1"));
        let (point, detail) = match left.split_once('[') {
            Some((point, rest)) => (point, Some(rest.strip_suffix(']')?.to_owned())),
            None => (left, None),
        };
        let action = match action {
            "abort" => Action::Abort,
            "panic" => Action::Panic,
            "hang" => Action::Hang,
            _ => return None,
        };
        let known = POINTS.contains(&point) || LOADER_POINTS.contains(&point);
        let at = at.parse().ok().filter(|n| *n > 0)?;
        known.then(|| Fault { point: point.to_owned(), detail, action, at, hits: AtomicU64::new(0) })
    }
}

#[cfg(not(feature = "fault-points"))]
mod enabled {
    use super::{BadFaultPlan, Mechanism};

    /// No faults: this build has no crash points.
    #[derive(Clone, Debug, Default)]
    pub struct Faults;

    impl Faults {
        /// No faults.
        pub fn none() -> Self {
            Self
        }

        /// Refuses any plan but the empty one.
        pub fn parse(plan: &str) -> Result<Self, BadFaultPlan> {
            if plan.trim().is_empty() { Ok(Self) } else { Err(BadFaultPlan(plan.to_owned())) }
        }

        /// Does nothing.
        #[inline(always)]
        pub fn hit(&self, _point: &str, _detail: &str) {}

        /// Does nothing.
        #[inline(always)]
        pub async fn reach(&self, _point: &str, _detail: &str) {}

        /// None.
        pub fn struck(&self) -> u64 {
            0
        }

        /// Does nothing.
        pub fn disarm(&self) {}

        /// Never: this build has no mutants.
        #[inline(always)]
        pub fn lacks(&self, _mechanism: Mechanism) -> bool {
            false
        }
    }
}

pub use enabled::Faults;

#[cfg(all(test, feature = "fault-points"))]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_once_at_its_turn() {
        let faults = Faults::parse("sensor.row[a]=panic@2").unwrap();
        faults.hit("sensor.row", "a");
        faults.hit("sensor.row", "b");
        let strike = std::panic::AssertUnwindSafe(|| faults.hit("sensor.row", "a"));
        assert!(std::panic::catch_unwind(strike).is_err());
        faults.hit("sensor.row", "a");
    }

    #[test]
    fn a_wrong_plan_is_refused() {
        for plan in ["nowhere=panic", "sensor.row=explode", "sensor.row", "sensor.row=panic@0", "mutant=none"] {
            assert!(Faults::parse(plan).is_err(), "{plan}");
        }
    }

    #[test]
    fn a_simulated_abort_does_not_end_the_process() {
        let aborted = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let seen = aborted.clone();
        let faults =
            Faults::simulated("reader.page=abort", move || seen.store(true, std::sync::atomic::Ordering::SeqCst));
        faults.unwrap().hit("reader.page", "0");
        assert!(aborted.load(std::sync::atomic::Ordering::SeqCst));
    }

    #[test]
    fn every_mutant_has_its_own_name() {
        for mechanism in Mechanism::ALL {
            let faults = Faults::parse(&format!("mutant={}", mechanism.mutant())).unwrap();
            assert!(Mechanism::ALL.iter().all(|other| faults.lacks(*other) == (other == mechanism)));
        }
    }
}
