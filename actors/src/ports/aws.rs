//! How the AWS clients are set up: one configuration, timeouts on every call, no retries of the SDK's own.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_kinesis::config::Credentials;
use aws_sdk_kinesis::config::http::HttpResponse;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};

use crate::verdict::FailureVerdict;

/// Where the services are.
#[derive(Clone, Debug)]
pub struct AwsSettings {
    /// The region; none asks the environment, as every AWS tool does.
    pub region: Option<String>,
    /// Another endpoint than AWS, for the local cloud; it gets fixed credentials, never real ones.
    pub endpoint_url: Option<String>,
    /// One attempt of one call may take this long.
    pub attempt_timeout: Duration,
}

/// Builds what every client is made from.
pub async fn load(settings: &AwsSettings) -> SdkConfig {
    // The SDK's defaults have no read timeout at all: a server that never answers would hang its caller for ever.
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(3))
        .operation_attempt_timeout(settings.attempt_timeout)
        .operation_timeout(settings.attempt_timeout)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .timeout_config(timeouts)
        // The SDK's retry quota is one bucket per process and service: a throttled shard would starve the others,
        // and a retried write hides whether it was applied. The actors retry themselves.
        .retry_config(RetryConfig::disabled());
    if let Some(region) = &settings.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(endpoint) = &settings.endpoint_url {
        let local = Credentials::new("local", "local", None, None, "the local cloud");
        loader = loader.endpoint_url(endpoint).credentials_provider(local);
        if settings.region.is_none() {
            loader = loader.region(Region::new("us-east-1"));
        }
    }
    loader.load().await
}

/// What a caller can do about a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Too fast: wait and try again.
    Throttled,
    /// The service or the network failed, or no answer came: try again; a write may have been applied.
    Transient,
    /// The key of what is encrypted may not be used, or is not there, disabled or on its way out: it works again when
    /// somebody has put the key right.
    Key,
    /// What was asked for does not exist.
    NotFound,
    /// A condition on a write did not hold.
    Condition,
    /// It will not work however often it is tried: configuration or permission.
    Refused,
}

/// What became of a write whose call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// The service said so, or was never asked.
    NotApplied,
    /// No answer came, or one that does not tell: it may have been applied, now or later.
    Unknown,
}

/// A call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{action}: {message}")]
pub struct CallError {
    /// What was tried, with the resource's name.
    pub action: String,
    /// What can be done about it.
    pub failure: Failure,
    /// The service's error code, if it answered.
    pub code: Option<String>,
    /// The service's or the client's own words.
    pub message: String,
    /// How long the server asks to be left alone.
    pub retry_after: Option<Duration>,
}

impl CallError {
    /// A failure that no service has given a code.
    pub fn new(action: impl Into<String>, failure: Failure, message: impl Into<String>) -> Self {
        Self { action: action.into(), failure, code: None, message: message.into(), retry_after: None }
    }

    /// What is to be done about it.
    pub fn verdict(&self) -> FailureVerdict {
        match self.failure {
            Failure::Throttled | Failure::Transient | Failure::Key => FailureVerdict::Retry,
            Failure::NotFound | Failure::Condition | Failure::Refused => FailureVerdict::Restart,
        }
    }

    /// Whether the same call may succeed a moment later.
    pub fn may_pass(&self) -> bool {
        self.verdict() == FailureVerdict::Retry
    }

    /// Whether the same call may succeed once somebody has put something right elsewhere: a permission, a key, a clock,
    /// a network.
    pub fn may_heal(&self) -> bool {
        const OTHERS_DECIDE: [&str; 10] = [
            "AccessDeniedException",
            "AccessDenied",
            "UnrecognizedClientException",
            "InvalidSignatureException",
            "SignatureDoesNotMatch",
            "InvalidAccessKeyId",
            "Forbidden",
            "Unauthorized",
            "InvalidSecurity",
            "AuthorizationError",
        ];
        let decided = || self.code.as_deref().is_some_and(|code| OTHERS_DECIDE.contains(&code));
        self.may_pass() || (self.failure == Failure::Refused && decided())
    }

    /// Whether it is no matter of this call: whatever is asked of the same resource fails, until somebody puts something
    /// right elsewhere.
    pub fn is_of_all(&self) -> bool {
        matches!(self.failure, Failure::NotFound | Failure::Key) || (self.may_heal() && !self.may_pass())
    }

    /// What became of the write, if it was one.
    pub fn outcome(&self) -> WriteOutcome {
        match self.failure {
            Failure::Transient => WriteOutcome::Unknown,
            Failure::Throttled | Failure::Key | Failure::NotFound => WriteOutcome::NotApplied,
            Failure::Condition | Failure::Refused => WriteOutcome::NotApplied,
        }
    }
}

/// Classifies an SDK error.
pub fn classify<E>(action: impl Into<String>, error: SdkError<E, HttpResponse>) -> CallError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let code = error.as_service_error().and_then(|e| e.code()).map(str::to_owned);
    let failure = match (&error, code.as_deref()) {
        (SdkError::ServiceError(_), Some(code)) => by_code(code),
        (SdkError::ConstructionFailure(_), _) => Failure::Refused,
        _ => Failure::Transient,
    };
    let message = match (error.as_service_error().and_then(|e| e.message()), &code) {
        (Some(message), _) => message.trim_end_matches('.').to_owned(),
        (None, Some(code)) => code.clone(),
        (None, None) => with_causes(&error),
    };
    let of_clock = is_of_clock(code.as_deref(), &message);
    let failure = match failure {
        Failure::Refused if names_a_key(&message) => Failure::Key,
        // The client measures the difference with every answer, and signs the next call by the service's clock.
        Failure::Refused if of_clock => Failure::Transient,
        other => other,
    };
    let message = match of_clock {
        true => format!("the clock of this machine differs from the service's: {message}"),
        false => message,
    };
    let retry_after = error.raw_response().and_then(|answer| retry_after(|name| answer.headers().get(name)));
    CallError { action: action.into(), failure, code, message: message.chars().take(600).collect(), retry_after }
}

/// What a server says of when to come back: `Retry-After` in seconds (RFC 9110, 10.2.3; a date is not read), or the
/// milliseconds of AWS.
pub(super) fn retry_after<'a>(header: impl Fn(&'static str) -> Option<&'a str>) -> Option<Duration> {
    let number = |name| header(name).and_then(|text| text.trim().parse().ok());
    number("x-amz-retry-after").map(Duration::from_millis).or_else(|| number("retry-after").map(Duration::from_secs))
}

/// Whether a call was denied for a permission of the key: S3 and Kinesis have no code for that, and name the action.
fn names_a_key(message: &str) -> bool {
    message.contains("perform: kms:")
}

/// Whether a signature was refused for its time.
fn is_of_clock(code: Option<&str>, message: &str) -> bool {
    let told = ["Signature expired", "Signature not yet current"].iter().any(|words| message.contains(words));
    told || matches!(code, Some("RequestTimeTooSkewed" | "RequestExpired"))
}

/// The error and what caused it, for people: the SDK's own form ends in its inner structure.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn by_code(code: &str) -> Failure {
    match code {
        "ProvisionedThroughputExceededException"
        | "ThrottlingException"
        | "Throttling"
        | "LimitExceededException"
        | "RequestLimitExceeded"
        | "SlowDown"
        | "ActiveStatementsExceededException"
        | "ActiveSessionsExceededException"
        | "ActiveWaitingRequestsExceededException"
        | "KMSThrottlingException"
        // The words of SNS.
        | "KMSThrottling"
        | "Throttled" => Failure::Throttled,
        "ResourceNotFoundException" | "NoSuchBucket" | "NoSuchKey" | "NotFound" | "NotFoundException" => {
            Failure::NotFound
        }
        "ConditionalCheckFailedException" | "PreconditionFailed" => Failure::Condition,
        "InternalFailure"
        | "InternalServerError"
        | "InternalServerException"
        | "InternalError"
        | "ServiceUnavailable"
        | "RequestTimeout"
        | "ConditionalRequestConflict"
        | "OperationAborted"
        | "TransactionConflictException"
        | "ExpiredTokenException"
        | "ExpiredToken" => Failure::Transient,
        "AccessDeniedException"
        | "AccessDenied"
        | "ValidationException"
        | "InvalidArgumentException"
        | "InvalidParameter"
        | "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "InvalidAccessKeyId"
        // The words of SNS, of the topic's policy.
        | "AuthorizationError"
        | "InvalidSecurity"
        | "ParameterValueInvalid" => Failure::Refused,
        _ if code.starts_with("KMS") && code.contains("Throttl") => Failure::Throttled,
        _ if code.starts_with("KMS") && (code.contains("Internal") || code.contains("Timeout")) => Failure::Transient,
        // In the words of Kinesis (KMSDisabledException), of SNS (KMSDisabled) and of S3 (KMS.DisabledException).
        _ if code.starts_with("KMS") => Failure::Key,
        // A code that nobody has met: the cautious reading is that the call may work later.
        _ => Failure::Transient,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_that_may_not_be_published_to_is_refused_and_not_waited_for() {
        for code in ["AuthorizationError", "InvalidSecurity", "ParameterValueInvalid"] {
            assert_eq!(by_code(code), Failure::Refused, "{code}");
        }
        assert_eq!([by_code("KMSThrottling"), by_code("Throttled")], [Failure::Throttled; 2]);
    }

    /// The codes of Kinesis' GetRecords and PutRecords, of SNS' Publish, and of S3.
    #[test]
    fn a_key_that_cannot_be_used_is_waited_for_whatever_it_is_called() {
        let kinesis = ["KMSAccessDeniedException", "KMSDisabledException", "KMSInvalidStateException"];
        let sns = ["KMSAccessDenied", "KMSDisabled", "KMSInvalidState", "KMSNotFound", "KMSOptInRequired"];
        let others =
            ["KMSNotFoundException", "KMSOptInRequired", "KMS.DisabledException", "KMS.KMSInvalidStateException"];
        for code in kinesis.into_iter().chain(sns).chain(others) {
            assert_eq!(by_code(code), Failure::Key, "{code}");
        }
        // A key that is asked too often, or not at all, is none that cannot be used.
        assert_eq!([by_code("KMS.ThrottlingException"), by_code("KMSThrottlingException")], [Failure::Throttled; 2]);
        assert_eq!(
            [by_code("KMS.KMSInternalException"), by_code("KMS.DependencyTimeoutException")],
            [Failure::Transient; 2]
        );
        let error = CallError::new("put", Failure::Key, "key is disabled");
        assert!(error.may_pass() && error.may_heal() && error.is_of_all());
        assert_eq!(error.outcome(), WriteOutcome::NotApplied);
        assert_eq!(
            [by_code("KMSThrottlingException"), by_code("AccessDenied")],
            [Failure::Throttled, Failure::Refused]
        );
        let denied = "User: arn:aws:sts::1:assumed-role/w/i is not authorized to perform: kms:GenerateDataKey on resource: \
                      arn:aws:kms:eu-west-1:1:key/k because no identity-based policy allows it";
        assert!(names_a_key(denied) && !names_a_key("not authorized to perform: s3:PutObject on my-kms:bucket"));
    }

    #[test]
    fn a_signature_that_is_refused_for_its_time_is_no_wrong_key() {
        let expired =
            "Signature expired: 20260101T000000Z is now earlier than 20260101T001000Z (20260101T001500Z - 5 min.)";
        let early = "Signature not yet current: 20260101T001000Z is still later than 20260101T000500Z (20260101T000000Z + 5 min.)";
        for message in [expired, early] {
            assert!(is_of_clock(Some("InvalidSignatureException"), message), "{message}");
        }
        assert!(is_of_clock(
            Some("RequestTimeTooSkewed"),
            "The difference between the request time and the current time"
        ));
        let wrong_key = "The request signature we calculated does not match the signature you provided";
        assert!(!is_of_clock(Some("InvalidSignatureException"), wrong_key));
    }

    #[test]
    fn a_server_says_when_to_come_back_in_seconds_or_as_aws_does_in_milliseconds() {
        let said = |headers: &'static [(&str, &str)]| {
            retry_after(|name| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value))
        };
        assert_eq!(said(&[]), None);
        assert_eq!(said(&[("retry-after", " 7 ")]), Some(Duration::from_secs(7)));
        assert_eq!(said(&[("x-amz-retry-after", "250"), ("retry-after", "7")]), Some(Duration::from_millis(250)));
        assert_eq!(said(&[("x-amz-retry-after", "soon"), ("retry-after", "7")]), Some(Duration::from_secs(7)));
        for unread in ["", "-5", "1.5", "99999999999999999999", "Wed, 21 Oct 2099 07:28:00 GMT"] {
            assert_eq!(retry_after(|_| Some(unread)), None, "{unread}");
        }
    }
}
