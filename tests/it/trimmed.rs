//! GOAL    A shard that was idle for longer than its stream keeps records is read on, whichever way the stream then
//!         answers, and it is said (CHECKPOINT, LIVE).
//! METHOD  A worker reads a shard and goes. The next one speaks to the same cloud through a go-between that answers as
//!         Kinesis was seen to do for a position that is gone: it refuses the number, or takes it and gives empty pages as
//!         far behind as the stream reaches.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use actors::ports::clock::Clock;
use actors::ports::transports::http_client;
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderName, Method, StatusCode, header};
use axum::response::Response;
use mangrove_tests::history::reading;
use mangrove_tests::judge::assert_whole;
use mangrove_tests::world::{Record, Setup, World, clients, finish, hour_start_ms, start_worker};
use serde_json::{Value, json};

const DAY_MS: u64 = 24 * 3_600_000;
/// The iterator of a position that is gone.
const NOWHERE: &str = "nowhere";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Answers {
    Refusal,
    EmptyPages,
}

/// What stands before the cloud.
#[derive(Clone)]
struct Between {
    cloud: String,
    answers: Answers,
    /// Older records are gone, where the position is refused: seconds since 1970.
    oldest_s: f64,
    /// How often somebody asked for what is gone.
    asked: Arc<AtomicU32>,
}

impl Between {
    async fn open(cloud: String, answers: Answers) -> (Self, String) {
        let oldest_s = Clock::system().now_ms() as f64 / 1_000.0;
        let between = Self { cloud, answers, oldest_s, asked: Arc::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(answer).with_state(between.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        (between, address)
    }

    /// What it answers itself.
    fn own(&self, target: &str, request: &Value) -> Option<Response> {
        let is_after = request["ShardIteratorType"] == "AFTER_SEQUENCE_NUMBER";
        let (status, answer) = match (target, self.answers) {
            ("GetShardIterator", Answers::Refusal) if is_after => {
                let message = "The sequence number is not in the stream's records";
                (StatusCode::BAD_REQUEST, json!({ "__type": "InvalidArgumentException", "message": message }))
            }
            ("GetShardIterator", Answers::EmptyPages) if is_after => {
                (StatusCode::OK, json!({ "ShardIterator": NOWHERE }))
            }
            ("GetRecords", _) if request["ShardIterator"] == NOWHERE => {
                let page = json!({ "Records": [], "NextShardIterator": NOWHERE, "MillisBehindLatest": DAY_MS });
                (StatusCode::OK, page)
            }
            _ => return None,
        };
        self.asked.fetch_add(1, Ordering::Relaxed);
        let response = Response::builder().status(status).header(header::CONTENT_TYPE, "application/x-amz-json-1.1");
        Some(response.body(Body::from(answer.to_string())).unwrap())
    }

    /// A page of the cloud without what is gone.
    fn without_old(&self, page: Bytes) -> Bytes {
        let Ok(mut page) = serde_json::from_slice::<Value>(&page) else { return page };
        if let Some(records) = page["Records"].as_array_mut() {
            records.retain(|record| record["ApproximateArrivalTimestamp"].as_f64().unwrap() >= self.oldest_s);
        }
        page.to_string().into()
    }
}

async fn answer(State(between): State<Between>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body: Bytes = to_bytes(body, 64 << 20).await.unwrap();
    let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok()?.split_once('.'));
    let target = target.map_or(String::new(), |(_, target)| target.to_owned());
    if let Some(own) = serde_json::from_slice(&body).ok().and_then(|asked| between.own(&target, &asked)) {
        return own;
    }
    let is_head = parts.method == Method::HEAD;
    let url = format!("{}{}", between.cloud, parts.uri);
    let http = http_client(Duration::from_secs(10)).unwrap();
    let mut given = http.request(parts.method, url).headers(parts.headers).body(body).send().await.unwrap();
    let mut response = Response::builder().status(given.status());
    let headers = std::mem::take(given.headers_mut());
    let mut body = given.bytes().await.unwrap();
    if target == "GetRecords" && between.answers == Answers::Refusal {
        body = between.without_old(body);
    }
    let is_framing = |name: &HeaderName| [header::CONTENT_LENGTH, header::TRANSFER_ENCODING].contains(name);
    let is_kept = |name: &HeaderName| is_head || !is_framing(name);
    response.headers_mut().unwrap().extend(headers.into_iter().filter(|(name, _)| name.as_ref().is_none_or(is_kept)));
    response.body(Body::from(body)).unwrap()
}

fn records(from: u64, n: u64) -> Vec<Record> {
    let start_ms = hour_start_ms(3);
    (from..from + n).map(|n| reading(n % 40, n / 40, start_ms + n as i64 * 100)).collect()
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within 30 s");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn is_read_on(answers: Answers) {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1).await;
    world.put(&records(0, 200)).await;
    finish(world.worker(&Setup::default()).await).await;

    let (between, address) = Between::open(world.endpoint_url(), answers).await;
    let sdk = clients(address).await;
    let worker = start_worker(&sdk, &Setup { worker_id: "worker-b", ..Setup::default() }).await.unwrap();
    let trimmed = || worker.shards().iter().any(|shard| shard.context.figures.holds().trimmed_since_ms.is_some());
    until("it is said", trimmed).await;
    assert_eq!(worker.owned().totals().read, 0, "what it knows is not read again");
    world.put(&records(200, 200)).await;
    until("it is over", || !trimmed()).await;
    finish(worker).await;
    assert_whole(&world.lake(), &records(0, 400));
    assert!((1..20).contains(&between.asked.load(Ordering::Relaxed)), "{:?}", between.asked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_whose_position_is_refused_is_read_on_from_its_oldest_record() {
    is_read_on(Answers::Refusal).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_whose_position_gives_empty_pages_is_read_on_from_its_oldest_record() {
    is_read_on(Answers::EmptyPages).await;
}
