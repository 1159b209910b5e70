//! Named crash points, for tests and chaos runs. Compiled to nothing without the feature `fault-points`.
//!
//! A plan is text: `point[detail]=action@n`, joined by `;`. `action` is `panic` (the actor dies) or `abort` (the process
//! dies as by SIGKILL: no destructor runs). `@n` picks the n-th time the point is reached, 1 if left out. Without
//! `[detail]` every detail counts. Example: `committer.prepared=abort@2;sensor.row[s-000001]=panic@10`.

/// The named points, in the order in which an epoch passes them.
pub const POINTS: [&str; 7] = [
    "sensor.row",
    "committer.planned",
    "committer.prepared",
    "sinks.object",
    "sinks.manifest",
    "committer.uploaded",
    "committer.committed",
];

/// A plan of faults cannot be read.
#[derive(Debug, thiserror::Error)]
#[error(
    "fault plan {0:?}: expected point=panic or point=abort, optionally point[detail] and @n, with a point of {POINTS:?}"
)]
pub struct BadFaultPlan(String);

#[cfg(feature = "fault-points")]
mod enabled {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::{BadFaultPlan, POINTS};

    #[derive(Debug)]
    struct Fault {
        point: String,
        detail: Option<String>,
        abort: bool,
        at: u64,
        hits: AtomicU64,
    }

    /// The faults to inject.
    #[derive(Clone, Debug, Default)]
    pub struct Faults(Arc<Vec<Fault>>);

    impl Faults {
        /// No faults.
        pub fn none() -> Self {
            Self::default()
        }

        /// Reads a plan.
        pub fn parse(plan: &str) -> Result<Self, BadFaultPlan> {
            let parts = plan.split(';').map(str::trim).filter(|part| !part.is_empty());
            let faults = parts.map(|part| fault(part).ok_or_else(|| BadFaultPlan(part.to_owned())));
            Ok(Self(Arc::new(faults.collect::<Result<_, _>>()?)))
        }

        /// The point is reached: dies here if the plan says so.
        pub fn hit(&self, point: &str, detail: &str) {
            for fault in self.0.iter() {
                let matches = fault.point == point && fault.detail.as_deref().is_none_or(|d| d == detail);
                if matches && fault.hits.fetch_add(1, Ordering::Relaxed) + 1 == fault.at {
                    if fault.abort {
                        std::process::abort();
                    }
                    panic!("injected fault at {point}");
                }
            }
        }
    }

    fn fault(part: &str) -> Option<Fault> {
        let (left, right) = part.split_once('=')?;
        let (action, at) = right.split_once('@').unwrap_or((right, "1"));
        let (point, detail) = match left.split_once('[') {
            Some((point, rest)) => (point, Some(rest.strip_suffix(']')?.to_owned())),
            None => (left, None),
        };
        let abort = match action {
            "abort" => true,
            "panic" => false,
            _ => return None,
        };
        let known = POINTS.contains(&point);
        let at = at.parse().ok().filter(|n| *n > 0)?;
        known.then(|| Fault { point: point.to_owned(), detail, abort, at, hits: AtomicU64::new(0) })
    }
}

#[cfg(not(feature = "fault-points"))]
mod enabled {
    use super::BadFaultPlan;

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
        assert!(std::panic::catch_unwind(|| faults.hit("sensor.row", "a")).is_err());
        faults.hit("sensor.row", "a");
    }

    #[test]
    fn a_wrong_plan_is_refused() {
        for plan in ["nowhere=panic", "sensor.row=explode", "sensor.row", "sensor.row=panic@0"] {
            assert!(Faults::parse(plan).is_err(), "{plan}");
        }
    }
}
