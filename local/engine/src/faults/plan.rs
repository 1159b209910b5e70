//! The rules as they are written: `{"seed": 7, "rules": [{"service": "s3", "kind": "throttle", ...}]}`.
//!
//! **Owns** the keys of a rule, and the bounds of every number.
//! **Promises** that a rule is either understood whole or refused with the key that is wrong: a misspelled key would be
//! a fault that never comes, and a test that proves nothing.
//! **Fails** with a [`PlanError`].
//! **Not here**: names of operations are not checked; there are hundreds.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Asked, Fault};
use crate::Service;

/// More rules are not taken.
pub const RULES_MAX: usize = 64;
const DELAY_MS_MAX: u64 = 600_000;
/// How long `timeout_before` holds a connection when it is not told: longer than any client of ours waits.
const TIMEOUT: Duration = Duration::from_secs(60);

const RULE_KEYS: [&str; 7] = ["service", "operation", "kind", "probability", "count", "delay_ms", "match"];

/// Which requests, how often, and what happens to them.
#[derive(Debug, PartialEq)]
pub(super) struct Rule {
    /// `None` is any service.
    service: Option<Service>,
    operation: Option<String>,
    text: Option<String>,
    pub(super) fault: Fault,
    pub(super) probability: f64,
    pub(super) n_hits_max: Option<u64>,
    pub(super) delay: Duration,
}

impl Rule {
    /// Whether the rule is about this request at all.
    pub(super) fn matches(&self, asked: &Asked<'_>) -> bool {
        self.service.is_none_or(|service| service == asked.service)
            && self.operation.as_ref().is_none_or(|operation| operation == asked.operation)
            && self.text.as_ref().is_none_or(|text| asked.mentions(text))
    }

    /// As it was written, with what was left out, and the number of its hits.
    pub(super) fn to_json(&self, n_hits: u64) -> Value {
        json!({
            "service": self.service.map_or("any", Service::as_str),
            "operation": self.operation,
            "kind": self.fault.as_str(),
            "probability": self.probability,
            "count": self.n_hits_max,
            "delay_ms": self.delay.as_millis() as u64,
            "match": self.text,
            "hits": n_hits,
        })
    }
}

/// What a PUT sets.
#[derive(Debug, PartialEq)]
pub struct Plan {
    pub(super) seed: u64,
    pub(super) rules: Vec<Rule>,
}

/// A key that cannot be understood.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct PlanError {
    key: String,
    problem: String,
}

impl Plan {
    /// Reads the body of a PUT.
    pub fn parse(body: &[u8]) -> Result<Plan, PlanError> {
        let value: Value = serde_json::from_slice(body).map_err(|error| wrong("the body", error))?;
        let plan = Keys::of("", &value, &["seed", "rules"])?;
        let seed = plan.get("seed", "a whole number", Value::as_u64)?.unwrap_or(0);
        let Some(rules) = plan.get("rules", "a list of rules", |value| value.as_array())? else {
            return Err(wrong("rules", "is missing; to have none, use DELETE"));
        };
        if rules.len() > RULES_MAX {
            return Err(wrong("rules", format!("there are {}, at most {RULES_MAX} are allowed", rules.len())));
        }
        let rules = rules.iter().enumerate().map(|(place, value)| rule(&format!("rules[{place}]"), value));
        Ok(Plan { seed, rules: rules.collect::<Result<_, _>>()? })
    }
}

fn rule(at: &str, value: &Value) -> Result<Rule, PlanError> {
    let keys = Keys::of(at, value, &RULE_KEYS)?;
    let fault = keys.one_of("kind", &Fault::OF_RULES, Fault::as_str)?;
    let fault = fault.ok_or_else(|| keys.wrong("kind", "is missing"))?;
    let services: Vec<Option<Service>> = [None].into_iter().chain(Service::ALL.map(Some)).collect();
    let service = keys.one_of("service", &services, |service| service.map_or("any", Service::as_str))?;
    let probability = keys.get("probability", "a number", Value::as_f64)?.unwrap_or(1.0);
    if !(0.0..=1.0).contains(&probability) {
        return Err(keys.wrong("probability", "is not between 0 and 1"));
    }
    let delay_ms = keys.get("delay_ms", "a whole number of milliseconds", Value::as_u64)?;
    if delay_ms.is_some_and(|delay_ms| delay_ms > DELAY_MS_MAX) {
        return Err(keys.wrong("delay_ms", format!("is over {DELAY_MS_MAX}")));
    }
    let delay = match (fault, delay_ms) {
        (Fault::Delay, None) => return Err(keys.wrong("delay_ms", "is missing; a delay needs it")),
        (Fault::Throttle | Fault::Error | Fault::Deny | Fault::Skew | Fault::Reset, Some(_)) => {
            return Err(keys.wrong("delay_ms", "is for delay, timeout_before and lose_reply only"));
        }
        (Fault::HangBefore, None) => TIMEOUT,
        (_, delay_ms) => Duration::from_millis(delay_ms.unwrap_or(0)),
    };
    Ok(Rule {
        service: service.ok_or_else(|| keys.wrong("service", "is missing; for all of them, say any"))?,
        operation: keys.text("operation")?,
        text: keys.text("match")?,
        fault,
        probability,
        n_hits_max: keys.get("count", "a whole number", Value::as_u64)?,
        delay,
    })
}

/// The keys of one object, and where it is.
struct Keys<'a> {
    at: &'a str,
    object: &'a Map<String, Value>,
}

impl<'a> Keys<'a> {
    fn of(at: &'a str, value: &'a Value, known: &[&str]) -> Result<Keys<'a>, PlanError> {
        let at_or_body = if at.is_empty() { "the body" } else { at };
        let object = value.as_object().ok_or_else(|| wrong(at_or_body, "is not an object"))?;
        let keys = Keys { at, object };
        match object.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(keys.wrong(key, format!("is not known; known are {}", known.join(", ")))),
            None => Ok(keys),
        }
    }

    /// The value of a key; `None` when it is absent or null.
    fn get<T>(&self, key: &str, what: &str, read: impl Fn(&'a Value) -> Option<T>) -> Result<Option<T>, PlanError> {
        match self.object.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| self.wrong(key, format!("is not {what}"))),
        }
    }

    fn text(&self, key: &str) -> Result<Option<String>, PlanError> {
        let read = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        self.get(key, "a text", read)
    }

    fn one_of<T: Copy>(&self, key: &str, all: &[T], name: fn(T) -> &'static str) -> Result<Option<T>, PlanError> {
        let names: Vec<&str> = all.iter().map(|one| name(*one)).collect();
        let read = |value: &Value| all.iter().copied().find(|one| value.as_str() == Some(name(*one)));
        self.get(key, &format!("one of {}", names.join(", ")), read)
    }

    fn wrong(&self, key: &str, problem: impl ToString) -> PlanError {
        let dot = if self.at.is_empty() { "" } else { "." };
        wrong(&format!("{}{dot}{key}", self.at), problem)
    }
}

fn wrong(key: &str, problem: impl ToString) -> PlanError {
    PlanError { key: key.to_owned(), problem: problem.to_string() }
}
