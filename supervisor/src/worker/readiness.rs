//! Whether data flows, and if not, what stands in its way, and since when.
//!
//! **Promises** a shard that has failed is remembered until it works again (`actors/src/shard/outcome.rs`): what is
//! said does not depend on the moment at which somebody asks. No service is asked: a probe must not cost a request.
//! Every check that does not hold has a beginning.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actors::node::NodeState;
use actors::ports::clock::Clock;
use actors::shard::{Failing, FailureStreak};

use super::figures;
use super::start::Starting;
use crate::leases::{LeaseFigures, LeaseFinding};
use crate::ops::{Check, Readiness};
use crate::owned::Owned;
use crate::shard::Shard;
use crate::supervision::tree::Tree;

/// What has not worked for this long does not work.
pub(super) const SILENCE_MS_MAX: i64 = 30_000;

/// Everything that is looked at.
#[derive(Clone, Debug)]
pub(super) struct ReadinessSources {
    pub(super) starting: Arc<Starting>,
    pub(super) owned: Owned,
    pub(super) tree: Tree,
    pub(super) leases: Arc<LeaseFigures>,
    pub(super) clock: Clock,
    /// An epoch ends by this age.
    pub(super) age_max: Duration,
}

pub(super) fn readiness(sources: ReadinessSources) -> Readiness {
    let begun = Arc::new(Mutex::new(BTreeMap::new()));
    Arc::new(move || {
        let now_ms = sources.clock.now_ms();
        let mut checks = sources.checks(now_ms);
        date(&mut checks, &mut begun.lock().unwrap_or_else(PoisonError::into_inner), now_ms);
        Box::pin(async move { checks })
    })
}

/// Gives those that do not hold the time since when somebody has found them so, unless they know it themselves.
fn date(checks: &mut [Check], begun: &mut BTreeMap<String, i64>, now_ms: i64) {
    begun.retain(|name, _| checks.iter().any(|check| !check.ok && check.name == *name));
    for check in checks.iter_mut().filter(|check| !check.ok && check.since_ms.is_none()) {
        check.since_ms = Some(*begun.entry(check.name.clone()).or_insert(now_ms));
    }
}

impl ReadinessSources {
    fn checks(&self, now_ms: i64) -> Vec<Check> {
        let mut checks = Vec::new();
        if !self.starting.has_begun() {
            checks.push(self.begun());
        }
        let owned = self.owned.all();
        checks.extend(owned.iter().flat_map(|shard| self.of_shard(shard, now_ms)));
        checks.push(table(self.leases.seen().at_ms, now_ms));
        // What works here again is told by its own checks.
        let works_here = |finding: &LeaseFinding| match finding {
            LeaseFinding::GivenUp(shard) => owned.iter().any(|owned| owned.context.shard == *shard),
            _ => false,
        };
        let findings = self.leases.findings().into_iter().filter(|(finding, _)| !works_here(finding));
        checks.extend(findings.map(of_finding));
        let down = self.tree.nodes().into_iter().filter(|node| node.state() != NodeState::Running);
        checks.extend(down.map(|node| {
            let error = node.last_error();
            let why = error.as_ref().map_or_else(|| "starting".to_owned(), |error| error.message.clone());
            Check { since_ms: error.map(|error| error.at_ms), ..Check::fails(node.path.clone(), why) }
        }));
        checks
    }

    fn begun(&self) -> Check {
        let waits = self.starting.waits();
        let why = waits.as_ref().map_or_else(
            || "its services are being reached".to_owned(),
            |held| format!("{} (try {})", held.cause, held.attempts),
        );
        Check { since_ms: waits.map(|held| held.since_ms), ..Check::fails("the worker has begun", why) }
    }

    fn of_shard(&self, shard: &Shard, now_ms: i64) -> [Check; 3] {
        let (short, outcome) = (shard.context.shard.short(), &shard.context.outcome);
        let (failure, waits) = (outcome.failure(now_ms), outcome.waits_since_ms());
        let (unstored, broken) = match failure {
            Some(failure) if failure.failing == Failing::Storing => (Some(failure), None),
            failure => (None, failure),
        };
        let stored = format!("shard {short} is stored");
        let age_ms_max = self.age_max.as_millis() as i64 + SILENCE_MS_MAX;
        let overdue = waits.filter(|since_ms| now_ms.saturating_sub(*since_ms) > age_ms_max);
        let stored = match (unstored, overdue) {
            (Some(failure), _) => of_failure(stored, &failure),
            (None, Some(since_ms)) => {
                let waited_s = now_ms.saturating_sub(since_ms) / 1000;
                let why = format!("records have waited for {waited_s} s to be committed");
                Check { since_ms: Some(since_ms), ..Check::fails(stored, why) }
            }
            (None, None) => Check::holds(stored),
        };
        let works = format!("shard {short} works here");
        let works = broken.map_or_else(|| Check::holds(works.clone()), |failure| of_failure(works.clone(), &failure));
        [read(shard, now_ms), stored, works]
    }
}

fn read(shard: &Shard, now_ms: i64) -> Check {
    let figures = &shard.context.figures;
    let name = format!("shard {} is read", shard.context.shard.short());
    if figures::is_read(figures, now_ms) {
        return Check::holds(name);
    }
    let holds = figures.holds();
    let cause = holds.starting.or(holds.reading).map(|held| format!(": {}", held.cause)).unwrap_or_default();
    match figures.read_at_ms() {
        0 => Check::fails(name, format!("not read yet{cause}")),
        at_ms => {
            let why = format!("last read {} s ago{cause}", now_ms.saturating_sub(at_ms) / 1000);
            Check { since_ms: Some(at_ms), ..Check::fails(name, why) }
        }
    }
}

fn of_failure(name: String, failure: &FailureStreak) -> Check {
    let why = format!("{} ({} failed since it last worked)", failure.cause, failure.failures);
    Check { since_ms: Some(failure.since_ms), ..Check::fails(name, why) }
}

fn table(seen_ms: i64, now_ms: i64) -> Check {
    let name = "the lease table is read";
    // Before the first look the worker has not begun.
    let silent_ms = if seen_ms == 0 { 0 } else { now_ms.saturating_sub(seen_ms) };
    if silent_ms < SILENCE_MS_MAX {
        return Check::holds(name);
    }
    Check { since_ms: Some(seen_ms), ..Check::fails(name, format!("last read {} s ago", silent_ms / 1000)) }
}

fn of_finding((finding, why): (LeaseFinding, String)) -> Check {
    let name = match finding {
        LeaseFinding::Fenced => "the lease table can be written".to_owned(),
        LeaseFinding::GivenUp(shard) => format!("shard {} works here", shard.short()),
        LeaseFinding::Trimmed(shard) => format!("shard {} was read in time", shard.short()),
        LeaseFinding::Orphan(shard) => format!("shard {} has a lease", shard.short()),
        LeaseFinding::Disagrees(shard) => format!("the lease of shard {} agrees with the bucket", shard.short()),
        LeaseFinding::OtherStream => "the stream is the one that the leases are of".to_owned(),
        LeaseFinding::Unproven => "the worker has shown that it can commit".to_owned(),
    };
    Check::fails(name, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Its actors have been started, and its leases have not looked at the table: nothing is wrong, and nothing is known.
    #[test]
    fn a_worker_that_has_begun_and_looked_at_nothing_is_not_ready() {
        let sources = ReadinessSources {
            starting: Arc::default(),
            owned: Owned::default(),
            tree: Tree::new(10),
            leases: Arc::new(LeaseFigures::new()),
            clock: Clock::system(),
            age_max: Duration::from_secs(10),
        };
        sources.starting.begun();
        let failing: Vec<Check> = sources.checks(1_000).into_iter().filter(|check| !check.ok).collect();
        assert_eq!(failing.len(), 1, "{failing:?}");
        assert!(failing[0].name.contains("can commit") && failing[0].why.contains("not tried"), "{failing:?}");
    }

    #[test]
    fn what_does_not_hold_has_a_beginning_and_an_end() {
        let mut begun = BTreeMap::new();
        let at = |ok, now_ms, begun: &mut BTreeMap<String, i64>| {
            let mut checks = [if ok { Check::holds("a") } else { Check::fails("a", "no") }];
            date(&mut checks, begun, now_ms);
            checks[0].since_ms
        };
        assert_eq!(at(false, 10, &mut begun), Some(10));
        assert_eq!(at(false, 20, &mut begun), Some(10));
        assert_eq!(at(true, 30, &mut begun), None);
        assert!(begun.is_empty());
        assert_eq!(at(false, 40, &mut begun), Some(40));
    }
}
