//! An OpenTelemetry collector: takes bytes over HTTP.
//!
//! **Promises** its address and its headers, which may hold a token, stay out of the log; no more than
//! `ANSWER_BYTES_MAX` of an answer are held.
//! **Fails** with the reason; a request is never tried again.
//! **Not here**: what the bytes say (`traces/otlp.rs`), and when they are sent (`traces/export.rs`).

use std::fmt;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::transports::http_client;

/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 16 << 10;

/// Where a collector is.
#[derive(Clone)]
pub struct CollectorAddress {
    /// The address that takes them by POST.
    pub endpoint: String,
    /// Headers of every request; they may hold a token.
    pub headers: Vec<(String, String)>,
    /// For one request.
    pub timeout: Duration,
}

/// Without the address and the values of the headers, which may be tokens.
impl fmt::Debug for CollectorAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("CollectorAddress").field("headers", &names).finish_non_exhaustive()
    }
}

/// A client of one collector.
#[derive(Debug)]
pub struct Collector {
    http: reqwest::Client,
    endpoint: String,
    headers: HeaderMap,
}

/// Why spans did not reach the collector.
#[derive(Debug)]
pub enum Loss {
    /// No answer came.
    Unreachable(String),
    /// It does not want them.
    Refused(String),
}

impl Loss {
    /// Its name among the metric's labels.
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Refused(_) => "refused",
        }
    }
}

impl Collector {
    /// A client; nothing is sent yet.
    pub fn new(address: &CollectorAddress) -> Result<Self, String> {
        let http =
            http_client(address.timeout).map_err(|error| format!("set up the HTTP client of traces: {error}"))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &address.headers {
            let header = (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str()));
            let (Ok(name), Ok(mut value)) = header else {
                return Err("OTEL_EXPORTER_OTLP_HEADERS: a name or a value cannot stand in a header".to_owned());
            };
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(Self { http, endpoint: address.endpoint.clone(), headers })
    }

    /// Sends bytes, and gives the answer's. One that is too long, or breaks off, is as good as an empty one: what was
    /// sent is there.
    pub async fn post(&self, body: Vec<u8>) -> Result<Vec<u8>, Loss> {
        let request = self.http.post(&self.endpoint).headers(self.headers.clone());
        let request = request.header(reqwest::header::CONTENT_TYPE, "application/x-protobuf").body(body);
        let mut answer = request.send().await.map_err(|error| Loss::Unreachable(in_words(error)))?;
        let status = answer.status();
        if !status.is_success() {
            return Err(Loss::Refused(status.to_string()));
        }
        let mut bytes = Vec::new();
        while let Ok(Some(chunk)) = answer.chunk().await {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > ANSWER_BYTES_MAX {
                return Ok(Vec::new());
            }
        }
        Ok(bytes)
    }
}

/// What went wrong, to its cause, without the address.
fn in_words(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}
