//! GOAL    The one route that changes something does so for nobody but the machine's own tools.
//! METHOD  Raw bytes on real sockets.

use super::world::{World, config};

#[tokio::test]
async fn kills_are_for_those_who_ask_properly() {
    let world = World::serve(config()).await;
    let long = "x".repeat(33);
    for (target, status) in [
        ("/chaos/kill?sensor=s1", "204"),
        ("/chaos/kill?sensor=nobody", "404"),
        ("/chaos/kill?sensor=", "400"),
        ("/chaos/kill?sensor=a%20b", "400"),
        (&format!("/chaos/kill?sensor={long}"), "400"),
        // Listed, but under no supervisor in this world.
        ("/chaos/kill?path=alerts", "404"),
        ("/chaos/kill?path=shards/000000000003/nothing", "404"),
        ("/chaos/kill?path=", "404"),
        ("/chaos/kill?path=a&sensor=b", "400"),
        ("/chaos/kill?path=a&path=b", "400"),
        ("/chaos/kill?pth=a", "400"),
        ("/chaos/kill", "400"),
        ("/chaos/kill/", "405"),
        ("/chaos", "405"),
    ] {
        let line = world.raw(format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")).await;
        assert_eq!(line.split(' ').nth(1), Some(status), "{target}: {line}");
    }
}

#[tokio::test]
async fn pages_and_foreign_hosts_kill_nothing() {
    let world = World::serve(config()).await;
    let post = |headers: &str| format!("POST /chaos/kill?sensor=s1 HTTP/1.1\r\n{headers}Content-Length: 0\r\n\r\n");
    assert_eq!(world.raw(post("Host: evil.example\r\n")).await, "HTTP/1.1 421 Misdirected Request");
    for origin in ["https://evil.example", "null", "http://localhost"] {
        let line = world.raw(post(&format!("Host: localhost\r\nOrigin: {origin}\r\n"))).await;
        assert_eq!(line, "HTTP/1.1 405 Method Not Allowed", "{origin}");
    }
    for method in ["GET", "PUT", "DELETE"] {
        let line = world.raw(format!("{method} /chaos/kill?sensor=s1 HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        assert_eq!(line, "HTTP/1.1 405 Method Not Allowed", "{method}");
    }
}
