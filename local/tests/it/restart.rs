//! Starting: on a folder that was used before, on a port or folder that is taken.

use std::net::SocketAddr;

use aws_sdk_kinesis::types::ShardIteratorType;
use aws_sdk_s3::primitives::ByteStream;
use mangrove_local::{LocalCloud, LocalError, LocalOptions};

use crate::kinesis::{create, entry, is_increasing, iterator, read_all, shards};
use crate::tables::text;
use crate::{World, any_port, options};

#[tokio::test]
async fn everything_is_there_again_and_goes_on() {
    let world = World::new().await;
    create(&world.kinesis(), "readings", 2).await;
    let entries: Vec<_> = (0..300).map(|n| entry(&n.to_string(), n.to_string())).collect();
    let put = world.kinesis().put_records().stream_name("readings").set_records(Some(entries.clone()));
    put.send().await.unwrap();
    world.s3().create_bucket().bucket("lake").send().await.unwrap();
    let put = world.s3().put_object().bucket("lake").key("a/b").metadata("digest", "abc");
    put.body(ByteStream::from_static(b"content")).send().await.unwrap();
    crate::tables::create(&world.dynamodb(), "leases").await;
    let put = world.dynamodb().put_item().table_name("leases").item("leaseKey", text("k")).item("owner", text("me"));
    put.send().await.unwrap();
    let before = read_all(&world.kinesis(), "readings").await;

    let world = world.reopened().await;
    let client = world.kinesis();
    assert_eq!(read_all(&client, "readings").await, before);
    let mut latest = Vec::new();
    for shard in shards(&client, "readings").await {
        latest.push(iterator(&client, "readings", &shard, ShardIteratorType::Latest).await.unwrap());
    }
    client.put_records().stream_name("readings").set_records(Some(entries)).send().await.unwrap();
    let mut n_new = 0;
    for iterator in latest {
        n_new += client.get_records().shard_iterator(iterator).send().await.unwrap().records().len();
    }
    assert_eq!(n_new, 300, "LATEST is behind the restored records");
    for records in read_all(&client, "readings").await.values() {
        assert!(is_increasing(records), "sequence numbers go on where they were");
    }

    let head = world.s3().head_object().bucket("lake").key("a/b").send().await.unwrap();
    assert_eq!(head.metadata().unwrap()["digest"], "abc");
    let get = world.dynamodb().get_item().table_name("leases").key("leaseKey", text("k")).send().await.unwrap();
    assert_eq!(get.item().unwrap()["owner"], text("me"));
    world.cloud.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_taken_or_forbidden_is_named() {
    let world = World::new().await;
    let other = tempfile::tempdir().unwrap();

    let taken = LocalOptions { bind: world.cloud.addr(), ..options(other.path()) };
    let error = LocalCloud::start(taken).await.err().unwrap();
    assert!(matches!(error, LocalError::PortInUse { addr } if addr == world.cloud.addr()));
    assert!(error.to_string().contains(&world.cloud.addr().to_string()) && error.to_string().contains("port 0"));

    let error = LocalCloud::start(options(world.dir.path())).await.err().unwrap();
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");

    let everywhere: SocketAddr = "0.0.0.0:0".parse().unwrap();
    let error = LocalCloud::start(LocalOptions { bind: everywhere, ..options(other.path()) }).await.err().unwrap();
    assert!(matches!(error, LocalError::NotLoopback { .. }));

    let file = other.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let under_a_file = LocalOptions { bind: any_port(), ..options(&file.join("data")) };
    let error = LocalCloud::start(under_a_file).await.err().unwrap();
    assert!(matches!(error, LocalError::Folder { .. }), "{error}");
}

#[tokio::test]
async fn a_stopped_cloud_gives_its_port_and_folder_back() {
    let World { dir, cloud, sdk } = World::new().await;
    let addr = cloud.addr();
    aws_sdk_kinesis::Client::new(&sdk).list_streams().send().await.unwrap();
    cloud.stop().await.unwrap();
    let again = LocalOptions { bind: addr, ..options(dir.path()) };
    LocalCloud::start(again).await.unwrap().stop().await.unwrap();
}
