//! Folds the judged readings of one shard into hourly and daily windows.
//!
//! **Owns** the open windows and the event-time watermark of one shard.
//!
//! **Promises** windows are a pure function of the readings in stream order; a late reading revises its window under
//! a higher revision; one that comes later than the allowed lateness after its hour is marked, and counted in its day as
//! long as that is open.
//!
//! **Fails** by stopping; the shard restarts from its checkpoint, windows included.
//!
//! **Not here**: I/O, wall clock. The arithmetic is in `aggregator/windows.rs`.

mod sensor_windows;
mod stats;
mod tally;
mod windows;

use std::sync::Arc;

use messages::{AggregatorMsg, Assessed, CommitterMsg, CutState, EpochContent, InFlight, SinksMsg, StateEntry};
use ractor::{Actor, ActorProcessingErr, ActorRef};

pub use self::tally::{Full, Tallied, Tally};
pub use self::windows::{WindowStateError, Windows, WindowsConfig, WindowsCut};
use crate::budget::Budget;
use crate::metrics;
use crate::node::{Address, Node};
use crate::ports::work;
use crate::shard::ShardContext;

/// Given afresh to every incarnation.
#[derive(Debug)]
pub struct AggregatorArgs {
    /// The identity of the shard.
    pub context: ShardContext,
    /// The windows of all sensors as of the checkpoint.
    pub states: Vec<StateEntry>,
    /// The names of the fields that those number.
    pub fields: Vec<String>,
    /// The watermark as of the checkpoint, microseconds since 1970.
    pub watermark_us: i64,
    /// The worker's memory.
    pub budget: Budget,
    /// Where readings and epochs go.
    pub sinks: Address<SinksMsg>,
    /// The committer, which ends epochs.
    pub committer: Address<CommitterMsg>,
    /// This aggregator's node.
    pub node: Arc<Node>,
}

/// The behaviour; read-only while running.
#[derive(Debug)]
pub struct AggregatorActor {
    /// Its limits.
    pub config: WindowsConfig,
}

/// The live part; lost in a crash, rebuilt by `pre_start`.
#[derive(Debug)]
pub struct AggregatorState {
    context: ShardContext,
    windows: Windows,
    budget: Budget,
    sinks: Address<SinksMsg>,
    committer: Address<CommitterMsg>,
    node: Arc<Node>,
}

impl Actor for AggregatorActor {
    type Msg = AggregatorMsg;
    type State = AggregatorState;
    type Arguments = AggregatorArgs;

    async fn pre_start(
        &self,
        _myself: ActorRef<AggregatorMsg>,
        args: AggregatorArgs,
    ) -> Result<AggregatorState, ActorProcessingErr> {
        let mut windows = Windows::new(args.context.schema.clone(), self.config);
        let states = args.states.into_iter().map(|e| (e.sensor, e.hash_key, e.bytes));
        work::here(|| windows.restore(&args.fields, args.watermark_us, states))?;
        let AggregatorArgs { context, budget, sinks, committer, node, .. } = args;
        committer.send(CommitterMsg::Windows { unwritten: windows.has_unwritten() })?;
        Ok(AggregatorState { context, windows, budget, sinks, committer, node })
    }

    async fn handle(
        &self,
        _myself: ActorRef<AggregatorMsg>,
        message: AggregatorMsg,
        state: &mut AggregatorState,
    ) -> Result<(), ActorProcessingErr> {
        let node = state.node.clone();
        let _handling = node.handling();
        match message {
            AggregatorMsg::Fold(in_flight) => state.on_fold(in_flight),
            AggregatorMsg::Cut(cut) => state.on_cut(cut).await,
        }
    }
}

impl AggregatorState {
    fn on_fold(&mut self, in_flight: Arc<InFlight>) -> Result<(), ActorProcessingErr> {
        let trace = in_flight.batch.trace;
        let began_us = trace.and_then(|_| self.context.traces.now_us());
        let late = self.windows.fold(&in_flight);
        let n_late = late.iter().filter(|late| **late).count();
        metrics::late_readings(n_late);
        self.sinks.send(SinksMsg::Store(Assessed { in_flight, late }))?;
        self.context.traces.folded(trace, began_us, n_late);
        Ok(())
    }

    async fn on_cut(&mut self, state: CutState) -> Result<(), ActorProcessingErr> {
        let CutState { cut, sensors, silences, receipts } = state;
        let turn = if cut.reason.is_the_last() { self.budget.turn().await } else { None };
        let windows = work::here(|| self.windows.cut(&cut));
        self.context.figures.set_windows(self.windows.open_windows());
        // What is folded after this belongs to the next epoch, which will be cut for its records.
        self.committer.send(CommitterMsg::Windows { unwritten: self.windows.has_unwritten() })?;
        // Sensors sort before windows, and each part is ordered by sensor id already.
        let states: Vec<_> = sensors.into_iter().chain(windows.states).collect();
        self.context.traces.collected(cut.epoch, states.len());
        let (aggregates, watermark_us) = (windows.aggregates, windows.watermark_us);
        self.context.progress.came_closer();
        let content = EpochContent { cut, states, aggregates, watermark_us, silences, receipts, turn };
        Ok(self.sinks.send(SinksMsg::Seal(content))?)
    }
}
