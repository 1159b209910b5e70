//! The weather of a run: how likely each fault is, which single requests meet one for sure, and a generator per client.
//!
//! **Owns** the plan, the injected single faults, and one generator per client.
//! **Promises** the fates of a client depend on the seed and on its own requests only. Every request draws the same
//! number of dice, so that a changed probability moves nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{Asked, Fault};
use crate::{ClientId, Service};

/// The probabilities of one service's faults, each between 0 and 1, and its times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ServiceFaults {
    /// The chance of [`Fault::Throttle`].
    pub throttle: f64,
    /// The chance of [`Fault::Error`] and [`Fault::Reset`], each half of it.
    pub fail: f64,
    /// The chance of [`Fault::LoseReply`].
    pub lose_reply: f64,
    /// The chance of [`Fault::HangBefore`].
    pub hang_before: f64,
    /// The chance of [`Fault::HangAfter`].
    pub hang_after: f64,
    /// The chance of [`Fault::Late`].
    pub delay: f64,
    /// How long a delayed request takes, from and to.
    pub delay_ms: (u64, u64),
    /// How long every request takes each way, from and to.
    pub latency_ms: (u64, u64),
}

/// The weather: how likely what is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weather {
    /// The weather of the stream.
    pub kinesis: ServiceFaults,
    /// The weather of the lease table.
    pub dynamodb: ServiceFaults,
    /// The weather of the objects.
    pub s3: ServiceFaults,
    /// The weather of the topics.
    pub sns: ServiceFaults,
    /// The weather of the warehouse.
    pub redshift: ServiceFaults,
    /// The chance of [`Fault::Abort`], for transactions that no other fault meets.
    pub abort: f64,
    /// The chance of [`Fault::Conflict`], for conditional PUTs that no other fault meets.
    pub conflict: f64,
    /// The chance of [`Fault::EmptyPage`], for GetRecords that no other fault meets.
    pub empty_page: f64,
}

impl ServiceFaults {
    /// No faults.
    pub fn calm() -> Self {
        Self::each(0.0)
    }

    /// Every fault with this probability.
    pub fn each(p: f64) -> Self {
        let [throttle, fail, lose_reply, hang_before, hang_after, delay] = [p; 6];
        let (delay_ms, latency_ms) = ((1_000, 60_000), (1, 10));
        Self { throttle, fail, lose_reply, hang_before, hang_after, delay, delay_ms, latency_ms }
    }

    fn thresholds(&self) -> [(Fault, f64); 6] {
        [
            (Fault::Throttle, self.throttle),
            (Fault::Error, self.fail),
            (Fault::LoseReply, self.lose_reply),
            (Fault::HangBefore, self.hang_before),
            (Fault::HangAfter, self.hang_after),
            (Fault::Late, self.delay),
        ]
    }
}

impl Weather {
    /// Nothing but what every good day has: latency and some empty pages.
    pub fn calm() -> Self {
        let calm = ServiceFaults::calm();
        let (abort, conflict, empty_page) = (0.0, 0.0, 0.05);
        Self { kinesis: calm, dynamodb: calm, s3: calm, sns: calm, redshift: calm, abort, conflict, empty_page }
    }

    /// Every fault of every service with this probability.
    pub fn each(p: f64) -> Self {
        let each = ServiceFaults::each(p);
        let (kinesis, dynamodb, s3, sns, redshift) = (each, each, each, each, each);
        Self { kinesis, dynamodb, s3, sns, redshift, abort: p, conflict: p, empty_page: 0.05 }
    }

    fn of(&self, service: Service) -> &ServiceFaults {
        match service {
            Service::Kinesis => &self.kinesis,
            Service::DynamoDb => &self.dynamodb,
            Service::S3 => &self.s3,
            Service::Sns => &self.sns,
            Service::Redshift => &self.redshift,
        }
    }
}

/// Picks one request: the n-th that fits.
#[derive(Clone, Debug)]
pub struct OpMatcher {
    service: Service,
    operation: String,
    contains: String,
    besides: Option<&'static str>,
    client: Option<ClientId>,
    left: u32,
}

impl OpMatcher {
    /// The first request of this operation, for example `UpdateItem`.
    pub fn new(service: Service, operation: &str) -> Self {
        Self { service, operation: operation.to_owned(), contains: String::new(), besides: None, client: None, left: 1 }
    }

    /// Only requests whose key or subject contains this.
    pub fn containing(mut self, text: &str) -> Self {
        self.contains = text.to_owned();
        self
    }

    /// Only requests whose key does not begin so.
    pub fn besides(mut self, prefix: &'static str) -> Self {
        self.besides = Some(prefix);
        self
    }

    /// Only requests of this client.
    pub fn of(mut self, client: ClientId) -> Self {
        self.client = Some(client);
        self
    }

    /// The n-th that fits, 1 being the first.
    pub fn nth(mut self, n: u32) -> Self {
        assert!(n > 0, "the first request is number 1");
        self.left = n;
        self
    }

    fn fits(&self, client: ClientId, asked: &Asked<'_>) -> bool {
        let named = self.service == asked.service && self.operation == asked.operation;
        let is_other = self.besides.is_some_and(|prefix| asked.key.starts_with(prefix));
        let is_about = self.contains.is_empty() || asked.mentions(&self.contains);
        named && !is_other && is_about && self.client.is_none_or(|only| only == client)
    }
}

/// What one request will meet.
#[derive(Clone, Copy, Debug)]
pub struct Fate {
    /// The fault, if any.
    pub fault: Option<Fault>,
    /// How long the request travels.
    pub there: Duration,
    /// How long the answer travels.
    pub back: Duration,
    /// How much later it is applied if its fault is [`Fault::Late`].
    pub delay_ms: u64,
    /// For what has two forms: decides which.
    pub coin: bool,
}

/// The weather as it is, and who has met what of it.
pub struct WeatherState {
    seed: u64,
    plan: Weather,
    armed: Vec<(Fault, OpMatcher)>,
    generators: BTreeMap<ClientId, StdRng>,
}

impl WeatherState {
    /// Calm.
    pub fn new(seed: u64) -> Self {
        Self { seed, plan: Weather::calm(), armed: Vec::new(), generators: BTreeMap::new() }
    }

    /// From now on this is the weather.
    pub fn set(&mut self, plan: Weather) {
        for service in [plan.kinesis, plan.dynamodb, plan.s3, plan.sns, plan.redshift] {
            let sum: f64 = service.thresholds().iter().map(|(_, p)| p).sum();
            assert!(sum <= 1.0, "the probabilities of {service:?} add up to {sum}");
        }
        self.plan = plan;
    }

    /// The matching request meets this, whatever the weather.
    pub fn arm(&mut self, fault: Fault, matcher: OpMatcher) {
        self.armed.push((fault, matcher));
    }

    /// How many of these still wait for their request.
    pub fn armed(&self) -> usize {
        self.armed.len()
    }

    /// What this request of this client will meet.
    pub fn fate(&mut self, client: ClientId, asked: &Asked<'_>) -> Fate {
        let own_seed = self.seed ^ (u64::from(client.0) << 32).wrapping_add(0x9e37_79b9_7f4a_7c15);
        let dice = self.generators.entry(client).or_insert_with(|| StdRng::seed_from_u64(own_seed));
        let plan = self.plan.of(asked.service);
        let (roll, special): (f64, f64) = (dice.random(), dice.random());
        let mut way = || Duration::from_millis(dice.random_range(plan.latency_ms.0..=plan.latency_ms.1));
        let (there, back) = (way(), way());
        let delay_ms = dice.random_range(plan.delay_ms.0..=plan.delay_ms.1);
        let coin = dice.random();
        let planned = self.planned(asked, (roll, special), coin);
        let fault = self.injected(client, asked).or(planned);
        Fate { fault, there, back, delay_ms, coin }
    }

    fn planned(&self, asked: &Asked<'_>, (mut roll, special): (f64, f64), coin: bool) -> Option<Fault> {
        for (fault, p) in self.plan.of(asked.service).thresholds() {
            if roll < p {
                let half = fault == Fault::Error && !coin;
                return Some(if half { Fault::Reset } else { fault });
            }
            roll -= p;
        }
        match asked.operation {
            "BatchExecuteStatement" if special < self.plan.abort => Some(Fault::Abort),
            "PutObject" if special < self.plan.conflict => Some(Fault::Conflict),
            "GetRecords" if special < self.plan.empty_page => Some(Fault::EmptyPage),
            _ => None,
        }
    }

    fn injected(&mut self, client: ClientId, asked: &Asked<'_>) -> Option<Fault> {
        let mut found = None;
        self.armed.retain_mut(|(fault, matcher)| {
            if found.is_some() || !matcher.fits(client, asked) {
                return true;
            }
            matcher.left -= 1;
            if matcher.left == 0 {
                found = Some(*fault);
            }
            matcher.left > 0
        });
        found
    }
}
