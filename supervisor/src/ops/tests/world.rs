//! A served endpoint over a fake directory.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use actors::node::Node;
use futures_util::future::BoxFuture;
use messages::schema::{FieldPath, IdSpec};
use messages::{SensorId, SensorPage, SensorSummary, SensorView};
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::status;
use crate::ops::directory::{FoundSensor, SearchFound, SensorCounts, SensorDirectory, Unanswered};
use crate::ops::status::{StatusSource, WorkerStatus};
use crate::ops::{Check, Memory, OpsConfig, OpsState, serve};
use crate::supervision::tree::{Registration, Tree};
use crate::supervision::watchdog::Pulse;

pub(super) const LONG: Duration = Duration::from_secs(20);

/// One shard `000000000003` with 2,500 sensors `s0000`..., and one that never answers.
#[derive(Default)]
pub(super) struct Sensors {
    /// How often somebody asked for the one that takes for ever.
    pub(super) slow: AtomicUsize,
}

impl SensorDirectory for Sensors {
    fn find(&self, id: SensorId) -> BoxFuture<'_, Result<Option<SensorView>, Unanswered>> {
        Box::pin(async move {
            match id.as_str() {
                "nobody" => Ok(None),
                "mute" => Err(Unanswered { shard: "000000000007".into() }),
                "slow" => {
                    self.slow.fetch_add(1, Ordering::Relaxed);
                    std::future::pending().await
                }
                id => Ok(Some(view(id))),
            }
        })
    }

    fn page<'a>(
        &'a self,
        shard: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Option<SensorPage>, Unanswered>> {
        Box::pin(async move {
            if shard != "000000000003" {
                return Ok(None);
            }
            let ids = (0..2500).map(|n| format!("s{n:04}")).filter(|id| after.is_none_or(|after| id.as_str() > after));
            let sensors = ids.take(limit).map(|id| summary(&id)).collect();
            Ok(Some(SensorPage { total: 2500, live: 2000, sensors }))
        })
    }

    fn search<'a>(&'a self, prefix: &'a str, limit: usize) -> BoxFuture<'a, SearchFound> {
        let ids = (0..2500).map(|n| format!("s{n:04}")).filter(move |id| id.starts_with(prefix)).take(limit);
        let found = |id: String| FoundSensor { shard: "000000000003".into(), summary: summary(&id) };
        let found = SearchFound { sensors: ids.map(found).collect(), unanswered: vec!["000000000007".into()] };
        Box::pin(async move { found })
    }

    #[cfg(feature = "fault-points")]
    fn kill(&self, id: SensorId) -> BoxFuture<'_, Result<bool, Unanswered>> {
        Box::pin(async move { Ok(id.as_str() != "nobody") })
    }

    fn counts(&self) -> BoxFuture<'_, Vec<SensorCounts>> {
        let counts = SensorCounts { shard: "000000000003".into(), total: 2500, live: 2000, restarting: 1 };
        Box::pin(async move { vec![counts] })
    }
}

fn summary(id: &str) -> SensorSummary {
    SensorSummary { sensor_id: id.to_owned(), state: "live", restarts: 0, queue: 0, last_error: None }
}

fn view(id: &str) -> SensorView {
    SensorView {
        sensor_id: id.to_owned(),
        shard: "000000000003".into(),
        state: "live",
        readings: 1,
        clean: 1,
        duplicates: 0,
        quarantined: 0,
        alerts: 0,
        last_event_time_us: None,
        last_arrival_ms: None,
        version: 1,
        version_since_us: 0,
        restarts: 0,
        fields: serde_json::json!({}),
        recent: None,
    }
}

/// A worker that is looked at.
struct Shown;

impl StatusSource for Shown {
    fn status(&self) -> WorkerStatus {
        status::status()
    }
}

/// A running endpoint.
pub(super) struct World {
    pub(super) address: SocketAddr,
    pub(super) state: Arc<OpsState>,
    pub(super) sensors: Arc<Sensors>,
    pub(super) ready: Arc<AtomicBool>,
    pub(super) nodes: BTreeMap<&'static str, Arc<Node>>,
    pub(super) shutdown: watch::Sender<bool>,
    pub(super) served: JoinHandle<()>,
    _listed: Vec<Registration>,
}

const NODES: [(&str, &str); 5] = [
    ("alerts", "alerts"),
    ("shards", "shards"),
    ("shards/000000000003/committer", "committer"),
    ("shards/000000000003", "shard"),
    ("elsewhere/reader", "reader"),
];

pub(super) fn config() -> OpsConfig {
    OpsConfig {
        connections_max: 64,
        requests_max: 16,
        // Tests change what is shown, and ask at once.
        snapshot_every: Duration::ZERO,
        request_timeout: LONG,
        hosts: vec!["worker-0.mangrove".into()],
        event_listeners_max: 2,
        hang_timeout: Duration::from_secs(3600),
    }
}

impl World {
    pub(super) async fn serve(config: OpsConfig) -> Self {
        let tree = Tree::new(100);
        let nodes: BTreeMap<_, _> = NODES.into_iter().map(|(path, kind)| (path, Node::new(path, kind))).collect();
        let listed = NODES.iter().map(|(path, _)| tree.register(nodes[path].clone(), None).unwrap()).collect();
        let ready = Arc::new(AtomicBool::new(true));
        let asked = ready.clone();
        let readiness = move || -> BoxFuture<'static, Vec<Check>> {
            let ok = asked.load(Ordering::Relaxed);
            let leases = if ok { Check::holds("leases") } else { Check::fails("leases", "no lease yet") };
            Box::pin(async move { vec![leases, Check::holds("stream")] })
        };
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || metrics::counter!("mangrove_test_total").increment(7));
        let sensors = Arc::new(Sensors::default());
        let state = Arc::new(OpsState {
            tree,
            worker_id: "w1".into(),
            started: Instant::now(),
            pulse: Pulse::default(),
            readiness: Arc::new(readiness),
            sensors: sensors.clone(),
            sensor_id: IdSpec { path: FieldPath(vec!["id".into()]), bytes_max: 32, extra_characters: "/ü".into() },
            status: Arc::new(Shown),
            effective: serde_json::json!({"ops": {"bind": {"value": "127.0.0.1:0", "source": "default"}}}),
            memory: Memory::default(),
            metrics: recorder.handle().into(),
            config,
        });
        let listener = crate::ops::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, down) = watch::channel(false);
        let served = tokio::spawn(serve(listener, state.clone(), down));
        Self { address, state, sensors, ready, nodes, shutdown, served, _listed: listed }
    }

    pub(super) async fn get(&self, target: &str) -> reqwest::Response {
        let url = format!("http://{}{target}", self.address);
        timeout(LONG, reqwest::get(url)).await.unwrap().unwrap()
    }

    pub(super) async fn json(&self, target: &str) -> (u16, serde_json::Value) {
        let response = self.get(target).await;
        (response.status().as_u16(), response.json().await.unwrap())
    }

    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes as they are; answers with the first line of the reply, empty if there is none.
    pub(super) async fn raw(&self, request: impl AsRef<[u8]>) -> String {
        let mut socket = self.connect().await;
        // The server may refuse before it has read all.
        let _ = socket.write_all(request.as_ref()).await;
        first_line(&mut socket).await
    }
}

pub(super) async fn first_line(socket: &mut TcpStream) -> String {
    let mut reply = vec![0; 4096];
    let n = timeout(LONG, socket.read(&mut reply)).await.unwrap().unwrap_or(0);
    String::from_utf8_lossy(&reply[..n]).lines().next().unwrap_or_default().to_owned()
}
