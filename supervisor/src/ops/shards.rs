//! The shards: who has them, how far they are, and what holds each of them up, in words.
//!
//! **Promises** the reason shown is the first that applies, nearest to the cause; every state names its runbook.

use std::collections::BTreeMap;
use std::sync::Arc;

use actors::node::NodeState;
use actors::ports::aws::Failure;
use actors::shard::{EpochLine, EpochStep, Failing, FailureStreak, HeldUp, ReadingEpoch};
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use messages::{Position, ShardId};
use serde::{Deserialize, Serialize};

use super::OpsState;
use super::reply::Refusal;
use super::sampler::Sampler;
use super::sensors::bad_request;
use super::snapshot::Snapshot;
use super::status::{OwnedStatus, WorkerStatus};
use super::words;
use crate::leases::{LeaseFinding, ShardSeen};
use crate::supervision::tree::ListedNode;

/// An actor that is in one handler for longer is not working, it waits for something that does not come.
const BUSY_MS_MAX: u64 = 5_000;
/// A shard in which nothing moves for longer.
const STALLED_MS_MAX: i64 = 10_000;
/// A shard that is further behind than this lags.
pub(super) const LAG_MS_MAX: i64 = 30_000;

/// What a shard does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ShardState {
    /// Read here, up to its tip or nearly so.
    Reading,
    /// Read here, and far behind.
    Lagging,
    /// Its actors are being started.
    Starting,
    /// A service refuses, or there is no room: it is tried again.
    Held,
    /// Something does not come back.
    Stuck,
    /// An actor has failed and is started again.
    Restarting,
    /// Read to its end.
    Ended,
    /// Another worker has it.
    Elsewhere,
    /// Its parents have to be read first.
    Waiting,
    /// No worker has it.
    Unowned,
    /// It failed here too often.
    GivenUp,
    /// The stream has forgotten it before all was read.
    Trimmed,
    /// Its lease row and the bucket disagree.
    Refused,
}

/// One shard.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ShardLine {
    /// The short id, as in the tree.
    pub(super) shard: String,
    pub(super) state: ShardState,
    /// What holds it up; none if nothing does.
    pub(super) holds: Option<String>,
    pub(super) since_ms: Option<i64>,
    /// The actor to look at.
    pub(super) culprit: Option<String>,
    pub(super) runbook: Option<&'static str>,
    pub(super) owner: Option<String>,
    pub(super) here: bool,
    pub(super) lag_ms: Option<i64>,
    pub(super) read_at_ms: Option<i64>,
    /// Records read in a second.
    pub(super) rate: Option<f64>,
    /// Records read and not yet committed.
    pub(super) in_flight: Option<u64>,
    /// Bytes of the epoch that is being read.
    pub(super) bytes_in_flight: Option<u64>,
    pub(super) open: Option<OpenLine>,
    pub(super) epoch: u64,
    pub(super) step: Option<EpochStep>,
    pub(super) checkpoint: Option<String>,
    pub(super) pending: bool,
    pub(super) committed_ms: Option<i64>,
    pub(super) parents: Vec<String>,
    pub(super) children: Vec<String>,
    pub(super) closed: bool,
    pub(super) sensors: Option<u64>,
    pub(super) sensors_live: Option<u64>,
    pub(super) sensor_restarts: Option<u64>,
}

/// The epoch that is being read, against its limits.
#[derive(Clone, Debug, Serialize)]
pub(super) struct OpenLine {
    #[serde(flatten)]
    open: ReadingEpoch,
    age_max_ms: u64,
    bytes_max: u64,
    partitions_max: usize,
    rows_max: u64,
}

/// Why a shard is in its state.
struct StateReason {
    state: ShardState,
    holds: Option<String>,
    since_ms: Option<i64>,
    culprit: Option<String>,
    runbook: Option<&'static str>,
}

impl StateReason {
    fn fine(state: ShardState) -> Self {
        Self { state, holds: None, since_ms: None, culprit: None, runbook: None }
    }

    fn failing(state: ShardState, runbook: &'static str, holds: String) -> Self {
        Self { state, holds: Some(holds), since_ms: None, culprit: None, runbook: Some(runbook) }
    }

    fn since(self, since_ms: i64) -> Self {
        Self { since_ms: Some(since_ms), ..self }
    }

    fn at(self, path: impl Into<String>) -> Self {
        Self { culprit: Some(path.into()), ..self }
    }
}

/// Every shard that the worker knows of.
pub(super) fn lines(status: &WorkerStatus, listed: &[ListedNode], sampler: &Sampler, me: &str) -> Vec<ShardLine> {
    let owned: BTreeMap<&ShardId, &OwnedStatus> = status.owned.iter().map(|owned| (&owned.shard, owned)).collect();
    let seen: BTreeMap<&ShardId, &ShardSeen> = status.seen.shards.iter().map(|seen| (&seen.shard, seen)).collect();
    let mut children: BTreeMap<&ShardId, Vec<String>> = BTreeMap::new();
    for child in &status.seen.shards {
        for parent in &child.parents {
            children.entry(parent).or_default().push(child.shard.short().to_owned());
        }
    }
    let mut ids: Vec<&ShardId> = owned.keys().chain(seen.keys()).copied().collect();
    ids.sort();
    ids.dedup();
    let line = |id: &ShardId| {
        let children = children.get(id).cloned().unwrap_or_default();
        line(id, (owned.get(id).copied(), seen.get(id).copied()), children, status, listed, sampler, me)
    };
    ids.into_iter().map(line).collect()
}

#[allow(clippy::too_many_arguments, reason = "one call, of everything that is known")]
fn line(
    id: &ShardId,
    (owned, seen): (Option<&OwnedStatus>, Option<&ShardSeen>),
    children: Vec<String>,
    status: &WorkerStatus,
    listed: &[ListedNode],
    sampler: &Sampler,
    me: &str,
) -> ShardLine {
    let finding = status.lease_findings.iter().find_map(|finding| of_finding(id, finding));
    let found = match (finding, owned, seen) {
        (Some(finding), None, _) => finding,
        (_, Some(owned), _) => here(owned, status, listed),
        (None, None, Some(seen)) => elsewhere(seen, me, status.seen.leaving),
        (None, None, None) => StateReason::fine(ShardState::Unowned),
    };
    let now_ms = status.at_ms;
    let key = format!("shard {} {:?}", id.short(), found.state);
    let since_ms = found.since_ms.or_else(|| found.holds.as_ref().map(|_| sampler.since(&key, now_ms)));
    let shorts = |ids: &[ShardId]| ids.iter().map(|id| id.short().to_owned()).collect();
    let limits = status.limits;
    ShardLine {
        shard: id.short().to_owned(),
        state: found.state,
        holds: found.holds,
        since_ms,
        culprit: found.culprit,
        runbook: found.runbook,
        owner: seen.and_then(|seen| seen.owner.clone()).or_else(|| owned.map(|_| me.to_owned())),
        here: owned.is_some(),
        lag_ms: owned.and_then(|owned| owned.behind_ms(now_ms)),
        read_at_ms: owned.map(|owned| owned.read_at_ms),
        rate: owned.and_then(|owned| sampler.rate(format!("read {}", id.short()), owned.read, now_ms)),
        in_flight: owned.map(|owned| owned.read.saturating_sub(owned.committed)),
        bytes_in_flight: owned.map(in_flight_bytes),
        open: owned.map(|owned| OpenLine {
            open: owned.open,
            age_max_ms: limits.age_max.as_millis() as u64,
            bytes_max: limits.bytes_max,
            partitions_max: limits.partitions_max,
            rows_max: limits.rows_max,
        }),
        epoch: owned.map_or(0, |owned| owned.epoch).max(seen.map_or(0, |seen| seen.epoch.0)),
        step: owned.and_then(|owned| owned.epochs.first()).map(|epoch| epoch.step),
        checkpoint: seen.map(|seen| seen.checkpoint.to_string()),
        pending: seen.is_some_and(|seen| seen.pending),
        committed_ms: owned.and_then(|owned| owned.epochs.iter().find_map(|epoch| epoch.committed_ms)),
        parents: seen.map(|seen| shorts(&seen.parents)).unwrap_or_default(),
        children,
        closed: seen.is_some_and(|seen| seen.closed),
        sensors: owned.map(|owned| owned.sensors),
        sensors_live: owned.map(|owned| owned.sensors_live),
        sensor_restarts: owned.map(|owned| owned.sensor_restarts),
    }
}

/// Bytes of the epoch that is being read, and of the one before that is on its way.
fn in_flight_bytes(owned: &OwnedStatus) -> u64 {
    let on_its_way = owned.epochs.first().filter(|epoch| epoch.step != EpochStep::Committed);
    owned.open.bytes + on_its_way.map_or(0, |epoch| epoch.bytes)
}

fn of_finding(id: &ShardId, (finding, why): &(LeaseFinding, String)) -> Option<StateReason> {
    match finding {
        LeaseFinding::GivenUp(shard) if shard == id => {
            let holds = format!("it was given up here: {why}");
            Some(StateReason::failing(ShardState::GivenUp, "MangroveActorGivenUp", holds))
        }
        LeaseFinding::Trimmed(shard) if shard == id => {
            Some(StateReason::failing(ShardState::Trimmed, "MangroveShardTrimmed", why.clone()))
        }
        LeaseFinding::Orphan(shard) if shard == id => {
            Some(StateReason::failing(ShardState::Unowned, "MangroveShardUnowned", why.clone()))
        }
        LeaseFinding::Disagrees(shard) if shard == id => {
            Some(StateReason::failing(ShardState::Refused, "MangroveLeaseDisagrees", why.clone()))
        }
        LeaseFinding::GivenUp(_) | LeaseFinding::Trimmed(_) | LeaseFinding::Orphan(_) | LeaseFinding::Disagrees(_) => {
            None
        }
        LeaseFinding::Fenced | LeaseFinding::OtherStream | LeaseFinding::Unproven => None,
    }
}

/// A shard that this worker works on.
fn here(owned: &OwnedStatus, status: &WorkerStatus, listed: &[ListedNode]) -> StateReason {
    let prefix = format!("shards/{}/", owned.shard.short());
    let actors: Vec<&ListedNode> = listed.iter().filter(|listed| listed.node.path.starts_with(&prefix)).collect();
    if owned.ended {
        return StateReason::fine(ShardState::Ended);
    }
    if let Some(held) = &owned.holds.starting {
        let holds = format!("it cannot start: {}", held_words(held));
        return StateReason::failing(ShardState::Starting, "MangroveLeaseTableUnreachable", holds)
            .since(held.since_ms)
            .at(format!("{prefix}committer"));
    }
    if let Some(finding) = actors.iter().find_map(|listed| fallen(listed)) {
        return finding;
    }
    let hanging = actors.iter().find_map(|listed| {
        let busy = listed.node.busy_for()?.as_millis() as u64;
        (busy > BUSY_MS_MAX).then_some((listed, busy as i64))
    });
    if let Some((listed, busy_ms)) = hanging {
        let took = words::duration(busy_ms);
        let holds = format!("its {} has been in one handler for {took}; it is killed if that lasts", listed.node.kind);
        return StateReason::failing(ShardState::Stuck, "MangroveShardStuck", holds)
            .since(status.at_ms - busy_ms)
            .at(listed.node.path.clone());
    }
    if let Some(held) = &owned.holds.reading {
        let runbook = runbook_of(held, "MangroveShardStuck");
        let holds = format!("the stream cannot be read: {}", held_words(held));
        return StateReason::failing(ShardState::Held, runbook, holds)
            .since(held.since_ms)
            .at(format!("{prefix}reader"));
    }
    if let Some(held) = &owned.holds.uploading {
        let holds = format!("its epoch cannot be stored: {}", held_words(held));
        return StateReason::failing(ShardState::Held, runbook_of(held, "MangroveUploadsFailing"), holds)
            .since(held.since_ms)
            .at(format!("{prefix}sinks"));
    }
    if let Some(failure) = &owned.failure {
        return remembered(failure, &prefix);
    }
    if let Some(since_ms) = owned.holds.budget_since_ms {
        let (taken, max) = (words::bytes(status.budget_taken), words::bytes(status.budget_max));
        let holds = format!("it waits for the byte budget: {taken} of {max} are in flight");
        return StateReason::failing(ShardState::Held, "MangroveBudgetExhausted", holds).since(since_ms);
    }
    let stalled_ms = owned.stalled.as_millis() as i64;
    if stalled_ms > STALLED_MS_MAX {
        let holds = format!("nothing has moved for {}", words::duration(stalled_ms));
        return StateReason::failing(ShardState::Stuck, "MangroveShardStuck", holds).since(status.at_ms - stalled_ms);
    }
    if owned.read_at_ms == 0 {
        return StateReason::fine(ShardState::Starting);
    }
    if let Some(behind_ms) = owned.behind_ms(status.at_ms).filter(|behind_ms| *behind_ms > LAG_MS_MAX) {
        let holds = format!("it is read {} after the stream took it", words::duration(behind_ms));
        return StateReason::failing(ShardState::Lagging, "MangroveShardLagging", holds);
    }
    StateReason::fine(ShardState::Reading)
}

/// What has failed and has not been seen to work since, though nothing fails at this moment.
fn remembered(failure: &FailureStreak, prefix: &str) -> StateReason {
    let (what, runbook, culprit) = match failure.failing {
        Failing::Storing => ("its last epoch could not be stored", "MangroveUploadsFailing", "sinks"),
        Failing::Reading => ("the stream could not be read", "MangroveShardStuck", "reader"),
        Failing::Starting => ("it could not start", "MangroveActorGivenUp", "committer"),
        Failing::Running => ("an actor failed again and again", "MangroveActorRestarting", "committer"),
    };
    let holds = format!("{what}, and nothing was committed since: {} ({} failed)", failure.cause, failure.failures);
    StateReason::failing(ShardState::Held, runbook, holds).since(failure.since_ms).at(format!("{prefix}{culprit}"))
}

/// What is the same whatever is called has its own.
fn runbook_of(held: &HeldUp, of_what: &'static str) -> &'static str {
    match held.failure {
        Failure::Key => "MangroveKeyRefused",
        Failure::Throttled if of_what == "MangroveShardStuck" => "MangroveThrottled",
        _ => of_what,
    }
}

fn held_words(held: &HeldUp) -> String {
    format!("{} (try {})", held.cause, held.attempts)
}

fn fallen(listed: &ListedNode) -> Option<StateReason> {
    let node = &listed.node;
    let state = match node.state() {
        NodeState::Restarting => ShardState::Restarting,
        NodeState::GivenUp => ShardState::GivenUp,
        NodeState::Starting | NodeState::Running | NodeState::Draining | NodeState::Stopped => return None,
    };
    let error = node.last_error()?;
    let spent = listed.intensity.as_ref().map(|intensity| {
        format!(" ({} of {} restarts within {:?})", intensity.spent(), intensity.restarts_max(), intensity.within())
    });
    let holds = format!("its {} failed: {}{}", node.kind, error.message, spent.unwrap_or_default());
    let runbook = if state == ShardState::GivenUp { "MangroveActorGivenUp" } else { "MangroveActorRestarting" };
    Some(StateReason::failing(state, runbook, holds).since(error.at_ms).at(node.path.clone()))
}

/// A shard that this worker does not work on.
fn elsewhere(seen: &ShardSeen, me: &str, leaving: bool) -> StateReason {
    if seen.checkpoint == Position::ShardEnd {
        return StateReason::fine(ShardState::Ended);
    }
    if seen.owner_alive && seen.owner.as_deref() != Some(me) {
        return StateReason::fine(ShardState::Elsewhere);
    }
    if leaving && seen.owner.as_deref().is_none_or(|owner| owner == me) {
        // It was given back, and whoever has it now this worker may not live to see.
        let holds = "this worker has drained, and leaves it to the others".to_owned();
        return StateReason { holds: Some(holds), ..StateReason::fine(ShardState::Elsewhere) };
    }
    if !seen.waits_for.is_empty() {
        let parents: Vec<&str> = seen.waits_for.iter().map(ShardId::short).collect();
        let holds = format!("its parents have to be read first: {}", parents.join(", "));
        return StateReason { holds: Some(holds), ..StateReason::fine(ShardState::Waiting) };
    }
    let unmoved = seen.unmoved.as_millis() as i64;
    let why = match (&seen.given_up_by, &seen.owner) {
        (Some(worker), _) => format!("worker {worker} gave it up, and no other has taken it"),
        (None, Some(owner)) if owner == me => "this worker is about to take it".to_owned(),
        (None, Some(owner)) => format!("its owner {owner} has been silent for {}", words::duration(unmoved)),
        (None, None) => format!("nobody has had it for {}", words::duration(unmoved)),
    };
    StateReason::failing(ShardState::Unowned, "MangroveShardUnowned", why)
}

#[derive(Debug, Serialize)]
pub(super) struct ShardsReply<'a> {
    pub(super) worker: &'a str,
    pub(super) at_ms: i64,
    pub(super) shards: &'a [ShardLine],
}

pub(super) async fn shards(State(state): State<Arc<OpsState>>) -> Response {
    Snapshot::of(&state).shards_reply(&state.worker_id)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EpochsQuery {
    shard: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct EpochsReply {
    worker: String,
    shards: Vec<EpochsOfShard>,
}

#[derive(Debug, Serialize)]
struct EpochsOfShard {
    shard: String,
    epochs: Vec<EpochLine>,
}

pub(super) async fn epochs(
    State(state): State<Arc<OpsState>>,
    query: Result<Query<EpochsQuery>, QueryRejection>,
) -> Result<Json<EpochsReply>, Refusal> {
    let Query(query) = query.map_err(|error| bad_request(error.body_text(), "?shard=<shard>, or nothing for all"))?;
    let wanted = query.shard.map(|shard| ShardId::new(&shard).short().to_owned());
    let snapshot = Snapshot::of(&state);
    let asked =
        snapshot.epochs.iter().filter(|(shard, _)| wanted.as_deref().is_none_or(|wanted| shard.short() == wanted));
    let shards: Vec<EpochsOfShard> = asked
        .map(|(shard, epochs)| EpochsOfShard { shard: shard.short().to_owned(), epochs: epochs.clone() })
        .collect();
    if shards.is_empty() && wanted.is_some() {
        let error = "this worker does not work on the shard";
        return Err(Refusal::new(StatusCode::NOT_FOUND, error, "see /shards for who does"));
    }
    Ok(Json(EpochsReply { worker: state.worker_id.clone(), shards }))
}
