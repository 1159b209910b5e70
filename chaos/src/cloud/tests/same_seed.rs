use std::time::Duration;

use actors::ports::objects::Objects;
use actors::ports::stream::Stream;
use messages::{Position, ShardId};
use tokio::time::sleep;

use super::*;

/// What a worker in trouble would do.
async fn work(world: &World, client: ClientId) {
    let sdk = world.sdk(client);
    let (stream, objects) = (Stream::new(&sdk, "readings"), Objects::new(&sdk, "lake"));
    let shard = ShardId::new("shardId-000000000001");
    for n in 0..60 {
        let key = format!("zone/{}", n / 2);
        if let Ok(iterator) = stream.iterator(&shard, &Position::TrimHorizon).await {
            drop(stream.records(&shard, &iterator, 10).await);
        }
        drop(objects.put_new(&key, Bytes::from(vec![n]), "digest", 1).await);
        drop(objects.list("zone/").await);
        sleep(Duration::from_millis(37)).await;
    }
}

async fn run(seed: u64, clients: &[ClientId]) -> (String, Cloud) {
    let world = World::new(seed);
    world.cloud.create_stream("readings", 3);
    world.cloud.create_bucket("lake");
    world.cloud.set_faults(Weather::each(0.02));
    let produce = async {
        for n in 0..200_u64 {
            world.cloud.put(world.now_ms(), &format!("sensor-{}", n % 17), n.to_be_bytes().to_vec());
            sleep(Duration::from_millis(50)).await;
        }
    };
    let workers = clients.iter().map(|client| work(&world, *client));
    tokio::join!(produce, futures_util::future::join_all(workers));
    world.cloud.settle(world.now_ms() + 60_000);
    (world.cloud.trace_hash(), world.cloud)
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_is_the_same_run() {
    let (hash, cloud) = run(1, &[ME, OTHER]).await;
    let (again, same) = run(1, &[ME, OTHER]).await;
    assert_eq!(cloud.trace_tail(), same.trace_tail());
    assert_eq!((hash.clone(), cloud.counts(), cloud.objects()), (again, same.counts(), same.objects()));
    // The run was worth comparing.
    let counts = cloud.counts();
    assert_eq!(counts.faults.len(), 9, "{counts:?}");
    assert!(counts.calls.values().sum::<u64>() > 400, "{counts:?}");

    let (different, _) = run(2, &[ME, OTHER]).await;
    assert_ne!(hash, different);
}
