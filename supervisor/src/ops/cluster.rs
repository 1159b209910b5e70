//! `GET /cluster`: all workers, each with what it said last when this one asked it.
//!
//! **Owns** the last answer of every other worker.
//! **Promises** bounded: at most [`PEERS_MAX`] are asked, [`AT_ONCE`] at a time, each for a second and a limited number
//! of bytes, once a second however many look. Who does not answer is shown as such, with its last answer and its age.
//! Only addresses are asked, never names, and never the ones that hand out credentials.
//! **Not here**: who is alive. The heartbeats say so (`leases.rs`).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use futures_util::stream::{self, StreamExt};
use reqwest::{Client, Url, redirect};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::OpsState;
use super::snapshot::{Snapshot, WorkerLine};

const PEERS_MAX: usize = 100;
const AT_ONCE: usize = 8;
const PATIENCE: Duration = Duration::from_secs(1);
const BYTES_MAX: usize = 4 << 20;
const CACHED_MS: i64 = 1_000;

/// What the others have said.
#[derive(Debug, Default)]
pub(super) struct Peers(Mutex<Answers>);

#[derive(Debug, Default)]
struct Answers {
    client: Option<Client>,
    asked_ms: i64,
    cached: Option<Arc<ClusterReply>>,
    last: BTreeMap<String, Answer>,
}

#[derive(Clone, Debug)]
struct Answer {
    at_ms: i64,
    tree: Value,
    shards: Value,
}

/// All workers.
#[derive(Debug, Serialize)]
pub(super) struct ClusterReply {
    /// The worker that was asked.
    worker: String,
    at_ms: i64,
    workers: Vec<Member>,
}

/// One worker.
#[derive(Debug, Serialize)]
struct Member {
    #[serde(flatten)]
    line: WorkerLine,
    /// Whether it answered this time; this worker itself always does.
    answered: bool,
    /// Why not.
    why: Option<String>,
    /// How old what follows is.
    age_ms: Option<i64>,
    tree: Option<Value>,
    shards: Option<Value>,
}

pub(super) async fn cluster(State(state): State<Arc<OpsState>>) -> Json<Arc<ClusterReply>> {
    let snapshot = Snapshot::of(&state);
    // Held while asking: whoever comes meanwhile gets the same answer.
    let mut answers = state.memory.peers.0.lock().await;
    if let Some(cached) = answers.cached.as_ref().filter(|_| snapshot.at_ms - answers.asked_ms < CACHED_MS) {
        return Json(cached.clone());
    }
    let lines = snapshot.workers.clone();
    let client = answers.client.get_or_insert_with(client).clone();
    let others: Vec<WorkerLine> = lines.iter().filter(|line| !line.me).take(PEERS_MAX).cloned().collect();
    let asked: BTreeMap<String, Result<(Value, Value), String>> = stream::iter(others)
        .map(|line| {
            let client = client.clone();
            async move { (line.worker, ask(&client, &line.address).await) }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    answers.last.retain(|worker, _| lines.iter().any(|line| line.worker == *worker));
    let mut failures = BTreeMap::new();
    for (worker, answer) in asked {
        match answer {
            Ok((tree, shards)) => drop(answers.last.insert(worker, Answer { at_ms: snapshot.at_ms, tree, shards })),
            Err(why) => drop(failures.insert(worker, why)),
        }
    }
    let member = |line: WorkerLine| {
        let why = failures.remove(&line.worker);
        let last = answers.last.get(&line.worker);
        Member {
            answered: line.me || (why.is_none() && last.is_some()),
            why,
            age_ms: last.map(|answer| snapshot.at_ms - answer.at_ms),
            tree: last.map(|answer| answer.tree.clone()),
            shards: last.map(|answer| answer.shards.clone()),
            line,
        }
    };
    let workers = lines.into_iter().map(member).collect();
    let reply = Arc::new(ClusterReply { worker: state.worker_id.clone(), at_ms: snapshot.at_ms, workers });
    (answers.asked_ms, answers.cached) = (snapshot.at_ms, Some(reply.clone()));
    Json(reply)
}

/// No proxy, no redirect: what is asked is exactly what the heartbeat says.
fn client() -> Client {
    let builder = Client::builder().no_proxy().redirect(redirect::Policy::none()).timeout(PATIENCE);
    // It fails only without a TLS backend, and the receivers of alerts have one.
    builder.build().unwrap_or_default()
}

async fn ask(client: &Client, address: &str) -> Result<(Value, Value), String> {
    let base = peer(address)?;
    let both = async { tokio::try_join!(fetch(client, &base, "tree"), fetch(client, &base, "shards")) };
    timeout(PATIENCE, both).await.map_err(|_| format!("no answer within {PATIENCE:?}"))?
}

async fn fetch(client: &Client, base: &Url, route: &str) -> Result<Value, String> {
    let url = base.join(route).map_err(|error| error.to_string())?;
    let mut response = client.get(url).send().await.map_err(|_| "it cannot be reached".to_owned())?;
    if !response.status().is_success() {
        return Err(format!("/{route} answers {}", response.status()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| "its answer broke off".to_owned())? {
        body.extend_from_slice(&chunk);
        if body.len() > BYTES_MAX {
            return Err(format!("/{route} answers with more than {BYTES_MAX} bytes"));
        }
    }
    serde_json::from_slice(&body).map_err(|_| format!("/{route} does not answer with JSON"))
}

/// The base of another worker's routes. The lease table says it, and whoever can write that table must not be able to
/// send this worker anywhere else.
fn peer(address: &str) -> Result<Url, String> {
    if address.is_empty() {
        return Err("it does not say where it can be asked (ops.advertise)".to_owned());
    }
    let url = Url::parse(address).map_err(|_| "its address is not a URL".to_owned())?;
    let plain = url.scheme() == "http" && url.path() == "/" && url.query().is_none() && url.username().is_empty();
    let ip = url.host_str().and_then(|host| host.trim_matches(['[', ']']).parse::<IpAddr>().ok());
    match ip.map(|ip| ip.to_canonical()) {
        Some(ip) if plain && !is_forbidden(ip) => Ok(url),
        _ => Err("its address is not of the form http://<IP address>:<port>".to_owned()),
    }
}

fn is_forbidden(ip: IpAddr) -> bool {
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.is_unique_local() && ip.segments()[0] == 0xfd00,
    };
    link_local || ip.is_unspecified() || ip.is_multicast()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_addresses_are_asked() {
        for good in ["http://10.1.2.3:8080", "http://127.0.0.1:1", "http://[::1]:8080/"] {
            assert!(peer(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "10.1.2.3:8080",
            "https://10.1.2.3",
            "http://metadata.google.internal",
            "http://169.254.169.254/",
            "http://0xa9fea9fe/",
            "http://[fe80::1]/",
            "http://[fd00:ec2::254]/",
            "http://0.0.0.0:8080",
            "http://10.1.2.3/admin/drain?",
            "http://u@10.1.2.3/",
            "file:///etc/passwd",
        ] {
            assert!(peer(bad).is_err(), "{bad}");
        }
    }
}
