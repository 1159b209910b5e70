//! GOAL    No request, however strange, gets more than a short refusal, or keeps others from their answer.
//! METHOD  Raw bytes on real sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::world::{LONG, World, config, first_line};
use crate::ops::OpsConfig;

#[tokio::test]
async fn foreign_hosts_are_misdirected() {
    let world = World::serve(config()).await;
    let port = world.address.port();
    for host in
        ["evil.example", "127.0.0.1.nip.io", "localhost.evil.example:80", "10.0.0.1", "a b", "user@localhost", ""]
    {
        let line = world.raw(format!("GET /tree HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert_eq!(line, "HTTP/1.1 421 Misdirected Request", "{host}");
    }
    for request in [
        "GET /tree HTTP/1.1\r\n\r\n".to_owned(),
        "GET /tree HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n".to_owned(),
        "GET http://evil.example/tree HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
    ] {
        assert_eq!(world.raw(&request).await, "HTTP/1.1 421 Misdirected Request", "{request}");
    }
    for host in
        [format!("localhost:{port}"), format!("127.0.0.1:{port}"), format!("[::1]:{port}"), "Worker-0.mangrove".into()]
    {
        let line = world.raw(format!("GET /livez HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert_eq!(line, "HTTP/1.1 200 OK", "{host}");
    }
}

#[tokio::test]
async fn nothing_but_get_is_answered() {
    let world = World::serve(config()).await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "HEAD", "TRACE", "BREW"] {
        for path in ["/tree", "/nothing"] {
            let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
            assert_eq!(world.raw(request).await, "HTTP/1.1 405 Method Not Allowed", "{method}");
        }
    }
    let post = "POST /tree HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000000\r\n\r\nx";
    assert_eq!(world.raw(post).await, "HTTP/1.1 405 Method Not Allowed");
}

#[tokio::test]
async fn strange_paths_are_refused() {
    let world = World::serve(config()).await;
    let long_id = "x".repeat(33);
    for (target, status) in [
        ("/index.html", "404"),
        ("/sensors/", "404"),
        ("/page/", "404"),
        ("/page/..%2f..%2fCargo.toml", "404"),
        ("/page/%ff", "400"),
        ("/sensors/a/b", "404"),
        ("//livez", "404"),
        ("/livez/", "404"),
        ("/sensors/../livez", "404"),
        ("/sensors/..%2f..%2fetc%2fpasswd%00", "400"),
        ("/sensors/%3Cscript%3E", "400"),
        ("/sensors/%ff", "400"),
        ("/sensors/a%0d%0aSet-Cookie:x", "400"),
        ("/sensors/a%20b", "400"),
        (&format!("/sensors/{long_id}"), "400"),
        (&format!("/tree?shard={}", "a".repeat(5000)), "414"),
        (&format!("/tree?shard={}", "%00".repeat(1000)), "404"),
        (&format!("/{}", "a/".repeat(20_000)), "431"),
    ] {
        let line = world.raw(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        let shown: String = target.chars().take(60).collect();
        assert_eq!(line.split(' ').nth(1), Some(status), "{shown}: {line}");
    }
}

#[tokio::test]
async fn every_reply_carries_the_guards() {
    let world = World::serve(config()).await;
    for target in ["/", "/page/app.js", "/livez", "/metrics", "/tree", "/events", "/nothing", "/sensors/%ff"] {
        let response = world.get(target).await;
        let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap());
        assert_eq!(header("x-content-type-options"), Some("nosniff"), "{target}");
        assert_eq!(header("cache-control"), Some("no-store"), "{target}");
        assert_eq!(header("x-frame-options"), Some("DENY"), "{target}");
        assert_eq!(header("access-control-allow-origin"), None, "{target}");
        assert!(header("content-security-policy").is_some(), "{target}");
    }
}

#[tokio::test]
async fn huge_heads_are_refused() {
    let world = World::serve(config()).await;
    let many = "X-A: b\r\n".repeat(1000);
    let line = world.raw(format!("GET /livez HTTP/1.1\r\nHost: localhost\r\n{many}\r\n")).await;
    assert!(line.starts_with("HTTP/1.1 431"), "{line}");
    // Without an end: refused once it exceeds the buffer, not kept growing.
    let line = world.raw(format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nX-A: {}", "b".repeat(100_000))).await;
    assert!(line.is_empty() || line.starts_with("HTTP/1.1 431"), "{line}");
    assert_eq!(world.raw([0_u8, 255, 13, 10, 13, 10]).await, "HTTP/1.1 400 Bad Request");
}

#[tokio::test]
async fn idle_sockets_do_not_keep_others_out() {
    let world = World::serve(OpsConfig { connections_max: 8, ..config() }).await;
    let mut idle = Vec::new();
    for n in 0..200 {
        let mut socket = world.connect().await;
        if n % 2 == 0 {
            // Half a head, for ever.
            socket.write_all(b"GET /livez HTTP/1.1\r\nHost: local").await.unwrap();
        }
        idle.push(socket);
    }
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(world.raw("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await, "HTTP/1.1 200 OK");
    }
    assert!(began.elapsed() < LONG / 4, "{:?}", began.elapsed());
}

#[tokio::test]
async fn requests_under_way_are_not_evicted_and_probes_have_a_reserve() {
    let limits = OpsConfig { connections_max: 2, request_timeout: Duration::from_secs(2), ..config() };
    let world = World::serve(limits).await;
    let slow = "GET /sensors/slow HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let (one, other) = (world.raw(slow), world.raw(slow));
    let crowd = async {
        while world.sensors.slow.load(Ordering::Relaxed) < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Both slots answer: whoever comes now is asked for more patience, but not a probe.
        for _ in 0..20 {
            for probe in ["/livez", "/readyz"] {
                let line = world.raw(format!("GET {probe} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
                assert_eq!(line, "HTTP/1.1 200 OK", "{probe}");
            }
            let line = world.raw("GET /overview HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
            assert_eq!(line, "HTTP/1.1 503 Service Unavailable");
        }
    };
    let (one, other, ()) = tokio::join!(one, other, crowd);
    assert_eq!(one, "HTTP/1.1 503 Service Unavailable");
    assert_eq!(other, "HTTP/1.1 503 Service Unavailable");
}

#[tokio::test]
async fn so_many_requests_are_worked_on_and_others_told_when_to_come_again() {
    let world = World::serve(OpsConfig { requests_max: 1, ..config() }).await;
    let mut under_way = world.connect().await;
    under_way.write_all(b"GET /sensors/slow HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    while world.sensors.slow.load(Ordering::Relaxed) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let refused = world.get("/overview").await;
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].as_bytes()), (503, &b"1"[..]));
    assert_eq!(world.get("/livez").await.status(), 200);
    drop(under_way);
    let began = Instant::now();
    while world.get("/overview").await.status() != 200 {
        assert!(began.elapsed() < LONG, "who went away keeps its place");
    }
}

/// Sends requests without a pause, and counts the answers.
async fn pipeline(mut socket: TcpStream, over: Arc<AtomicBool>) -> usize {
    let requests = "GET /overview HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(50);
    let (mut read, mut write) = socket.split();
    let send = async { while write.write_all(requests.as_bytes()).await.is_ok() {} };
    let count = async {
        let (mut n, mut answer) = (0, vec![0; 1 << 16]);
        while let Ok(n_bytes @ 1..) = read.read(&mut answer).await {
            n += answer[..n_bytes].windows(9).filter(|text| *text == b"HTTP/1.1 ").count();
            if over.load(Ordering::Relaxed) {
                break;
            }
        }
        n
    };
    tokio::select! {
        n = count => n,
        () = async { send.await; std::future::pending().await } => unreachable!("it never ends"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_sockets_that_ask_without_a_pause_get_a_bounded_share_and_probes_their_answer() {
    const SOCKETS: usize = 60;
    let world = World::serve(OpsConfig { snapshot_every: Duration::from_millis(250), ..config() }).await;
    let began = Instant::now();
    let (over, mut flood) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
    for _ in 0..SOCKETS {
        flood.spawn(pipeline(world.connect().await, over.clone()));
    }
    for n in 0..50 {
        for probe in ["/livez", "/readyz"] {
            let line = world.raw(format!("GET {probe} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
            assert_eq!(line, "HTTP/1.1 200 OK", "{probe} {n}");
        }
    }
    over.store(true, Ordering::Relaxed);
    let answers: usize = flood.join_all().await.into_iter().sum();
    let took = began.elapsed();
    let snapshots = world.state.memory.snapshots.made();
    assert!(u128::from(snapshots) <= took.as_millis() / 250 + 1, "{snapshots} snapshots in {took:?}");
    // 100 at once and 50 a second for each socket.
    let most = SOCKETS * (100 + took.as_millis() as usize / 20 + 1);
    assert!((SOCKETS..=most).contains(&answers), "{answers} answers in {took:?}");
}

#[tokio::test]
async fn two_hundred_clients_that_come_anew_keep_no_probe_out() {
    let world = World::serve(OpsConfig { snapshot_every: Duration::from_millis(250), ..config() }).await;
    let address = world.address;
    let mut crowd = JoinSet::new();
    for _ in 0..200 {
        crowd.spawn(async move {
            loop {
                let Ok(mut socket) = TcpStream::connect(address).await else { continue };
                let request = "GET /overview HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
                if socket.write_all(request.as_bytes()).await.is_ok() {
                    // Whatever the answer is, it comes again.
                    let _ = socket.read_to_end(&mut Vec::new()).await;
                }
            }
        });
    }
    for n in 0..50 {
        let line = world.raw("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert_eq!(line, "HTTP/1.1 200 OK", "probe {n}");
    }
}

#[tokio::test]
async fn a_socket_that_sends_nothing_is_closed_in_time() {
    let world = World::serve(OpsConfig { request_timeout: Duration::from_millis(100), ..config() }).await;
    let mut silent = world.connect().await;
    let line = timeout(LONG, first_line(&mut silent)).await.unwrap();
    assert!(line.is_empty() || line.starts_with("HTTP/1.1 408"), "{line}");
}
