//! What the whole worker consists of right now, for the ops endpoint and the watchdog.
//!
//! **Owns** the list of nodes, in the order in which they were registered: downstream first; and the last failures.
//! **Promises** at most `nodes_max` entries: actors only, never sensors. Nothing is process-wide: whoever may look
//! holds a handle.
//! **Fails** never: a node leaves the list when its registration is dropped, also by a crash.
//! **Not here**: the counters themselves (`actors::node`), restarts (`supervision.rs`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use actors::node::Node;
use actors::ring::Ring;
use ractor::ActorRef;
use tokio::sync::watch;

use super::SupervisorMsg;
use super::history::{FAILURES_MAX, FailureRecord, Intensity};

/// A handle on the list of nodes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tree(Arc<Nodes>);

#[derive(Debug)]
struct Nodes {
    nodes_max: usize,
    entries: Mutex<Vec<TreeEntry>>,
    failures: Ring<FailureRecord>,
    /// The number of the last failure.
    fallen: watch::Sender<u64>,
}

#[derive(Clone, Debug)]
struct TreeEntry {
    node: Arc<Node>,
    overseer: Option<Overseer>,
}

/// The supervisor that restarts a node's actor.
#[derive(Clone, Debug)]
pub struct Overseer {
    /// The supervisor.
    pub supervisor: ActorRef<SupervisorMsg>,
    /// What it has left.
    pub intensity: Arc<Intensity>,
}

/// A node with its restart budget; none for one that is nobody's child.
#[derive(Clone, Debug)]
pub struct ListedNode {
    /// The node.
    pub node: Arc<Node>,
    /// The budget that it shares with its siblings.
    pub intensity: Option<Arc<Intensity>>,
}

/// The list is as long as it may get: somebody registers what is not an actor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the supervision tree is full: {nodes_max} nodes")]
pub struct TreeFull {
    /// The limit.
    pub nodes_max: usize,
}

impl Tree {
    /// An empty list.
    pub fn new(nodes_max: usize) -> Self {
        let (failures, fallen) = (Ring::new(FAILURES_MAX), watch::Sender::new(0));
        Self(Arc::new(Nodes { nodes_max, entries: Mutex::default(), failures, fallen }))
    }

    /// Lists a node until the registration is dropped. A node with the same path is replaced in its place: it
    /// belongs to an incarnation that is on its way out. `overseer` is who can kill the node's actor.
    pub fn register(&self, node: Arc<Node>, overseer: Option<Overseer>) -> Result<Registration, TreeFull> {
        let mut entries = self.0.entries();
        let registration = Registration { tree: Arc::downgrade(&self.0), node: node.clone() };
        match entries.iter().position(|entry| entry.node.path == node.path) {
            Some(place) => entries[place] = TreeEntry { node, overseer },
            None if entries.len() >= self.0.nodes_max => {
                drop(entries);
                return Err(TreeFull { nodes_max: self.0.nodes_max });
            }
            None => entries.push(TreeEntry { node, overseer }),
        }
        Ok(registration)
    }

    /// All nodes.
    pub fn nodes(&self) -> Vec<Arc<Node>> {
        self.0.entries().iter().map(|entry| entry.node.clone()).collect()
    }

    /// All nodes with their restart budgets.
    pub fn listed(&self) -> Vec<ListedNode> {
        let listed = |entry: &TreeEntry| ListedNode {
            node: entry.node.clone(),
            intensity: entry.overseer.as_ref().map(|overseer| overseer.intensity.clone()),
        };
        self.0.entries().iter().map(listed).collect()
    }

    /// Remembers a failure under the next number.
    pub(super) fn fell(&self, failure: FailureRecord) {
        self.0.fallen.send_modify(|number| {
            *number += 1;
            self.0.failures.push(FailureRecord { number: *number, ..failure });
        });
    }

    /// The last failures, newest first.
    pub fn failures(&self) -> Vec<FailureRecord> {
        self.0.failures.all()
    }

    /// Changes with every failure.
    pub fn fallen(&self) -> watch::Receiver<u64> {
        self.0.fallen.subscribe()
    }

    /// The node with this path.
    pub fn find(&self, path: &str) -> Option<Arc<Node>> {
        self.0.entries().iter().find(|entry| entry.node.path == path).map(|entry| entry.node.clone())
    }

    /// Has the actor behind a path killed as if it had failed with this cause; its supervisor restarts it.
    /// False if nobody supervises such a node.
    pub fn kill(&self, path: &str, cause: &str) -> bool {
        let entry = self.0.entries().iter().find(|entry| entry.node.path == path).cloned();
        let Some(Overseer { supervisor, .. }) = entry.and_then(|entry| entry.overseer) else { return false };
        let kill = SupervisorMsg::Kill { path: path.to_owned(), cause: cause.to_owned() };
        supervisor.send_message(kill).is_ok()
    }
}

impl Nodes {
    // The list is changed by single assignments: a panic elsewhere cannot leave it half changed.
    fn entries(&self) -> MutexGuard<'_, Vec<TreeEntry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a node listed for as long as it lives.
#[derive(Debug)]
pub struct Registration {
    // Weak: the list holds supervisors, whose state holds registrations.
    tree: Weak<Nodes>,
    node: Arc<Node>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let Some(tree) = self.tree.upgrade() else { return };
        // By identity: the successor may be registered under the same path already.
        tree.entries().retain(|entry| !Arc::ptr_eq(&entry.node, &self.node));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(tree: &Tree) -> Vec<String> {
        tree.nodes().iter().map(|node| node.path.clone()).collect()
    }

    #[test]
    fn nodes_are_listed_in_order_until_their_registration_is_dropped() {
        let tree = Tree::new(10);
        let _b = tree.register(Node::new("b", "actor"), None).unwrap();
        let a = tree.register(Node::new("a", "actor"), None).unwrap();
        assert_eq!(paths(&tree), ["b", "a"]);
        assert!(tree.find("a").is_some());
        drop(a);
        assert_eq!(paths(&tree), ["b"]);
    }

    #[test]
    fn a_late_predecessor_does_not_remove_its_successor() {
        let tree = Tree::new(1);
        let old = tree.register(Node::new("a", "actor"), None).unwrap();
        let new = Node::new("a", "actor");
        let _new = tree.register(new.clone(), None).unwrap();
        drop(old);
        assert!(Arc::ptr_eq(&tree.find("a").unwrap(), &new));
    }

    #[test]
    fn the_list_is_bounded() {
        let tree = Tree::new(1);
        let _a = tree.register(Node::new("a", "actor"), None).unwrap();
        assert_eq!(tree.register(Node::new("b", "actor"), None).unwrap_err().nodes_max, 1);
    }

    #[test]
    fn nobody_kills_a_node_without_a_supervisor() {
        let tree = Tree::new(1);
        let _a = tree.register(Node::new("a", "actor"), None).unwrap();
        assert!(!tree.kill("a", "test"));
        assert!(!tree.kill("b", "test"));
    }
}
