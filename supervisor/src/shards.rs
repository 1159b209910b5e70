//! Runs the subtrees of the shards that this worker owns: children that come and go.
//!
//! **Owns** one supervisor per shard, from the order to take it to its end.
//!
//! **Promises**
//! - Shards do not touch each other: each has its own restarts and its own back-off.
//! - Every end is reported once, with how it came about; nothing of a shard runs any more by then.
//! - Its mailbox is never blocked: drains are tasks that message back.
//!
//! **Fails** by stopping, and its shards with it; the leases take them again.
//!
//! **Not here**: which shards to run (`leases.rs`), what a shard consists of (`shard.rs`), how one has ended
//! (`shards/running.rs`).

mod running;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actors::node::{Address, Node, NodeState};
use actors::ports::stream::ShardInfo;
use futures_util::future::join_all;
use messages::{AlertsMsg, ShardId};
use ractor::rpc::CallResult;
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use tokio::task::JoinSet;
use tracing::{error, warn};

use self::running::{Admission, RunningShards};
use crate::owned::Owned;
use crate::protocol::{Ending, LeasesMsg, ShardFailure, ShardsMsg};
use crate::shard::Shard;
use crate::supervision::tree::Registration;
use crate::supervision::{GivenUp, Supervisor, SupervisorConfig, SupervisorMsg, Surroundings};

/// Given afresh to every incarnation.
pub struct ShardsArgs {
    /// Puts a shard together that is to be taken; the counter is the one that was seen on its row.
    pub make: Arc<dyn Fn(ShardInfo, u64) -> Shard + Send + Sync>,
    /// The shards that this worker works on, for others to look at.
    pub owned: Owned,
    /// Where alerts go.
    pub alerts: Address<AlertsMsg>,
    /// The leases, which decide.
    pub leases: Address<LeasesMsg>,
    /// This actor's node.
    pub node: Arc<Node>,
}

impl fmt::Debug for ShardsArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardsArgs").field("owned", &self.owned).finish_non_exhaustive()
    }
}

/// The behaviour; read-only while running.
#[derive(Debug)]
pub struct ShardsActor {
    /// How the actors of a shard come back.
    pub config: SupervisorConfig,
    /// What supervisors need from outside.
    pub surroundings: Surroundings,
    /// A shard that takes longer to be handed over is taken again.
    pub handover_timeout: Duration,
}

/// The live part.
#[derive(Debug)]
pub struct ShardsState {
    args: ShardsArgs,
    myself: ActorRef<ShardsMsg>,
    told: RunningShards,
    running: BTreeMap<ShardId, RunningShard>,
    drained: Option<RpcReplyPort<()>>,
    /// What this actor started and must not outlive it.
    tasks: JoinSet<()>,
}

/// A shard at work.
#[derive(Debug)]
struct RunningShard {
    shard: Shard,
    supervisor: ActorRef<SupervisorMsg>,
    node: Arc<Node>,
    _listed: Registration,
}

impl Actor for ShardsActor {
    type Msg = ShardsMsg;
    type State = ShardsState;
    type Arguments = ShardsArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<ShardsMsg>,
        args: ShardsArgs,
    ) -> Result<ShardsState, ActorProcessingErr> {
        args.owned.clear();
        args.leases.send(LeasesMsg::Attach(myself.clone()))?;
        let (told, running, drained, tasks) = Default::default();
        Ok(ShardsState { args, myself, told, running, drained, tasks })
    }

    async fn handle(
        &self,
        _myself: ActorRef<ShardsMsg>,
        message: ShardsMsg,
        state: &mut ShardsState,
    ) -> Result<(), ActorProcessingErr> {
        let node = state.args.node.clone();
        let _handling = node.handling();
        while state.tasks.try_join_next().is_some() {}
        match message {
            ShardsMsg::Start { info, counter } => self.on_start(state, info, counter).await?,
            ShardsMsg::HandOver(shard) => state.on_hand_over(&shard, self.handover_timeout),
            ShardsMsg::GiveUp(shard, failure) => state.end(&shard, Ending::Failed(failure)),
            ShardsMsg::Lost(shard) => state.end(&shard, Ending::Lost),
            ShardsMsg::StopAll => state.on_stop_all(),
            ShardsMsg::Released(shard) => state.on_released(&shard),
            ShardsMsg::Drain { within, reply } => state.on_drain(within, reply)?,
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<ShardsMsg>,
        event: SupervisionEvent,
        state: &mut ShardsState,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(cell, error) => {
                let ending = match error.downcast::<GivenUp>() {
                    Ok(given_up) => Ending::from(*given_up),
                    Err(error) => Ending::Failed(ShardFailure::Ended(error.to_string())),
                };
                state.on_ended(cell.get_id(), ending)
            }
            SupervisionEvent::ActorTerminated(cell, _, reason) => {
                let cause = reason.unwrap_or_else(|| "it ended unexpectedly".to_owned());
                state.on_ended(cell.get_id(), Ending::Failed(ShardFailure::Ended(cause)))
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => Ok(()),
        }
    }
}

impl ShardsActor {
    async fn on_start(&self, state: &mut ShardsState, info: ShardInfo, counter: u64) -> Result<(), ActorProcessingErr> {
        let id = info.shard.clone();
        match state.told.admits(&id) {
            Admission::Begins => {}
            Admission::Runs => return Ok(()),
            // The leases believe that it runs.
            Admission::Refused => return Ok(state.args.leases.send(LeasesMsg::Ended(id, Ending::Stopped))?),
        }
        let shard = (state.args.make)(info, counter);
        let path = format!("{}/{}", state.args.node.path, id.short());
        let node = Node::new(path.clone(), "shard");
        let listed = match self.surroundings.tree.register(node.clone(), None) {
            Ok(listed) => listed,
            Err(full) => {
                let ending = Ending::Failed(full.into());
                return Ok(state.args.leases.send(LeasesMsg::Ended(id, ending))?);
            }
        };
        let args = shard.supervised(path, &state.args.alerts, self.config.clone(), self.surroundings.clone());
        let myself = state.myself.clone();
        let (supervisor, _) = Supervisor::spawn_linked(None, Supervisor, args, myself.get_cell()).await?;
        node.started();
        let mut released = shard.released();
        let released_id = id.clone();
        state.tasks.spawn(async move {
            if released.wait_for(Option::is_some).await.is_ok() {
                // If the actor has ended, nothing of the shard runs either.
                let _ = myself.send_message(ShardsMsg::Released(released_id));
            }
        });
        state.args.owned.insert(shard.clone(), &node.path);
        state.told.begun(id.clone());
        state.running.insert(id, RunningShard { shard, supervisor, node, _listed: listed });
        Ok(())
    }
}

impl ShardsState {
    /// Tells a shard to end so; none if it does not run, or was told before.
    fn tell(&mut self, shard: &ShardId, ending: Ending) -> Option<&RunningShard> {
        self.told.tell(shard, ending).then(|| self.running.get(shard)).flatten()
    }

    fn on_hand_over(&mut self, shard: &ShardId, within: Duration) {
        let Some(running) = self.tell(shard, Ending::Released) else { return };
        running.node.set_state(NodeState::Draining);
        let supervisor = running.supervisor.clone();
        self.tasks.spawn(async move { drain(supervisor, within).await });
    }

    /// Ends a shard at once. What is not committed is read again by whoever has it next.
    fn end(&mut self, shard: &ShardId, ending: Ending) {
        if let Some(running) = self.tell(shard, ending) {
            running.supervisor.kill();
        }
    }

    fn on_stop_all(&mut self) {
        for shard in self.running.keys().cloned().collect::<Vec<_>>() {
            self.end(&shard, Ending::Stopped);
        }
    }

    /// One that is drained was told so, and ends by itself.
    fn on_released(&mut self, shard: &ShardId) {
        if let Some(running) = self.tell(shard, Ending::Released) {
            let _ = running.supervisor.send_message(SupervisorMsg::Stop);
        }
    }

    fn on_drain(&mut self, within: Duration, reply: RpcReplyPort<()>) -> Result<(), ActorProcessingErr> {
        self.args.leases.send(LeasesMsg::Leave)?;
        self.drained = Some(reply);
        self.told.drain();
        let shards: Vec<_> = self.running.values().map(|running| running.supervisor.clone()).collect();
        self.running.values().for_each(|running| running.node.set_state(NodeState::Draining));
        self.tasks.spawn(async move { drop(join_all(shards.into_iter().map(|shard| drain(shard, within))).await) });
        self.answer_when_drained();
        Ok(())
    }

    fn on_ended(&mut self, id: ActorId, otherwise: Ending) -> Result<(), ActorProcessingErr> {
        let found = self.running.extract_if(.., |_, running| running.supervisor.get_id() == id).next();
        let Some((shard, RunningShard { shard: work, node, .. })) = found else { return Ok(()) };
        self.args.owned.remove(&shard);
        let Some((ending, is_late)) = self.told.ended(&shard, work.fate(), otherwise) else { return Ok(()) };
        if is_late {
            warn!(%shard, "not handed over in time: whoever takes it reads on from its checkpoint");
            self.args.owned.note_unreleased(node.path.clone());
        }
        if let Ending::Failed(failure) = &ending {
            error!(%shard, cause = %failure, "shard failed");
        }
        self.args.leases.send(LeasesMsg::Ended(shard, ending))?;
        self.answer_when_drained();
        Ok(())
    }

    fn answer_when_drained(&mut self) {
        if self.told.are_drained()
            && let Some(reply) = self.drained.take()
        {
            // Whoever asked may have lost patience.
            let _ = reply.send(());
        }
    }
}

/// Lets a shard commit what it has read; it ends by itself then.
async fn drain(supervisor: ActorRef<SupervisorMsg>, within: Duration) {
    let asked = supervisor.call(|reply| SupervisorMsg::Drain { within, reply }, Some(within * 2)).await;
    // No answer means that it has ended: nothing is left to drain.
    if matches!(asked, Ok(CallResult::Timeout)) {
        supervisor.kill();
    }
}

/// Drains the actor from above. It keeps a part of its time for itself, so that its parent sees it finish.
pub async fn drain_shards(cell: ActorCell, within: Duration) {
    let shards = ActorRef::<ShardsMsg>::from(cell);
    let inner = within.mul_f64(0.9);
    let _ = shards.call(|reply| ShardsMsg::Drain { within: inner, reply }, Some(within)).await;
}
