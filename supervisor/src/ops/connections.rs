//! Accepts connections, and keeps their number within a limit.
//!
//! **Owns** the open sockets.
//! **Promises** at most `connections_max`; at the limit the socket that has been open for longest without a request
//! under way makes room, so that idle sockets, however many, cannot lock out a probe. Heads are bounded in bytes,
//! lines and time.
//! A listener of events counts as idle between them: under a flood it makes room, and comes again.
//! **Not here**: bodies. Only orders have one, and its size is limited where they are read.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use metrics::{counter, gauge};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tower::{ServiceExt, service_fn};
use tracing::warn;

use super::guard::{LocalIp, RemoteIp};
use super::{OpsConfig, OpsError};

const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
/// Out of file descriptors: a pause lets some be closed.
const PAUSE: Duration = Duration::from_millis(100);
/// A listener that fails this often in a row is broken.
const ACCEPT_FAILURES_MAX: u32 = 100;

pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: &OpsConfig,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), OpsError> {
    let mut down = pin!(async move {
        // An error means that nobody is left to shut us down: then nobody is left to serve for.
        let _ = shutdown.wait_for(|down| *down).await;
    });
    let slots = Arc::new(Slots::default());
    let mut tasks = JoinSet::new();
    let mut failures = 0;
    loop {
        tokio::select! {
            biased;
            () = &mut down => break,
            Some(_) = tasks.join_next() => (),
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => {
                    failures = 0;
                    open(stream, from.ip(), &router, limits, &slots, &mut tasks);
                }
                // The client went away before we looked.
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => (),
                Err(error) if failures >= ACCEPT_FAILURES_MAX => return Err(OpsError::Accept(error)),
                Err(error) => {
                    failures += 1;
                    if failures == 1 {
                        warn!(%error, "ops endpoint cannot accept");
                    }
                    sleep(PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    slots.close_idle();
    // What is still under way then is cut off with the set.
    let _ = timeout(limits.request_timeout, async { while tasks.join_next().await.is_some() {} }).await;
    Ok(())
}

fn open(
    stream: TcpStream,
    from: IpAddr,
    router: &Router,
    limits: &OpsConfig,
    slots: &Arc<Slots>,
    tasks: &mut JoinSet<()>,
) {
    // All slots answer requests right now: whoever comes may come again.
    if !slots.make_room(limits.connections_max) {
        return counter!("mangrove_ops_connections_refused_total").increment(1);
    }
    let Ok(local) = stream.local_addr() else { return };
    let under_way: Arc<AtomicUsize> = Arc::default();
    let (router, answering, read_timeout) = (router.clone(), under_way.clone(), limits.request_timeout);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(LocalIp(local.ip()));
        request.extensions_mut().insert(RemoteIp(from));
        let answering = Answering::begin(&answering);
        let answer = router.clone().oneshot(request);
        async move {
            let answer = answer.await;
            drop(answering);
            answer
        }
    });
    let connection = move |slot: Slot| async move {
        let _slot = slot;
        let mut builder = Builder::new(TokioExecutor::new()).http1_only();
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(read_timeout)
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_BYTES_MAX);
        // Broken connections are the client's business.
        let _ = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).await;
    };
    slots.fill(under_way, |slot| tasks.spawn(connection(slot)));
}

/// The open connections, oldest first.
#[derive(Debug, Default)]
struct Slots {
    open: Mutex<BTreeMap<u64, Open>>,
    opened: AtomicU64,
}

#[derive(Debug)]
struct Open {
    task: AbortHandle,
    under_way: Arc<AtomicUsize>,
}

impl Slots {
    fn fill(self: &Arc<Self>, under_way: Arc<AtomicUsize>, spawn: impl FnOnce(Slot) -> AbortHandle) {
        // Under the lock: a connection that ends at once must find its entry when it gives its slot back.
        let mut open = self.open();
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        let task = spawn(Slot { number, slots: self.clone() });
        open.insert(number, Open { task, under_way });
        gauge!("mangrove_ops_connections").set(open.len() as f64);
    }

    fn make_room(&self, connections_max: usize) -> bool {
        let mut open = self.open();
        if open.len() < connections_max {
            return true;
        }
        let idle = open.iter().find(|(_, open)| open.is_idle()).map(|(number, _)| *number);
        let Some(connection) = idle.and_then(|number| open.remove(&number)) else { return false };
        connection.task.abort();
        counter!("mangrove_ops_connections_evicted_total").increment(1);
        true
    }

    fn close_idle(&self) {
        for connection in self.open().values().filter(|connection| connection.is_idle()) {
            connection.task.abort();
        }
    }

    // Single insertions and removals: a panic elsewhere cannot leave it half changed.
    fn open(&self) -> MutexGuard<'_, BTreeMap<u64, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn is_idle(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) == 0
    }
}

/// A place among the open connections, given back however the connection ends.
#[derive(Debug)]
struct Slot {
    number: u64,
    slots: Arc<Slots>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = self.slots.open();
        open.remove(&self.number);
        gauge!("mangrove_ops_connections").set(open.len() as f64);
    }
}

/// A request is under way for as long as this lives.
#[derive(Debug)]
struct Answering(Arc<AtomicUsize>);

impl Answering {
    fn begin(under_way: &Arc<AtomicUsize>) -> Self {
        under_way.fetch_add(1, Ordering::Relaxed);
        Self(under_way.clone())
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
