//! GOAL    Orders are for who has the token, by POST, from no other site, with a reason; and each does what it says.
//! METHOD  Raw bytes and real requests to a served admin listener; the worker's controls note what they are told.

use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use messages::ShardId;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::world::{World, config};
use crate::ops::admin::token::Token;
use crate::ops::admin::{Admin, Controls};
use crate::ops::serve_admin;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Does nothing but remember.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Told {
    fn note<T: Send + 'static>(&self, what: String, answer: Result<T, String>) -> BoxFuture<'_, Result<T, String>> {
        self.0.lock().unwrap().push(what);
        Box::pin(async move { answer })
    }
}

impl Controls for Told {
    fn hand_over(&self, shard: ShardId) -> BoxFuture<'_, Result<(), String>> {
        let refused = (shard.short() == "000000000004").then(|| "this worker does not work on it".to_owned());
        self.note(format!("hand over {shard}"), refused.map_or(Ok(()), Err))
    }

    fn split(&self, shard: ShardId) -> BoxFuture<'_, Result<String, String>> {
        self.note(format!("split {shard}"), Ok("170".into()))
    }

    fn merge(&self, shard: ShardId, with: ShardId) -> BoxFuture<'_, Result<(), String>> {
        self.note(format!("merge {shard} {with}"), Ok(()))
    }

    fn drain(&self) {
        self.0.lock().unwrap().push("drain".into());
    }
}

struct Desk {
    world: World,
    told: Arc<Told>,
    base: String,
    _down: watch::Sender<bool>,
}

impl Desk {
    async fn open() -> Self {
        let mut world = World::serve(config()).await;
        let told = Arc::new(Told::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // From here on the world's raw requests go to the admin listener.
        world.address = listener.local_addr().unwrap();
        let (down, stopped) = watch::channel(false);
        let admin = Admin { ops: world.state.clone(), token: Token::new(TOKEN).unwrap(), controls: told.clone() };
        tokio::spawn(serve_admin(listener, admin, stopped));
        Self { base: format!("http://{}", world.address), world, told, _down: down }
    }

    async fn order(&self, path: &str, body: Value) -> (u16, Value) {
        let request = reqwest::Client::new().post(format!("{}{path}", self.base)).bearer_auth(TOKEN).json(&body);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// The status of a POST with these header lines.
    async fn post(&self, path: &str, headers: &str) -> String {
        let body = r#"{"shard":"000000000003","reason":"test"}"#;
        let host = if headers.contains("Host:") { "" } else { "Host: localhost\r\n" };
        let n = body.len();
        let line = self.world.raw(format!("POST {path} HTTP/1.1\r\n{host}{headers}Content-Length: {n}\r\n\r\n{body}"));
        line.await.split(' ').nth(1).unwrap_or_default().to_owned()
    }

    fn told(&self) -> Vec<String> {
        std::mem::take(&mut self.told.0.lock().unwrap())
    }
}

const ROUTES: [&str; 6] =
    ["/admin/check", "/admin/restart", "/admin/hand-over", "/admin/split", "/admin/merge", "/admin/drain"];
const JSON: &str = "Content-Type: application/json\r\n";

#[tokio::test]
async fn every_order_wants_the_token() {
    let desk = Desk::open().await;
    let (right, wrong) = (format!("Authorization: Bearer {TOKEN}\r\n"), format!("Authorization: Bearer {TOKEN}0\r\n"));
    for route in ROUTES {
        assert_eq!(desk.post(route, JSON).await, "401", "{route}");
        assert_eq!(desk.post(route, &format!("{JSON}Authorization: Basic {TOKEN}\r\n")).await, "401", "{route}");
        assert_eq!(desk.post(route, &format!("{JSON}{wrong}")).await, "403", "{route}");
        assert_eq!(desk.post(route, &format!("{JSON}Authorization: Bearer \r\n")).await, "401", "{route}");
        assert_eq!(desk.post(route, &right).await, "415", "{route}");
        let form = "Content-Type: text/plain\r\n";
        assert_eq!(desk.post(route, &format!("{right}{form}")).await, "415", "{route}");
        for method in ["GET", "PUT", "DELETE", "OPTIONS", "HEAD"] {
            let line = desk.world.raw(format!("{method} {route} HTTP/1.1\r\nHost: localhost\r\n{right}\r\n")).await;
            assert_eq!(line, "HTTP/1.1 405 Method Not Allowed", "{method} {route}");
        }
    }
    assert_eq!(desk.told(), Vec::<String>::new());
    assert_eq!(desk.post("/admin/hand-over", &format!("{JSON}{right}")).await, "200");
    assert_eq!(desk.told(), ["hand over shardId-000000000003"]);
}

#[tokio::test]
async fn no_other_site_gives_orders() {
    let desk = Desk::open().await;
    let right = format!("{JSON}Authorization: Bearer {TOKEN}\r\n");
    let port = desk.world.address.port();
    for (headers, status) in [
        ("Host: evil.example\r\n".to_owned(), "421"),
        ("Host: 127.0.0.1.nip.io\r\n".to_owned(), "421"),
        ("Origin: https://evil.example\r\n".to_owned(), "403"),
        ("Origin: null\r\n".to_owned(), "403"),
        // The ops endpoint on another port is another origin too.
        (format!("Host: localhost:{port}\r\nOrigin: http://localhost:1\r\n"), "403"),
        (format!("Host: localhost:{port}\r\nOrigin: http://localhost:{port}\r\nSec-Fetch-Site: cross-site\r\n"), "403"),
        (format!("Host: localhost:{port}\r\nOrigin: http://localhost:{port}\r\nSec-Fetch-Site: same-site\r\n"), "403"),
        (
            format!("Host: localhost:{port}\r\nOrigin: http://localhost:{port}\r\nSec-Fetch-Site: same-origin\r\n"),
            "200",
        ),
        (String::new(), "200"),
    ] {
        assert_eq!(desk.post("/admin/hand-over", &format!("{right}{headers}")).await, status, "{headers}");
    }
    assert_eq!(desk.told().len(), 2);
}

#[tokio::test]
async fn what_cannot_be_undone_is_typed_again_and_everything_has_a_reason() {
    let desk = Desk::open().await;
    let shard = "000000000003";
    let full = "shardId-000000000003";
    for (path, body, status) in [
        ("/admin/split", json!({"shard": shard, "confirm": "000000000004", "reason": "hot"}), 400),
        ("/admin/split", json!({"shard": shard, "confirm": shard, "reason": "  "}), 400),
        ("/admin/split", json!({"shard": shard, "confirm": shard}), 400),
        ("/admin/split", json!({"shard": shard, "confirm": shard, "reason": "x".repeat(201)}), 400),
        ("/admin/split", json!({"shard": shard, "confirm": shard, "reason": "hot", "force": true}), 400),
        ("/admin/split", json!({"shard": "000000000099", "confirm": "000000000099", "reason": "hot"}), 404),
        ("/admin/drain", json!({"confirm": "w2", "reason": "update"}), 400),
        ("/admin/hand-over", json!({"shard": "000000000004", "reason": "balance"}), 409),
        ("/admin/restart", json!({"path": "alerts", "reason": "hangs"}), 404),
        ("/admin/restart", json!({"path": "nowhere", "reason": "hangs"}), 404),
    ] {
        let (got, reply) = desk.order(path, body.clone()).await;
        assert_eq!(got, status, "{path} {body}: {reply}");
        assert!(reply["error"].is_string() && reply["hint"].is_string(), "{reply}");
    }
    assert_eq!(desk.told(), ["hand over shardId-000000000004"]);
    for (path, body, told) in [
        ("/admin/split", json!({"shard": full, "confirm": full, "reason": "hot"}), "split shardId-000000000003"),
        (
            "/admin/merge",
            json!({"shard": shard, "with": "000000000004", "confirm": shard, "reason": "cold"}),
            "merge shardId-000000000003 shardId-000000000004",
        ),
        ("/admin/drain", json!({"confirm": "w1", "reason": "update"}), "drain"),
    ] {
        let (status, reply) = desk.order(path, body).await;
        assert_eq!((status, reply["done"].is_string(), desk.told()), (200, true, vec![told.to_owned()]), "{reply}");
    }
    let huge = json!({"shard": shard, "reason": "x".repeat(10_000)});
    assert_eq!(desk.order("/admin/hand-over", huge).await.0, 400);
}

#[tokio::test]
async fn the_page_and_what_it_shows_are_here_too_and_the_ops_listener_takes_no_orders() {
    let desk = Desk::open().await;
    for path in ["/", "/tree", "/livez"] {
        let answer = reqwest::get(format!("{}{path}", desk.base)).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.headers()["x-mangrove-orders"].as_bytes()), (200, &b"taken"[..]));
        assert!(answer.headers().get("access-control-allow-origin").is_none());
    }
    let ops = World::serve(config()).await;
    assert!(ops.get("/").await.headers().get("x-mangrove-orders").is_none());
    let order = format!("POST /admin/drain HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
    assert_eq!(ops.raw(order).await, "HTTP/1.1 405 Method Not Allowed");
    assert_eq!(ops.json("/admin/drain").await.0, 404);
}
