//! Lets the ops endpoint look at a worker: copies of figures that its actors keep anyway.

use std::sync::Arc;

use actors::alerts::RecentAlerts;
use actors::budget::Budget;
use actors::keys::Keys;
use actors::loading::LoaderFigures;
use actors::metrics::AlertFigures;
use actors::ports::clock::Clock;

use super::figures::states_age_ms;
use super::start::Starting;
use crate::leases::LeaseFigures;
use crate::ops::status::{EpochLimits, OwnedStatus, StatusSource, WorkerStatus};
use crate::owned::Owned;
use crate::shard::Shard;

/// Everything that keeps figures.
#[derive(Clone, Debug)]
pub(super) struct LiveStatus {
    pub(super) starting: Arc<Starting>,
    pub(super) owned: Owned,
    pub(super) leases: Arc<LeaseFigures>,
    pub(super) budget: Budget,
    pub(super) recent: Arc<RecentAlerts>,
    pub(super) alert_figures: Arc<AlertFigures>,
    pub(super) loader: Option<Arc<LoaderFigures>>,
    pub(super) clock: Clock,
    pub(super) keys: Keys,
    pub(super) limits: EpochLimits,
    pub(super) memory_limit: Option<u64>,
}

impl StatusSource for LiveStatus {
    fn status(&self) -> WorkerStatus {
        let at_ms = self.clock.now_ms();
        WorkerStatus {
            at_ms,
            waits: self.starting.waits(),
            owned: self.owned.all().iter().map(|shard| owned(shard, at_ms)).collect(),
            seen: self.leases.seen(),
            lease_findings: self.leases.findings(),
            budget_taken: self.budget.taken(),
            budget_max: self.budget.bytes_max(),
            alerts: self.recent.all(),
            alerts_raised: self.recent.raised(),
            alert_latency_ms: [0.5, 0.99].map(|share| self.alert_figures.quantile_ms(share)),
            loader: self.loader.as_ref().map(|loader| loader.status()),
            keys: self.keys.clone(),
            limits: self.limits,
            memory: crate::memory::used().zip(self.memory_limit),
        }
    }
}

fn owned(shard: &Shard, now_ms: i64) -> OwnedStatus {
    let figures = &shard.context.figures;
    let (read, committed) = figures.progress();
    let (sensors, sensors_live) = figures.sensors();
    OwnedStatus {
        shard: shard.context.shard.clone(),
        lag_ms: figures.millis_behind(),
        read_at_ms: figures.read_at_ms(),
        read,
        committed,
        epoch: figures.epoch(),
        sensors,
        sensors_live,
        sensor_restarts: figures.sensor_restarts(),
        ended: figures.has_ended(),
        stalled: shard.context.progress.stalled_for(),
        holds: figures.holds(),
        failure: shard.context.outcome.failure(now_ms),
        open: figures.epochs().open(),
        epochs: figures.epochs().lines(),
        refused_ms: figures.sensor_refused_ms(),
        states_age_ms: states_age_ms(figures, now_ms),
        failures: figures.sensor_falls(),
        unseen_paths: figures.unseen_paths(),
    }
}
