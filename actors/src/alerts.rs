//! Sends alerts out, at once, to every configured transport.
//!
//! **Owns** the alerts that are on their way.
//!
//! **Promises** an alert is handed to every transport or tried again until its time is up; its receipt is settled
//! afterwards, never before (ALERT). Each transport has a queue and slots of its own (`alerts/lanes.rs`): one that refuses
//! or hangs delays no other. One that refuses whatever it is handed is asked by one alert at a time (`alerts/breaker.rs`).
//! At most `queue_max` alerts wait for a transport and `in_flight_max` are under way to it (BOUNDED); one that finds its
//! queue full is given up there, counted, and stays in the alerts zone.
//!
//! **Fails** by stopping: receipts are not settled, so the epochs concerned send their alerts again at the next start.
//!
//! **Not here**: raising alerts.

mod breaker;
mod facts;
mod lanes;
mod recent;

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use messages::{Alert, AlertsMsg, Receipt, TraceParent};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::breaker::Breaker;
use self::facts::Facts;
use self::lanes::Lanes;
pub use self::recent::{AlertLine, AlertOutcome, RECENT_MAX, RecentAlerts};
use crate::metrics::AlertFigures;
use crate::node::{Address, Node};
use crate::ports::aws::CallError;
use crate::ports::backoff::Backoff;
use crate::ports::chance::Chance;
use crate::ports::clock::Clock;
use crate::ports::transports::Transport;
use crate::traces::{OpenSpan, Traces};

/// Fixed for the life of the process.
#[derive(Clone, Debug)]
pub struct AlertsConfig {
    /// Alerts that may wait for one receiver.
    pub queue_max: usize,
    /// Alerts under way to one receiver at once.
    pub in_flight_max: usize,
    /// For how long one alert waits for a receiver and is tried.
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
    began: Instant,
    lanes: Lanes<AlertUnderWay>,
    /// One for each receiver, in their order.
    breakers: Vec<Arc<Mutex<Breaker>>>,
    /// What this actor started and must not outlive it.
    tasks: JoinSet<()>,
    flushes: Vec<RpcReplyPort<()>>,
}

/// Before the second try of a receiver; doubled with each.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// For so long a receiver may ask to be left alone; what asks for more is wrong, or hostile.
const ASKED_MAX: Duration = Duration::from_secs(60);

/// An alert that not every transport is done with.
#[derive(Debug)]
struct AlertUnderWay {
    alert: Alert,
    parent: Option<TraceParent>,
    since: Instant,
    /// Transports that are not done with it.
    left: AtomicUsize,
    was_handed: AtomicBool,
    end: Mutex<AlertEnd>,
}

/// What is to be done when every transport is done with an alert.
#[derive(Debug)]
struct AlertEnd {
    receipt: Option<Receipt>,
    span: Option<OpenSpan>,
    /// The last word of a transport that did not take it.
    error: Option<CallError>,
}

impl AlertUnderWay {
    /// A transport is done with it. The last one settles its receipt.
    fn done(&self, error: Option<CallError>, facts: &Facts) {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        end.error = error.or(end.error.take());
        if self.left.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        if let Some(span) = end.span.take() {
            facts.done(&self.alert, span, end.error.as_ref());
        }
        if let Some(receipt) = end.receipt.take() {
            receipt.settle();
        }
    }
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
        let lanes = Lanes::new(args.transports.len(), self.config.in_flight_max);
        let breaker = |_| Arc::new(Mutex::new(Breaker::new(self.config.backoff(&args.chance))));
        let breakers = args.transports.iter().map(breaker).collect();
        let (began, tasks, flushes) = (Instant::now(), JoinSet::new(), Vec::new());
        Ok(AlertsState { args, facts, myself, began, lanes, breakers, tasks, flushes })
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
            AlertsMsg::Ended { receiver, answered } => state.lanes.ended(receiver, answered, state.began.elapsed()),
            AlertsMsg::Flush(reply) => state.flushes.push(reply),
            AlertsMsg::Left(reply) => drop(reply.send(state.left())),
        }
        while state.tasks.try_join_next().is_some() {}
        state.start_waiting(&self.config);
        if state.lanes.left().all(|left| left == 0) {
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
        let lanes = self.lanes.with_room(room);
        if lanes.is_empty() && !self.args.transports.is_empty() {
            self.facts.shed(&alert, trace);
            // It counts as given up, as one that nobody takes in time: it stays in the alerts zone.
            if let Some(receipt) = receipt {
                receipt.settle();
            }
            return;
        }
        self.enqueue(lanes, alert, receipt, trace);
    }

    /// Takes alerts while there is room, and leaves half of it to those that nobody can keep for later.
    fn on_offer(&mut self, alerts: Vec<Offered>, config: &AlertsConfig) -> Vec<Offered> {
        let mut alerts = alerts.into_iter();
        while self.lanes.waiting(self.began.elapsed()) < config.queue_max / 2 {
            let Some((alert, receipt)) = alerts.next() else { break };
            self.enqueue(self.lanes.with_room(config.queue_max / 2), alert, receipt, None);
        }
        alerts.collect()
    }

    /// Puts an alert into these lanes. It is given up for the transports whose queues are full.
    fn enqueue(&mut self, lanes: Vec<usize>, alert: Alert, receipt: Option<Receipt>, trace: Option<TraceParent>) {
        let span = self.facts.waits(&alert, trace);
        let full = (0..self.args.transports.len()).filter(|lane| !lanes.contains(lane));
        let refused: Vec<CallError> = full.map(|lane| self.facts.full(&self.args.transports[lane], &alert)).collect();
        let parent = span.at();
        let end = AlertEnd { receipt, span: Some(span), error: refused.into_iter().next() };
        // One more than there are, so that it is not done before it is in all lanes.
        let (left, was_handed) = (AtomicUsize::new(lanes.len() + 1), AtomicBool::new(false));
        let (since, end) = (Instant::now(), Mutex::new(end));
        let item = Arc::new(AlertUnderWay { alert, parent, since, left, was_handed, end });
        if lanes.is_empty() {
            self.facts.handed_over(&item.alert);
        }
        self.lanes.push(&lanes, &item, self.began.elapsed());
        item.done(None, &self.facts);
    }

    /// Receivers that have not taken everything.
    fn left(&self) -> Vec<(String, u64)> {
        let named = self.args.transports.iter().map(Transport::name).zip(self.lanes.left());
        named.filter(|(_, left)| *left > 0).map(|(name, left)| (name, left as u64)).collect()
    }

    fn start_waiting(&mut self, config: &AlertsConfig) {
        while let Some((lane, item)) = self.lanes.next() {
            let delivery = Delivery {
                transport: self.args.transports[lane].clone(),
                breaker: self.breakers[lane].clone(),
                began: self.began,
                chance: self.args.chance.clone(),
                facts: self.facts.clone(),
                config: config.clone(),
            };
            let myself = self.myself.clone();
            self.tasks.spawn(async move {
                let delivered = AssertUnwindSafe(delivery.deliver(&item)).catch_unwind().await;
                // After a panic its receipt stays open: the alert is sent again at the next start.
                let answered = delivered.unwrap_or_else(|_| {
                    delivery.facts.panicked(&item.alert);
                    false
                });
                let _ = myself.send(AlertsMsg::Ended { receiver: lane, answered });
            });
        }
        self.facts.under_way(self.lanes.left().max().unwrap_or(0));
    }
}

impl AlertsConfig {
    fn backoff(&self, chance: &Chance) -> Backoff {
        Backoff::new(chance, BACKOFF_MIN, self.backoff_max).heeding(ASKED_MAX)
    }
}

struct Delivery {
    transport: Transport,
    breaker: Arc<Mutex<Breaker>>,
    /// What the breaker counts its time from.
    began: Instant,
    chance: Chance,
    facts: Facts,
    config: AlertsConfig,
}

impl Delivery {
    /// Answers whether the receiver takes alerts, if not this one.
    async fn deliver(&self, item: &AlertUnderWay) -> bool {
        if !item.was_handed.swap(true, Ordering::Relaxed) {
            self.facts.handed_over(&item.alert);
        }
        let handed = self.hand_over(item).await;
        let answered = handed.as_ref().err().is_none_or(is_for_its_own_sake);
        item.done(handed.err(), &self.facts);
        answered
    }

    /// Fails with the last word of a receiver that did not take the alert in time.
    async fn hand_over(&self, item: &AlertUnderWay) -> Result<(), CallError> {
        let handing = self.facts.hands(&self.transport, &item.alert, item.parent);
        let began = Instant::now();
        let mut backoff = self.config.backoff(&self.chance);
        for attempt in 1u32.. {
            let Err(error) = self.try_once(item).await else {
                handing.taken(attempt, began.elapsed());
                return Ok(());
            };
            // The last try is at the very end, whatever the receiver asks for.
            let left = self.left(item);
            if is_for_its_own_sake(&error) || left.is_zero() {
                handing.given_up(attempt, &error);
                return Err(error);
            }
            handing.retries(&error);
            tokio::time::sleep(backoff.after(&error).min(left)).await;
        }
        unreachable!("the loop returns")
    }

    fn left(&self, item: &AlertUnderWay) -> Duration {
        self.config.retry_for.saturating_sub(item.since.elapsed())
    }

    /// One try, as soon as the receiver may be asked; if that is not in time, what it has said to others.
    async fn try_once(&self, item: &AlertUnderWay) -> Result<(), CallError> {
        while let Some((wait, error)) = self.wait() {
            let left = self.left(item);
            if left.is_zero() {
                return Err(error);
            }
            tokio::time::sleep(wait.min(left)).await;
        }
        let asked = self.began.elapsed();
        let sent = self.transport.send(&item.alert).await;
        match &sent {
            Err(error) if error.is_of_all() => self.refused(asked, error),
            Err(error) if !is_for_its_own_sake(error) => {}
            Ok(()) | Err(_) => self.passed(asked),
        }
        sent
    }

    fn wait(&self) -> Option<(Duration, CallError)> {
        self.breaker().ask(self.began.elapsed()).err()
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refused(&self, asked: Duration, error: &CallError) {
        if self.breaker().refused(asked, self.began.elapsed(), error) {
            self.facts.refuses(&self.transport, error);
        }
    }

    fn passed(&self, asked: Duration) {
        if self.breaker().passed(asked) {
            self.facts.takes_again(&self.transport);
        }
    }
}

/// Whether a receiver refuses this alert, as it would not another one: it will not take it later either.
fn is_for_its_own_sake(error: &CallError) -> bool {
    !error.may_pass() && !error.is_of_all()
}
