//! What is wrong, since when, and where to look: in words, the root before what follows from it.
//!
//! **Promises** a function of what was looked at; every finding names the runbook that says what to do.
//! **Not here**: paging. The alert rules do that, from the metrics; this is for whoever has opened the page.

use actors::alerts::AlertOutcome;
use actors::node::NodeState;
use serde::Serialize;

use super::sampler::Sampler;
use super::shards::{LAG_MS_MAX, ShardLine, ShardState};
use super::status::{OwnedStatus, WorkerStatus};
use super::words;
use crate::leases::LeaseFinding;
use crate::supervision::history::{FailureOutcome, FailureRecord};
use crate::supervision::tree::ListedNode;

/// The lease table is looked at several times a second; older than this it cannot be reached.
const TABLE_MS_MAX: i64 = 5_000;
/// A worker that begins has this long to show that it can commit.
const UNPROVEN_MS: i64 = 15_000;
/// A restart is worth a word for this long.
const RESTART_MS: i64 = 300_000;
/// Quarantined readings above this share of the last epochs.
const QUARANTINE_SHARE: f64 = 0.2;
const QUARANTINE_READINGS_MIN: u64 = 100;
/// A load that fails once is tried again, and nobody need know.
const LOAD_FAILURES_MIN: u64 = 2;
/// An epoch that was put aside is worth a word for this long: whether somebody has loaded it since, only the warehouse
/// knows.
const PUT_ASIDE_MS: i64 = 3_600_000;
/// States that are so many times as old as they should get at most: at two they may expire.
const STATES_LATE: f64 = 1.5;
/// Findings of one kind are counted beyond this.
const SAME_MAX: usize = 8;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Level {
    /// All is well.
    Ok,
    /// Worth a look.
    Notice,
    /// Look at it today.
    Warning,
    /// Look at it now.
    Critical,
}

/// Something that is wrong.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Finding {
    pub(super) level: Level,
    /// One sentence.
    pub(super) what: String,
    pub(super) since_ms: i64,
    /// Which view of the page shows more: `shards`, `tree`, `alerts`, `cluster`.
    pub(super) view: &'static str,
    /// What to look at there: a shard, a path, a worker.
    pub(super) at: Option<String>,
    /// The file in docs/runbooks, without its ending.
    pub(super) runbook: &'static str,
}

/// The whole in one sentence, and everything that is wrong, the worst first.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Diagnosis {
    pub(super) level: Level,
    pub(super) sentence: String,
    /// What keeps the flow from being faster; none while it keeps up.
    pub(super) bottleneck: Option<String>,
    pub(super) findings: Vec<Finding>,
}

/// What was looked at.
pub(super) struct Observed<'a> {
    pub(super) status: &'a WorkerStatus,
    pub(super) listed: &'a [ListedNode],
    pub(super) failures: &'a [FailureRecord],
    pub(super) shards: &'a [ShardLine],
    pub(super) sampler: &'a Sampler,
}

pub(super) fn diagnosis(evidence: &Observed<'_>) -> Diagnosis {
    let mut findings = Vec::new();
    evidence.of_start(&mut findings);
    evidence.of_leases(&mut findings);
    evidence.of_trial(&mut findings);
    findings.extend(super::keys::findings(&evidence.status.keys, || evidence.since("keys")));
    evidence.of_actors(&mut findings);
    evidence.of_shards(&mut findings);
    evidence.of_workers(&mut findings);
    evidence.of_alerts(&mut findings);
    evidence.of_quarantine(&mut findings);
    evidence.of_limits(&mut findings);
    evidence.of_states(&mut findings);
    evidence.of_paths(&mut findings);
    evidence.of_warehouse(&mut findings);
    // The worst first, and of the equally bad the oldest: what came first is more likely the cause.
    findings.sort_by_key(|finding| (std::cmp::Reverse(finding.level), finding.since_ms));
    let level = findings.first().map_or(Level::Ok, |worst| worst.level);
    let sentence = match findings.as_slice() {
        [] => evidence.all_well(),
        [one] => one.what.clone(),
        [worst, rest @ ..] => format!("{} And {} more.", worst.what, words::count(rest.len(), "finding")),
    };
    Diagnosis { level, sentence, bottleneck: evidence.bottleneck(), findings }
}

impl Observed<'_> {
    fn since(&self, key: &str) -> i64 {
        self.sampler.since(key, self.status.at_ms)
    }

    fn of_start(&self, findings: &mut Vec<Finding>) {
        let Some(held) = &self.status.waits else { return };
        let what = format!("This worker cannot begin, and goes on trying: {} (try {}).", held.cause, held.attempts);
        let (since_ms, view, runbook) = (held.since_ms, "cluster", "MangroveWorkerDown");
        findings.push(Finding { level: Level::Critical, what, since_ms, view, at: None, runbook });
    }

    /// A worker that does not come to prove itself.
    fn of_trial(&self, findings: &mut Vec<Finding>) {
        let unproven = self.status.lease_findings.iter().find(|(finding, _)| *finding == LeaseFinding::Unproven);
        let Some((_, why)) = unproven else { return };
        let since_ms = self.since("unproven");
        if self.status.at_ms - since_ms > UNPROVEN_MS {
            let what = format!("This worker takes no shards from others yet: {why}.");
            let (level, view, runbook) = (Level::Warning, "cluster", "MangroveActorGivenUp");
            findings.push(Finding { level, what, since_ms, view, at: None, runbook });
        }
    }

    fn of_leases(&self, findings: &mut Vec<Finding>) {
        let mut add = |what: String, runbook| {
            let since_ms = self.since(runbook);
            findings.push(Finding { level: Level::Critical, what, since_ms, view: "cluster", at: None, runbook });
        };
        if let Some((_, why)) = self.status.lease_findings.iter().find(|(finding, _)| *finding == LeaseFinding::Fenced)
        {
            add(format!("This worker has fenced itself and reads nothing: {why}."), "MangroveFenced");
        }
        if let Some((_, why)) =
            self.status.lease_findings.iter().find(|(finding, _)| *finding == LeaseFinding::OtherStream)
        {
            add(format!("The stream is another one now, and nothing of it is read: {why}."), "MangroveLeaseDisagrees");
        }
        let age_ms = self.status.at_ms - self.status.seen.at_ms;
        // Who has drained no longer looks.
        if self.status.seen.at_ms > 0 && age_ms > TABLE_MS_MAX && !self.status.seen.leaving {
            let what = format!("The lease table has not been read for {}.", words::duration(age_ms));
            add(what, "MangroveLeaseTableUnreachable");
        }
    }

    fn of_actors(&self, findings: &mut Vec<Finding>) {
        for listed in self.listed {
            let node = &listed.node;
            let Some(error) = node.last_error() else { continue };
            let (level, runbook, verb) = match node.state() {
                NodeState::GivenUp => (Level::Critical, "MangroveActorGivenUp", "was given up"),
                NodeState::Restarting => (Level::Warning, "MangroveActorRestarting", "is restarting"),
                _ => continue,
            };
            let (what, at) = (format!("{} {verb}: {}.", node.path, error.message), Some(node.path.clone()));
            findings.push(Finding { level, what, since_ms: error.at_ms, view: "tree", at, runbook });
        }
        let recent = |failure: &&FailureRecord| {
            failure.outcome == FailureOutcome::Restarted && self.status.at_ms - failure.at_ms < RESTART_MS
        };
        let recent: Vec<&FailureRecord> = self.failures.iter().filter(recent).collect();
        if let (Some(last), Some(first)) = (recent.first(), recent.last()) {
            let ago = words::duration(self.status.at_ms - last.at_ms);
            let n = words::count(recent.len(), "restart");
            let what = format!("{n} within five minutes, the last of {} {ago} ago: {}.", last.path, last.cause);
            let at = Some(last.path.clone());
            let (level, runbook) = (Level::Notice, "MangroveActorRestarting");
            findings.push(Finding { level, what, since_ms: first.at_ms, view: "tree", at, runbook });
        }
    }

    fn of_shards(&self, findings: &mut Vec<Finding>) {
        let unhealthy = self.shards.iter().filter_map(|line| Some((line, line.runbook?, line.holds.as_ref()?)));
        for (line, runbook, holds) in unhealthy.take(SAME_MAX) {
            let level = match line.state {
                ShardState::Stuck | ShardState::Unowned | ShardState::GivenUp => Level::Critical,
                ShardState::Trimmed | ShardState::Refused => Level::Critical,
                _ => Level::Warning,
            };
            // For a moment after a release or a start that is as it should be.
            let since_ms = line.since_ms.unwrap_or(self.status.at_ms);
            let young = self.status.at_ms - since_ms < TABLE_MS_MAX;
            if young && matches!(line.state, ShardState::Unowned | ShardState::Starting | ShardState::Held) {
                continue;
            }
            let what = format!("Shard {} is {}: {holds}.", line.shard, state_word(line.state));
            findings.push(Finding { level, what, since_ms, view: "shards", at: Some(line.shard.clone()), runbook });
        }
        let owned = self.status.owned.iter();
        let trimmed = owned.filter_map(|owned| Some((owned.shard.short(), owned.holds.trimmed_since_ms?)));
        for (shard, since_ms) in trimmed.take(SAME_MAX) {
            let what = format!(
                "Shard {shard} is read from the stream's oldest record: the stream no longer holds where it was read up to. If \
                 records came in between, they are lost."
            );
            let (view, at, runbook) = ("shards", Some(shard.to_owned()), "MangroveShardTrimmed");
            findings.push(Finding { level: Level::Warning, what, since_ms, view, at, runbook });
        }
        let damaged =
            self.status.owned.iter().filter_map(|owned| Some((owned, owned.holds.damaged_manifest.as_ref()?)));
        for (owned, key) in damaged.take(SAME_MAX) {
            let shard = owned.shard.short().to_owned();
            let what = format!(
                "The manifest {key} cannot be read: shard {shard} is read on, nothing of it is loaded behind that epoch."
            );
            let (runbook, level) = ("MangroveLeaseDisagrees", Level::Warning);
            let since_ms = self.since(&format!("damaged {key}"));
            findings.push(Finding { level, what, since_ms, view: "shards", at: Some(shard), runbook });
        }
    }

    fn of_workers(&self, findings: &mut Vec<Finding>) {
        for worker in self.status.seen.workers.iter().filter(|worker| !worker.alive && !worker.leaving).take(SAME_MAX) {
            let silent_ms = worker.silent.as_millis() as i64;
            let what = format!("Worker {} has been silent for {}.", worker.id, words::duration(silent_ms));
            let since_ms = self.status.at_ms - silent_ms;
            let (view, at, runbook) = ("cluster", Some(worker.id.clone()), "MangroveWorkerDown");
            findings.push(Finding { level: Level::Warning, what, since_ms, view, at, runbook });
        }
    }

    fn of_alerts(&self, findings: &mut Vec<Finding>) {
        let bad = |outcome| matches!(outcome, AlertOutcome::Retrying | AlertOutcome::GivenUp | AlertOutcome::Shed);
        let failing: Vec<_> = self.status.alerts.iter().filter(|line| bad(line.outcome)).collect();
        if let (Some(last), Some(first)) = (failing.first(), failing.last()) {
            let error = last.error.as_deref().unwrap_or("the queue is full");
            let what =
                format!("{} of the last do not reach every receiver: {error}.", words::count(failing.len(), "alert"));
            let (view, runbook) = ("alerts", "MangroveAlertsFailing");
            findings.push(Finding { level: Level::Warning, what, since_ms: first.raised_ms, view, at: None, runbook });
        }
    }

    fn of_quarantine(&self, findings: &mut Vec<Finding>) {
        let epochs = self.status.owned.iter().flat_map(|owned| owned.epochs.iter().take(3));
        let (bad, all) = epochs.fold((0, 0), |(bad, all), epoch| (bad + epoch.quarantined, all + epoch.readings));
        let share = bad as f64 / (all as f64).max(1.0);
        if all >= QUARANTINE_READINGS_MIN && share > QUARANTINE_SHARE {
            let what = format!("{:.0} % of the last readings are in quarantine.", share * 100.0);
            let (since_ms, runbook) = (self.since("MangroveQuarantineRate"), "MangroveQuarantineRate");
            findings.push(Finding { level: Level::Warning, what, since_ms, view: "shards", at: None, runbook });
        }
    }

    /// What the configuration allows, and the data has used up.
    fn of_limits(&self, findings: &mut Vec<Finding>) {
        let mut add = |what: String, at: Option<String>, since_ms, (view, runbook)| {
            findings.push(Finding { level: Level::Warning, what, since_ms, view, at, runbook });
        };
        if let Some((used, limit)) = self.status.memory.filter(|(used, limit)| used / 9 > limit / 10) {
            let known: u64 = self.status.owned.iter().map(|owned| owned.sensors).sum();
            let (used, limit) = (words::bytes(used), words::bytes(limit));
            let known = words::count(known as usize, "sensor");
            let what =
                format!("The process uses {used} of the {limit} that it may (worker.memory_limit), and knows {known}.");
            add(what, None, self.since("memory"), ("tree", "MangroveBudgetExhausted"));
        }
        let refusing = |ms: Option<i64>| ms.filter(|at_ms| self.status.at_ms - at_ms < RESTART_MS);
        for owned in self.status.owned.iter().filter(|owned| refusing(owned.refused_ms).is_some()).take(SAME_MAX) {
            let (shard, known) = (owned.shard.short().to_owned(), words::count(owned.sensors as usize, "sensor"));
            let what =
                format!("Shard {shard} knows {known}, as many as it may (sensors.known_max): new ones are refused.");
            let since_ms = self.since(&format!("known {shard}"));
            add(what, Some(shard), since_ms, ("shards", "MangroveQuarantineRate"));
        }
        for owned in &self.status.owned {
            let by_partitions = |line: &actors::shard::EpochLine| line.reason == messages::CutReason::Partitions;
            let last: Vec<_> = owned.epochs.iter().take(3).collect();
            if last.len() < 3 || !last.iter().all(|line| by_partitions(line)) {
                continue;
            }
            let shard = owned.shard.short().to_owned();
            let what = format!(
                "Epochs of shard {shard} end because their readings fall into {} partitions (epoch.partitions_max), \
                 not because they are old enough: some device sends very many different times.",
                self.status.limits.partitions_max
            );
            let since_ms = self.since(&format!("partitions {shard}"));
            add(what, Some(shard), since_ms, ("shards", "MangroveShardLagging"));
        }
    }

    /// What should have been written anew, before a lifecycle rule may take it.
    fn of_states(&self, findings: &mut Vec<Finding>) {
        let late_ms = (self.status.limits.refresh_after.mul_f64(STATES_LATE).as_millis() as i64).max(1);
        let old = |owned: &OwnedStatus| Some((owned.shard.short().to_owned(), owned.states_age_ms?));
        let old = self.status.owned.iter().filter_map(old).filter(|(_, age_ms)| *age_ms > late_ms);
        for (shard, age_ms) in old.take(SAME_MAX) {
            let what = format!(
                "Shard {shard} leans on a state that is {} old and was to be written anew at {} (epoch.refresh_after): a \
                 lifecycle rule on state/ may take it at twice that.",
                words::duration(age_ms),
                words::duration(self.status.limits.refresh_after.as_millis() as i64),
            );
            let since_ms = self.since(&format!("states {shard}"));
            let (view, at, runbook) = ("shards", Some(shard), "MangroveStatesOld");
            findings.push(Finding { level: Level::Warning, what, since_ms, view, at, runbook });
        }
    }

    /// A path that one shard's events have is there: sensors differ.
    fn of_paths(&self, findings: &mut Vec<Finding>) {
        let mut judged = self.status.owned.iter().filter_map(|owned| owned.unseen_paths.as_ref());
        let Some(first) = judged.next() else { return };
        let mut unseen = first.clone();
        judged.for_each(|other| unseen.retain(|path| other.iter().any(|other| other.of == path.of)));
        for path in unseen.iter().take(SAME_MAX) {
            let level = if path.required { Level::Warning } else { Level::Notice };
            let (runbook, what) = ("MangroveSchemaPaths", capital(&format!("{path}.")));
            let since_ms = self.since(&format!("{runbook} {}", path.of));
            findings.push(Finding { level, what, since_ms, view: "shards", at: None, runbook });
        }
    }

    fn of_warehouse(&self, findings: &mut Vec<Finding>) {
        let Some(loader) = &self.status.loader else { return };
        let mut add = |what: String, since_ms, runbook| {
            let at = Some("loader".to_owned());
            findings.push(Finding { level: Level::Warning, what, since_ms, view: "tree", at, runbook });
        };
        if let Some(failing) = loader.failing.as_ref().filter(|failing| failing.failures >= LOAD_FAILURES_MIN) {
            let waiting = words::count(loader.waiting as usize, "epoch");
            let what = format!("The warehouse is not loaded, {waiting} wait in the lake: {}.", failing.error);
            add(what, failing.since_ms, "MangroveWarehouseLagging");
        }
        for stopped in loader.stopped.iter().take(SAME_MAX) {
            let what = format!("A shard is not loaded any further: {}.", stopped.why);
            let (level, at) = (Level::Critical, Some("loader".to_owned()));
            let (since_ms, runbook) = (stopped.since_ms, "MangroveLoadStopped");
            findings.push(Finding { level, what, since_ms, view: "tree", at, runbook });
        }
        let mut add = |what: String, since_ms, runbook| {
            let at = Some("loader".to_owned());
            findings.push(Finding { level: Level::Warning, what, since_ms, view: "tree", at, runbook });
        };
        if let Some(at_ms) = loader.put_aside_ms.filter(|at_ms| self.status.at_ms - at_ms < PUT_ASIDE_MS) {
            let words = loader.put_aside_error.as_deref().unwrap_or("see there");
            let what = format!("The warehouse has refused an epoch, which was put aside in load_refused: {words}.");
            add(what, at_ms, "MangroveWarehouseRefused");
        }
        // Whoever loads looks at the objects.
        if let Some(failure) = loader.metadata.as_ref().filter(|_| loader.active) {
            add(format!("{}.", failure.what), failure.since_ms, "MangroveMetadataUnreadable");
        }
    }

    fn all_well(&self) -> String {
        let here: Vec<&ShardLine> = self.shards.iter().filter(|line| line.here).collect();
        if here.is_empty() {
            return "All is well: this worker has no shard at the moment.".to_owned();
        }
        let lag_ms = here.iter().filter_map(|line| line.lag_ms).max().unwrap_or(0);
        // Nothing is known of a rate at the first look.
        let rate = here.iter().filter_map(|line| line.rate).reduce(|all, one| all + one);
        let rate = rate.map(|rate| format!(", {rate:.0} records a second")).unwrap_or_default();
        let (shards, lag) = (words::count(here.len(), "shard"), words::duration(lag_ms));
        format!("All is well: {shards} read here, {lag} behind at most{rate}.")
    }

    /// Back-pressure comes from downstream: the last actor that cannot keep up is the one that all others wait for.
    fn bottleneck(&self) -> Option<String> {
        const DOWNSTREAM_FIRST: [&str; 4] = ["sinks", "aggregator", "sensors", "reader"];
        const BUSY_SHARE: f64 = 0.9;
        const QUEUE_MIN: u64 = 8;
        let waits = self.shards.iter().any(|line| line.holds.as_deref().is_some_and(|why| why.contains("byte budget")));
        let behind = self.shards.iter().any(|line| line.lag_ms.is_some_and(|lag_ms| lag_ms > LAG_MS_MAX / 10));
        if !waits && !behind {
            return None;
        }
        if let Some(held) = self.status.owned.iter().find_map(|owned| owned.holds.uploading.as_ref()) {
            return Some(format!("The bucket is the bottleneck: uploads fail ({}).", held.cause));
        }
        let uploading = self.status.owned.iter().find_map(|owned| {
            let epoch = owned.epochs.first()?;
            let since_ms = epoch.prepared_ms.filter(|_| epoch.uploaded_ms.is_none())?;
            (self.status.at_ms - since_ms > TABLE_MS_MAX).then(|| (owned.shard.short(), self.status.at_ms - since_ms))
        });
        if let Some((shard, ms)) = uploading {
            return Some(format!(
                "The bucket is the bottleneck: shard {shard} has been storing one epoch for {}.",
                words::duration(ms)
            ));
        }
        for kind in DOWNSTREAM_FIRST {
            let actors = self.listed.iter().filter(|listed| listed.node.kind == kind);
            let worst = actors.max_by_key(|listed| listed.node.queued())?;
            let node = &worst.node;
            let busy = self.busy(worst);
            if node.queued() >= QUEUE_MIN || busy.is_some_and(|busy| busy > BUSY_SHARE && kind != "reader") {
                let busy = busy.map(|busy| format!(", {:.0} % busy", busy * 100.0)).unwrap_or_default();
                return Some(format!("{} is the bottleneck: {} messages wait{busy}.", node.path, node.queued()));
            }
        }
        waits.then(|| "The byte budget is the bottleneck: epochs free it when they are committed.".to_owned())
    }

    /// The share of its time that an actor spends in handlers.
    fn busy(&self, listed: &ListedNode) -> Option<f64> {
        super::tree::busy(&listed.node, self.sampler, self.status.at_ms)
    }
}

fn capital(sentence: &str) -> String {
    let mut chars = sentence.chars();
    chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars).collect()
}

fn state_word(state: ShardState) -> &'static str {
    match state {
        ShardState::Reading => "read",
        ShardState::Lagging => "lagging",
        ShardState::Starting => "starting",
        ShardState::Held => "held up",
        ShardState::Stuck => "stuck",
        ShardState::Restarting => "restarting",
        ShardState::Ended => "at its end",
        ShardState::Elsewhere => "elsewhere",
        ShardState::Waiting => "waiting",
        ShardState::Unowned => "without an owner",
        ShardState::GivenUp => "given up",
        ShardState::Trimmed => "lost in part",
        ShardState::Refused => "not read",
    }
}
