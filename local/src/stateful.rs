//! DynamoDB and SNS: services whose whole state is saved to the data folder on every change.
//!
//! **Owns** one file per region, a snapshot of the whole service. Tables here are small (leases, not data).
//! **Promises** that a change is on disk before it is acknowledged, and that nobody reads a change that is not.
//! **Fails** with the service's own 500 when the snapshot cannot be written; the change then is in memory only.
//! **Not here**: what the services understand (`dynamo`, `topics`); backups, streams and exports of DynamoDB, which the
//! crate does not put into its snapshots, are refused.

mod dynamo;
mod refused;
mod topics;

pub(crate) use topics::Regions;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use bytes::Bytes;
use tokio::sync::RwLock;
use winterbaume_core::{MockRequest, MockResponse};

use crate::LocalError;
use crate::folder::{Contents, replace_file};
use crate::gateway::Scope;
use crate::reply;

/// A service whose whole state can be saved and loaded per region.
#[async_trait::async_trait]
pub(crate) trait Saved: Send + Sync + 'static {
    /// The name in a credential scope.
    const SCOPE: &'static str;

    /// Whether a request leaves the state as it is.
    fn only_reads(parts: &Parts, body: &[u8]) -> bool;

    /// Answers one request. Nothing else changes meanwhile.
    async fn answer(&self, region: &str, parts: &Parts, body: Bytes) -> Response<Body>;

    async fn save(&self, region: &str) -> io::Result<Vec<u8>>;

    async fn load(&self, region: &str, state: &[u8]) -> Result<(), String>;
}

/// A service with its folder.
pub(crate) struct Stateful<S> {
    service: S,
    dir: PathBuf,
    contents: Arc<Contents>,
    /// Changes are alone, so that snapshots are ordered and no reader sees what is not saved yet.
    order: RwLock<()>,
}

impl<S: Saved> Stateful<S> {
    /// Restores every region the folder holds.
    pub(crate) async fn open(service: S, dir: PathBuf, contents: &Arc<Contents>) -> Result<Stateful<S>, LocalError> {
        for path in regions(&dir).map_err(LocalError::folder(&dir))? {
            let Some(region) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
            let state = std::fs::read(&path).map_err(LocalError::folder(&path))?;
            service.load(region, &state).await.map_err(LocalError::damaged(&path))?;
            contents.note(&path).map_err(LocalError::folder(&path))?;
        }
        Ok(Stateful { service, dir, contents: Arc::clone(contents), order: RwLock::new(()) })
    }

    /// Answers one request.
    pub(crate) async fn handle(&self, parts: &Parts, body: Bytes) -> Response<Body> {
        let region = Scope::of(&parts.headers).region();
        if S::only_reads(parts, &body) {
            let _readers = self.order.read().await;
            return self.service.answer(region, parts, body).await;
        }
        let _alone = self.order.write().await;
        let answer = self.service.answer(region, parts, body).await;
        // A refused change changed nothing, and losing a race is common.
        if answer.status().is_success()
            && let Err(error) = self.persist(region).await
        {
            tracing::error!(service = S::SCOPE, region, %error, "cannot save the state");
            return reply::json_error(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalServerError",
                "the local cloud could not write its data folder",
            );
        }
        answer
    }

    async fn persist(&self, region: &str) -> io::Result<()> {
        let state = self.service.save(region).await?;
        // In place of a blocking task: the page cache takes a small file faster than a thread switch.
        let path = self.dir.join(format!("{region}.json"));
        replace_file(&path, &state)?;
        self.contents.note(&path)
    }
}

fn regions(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            paths.push(path);
        }
    }
    Ok(paths)
}

/// The request as winterbaume expects it: the region once in the host, once in a scope, both checked by us.
fn request(service: &str, region: &str, method: &str, sent: &HeaderMap, body: Bytes) -> MockRequest {
    let mut headers = HeaderMap::new();
    for name in [CONTENT_TYPE, HeaderName::from_static("x-amz-target")] {
        if let Some(value) = sent.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    let scope = format!("AWS4-HMAC-SHA256 Credential=local/20000101/{region}/{service}/aws4_request, Signature=none");
    if let Ok(scope) = HeaderValue::from_str(&scope) {
        headers.insert(AUTHORIZATION, scope);
    }
    MockRequest { method: method.to_owned(), uri: format!("https://{service}.{region}.amazonaws.com/"), headers, body }
}

fn response(answer: MockResponse) -> Response<Body> {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.headers_mut() = answer.headers;
    response
}
