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
//! **Not here**: which shards to run (`leases.rs`), what a shard consists of (`shard.rs`).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actors::committer::Release;
use actors::node::{Address, Node, NodeState};
use actors::ports::stream::ShardInfo;
use futures_util::future::join_all;
use messages::{AlertsMsg, ShardId};
use ractor::rpc::CallResult;
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use tokio::task::JoinSet;
use tracing::{error, warn};

use crate::owned::Owned;
use crate::protocol::{Ending, LeasesMsg, ShardsMsg};
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
    running: BTreeMap<ShardId, RunningShard>,
    draining: Option<RpcReplyPort<()>>,
    /// What this actor started and must not outlive it.
    tasks: JoinSet<()>,
}

/// A shard at work.
#[derive(Debug)]
struct RunningShard {
    shard: Shard,
    supervisor: ActorRef<SupervisorMsg>,
    node: Arc<Node>,
    /// Set when it was told to end; what it is told first counts.
    told: Option<Ending>,
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
        Ok(ShardsState { args, myself, running: BTreeMap::new(), draining: None, tasks: JoinSet::new() })
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
            ShardsMsg::GiveUp(shard, cause) => state.end(&shard, Ending::Failed(cause)),
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
                let broken = error.downcast_ref::<GivenUp>().filter(|given_up| given_up.is_final);
                let ending = match broken {
                    Some(given_up) => Ending::Broken(given_up.cause.clone()),
                    None => Ending::Failed(error.to_string()),
                };
                state.on_ended(cell.get_id(), ending)
            }
            SupervisionEvent::ActorTerminated(cell, _, reason) => {
                let cause = reason.unwrap_or_else(|| "it ended unexpectedly".to_owned());
                state.on_ended(cell.get_id(), Ending::Failed(cause))
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => Ok(()),
        }
    }
}

impl ShardsActor {
    async fn on_start(&self, state: &mut ShardsState, info: ShardInfo, counter: u64) -> Result<(), ActorProcessingErr> {
        let id = info.shard.clone();
        if state.draining.is_some() || state.running.contains_key(&id) {
            // The leases believe it runs; here it does not, or not for long.
            return match state.running.contains_key(&id) {
                true => Ok(()),
                false => Ok(state.args.leases.send(LeasesMsg::Ended(id, Ending::Stopped))?),
            };
        }
        let shard = (state.args.make)(info, counter);
        let path = format!("{}/{}", state.args.node.path, id.short());
        let node = Node::new(path.clone(), "shard");
        let listed = match self.surroundings.tree.register(node.clone(), None) {
            Ok(listed) => listed,
            Err(full) => {
                let ending = Ending::Failed(full.to_string());
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
        state.running.insert(id, RunningShard { shard, supervisor, node, told: None, _listed: listed });
        Ok(())
    }
}

impl ShardsState {
    fn on_hand_over(&mut self, shard: &ShardId, within: Duration) {
        let Some(running) = self.running.get_mut(shard).filter(|running| running.told.is_none()) else { return };
        running.told = Some(Ending::Released);
        running.node.set_state(NodeState::Draining);
        let supervisor = running.supervisor.clone();
        self.tasks.spawn(async move { drain(supervisor, within).await });
    }

    /// Ends a shard at once. What is not committed is read again by whoever has it next.
    fn end(&mut self, shard: &ShardId, ending: Ending) {
        let Some(running) = self.running.get_mut(shard) else { return };
        if running.told.is_none() || ending == Ending::Stopped {
            running.told = Some(ending);
            running.supervisor.kill();
        }
    }

    fn on_stop_all(&mut self) {
        for shard in self.running.keys().cloned().collect::<Vec<_>>() {
            self.end(&shard, Ending::Stopped);
        }
    }

    fn on_released(&mut self, shard: &ShardId) {
        // One that is drained ends by itself.
        let Some(running) = self.running.get_mut(shard).filter(|running| running.told.is_none()) else { return };
        running.told = Some(Ending::Released);
        let _ = running.supervisor.send_message(SupervisorMsg::Stop);
    }

    fn on_drain(&mut self, within: Duration, reply: RpcReplyPort<()>) -> Result<(), ActorProcessingErr> {
        self.args.leases.send(LeasesMsg::Leave)?;
        self.draining = Some(reply);
        let shards: Vec<_> = self.running.values().map(|running| running.supervisor.clone()).collect();
        for running in self.running.values_mut() {
            running.told.get_or_insert(Ending::Released);
            running.node.set_state(NodeState::Draining);
        }
        self.tasks.spawn(async move { drop(join_all(shards.into_iter().map(|shard| drain(shard, within))).await) });
        self.answer_when_empty();
        Ok(())
    }

    fn on_ended(&mut self, id: ActorId, otherwise: Ending) -> Result<(), ActorProcessingErr> {
        let found = self.running.iter().find(|(_, running)| running.supervisor.get_id() == id);
        let Some(shard) = found.map(|(shard, _)| shard.clone()) else { return Ok(()) };
        let Some(running) = self.running.remove(&shard) else { return Ok(()) };
        self.args.owned.remove(&shard);
        let ending = match running.told {
            _ if running.shard.release() == Some(Release::Finished) => Ending::Finished,
            _ if running.shard.release() == Some(Release::HandedOver) => Ending::Released,
            _ if running.shard.refusal().is_some() && running.told.is_none() => {
                Ending::Refused(running.shard.refusal().unwrap_or_default().to_owned())
            }
            _ if running.shard.is_lost() && running.shard.was_held() => Ending::Lost,
            // Another worker was faster.
            _ if running.shard.is_lost() => Ending::Stopped,
            Some(Ending::Released) => {
                warn!(%shard, "not handed over in time: whoever takes it reads on from its checkpoint");
                self.args.owned.note_unreleased(running.node.path.clone());
                Ending::Stopped
            }
            Some(ending) => ending,
            None => otherwise,
        };
        if let Ending::Failed(cause) = &ending {
            error!(%shard, cause, "shard failed");
        }
        self.args.leases.send(LeasesMsg::Ended(shard, ending))?;
        self.answer_when_empty();
        Ok(())
    }

    fn answer_when_empty(&mut self) {
        // Taken, so that a start that comes late is refused by the end of this actor.
        if self.running.is_empty()
            && let Some(reply) = self.draining.take()
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
