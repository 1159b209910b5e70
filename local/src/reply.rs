//! Answers the gateway gives by itself, each in the wire format its client can read.
//!
//! **Owns** nothing.
//! **Promises** that an SDK shows the code and the message instead of "unhandled error".
//! **Fails** never.
//! **Not here**: answers of the services.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::{HeaderValue, Response, StatusCode};
use local_engine::{Refusal as Refused, Reply, Service};
use serde_json::json;

/// The errors the gateway itself can have, in no service's name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: &'static str,
}

/// An error in the JSON protocol (Kinesis, DynamoDB, Redshift Data API).
pub(crate) fn json_error(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    // Both spellings: the services do not agree on one.
    let body = json!({ "__type": code, "message": message, "Message": message }).to_string();
    let mut response = answer(status, "application/x-amz-json-1.1", body);
    if let Ok(code) = HeaderValue::from_str(code) {
        response.headers_mut().insert(HeaderName::from_static("x-amzn-errortype"), code);
    }
    response
}

/// An error in the query protocol (SNS). `code` and `message` are ours, so they need no escaping.
pub(crate) fn query_error(refusal: Refusal) -> Response<Body> {
    let Refusal { status, code, message } = refusal;
    let body = format!(
        "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
    );
    answer(status, "text/xml", body)
}

/// An error in the S3 protocol.
pub(crate) fn s3_error(refusal: Refusal) -> Response<Body> {
    let Refusal { status, code, message } = refusal;
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    answer(status, "application/xml", body)
}

/// What the engine answers, in the wire format of its service.
pub(crate) fn of_engine(service: Service, answered: Result<Reply, Refused>) -> Response<Body> {
    let Reply { status, headers, body, .. } = match answered {
        Ok(reply) => reply,
        Err(refusal) => {
            let code = refusal.code;
            refusal.reply(service, false).with("x-amzn-errortype", code)
        }
    };
    let content_type = match service {
        Service::Kinesis | Service::DynamoDb | Service::Redshift => "application/x-amz-json-1.1",
        Service::Sns => "text/xml",
        Service::S3 => "application/xml",
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = answer(status, content_type, body);
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse()) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// A refusal of the engine, in the wire format of its service.
pub(crate) fn refuse(service: Service, refusal: Refused) -> Response<Body> {
    of_engine(service, Err(refusal))
}

/// A response with a body and its content type.
pub(crate) fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
