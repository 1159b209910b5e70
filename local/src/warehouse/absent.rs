//! What stands for the embedded warehouse in a build without it.

use std::sync::Arc;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Method, Response, StatusCode};
use bytes::Bytes;

use crate::LocalOptions;
use crate::folder::Contents;
use crate::reply;

const ABSENT: &str = "this build's local cloud has no warehouse: leave the loader off, or point it at a real one";

/// No warehouse.
pub(crate) struct Warehouse;

impl Warehouse {
    pub(crate) fn new(_: &LocalOptions, _: Arc<Contents>) -> Warehouse {
        Warehouse
    }

    pub(crate) async fn handle(&self, _: &Parts, _: Bytes) -> Response<Body> {
        reply::json_error(StatusCode::BAD_REQUEST, "ValidationException", ABSENT)
    }

    pub(crate) fn control(&self, _: &Method, _: &[u8]) -> Response<Body> {
        reply::json_error(StatusCode::NOT_FOUND, "ValidationException", ABSENT)
    }

    pub(crate) fn close(&self) {}
}
