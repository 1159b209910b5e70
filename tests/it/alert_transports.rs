//! GOAL    An alert leaves for every receiver, is tried again when a receiver fails, and carries an id that is the same
//!         on every replay (ALERT); a silent sensor raises one heartbeat alert.
//! METHOD  A worker on the local cloud with a webhook that refuses at first, an Alertmanager and a topic. The same stream
//!         is then judged again by a worker that knows nothing of the first.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use actors::ports::transports::{Transport, http_client};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use mangrove_tests::world::{Setup, World, an_hour_ago, caught_up, copy_folder, finish};
use serde_json::Value;

/// What arrived, as (path, body), refused or not.
#[derive(Clone, Default)]
pub(crate) struct Inbox {
    arrived: Arc<Mutex<Vec<(String, Value)>>>,
    late: Arc<Mutex<Vec<(String, i64)>>>,
    refuse: Arc<Mutex<u32>>,
    /// Whether the receiver that refuses everything takes it from now on.
    is_right: Arc<AtomicBool>,
}

impl Inbox {
    pub(crate) async fn open(refuse: u32) -> (Self, String) {
        let inbox = Self { refuse: Arc::new(Mutex::new(refuse)), ..Self::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(receive).with_state(inbox.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        (inbox, address)
    }

    pub(crate) fn bodies(&self, path: &str) -> Vec<Value> {
        let arrived = self.arrived.lock().unwrap();
        arrived.iter().filter(|(at, _)| at == path).map(|(_, body)| body.clone()).collect()
    }
}

impl Inbox {
    /// How long after its record's arrival each alert came.
    fn late_ms(&self, path: &str) -> Vec<i64> {
        self.late.lock().unwrap().iter().filter(|(at, _)| at == path).map(|(_, late)| *late).collect()
    }
}

async fn receive(State(inbox): State<Inbox>, request: Request) -> StatusCode {
    let path = request.uri().path().to_owned();
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let mut refuse = inbox.refuse.lock().unwrap();
    if path == "/hook" && *refuse > 0 {
        *refuse -= 1;
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let body: Value = serde_json::from_slice(&body).unwrap();
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let arrived_ms = body["arrival_ms"].as_i64().unwrap_or(now_ms);
    inbox.late.lock().unwrap().push((path.clone(), now_ms - arrived_ms));
    if path == "/refused" && !inbox.is_right.load(Ordering::Relaxed) {
        return StatusCode::FORBIDDEN;
    }
    inbox.arrived.lock().unwrap().push((path, body));
    StatusCode::OK
}

/// Twenty calm readings of one sensor, then one at 80 degrees: outside the expected band, inside the valid range.
fn readings() -> Vec<(String, Vec<u8>)> {
    let reading = |n: i64| {
        let celsius = if n == 20 { 80.0 } else { 20.0 + (n % 3) as f64 };
        let time = an_hour_ago(n * 60_000);
        let json = format!(r#"{{"sensor_id":"s-1","event_id":"{n}","ts":"{time}","temperature":{celsius}}}"#);
        ("s-1".to_owned(), json.into_bytes())
    };
    (0..=20).map(reading).collect()
}

fn ids(bodies: &[Value], kind: &str) -> BTreeSet<String> {
    let of_kind = bodies.iter().filter(|body| body["kind"] == kind);
    of_kind.map(|body| body["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alerts_reach_every_receiver_under_ids_that_survive_a_replay() {
    let dir = tempfile::tempdir().unwrap();
    let again = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1).await;
    world.put(&readings()).await;
    world.stop().await;
    copy_folder(dir.path(), again.path());

    let mut seen = Vec::new();
    for (dir, refuse) in [(dir.path(), 2), (again.path(), 0)] {
        let world = World::new(dir, 1).await;
        let (inbox, address) = Inbox::open(refuse).await;
        let setup = Setup { transports: world.transports(&address).await, ..Setup::default() };
        finish(world.worker(&setup).await).await;
        let hook = inbox.bodies("/hook");
        let range = ids(&hook, "range");
        assert_eq!(range.len(), 1, "{hook:#?}");
        // The Alertmanager got the same alerts, in its own form.
        let manager = inbox.bodies("/api/v2/alerts");
        assert_eq!(manager.len(), hook.len());
        assert_eq!(manager[0][0]["labels"]["severity"], "critical");
        // An alert that is said again is the same one there, and one of its kind: the id explains, it does not identify.
        assert_eq!(
            (&manager[0][0]["annotations"]["alert_id"], &manager[0][0]["labels"]["alert_id"]),
            (&hook[0]["id"], &Value::Null)
        );
        assert!(manager[0][0]["startsAt"].as_str().unwrap().contains('T'));
        // And the zone holds them too.
        let stored: BTreeSet<String> =
            world.lake().json_lines("alerts").iter().map(|a| a["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(stored, hook.iter().map(|a| a["id"].as_str().unwrap().to_owned()).collect());
        seen.push(stored);
    }
    assert_eq!(seen[0], seen[1], "a replay raises the same alerts under the same ids");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_sensor_raises_one_heartbeat_alert() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1).await;
    let (inbox, address) = Inbox::open(0).await;
    let mut setup = Setup { transports: world.transports(&address).await, ..Setup::default() };
    setup.schema.heartbeat = Some(Duration::from_millis(700));
    world.put(&readings()[..5]).await;
    let worker = world.worker(&setup).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    while ids(&inbox.bodies("/hook"), "heartbeat").is_empty() {
        assert!(Instant::now() < deadline, "no heartbeat alert");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Many scans later it has still been said once.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(inbox.bodies("/hook").iter().filter(|body| body["kind"] == "heartbeat").count(), 1);
    finish(worker).await;
}

/// Many fall silent at once, the queue of alerts is small, and around them are ids that were never more than rubbish:
/// each real sensor is reported, none twice, and each stands in the lake, sent or not (ALERT, BOUNDED).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_real_sensor_that_falls_silent_is_reported_and_stored() {
    const REAL: usize = 200;
    let event = |id: String, more: &str| {
        let json = format!(r#"{{"sensor_id":"{id}","ts":"{}"{more}}}"#, an_hour_ago(0));
        (id, json.into_bytes())
    };
    let real = || (0..REAL).map(|n| event(format!("real-{n}"), r#","temperature":20"#));
    // Without a temperature nothing is valid.
    let junk = (0..3_000).map(|n| event(format!("junk-{n}"), ""));
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1).await;
    let (inbox, address) = Inbox::open(0).await;
    let mut setup = Setup { transports: world.transports(&address).await, alerts_queue_max: 20, ..Setup::default() };
    setup.schema.heartbeat = Some(Duration::from_millis(1_500));
    world.put(&real().chain(junk).collect::<Vec<_>>()).await;
    let worker = world.worker(&setup).await;
    let reported = |inbox: &Inbox| ids(&inbox.bodies("/hook"), "heartbeat").len();
    let deadline = Instant::now() + Duration::from_secs(20);
    while reported(&inbox) < REAL {
        assert!(Instant::now() < deadline, "{} of {REAL} reported", reported(&inbox));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // The shard's own records pass the silence only now.
    world.put(&[event("late".into(), r#","temperature":20"#)]).await;
    caught_up(&worker).await;
    finish(worker).await;

    let sent = inbox.bodies("/hook");
    let stored = world.lake().json_lines("alerts");
    let of = |alerts: &[Value], prefix: &str| -> Vec<String> {
        let ids = alerts.iter().filter(|alert| alert["sensor_id"].as_str().unwrap().starts_with(prefix));
        let mut ids: Vec<String> = ids.map(|alert| alert["id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    };
    assert_eq!((of(&sent, "junk-").len(), of(&stored, "junk-").len()), (0, 0), "nobody misses what was never valid");
    assert_eq!(of(&stored, "real-").len(), REAL);
    assert_eq!(of(&sent, "real-"), of(&stored, "real-"), "an alert that was taken is not offered again");
}

/// One receiver refuses, one never answers: the third has every alert within a second of its record's arrival. The one
/// that refuses is asked seldom, and has them all once somebody has put it right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receivers_do_not_share_a_fate() {
    const SENSORS: usize = 400;
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1).await;
    let (inbox, address) = Inbox::open(0).await;
    let hanging = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http = || http_client(Duration::from_secs(5)).unwrap();
    let webhook = |url: String| Transport::Webhook { url, http: http() };
    let silent = webhook(format!("http://{}/silence", hanging.local_addr().unwrap()));
    let transports = vec![silent, webhook(format!("{address}/refused")), webhook(format!("{address}/hook"))];
    let kept = tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            open.push(hanging.accept().await.unwrap());
        }
    });
    let (alerts_retry, alerts_drain) = (Duration::from_secs(60), Duration::from_millis(500));
    let worker = world.worker(&Setup { transports, alerts_retry, alerts_drain, ..Setup::default() }).await;
    let hot = |n: usize| {
        let json = format!(r#"{{"sensor_id":"s-{n}","event_id":"1","ts":"{}","temperature":80.0}}"#, an_hour_ago(0));
        (format!("s-{n}"), json.into_bytes())
    };
    world.put(&(0..SENSORS).map(hot).collect::<Vec<_>>()).await;
    all_arrive(&inbox, "/hook", SENSORS).await;
    let mut late_ms = inbox.late_ms("/hook");
    late_ms.sort_unstable();
    let p99 = late_ms[SENSORS * 99 / 100];
    let asked = inbox.late_ms("/refused").len();
    println!("p50 {} ms, p99 {p99} ms, refused {asked} times", late_ms[SENSORS / 2]);
    // Less than a try at the receiver that hangs takes, also where the machine is busy with other tests.
    assert!(p99 < 3_000, "{late_ms:?}");
    // What its slots held when it first refused, and one for each pause.
    assert!((1..40).contains(&asked), "asked {asked} times");
    assert_eq!(inbox.bodies("/refused").len(), 0);

    inbox.is_right.store(true, Ordering::Relaxed);
    all_arrive(&inbox, "/refused", SENSORS).await;
    finish(worker).await;
    kept.abort();
}

async fn all_arrive(inbox: &Inbox, path: &str, n: usize) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while inbox.bodies(path).len() < n {
        assert!(Instant::now() < deadline, "{} of {n} at {path}", inbox.bodies(path).len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
