//! Carrying a fault out.
//!
//! **Owns** the wire form of the errors that are injected.
//! **Promises** that the request is applied wholly, before anything else, or not at all, as its kind says; that nothing
//! of the request is held while a connection waits to be closed.
//! **Fails** never; a closed connection is a [`Severed`].
//! **Not here**: which request it hits.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Response, StatusCode};

use super::call::Target;
use super::plan::Kind;
use crate::reply::{self, Refusal};

/// The connection ends here, without an answer.
#[derive(Debug, thiserror::Error)]
#[error("an injected fault closes the connection")]
pub(crate) struct Severed;

/// What was drawn for one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(super) target: Target,
    pub(super) kind: Kind,
    pub(super) delay: Duration,
}

impl Fault {
    /// Does it to a request whose real answer is `answer`.
    pub(crate) async fn enact(self, answer: impl Future<Output = Response<Body>>) -> Result<Response<Body>, Severed> {
        match self.kind {
            Kind::Throttle => Ok(refuse(self.target, throttled(self.target))),
            Kind::Error => Ok(refuse(self.target, failed(self.target))),
            Kind::Reset => Err(Severed),
            Kind::TimeoutBefore => {
                // The future owns the body and its share of the budget.
                drop(answer);
                tokio::time::sleep(self.delay).await;
                Err(Severed)
            }
            Kind::LoseReply => {
                drop(answer.await);
                tokio::time::sleep(self.delay).await;
                Err(Severed)
            }
            Kind::Delay => {
                let answer = answer.await;
                tokio::time::sleep(self.delay).await;
                Ok(answer)
            }
        }
    }
}

fn throttled(target: Target) -> Refusal {
    let (status, code) = match target {
        Target::Kinesis | Target::DynamoDb => (StatusCode::BAD_REQUEST, "ProvisionedThroughputExceededException"),
        Target::S3 => (StatusCode::SERVICE_UNAVAILABLE, "SlowDown"),
        // What Publish answers over its rate. "Throttled" with 429 is for a few other operations, about phone numbers.
        Target::Sns => (StatusCode::BAD_REQUEST, "Throttling"),
        Target::Redshift => (StatusCode::BAD_REQUEST, "ThrottlingException"),
    };
    Refusal { status, code, message: "throttled by an injected fault" }
}

fn failed(target: Target) -> Refusal {
    let code = match target {
        Target::Kinesis => "InternalFailure",
        Target::DynamoDb => "InternalServerError",
        Target::S3 | Target::Sns => "InternalError",
        Target::Redshift => "InternalServerException",
    };
    Refusal { status: StatusCode::INTERNAL_SERVER_ERROR, code, message: "failed by an injected fault" }
}

fn refuse(target: Target, refusal: Refusal) -> Response<Body> {
    match target {
        Target::Kinesis | Target::DynamoDb | Target::Redshift => {
            reply::json_error(refusal.status, refusal.code, refusal.message)
        }
        Target::Sns => reply::query_error(refusal),
        Target::S3 => reply::s3_error(refusal),
    }
}
