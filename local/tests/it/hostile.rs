//! Bytes nobody should send. Each gets an answer or a closed connection, and everybody else is served.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::World;

async fn send(world: &World, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(world.cloud.addr()).await.unwrap();
    // The other side may close while we still send.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "neither answered nor closed: {}", String::from_utf8_lossy(&answer));
    String::from_utf8_lossy(&answer).into_owned()
}

fn call(target: &str, body: &str) -> Vec<u8> {
    let scope = "AWS4-HMAC-SHA256 Credential=a/20260101/eu-west-1/x/aws4_request, SignedHeaders=host, Signature=s";
    format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: {target}\r\nX-Amz-Date: 20260101T000000Z\r\n\
         Authorization: {scope}\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

#[tokio::test]
async fn hostile_requests_get_an_error_and_harm_nobody() {
    let world = World::new().await;
    crate::kinesis::create(&world.kinesis(), "s", 1).await;
    let idle = TcpStream::connect(world.cloud.addr()).await.unwrap();

    let huge_header = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-Big: {}\r\n\r\n", "a".repeat(200_000));
    let deep_json = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let bad_base64 = r#"{"StreamName":"s","Records":[{"PartitionKey":"p","Data":"="}]}"#;
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("garbage", b"\x00\x01\xff\xfegarbage\r\n\r\n".to_vec(), "400"),
        ("huge header", huge_header.into_bytes(), "431"),
        ("unknown service", call("Nothing_20200101.Do", "{}"), "UnknownOperationException"),
        ("no statement", call("RedshiftData.ExecuteStatement", "{}"), "Sql is needed"),
        ("unknown operation", call("Kinesis_20131202.Nothing", "{}"), "UnknownOperationException"),
        ("not JSON", call("Kinesis_20131202.PutRecords", "{"), "SerializationException"),
        ("wrong types", call("Kinesis_20131202.PutRecords", r#"{"StreamName":"s","Records":7}"#), "400 Bad Request"),
        ("bad base64", call("Kinesis_20131202.PutRecords", bad_base64), "400 Bad Request"),
        (
            "no such stream",
            call("Kinesis_20131202.PutRecord", r#"{"StreamName":"../x","PartitionKey":"p","Data":""}"#),
            "400",
        ),
        ("deep JSON", call("DynamoDB_20120810.PutItem", &deep_json), "400 Bad Request"),
        ("not a table", call("DynamoDB_20120810.GetItem", r#"{"TableName":"t","Key":{}}"#), "400 Bad Request"),
        ("too large", b"PUT /b/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n".to_vec(), "413"),
        (
            "broken chunks",
            b"PUT /b/k HTTP/1.1\r\nHost: localhost\r\nx-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\n\
              Content-Length: 3\r\nConnection: close\r\n\r\nxyz"
                .to_vec(),
            "IncompleteBody",
        ),
        (
            "unknown query service",
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 10\r\n\
              Connection: close\r\n\r\nAction=Foo"
                .to_vec(),
            "InvalidAction",
        ),
        ("no bucket", b"GET /nope/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_vec(), "NoSuchBucket"),
        (
            "escape",
            b"GET /b/%2e%2e/%2e%2e/lock HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_vec(),
            "HTTP/1.1 4",
        ),
    ];
    for (name, bytes, expected) in cases {
        let answer = send(&world, &bytes).await;
        assert!(answer.contains(expected), "{name}: {answer}");
    }

    drop(idle);
    assert_eq!(crate::kinesis::shards(&world.kinesis(), "s").await.len(), 1);
    world.cloud.stop().await.unwrap();
}
