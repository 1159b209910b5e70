//! GOAL    What is stored and damaged, missing or of another shape is named, kept and refused: no start takes it for an
//!         end, an orphan or nothing.
//! METHOD  A folder with something of everything; one thing is damaged at a time, and the cloud started again.

use std::fs;
use std::path::{Path, PathBuf};

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_s3::primitives::ByteStream;
use mangrove_local::{LocalCloud, LocalError};
use tempfile::TempDir;

use crate::kinesis::{create, entry, read_all};
use crate::tables::text;
use crate::{World, options};

/// A folder that was used, and closed.
async fn used() -> TempDir {
    let world = World::new().await;
    create(&world.kinesis(), "s", 1).await;
    for n in 0..3 {
        let entries = (0..10).map(|i| entry("k", format!("{n}/{i}"))).collect();
        world.kinesis().put_records().stream_name("s").set_records(Some(entries)).send().await.unwrap();
    }
    world.s3().create_bucket().bucket("lake").send().await.unwrap();
    let put = world.s3().put_object().bucket("lake").key("a/b").metadata("digest", "abc");
    put.body(ByteStream::from_static(b"content")).send().await.unwrap();
    crate::tables::create(&world.dynamodb(), "leases").await;
    world.dynamodb().put_item().table_name("leases").item("leaseKey", text("k")).send().await.unwrap();
    world.sns().create_topic().name("alerts").send().await.unwrap();
    #[cfg(feature = "warehouse")]
    world.redshift().execute_statement().database("dev").workgroup_name("w").sql("SELECT 1").send().await.unwrap();
    let World { dir, cloud, .. } = world;
    cloud.stop().await.unwrap();
    dir
}

/// Every file below a folder, with its content.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(contents(&path)),
            // It names the process.
            false if path.ends_with("lock") => {}
            false => found.push((path.clone(), fs::read(&path).unwrap())),
        }
    }
    found.sort();
    found
}

async fn refused(dir: &TempDir, named: &str) -> LocalError {
    let before = contents(dir.path());
    let error = LocalCloud::start(options(dir.path())).await.err().unwrap_or_else(|| panic!("{named} is not missed"));
    let text = error.to_string();
    assert!(text.contains(named) && text.contains("restore it"), "{named}: {text}");
    assert!(contents(dir.path()) == before, "{named}: all is kept as it is");
    error
}

#[tokio::test]
async fn a_state_file_that_is_gone_is_missed() {
    let dir = used().await;
    let mut files =
        vec!["kinesis/streams.json", "kinesis/stream-s.journal", "dynamodb/eu-west-1.json", "sns/eu-west-1.json"];
    files.extend(["s3/lake", "s3-attributes/lake"]);
    if cfg!(feature = "warehouse") {
        files.push("warehouse.duckdb");
    }
    for file in files {
        let (path, aside) = (dir.path().join(file), dir.path().join("aside"));
        fs::rename(&path, &aside).unwrap();
        let error = refused(&dir, file).await;
        assert!(matches!(error, LocalError::Missing { .. }), "{file}: {error}");
        fs::rename(&aside, &path).unwrap();
    }
    LocalCloud::start(options(dir.path())).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn journals_without_their_shape_are_kept() {
    let dir = used().await;
    // As in a folder from before there was a list of its contents.
    fs::remove_file(dir.path().join("contents.json")).unwrap();
    let shape = dir.path().join("kinesis/streams.json");
    let content = fs::read(&shape).unwrap();
    fs::remove_file(&shape).unwrap();
    assert!(matches!(refused(&dir, "streams.json").await, LocalError::Missing { .. }));

    // A shape of before the stream.
    fs::write(&shape, br#"{"format":2,"streams":[],"consumers":[]}"#).unwrap();
    assert!(matches!(refused(&dir, "streams.json").await, LocalError::Damaged { .. }));

    fs::write(&shape, content).unwrap();
    let world = World::on(dir).await;
    assert_eq!(read_all(&world.kinesis(), "s").await.values().map(Vec::len).sum::<usize>(), 30);
}

#[tokio::test]
async fn a_state_file_that_is_damaged_is_named() {
    let dir = used().await;
    for file in ["kinesis/streams.json", "dynamodb/eu-west-1.json", "sns/eu-west-1.json", "contents.json"] {
        let path = dir.path().join(file);
        let content = fs::read(&path).unwrap();
        for damaged in [&content[..content.len() / 2], b"", b"[1]"] {
            fs::write(&path, damaged).unwrap();
            let error = refused(&dir, file).await;
            assert!(matches!(error, LocalError::Damaged { .. }), "{file}: {error}");
        }
        fs::write(&path, content).unwrap();
    }
    LocalCloud::start(options(dir.path())).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn a_journal_ends_where_its_last_acknowledged_record_does() {
    let dir = used().await;
    let path = dir.path().join("kinesis/stream-s.journal");
    let content = fs::read(&path).unwrap();
    let mut flipped = content.clone();
    flipped[content.len() / 3] ^= 1;
    for damaged in [&content[..content.len() / 2], &content[..content.len() - 1], &content[..3], b"", &flipped] {
        fs::write(&path, damaged).unwrap();
        assert!(matches!(refused(&dir, "stream-s.journal").await, LocalError::Damaged { .. }));
    }
    // A kill within a write that nobody was told of: the rest of a frame.
    fs::write(&path, [&content[..], &content[16..40]].concat()).unwrap();
    let world = World::on(dir).await;
    assert_eq!(read_all(&world.kinesis(), "s").await.values().map(Vec::len).sum::<usize>(), 30);
    world.kinesis().put_record().stream_name("s").partition_key("k").data(Blob::new("x")).send().await.unwrap();
    let world = world.reopened().await;
    assert_eq!(read_all(&world.kinesis(), "s").await.values().map(Vec::len).sum::<usize>(), 31);
}

#[tokio::test]
async fn an_object_that_is_not_what_was_stored_is_not_given_out() {
    let world = World::on(used().await).await;
    let object = world.dir.path().join("s3/lake/a/b");
    let get = || world.s3().get_object().bucket("lake").key("a/b").send();

    // A copy of the folder has other times, and the same content.
    fs::write(&object, "content").unwrap();
    assert_eq!(get().await.unwrap().metadata().unwrap()["digest"], "abc");
    for damaged in ["cont", "", "CONTENT"] {
        fs::write(&object, damaged).unwrap();
        let error = get().await.unwrap_err().into_service_error();
        assert_eq!(error.meta().code(), Some("InternalError"));
        assert!(error.meta().message().unwrap().contains("s3/lake/a/b"), "{error:?}");
    }
    fs::write(&object, "content").unwrap();

    let attributes = fs::read_dir(world.dir.path().join("s3-attributes/lake")).unwrap().next().unwrap().unwrap().path();
    let content = fs::read(&attributes).unwrap();
    for damaged in [&content[..content.len() / 2], b""] {
        fs::write(&attributes, damaged).unwrap();
        let error = get().await.unwrap_err().into_service_error();
        assert!(error.meta().message().unwrap().contains("s3-attributes/lake"), "{error:?}");
        assert_eq!(fs::read(&attributes).unwrap(), damaged);
    }
    fs::write(&attributes, content).unwrap();
    get().await.unwrap();
    // Whoever gives it up can.
    fs::write(&object, "cont").unwrap();
    world.s3().delete_object().bucket("lake").key("a/b").send().await.unwrap();

    let World { dir, cloud, .. } = world;
    cloud.stop().await.unwrap();
    fs::rename(dir.path().join("s3/lake"), dir.path().join("aside")).unwrap();
    fs::write(dir.path().join("s3-attributes/lake/x.json"), "[]").unwrap();
    assert!(matches!(refused(&dir, "s3/lake").await, LocalError::Missing { .. }));
}

#[cfg(feature = "warehouse")]
#[tokio::test]
async fn a_warehouse_that_is_damaged_is_named_and_kept() {
    let dir = used().await;
    let path = dir.path().join("warehouse.duckdb");
    fs::write(&path, "").unwrap();
    assert!(matches!(refused(&dir, "warehouse.duckdb").await, LocalError::Damaged { .. }));

    fs::write(&path, b"this is no database".repeat(1_000)).unwrap();
    let world = World::on(dir).await;
    let asked = world.redshift().execute_statement().database("dev").workgroup_name("w").sql("SELECT 1").send().await;
    let error = asked.unwrap_err().into_service_error();
    assert!(error.meta().message().unwrap().contains("warehouse.duckdb"), "{error:?}");
    assert!(fs::read(&path).unwrap().starts_with(b"this is no database"));
}
