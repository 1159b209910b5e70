//! `GET /events`: what the page shows, and from then on what changes in it, as server-sent events.
//!
//! **Owns** the last snapshot that was sent, while somebody listens.
//!
//! **Promises**
//! - One producer for all listeners, at most `event_listeners_max` of them; without any it does not run.
//! - Every listener begins with a whole snapshot. What follows is numbered without gaps; a listener that is too slow
//!   gets a whole snapshot again.
//!
//! **Fails** with its connection; a page connects again.
//! **Not here**: sensors. There are too many of them: a page asks for those that it shows.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use axum::response::sse::{Event, Sse};
use futures_util::stream;
use serde::Serialize;
use serde_json::{Map, Value as Json, json};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{MissedTickBehavior, interval};

use super::OpsState;
use super::reply::Refusal;
use super::snapshot::Snapshot;
use crate::supervision::task::Task;

/// Time between two changes.
const EVERY: Duration = Duration::from_secs(1);
/// A failure is told at once, but not more often than this.
const AT_ONCE: Duration = Duration::from_millis(100);
/// Changes that a slow listener may be behind.
const BEHIND_MAX: usize = 16;
/// Restarts and alerts in a snapshot; the routes have more.
const LATEST_MAX: usize = 60;

/// What is sent, by key: `overview`, `node/<path>`, `shard/<id>`, `worker/<id>`, `restart/<id>`, `alert/<id>`.
type Entries = BTreeMap<String, Map<String, Json>>;

/// The listeners, and what they were told.
#[derive(Debug, Default)]
pub(super) struct Events {
    listeners: AtomicUsize,
    live: Mutex<Option<Live>>,
}

#[derive(Debug)]
struct Live {
    number: u64,
    at_ms: i64,
    entries: Entries,
    sender: broadcast::Sender<Arc<str>>,
    _producer: Task<()>,
}

/// One listener, counted for as long as it lives.
struct Listener {
    state: Arc<OpsState>,
    receiver: broadcast::Receiver<Arc<str>>,
    first: Option<String>,
}

pub(super) async fn events(State(state): State<Arc<OpsState>>) -> Result<impl IntoResponse, Refusal> {
    let listener = Listener::join(state)?;
    let events = stream::unfold(listener, |mut listener| async move {
        let event = listener.next().await?;
        Some((Ok::<_, Infallible>(event), listener))
    });
    // By itself an event stream may be stored, if it is asked for again before use.
    Ok(([(CACHE_CONTROL, "no-store")], Sse::new(events)))
}

impl Listener {
    fn join(state: Arc<OpsState>) -> Result<Self, Refusal> {
        let max = state.config.event_listeners_max;
        let events = &state.memory.events;
        let joined = events.listeners.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < max).then_some(n + 1));
        if joined.is_err() {
            let error = format!("{max} pages are listening already");
            let hint = "close one, or raise ops.event_listeners_max; /overview, /tree and /shards answer anyway";
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error, hint));
        }
        let (receiver, first) = Events::subscribe(&state);
        Ok(Self { state, receiver, first: Some(first) })
    }

    async fn next(&mut self) -> Option<Event> {
        if let Some(snapshot) = self.first.take() {
            return Some(Event::default().event("picture").data(snapshot));
        }
        match self.receiver.recv().await {
            Ok(change) => Some(Event::default().event("change").data(change)),
            Err(RecvError::Lagged(_)) => {
                let (receiver, snapshot) = Events::subscribe(&self.state);
                self.receiver = receiver;
                Some(Event::default().event("picture").data(snapshot))
            }
            Err(RecvError::Closed) => None,
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.state.memory.events.listeners.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Events {
    /// The changes from now on, and the snapshot that they begin from.
    fn subscribe(state: &Arc<OpsState>) -> (broadcast::Receiver<Arc<str>>, String) {
        let mut live = state.memory.events.live();
        let live = live.get_or_insert_with(|| {
            let (at_ms, entries) = entries(state, &Snapshot::of(state));
            let producer = Task::spawn(produce(state.clone()));
            Live { number: 1, at_ms, entries, sender: broadcast::Sender::new(BEHIND_MAX), _producer: producer }
        });
        let snapshot = json!({ "number": live.number, "at_ms": live.at_ms, "entries": live.entries });
        (live.sender.subscribe(), snapshot.to_string())
    }

    /// Tells the listeners what has changed. False if there are none any more.
    fn tell(&self, at_ms: i64, entries: Entries) -> bool {
        let mut guard = self.live();
        let Some(live) = guard.as_mut().filter(|live| live.sender.receiver_count() > 0) else {
            *guard = None;
            return false;
        };
        live.number += 1;
        live.at_ms = at_ms;
        let change = json!({
            "number": live.number,
            "at_ms": at_ms,
            "set": changed(&live.entries, &entries),
            "gone": gone(&live.entries, &entries),
        });
        live.entries = entries;
        // The last of them may have left just now: the next time finds out.
        let _ = live.sender.send(change.to_string().into());
        true
    }

    // A panic while the lock was held leaves a whole snapshot behind, or none.
    fn live(&self) -> MutexGuard<'_, Option<Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn produce(state: Arc<OpsState>) {
    let mut fallen = state.tree.fallen();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            Ok(()) = fallen.changed() => tokio::time::sleep(AT_ONCE).await,
        }
        fallen.mark_unchanged();
        // One of before the failure would tell of it a second late.
        let (at_ms, entries) = entries(&state, &Snapshot::anew(&state));
        if !state.memory.events.tell(at_ms, entries) {
            return;
        }
    }
}

fn entries(state: &OpsState, snapshot: &Snapshot) -> (i64, Entries) {
    let at_ms = snapshot.at_ms;
    let mut entries = Entries::new();
    let mut add = |kind: &str, id: &str, value: &dyn erased::Shown| {
        let key = if id.is_empty() { kind.to_owned() } else { format!("{kind}/{id}") };
        entries.insert(key, value.fields());
    };
    add("overview", "", &snapshot.overview);
    for (at, node) in snapshot.nodes.iter().enumerate() {
        let since_ms = at_ms - i64::try_from(node.uptime_s).unwrap_or(i64::MAX / 2).saturating_mul(1000);
        let key = format!("since {}", node.path);
        add("node", &node.path, &Placed { node, at, since_ms: state.memory.sampler.steady(&key, since_ms, at_ms) });
    }
    snapshot.shards.iter().for_each(|shard| add("shard", &shard.shard, shard));
    snapshot.workers.iter().for_each(|worker| add("worker", &worker.worker, worker));
    snapshot.restarts.iter().take(LATEST_MAX).for_each(|restart| add("restart", &restart.id, restart));
    snapshot.alerts.iter().take(LATEST_MAX).for_each(|alert| add("alert", &alert.alert.id, alert));
    for (key, fields) in &mut entries {
        if key.starts_with("node/") {
            // Told by `since_ms`, which does not change every second.
            fields.remove("uptime_s");
            fields.remove("children");
        }
    }
    (at_ms, entries)
}

/// An actor with its place in the order of the tree.
#[derive(Serialize)]
struct Placed<'a> {
    #[serde(flatten)]
    node: &'a super::tree::TreeNode,
    at: usize,
    since_ms: i64,
}

mod erased {
    //! Anything that serialises as an object, without a type parameter.

    use serde::Serialize;
    use serde_json::{Map, Value};

    pub(super) trait Shown {
        fn fields(&self) -> Map<String, Value>;
    }

    impl<T: Serialize> Shown for T {
        fn fields(&self) -> Map<String, Value> {
            match serde_json::to_value(self) {
                Ok(Value::Object(fields)) => fields,
                // Only structs are shown; a number that JSON has no word for is null.
                Ok(_) | Err(_) => Map::new(),
            }
        }
    }
}

/// What is new, and of what was there the fields that differ.
fn changed(before: &Entries, now: &Entries) -> Map<String, Json> {
    let mut set = Map::new();
    for (key, fields) in now {
        let Some(old) = before.get(key) else {
            set.insert(key.clone(), Json::Object(fields.clone()));
            continue;
        };
        let differs = |(name, value): &(&String, &Json)| old.get(*name) != Some(*value);
        let fields: Map<String, Json> =
            fields.iter().filter(differs).map(|(name, value)| (name.clone(), value.clone())).collect();
        if !fields.is_empty() {
            set.insert(key.clone(), Json::Object(fields));
        }
    }
    set
}

fn gone<'a>(before: &'a Entries, now: &Entries) -> Vec<&'a str> {
    before.keys().filter(|key| !now.contains_key(*key)).map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Entries {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn only_what_differs_is_sent() {
        let before = entries(r#"{"a": {"x": 1, "y": 2}, "b": {"x": 1}, "c": {"x": 1}}"#);
        let now = entries(r#"{"a": {"x": 1, "y": 3}, "c": {"x": 1}, "d": {"x": null}}"#);
        let set = Json::Object(changed(&before, &now));
        assert_eq!(set, json!({"a": {"y": 3}, "d": {"x": null}}));
        assert_eq!(gone(&before, &now), ["b"]);
    }
}
