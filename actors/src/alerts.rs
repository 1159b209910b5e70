//! Sends alerts out, at once, to every configured transport.
//!
//! **Owns** the alerts that are on their way.
//!
//! **Promises** an alert is handed to every transport or tried again until its time is up; its receipt is settled
//! afterwards, never before (ALERT). At most `queue_max` alerts wait and `in_flight_max` are under way (BOUNDED); one
//! that finds the queue full is given up, counted, and stays in the alerts zone.
//!
//! **Fails** by stopping: receipts are not settled, so the epochs concerned send their alerts again at the next start.
//!
//! **Not here**: raising alerts.

mod facts;
mod recent;

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use messages::{Alert, AlertsMsg, Receipt, TraceParent};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::facts::Facts;
pub use self::recent::{AlertLine, AlertOutcome, RECENT_MAX, RecentAlerts};
use crate::metrics::AlertFigures;
use crate::node::{Address, Node};
use crate::ports::aws::{CallError, Failure};
use crate::ports::backoff::Backoff;
use crate::ports::chance::Chance;
use crate::ports::clock::Clock;
use crate::ports::transports::Transport;
use crate::traces::{OpenSpan, Traces};

/// Fixed for the life of the process.
#[derive(Clone, Debug)]
pub struct AlertsConfig {
    /// Alerts that may wait for their turn.
    pub queue_max: usize,
    /// Alerts under way at once.
    pub in_flight_max: usize,
    /// For how long one alert is tried.
    pub retry_for: Duration,
    /// Longest pause between two tries.
    pub backoff_max: Duration,
    /// How long a drain waits for receivers.
    pub drain_timeout: Duration,
}

/// Given afresh to every incarnation.
#[derive(Debug)]
pub struct AlertsArgs {
    /// Where alerts go; none at all means that they are only stored.
    pub transports: Arc<[Transport]>,
    /// The wall clock.
    pub clock: Clock,
    /// For the jitter of retries.
    pub chance: Chance,
    /// Where latencies are counted.
    pub figures: Arc<AlertFigures>,
    /// Where the last alerts are remembered.
    pub recent: Arc<RecentAlerts>,
    /// Where the spans of alerts go.
    pub traces: Traces,
    /// This actor's node.
    pub node: Arc<Node>,
}

/// The behaviour; read-only while running.
#[derive(Debug)]
pub struct AlertsActor {
    /// Its limits.
    pub config: AlertsConfig,
}

/// The live part; lost in a crash.
#[derive(Debug)]
pub struct AlertsState {
    args: AlertsArgs,
    facts: Facts,
    myself: Address<AlertsMsg>,
    queue: VecDeque<WaitingAlert>,
    under_way: usize,
    /// For each transport, what it has not taken yet.
    left: Arc<[AtomicU64]>,
    /// What this actor started and must not outlive it.
    tasks: JoinSet<()>,
    flushes: Vec<RpcReplyPort<()>>,
}

/// Before the second try of a receiver; doubled with each.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// For so long a receiver may ask to be left alone; what asks for more is wrong, or hostile.
const ASKED_MAX: Duration = Duration::from_secs(60);

/// An alert that waits for its turn.
#[derive(Debug)]
struct WaitingAlert {
    alert: Alert,
    receipt: Option<Receipt>,
    span: OpenSpan,
}

/// An alert, and its receipt if its epoch waits for it.
type Offered = (Alert, Option<Receipt>);

impl Actor for AlertsActor {
    type Msg = AlertsMsg;
    type State = AlertsState;
    type Arguments = AlertsArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<AlertsMsg>,
        args: AlertsArgs,
    ) -> Result<AlertsState, ActorProcessingErr> {
        let facts = Facts::new(&args);
        let myself = Address::new(myself, args.node.clone());
        let left = args.transports.iter().map(|_| AtomicU64::new(0)).collect();
        Ok(AlertsState {
            args,
            facts,
            myself,
            left,
            queue: VecDeque::new(),
            under_way: 0,
            tasks: JoinSet::new(),
            flushes: Vec::new(),
        })
    }

    async fn handle(
        &self,
        _myself: ActorRef<AlertsMsg>,
        message: AlertsMsg,
        state: &mut AlertsState,
    ) -> Result<(), ActorProcessingErr> {
        let node = state.args.node.clone();
        let _handling = node.handling();
        match message {
            AlertsMsg::Send { alert, receipt, trace } => state.on_send(alert, receipt, trace, &self.config),
            AlertsMsg::Offer { alerts, reply } => {
                // Whoever asked and has ended raises them again, or sends them with their epoch.
                let _ = reply.send(state.on_offer(alerts, &self.config));
            }
            AlertsMsg::Ended => state.under_way -= 1,
            AlertsMsg::Flush(reply) => state.flushes.push(reply),
            AlertsMsg::Left(reply) => drop(reply.send(state.left())),
        }
        while state.tasks.try_join_next().is_some() {}
        state.start_waiting(&self.config);
        if state.queue.is_empty() && state.under_way == 0 {
            for reply in state.flushes.drain(..) {
                let _ = reply.send(());
            }
        }
        Ok(())
    }
}

impl AlertsState {
    fn on_send(&mut self, alert: Alert, receipt: Option<Receipt>, trace: Option<TraceParent>, config: &AlertsConfig) {
        // Alerts that can be raised again from state leave room for those that cannot.
        let room = if receipt.is_some() { config.queue_max } else { config.queue_max / 2 };
        if self.queue.len() < room {
            self.enqueue(alert, receipt, trace);
            return;
        }
        self.facts.shed(&alert, trace);
        // It counts as given up, as one that nobody takes in time: it stays in the alerts zone.
        if let Some(receipt) = receipt {
            receipt.settle();
        }
    }

    /// Takes alerts while there is room, and leaves half of it to those that nobody can keep for later.
    fn on_offer(&mut self, alerts: Vec<Offered>, config: &AlertsConfig) -> Vec<Offered> {
        let room = (config.queue_max / 2).saturating_sub(self.queue.len());
        let mut alerts = alerts.into_iter();
        for (alert, receipt) in alerts.by_ref().take(room) {
            self.enqueue(alert, receipt, None);
        }
        alerts.collect()
    }

    fn enqueue(&mut self, alert: Alert, receipt: Option<Receipt>, trace: Option<TraceParent>) {
        let span = self.facts.waits(&alert, trace);
        for left in self.left.iter() {
            left.fetch_add(1, Ordering::Relaxed);
        }
        self.queue.push_back(WaitingAlert { alert, receipt, span });
    }

    /// Receivers that have not taken everything.
    fn left(&self) -> Vec<(String, u64)> {
        let left = self.left.iter().map(|left| left.load(Ordering::Relaxed));
        let named = self.args.transports.iter().map(Transport::name).zip(left);
        named.filter(|(_, left)| *left > 0).collect()
    }

    fn start_waiting(&mut self, config: &AlertsConfig) {
        while self.under_way < config.in_flight_max {
            let Some(WaitingAlert { alert, receipt, span }) = self.queue.pop_front() else { break };
            let delivery = Delivery {
                left: self.left.clone(),
                transports: self.args.transports.clone(),
                chance: self.args.chance.clone(),
                facts: self.facts.clone(),
                config: config.clone(),
            };
            let myself = self.myself.clone();
            self.under_way += 1;
            self.tasks.spawn(async move {
                let delivered = AssertUnwindSafe(delivery.deliver(&alert, span)).catch_unwind().await;
                match (delivered, receipt) {
                    (Ok(()), Some(receipt)) => receipt.settle(),
                    (Ok(()), None) => {}
                    // Its receipt stays open: the alert is sent again at the next start.
                    (Err(_), _) => delivery.facts.panicked(&alert),
                }
                let _ = myself.send(AlertsMsg::Ended);
            });
        }
        self.facts.under_way(self.queue.len() + self.under_way);
    }
}

struct Delivery {
    left: Arc<[AtomicU64]>,
    transports: Arc<[Transport]>,
    chance: Chance,
    facts: Facts,
    config: AlertsConfig,
}

impl Delivery {
    async fn deliver(&self, alert: &Alert, span: OpenSpan) {
        self.facts.handed_over(alert);
        // Together: a receiver that is down must not keep an alert from the others.
        let parent = span.at();
        let handed = self.transports.iter().zip(self.left.iter()).map(|(transport, left)| async move {
            let handed = self.hand_to(transport, alert, parent).await;
            left.fetch_sub(1, Ordering::Relaxed);
            handed
        });
        let refused = join_all(handed).await;
        let error = refused.into_iter().find_map(Result::err);
        self.facts.done(alert, span, error.as_ref());
    }

    /// Fails with the last word of a receiver that did not take the alert in time.
    async fn hand_to(
        &self,
        transport: &Transport,
        alert: &Alert,
        parent: Option<TraceParent>,
    ) -> Result<(), CallError> {
        let handing = self.facts.hands(transport, alert, parent);
        let began = Instant::now();
        let mut backoff = Backoff::new(&self.chance, BACKOFF_MIN, self.config.backoff_max).heeding(ASKED_MAX);
        for attempt in 1u32.. {
            let Err(error) = transport.send(alert).await else {
                handing.taken(attempt, began.elapsed());
                return Ok(());
            };
            // The last try is at the very end, whatever the receiver asks for.
            let left = self.config.retry_for.saturating_sub(began.elapsed());
            // A topic that is not there is not there in five minutes either.
            if matches!(error.failure, Failure::Refused | Failure::NotFound) || left.is_zero() {
                handing.given_up(attempt, &error);
                return Err(error);
            }
            handing.retries(&error);
            tokio::time::sleep(backoff.after(&error).min(left)).await;
        }
        unreachable!("the loop returns")
    }
}
