//! The way of the data from the stream to the warehouse, stage by stage: how fast, what waits, and where it is held up.

use actors::shard::{EpochLine, EpochStep};
use serde::Serialize;

use super::diagnosis::Observed;
use super::shards::ShardState;
use super::tree;
use super::words;

/// One stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct FlowStage {
    /// The actor's name in the map.
    pub(super) name: &'static str,
    /// What it does in a second, in `unit`.
    pub(super) rate: Option<f64>,
    pub(super) unit: &'static str,
    /// Messages sent to it and not yet taken.
    pub(super) queue: u64,
    /// The largest share of its time that one of them spends in handlers.
    pub(super) busy: Option<f64>,
    /// Whether back-pressure bites here.
    pub(super) held: bool,
    /// One more thing worth knowing.
    pub(super) note: String,
}

pub(super) fn stages(evidence: &Observed<'_>) -> Vec<FlowStage> {
    let Observed { status, shards, sampler, listed, .. } = evidence;
    let now_ms = status.at_ms;
    let sum = |of: fn(&super::status::OwnedStatus) -> u64| status.owned.iter().map(of).sum::<u64>();
    let rate = |key: &str, value: u64| sampler.rate(format!("flow {key}"), value, now_ms);
    let lag_ms = status.owned.iter().filter_map(|owned| owned.behind_ms(now_ms)).max().unwrap_or(0);
    let held = |test: fn(&super::status::OwnedStatus) -> bool| status.owned.iter().any(test);
    let stage = |name: &'static str, (rate, unit): (Option<f64>, &'static str), held: bool, note: String| {
        let actors = || listed.iter().filter(|listed| listed.node.kind == name);
        FlowStage {
            name,
            rate,
            unit,
            queue: actors().map(|listed| listed.node.queued()).sum(),
            busy: actors().filter_map(|listed| tree::busy(&listed.node, sampler, now_ms)).reduce(f64::max),
            held,
            note,
        }
    };
    let stuck = shards.iter().any(|line| line.here && line.state == ShardState::Stuck);
    let read = sum(|owned| owned.read);
    let committed = status.owned.iter().filter_map(|owned| committed_rate(&owned.epochs)).reduce(|all, one| all + one);
    let on_its_way = status
        .owned
        .iter()
        .filter(|owned| owned.epochs.first().is_some_and(|epoch| epoch.step != EpochStep::Committed));
    let on_its_way = on_its_way.count();
    let handled = |kind: &str| {
        listed.iter().filter(|listed| listed.node.kind == kind).map(|listed| listed.node.handled()).sum::<u64>()
    };
    let committed_ms = status.owned.iter().flat_map(|owned| &owned.epochs).filter_map(|epoch| epoch.committed_ms).max();
    let last = committed_ms.map(|at_ms| words::duration(now_ms - at_ms));
    let mut stages = vec![
        stage("stream", (None, "behind"), false, words::duration(lag_ms)),
        stage(
            "reader",
            (rate("read", read), "records/s"),
            stuck || held(|owned| owned.holds.reading.is_some() || owned.holds.budget_since_ms.is_some()),
            words::count(status.owned.len(), "shard"),
        ),
        stage(
            "sensors",
            (rate("sensors", handled("sensors")), "messages/s"),
            false,
            format!("{} of {} live", sum(|owned| owned.sensors_live), sum(|owned| owned.sensors)),
        ),
        stage("aggregator", (rate("aggregator", handled("aggregator")), "messages/s"), false, String::new()),
        stage(
            "sinks",
            (committed, "records/s"),
            held(|owned| owned.holds.uploading.is_some()),
            format!("{} on their way", words::count(on_its_way, "epoch")),
        ),
        stage("lake", (None, "since the last epoch"), false, last.unwrap_or_else(|| "–".to_owned())),
    ];
    if let Some(loader) = &status.loader {
        let loads = (rate("loaded", loader.readings).filter(|_| loader.active), "readings/s");
        let note = match loader.active {
            true => format!("{} waiting", words::count(loader.waiting as usize, "epoch")),
            false => "another worker loads".to_owned(),
        };
        stages.push(stage("loader", loads, loader.failing.is_some(), note));
        let lag = loader.lag_ms.filter(|_| loader.active).map(|ms| words::duration(ms as i64));
        stages.push(stage(
            "warehouse",
            (None, "from arrival to visible"),
            false,
            lag.unwrap_or_else(|| "–".to_owned()),
        ));
    }
    stages
}

/// Records committed in a second, over the last epochs: they come in lumps.
fn committed_rate(epochs: &[EpochLine]) -> Option<f64> {
    const EPOCHS: usize = 6;
    let done: Vec<&EpochLine> = epochs.iter().filter(|epoch| epoch.step == EpochStep::Committed).take(EPOCHS).collect();
    let (newest, oldest) = (done.first()?, done.last()?);
    let records: u64 = done.iter().take(done.len() - 1).map(|epoch| epoch.records).sum();
    let span_ms = newest.cut_ms - oldest.cut_ms;
    (span_ms > 0).then(|| records as f64 * 1000.0 / span_ms as f64)
}
