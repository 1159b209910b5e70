//! The stream that is written to, and what one PutRecords call came to.
//!
//! **Owns** the client, its time limits, and the reading of the service's errors.
//! **Promises** that "refused" means not stored: whatever is not certain is "unknown".
//! **Fails** never: every answer is a [`Put`].
//! **Not here**: retries, order, the ledger.

use std::error::Error;
use std::io;
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::{Credentials, Region, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_kinesis::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;

use crate::record::Record;

/// One attempt; a batch of 1.3 MB takes a fraction of this on any usable link.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// Attempt plus credentials. The SDK itself sets no limit at all.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(8);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A stream and the client that reaches it.
#[derive(Clone, Debug)]
pub struct Target {
    /// Name of the stream.
    pub stream: String,
    /// Any client; the fleet works on a copy with its own time limits and without SDK retries.
    pub client: Client,
}

/// What one PutRecords call came to.
#[derive(Debug)]
pub(crate) enum Put {
    /// One answer per record, in order.
    Answered(Vec<Answer>),
    /// Nothing was stored; trying again makes sense.
    Refused { throttled: bool, why: String },
    /// Anything between nothing and everything was stored.
    Unknown { why: String },
    /// Nothing was stored, and the same records would be refused again.
    Rejected { why: String },
    /// Nothing was stored, and nothing ever will be.
    Closed { code: String, why: String },
}

/// What became of one record of a call.
#[derive(Debug)]
pub(crate) enum Answer {
    Stored { shard: String, seq: String },
    Refused { throttled: bool },
    Unknown,
}

/// A Kinesis client. Credentials and the rest come from the environment, as for any AWS tool; a loopback
/// endpoint, where nobody checks them, needs none.
pub async fn client(endpoint_url: Option<&str>, region: &str) -> Client {
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).region(Region::new(region.to_owned()));
    if let Some(url) = endpoint_url {
        loader = loader.endpoint_url(url);
        if is_loopback(url) {
            loader = loader.credentials_provider(Credentials::new("local", "local", None, None, "loopback"));
        }
    }
    Client::new(&loader.load().await)
}

fn is_loopback(url: &str) -> bool {
    ["://127.", "://localhost", "://[::1]"].iter().any(|host| url.contains(host))
}

impl Target {
    /// SDK retries are off because they would hide throttling and lost replies from the ledger.
    pub(crate) fn hardened(&self) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .operation_timeout(OPERATION_TIMEOUT)
            .build();
        let config = self.client.config().to_builder().retry_config(RetryConfig::disabled()).timeout_config(timeouts);
        Self { stream: self.stream.clone(), client: Client::from_conf(config.build()) }
    }

    pub(crate) async fn put<'a>(&self, records: impl Iterator<Item = &'a Record>) -> Put {
        let entries: Vec<_> = records.map(to_entry).collect();
        let sent = entries.len();
        let reply = self.client.put_records().stream_name(&self.stream).set_records(Some(entries)).send().await;
        match reply {
            Ok(output) if output.records().len() == sent => {
                Put::Answered(output.records.into_iter().map(to_answer).collect())
            }
            Ok(output) => Put::Unknown { why: format!("{} answers for {sent} records", output.records().len()) },
            Err(error) => to_put(&error),
        }
    }
}

fn to_entry(record: &Record) -> PutRecordsRequestEntry {
    PutRecordsRequestEntry::builder()
        .partition_key(&*record.sensor)
        .data(Blob::new(record.data.as_ref()))
        .build()
        .expect("key and data are set")
}

fn to_answer(entry: aws_sdk_kinesis::types::PutRecordsResultEntry) -> Answer {
    match (entry.error_code, entry.shard_id, entry.sequence_number) {
        (None, Some(shard), Some(seq)) => Answer::Stored { shard, seq },
        (Some(code), ..) if is_throttle(&code) => Answer::Refused { throttled: true },
        // An internal failure of one record says nothing about whether its copies were written.
        (Some(_) | None, ..) => Answer::Unknown,
    }
}

fn to_put<E, R>(error: &SdkError<E, R>) -> Put
where
    E: ProvideErrorMetadata + Error + 'static,
    R: std::fmt::Debug,
{
    let why = DisplayErrorContext(error).to_string();
    match error {
        SdkError::ServiceError(service) => by_code(service.err().code().unwrap_or_default(), why),
        // Never left this process.
        SdkError::ConstructionFailure(_) => Put::Refused { throttled: false, why },
        SdkError::DispatchFailure(failure) if failure.as_connector_error().is_some_and(|it| never_connected(it)) => {
            Put::Refused { throttled: false, why }
        }
        _ => Put::Unknown { why },
    }
}

fn by_code(code: &str, why: String) -> Put {
    match code {
        code if is_throttle(code) => Put::Refused { throttled: true, why },
        "ResourceNotFoundException"
        | "AccessDeniedException"
        | "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "MissingAuthenticationTokenException"
        | "KMSAccessDeniedException"
        | "KMSDisabledException"
        | "KMSInvalidStateException"
        | "KMSNotFoundException"
        | "KMSOptInRequired" => Put::Closed { code: code.to_owned(), why },
        "InvalidArgumentException" | "ValidationException" | "SerializationException" => Put::Rejected { why },
        // Expired credentials are renewed by the next attempt.
        "ExpiredTokenException" => Put::Refused { throttled: false, why },
        _ => Put::Unknown { why },
    }
}

fn is_throttle(code: &str) -> bool {
    matches!(
        code,
        "ProvisionedThroughputExceededException"
            | "KMSThrottlingException"
            | "ThrottlingException"
            | "LimitExceededException"
    )
}

/// A refused connection cannot have stored anything; every other broken one can.
fn never_connected(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return io.kind() == io::ErrorKind::ConnectionRefused;
        }
        next = error.source();
    }
    false
}
