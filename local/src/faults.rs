//! Faults on demand: requests that are refused, delayed, cut off, or applied without an answer.
//!
//! The rules are set and read over HTTP, on the port of the services:
//!
//! ```text
//! PUT    /_mangrove/faults   {"seed": 7, "rules": [{"service": "s3", "operation": "PutObject", "kind": "lose_reply",
//!                             "probability": 0.1, "count": 5, "match": "raw/"}]}
//! GET    /_mangrove/faults   the rules with their hits, and what was injected, by service and kind
//! DELETE /_mangrove/faults   no more faults; the counts stay until the next PUT
//! ```
//!
//! No bucket's name can begin with `_`, so the path hides nothing.
//!
//! **Owns** the way to the rules. Which request they hit, and what a fault means, is the engine's (`local/engine`).
//! **Promises** at most [`RULES_MAX`](local_engine::faults::RULES_MAX) rules.
//! **Fails** on a bad PUT with 400 and the key that is wrong; the rules then stay as they were.
//! **Not here**: faults inside a connection (bandwidth, torn bodies) and inside a service.

mod call;
mod enact;

use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use axum::http::{Method, Response, StatusCode};
use local_engine::faults::{Hit, Plan, Rules};
use serde_json::{Value, json};

use crate::reply;

pub(crate) use call::Call;
pub(crate) use enact::{Severed, enact};

/// Where the rules are set.
pub(crate) const PATH: &str = "/_mangrove/faults";
const BODY_BYTES_MAX: usize = 64 * 1024;

/// The rules in force and what they did.
#[derive(Default)]
pub(crate) struct Faults(Mutex<Rules>);

impl Faults {
    /// Answers a request for [`PATH`].
    pub(crate) fn control(&self, method: &Method, body: &[u8]) -> Response<Body> {
        match *method {
            Method::GET => {}
            Method::PUT if body.len() > BODY_BYTES_MAX => {
                let message = format!("the rules are larger than {BODY_BYTES_MAX} bytes");
                return error(StatusCode::PAYLOAD_TOO_LARGE, &message);
            }
            Method::PUT => match Plan::parse(body) {
                Ok(plan) => self.rules().set(plan),
                Err(wrong) => return error(StatusCode::BAD_REQUEST, &wrong.to_string()),
            },
            Method::DELETE => self.rules().clear(),
            _ => return error(StatusCode::METHOD_NOT_ALLOWED, "use PUT, GET or DELETE"),
        }
        let report = format!("{:#}\n", self.report());
        reply::answer(StatusCode::OK, "application/json", report)
    }

    /// What to do to this request instead of answering it, if anything.
    pub(crate) fn draw(&self, call: &Call<'_>) -> Option<Hit> {
        let asked = call.asked();
        let hit = self.rules().draw(&asked)?;
        tracing::debug!(service = asked.service.as_str(), asked.operation, kind = hit.fault.as_str(), "fault");
        Some(hit)
    }

    fn report(&self) -> Value {
        self.rules().report()
    }

    fn rules(&self) -> MutexGuard<'_, Rules> {
        // Nothing in here is left half changed by a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answer to a request for [`PATH`] when faults are off.
pub(crate) fn off() -> Response<Body> {
    error(StatusCode::NOT_FOUND, "faults are off: start the local cloud with --faults")
}

fn error(status: StatusCode, message: &str) -> Response<Body> {
    reply::answer(status, "application/json", format!("{:#}\n", json!({ "error": message })))
}

#[cfg(test)]
mod tests;
