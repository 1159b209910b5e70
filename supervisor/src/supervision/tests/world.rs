//! A supervisor over probes: actors that do as they are told and report each start and stop.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actors::node::{Address, Node, NodeState};
use actors::ports::clock::Clock;
use actors::verdict::FailureVerdict;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::supervision::tree::Tree;
use crate::supervision::{
    ChildSpec, RestartPolicy, Root, Scope, StartContext, StartError, Supervisor, SupervisorArgs, SupervisorConfig,
    SupervisorMsg, Surroundings,
};

pub(super) const LONG: Duration = Duration::from_secs(20);

/// What a probe can be told.
#[derive(Debug)]
pub(super) enum ProbeMsg {
    Fail(&'static str),
    /// Fails with what no restart mends.
    BreakPromise(&'static str),
    Panic,
    StopYourself,
    AwaitForEver,
    BlockThread(std::sync::mpsc::Receiver<()>),
    /// Sends the note to the probe before this one in the list, by the address it got at its start.
    Forward(&'static str),
    Note(&'static str),
}

/// A probe reports, and knows the sibling before it.
pub(super) struct Probe {
    pub(super) name: &'static str,
    pub(super) events: mpsc::UnboundedSender<String>,
    pub(super) before: Option<Address<ProbeMsg>>,
    pub(super) node: Arc<Node>,
}

impl Probe {
    fn report(&self, what: &str) {
        let _ = self.events.send(format!("{} {what}", self.name));
    }
}

impl Actor for Probe {
    type Msg = ProbeMsg;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<ProbeMsg>, (): ()) -> Result<(), ActorProcessingErr> {
        self.report("starts");
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<ProbeMsg>,
        message: ProbeMsg,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        let _busy = self.node.handling();
        match message {
            ProbeMsg::Fail(why) => return Err(why.into()),
            ProbeMsg::BreakPromise(why) => {
                return Err(FailureVerdict::Final.on(std::io::Error::other(why)));
            }
            ProbeMsg::Panic => panic!("probe panics"),
            ProbeMsg::StopYourself => myself.stop(Some("bored".into())),
            ProbeMsg::AwaitForEver => std::future::pending().await,
            ProbeMsg::BlockThread(gate) => {
                self.report("blocks");
                let _ = gate.recv();
                self.report("unblocked");
            }
            ProbeMsg::Forward(note) => self.before.as_ref().unwrap().send(ProbeMsg::Note(note))?,
            ProbeMsg::Note(note) => self.report(note),
        }
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<ProbeMsg>, (): &mut ()) -> Result<(), ActorProcessingErr> {
        self.report("stops");
        Ok(())
    }
}

/// A running supervisor, what its probes reported, and their current addresses.
pub(super) struct World {
    pub(super) root: Root,
    pub(super) tree: Tree,
    pub(super) events: Events,
    addresses: Addresses,
}

pub(super) type Addresses = Arc<Mutex<Vec<(&'static str, Address<ProbeMsg>)>>>;

pub(super) struct Events(mpsc::UnboundedReceiver<String>);

impl Events {
    pub(super) async fn next(&mut self) -> String {
        timeout(LONG, self.0.recv()).await.expect("an event in time").expect("a world that runs")
    }

    pub(super) async fn take(&mut self, n: usize) -> Vec<String> {
        let mut taken = Vec::new();
        for _ in 0..n {
            taken.push(self.next().await);
        }
        taken
    }

    pub(super) fn rest(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.0.try_recv().ok()).collect()
    }
}

/// What probes are made of.
#[derive(Clone)]
pub(super) struct Workshop {
    pub(super) events: mpsc::UnboundedSender<String>,
    addresses: Addresses,
    tree: Tree,
}

impl Workshop {
    pub(super) fn tree(&self) -> Tree {
        self.tree.clone()
    }

    /// A probe that holds the address of the one before it, if `before` names one.
    pub(super) fn probe(&self, name: &'static str, before: Option<&'static str>) -> ChildSpec {
        let workshop = self.clone();
        ChildSpec::new(name, "probe", move |context| {
            let workshop = workshop.clone();
            async move { workshop.start(name, before, context).await }
        })
    }

    pub(super) async fn start(
        self,
        name: &'static str,
        before: Option<&'static str>,
        context: StartContext,
    ) -> Result<ractor::ActorCell, StartError> {
        let before = before.map(|before| context.address(before)).transpose()?;
        let probe = Probe { name, events: self.events, before, node: context.node.clone() };
        let cell = context.spawn(probe, ()).await?;
        let address = Address::new(cell.clone().into(), context.node.clone());
        self.addresses.lock().unwrap().push((name, address));
        Ok(cell)
    }
}

pub(super) fn config(restarts_max: u32) -> SupervisorConfig {
    SupervisorConfig {
        restart: RestartPolicy {
            restarts_max,
            within: Duration::from_secs(600),
            backoff_min: Duration::from_millis(1),
            backoff_max: Duration::from_millis(20),
        },
        scope: Scope::RestForOne,
        start_timeout: LONG,
        stop_timeout: LONG,
        kill_grace: LONG,
    }
}

pub(super) fn surroundings(tree: &Tree) -> Surroundings {
    Surroundings { tree: tree.clone(), clock: Clock::from_fn(|| 1_700_000_000_000), jitter: Arc::new(|| 0.5) }
}

pub(super) fn a_b_c(workshop: &Workshop) -> Vec<ChildSpec> {
    vec![workshop.probe("a", None), workshop.probe("b", Some("a")), workshop.probe("c", Some("b"))]
}

impl World {
    /// Three probes a, b, c, each with the address of the one before.
    pub(super) async fn up(config: SupervisorConfig) -> Self {
        let mut world = Self::with(config, a_b_c).await;
        assert!(world.root.up().await);
        assert_eq!(world.events.take(3).await, ["a starts", "b starts", "c starts"]);
        world
    }

    pub(super) async fn with(config: SupervisorConfig, children: impl FnOnce(&Workshop) -> Vec<ChildSpec>) -> Self {
        Self::of(|workshop| SupervisorArgs::new("", children(workshop), config, surroundings(&workshop.tree))).await
    }

    pub(super) async fn of(args: impl FnOnce(&Workshop) -> SupervisorArgs) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let tree = Tree::new(100);
        let workshop = Workshop { events: sender, addresses: Addresses::default(), tree: tree.clone() };
        let root = Root::spawn(args(&workshop)).await.unwrap();
        Self { root, tree, events: Events(events), addresses: workshop.addresses }
    }

    /// The latest incarnation.
    pub(super) fn address(&self, name: &str) -> Address<ProbeMsg> {
        let addresses = self.addresses.lock().unwrap();
        addresses.iter().rev().find(|(held, _)| *held == name).unwrap().1.clone()
    }

    pub(super) fn tell(&self, name: &str, message: ProbeMsg) {
        self.address(name).send(message).unwrap();
    }

    pub(super) fn node(&self, path: &str) -> Arc<Node> {
        self.tree.find(path).unwrap()
    }

    pub(super) fn restarts(&self) -> Vec<u64> {
        self.tree.nodes().iter().map(|node| node.restarts()).collect()
    }

    /// Polls what nothing announces. The limit is for a test that fails, not for one that passes.
    pub(super) async fn until(&self, holds: impl Fn(&Self) -> bool) {
        let polls = async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(LONG, polls).await.expect("it to hold in time");
    }

    pub(super) async fn up_at(&self, path: &str) {
        self.until(|world| world.tree.find(path).is_some_and(|node| node.state() == NodeState::Running)).await;
    }
}

/// A child that is a supervisor of its own.
pub(super) fn subtree(
    name: &'static str,
    kind: &'static str,
    args: impl Fn(&StartContext) -> SupervisorArgs + Send + Sync + 'static,
) -> ChildSpec {
    let start = move |context: StartContext| {
        let args = args(&context);
        async move { context.spawn(Supervisor, args).await }
    };
    ChildSpec::new(name, kind, start).draining_by(|cell: ActorCell, within| async move {
        let within = within.mul_f64(0.9);
        // No answer means that it has ended: nothing is left to drain.
        let _ = ActorRef::from(cell).call(|reply| SupervisorMsg::Drain { within, reply }, None).await;
    })
}
