//! The cloud as the workers' own ports see it, under a paused clock.

mod faults;
mod leases;
mod objects;
mod same_seed;
mod stream;
mod topics;
mod warehouse;

use aws_config::SdkConfig;
use tokio::time::Instant;

use super::*;

/// The beginning of every simulated run.
const START_MS: i64 = 1_700_000_000_123;
const ME: ClientId = ClientId(1);
const OTHER: ClientId = ClientId(2);

/// A cloud, and the time in it.
struct World {
    cloud: Cloud,
    now: Now,
}

impl World {
    fn new(seed: u64) -> Self {
        let start = Instant::now();
        let now = Arc::new(move || START_MS + i64::try_from(start.elapsed().as_millis()).unwrap());
        Self { cloud: Cloud::new(seed), now }
    }

    fn sdk(&self, client: ClientId) -> SdkConfig {
        self.cloud.client(client, self.now.clone())
    }

    fn now_ms(&self) -> i64 {
        (self.now)()
    }
}
