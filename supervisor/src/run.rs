//! A worker with everything around it, from an effective configuration: what `run` runs and `demo` embeds.
//!
//! **Owns** the ports, the worker and the ops endpoint of one process.
//! **Not here**: the command line, signals.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actors::loader::LoaderConfig;
use actors::loading::{Loading, LoadingPorts};
use actors::ports::aws;
use actors::ports::chance::Chance;
use actors::ports::clock::Clock;
use actors::ports::leases::LeaseTable;
use actors::ports::objects::Objects;
use actors::ports::stream::Stream;
use actors::ports::warehouse::{SdkConfig, Warehouse};
use actors::ports::work::Work;
use actors::traces::Traces;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::config::{AdminConfig, Config, Effective};
use crate::exit::CliError;
use crate::ops::admin::Admin;
use crate::ops::{self, Listening, OpsState};
use crate::worker::{Directory, Worker, WorkerConfig, WorkerError, WorkerPorts};

/// A worker, its ops endpoint and, if configured, its admin endpoint.
#[derive(Debug)]
pub struct Running {
    worker_id: String,
    worker: Worker,
    objects: Objects,
    loading: Option<Loading>,
    ops_addr: SocketAddr,
    admin_addr: Option<SocketAddr>,
    ops_stop: watch::Sender<bool>,
    endpoints: Option<JoinHandle<()>>,
    /// Sends traces, if any are made: what stops it, and itself.
    collector: Option<(watch::Sender<bool>, JoinHandle<()>)>,
}

/// The ops endpoint answers its last requests within this time.
const OPS_STOP_MAX: Duration = Duration::from_secs(2);

impl Running {
    /// Opens everything, and begins.
    pub async fn start(effective: &Effective) -> Result<Self, CliError> {
        let mut running = Self::open(effective).await?;
        running.begin().await?;
        Ok(running)
    }

    /// Waits for what the worker needs, and begins to work; fails for what will not heal by itself.
    pub async fn begin(&mut self) -> Result<(), CliError> {
        self.worker.begin().await.map_err(|error| match error {
            // The same call will fail again.
            WorkerError::Home(_) => CliError::configuration(error),
            _ => CliError::environment(error),
        })?;
        info!(ops_addr = %self.ops_addr, worker_id = self.worker_id, "worker started");
        Ok(())
    }

    /// Puts everything together, and serves the endpoints: a worker that waits for its services says so there.
    pub async fn open(effective: &Effective) -> Result<Self, CliError> {
        let config = &effective.config;
        // The ports first: nothing else has been touched when one is taken.
        let (listener, ops_addr) = listen("ops.bind", config.ops_bind).await?;
        let admin = match &config.admin {
            Some(admin) => Some((listen("admin.bind", admin.bind).await?, admin)),
            None => None,
        };
        config.warnings.iter().for_each(|warning| warn!("{warning}"));
        let metrics = ops::install_metrics().map_err(CliError::internal)?;
        let sdk = aws::load(&config.aws).await;
        let objects = config.objects(&sdk);
        let faults = config.faults.clone();
        let (traces, collector) = trace(config)?;
        let ports = WorkerPorts {
            stream: Stream::new(&sdk, &config.stream_name).at(config.stream_arn.clone()).with(faults.clone()),
            objects: objects.clone().with(faults.clone()),
            leases: LeaseTable::new(&sdk, &config.leases_table).with(Chance::system(), faults),
            transports: config.transports(&sdk).map_err(CliError::configuration)?,
            loading: loading(config, &sdk)?,
            clock: Clock::system(),
            chance: Chance::system(),
            work: Work::Pool,
            faults: config.faults.clone(),
            traces,
        };
        let loading = ports.loading.as_ref().map(|(loading, _)| loading.clone());
        let settings = WorkerConfig { address: config.advertised(ops_addr), ..config.worker() };
        let worker_id = settings.worker_id.clone();
        let worker = Worker::new(settings, ports);
        let state = Arc::new(OpsState {
            tree: worker.tree().clone(),
            worker_id: worker_id.clone(),
            started: Instant::now(),
            pulse: worker.pulse().clone(),
            readiness: worker.readiness(),
            sensors: Arc::new(Directory::new(worker.owned().clone())),
            sensor_id: config.schema().sensor_id.clone(),
            status: worker.status(),
            effective: effective.report.to_json(),
            memory: ops::Memory::default(),
            metrics: metrics.with(worker.scraped()),
            config: config.ops.clone(),
        });
        let (ops_stop, stopped) = watch::channel(false);
        let (admin, admin_addr) = match admin {
            Some(((listener, addr), AdminConfig { token, .. })) => {
                let admin = Admin { ops: state.clone(), token: token.clone(), controls: worker.controls() };
                (Some((listener, admin)), Some(addr))
            }
            None => (None, None),
        };
        let listening = Listening { ops: (listener, state), admin };
        let endpoints = ops::serve_apart(listening, stopped)
            .map_err(|error| CliError::environment(format!("start the ops endpoint's thread: {error}")))?;
        Ok(Self {
            worker_id,
            worker,
            objects,
            loading,
            ops_addr,
            admin_addr,
            ops_stop,
            endpoints: Some(endpoints),
            collector,
        })
    }

    /// The worker.
    pub fn worker(&self) -> &Worker {
        &self.worker
    }

    /// What loads the warehouse; none for a lake without one.
    pub fn loading(&self) -> Option<&Loading> {
        self.loading.as_ref()
    }

    /// The bucket.
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// Where the ops endpoint listens.
    pub fn ops_addr(&self) -> SocketAddr {
        self.ops_addr
    }

    /// Where the admin endpoint listens, if it does.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_addr
    }

    /// Says on stderr where the worker can be looked at.
    pub fn announce(&self, hint: &str) {
        eprintln!("ops endpoint: http://{}{hint}", self.ops_addr);
        if let Some(addr) = self.admin_addr {
            eprintln!("admin endpoint: http://{addr}");
        }
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
        if let Some((stop, sending)) = self.collector.take() {
            // It keeps to `traces.flush_timeout` itself, and counts what it could not send.
            stop.send_replace(true);
            if let Err(error) = sending.await {
                error!(%error, "sending traces ended");
            }
        }
        self.ops_stop.send_replace(true);
        if let Some(mut endpoints) = self.endpoints.take()
            && tokio::time::timeout(OPS_STOP_MAX, &mut endpoints).await.is_err()
        {
            endpoints.abort();
        }
        late
    }
}

/// Begins to send traces, if any are wanted.
fn trace(config: &Config) -> Result<(Traces, Option<(watch::Sender<bool>, JoinHandle<()>)>), CliError> {
    let Some(settings) = &config.traces else { return Ok((Traces::off(), None)) };
    let (ended, exporter) = actors::traces::open(settings.export.clone()).map_err(CliError::configuration)?;
    let traces = Traces::new(settings.traces.clone(), Clock::system(), Chance::system(), ended);
    let (stop, stopped) = watch::channel(false);
    Ok((traces, Some((stop, tokio::spawn(exporter.run(stopped))))))
}

async fn listen(key: &str, bind: SocketAddr) -> Result<(TcpListener, SocketAddr), CliError> {
    let listener = ops::listen(bind).map_err(|error| {
        CliError::environment(format!("{key} {bind}: {error}. Choose another port, or 0 for a free one"))
    })?;
    let addr = listener.local_addr().map_err(|error| CliError::internal(error.to_string()))?;
    Ok((listener, addr))
}

/// What loads the warehouse, and when; none for a lake without one.
pub fn loading(config: &Config, sdk: &SdkConfig) -> Result<Option<(Loading, LoaderConfig)>, CliError> {
    let Some(warehouse) = &config.warehouse else { return Ok(None) };
    let ports = LoadingPorts {
        objects: config.objects(sdk).with(config.faults.clone()),
        warehouse: Warehouse::new(sdk, warehouse.target.clone(), warehouse.statement_timeout),
        clock: Clock::system(),
        faults: config.faults.clone(),
        figures: Arc::default(),
    };
    let schema = Arc::new(config.schema().clone());
    let loading = Loading::new(warehouse.loading.clone(), &config.stream_name, schema, ports);
    let loading = loading.map_err(|error| CliError::configuration(format!("the tables of the warehouse: {error}")))?;
    Ok(Some((loading, warehouse.loader.clone())))
}

/// `mangrove run`: a worker until it is told to stop, or fails.
pub async fn run(effective: Effective, mut stop: watch::Receiver<bool>) -> Result<(), CliError> {
    let mut running = Running::open(&effective).await?;
    running.announce("");
    let mut asked = running.worker().drain_asked();
    let begun = tokio::select! {
        begun = running.begin() => Some(begun),
        _ = stop.wait_for(|stop| *stop) => None,
        _ = asked.wait_for(|asked| *asked) => None,
    };
    match begun {
        Some(begun) => begun?,
        None => {
            info!("told to end before it could begin");
            running.drain(effective.config.drain_timeout).await?;
            return Ok(());
        }
    }
    tokio::select! {
        ended = running.ended() => return ended,
        _ = stop.wait_for(|stop| *stop) => {}
        _ = asked.wait_for(|asked| *asked) => {}
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
