//! S3: s3s speaks the protocol, a folder of plain files holds the objects.
//!
//! `s3s-fs` is not used: it renames an object into place before it checks the checksum and before it writes the
//! metadata, checks `If-None-Match` without a lock, and cannot store a key longer than about 150 bytes.
//!
//! **Owns** `<data_dir>/s3/<bucket>/<key>` (the objects, nothing else), `s3-attributes` and `s3-work` beside it.
//! **Promises** that an object appears whole, with its metadata and checked, in one step; that a conditional write has
//! one winner; that no key reaches outside its bucket.
//! **Fails** per request with the S3 error a client expects.
//! **Not here**: versions, tags, ACLs, encryption by the client, which are refused (`strict`); keys that end in `/`, and a key that is
//! a folder of another key.

mod attributes;
mod error;
mod list;
mod multipart;
mod place;
mod service;
mod store;
mod strict;
mod unsign;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::Full;
use s3s::service::{S3Service, S3ServiceBuilder};
use tower::ServiceExt;

use crate::LocalError;
use crate::folder::Folder;
use crate::reply::{self, Refusal};

const BAD_CHUNKS: Refusal = Refusal {
    status: StatusCode::BAD_REQUEST,
    code: "IncompleteBody",
    message: "the body is not what its aws-chunked encoding promises",
};
const FAILED: Refusal = Refusal {
    status: StatusCode::INTERNAL_SERVER_ERROR,
    code: "InternalError",
    message: "the local cloud could not answer",
};

/// The folder of all buckets, in the data folder.
pub(crate) const FOLDER: &str = "s3";

/// The file of `s3://bucket/key`; `None` for what can be no object. Nothing but a file in a bucket has such a path.
#[cfg_attr(not(feature = "warehouse"), expect(dead_code, reason = "only COPY reads objects by their files"))]
pub(crate) fn file_of(buckets: &Path, url: &str) -> Option<PathBuf> {
    let (bucket, key) = url.strip_prefix("s3://")?.split_once('/')?;
    let bucket = place::object(buckets, bucket).ok()?;
    place::object(&bucket, key).ok()
}

/// Opens the folders and builds the service.
pub(crate) fn open(folder: &Folder) -> Result<S3Service, LocalError> {
    let store = store::ObjectStore::open(folder)?;
    Ok(S3ServiceBuilder::new(service::Objects::new(Arc::new(store))).build())
}

/// Answers one request, whoever signed it.
pub(crate) async fn handle(service: &S3Service, mut parts: Parts, body: Bytes) -> Response<Body> {
    place::in_path(&mut parts);
    let Some(body) = unsign::unsign(&mut parts, body) else { return reply::s3_error(BAD_CHUNKS) };
    if let Some(refusal) = strict::refusal(&parts) {
        return reply::s3_error(refusal);
    }
    let request = Request::from_parts(parts, Full::new(body));
    match service.clone().oneshot(request).await {
        Ok(response) => response.map(Body::new),
        Err(error) => {
            tracing::error!(?error, "S3 request failed");
            reply::s3_error(FAILED)
        }
    }
}
