//! Objects: content, metadata, conditions, listings, and what lies in the folder.

use std::collections::BTreeSet;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumMode, CompletedMultipartUpload, CompletedPart, ServerSideEncryption};

use crate::World;

const BUCKET: &str = "mangrove-lake-with-a-long-name";

async fn bucket(world: &World) -> Client {
    let client = world.s3();
    client.create_bucket().bucket(BUCKET).send().await.unwrap();
    client
}

async fn put(client: &Client, key: &str, content: &str) {
    let body = ByteStream::from(content.as_bytes().to_vec());
    client.put_object().bucket(BUCKET).key(key).body(body).send().await.unwrap();
}

async fn get(client: &Client, key: &str) -> Vec<u8> {
    let answer = client.get_object().bucket(BUCKET).key(key).send().await.unwrap();
    answer.body.collect().await.unwrap().to_vec()
}

#[tokio::test]
async fn an_object_is_a_plain_file_with_its_metadata_elsewhere() {
    let world = World::new().await;
    let client = bucket(&world).await;
    let answer = client
        .put_object()
        .bucket(BUCKET)
        .key("raw/year=2026/a.bin")
        .metadata("digest", "abc")
        .content_type("application/x-test")
        .body(ByteStream::from_static(b"hello"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.e_tag(), Some("\"5d41402abc4b2a76b9719d911017c592\""));

    let head = client
        .head_object()
        .bucket(BUCKET)
        .key("raw/year=2026/a.bin")
        .checksum_mode(ChecksumMode::Enabled)
        .send()
        .await
        .unwrap();
    assert_eq!(head.metadata().unwrap()["digest"], "abc");
    assert_eq!(head.content_type(), Some("application/x-test"));
    assert_eq!(head.content_length(), Some(5));
    assert_eq!(head.checksum_crc32(), Some("NhCmhg=="), "the SDK's own checksum, verified and kept");
    assert_eq!(get(&client, "raw/year=2026/a.bin").await, b"hello");
    let part = client.get_object().bucket(BUCKET).key("raw/year=2026/a.bin").range("bytes=1-3").send().await.unwrap();
    assert_eq!(part.content_range(), Some("bytes 1-3/5"));
    assert_eq!(part.body.collect().await.unwrap().to_vec(), b"ell");

    let folder = world.dir.path().join("s3");
    assert_eq!(files(&folder), BTreeSet::from([format!("{BUCKET}/raw/year=2026/a.bin")]));
    assert_eq!(std::fs::read(folder.join(BUCKET).join("raw/year=2026/a.bin")).unwrap(), b"hello");
}

#[tokio::test]
async fn of_many_conditional_writes_one_wins_and_keeps_its_metadata() {
    let world = World::new().await;
    let client = bucket(&world).await;
    for round in 0..10 {
        let writers: Vec<_> = (0..20)
            .map(|n| {
                let request = client
                    .put_object()
                    .bucket(BUCKET)
                    .key(format!("once/{round}"))
                    .if_none_match("*")
                    .metadata("writer", n.to_string())
                    .body(ByteStream::from(format!("writer {n}").into_bytes()));
                tokio::spawn(async move { (n, request.send().await) })
            })
            .collect();
        let mut winners = Vec::new();
        for writer in writers {
            match writer.await.unwrap() {
                (n, Ok(_)) => winners.push(n),
                (_, Err(error)) => assert_eq!(error.raw_response().unwrap().status().as_u16(), 412),
            }
        }
        assert_eq!(winners.len(), 1);
        let found = client.get_object().bucket(BUCKET).key(format!("once/{round}")).send().await.unwrap();
        assert_eq!(found.metadata().unwrap()["writer"], winners[0].to_string());
        assert_eq!(found.body.collect().await.unwrap().to_vec(), format!("writer {}", winners[0]).into_bytes());
    }
}

#[tokio::test]
async fn a_reader_never_sees_one_version_with_the_metadata_of_another() {
    let world = World::new().await;
    let client = bucket(&world).await;
    let writer = tokio::spawn({
        let client = client.clone();
        async move {
            for n in 0..200 {
                let request = client.put_object().bucket(BUCKET).key("hot").metadata("n", n.to_string());
                request.body(ByteStream::from(format!("{n:04}").into_bytes())).send().await.unwrap();
            }
        }
    });
    let mut n_seen = 0;
    while !writer.is_finished() {
        let Ok(found) = client.get_object().bucket(BUCKET).key("hot").send().await else { continue };
        let said: u32 = found.metadata().unwrap()["n"].parse().unwrap();
        let content = found.body.collect().await.unwrap().to_vec();
        assert_eq!(content, format!("{said:04}").into_bytes());
        n_seen += 1;
    }
    writer.await.unwrap();
    assert!(n_seen > 0);
}

#[tokio::test]
async fn long_keys_and_strange_ones() {
    let world = World::new().await;
    let client = bucket(&world).await;
    let name = format!("readings-shardId-000000000000-{}-{}-0.parquet", "4".repeat(56), "5".repeat(56));
    let long = format!("cleansed/year=2026/month=01/day=02/hour=03/{name}");
    assert!(long.len() > 190);
    put(&client, &long, "long").await;
    put(&client, "with space/ünï+%20&=", "strange").await;
    assert_eq!(get(&client, &long).await, b"long");
    assert_eq!(get(&client, "with space/ünï+%20&=").await, b"strange");

    for key in ["../other/x", "a/../../x", &"n".repeat(300), "a//b", &format!("{long}/below")] {
        let refused = client.put_object().bucket(BUCKET).key(key).body(ByteStream::from_static(b"x")).send().await;
        assert_eq!(refused.unwrap_err().raw_response().unwrap().status().as_u16(), 400, "{key}");
    }
    assert_eq!(files(&world.dir.path().join("s3")).len(), 2);
}

#[tokio::test]
async fn listings_have_prefixes_groups_and_pages() {
    let world = World::new().await;
    let client = bucket(&world).await;
    for n in 0..25 {
        put(&client, &format!("zone/day={:02}/{n:02}", n / 5), "x").await;
    }
    put(&client, "zone-2/a", "x").await;
    put(&client, "zone/top", "x").await;

    let mut pages = client.list_objects_v2().bucket(BUCKET).prefix("zone/day=").max_keys(10).into_paginator().send();
    let mut keys = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.unwrap();
        assert!(page.contents().len() <= 10);
        keys.extend(page.contents().iter().map(|object| object.key().unwrap().to_owned()));
    }
    assert_eq!(keys, (0..25).map(|n| format!("zone/day={:02}/{n:02}", n / 5)).collect::<Vec<_>>());

    let mut pages =
        client.list_objects_v2().bucket(BUCKET).prefix("zone/").delimiter("/").max_keys(2).into_paginator().send();
    let (mut groups, mut objects) = (Vec::new(), Vec::new());
    while let Some(page) = pages.next().await {
        let page = page.unwrap();
        groups.extend(page.common_prefixes().iter().map(|group| group.prefix().unwrap().to_owned()));
        objects.extend(page.contents().iter().map(|object| object.key().unwrap().to_owned()));
    }
    assert_eq!(groups, (0..5).map(|day| format!("zone/day={day:02}/")).collect::<Vec<_>>());
    assert_eq!(objects, ["zone/top"]);

    client.delete_object().bucket(BUCKET).key("zone/top").send().await.unwrap();
    let gone = client.get_object().bucket(BUCKET).key("zone/top").send().await;
    assert!(gone.unwrap_err().into_service_error().is_no_such_key());
    let full = client.delete_bucket().bucket(BUCKET).send().await;
    assert_eq!(full.unwrap_err().raw_response().unwrap().status().as_u16(), 409);
}

#[tokio::test]
async fn a_large_object_in_parts_and_a_copy() {
    let world = World::new().await;
    let client = bucket(&world).await;
    let started = client.create_multipart_upload().bucket(BUCKET).key("big").metadata("a", "b").send().await.unwrap();
    let id = started.upload_id().unwrap();
    let mut done = CompletedMultipartUpload::builder();
    for number in 1..=3 {
        let body = ByteStream::from(vec![number as u8; 5 * 1024 * 1024]);
        let request = client.upload_part().bucket(BUCKET).key("big").upload_id(id).part_number(number).body(body);
        let part = request.send().await.unwrap();
        done = done.parts(CompletedPart::builder().part_number(number).e_tag(part.e_tag().unwrap()).build());
    }
    assert_eq!(files(&world.dir.path().join("s3")).len(), 0, "nothing is visible before it is complete");
    let request = client.complete_multipart_upload().bucket(BUCKET).key("big").upload_id(id);
    request.multipart_upload(done.build()).send().await.unwrap();

    let copy = client.copy_object().bucket(BUCKET).key("copy").copy_source(format!("{BUCKET}/big"));
    copy.send().await.unwrap();
    let copied = client.get_object().bucket(BUCKET).key("copy").send().await.unwrap();
    assert_eq!(copied.metadata().unwrap()["a"], "b");
    let content = copied.body.collect().await.unwrap().to_vec();
    assert_eq!(content.len(), 15 * 1024 * 1024);
    assert_eq!((content[0], content[content.len() - 1]), (1, 3));
}

/// All files below a folder, by relative path.
pub(crate) fn files(root: &std::path::Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found
}

#[tokio::test]
async fn what_an_object_is_to_be_encrypted_with_is_told_again() {
    let world = World::new().await;
    let client = bucket(&world).await;
    let put = |key: &str| client.put_object().bucket(BUCKET).key(key).body(ByteStream::from_static(b"x"));
    put("plain").send().await.unwrap();
    put("s3").server_side_encryption(ServerSideEncryption::Aes256).send().await.unwrap();
    let kms =
        put("kms").server_side_encryption(ServerSideEncryption::AwsKms).ssekms_key_id("k").bucket_key_enabled(true);
    assert_eq!(kms.send().await.unwrap().ssekms_key_id(), Some("k"));
    let cases = [
        ("plain", (None, None, None)),
        ("s3", (Some(&ServerSideEncryption::Aes256), None, None)),
        ("kms", (Some(&ServerSideEncryption::AwsKms), Some("k"), Some(true))),
    ];
    for (key, expected) in cases {
        let head = client.head_object().bucket(BUCKET).key(key).send().await.unwrap();
        assert_eq!((head.server_side_encryption(), head.ssekms_key_id(), head.bucket_key_enabled()), expected, "{key}");
    }
    let copy = client.copy_object().bucket(BUCKET).key("copy").copy_source(format!("{BUCKET}/kms"));
    copy.server_side_encryption(ServerSideEncryption::Aes256).send().await.unwrap();
    let upload = client.create_multipart_upload().bucket(BUCKET).key("parts");
    let upload = upload.server_side_encryption(ServerSideEncryption::Aes256).send().await.unwrap();
    let id = upload.upload_id().unwrap();
    let part = client.upload_part().bucket(BUCKET).key("parts").upload_id(id).part_number(1);
    let part = part.body(ByteStream::from_static(b"x")).send().await.unwrap();
    let part = CompletedPart::builder().part_number(1).set_e_tag(part.e_tag).build();
    let whole = CompletedMultipartUpload::builder().parts(part).build();
    let complete = client.complete_multipart_upload().bucket(BUCKET).key("parts").upload_id(id);
    complete.multipart_upload(whole).send().await.unwrap();
    for key in ["copy", "parts"] {
        let head = client.head_object().bucket(BUCKET).key(key).send().await.unwrap();
        let said = (head.server_side_encryption(), head.ssekms_key_id());
        assert_eq!(said, (Some(&ServerSideEncryption::Aes256), None), "{key}");
    }
    for wrong in [put("w").ssekms_key_id("k"), put("w").server_side_encryption("ROT13".into())] {
        let error = wrong.send().await.unwrap_err();
        assert_eq!(error.raw_response().map(|response| response.status().as_u16()), Some(400));
    }
}
