//! What an operator can do: on a listener of its own, off unless configured, for who has the token.
//!
//! **Owns** the token.
//!
//! **Promises**
//! - Nothing is done by GET, without the token, on behalf of another site, or without a reason; what is done, and what
//!   was refused for a wrong token, is logged with the reason and who asked.
//! - What cannot be undone (split, merge, drain) wants the name of its target typed again.
//! - Whatever is done is what the worker does by itself when something fails: no action can lose or double a record.
//!
//! **Not here**: TLS and users. Reach it through a tunnel (`kubectl port-forward`).
//!
//! The page is served here too, from the same origin, instead of letting a page of the ops endpoint call across origins:
//! so no reply of this program ever carries a CORS header, and the token is only ever sent to where the page came from.

mod actions;
pub mod token;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use futures_util::future::BoxFuture;
use messages::ShardId;
use metrics::counter;
use serde_json::json;
use tracing::warn;

use self::token::Token;
use super::OpsState;
use super::guard::RemoteIp;
use super::reply::Refusal;

/// An order is a few names and a reason.
const BODY_BYTES_MAX: usize = 4096;

/// What the worker does when told to. Every error is for the operator, in words.
pub trait Controls: Send + Sync + 'static {
    /// Commits what was read of a shard and lets another worker have it.
    fn hand_over(&self, shard: ShardId) -> BoxFuture<'_, Result<(), String>>;

    /// Splits a shard in the middle; answers where.
    fn split(&self, shard: ShardId) -> BoxFuture<'_, Result<String, String>>;

    /// Merges two adjacent shards.
    fn merge(&self, shard: ShardId, with: ShardId) -> BoxFuture<'_, Result<(), String>>;

    /// Has the process commit what it has read, release its leases and end.
    fn drain(&self);
}

/// The rights of callers.
#[derive(Clone)]
pub struct Admin {
    /// What to show.
    pub ops: Arc<OpsState>,
    /// What to know.
    pub token: Token,
    /// What to do.
    pub controls: Arc<dyn Controls>,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").field("ops", &self.ops).finish_non_exhaustive()
    }
}

pub(super) fn router(admin: Arc<Admin>) -> Router {
    let router = Router::new()
        .route("/admin/check", post(check).fallback(post_only))
        .route("/admin/restart", post(actions::restart).fallback(post_only))
        .route("/admin/hand-over", post(actions::hand_over).fallback(post_only))
        .route("/admin/split", post(actions::split).fallback(post_only))
        .route("/admin/merge", post(actions::merge).fallback(post_only))
        .route("/admin/drain", post(actions::drain).fallback(post_only));
    #[cfg(feature = "fault-points")]
    let router = router.route("/admin/kill", post(actions::kill).fallback(post_only));
    router
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(admin.clone(), authorise))
        .with_state(admin)
}

/// Whether the token is right, for the page: what it may offer.
async fn check() -> Json<serde_json::Value> {
    Json(json!({ "kill": cfg!(feature = "fault-points") }))
}

async fn post_only() -> Response {
    let hint = "POST, with a JSON body and Authorization: Bearer <token>";
    let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "only POST does something", hint);
    ([(ALLOW, "POST")], refusal).into_response()
}

async fn authorise(State(admin): State<Arc<Admin>>, request: Request, next: Next) -> Response {
    // What is no POST is refused by its route, and needs no token for that.
    if request.method() != axum::http::Method::POST {
        return next.run(request).await;
    }
    let refused = refused(&admin.token, request.headers());
    let Some(refusal) = refused else { return next.run(request).await };
    let from = request.extensions().get::<RemoteIp>().map(|remote| remote.0.to_string()).unwrap_or_default();
    let (path, status) = (request.uri().path().escape_debug().to_string(), refusal.status.as_u16());
    counter!("mangrove_admin_refused_total").increment(1);
    warn!(path, from, status, why = refusal.error, "admin request refused");
    if refusal.status == StatusCode::UNAUTHORIZED {
        return ([(WWW_AUTHENTICATE, "Bearer")], refusal).into_response();
    }
    refusal.into_response()
}

fn refused(token: &Token, headers: &HeaderMap) -> Option<Refusal> {
    let forbidden = |error: &str, hint: &str| Some(Refusal::new(StatusCode::FORBIDDEN, error, hint));
    if is_from_elsewhere(headers) {
        return forbidden("another site's page has sent this", "use the page of this listener");
    }
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.split(';').next().map(str::trim) != Some("application/json") {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Some(Refusal::new(status, "the body is not JSON", "Content-Type: application/json"));
    }
    let hint = "Authorization: Bearer <token>; the token is what admin.token_file holds";
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match given.split_once(' ') {
        Some((scheme, given)) if scheme.eq_ignore_ascii_case("bearer") && token.is(given.trim()) => None,
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("bearer") => forbidden("the token is another one", hint),
        Some(_) | None => Some(Refusal::new(StatusCode::UNAUTHORIZED, "a token is wanted", hint)),
    }
}

/// A browser says where the page came from that sends a POST, and scripts cannot make it lie. Who says nothing is no
/// browser, and has the token or not.
fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?")).collect::<Vec<_>>();
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let same = |origin: &&str| origin.eq_ignore_ascii_case(&format!("http://{host}"));
    let origins = text(ORIGIN.as_str());
    let sites = text("sec-fetch-site");
    !origins.iter().all(same) || !sites.iter().all(|site| *site == "same-origin")
}
