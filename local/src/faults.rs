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
//! **Owns** the rules, their random numbers and the counts.
//! **Promises** that the first rule that hits decides; that a rule's hits depend on its place, the seed and the requests
//! it matches in their order, and on no other rule's requests unless they hit first; at most [`plan::RULES_MAX`] rules.
//! **Fails** on a bad PUT with 400 and the key that is wrong; the rules then stay as they were.
//! **Not here**: faults inside a connection (bandwidth, torn bodies) and inside a service.

mod call;
mod chance;
mod enact;
mod plan;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use axum::http::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::reply;
use chance::Chance;
use plan::{Plan, Rule};

pub(crate) use call::{Call, Target};
pub(crate) use enact::{Fault, Severed};

/// Where the rules are set.
pub(crate) const PATH: &str = "/_mangrove/faults";
const BODY_BYTES_MAX: usize = 64 * 1024;

/// The rules in force and what they did.
#[derive(Default)]
pub(crate) struct Faults {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    seed: u64,
    rules: Vec<Armed>,
    injected: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
}

/// A rule with its own random numbers, so that what one rule sees does not move another one's hits.
struct Armed {
    rule: Rule,
    chance: Chance,
    n_hits: u64,
}

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
                Ok(plan) => self.set(plan),
                Err(wrong) => return error(StatusCode::BAD_REQUEST, &wrong.to_string()),
            },
            Method::DELETE => self.state().rules.clear(),
            _ => return error(StatusCode::METHOD_NOT_ALLOWED, "use PUT, GET or DELETE"),
        }
        let report = format!("{:#}\n", self.report());
        reply::answer(StatusCode::OK, "application/json", report)
    }

    /// What to do to this request instead of answering it, if anything.
    pub(crate) fn draw(&self, call: &Call<'_>) -> Option<Fault> {
        let mut state = self.state();
        let State { rules, injected, .. } = &mut *state;
        let hit = rules.iter_mut().find_map(|armed| armed.hits(call))?;
        *injected.entry(call.target().as_str()).or_default().entry(hit.kind.as_str()).or_default() += 1;
        tracing::debug!(
            service = call.target().as_str(),
            operation = call.operation(),
            kind = hit.kind.as_str(),
            "fault"
        );
        Some(Fault { target: call.target(), kind: hit.kind, delay: hit.delay })
    }

    fn set(&self, plan: Plan) {
        let mut state = self.state();
        let arm = |(place, rule)| Armed { rule, chance: Chance::new(plan.seed, place), n_hits: 0 };
        state.rules = (0..).zip(plan.rules).map(arm).collect();
        state.seed = plan.seed;
        state.injected.clear();
    }

    fn report(&self) -> Value {
        let state = self.state();
        let rules: Vec<Value> = state.rules.iter().map(|armed| armed.rule.to_json(armed.n_hits)).collect();
        json!({ "seed": state.seed, "rules": rules, "injected": state.injected })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here is left half changed by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Armed {
    fn hits(&mut self, call: &Call<'_>) -> Option<&Rule> {
        let spent = self.rule.n_hits_max.is_some_and(|n_hits_max| self.n_hits >= n_hits_max);
        if spent || !self.rule.matches(call) || !self.chance.comes_up(self.rule.probability) {
            return None;
        }
        self.n_hits += 1;
        Some(&self.rule)
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
