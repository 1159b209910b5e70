//! GOAL    What was acknowledged is there after `kill -9`.
//! METHOD  The cloud runs in a child process (this test binary again). Writers write until enough is acknowledged, the
//!         child is killed in the middle of it, and the folder is opened again.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use aws_config::SdkConfig;
use aws_sdk_s3::primitives::ByteStream;
use mangrove_local::LocalCloud;
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::kinesis::{create, entry, read_all};
use crate::tables::text;
use crate::{World, options, s3, sdk};

const FOLDER: &str = "MANGROVE_LOCAL_TEST_FOLDER";
const ADDRESS_FILE: &str = "address";
const N_ACKNOWLEDGED: usize = 150;

/// The child: does nothing unless it is told where.
#[tokio::test(flavor = "multi_thread")]
async fn serve_in_a_child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let cloud = LocalCloud::start(options(&folder.join("data"))).await.unwrap();
    std::fs::write(folder.join("address.tmp"), cloud.endpoint_url()).unwrap();
    std::fs::rename(folder.join("address.tmp"), folder.join(ADDRESS_FILE)).unwrap();
    std::future::pending::<()>().await;
}

/// Starts the cloud in a child process; it writes its address into the folder.
pub(crate) fn spawn(folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::serve_in_a_child", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

pub(crate) async fn endpoint(folder: &Path) -> String {
    let ready = async {
        loop {
            match std::fs::read_to_string(folder.join(ADDRESS_FILE)) {
                Ok(endpoint) => return endpoint,
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), ready).await.expect("the child did not start")
}

/// Writes one record, one object and one item after the other; tells each that was acknowledged.
async fn write(sdk: SdkConfig, writer: usize, acknowledged: mpsc::UnboundedSender<String>) {
    let kinesis = aws_sdk_kinesis::Client::new(&sdk);
    let objects = s3(&sdk);
    let tables = aws_sdk_dynamodb::Client::new(&sdk);
    for n in 0.. {
        let id = format!("{writer}-{n}");
        let record = kinesis.put_records().stream_name("s").records(entry(&id, id.clone())).send().await;
        let object = objects
            .put_object()
            .bucket("lake")
            .key(&id)
            .if_none_match("*")
            .metadata("id", &id)
            .body(ByteStream::from(id.clone().into_bytes()))
            .send()
            .await;
        let item = tables.put_item().table_name("t").item("leaseKey", text(&id)).send().await;
        if record.is_err() || object.is_err() || item.is_err() {
            return;
        }
        if acknowledged.send(id).is_err() {
            return;
        }
    }
}

/// The cloud on what a killed child left, in another place.
pub(crate) async fn left_behind(folder: TempDir) -> World {
    let moved = tempfile::tempdir().unwrap();
    std::fs::rename(folder.path().join("data"), moved.path()).unwrap();
    World::on(moved).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = spawn(folder.path());
    let sdk = sdk(&endpoint(folder.path()).await).await;
    create(&aws_sdk_kinesis::Client::new(&sdk), "s", 2).await;
    s3(&sdk).create_bucket().bucket("lake").send().await.unwrap();
    crate::tables::create(&aws_sdk_dynamodb::Client::new(&sdk), "t").await;

    let (tell, mut told) = mpsc::unbounded_channel();
    let writers: Vec<_> = (0..4).map(|writer| tokio::spawn(write(sdk.clone(), writer, tell.clone()))).collect();
    drop(tell);
    let mut acknowledged = Vec::new();
    while acknowledged.len() < N_ACKNOWLEDGED {
        acknowledged.push(told.recv().await.unwrap());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    while let Some(id) = told.recv().await {
        acknowledged.push(id);
    }
    for writer in writers {
        writer.await.unwrap();
    }

    let world = left_behind(folder).await;

    let mut records = BTreeSet::new();
    for record in read_all(&world.kinesis(), "s").await.into_values().flatten() {
        let id = String::from_utf8(record.data().as_ref().to_vec()).unwrap();
        assert!(records.insert(id), "stored twice");
    }
    for id in &acknowledged {
        assert!(records.contains(id), "record {id} is lost");
        let item = world.dynamodb().get_item().table_name("t").key("leaseKey", text(id)).send().await.unwrap();
        assert!(item.item().is_some(), "item {id} is lost");
    }
    // Also those that were not acknowledged: an object that is there is whole.
    let listed = world.s3().list_objects_v2().bucket("lake").send().await.unwrap();
    let keys: BTreeSet<_> = listed.contents().iter().map(|object| object.key().unwrap().to_owned()).collect();
    assert!(acknowledged.iter().all(|id| keys.contains(id)), "an object is lost");
    for key in keys {
        let object = world.s3().get_object().bucket("lake").key(&key).send().await.unwrap();
        assert_eq!(object.metadata().unwrap()["id"], key);
        assert_eq!(object.body.collect().await.unwrap().to_vec(), key.into_bytes());
    }
}
