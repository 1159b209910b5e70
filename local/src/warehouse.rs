//! The embedded warehouse behind the gateway: Redshift's Data API, a pause and failing statements on demand.
//!
//! ```text
//! POST /_mangrove/warehouse   {"paused": true}    only with LocalOptions::faults
//! POST /_mangrove/warehouse   {"fails": [{"match": "COPY", "error": "Disk Full"}]}    [] ends it
//! GET  /_mangrove/warehouse
//! ```
//!
//! **Owns** the open warehouse. It is opened by the first request for it: most users of a local cloud have none.
//! **Promises** COPY reads what is stored in the buckets, where it lies, and nothing else.
//! **Fails** per request; a file that does not open is told to every request until it does.
//! **Not here**: SQL (the crate `local-warehouse`).

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use bytes::Bytes;
use local_warehouse::{Fails, Object, ObjectError, ObjectSource, Warehouse as Inner, WarehouseOptions};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::LocalOptions;
use crate::folder::Contents;
use crate::objects;
use crate::reply;

const FILE: &str = "warehouse.duckdb";
const WAY_ON: &str = "restore it, or delete the data folder to start empty";
/// Kinds of statements that fail at a time.
const FAILS_MAX: usize = 16;

/// The warehouse of one data folder.
pub(crate) struct Warehouse {
    options: WarehouseOptions,
    buckets: PathBuf,
    contents: Arc<Contents>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    open: Option<Arc<Inner>>,
    paused: bool,
    fails: Vec<Fail>,
    closed: bool,
}

/// Statements that fail on demand, as a client writes them.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Fail {
    #[serde(rename = "match")]
    matching: String,
    error: String,
}

impl State {
    fn apply(&self) {
        if let Some(open) = &self.open {
            open.pause(self.paused);
            let fails = self.fails.iter().cloned().map(|Fail { matching, error }| Fails { matching, error });
            open.fail(fails.collect());
        }
    }
}

impl Warehouse {
    pub(crate) fn new(options: &LocalOptions, contents: Arc<Contents>) -> Warehouse {
        let own = WarehouseOptions {
            memory_mib: options.warehouse_memory_mib,
            threads: options.warehouse_threads,
            ..WarehouseOptions::new(options.data_dir.join(FILE))
        };
        Warehouse { options: own, buckets: options.data_dir.join(objects::FOLDER), contents, state: Arc::default() }
    }

    /// Answers one request. Some wait for a statement, so all of them have a thread of their own.
    pub(crate) async fn handle(&self, parts: &Parts, body: Bytes) -> Response<Body> {
        let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or("");
        let operation = target.split_once('.').map_or("", |(_, operation)| operation).to_owned();
        let (state, options, buckets) = (Arc::clone(&self.state), self.options.clone(), self.buckets.clone());
        let contents = Arc::clone(&self.contents);
        let answered = tokio::task::spawn_blocking(move || {
            let warehouse = opened(&state, options, buckets, &contents)?;
            Ok::<_, String>(warehouse.handle(&operation, &body))
        });
        let answer = match answered.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(message)) => return failed(&message),
            Err(error) => return failed(&error.to_string()),
        };
        let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = reply::answer(status, "application/x-amz-json-1.1", answer.body);
        if let Some(code) = answer.error {
            let name = HeaderName::from_static("x-amzn-errortype");
            response.headers_mut().insert(name, HeaderValue::from_static(code));
        }
        response
    }

    /// Answers a request for [`WAREHOUSE_PATH`](crate::gateway::WAREHOUSE_PATH).
    pub(crate) fn control(&self, method: &Method, body: &[u8]) -> Response<Body> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Wanted {
            paused: Option<bool>,
            fails: Option<Vec<Fail>>,
        }
        let mut state = lock(&self.state);
        match *method {
            Method::GET => {}
            Method::POST => match serde_json::from_slice::<Wanted>(body) {
                Ok(Wanted { paused: None, fails: None }) => {
                    return told(
                        StatusCode::BAD_REQUEST,
                        json!({ "error": "the body: says neither paused nor fails" }),
                    );
                }
                Ok(Wanted { fails: Some(fails), .. }) if fails.len() > FAILS_MAX => {
                    let error = format!("fails: at most {FAILS_MAX} are allowed");
                    return told(StatusCode::BAD_REQUEST, json!({ "error": error }));
                }
                Ok(wanted) => {
                    state.paused = wanted.paused.unwrap_or(state.paused);
                    if let Some(fails) = wanted.fails {
                        state.fails = fails;
                    }
                    state.apply();
                }
                Err(error) => return told(StatusCode::BAD_REQUEST, json!({ "error": format!("the body: {error}") })),
            },
            _ => return told(StatusCode::METHOD_NOT_ALLOWED, json!({ "error": "use POST or GET" })),
        }
        told(StatusCode::OK, json!({ "paused": state.paused, "fails": state.fails }))
    }

    /// Ends what runs and writes everything into the file; nothing is taken afterwards.
    pub(crate) fn close(&self) {
        let open = {
            let mut state = lock(&self.state);
            state.closed = true;
            state.open.take()
        };
        if let Some(open) = open {
            open.close();
        }
    }
}

fn opened(
    state: &Mutex<State>,
    options: WarehouseOptions,
    buckets: PathBuf,
    contents: &Contents,
) -> Result<Arc<Inner>, String> {
    let mut state = lock(state);
    if state.closed {
        return Err("the local cloud has stopped".to_owned());
    }
    if let Some(open) = &state.open {
        return Ok(Arc::clone(open));
    }
    let path = options.path.clone();
    let open = Inner::open(options, Arc::new(Buckets(buckets)))
        .map_err(|error| format!("{} cannot be opened ({error}): {WAY_ON}", path.display()))?;
    contents.note(&path).map_err(|error| error.to_string())?;
    let open = Arc::clone(state.open.insert(Arc::new(open)));
    state.apply();
    Ok(open)
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Nothing in here is left half changed by a panic.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failed(message: &str) -> Response<Body> {
    tracing::error!(message, "the warehouse does not answer");
    reply::json_error(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerException", message)
}

fn told(status: StatusCode, body: serde_json::Value) -> Response<Body> {
    reply::answer(status, "application/json", format!("{body:#}\n"))
}

/// The objects of all buckets, as the files they are.
struct Buckets(PathBuf);

impl ObjectSource for Buckets {
    fn object(&self, url: &str) -> Result<Object, ObjectError> {
        let path = objects::file_of(&self.0, url).ok_or(ObjectError::BadUrl)?;
        let metadata = match path.symlink_metadata() {
            Ok(metadata) if metadata.is_file() => metadata,
            Ok(_) => return Err(ObjectError::Missing),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(ObjectError::Missing),
            Err(error) => return Err(ObjectError::Unreadable(error.to_string())),
        };
        Ok(Object { path, n_bytes: metadata.len() })
    }

    fn folder(&self, url: &str) -> Result<Vec<(String, Object)>, ObjectError> {
        let (root, mut folders) = match url.strip_suffix('/').and_then(|url| objects::file_of(&self.0, url)) {
            Some(root) => (root.clone(), vec![root]),
            None => return Err(ObjectError::BadUrl),
        };
        let unreadable = |error: std::io::Error| ObjectError::Unreadable(error.to_string());
        let mut found = Vec::new();
        while let Some(folder) = folders.pop() {
            let entries = match std::fs::read_dir(&folder) {
                Ok(entries) => entries,
                // A folder is there as long as something is in it.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(unreadable(error)),
            };
            for entry in entries {
                let path = entry.map_err(unreadable)?.path();
                let metadata = path.symlink_metadata().map_err(unreadable)?;
                if metadata.is_dir() {
                    folders.push(path);
                } else if metadata.is_file()
                    && let Some(name) = path.strip_prefix(&root).ok().and_then(|name| name.to_str())
                {
                    found.push((name.to_owned(), Object { n_bytes: metadata.len(), path }));
                }
            }
        }
        Ok(found)
    }
}
