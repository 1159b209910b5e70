//! What a service answers, before it is HTTP.
//!
//! **Promises** a refusal has the code and the status of the real service.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::Service;

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// The status of HTTP.
    pub status: u16,
    /// The headers of HTTP, without the content's type.
    pub headers: Vec<(String, String)>,
    /// The content.
    pub body: Bytes,
    /// What the trace says of it: `ok`, or the code of the refusal.
    pub outcome: &'static str,
}

/// A service says no.
#[derive(Debug)]
pub struct Refusal {
    /// The status of HTTP.
    pub status: u16,
    /// What SDKs tell errors by.
    pub code: &'static str,
    /// For people.
    pub message: Cow<'static, str>,
    /// What it says beside that, by name: the row that a failed condition found, why a transaction was cancelled.
    pub extra: Option<(&'static str, Value)>,
}

impl Reply {
    /// A value, written as JSON.
    pub fn json(body: &Value) -> Self {
        Self::text(body.to_string())
    }

    /// A content as it is.
    pub fn text(body: impl Into<Bytes>) -> Self {
        Self { status: 200, headers: Vec::new(), body: body.into(), outcome: "ok" }
    }

    /// With one more header.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

impl Refusal {
    /// A refusal without a row.
    pub fn new(status: u16, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, message: message.into(), extra: None }
    }

    /// The caller is wrong: its request will never work.
    pub fn validation(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(400, "ValidationException", message)
    }

    /// Too many requests, as each service says it.
    pub fn throttled(service: Service) -> Self {
        let (status, code) = match service {
            Service::Kinesis | Service::DynamoDb => (400, "ProvisionedThroughputExceededException"),
            Service::S3 => (503, "SlowDown"),
            Service::Sns => (400, "Throttling"),
            Service::Redshift => (400, "ThrottlingException"),
        };
        Self::new(status, code, "slow down")
    }

    /// The service is broken, as each says it.
    pub fn internal(service: Service) -> Self {
        let code = match service {
            Service::Kinesis => "InternalFailure",
            Service::DynamoDb => "InternalServerError",
            Service::S3 | Service::Sns => "InternalError",
            Service::Redshift => "InternalServerException",
        };
        Self::new(500, code, "internal error")
    }

    /// A permission is missing, as each service says it.
    pub fn denied(service: Service) -> Self {
        let (status, code) = match service {
            Service::Kinesis | Service::DynamoDb | Service::Redshift => (400, "AccessDeniedException"),
            Service::S3 => (403, "AccessDenied"),
            Service::Sns => (403, "AuthorizationError"),
        };
        Self::new(status, code, "not authorized to perform this action")
    }

    /// The client's clock differs too much to accept its signature, as each service says it.
    pub fn skewed(service: Service) -> Self {
        let expired =
            "Signature expired: 20260101T000000Z is now earlier than 20260101T001000Z (20260101T001500Z - 5 min.)";
        match service {
            Service::Kinesis | Service::DynamoDb | Service::Redshift => {
                Self::new(400, "InvalidSignatureException", expired)
            }
            Service::Sns => Self::new(403, "SignatureDoesNotMatch", expired),
            Service::S3 => {
                let message = "The difference between the request time and the current time is too large.";
                Self::new(403, "RequestTimeTooSkewed", message)
            }
        }
    }

    /// An operation, or a parameter, that would be answered and not heeded.
    pub fn unknown(service: Service, operation: &str) -> Self {
        let message = format!("this cloud has no such operation, or not with these parameters: {operation}");
        match service {
            Service::Kinesis => Self::new(400, "InvalidArgumentException", message),
            Service::DynamoDb | Service::Redshift => Self::validation(message),
            Service::S3 => Self::new(501, "NotImplemented", message),
            Service::Sns => Self::new(400, "InvalidParameter", message),
        }
    }

    /// As the service writes it; the answer to a HEAD has no content.
    pub fn reply(self, service: Service, head: bool) -> Reply {
        let Self { status, code, message, extra } = self;
        let body = match service {
            Service::Kinesis | Service::DynamoDb | Service::Redshift => {
                // Both spellings: the services do not agree on one.
                let mut body = json!({ "__type": code, "message": message, "Message": message });
                if let Some((name, value)) = extra {
                    body[name] = value;
                }
                body.to_string()
            }
            Service::S3 if head => String::new(),
            Service::S3 => format!("<Error><Code>{code}</Code><Message>{}</Message></Error>", escaped(&message)),
            Service::Sns => {
                let message = escaped(&message);
                let error =
                    format!("<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>");
                format!("<ErrorResponse>{error}<RequestId>local</RequestId></ErrorResponse>")
            }
        };
        Reply { status, headers: Vec::new(), body: body.into(), outcome: code }
    }
}

/// Text as XML takes it.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
