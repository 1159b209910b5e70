//! A worker with everything around it, from an effective configuration: what `run` runs and `demo` embeds.
//!
//! **Owns** the ports, the worker and the ops endpoint of one process.
//! **Not here**: the command line, signals.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actors::ports::aws;
use actors::ports::chance::Chance;
use actors::ports::clock::Clock;
use actors::ports::leases::LeaseTable;
use actors::ports::objects::Objects;
use actors::ports::stream::Stream;
use actors::ports::work::Work;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{error, info};

use crate::cli::CliError;
use crate::config::Effective;
use crate::ops::{self, OpsState};
use crate::worker::{Directory, Worker, WorkerConfig, WorkerPorts};

/// A running worker and its ops endpoint.
#[derive(Debug)]
pub struct Running {
    worker: Worker,
    objects: Objects,
    ops_addr: SocketAddr,
    ops_stop: watch::Sender<bool>,
    ops: JoinHandle<()>,
}

/// The ops endpoint answers its last requests within this time.
const OPS_STOP_MAX: Duration = Duration::from_secs(2);

impl Running {
    /// Starts everything, or says what is missing.
    pub async fn start(effective: &Effective) -> Result<Self, CliError> {
        let config = &effective.config;
        // The port first: nothing else has been touched when it is taken.
        let listener = TcpListener::bind(config.ops_bind).await.map_err(|e| {
            CliError::environment(format!(
                "ops.bind {}: {e}. Choose another port, or 0 for a free one",
                config.ops_bind
            ))
        })?;
        let ops_addr = listener.local_addr().map_err(|e| CliError::internal(e.to_string()))?;
        let metrics = ops::install_metrics().map_err(CliError::internal)?;
        let sdk = aws::load(&config.aws).await;
        let objects = Objects::new(&sdk, &config.bucket_name);
        let faults = config.faults.clone();
        let ports = WorkerPorts {
            stream: Stream::new(&sdk, &config.stream_name).with(faults.clone()),
            objects: objects.clone().with(faults.clone()),
            leases: LeaseTable::new(&sdk, &config.leases_table).with(Chance::system(), faults),
            transports: config.transports(&sdk).map_err(CliError::configuration)?,
            clock: Clock::system(),
            chance: Chance::system(),
            work: Work::Pool,
            faults: config.faults.clone(),
        };
        let address = config.ops_address.clone().unwrap_or_else(|| format!("http://{ops_addr}"));
        let settings = WorkerConfig { address, ..config.worker() };
        let worker = Worker::start(settings, ports).await.map_err(|e| CliError::environment(e.to_string()))?;
        let state = OpsState {
            tree: worker.tree().clone(),
            worker_id: config.worker().worker_id,
            started: Instant::now(),
            readiness: worker.readiness(),
            sensors: Arc::new(Directory::new(worker.owned().clone())),
            sensor_id: config.schema().sensor_id.clone(),
            metrics: metrics.with(worker.scraped()),
            config: config.ops.clone(),
        };
        let (ops_stop, stopped) = watch::channel(false);
        let ops = tokio::spawn(async move {
            if let Err(error) = ops::serve(listener, state, stopped).await {
                error!(%error, "ops endpoint ended");
            }
        });
        info!(%ops_addr, worker_id = config.worker().worker_id, "worker started");
        Ok(Self { worker, objects, ops_addr, ops_stop, ops })
    }

    /// The worker.
    pub fn worker(&self) -> &Worker {
        &self.worker
    }

    /// The bucket.
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// Where the ops endpoint listens.
    pub fn ops_addr(&self) -> SocketAddr {
        self.ops_addr
    }

    /// Waits until the worker ends by itself, which is always a failure.
    pub async fn ended(&mut self) -> Result<(), CliError> {
        match self.worker.ended().await {
            Ok(()) => Ok(()),
            Err(error) => Err(CliError::internal(error.to_string())),
        }
    }

    /// Reads no more, commits what was read, releases the leases, closes the ops endpoint. Returns the paths of what
    /// did not finish in time.
    pub async fn drain(&mut self, within: Duration) -> Result<Vec<String>, CliError> {
        let late = self.worker.drain(within).await.map_err(|e| CliError::internal(e.to_string()));
        self.ops_stop.send_replace(true);
        if tokio::time::timeout(OPS_STOP_MAX, &mut self.ops).await.is_err() {
            self.ops.abort();
        }
        late
    }
}

/// `mangrove run`: a worker until it is told to stop, or fails.
pub async fn run(effective: Effective, mut stop: watch::Receiver<bool>) -> Result<(), CliError> {
    let mut running = Running::start(&effective).await?;
    eprintln!("ops endpoint: http://{}", running.ops_addr());
    tokio::select! {
        ended = running.ended() => return ended,
        _ = stop.wait_for(|stop| *stop) => {}
    }
    let within = effective.config.drain_timeout;
    info!(?within, "draining");
    let late = running.drain(within).await?;
    if !late.is_empty() {
        // No loss: what is not committed is read again by the next owner. But the next owner has to wait for it.
        return Err(CliError::internal(format!("not drained within {within:?}: {}", late.join(", "))));
    }
    info!("drained");
    Ok(())
}
