//! The live part of a supervisor: what runs, what is under way, what must be done about failures.
//!
//! **Owns** the children's slots and at most one piece of work in flight.
//! **Promises** every message leaves either work in flight or nothing to do: [`SupervisorState::advance`] compares what is with
//! what should be and begins the next step. So failures may come at any moment, also during starts and back-offs.
//! **Fails** with the supervisor; tasks in flight are aborted with it.

mod work;

use std::sync::Arc;
use std::time::Duration;

use actors::node::{Node, NodeState};
use actors::verdict::FailureVerdict;
use ractor::{ActorCell, ActorId, ActorRef, RpcReplyPort};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use self::work::report;
use super::child::Sibling;
use super::halt;
use super::history::Intensity;
use super::prepared::{Prepare, Prepared};
use super::restart::{Decision, RestartBudget};
use super::task::Task;
use super::tree::{Overseer, Registration, TreeFull};
use super::{
    ChildSpec, GivenUp, Scope, StartError, SupervisorArgs, SupervisorConfig, SupervisorMsg, Surroundings, chain, facts,
};

/// Callers that wait for all children to run; more than a few would be a mistake.
const WAITERS_MAX: usize = 16;

/// The live part of a supervisor.
#[derive(Debug)]
pub struct SupervisorState {
    myself: ActorRef<SupervisorMsg>,
    path: String,
    config: SupervisorConfig,
    surroundings: Surroundings,
    children: Vec<Child>,
    prepare: Option<Prepare>,
    // What is left of it for those that have not started yet.
    prepared: Prepared,
    budget: RestartBudget,
    intensity: Arc<Intensity>,
    began: Instant,
    recovery: Option<Recovery>,
    // Set from the order to the end of the drain.
    drain: Option<DrainOrder>,
    work: Option<WorkInFlight>,
    works: u64,
    waiters: Vec<RpcReplyPort<()>>,
    outcome: Option<oneshot::Sender<Result<(), GivenUp>>>,
}

#[derive(Debug)]
struct Child {
    spec: Arc<ChildSpec>,
    node: Arc<Node>,
    slot: ChildSlot,
    starts: u64,
    killed_for: Option<String>,
    _listed: Registration,
}

#[derive(Debug)]
enum ChildSlot {
    Down,
    Up(ActorCell),
    Leaving(ActorCell),
}

/// What failures ask for: everything from `from` on has to stop, and then what.
#[derive(Debug)]
struct Recovery {
    from: usize,
    then: Then,
}

#[derive(Debug)]
enum Then {
    Restart(Duration),
    GiveUp(GivenUp),
}

#[derive(Debug)]
struct DrainOrder {
    deadline: Instant,
    reply: RpcReplyPort<Vec<String>>,
}

/// What becomes of a child that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It comes back, within limits.
    Restart,
    /// It would fail again.
    GiveUp,
    /// It is not to run: no failure.
    Yield,
}

impl Fate {
    fn of(error: &StartError) -> Self {
        match error {
            StartError::Final(_) => Self::GiveUp,
            StartError::Yields(_) => Self::Yield,
            _ => Self::Restart,
        }
    }
}

/// The one thing under way.
#[derive(Debug)]
struct WorkInFlight {
    number: u64,
    kind: WorkKind,
    _task: Task<()>,
}

#[derive(Debug)]
enum WorkKind {
    /// `early`: actors that ended before their start was reported.
    Start {
        index: usize,
        early: Vec<(ActorId, String)>,
    },
    Halt {
        index: usize,
    },
    BackOff,
    Drain,
}

/// A report of the supervisor's own tasks and timers.
#[derive(Debug)]
pub struct WorkDone(WorkReport);

#[derive(Debug)]
enum WorkReport {
    Started { number: u64, result: Result<(ActorCell, Prepared), StartError> },
    Done { number: u64 },
    Drained { number: u64, late: Vec<String> },
    KillDue(ActorId),
}

impl SupervisorState {
    pub(super) fn new(myself: ActorRef<SupervisorMsg>, args: SupervisorArgs) -> Result<Self, TreeFull> {
        let SupervisorArgs { path, children, prepare, config, surroundings, outcome } = args;
        let intensity = Arc::new(Intensity::new(&config.restart));
        let list = |spec: ChildSpec| {
            let path = if path.is_empty() { spec.name.clone() } else { format!("{path}/{}", spec.name) };
            let node = Node::new(path, spec.kind);
            let overseer = Overseer { supervisor: myself.clone(), intensity: intensity.clone() };
            let listed = surroundings.tree.register(node.clone(), Some(overseer))?;
            let spec = Arc::new(spec);
            Ok(Child { spec, node, slot: ChildSlot::Down, starts: 0, killed_for: None, _listed: listed })
        };
        Ok(Self {
            children: children.into_iter().map(list).collect::<Result<_, TreeFull>>()?,
            prepare,
            prepared: Prepared::default(),
            budget: RestartBudget::new(config.restart.clone()),
            intensity,
            began: Instant::now(),
            recovery: None,
            drain: None,
            work: None,
            works: 0,
            waiters: Vec::new(),
            myself,
            path,
            config,
            surroundings,
            outcome,
        })
    }

    pub(super) fn on_drain(&mut self, within: Duration, reply: RpcReplyPort<Vec<String>>) -> Result<(), GivenUp> {
        if self.drain.is_none() {
            self.drain = Some(DrainOrder { deadline: Instant::now() + within, reply });
            self.cancel_back_off();
        }
        self.advance()
    }

    pub(super) fn on_await_up(&mut self, reply: RpcReplyPort<()>) {
        // A reply that is dropped tells its asker so.
        if self.waiters.len() < WAITERS_MAX {
            self.waiters.push(reply);
        }
        if self.is_up() {
            self.tell_waiters();
        }
    }

    pub(super) fn on_kill(&mut self, path: &str, cause: String) {
        let Some(child) = self.children.iter_mut().find(|child| child.node.path == path) else { return };
        // While it leaves, the halt has its own clock.
        let ChildSlot::Up(cell) = &child.slot else { return };
        if child.killed_for.is_some() {
            return;
        }
        cell.kill();
        child.killed_for = Some(cause);
        let (myself, id, grace) = (self.myself.clone(), cell.get_id(), self.config.kill_grace);
        tokio::spawn(async move {
            sleep(grace).await;
            report(&myself, WorkReport::KillDue(id));
        });
    }

    pub(super) fn on_step(&mut self, step: WorkDone) -> Result<(), GivenUp> {
        match step.0 {
            WorkReport::KillDue(id) => return self.on_kill_due(id),
            WorkReport::Started { number, result } => {
                if let Some(WorkKind::Start { index, early }) = self.finish(number) {
                    self.on_start_result(index, early, result);
                }
            }
            WorkReport::Done { number } => {
                if let Some(WorkKind::Halt { index }) = self.finish(number) {
                    self.children[index].slot = ChildSlot::Down;
                }
            }
            WorkReport::Drained { number, late } => {
                if self.finish(number).is_some() {
                    self.on_drained(late);
                    return Ok(());
                }
            }
        }
        self.advance()
    }

    /// A start that was given up may still link its actor late.
    pub(super) fn on_started(&mut self, cell: &ActorCell) {
        let starting = matches!(self.work, Some(WorkInFlight { kind: WorkKind::Start { .. }, .. }));
        if !starting && !self.knows(cell) {
            facts::stranger_killed(&self.path);
            cell.kill();
        }
    }

    /// An actor ended; with a verdict if it has failed, without one if its end is in order when it was asked for.
    pub(super) fn on_ended(
        &mut self,
        cell: &ActorCell,
        cause: String,
        failed: Option<FailureVerdict>,
    ) -> Result<(), GivenUp> {
        if let Some(WorkInFlight { kind: WorkKind::Start { early, .. }, .. }) = &mut self.work
            && !self.children.iter().any(|child| child.slot.holds(cell))
        {
            early.push((cell.get_id(), cause));
            return Ok(());
        }
        let Some(index) = self.children.iter().position(|child| child.slot.holds(cell)) else { return Ok(()) };
        match self.children[index].slot {
            // The slot is freed when the halt reports.
            ChildSlot::Leaving(_) if failed.is_some() => {
                self.report(index).failed_at_the_end(&cause);
            }
            ChildSlot::Leaving(_) | ChildSlot::Down => (),
            ChildSlot::Up(_) if failed == Some(FailureVerdict::Final) => self.on_failure(index, cause, Fate::GiveUp),
            ChildSlot::Up(_) => self.on_failure(index, cause, Fate::Restart),
        }
        self.advance()
    }

    /// Stops everything, last of the list first. For `post_stop`.
    pub(super) async fn halt_all(&mut self) {
        self.work = None;
        for index in (0..self.children.len()).rev() {
            if let Some(leaving) = self.leave(index) {
                // How it ended is logged where it is found out.
                let _ = leaving.halt().await;
                self.children[index].node.set_state(NodeState::Stopped);
            }
        }
        if let Some(outcome) = self.outcome.take() {
            // Nobody waits for the outcome any more: then nobody needs it.
            let _ = outcome.send(Ok(()));
        }
    }

    fn on_kill_due(&mut self, id: ActorId) -> Result<(), GivenUp> {
        let is_up = |child: &Child| matches!(&child.slot, ChildSlot::Up(cell) if cell.get_id() == id);
        let Some(index) = self.children.iter().position(is_up) else { return Ok(()) };
        if let ChildSlot::Up(cell) = &self.children[index].slot {
            halt::abandon(cell, &self.myself.get_cell(), &self.children[index].node);
        }
        self.on_failure(index, "it blocks its thread".to_owned(), Fate::Restart);
        self.advance()
    }

    fn on_start_result(
        &mut self,
        index: usize,
        early: Vec<(ActorId, String)>,
        result: Result<(ActorCell, Prepared), StartError>,
    ) {
        let cell = match result {
            Ok((cell, prepared)) => {
                // What an incarnation that is to end has left is of no use to the next.
                self.prepared =
                    if self.recovery.is_none() && self.drain.is_none() { prepared } else { Prepared::default() };
                cell
            }
            Err(error) => {
                self.kill_strangers();
                return self.on_failure(index, chain(&error), Fate::of(&error));
            }
        };
        if let Some((_, cause)) = early.into_iter().find(|(id, _)| *id == cell.get_id()) {
            return self.on_failure(index, cause, Fate::Restart);
        }
        self.children[index].slot = ChildSlot::Up(cell);
        self.children[index].node.started();
    }

    fn on_drained(&mut self, late: Vec<String>) {
        for child in &mut self.children {
            child.slot = ChildSlot::Down;
        }
        if let Some(DrainOrder { reply, .. }) = self.drain.take() {
            // Whoever asked may have lost patience.
            let _ = reply.send(late);
        }
        self.myself.stop(None);
    }

    fn on_failure(&mut self, index: usize, cause: String, fate: Fate) {
        let giving_up = matches!(&self.recovery, Some(Recovery { then: Then::GiveUp(_), .. }));
        let ending = giving_up || self.drain.is_some();
        let child = &mut self.children[index];
        child.slot = ChildSlot::Down;
        let cause = match child.killed_for.take() {
            Some(killed_for) => format!("{killed_for}; {cause}"),
            None => cause,
        };
        if ending {
            self.report(index).failed_at_the_end(&cause);
            if self.config.scope == Scope::OneForAll {
                // None of the others can finish without it.
                self.children.iter().for_each(|child| child.slot.kill());
            }
            return;
        }
        if fate == Fate::Yield {
            self.report(index).yields(&cause);
            return self.recover_by(self.give_up_on(index, cause, fate));
        }
        if let Some(told) = &self.children[index].spec.told {
            told(&cause);
        }
        let decision = match fate {
            Fate::Restart => self.budget.failed(self.began.elapsed(), (self.surroundings.jitter)()),
            Fate::GiveUp | Fate::Yield => Decision::GiveUp,
        };
        let attempt = self.intensity.failed();
        let recovery = match decision {
            Decision::RestartAfter(delay) => {
                self.report(index).restarts(&cause, attempt, delay);
                let from = match self.config.scope {
                    Scope::RestForOne => index,
                    Scope::OneForAll => 0,
                };
                Recovery { from, then: Then::Restart(delay) }
            }
            Decision::GiveUp => {
                let recovery = self.give_up_on(index, cause, fate);
                if let Then::GiveUp(error) = &recovery.then {
                    self.report(index).given_up(error, attempt);
                }
                recovery
            }
        };
        self.recover_by(recovery);
    }

    fn give_up_on(&self, index: usize, cause: String, fate: Fate) -> Recovery {
        let verdict = if fate == Fate::GiveUp { FailureVerdict::Final } else { FailureVerdict::Restart };
        let policy = self.budget.policy();
        let (restarts_max, within) = (policy.restarts_max, policy.within);
        let error = GivenUp { child: self.children[index].node.path.clone(), cause, restarts_max, within, verdict };
        Recovery { from: 0, then: Then::GiveUp(error) }
    }

    fn recover_by(&mut self, recovery: Recovery) {
        self.recovery = Some(recovery.joined(self.recovery.take()));
        self.prepared = Prepared::default();
        self.cancel_back_off();
    }

    fn report(&self, index: usize) -> facts::ChildFacts<'_> {
        facts::ChildFacts {
            node: &self.children[index].node,
            tree: &self.surroundings.tree,
            intensity: &self.intensity,
            now_ms: self.surroundings.clock.now_ms(),
        }
    }

    fn kill_strangers(&self) {
        for cell in self.myself.get_children().into_iter().filter(|cell| !self.knows(cell)) {
            facts::stranger_killed(&self.path);
            cell.kill();
        }
    }

    fn knows(&self, cell: &ActorCell) -> bool {
        self.children.iter().any(|child| child.slot.holds(cell))
    }

    fn is_up(&self) -> bool {
        self.children.iter().all(|child| matches!(child.slot, ChildSlot::Up(_)))
    }

    fn tell_waiters(&mut self) {
        for waiter in self.waiters.drain(..) {
            let _ = waiter.send(());
        }
    }
}

impl Child {
    fn sibling(&self) -> Option<Sibling> {
        let ChildSlot::Up(cell) = &self.slot else { return None };
        Some(Sibling { name: self.spec.name.clone(), cell: cell.clone(), node: self.node.clone() })
    }
}

impl ChildSlot {
    fn kill(&self) {
        if let Self::Up(cell) | Self::Leaving(cell) = self {
            cell.kill();
        }
    }

    fn holds(&self, cell: &ActorCell) -> bool {
        match self {
            Self::Down => false,
            Self::Up(held) | Self::Leaving(held) => held == cell,
        }
    }
}

impl Recovery {
    // The wider scope, the harder decision, the longer delay.
    fn joined(self, other: Option<Self>) -> Self {
        let Some(other) = other else { return self };
        let from = self.from.min(other.from);
        let then = match (self.then, other.then) {
            (Then::Restart(a), Then::Restart(b)) => Then::Restart(a.max(b)),
            (Then::GiveUp(error), _) | (_, Then::GiveUp(error)) => Then::GiveUp(error),
        };
        Self { from, then }
    }
}
