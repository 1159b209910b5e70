//! The objects: S3, write-once.

mod creation;

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ServerSideEncryption;
use bytes::Bytes;

use self::creation::{Creation, PutAnswer};
use super::aws::{CallError, Failure, classify};
use super::faults::Faults;
use super::retries::RetryBudget;

/// Metadata key of the logical digest: what tells "mine, already" from "another's".
const DIGEST: &str = "mangrove-digest";
/// The slowest transfer that is worth waiting for.
const BYTES_PER_SECOND_MIN: usize = 1 << 20;
const ROWS: &str = "mangrove-rows";
/// Pages of 1,000 keys that one listing may take.
const LIST_PAGES_MAX: usize = 10_000;
const LIST_PAGE_KEYS: i32 = 1_000;

/// What every PUT asks the service to encrypt an object with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Encryption {
    /// Nothing: the bucket's own default holds.
    #[default]
    Default,
    /// Keys of S3.
    Aes256,
    /// A key of KMS.
    Kms {
        /// Which one; none is the account's own for S3.
        key: Option<String>,
        /// Whether one call of KMS serves many objects.
        bucket_key: bool,
    },
}

/// One bucket.
#[derive(Clone, Debug)]
pub struct Objects {
    client: Client,
    bucket: String,
    attempt_timeout: Duration,
    creation: Creation,
    retries: RetryBudget,
    encryption: Encryption,
}

/// What became of a conditional PUT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Put {
    /// The object is new.
    Created,
    /// It was there already, with the same digest: an earlier attempt, or a predecessor, got through.
    Same,
    /// It was there already and says something else. Nothing was changed.
    Different,
}

/// An object as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tagged {
    /// Its key.
    pub key: String,
    /// Another one for another content.
    pub tag: String,
    /// Its length.
    pub bytes: u64,
}

impl Objects {
    /// The bucket of this name. Path-style addressing, so that an endpoint may be a bare host.
    pub fn new(config: &aws_config::SdkConfig, bucket: &str) -> Self {
        let attempt_timeout = config.timeout_config().and_then(|t| t.operation_attempt_timeout());
        let config = aws_sdk_s3::config::Builder::from(config).force_path_style(config.endpoint_url().is_some());
        Self {
            client: Client::from_conf(config.build()),
            bucket: bucket.to_owned(),
            attempt_timeout: attempt_timeout.unwrap_or(Duration::from_secs(5)),
            creation: Creation::new(&Faults::none()),
            retries: RetryBudget::default(),
            encryption: Encryption::Default,
        }
    }

    /// The same with objects encrypted so.
    pub fn encrypted(self, encryption: Encryption) -> Self {
        Self { encryption, ..self }
    }

    /// The same with other faults.
    pub fn with(self, faults: Faults) -> Self {
        Self { creation: Creation::new(&faults), ..self }
    }

    /// The bucket's retries.
    pub fn retries(&self) -> &RetryBudget {
        &self.retries
    }

    /// Fails if the bucket cannot be reached.
    pub async fn check(&self) -> Result<(), CallError> {
        let action = format!("reach bucket {:?}", self.bucket);
        match self.client.head_bucket().bucket(&self.bucket).send().await {
            Ok(_) => Ok(()),
            // A HEAD has no body, so the code comes from the status alone.
            Err(error) => {
                let status = error.raw_response().map(|r| r.status().as_u16());
                let mut error = classify(action, error);
                match status {
                    Some(404) => (error.failure, error.message) = (Failure::NotFound, "no such bucket".into()),
                    Some(403) => {
                        let (code, message) = (Some("AccessDenied".to_owned()), "access denied".to_owned());
                        (error.failure, error.code, error.message) = (Failure::Refused, code, message);
                    }
                    Some(301) => {
                        let message = "the bucket is in another region than aws.region".to_owned();
                        (error.failure, error.message) = (Failure::Refused, message);
                    }
                    _ => {}
                }
                Err(error)
            }
        }
    }

    /// Creates an object, never replaces one.
    pub async fn put_new(&self, key: &str, body: Bytes, digest: &str, rows: u64) -> Result<Put, CallError> {
        let timeout = self.timeout_for(body.len());
        let request = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .set_if_none_match(self.creation.if_none_match())
            .metadata(DIGEST, digest)
            .metadata(ROWS, rows.to_string())
            .body(ByteStream::from(body));
        let request = self.encrypting(request);
        let request =
            request.customize().config_override(aws_sdk_s3::config::Config::builder().timeout_config(timeout));
        let Err(error) = request.send().await else {
            self.retries.earn();
            return Ok(Put::Created);
        };
        let status = error.raw_response().map(|r| r.status().as_u16());
        let error = classify(format!("put {key:?}"), error);
        match self.creation.answer(status) {
            PutAnswer::Failed => Err(error),
            PutAnswer::IsOurs => Ok(Put::Same),
            PutAnswer::IsThere if self.digest(key).await?.as_deref() == Some(digest) => Ok(Put::Same),
            PutAnswer::IsThere => Ok(Put::Different),
        }
    }

    /// Asks whether objects may be created, without creating one: one that is there, of at most this many bytes, is put
    /// again, word for word, on condition that it is not there. A bucket that lets nobody write says so first.
    pub async fn may_put(&self, key: &str, bytes_max: usize) -> Result<(), CallError> {
        let body = self.get(key, bytes_max).await?;
        let head = self.client.head_object().bucket(&self.bucket).key(key).send().await;
        let metadata = head.map_err(|e| classify(format!("head {key:?}"), e))?.metadata;
        let request = self.client.put_object().bucket(&self.bucket).key(key).if_none_match("*");
        let request = request.set_metadata(metadata).body(ByteStream::from(body));
        match self.encrypting(request).send().await {
            Ok(_) => Ok(()),
            Err(error) if error.raw_response().is_some_and(|r| r.status().as_u16() == 412) => Ok(()),
            Err(error) => Err(classify(format!("put {key:?} once more"), error)),
        }
    }

    /// As every PUT asks for it: a policy of the bucket may want to see it.
    fn encrypting(&self, request: PutObjectFluentBuilder) -> PutObjectFluentBuilder {
        match &self.encryption {
            Encryption::Default => request,
            Encryption::Aes256 => request.server_side_encryption(ServerSideEncryption::Aes256),
            Encryption::Kms { key, bucket_key } => request
                .server_side_encryption(ServerSideEncryption::AwsKms)
                .set_ssekms_key_id(key.clone())
                .set_bucket_key_enabled(bucket_key.then_some(true)),
        }
    }

    /// A large object needs longer than a call without one.
    fn timeout_for(&self, bytes: usize) -> TimeoutConfig {
        let timeout = self.attempt_timeout + transfer_time(bytes);
        TimeoutConfig::builder().operation_attempt_timeout(timeout).operation_timeout(timeout).build()
    }

    async fn digest(&self, key: &str) -> Result<Option<String>, CallError> {
        let head = self.client.head_object().bucket(&self.bucket).key(key).send().await;
        let head = head.map_err(|e| classify(format!("head {key:?}"), e))?;
        Ok(head.metadata().and_then(|m| m.get(DIGEST)).cloned())
    }

    /// Reads an object of at most this many bytes.
    pub async fn get(&self, key: &str, bytes_max: usize) -> Result<Bytes, CallError> {
        Ok(self.get_dated(key, bytes_max).await?.0)
    }

    /// The same, and when it was stored, in milliseconds since 1970, by the service's clock; none if that does not say.
    pub async fn get_dated(&self, key: &str, bytes_max: usize) -> Result<(Bytes, Option<i64>), CallError> {
        let action = || format!("get {key:?}");
        let answer = self.client.get_object().bucket(&self.bucket).key(key).send().await;
        let answer = answer.map_err(|e| classify(action(), e))?;
        let length = answer.content_length().unwrap_or(0);
        let stored_ms = answer.last_modified().and_then(|at| at.to_millis().ok());
        let fail = |failure, message: String| CallError::new(action(), failure, message);
        if usize::try_from(length).is_ok_and(|n| n > bytes_max) {
            return Err(fail(Failure::Refused, format!("{length} bytes, more than the {bytes_max} allowed")));
        }
        // The timeouts of the call end with its headers.
        let body = tokio::time::timeout(self.attempt_timeout + transfer_time(bytes_max), answer.body.collect()).await;
        let body = body.map_err(|e| fail(Failure::Transient, e.to_string()))?;
        let body = body.map_err(|e| fail(Failure::Transient, e.to_string()))?;
        Ok((body.into_bytes(), stored_ms))
    }

    /// Reads the beginning of an object that is not empty: at most this many bytes.
    pub async fn head(&self, key: &str, bytes_max: usize) -> Result<Bytes, CallError> {
        let action = || format!("get the beginning of {key:?}");
        let range = format!("bytes=0-{}", bytes_max.saturating_sub(1));
        let answer = self.client.get_object().bucket(&self.bucket).key(key).range(range).send().await;
        let answer = answer.map_err(|e| classify(action(), e))?;
        let fail = |message: String| CallError::new(action(), Failure::Transient, message);
        let body = tokio::time::timeout(self.attempt_timeout + transfer_time(bytes_max), answer.body.collect()).await;
        let body = body.map_err(|e| fail(e.to_string()))?.map_err(|e| fail(e.to_string()))?;
        Ok(body.into_bytes())
    }

    /// The length of an object, in bytes.
    pub async fn length(&self, key: &str) -> Result<u64, CallError> {
        let head = self.client.head_object().bucket(&self.bucket).key(key).send().await;
        let head = head.map_err(|error| {
            // A HEAD has no body, so the code comes from the status alone.
            let missing = error.raw_response().is_some_and(|r| r.status().as_u16() == 404);
            let error = classify(format!("head {key:?}"), error);
            if missing { CallError { failure: Failure::NotFound, ..error } } else { error }
        })?;
        Ok(head.content_length().and_then(|n| u64::try_from(n).ok()).unwrap_or(0))
    }

    /// The first keys under a prefix that sort behind `after`, in order; at most `keys_max`, and at most a page.
    pub async fn list_after(&self, prefix: &str, after: &str, keys_max: usize) -> Result<Vec<String>, CallError> {
        let page = self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix).start_after(after);
        let page = page.max_keys(i32::try_from(keys_max).unwrap_or(i32::MAX).min(LIST_PAGE_KEYS)).send().await;
        let page = page.map_err(|e| classify(format!("list {prefix:?}"), e))?;
        let mut keys: Vec<String> =
            page.contents().iter().filter_map(|object| object.key().map(str::to_owned)).collect();
        keys.sort();
        Ok(keys)
    }

    /// The keys under a prefix that sort behind `after`, in order, over as many pages as it takes; at most `keys_max`, and
    /// whether there are more.
    pub async fn list_behind(
        &self,
        prefix: &str,
        after: &str,
        keys_max: usize,
    ) -> Result<(Vec<String>, bool), CallError> {
        let mut keys: Vec<String> = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix).start_after(after);
            let page = request.set_continuation_token(token.take()).send().await;
            let page = page.map_err(|e| classify(format!("list {prefix:?}"), e))?;
            keys.extend(page.contents().iter().filter_map(|object| object.key().map(str::to_owned)));
            token = page.next_continuation_token;
            if token.is_none() || keys.len() > keys_max {
                let more = keys.len() > keys_max;
                keys.truncate(keys_max);
                keys.sort();
                return Ok((keys, more));
            }
        }
    }

    /// The first objects under a prefix, in order of their keys; at most `objects_max`. Folders, which consoles make as
    /// objects without content, are left out.
    pub async fn list_tagged(&self, prefix: &str, objects_max: usize) -> Result<Vec<Tagged>, CallError> {
        let mut objects = Vec::new();
        let mut token: Option<String> = None;
        while objects.len() < objects_max {
            let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix);
            let page = request.set_continuation_token(token.take()).send().await;
            let page = page.map_err(|e| classify(format!("list {prefix:?}"), e))?;
            objects.extend(page.contents().iter().filter_map(|object| {
                Some(Tagged {
                    key: object.key().filter(|key| !key.ends_with('/'))?.to_owned(),
                    tag: object.e_tag().unwrap_or_default().to_owned(),
                    bytes: object.size().and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
                })
            }));
            token = page.next_continuation_token;
            if token.is_none() {
                break;
            }
        }
        objects.sort_by(|a, b| a.key.cmp(&b.key));
        objects.truncate(objects_max);
        Ok(objects)
    }

    /// The folders right under a prefix that ends with a slash, as prefixes, in order.
    pub async fn folders(&self, prefix: &str) -> Result<Vec<String>, CallError> {
        let mut folders = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..LIST_PAGES_MAX {
            let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix).delimiter("/");
            let page = request.set_continuation_token(token.take()).send().await;
            let page = page.map_err(|e| classify(format!("list {prefix:?}"), e))?;
            folders.extend(page.common_prefixes().iter().filter_map(|folder| folder.prefix().map(str::to_owned)));
            token = page.next_continuation_token;
            if token.is_none() {
                break;
            }
        }
        folders.sort();
        folders.dedup();
        Ok(folders)
    }

    /// The bucket's name.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// All keys under a prefix, in order. For people and tests, never on the path of data.
    pub async fn list(&self, prefix: &str) -> Result<Vec<String>, CallError> {
        let mut keys = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..LIST_PAGES_MAX {
            let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix);
            let page = request.set_continuation_token(token.take()).send().await;
            let page = page.map_err(|e| classify(format!("list {prefix:?}"), e))?;
            keys.extend(page.contents().iter().filter_map(|object| object.key().map(str::to_owned)));
            token = page.next_continuation_token;
            if token.is_none() {
                break;
            }
        }
        keys.sort();
        Ok(keys)
    }
}

fn transfer_time(bytes: usize) -> Duration {
    Duration::from_secs((bytes / BYTES_PER_SECOND_MIN) as u64)
}
