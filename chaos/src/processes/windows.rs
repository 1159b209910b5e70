//! Times in which a service of the local cloud misbehaves.
//!
//! **Owns** the rules in force there, and the sums of what they did.
//! **Promises** one window at a time; it is over when it is closed.
//! **Fails** when the cloud does not take the rules: the fault would be none.
//! **Not here**: what the kinds mean (`mangrove local --help`).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use supervisor::exit::CliError;

use super::planner::Window;

const WINDOW: Duration = Duration::from_secs(3);
/// What was hit shortly before the end shows later: callers wait for so long.
const AFTERMATH: Duration = Duration::from_secs(10);

/// The faults of the local cloud.
#[derive(Debug)]
pub(super) struct Windows {
    http: reqwest::Client,
    url: String,
    until: Option<Instant>,
    closed: Option<Instant>,
    /// By service and kind.
    pub(super) injected: BTreeMap<String, u64>,
}

impl Windows {
    pub(super) fn new(http: reqwest::Client, endpoint_url: &str) -> Self {
        let url = format!("{endpoint_url}/_mangrove/faults");
        Self { http, url, until: None, closed: None, injected: BTreeMap::new() }
    }

    /// From now on the service misbehaves.
    pub(super) async fn open(&mut self, window: &Window) -> Result<(), CliError> {
        self.close().await?;
        let mut rule = json!({
            "service": window.service, "kind": window.kind, "probability": window.probability,
        });
        if let Some(delay_ms) = window.delay_ms {
            rule["delay_ms"] = delay_ms.into();
        }
        let plan = json!({ "seed": window.seed, "rules": [rule] });
        self.ask(self.http.put(&self.url).body(plan.to_string())).await?;
        self.until = Some(Instant::now() + WINDOW);
        Ok(())
    }

    /// Closes the window when it is time.
    pub(super) async fn tend(&mut self) -> Result<(), CliError> {
        match self.until.is_some_and(|until| Instant::now() >= until) {
            true => self.close().await,
            false => Ok(()),
        }
    }

    /// No more faults.
    pub(super) async fn close(&mut self) -> Result<(), CliError> {
        if self.until.take().is_none() {
            return Ok(());
        }
        let report = self.ask(self.http.delete(&self.url)).await?;
        for (service, kinds) in report["injected"].as_object().into_iter().flatten() {
            for (kind, n) in kinds.as_object().into_iter().flatten() {
                *self.injected.entry(format!("{service}_{kind}")).or_default() += n.as_u64().unwrap_or(0);
            }
        }
        self.closed = Some(Instant::now());
        Ok(())
    }

    /// Whether a call that fails now may have been hit.
    pub(super) fn may_be_felt(&self) -> bool {
        self.until.is_some() || self.closed.is_some_and(|closed| closed.elapsed() < AFTERMATH)
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> Result<Value, CliError> {
        let failed = |error: reqwest::Error| CliError::environment(format!("the local cloud's faults: {error}"));
        let answer = request.send().await.map_err(failed)?;
        let (status, text) = (answer.status(), answer.text().await.map_err(failed)?);
        if !status.is_success() {
            return Err(CliError::internal(format!("the local cloud refuses faults: {status}: {}", text.trim())));
        }
        serde_json::from_str(&text).map_err(CliError::internal)
    }
}
