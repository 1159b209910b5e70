//! Which service a request is for, and how much of it we are ready to hold.
//!
//! **Owns** the services, the budget for request bodies and, when asked for, the faults.
//! **Promises** that request bodies in memory stay under [`BODY_MIB_TOTAL`], however many clients there are.
//! **Fails** per request, in the wire format of the service it was for.
//! **Not here**: authentication; any signature is accepted.

mod host;
mod scope;

use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use local_engine::Service as Target;
use local_engine::table::Tables;
use local_engine::topics::Topics;
use s3s::service::S3Service;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::faults::{self, Call, Faults, Severed};
use crate::folder::Folder;
use crate::kinesis::Kinesis;
use crate::objects;
use crate::reply::{self, Refusal};
use crate::stateful::Stateful;
use crate::warehouse::Warehouse;

pub(crate) use scope::Scope;

/// Where the warehouse is paused.
pub(crate) const WAREHOUSE_PATH: &str = "/_mangrove/warehouse";

const MIB: usize = 1024 * 1024;
const OBJECT_MIB_MAX: usize = 64;
const CALL_MIB_MAX: usize = 16;
const CONTROL_MIB_MAX: usize = 1;
/// All request bodies held at once. A multiple of the largest, so that one large upload does not stop the others.
const BODY_MIB_TOTAL: usize = 512;
/// A client that stops sending gives its share of the budget back after this long.
const BODY_READ_TIMEOUT: Duration = Duration::from_secs(60);

const TOO_LARGE: Refusal = Refusal {
    status: StatusCode::PAYLOAD_TOO_LARGE,
    code: "EntityTooLarge",
    message: "the local cloud takes objects or parts up to 64 MiB and other requests up to 16 MiB",
};
const TOO_SLOW: Refusal = Refusal {
    status: StatusCode::REQUEST_TIMEOUT,
    code: "RequestTimeout",
    message: "the request body did not arrive in time",
};
const BROKEN_BODY: Refusal =
    Refusal { status: StatusCode::BAD_REQUEST, code: "IncompleteBody", message: "the request body broke off" };
const BROKEN_SERVICE: Refusal = Refusal {
    status: StatusCode::INTERNAL_SERVER_ERROR,
    code: "InternalFailure",
    message: "the local cloud failed on this request",
};
const NOT_OUR_HOST: Refusal = Refusal {
    status: StatusCode::MISDIRECTED_REQUEST,
    code: "InvalidRequest",
    message: "this is not the host asked for: use localhost, a name below it, or the address",
};
const STOPPED: Refusal = Refusal {
    status: StatusCode::SERVICE_UNAVAILABLE,
    code: "ServiceUnavailable",
    message: "the local cloud has stopped",
};
const UNKNOWN_QUERY: Refusal = Refusal {
    status: StatusCode::BAD_REQUEST,
    code: "InvalidAction",
    message: "the local cloud has Kinesis, S3, DynamoDB, SNS and the Redshift Data API only",
};

/// The services, as the header of a request names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    Kinesis,
    DynamoDb,
    Redshift,
    UnknownTarget,
    Sns,
    UnknownQuery,
    S3,
}

impl Service {
    /// What faults call it; `None` for what answers with an error anyway.
    fn target(self) -> Option<Target> {
        match self {
            Service::Kinesis => Some(Target::Kinesis),
            Service::DynamoDb => Some(Target::DynamoDb),
            Service::Sns => Some(Target::Sns),
            Service::S3 => Some(Target::S3),
            Service::Redshift => Some(Target::Redshift),
            Service::UnknownTarget | Service::UnknownQuery => None,
        }
    }
}

/// What the gateway leads to.
pub(crate) struct Services {
    pub(crate) kinesis: Kinesis,
    pub(crate) tables: Stateful<Tables>,
    pub(crate) topics: Stateful<Topics>,
    pub(crate) objects: S3Service,
    pub(crate) warehouse: Arc<Warehouse>,
}

/// All services behind one door.
pub(crate) struct Gateway {
    services: Services,
    /// `None` unless asked for, so that nobody breaks a cloud by accident.
    faults: Option<Faults>,
    /// Held by every running request, so that the folder is ours until the last one is done.
    folder: Weak<Folder>,
    body_mib: Arc<Semaphore>,
}

impl Gateway {
    pub(crate) fn new(services: Services, faults: Option<Faults>, folder: &Arc<Folder>) -> Gateway {
        let body_mib = Arc::new(Semaphore::new(BODY_MIB_TOTAL));
        Gateway { services, faults, folder: Arc::downgrade(folder), body_mib }
    }

    /// Answers one request, unless an injected fault closes its connection.
    ///
    /// One for another host is refused: a page that rebinds its name to this address reads and changes nothing.
    pub(crate) async fn serve(
        self: Arc<Self>,
        request: Request<Incoming>,
        local: IpAddr,
    ) -> Result<Response<Body>, Severed> {
        let (parts, body) = request.into_parts();
        if !host::is_ours(&parts, local) {
            return Ok(refuse(service_of(&parts.method, &parts.headers), NOT_OUR_HOST));
        }
        if [faults::PATH, WAREHOUSE_PATH].contains(&parts.uri.path()) {
            return Ok(self.control(parts, body).await);
        }
        let service = service_of(&parts.method, &parts.headers);
        let mib_max = if service == Service::S3 { OBJECT_MIB_MAX } else { CALL_MIB_MAX };
        let (body, share) = match self.receive(&parts.headers, body, mib_max).await {
            Ok(received) => received,
            Err(refusal) => return Ok(refuse(service, refusal)),
        };
        let fault = match (&self.faults, service.target()) {
            (Some(faults), Some(target)) => faults.draw(&Call::of(target, &parts, &body)).map(|hit| (hit, target)),
            (None, _) | (_, None) => None,
        };
        let answer = self.answer(service, parts, body, share);
        match fault {
            Some((hit, target)) => faults::enact(hit, target, answer).await,
            None => Ok(answer.await),
        }
    }

    async fn control(&self, parts: Parts, body: Incoming) -> Response<Body> {
        let Some(faults) = &self.faults else { return faults::off() };
        match self.receive(&parts.headers, body, CONTROL_MIB_MAX).await {
            Ok((body, _share)) if parts.uri.path() == WAREHOUSE_PATH => {
                self.services.warehouse.control(&parts.method, &body)
            }
            Ok((body, _share)) => faults.control(&parts.method, &body),
            Err(refusal) => reply::json_error(refusal.status, refusal.code, refusal.message),
        }
    }

    /// The whole body, with its share of the budget.
    async fn receive(
        &self,
        headers: &HeaderMap,
        body: Incoming,
        mib_max: usize,
    ) -> Result<(Bytes, OwnedSemaphorePermit), Refusal> {
        let n_mib = match declared_mib(headers) {
            Some(n_mib) if n_mib > mib_max => return Err(TOO_LARGE),
            Some(n_mib) => n_mib,
            None => mib_max,
        };
        let share = Arc::clone(&self.body_mib).acquire_many_owned(n_mib as u32).await;
        let share = share.expect("the semaphore is never closed");
        let collect = Limited::new(body, mib_max * MIB).collect();
        match tokio::time::timeout(BODY_READ_TIMEOUT, collect).await {
            Ok(Ok(body)) => Ok((body.to_bytes(), share)),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(TOO_LARGE),
            Ok(Err(_)) => Err(BROKEN_BODY),
            Err(_) => Err(TOO_SLOW),
        }
    }

    /// The service's answer. The share is held until then: the service works on these bytes.
    async fn answer(
        self: Arc<Self>,
        service: Service,
        parts: Parts,
        body: Bytes,
        share: OwnedSemaphorePermit,
    ) -> Response<Body> {
        let Some(folder) = self.folder.upgrade() else { return refuse(service, STOPPED) };
        // A task of its own: a client that goes away must not stop a change between memory and disk, and a panic in an
        // emulator must not cost the other requests of the connection their answers.
        let routed = tokio::spawn(async move {
            let response = self.route(service, parts, body).await;
            drop((share, folder));
            response
        });
        match routed.await {
            Ok(response) => response,
            Err(error) => {
                tracing::error!(?service, %error, "a request failed");
                refuse(service, BROKEN_SERVICE)
            }
        }
    }

    async fn route(&self, service: Service, parts: Parts, body: Bytes) -> Response<Body> {
        match service {
            Service::Kinesis => self.services.kinesis.handle(parts, body).await,
            Service::DynamoDb => self.services.tables.handle(region(&parts), &parts, &body),
            Service::Sns => self.services.topics.handle(region(&parts), &parts, &body),
            Service::S3 => objects::handle(&self.services.objects, parts, body).await,
            Service::Redshift => self.services.warehouse.handle(&parts, body).await,
            Service::UnknownTarget => reply::json_error(
                StatusCode::BAD_REQUEST,
                "UnknownOperationException",
                "the local cloud has Kinesis, S3, DynamoDB, SNS and the Redshift Data API only",
            ),
            Service::UnknownQuery => reply::query_error(UNKNOWN_QUERY),
        }
    }
}

fn region(parts: &Parts) -> &str {
    Scope::of(&parts.headers).region()
}

/// Services that are named by their target; their scopes are of no use.
const OF_TARGETS: [&str; 3] = ["kinesis", "dynamodb", "redshift-data"];

fn service_of(method: &Method, headers: &HeaderMap) -> Service {
    if let Some(target) = headers.get("x-amz-target") {
        let prefix = target.to_str().unwrap_or("").split('.').next().unwrap_or("");
        return match prefix {
            "Kinesis_20131202" => Service::Kinesis,
            "DynamoDB_20120810" => Service::DynamoDb,
            "RedshiftData" => Service::Redshift,
            _ => Service::UnknownTarget,
        };
    }
    // The query protocol names its operation in the body only, so the signature's scope tells the service.
    match Scope::of(headers).service() {
        Some("sns") => Service::Sns,
        Some("s3") => Service::S3,
        // One that this is not, in whatever protocol.
        Some(other) if !OF_TARGETS.contains(&other) && !is_form(headers) => Service::UnknownTarget,
        Some(_) | None if *method == Method::POST && is_form(headers) => Service::UnknownQuery,
        Some(_) | None => Service::S3,
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("application/x-www-form-urlencoded"))
}

fn declared_mib(headers: &HeaderMap) -> Option<usize> {
    let n_bytes: usize = headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()?;
    Some(n_bytes.div_ceil(MIB))
}

fn refuse(service: Service, refusal: Refusal) -> Response<Body> {
    match service {
        Service::S3 => reply::s3_error(refusal),
        Service::Sns | Service::UnknownQuery => reply::query_error(refusal),
        Service::Kinesis | Service::DynamoDb | Service::Redshift | Service::UnknownTarget => {
            reply::json_error(refusal.status, refusal.code, refusal.message)
        }
    }
}
