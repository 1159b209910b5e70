//! The cloud on one loopback port: Kinesis, S3, DynamoDB, SNS and Redshift's Data API for unmodified AWS SDKs and the AWS CLI.
//!
//! Point a client at it with `AWS_ENDPOINT_URL=http://127.0.0.1:PORT` (S3 in path style) and any credentials.
//!
//! ```text
//! listener -> gateway -+-> faults    only with LocalOptions::faults: rules set at /_mangrove/faults
//!                      +-> kinesis   the engine's streams, with a journal for each
//!                      +-> stateful  the engine's tables (DynamoDB) and topics (SNS), saved on every change
//!                      +-> objects   S3 by s3s; an object is a plain file at <data_dir>/s3/<bucket>/<key>
//!                      +-> warehouse Redshift's Data API on DuckDB, in <data_dir>/warehouse.duckdb; opened when asked
//! ```
//!
//! **Owns** one listener, one data folder and everything stored in it.
//! **Promises** that what was acknowledged is there again after `kill -9` and a start on the same folder;
//! that an object is visible whole, with its metadata, or not at all; that `If-None-Match: *` has one winner.
//! **Fails** at start with a [`LocalError`] that names the way out; a bad request gets its service's error and harms
//! no other.
//! **Not here**: authentication (loopback only), fsync (a power cut may lose the last writes), and limits
//! of the real services except where [`LocalOptions::enforce_limits`] asks for them.

mod clock;
mod error;
mod faults;
mod folder;
mod gateway;
mod kinesis;
mod listener;
mod objects;
mod reply;
mod stateful;
#[cfg(feature = "warehouse")]
mod warehouse;
#[cfg(not(feature = "warehouse"))]
#[path = "warehouse/absent.rs"]
mod warehouse;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::faults::Faults;
use crate::folder::Folder;
use crate::gateway::{Gateway, Services};
use crate::kinesis::Kinesis;
use crate::stateful::Stateful;
use crate::warehouse::Warehouse;

pub use crate::error::LocalError;

/// The account that everything belongs to.
pub(crate) const ACCOUNT: &str = "123456789012";

/// What to run.
#[derive(Debug, Clone)]
pub struct LocalOptions {
    /// A loopback address; port 0 takes a free port.
    pub bind: SocketAddr,
    /// Where everything is stored. Created if missing; one process at a time.
    pub data_dir: PathBuf,
    /// Throttle each shard of Kinesis like the real service: 1 MiB and 1,000 records written, five reads and 2 MiB read a
    /// second.
    pub enforce_limits: bool,
    /// Let clients set rules for faults at `/_mangrove/faults`; until they do, nothing fails.
    pub faults: bool,
    /// Memory of the embedded warehouse, MiB. What does not fit is spilled into the data folder.
    pub warehouse_memory_mib: usize,
    /// Threads of the embedded warehouse.
    pub warehouse_threads: usize,
}

impl LocalOptions {
    /// No limits enforced, no faults, and a warehouse that fits beside the rest on a laptop.
    pub fn new(bind: SocketAddr, data_dir: PathBuf) -> LocalOptions {
        LocalOptions {
            bind,
            data_dir,
            enforce_limits: false,
            faults: false,
            warehouse_memory_mib: 160,
            warehouse_threads: 2,
        }
    }
}

/// A running local cloud. Dropping it ends it at once; [`stop`](LocalCloud::stop) lets requests finish.
pub struct LocalCloud {
    addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<()>>,
    warehouse: Arc<Warehouse>,
    // Running requests hold it too, so that nobody else opens the folder before the last of them is done.
    _folder: Arc<Folder>,
}

impl LocalCloud {
    /// Opens the data folder, restores what it holds and starts to listen.
    pub async fn start(options: LocalOptions) -> Result<LocalCloud, LocalError> {
        if !options.bind.ip().is_loopback() {
            return Err(LocalError::NotLoopback { addr: options.bind });
        }
        // The port first: it is the commoner mistake, and it is told without touching the folder.
        let listener = TcpListener::bind(options.bind).await.map_err(|source| match source.kind() {
            std::io::ErrorKind::AddrInUse => LocalError::PortInUse { addr: options.bind },
            _ => LocalError::Bind { addr: options.bind, source },
        })?;
        let addr = listener.local_addr().map_err(|source| LocalError::Bind { addr: options.bind, source })?;

        let folder = Arc::new(Folder::open(&options.data_dir)?);
        let contents = folder.contents();
        let warehouse = Arc::new(Warehouse::new(&options, folder.contents()));
        let services = Services {
            kinesis: Kinesis::open(folder.sub("kinesis")?, options.enforce_limits, folder.contents())?,
            tables: Stateful::open(folder.sub("dynamodb")?, &contents)?,
            topics: Stateful::open(folder.sub("sns")?, &contents)?,
            objects: objects::open(&folder)?,
            warehouse: Arc::clone(&warehouse),
        };
        let gateway = Gateway::new(services, options.faults.then(Faults::default), &folder);

        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(listener::run(listener, Arc::new(gateway), stopped));
        tracing::info!(%addr, data_dir = %options.data_dir.display(), "local cloud listening");
        Ok(LocalCloud { addr, stop: Some(stop), serving: Some(serving), warehouse, _folder: folder })
    }

    /// Where it listens; the real port when port 0 was asked for.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What to give to a client as its endpoint.
    pub fn endpoint_url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Stops accepting, lets running requests finish within a bound and gives the folder back.
    ///
    /// Every change is in the data folder before it is acknowledged; only the warehouse has a log to write into its file.
    pub async fn stop(mut self) -> Result<(), LocalError> {
        if let Some(stop) = self.stop.take() {
            // A listener that is gone already has nothing left to stop.
            let _ = stop.send(());
        }
        if let Some(serving) = self.serving.take()
            && let Err(error) = serving.await
        {
            tracing::error!(%error, "the listener ended abnormally");
        }
        let warehouse = Arc::clone(&self.warehouse);
        if let Err(error) = tokio::task::spawn_blocking(move || warehouse.close()).await {
            tracing::error!(%error, "the warehouse did not close");
        }
        Ok(())
    }
}

impl Drop for LocalCloud {
    fn drop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
        }
        // Whoever opens the folder next must be the only one.
        self.warehouse.close();
    }
}
