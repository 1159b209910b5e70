//! GOAL    A bucket whose policy denies a PUT without encryption headers can be written to: every object of every zone has
//!         been asked for as configured, the manifests of loads among them.
//! METHOD  A worker that loads, with each kind of encryption; the local cloud tells what it was asked for.

use std::collections::BTreeSet;
use std::time::Duration;

use actors::ports::objects::{Encryption, Objects};
use aws_sdk_s3::Client;
use aws_sdk_s3::types::ServerSideEncryption;
use mangrove_tests::history::{history, setup};
use mangrove_tests::warehouse::{assert_loaded, loader_config, until_loaded};
use mangrove_tests::world::{BUCKET, Setup, World, finish};

const KEY: &str = "arn:aws:kms:eu-central-1:123456789012:key/1234";
const AGE_MAX: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_object_is_asked_to_be_encrypted_as_configured() {
    let kms = Encryption::Kms { key: Some(KEY.to_owned()), bucket_key: true };
    let cases = [
        (Encryption::Default, (None, None, None)),
        (Encryption::Aes256, (Some(ServerSideEncryption::Aes256), None, None)),
        (kms, (Some(ServerSideEncryption::AwsKms), Some(KEY.to_owned()), Some(true))),
    ];
    for (encryption, expected) in cases {
        let dir = tempfile::tempdir().unwrap();
        let world = World::new(dir.path(), 1).await;
        world.put(&history(3, 1)).await;
        let loads = Some(loader_config());
        let worker = world.worker(&Setup { encryption, loads, age_max: AGE_MAX, ..setup() }).await;
        let loading = world.loading(&setup().schema, "");
        mangrove_tests::world::caught_up(&worker).await;
        until_loaded(&loading).await;
        finish(worker).await;
        let keys = Objects::new(world.sdk(), BUCKET).list("").await.unwrap();
        let folders: BTreeSet<&str> = keys.iter().filter_map(|key| key.split('/').next()).collect();
        assert!(folders.contains("warehouse") && folders.contains("manifests") && folders.len() > 6, "{folders:?}");
        let client = Client::from_conf(aws_sdk_s3::config::Builder::from(world.sdk()).force_path_style(true).build());
        for key in &keys {
            let head = client.head_object().bucket(BUCKET).key(key).send().await.unwrap();
            let said = (head.server_side_encryption, head.ssekms_key_id, head.bucket_key_enabled);
            assert_eq!(said, expected, "{key}");
        }
        loading.load_all(Duration::from_secs(60)).await.unwrap();
        assert_loaded(&world.lake(), &world.analyst()).await;
    }
}
