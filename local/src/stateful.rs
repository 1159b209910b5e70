//! DynamoDB and SNS: the engine's tables and topics, a set for each region, saved to the data folder on every change.
//!
//! **Owns** one file per region, a snapshot of the whole service. Tables here are small (leases, not data).
//! **Promises** that a change is on disk before it is acknowledged, and that nobody reads a change that is not.
//! **Fails** with the service's own 500 when the snapshot cannot be written; the change then is in memory only.
//! **Not here**: what the services understand (`local/engine`).

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::http::Response;
use axum::http::request::Parts;
use local_engine::table::{self, Asking, Habits, Tables};
use local_engine::topics::{self, Topics};
use local_engine::{ClientId, Place, Refusal, Reply, Service};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::clock::now_ms;
use crate::folder::{Contents, replace_file};
use crate::{ACCOUNT, LocalError, reply};

/// As the service: pages are full, a table can be used at once.
const HABITS: Habits = Habits { rows_per_page: usize::MAX, creating_ms: 0, keeps_history: false };

/// What a service has in one region.
pub(crate) trait Regional: Default + Serialize + DeserializeOwned + Send + 'static {
    const SERVICE: Service;

    /// Whether a request leaves the state as it is.
    fn only_reads(parts: &Parts, body: &[u8]) -> bool;

    /// Answers one request.
    fn answer(&mut self, place: Place<'_>, parts: &Parts, body: &[u8]) -> Result<Reply, Refusal>;
}

impl Regional for Topics {
    const SERVICE: Service = Service::Sns;

    fn only_reads(_parts: &Parts, body: &[u8]) -> bool {
        topics::only_reads(body)
    }

    fn answer(&mut self, place: Place<'_>, _parts: &Parts, body: &[u8]) -> Result<Reply, Refusal> {
        self.serve(place, now_ms(), &topics::form(body))
    }
}

impl Regional for Tables {
    const SERVICE: Service = Service::DynamoDb;

    fn only_reads(parts: &Parts, _body: &[u8]) -> bool {
        table::only_reads(operation(parts))
    }

    fn answer(&mut self, place: Place<'_>, parts: &Parts, body: &[u8]) -> Result<Reply, Refusal> {
        let asking = Asking { place, now_ms: now_ms(), client: ClientId(0), habits: HABITS };
        // What is not JSON is refused as what is no request.
        let input = serde_json::from_slice(if body.is_empty() { b"{}" } else { body }).unwrap_or(Value::Null);
        self.serve(asking, operation(parts), &input)
    }
}

fn operation(parts: &Parts) -> &str {
    let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or("");
    target.split_once('.').map_or("", |(_, operation)| operation)
}

/// A service with its folder.
pub(crate) struct Stateful<S> {
    /// Changes are alone until they are saved, so that snapshots are ordered and no reader sees what is not saved yet.
    regions: Mutex<HashMap<String, S>>,
    dir: PathBuf,
    contents: Arc<Contents>,
}

impl<S: Regional> Stateful<S> {
    /// Restores every region the folder holds.
    pub(crate) fn open(dir: PathBuf, contents: &Arc<Contents>) -> Result<Stateful<S>, LocalError> {
        let mut regions = HashMap::new();
        for path in files(&dir).map_err(LocalError::folder(&dir))? {
            let Some(region) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
            let saved = std::fs::read(&path).map_err(LocalError::folder(&path))?;
            let read = serde_json::from_slice(&saved).map_err(|error| error.to_string());
            regions.insert(region.to_owned(), read.map_err(LocalError::damaged(&path))?);
            contents.note(&path).map_err(LocalError::folder(&path))?;
        }
        Ok(Stateful { regions: Mutex::new(regions), dir, contents: Arc::clone(contents) })
    }

    /// Answers one request.
    pub(crate) fn handle(&self, region: &str, parts: &Parts, body: &[u8]) -> Response<Body> {
        // A panic in a request leaves at worst what it had changed so far.
        let mut regions = self.regions.lock().unwrap_or_else(PoisonError::into_inner);
        let state = regions.entry(region.to_owned()).or_default();
        let answer = state.answer(Place { region, account: ACCOUNT }, parts, body);
        // A refused change changed nothing, and losing a race is common.
        if answer.is_ok()
            && !S::only_reads(parts, body)
            && let Err(error) = self.persist(region, state)
        {
            tracing::error!(service = S::SERVICE.as_str(), region, %error, "cannot save the state");
            let message = "the local cloud could not write its data folder";
            return reply::refuse(S::SERVICE, Refusal { message: message.into(), ..Refusal::internal(S::SERVICE) });
        }
        reply::of_engine(S::SERVICE, answer)
    }

    fn persist(&self, region: &str, state: &S) -> io::Result<()> {
        // In place of a blocking task: the page cache takes a small file faster than a thread switch.
        let path = self.dir.join(format!("{region}.json"));
        replace_file(&path, &serde_json::to_vec(state)?)?;
        self.contents.note(&path)
    }
}

fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            paths.push(path);
        }
    }
    Ok(paths)
}
