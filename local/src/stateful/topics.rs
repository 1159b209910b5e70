//! SNS: the engine's topics, a set for each region.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, PoisonError};

use axum::body::Body;
use axum::http::Response;
use axum::http::request::Parts;
use bytes::Bytes;
use local_engine::topics::{self, Topics};
use local_engine::{Place, Service};

use super::Saved;
use crate::clock::now_ms;
use crate::{ACCOUNT, reply};

/// The topics of each region.
#[derive(Default)]
pub(crate) struct Regions(Mutex<HashMap<String, Topics>>);

impl Regions {
    fn with<T>(&self, region: &str, ask: impl FnOnce(&mut Topics) -> T) -> T {
        // A panic in a request leaves at worst what it had changed so far.
        let mut regions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ask(regions.entry(region.to_owned()).or_default())
    }
}

#[async_trait::async_trait]
impl Saved for Regions {
    const SCOPE: &'static str = "sns";

    fn only_reads(_parts: &Parts, body: &[u8]) -> bool {
        topics::only_reads(body)
    }

    async fn answer(&self, region: &str, _parts: &Parts, body: Bytes) -> Response<Body> {
        let place = Place { region, account: ACCOUNT };
        let answer = self.with(region, |topics| topics.serve(place, now_ms(), &topics::form(&body)));
        reply::of_engine(Service::Sns, answer)
    }

    async fn save(&self, region: &str) -> io::Result<Vec<u8>> {
        self.with(region, |topics| serde_json::to_vec(topics)).map_err(io::Error::other)
    }

    async fn load(&self, region: &str, state: &[u8]) -> Result<(), String> {
        let read = serde_json::from_slice(state).map_err(|error| error.to_string())?;
        self.with(region, |topics| *topics = read);
        Ok(())
    }
}
