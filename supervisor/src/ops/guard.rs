//! What every request has to pass, and what every reply carries.
//!
//! **Promises** a request for another host never reaches a route: a page that rebinds its name to this address reads
//! nothing. A request that takes too long is answered anyway. At most `requests_max` are worked on at a time; who comes
//! then is told when to come again, except a probe, which is always answered.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::{Request, State};
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderName, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::uri::Authority;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use metrics::counter;
use tokio::time::timeout;

use super::OpsState;
use super::reply::Refusal;

/// Longer paths and queries belong to nobody who means well.
const TARGET_BYTES_MAX: usize = 4096;

/// The address on which a connection came in.
#[derive(Clone, Copy, Debug)]
pub(super) struct LocalIp(pub(super) IpAddr);

/// The address that a request came from.
#[derive(Clone, Copy, Debug)]
pub(super) struct RemoteIp(pub(super) IpAddr);

/// The connection is one above the limit: only a probe is answered on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reserved;

/// Cost little, and are never refused for want of room: who watches must not take a flood of requests for a death.
const PROBES: [&str; 2] = ["/livez", "/readyz"];

/// The requests that are worked on.
#[derive(Debug, Default)]
pub(super) struct AtWork(AtomicUsize);

/// One of them, for as long as this lives.
struct Working<'a>(&'a AtWork);

impl AtWork {
    fn begin(&self, n_max: usize) -> Option<Working<'_>> {
        let begun = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < n_max).then_some(n + 1));
        begun.is_ok().then(|| Working(self))
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Which listener a request came in by.
#[derive(Clone, Debug)]
pub(super) struct Door {
    pub(super) state: Arc<OpsState>,
    /// Whether orders are taken here, by who has the token.
    pub(super) admin: bool,
}

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
/// Tells the page that this listener takes orders.
const TAKES_ORDERS: HeaderName = HeaderName::from_static("x-mangrove-orders");
/// A route may set its own, for example a page its own policy.
const HEADERS: [(HeaderName, &str); 5] = [
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (CACHE_CONTROL, "no-store"),
    (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (X_FRAME_OPTIONS, "DENY"),
    (CROSS_ORIGIN_RESOURCE_POLICY, "same-origin"),
];

pub(super) async fn guard(State(door): State<Door>, request: Request, next: Next) -> Response {
    let state = &door.state;
    let mut response = match refusal(&door, &request) {
        Some(refusal) => refusal,
        None if PROBES.contains(&request.uri().path()) => in_time(state, next.run(request)).await,
        None if request.extensions().get::<Reserved>().is_some() => busy().into_response(),
        None => match state.memory.at_work.begin(state.config.requests_max) {
            Some(_working) => in_time(state, next.run(request)).await,
            None => busy().into_response(),
        },
    };
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    if door.admin {
        response.headers_mut().insert(TAKES_ORDERS, HeaderValue::from_static("taken"));
    }
    response
}

async fn in_time(state: &OpsState, answer: impl Future<Output = Response>) -> Response {
    match timeout(state.config.request_timeout, answer).await {
        Ok(response) => response,
        Err(_) => {
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the answer took too long", "the worker is busy: try again")
                .into_response()
        }
    }
}

/// There is too much to do: come again.
pub(super) fn busy() -> Refusal {
    counter!("mangrove_ops_requests_refused_total").increment(1);
    let hint = "try again in a second; /livez and /readyz are answered all the same";
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too many requests at a time", hint)
}

fn refusal(door: &Door, request: &Request) -> Option<Response> {
    if !is_for_us(request, &door.state.config.hosts) {
        let hint = "ask for localhost or the worker's own address, or add the name to ops.hosts in the configuration";
        return Some(
            Refusal::new(StatusCode::MISDIRECTED_REQUEST, "this is not the host asked for", hint).into_response(),
        );
    }
    let order = door.admin && request.method() == Method::POST && request.uri().path().starts_with("/admin/");
    if request.method() != Method::GET && !order && !changes_on_purpose(door, request) {
        let refusal =
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered", "nothing can be changed here");
        return Some(([(ALLOW, "GET")], refusal).into_response());
    }
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    (target > TARGET_BYTES_MAX).then(|| {
        let hint = format!("at most {TARGET_BYTES_MAX} bytes of path and query");
        Refusal::new(StatusCode::URI_TOO_LONG, "the address is too long", hint).into_response()
    })
}

#[cfg(feature = "fault-points")]
fn changes_on_purpose(door: &Door, request: &Request) -> bool {
    !door.admin && super::chaos::admits(request)
}

#[cfg(not(feature = "fault-points"))]
fn changes_on_purpose(_: &Door, _: &Request) -> bool {
    false
}

/// Exactly one `Host`, and every name in the request is ours.
fn is_for_us(request: &Request, names: &[String]) -> bool {
    let local = request.extensions().get::<LocalIp>().map(|local| local.0);
    let mut hosts = request.headers().get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let Some(host) = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()) else { return false };
    is_ours(&host, local, names) && request.uri().authority().is_none_or(|other| is_ours(other, local, names))
}

/// Addresses are safe where names are not: rebinding needs a name.
fn is_ours(authority: &Authority, local: Option<IpAddr>, names: &[String]) -> bool {
    // `user@localhost` is not how anybody honest asks.
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
    match address {
        Some(address) => {
            address.is_loopback() || local.is_some_and(|local| local.to_canonical() == address.to_canonical())
        }
        None => host.eq_ignore_ascii_case("localhost") || names.iter().any(|name| host.eq_ignore_ascii_case(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(authority: &str) -> bool {
        let local = "10.1.2.3".parse().ok();
        authority.parse().is_ok_and(|authority| is_ours(&authority, local, &["worker-0.mangrove".to_owned()]))
    }

    #[test]
    fn own_names_and_addresses_are_ours() {
        for host in
            ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]:8080", "10.1.2.3:8080", "Worker-0.Mangrove:80"]
        {
            assert!(ours(host), "{host}");
        }
    }

    #[test]
    fn other_names_and_addresses_are_not() {
        for host in [
            "evil.example",
            "127.0.0.1.nip.io",
            "localhost.evil.example",
            "10.1.2.4",
            "a@localhost",
            "[::2]:80",
            "worker-0.mangrove.evil.example",
            "localhost.",
            "",
        ] {
            assert!(!ours(host), "{host}");
        }
    }
}
