//! Creates the resources that a local run needs: stream, bucket, topic.
//!
//! **Promises** what is there already stays as it is; asking twice is the same as asking once.
//! **Not here**: production, where resources come from infrastructure as code; the lease table, which the leases
//! create themselves.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_kinesis::types::StreamStatus;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use tokio::time::{Instant, sleep};

use super::aws::{CallError, Failure, classify};

/// The region whose name S3 must not be given.
const S3_DEFAULT_REGION: &str = "us-east-1";
/// AWS needs some seconds for a stream.
const STREAM_WAIT_MAX: Duration = Duration::from_secs(60);
const STREAM_POLL: Duration = Duration::from_millis(200);

/// Whether something had to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provisioned {
    /// It is new.
    Created,
    /// It was there and was left alone.
    Existing,
}

/// Creates a stream with this many shards, and waits until it can be written. An existing one keeps its shards.
pub async fn stream(config: &SdkConfig, name: &str, shards: u32) -> Result<Provisioned, CallError> {
    let client = aws_sdk_kinesis::Client::new(config);
    let shards = i32::try_from(shards).unwrap_or(i32::MAX);
    let request = client.create_stream().stream_name(name).shard_count(shards).send().await;
    let provisioned = match request.map_err(|e| classify(format!("create stream {name:?}"), e)) {
        Ok(_) => Provisioned::Created,
        Err(error) if error.code.as_deref() == Some("ResourceInUseException") => Provisioned::Existing,
        Err(error) => return Err(error),
    };
    await_active(&client, name).await.map(|()| provisioned)
}

async fn await_active(client: &aws_sdk_kinesis::Client, name: &str) -> Result<(), CallError> {
    let deadline = Instant::now() + STREAM_WAIT_MAX;
    loop {
        let answer = client.describe_stream_summary().stream_name(name).send().await;
        let answer = answer.map_err(|e| classify(format!("describe stream {name:?}"), e))?;
        let status = answer.stream_description_summary().map(|summary| summary.stream_status().clone());
        match status {
            // A stream that is being split or merged can be read and written.
            Some(StreamStatus::Active | StreamStatus::Updating) => return Ok(()),
            status if Instant::now() > deadline => {
                let message = format!("still {status:?} after {STREAM_WAIT_MAX:?}");
                let action = format!("create stream {name:?}");
                return Err(CallError::new(action, Failure::Transient, message));
            }
            _ => sleep(STREAM_POLL).await,
        }
    }
}

/// Creates a bucket.
pub async fn bucket(config: &SdkConfig, name: &str) -> Result<Provisioned, CallError> {
    let path_style = config.endpoint_url().is_some();
    let s3 = aws_sdk_s3::config::Builder::from(config).force_path_style(path_style).build();
    let request = aws_sdk_s3::Client::from_conf(s3).create_bucket().bucket(name);
    let region = config.region().map(|region| region.as_ref()).filter(|region| *region != S3_DEFAULT_REGION);
    let place = region.map(|region| {
        CreateBucketConfiguration::builder().location_constraint(BucketLocationConstraint::from(region)).build()
    });
    let created = request.set_create_bucket_configuration(place).send().await;
    match created.map_err(|e| classify(format!("create bucket {name:?}"), e)) {
        Ok(_) => Ok(Provisioned::Created),
        Err(error) if error.code.as_deref() == Some("BucketAlreadyOwnedByYou") => Ok(Provisioned::Existing),
        Err(error) => Err(error),
    }
}

/// Creates a topic and returns its ARN; SNS answers the same for one that exists.
pub async fn topic(config: &SdkConfig, name: &str) -> Result<String, CallError> {
    let action = || format!("create topic {name:?}");
    let answer = aws_sdk_sns::Client::new(config).create_topic().name(name).send().await;
    let answer = answer.map_err(|e| classify(action(), e))?;
    answer.topic_arn.ok_or_else(|| CallError::new(action(), Failure::Refused, "the answer has no ARN"))
}
