use actors::ports::aws::Failure;
use actors::ports::objects::{Objects, Put};
use actors::ports::provision::{self, Provisioned};

use super::*;

fn world() -> (World, Objects) {
    let world = World::new(3);
    world.cloud.create_bucket("lake");
    let objects = Objects::new(&world.sdk(ME), "lake");
    (world, objects)
}

#[tokio::test(start_paused = true)]
async fn a_conditional_put_creates_and_never_replaces() {
    let (world, objects) = world();
    let (key, body) = ("raw/date=2024-01-01/a b+c=%é.gz", Bytes::from_static(b"one"));
    assert_eq!(objects.put_new(key, body.clone(), "d1", 1).await.unwrap(), Put::Created);
    assert_eq!(objects.put_new(key, body.clone(), "d1", 1).await.unwrap(), Put::Same);
    assert_eq!(objects.put_new(key, Bytes::from_static(b"two"), "d2", 1).await.unwrap(), Put::Different);
    assert_eq!(objects.get(key, 100).await.unwrap(), body);
    assert_eq!(objects.get(key, 2).await.unwrap_err().failure, Failure::Refused);
    assert_eq!(objects.get("nothing", 100).await.unwrap_err().failure, Failure::NotFound);

    let stored = &world.cloud.objects()[key];
    assert_eq!((stored.client, &stored.bytes), (ME, &body));
    assert_eq!((stored.metadata["mangrove-digest"].as_str(), stored.metadata["mangrove-rows"].as_str()), ("d1", "1"));
    let history: Vec<_> = world.cloud.object_history().iter().map(|write| write.outcome).collect();
    assert_eq!(history, [PutOutcome::Created, PutOutcome::Refused, PutOutcome::Refused]);
}

#[tokio::test(start_paused = true)]
async fn an_unconditional_put_replaces_and_is_seen() {
    let (world, _) = world();
    let config = world.sdk(OTHER);
    let raw = aws_sdk_s3::Client::from_conf(aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build());
    for text in ["one", "two"] {
        raw.put_object().bucket("lake").key("k").body(text.as_bytes().to_vec().into()).send().await.unwrap();
    }
    assert_eq!(&world.cloud.objects()["k"].bytes[..], b"two");
    assert_eq!(world.cloud.object_history()[1].outcome, PutOutcome::Replaced);
    // What the simulation does not know is refused, not ignored.
    assert!(raw.delete_object().bucket("lake").key("k").send().await.is_err());
    assert!(raw.put_object().bucket("lake").key("k").if_match("x").send().await.is_err());
    assert!(raw.list_objects_v2().bucket("lake").fetch_owner(true).send().await.is_err());
    assert_eq!(&world.cloud.objects()["k"].bytes[..], b"two");
}

#[tokio::test(start_paused = true)]
async fn listings_have_pages_and_prefixes() {
    let (world, objects) = world();
    let mut keys: Vec<_> = (0..120).map(|n| format!("zone/{n:03}&<é>")).collect();
    keys.push("zone".into());
    for key in &keys {
        assert_eq!(objects.put_new(key, Bytes::new(), "d", 0).await.unwrap(), Put::Created);
    }
    assert_eq!(objects.list("zone/").await.unwrap(), keys[..120]);
    assert_eq!(objects.list("zone").await.unwrap().len(), 121);
    assert_eq!(objects.list("zone/11").await.unwrap().len(), 10);
    assert_eq!(world.cloud.counts().calls[&(Service::S3, "ListObjectsV2".to_owned())], 3 + 3 + 1);
}

#[tokio::test(start_paused = true)]
async fn the_oracle_can_be_deceived_on_purpose() {
    let (world, objects) = world();
    assert_eq!(objects.put_new("k", Bytes::from_static(b"x"), "d", 0).await.unwrap(), Put::Created);
    assert!(world.cloud.tamper_object("k", "y") && !world.cloud.tamper_object("l", "y"));
    assert_eq!(&objects.get("k", 9).await.unwrap()[..], b"y");
    assert!(world.cloud.remove_object("k") && !world.cloud.remove_object("k"));
    assert_eq!(objects.get("k", 9).await.unwrap_err().failure, Failure::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_bucket_is_provisioned_once() {
    let world = World::new(1);
    let sdk = world.sdk(ME);
    let objects = Objects::new(&sdk, "lake");
    assert_eq!(objects.check().await.unwrap_err().failure, Failure::NotFound);
    assert_eq!(provision::bucket(&sdk, "lake").await.unwrap(), Provisioned::Created);
    assert_eq!(provision::bucket(&sdk, "lake").await.unwrap(), Provisioned::Existing);
    objects.check().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn folders_are_told_once_each() {
    let (world, objects) = world();
    // More than a page of folders, and more than a page of objects in one of them.
    let key = |n: usize| if n < 60 { format!("zone/{n:03}/k") } else { format!("zone/000/{n:03}") };
    for n in 0..120 {
        assert_eq!(objects.put_new(&key(n), Bytes::new(), "d", 0).await.unwrap(), Put::Created);
    }
    assert_eq!(objects.put_new("zone/plain", Bytes::new(), "d", 0).await.unwrap(), Put::Created);
    let folders: Vec<String> = (0..60).map(|n| format!("zone/{n:03}/")).collect();
    assert_eq!(objects.folders("zone/").await.unwrap(), folders);
    assert_eq!(world.cloud.counts().calls[&(Service::S3, "ListObjectsV2".to_owned())], 2);
}
