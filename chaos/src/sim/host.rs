//! One simulated machine: a runtime of its own under a paused clock, and the worker in it.
//!
//! **Promises** nothing runs but within [`Host::tick`]; a host that is killed has no effect from that moment on.
//! **Not here**: what befalls it (`world.rs`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actors::loading::{Loading, LoadingPorts};
use actors::ports::chance::Chance;
use actors::ports::clock::Clock;
use actors::ports::faults::Faults;
use actors::ports::leases::LeaseTable;
use actors::ports::objects::Objects;
use actors::ports::stream::Stream;
use actors::ports::transports::Transport;
use actors::ports::warehouse::Warehouse;
use actors::ports::work::Work;
use actors::traces::Traces;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use supervisor::worker::{Worker, WorkerPorts};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use super::schedule::Schedule;
use super::settings::{self, BUCKET, TABLE};
use crate::cloud::{ClientId, Cloud};

const TOPIC: &str = "arn:aws:sns:us-east-1:000000000000:alerts";
/// Far beyond a limit of the product's: only what never ends takes longer.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// A machine that runs, or sleeps as by SIGSTOP.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) client: ClientId,
    runtime: Runtime,
    slot: Arc<Slot>,
    pub(super) faults: Faults,
    /// Wakes up at this time.
    pub(super) asleep_until_ms: Option<i64>,
    slept_since_ms: i64,
    /// When it last woke up.
    pub(super) woken_ms: Option<i64>,
}

/// What the tasks of the host leave for the simulation.
#[derive(Debug, Default)]
struct Slot {
    worker: Mutex<Option<Arc<Worker>>>,
    /// It died at a crash point.
    dead: AtomicBool,
    /// It ended by itself: it could not start, or has drained. The paths are of what did not drain in time.
    ended: Mutex<Option<Result<Vec<String>, String>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Host {
    /// Boots a machine and starts its worker on a stream. `skew_ms` is what its wall clock is wrong by.
    pub(super) fn boot(
        cloud: &Cloud,
        (worker_id, stream): (&str, &'static str),
        client: ClientId,
        seed: u64,
        (now_ms, skew_ms): (i64, i64),
        (plan, schedule): (&str, &Schedule),
    ) -> Self {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime without I/O needs nothing that could be missing");
        let slot = Arc::new(Slot::default());
        let (dead, gone) = (slot.clone(), cloud.clone());
        let on_abort = move || {
            dead.dead.store(true, Ordering::SeqCst);
            gone.cut_off(client);
        };
        let faults = Faults::simulated(plan, on_abort).expect("the schedule's plans can be read");
        let dice = Mutex::new(StdRng::seed_from_u64(seed));
        let chance = Chance::from_fn(move || lock(&dice).next_u64());
        let (cloud, worker_id, left) = (cloud.clone(), worker_id.to_owned(), slot.clone());
        let own_faults = faults.clone();
        let config = settings::worker(&worker_id, schedule);
        let start = async move {
            let booted = Instant::now();
            let elapsed_ms = move || booted.elapsed().as_millis() as i64;
            let sdk = cloud.client_with_timeout(client, Arc::new(move || now_ms + elapsed_ms()), ATTEMPT_TIMEOUT);
            let topic = Transport::Sns { topic_arn: TOPIC.to_owned(), client: aws_sdk_sns::Client::new(&sdk) };
            let objects = Objects::new(&sdk, BUCKET).with(faults.clone());
            let clock = Clock::from_fn(move || now_ms + skew_ms + elapsed_ms());
            let (target, timeout) = settings::warehouse();
            let loads = LoadingPorts {
                objects: objects.clone(),
                warehouse: Warehouse::new(&sdk, target, timeout).with(chance.clone()),
                clock: clock.clone(),
                faults: faults.clone(),
                figures: Arc::default(),
            };
            let loading = Loading::new(settings::loading(), stream, Arc::new(settings::schema()), loads);
            let loading = loading.expect("the simulation's names can be quoted");
            let ports = WorkerPorts {
                stream: Stream::new(&sdk, stream).with(faults.clone()),
                objects,
                leases: LeaseTable::new(&sdk, TABLE).with(chance.clone(), faults.clone()),
                loading: Some((loading, settings::loader())),
                transports: Arc::new([topic]),
                clock,
                chance,
                work: Work::Inline,
                faults,
                traces: Traces::off(),
            };
            match Worker::start(config, ports).await {
                Ok(worker) => *lock(&left.worker) = Some(Arc::new(worker)),
                Err(error) => *lock(&left.ended) = Some(Err(error.to_string())),
            }
        };
        runtime.spawn(start);
        Self {
            client,
            runtime,
            slot,
            faults: own_faults,
            asleep_until_ms: None,
            slept_since_ms: now_ms,
            woken_ms: None,
        }
    }

    /// Lets the machine run for this long.
    pub(super) fn tick(&self, step: Duration) {
        self.runtime.block_on(async { tokio::time::sleep(step).await });
    }

    /// As SIGSTOP: the clock goes on, nothing else does.
    pub(super) fn sleep(&mut self, now_ms: i64, until_ms: i64) {
        self.asleep_until_ms = Some(until_ms);
        self.slept_since_ms = now_ms;
    }

    /// As SIGCONT.
    pub(super) fn wake(&mut self, now_ms: i64) {
        self.asleep_until_ms = None;
        self.woken_ms = Some(now_ms);
        let slept = Duration::from_millis((now_ms - self.slept_since_ms).max(0) as u64);
        self.runtime.block_on(async { tokio::time::advance(slept).await });
    }

    /// The worker, once it has started.
    pub(super) fn worker(&self) -> Option<Arc<Worker>> {
        lock(&self.slot.worker).clone()
    }

    /// As SIGTERM; see [`Host::ended`].
    pub(super) fn drain(&self, within: Duration) {
        let Some(worker) = self.worker() else {
            // It is still starting: it has nothing to lose.
            *lock(&self.slot.ended) = Some(Ok(Vec::new()));
            return;
        };
        let left = self.slot.clone();
        self.runtime.spawn(async move {
            let drained = worker.drain(within).await.map_err(|error| error.to_string());
            *lock(&left.ended) = Some(drained);
        });
    }

    /// Whether it died at a crash point.
    pub(super) fn is_dead(&self) -> bool {
        self.slot.dead.load(Ordering::SeqCst)
    }

    /// How it ended by itself.
    pub(super) fn ended(&self) -> Option<Result<Vec<String>, String>> {
        lock(&self.slot.ended).clone()
    }
}
