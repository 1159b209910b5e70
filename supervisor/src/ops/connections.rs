//! Accepts connections, and keeps their number and their pace within limits.
//!
//! **Owns** the open sockets.
//!
//! **Promises**
//! - At most `connections_max`, and [`RESERVE`] more for probes: whoever comes when all others are busy is asked what it
//!   wants, and answered if it asks for health.
//! - At the limit the socket that has been open for longest without a request under way makes room, but none that came
//!   or was answered within the last [`GRACE`]: its request may be on its way. Who finds no room waits for one.
//! - Connections are accepted at a pace ([`ACCEPT_BURST`], then one every [`ACCEPT_EVERY`]): who comes anew for each
//!   request waits in a row with all others, and costs no more.
//! - A connection that asks without a pause gets [`BURST`] answers and then one every [`ANSWER_EVERY`], so that what all of them
//!   together cost is bounded, however many requests are sent at once.
//! - Heads are bounded in bytes, lines and time. What cannot be accepted is tried again, for ever.
//!
//! A listener of events counts as idle between them: under a flood it makes room, and comes again.
//!
//! **Not here**: bodies. Only orders have one, and its size is limited where they are read.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
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
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tower::{ServiceExt, service_fn};
use tracing::warn;

use super::OpsConfig;
use super::guard::{LocalIp, RemoteIp, Reserved};
use super::rate_limit::RateLimiter;

const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
/// Connections above the limit, for one request each, and only about health.
const RESERVE: usize = 16;
/// A request that is on its way arrives within this time.
const GRACE: Duration = Duration::from_millis(100);
/// How often somebody who waits for room looks for it, if nobody leaves.
const LOOK: Duration = Duration::from_millis(20);
/// Answers that one connection gets at once, and the time between two after that.
const BURST: u32 = 100;
const ANSWER_EVERY: Duration = Duration::from_millis(20);
/// Connections that wait to be accepted: two seconds' worth.
const ROW_MAX: u32 = 1_024;
/// Connections that are accepted at once, and the time between two after that.
const ACCEPT_BURST: u32 = 64;
const ACCEPT_EVERY: Duration = Duration::from_millis(2);
/// Out of file descriptors: a pause lets some be closed.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Listens with room for a row: who finds none in it would be told to come again by the system, after seconds.
pub fn listen(bind: SocketAddr) -> io::Result<TcpListener> {
    let socket = if bind.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // One that has just ended may still hold the port for its last connections.
    socket.set_reuseaddr(cfg!(unix))?;
    socket.bind(bind)?;
    socket.listen(ROW_MAX)
}

/// Serves until `shutdown` is true or its sender is gone; nothing else ends it.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: &OpsConfig,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut down = pin!(async move {
        // An error means that nobody is left to shut us down: then nobody is left to serve for.
        let _ = shutdown.wait_for(|down| *down).await;
    });
    let slots = Arc::new(Slots::new(limits.connections_max));
    let mut tasks = JoinSet::new();
    let mut waiting: Option<(TcpStream, IpAddr)> = None;
    let mut pause = PAUSE;
    let limiter = RateLimiter::new(ACCEPT_BURST, ACCEPT_EVERY);
    let mut turn = limiter.turn();
    loop {
        let accepted = async {
            sleep_until(turn).await;
            listener.accept().await
        };
        tokio::select! {
            biased;
            () = &mut down => break,
            Some(_) = tasks.join_next() => (),
            () = sleep(LOOK), if waiting.is_some() => (),
            accepted = accepted, if waiting.is_none() => match accepted {
                Ok((stream, from)) => {
                    (pause, turn) = (PAUSE, limiter.turn());
                    waiting = Some((stream, from.ip()));
                }
                // The client went away before we looked.
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => (),
                Err(error) => {
                    warn!(%error, "ops endpoint cannot accept");
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            },
        }
        if let Some((stream, from)) = waiting.take() {
            match slots.make_room() {
                Some(place) => open(Caller { stream, from, place }, &router, limits, &slots, &mut tasks),
                None => waiting = Some((stream, from)),
            }
            // Who was let in reads its request before the next one is.
            tokio::task::yield_now().await;
        }
    }
    drop(listener);
    slots.close_idle();
    // What is still under way then is cut off with the set.
    let _ = timeout(limits.request_timeout, async { while tasks.join_next().await.is_some() {} }).await;
}

/// A caller that was accepted, and where it has room.
struct Caller {
    stream: TcpStream,
    from: IpAddr,
    place: ConnectionKind,
}

fn open(caller: Caller, router: &Router, limits: &OpsConfig, slots: &Arc<Slots>, tasks: &mut JoinSet<()>) {
    let Caller { stream, from, place } = caller;
    let Ok(local) = stream.local_addr() else { return };
    let reserved = place == ConnectionKind::Reserve;
    let activity = Arc::new(Activity::new(slots.began));
    let (router, answering, read_timeout) = (router.clone(), activity.clone(), limits.request_timeout);
    let limiter = Arc::new(RateLimiter::new(BURST, ANSWER_EVERY));
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(LocalIp(local.ip()));
        request.extensions_mut().insert(RemoteIp(from));
        if reserved {
            request.extensions_mut().insert(Reserved);
        }
        let (router, answering, limiter) = (router.clone(), answering.clone(), limiter.clone());
        async move {
            // Who waits for its turn is idle, and makes room for others.
            sleep_until(limiter.turn()).await;
            let answering = Answering::begin(&answering);
            let answer = router.oneshot(request).await;
            drop(answering);
            answer
        }
    });
    let connection = move |slot: ConnectionSlot| async move {
        let _slot = slot;
        let mut builder = Builder::new(TokioExecutor::new()).http1_only();
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(read_timeout)
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .keep_alive(!reserved);
        // Broken connections are the client's business.
        let _ = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).await;
    };
    slots.fill(place, activity, |slot| tasks.spawn(connection(slot)));
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ConnectionKind {
    Ordinary,
    /// Only for probes.
    Reserve,
}

/// The open connections, oldest first.
#[derive(Debug)]
struct Slots {
    began: Instant,
    connections_max: usize,
    open: Mutex<BTreeMap<u64, Open>>,
    opened: AtomicU64,
}

#[derive(Debug)]
struct Open {
    task: AbortHandle,
    place: ConnectionKind,
    activity: Arc<Activity>,
}

impl Slots {
    fn new(connections_max: usize) -> Self {
        Self { began: Instant::now(), connections_max, open: Mutex::default(), opened: AtomicU64::default() }
    }

    fn fill(
        self: &Arc<Self>,
        place: ConnectionKind,
        activity: Arc<Activity>,
        spawn: impl FnOnce(ConnectionSlot) -> AbortHandle,
    ) {
        // Under the lock: a connection that ends at once must find its entry when it gives its slot back.
        let mut open = self.open();
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        let task = spawn(ConnectionSlot { number, slots: self.clone() });
        open.insert(number, Open { task, place, activity });
        gauge!("mangrove_ops_connections").set(open.len() as f64);
    }

    /// Where a new connection has room; `None` while nobody can go.
    fn make_room(&self) -> Option<ConnectionKind> {
        let mut open = self.open();
        [(ConnectionKind::Ordinary, self.connections_max), (ConnectionKind::Reserve, RESERVE)].into_iter().find_map(
            |(place, n_max)| {
                let here = || open.iter().filter(|(_, open)| open.place == place);
                if here().count() < n_max {
                    return Some(place);
                }
                let (number, _) = here().find(|(_, open)| open.activity.idle().is_some_and(|idle| idle >= GRACE))?;
                let number = *number;
                open.remove(&number)?.task.abort();
                counter!("mangrove_ops_connections_evicted_total").increment(1);
                Some(place)
            },
        )
    }

    fn close_idle(&self) {
        for connection in self.open().values().filter(|connection| connection.activity.idle().is_some()) {
            connection.task.abort();
        }
    }

    // Single insertions and removals: a panic elsewhere cannot leave it half changed.
    fn open(&self) -> MutexGuard<'_, BTreeMap<u64, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Requests under way on a connection, and since when there have been none.
#[derive(Debug)]
struct Activity {
    began: Instant,
    under_way: AtomicUsize,
    /// Milliseconds after `began`.
    idle_since: AtomicU64,
}

impl Activity {
    fn new(began: Instant) -> Self {
        let idle_since = AtomicU64::new(began.elapsed().as_millis() as u64);
        Self { began, under_way: AtomicUsize::default(), idle_since }
    }

    fn idle(&self) -> Option<Duration> {
        let since = Duration::from_millis(self.idle_since.load(Ordering::Relaxed));
        (self.under_way.load(Ordering::Relaxed) == 0).then(|| self.began.elapsed().saturating_sub(since))
    }
}

/// A place among the open connections, given back however the connection ends.
#[derive(Debug)]
struct ConnectionSlot {
    number: u64,
    slots: Arc<Slots>,
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut open = self.slots.open();
        open.remove(&self.number);
        gauge!("mangrove_ops_connections").set(open.len() as f64);
    }
}

/// A request is under way for as long as this lives.
#[derive(Debug)]
struct Answering(Arc<Activity>);

impl Answering {
    fn begin(activity: &Arc<Activity>) -> Self {
        activity.under_way.fetch_add(1, Ordering::Relaxed);
        Self(activity.clone())
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.idle_since.store(self.0.began.elapsed().as_millis() as u64, Ordering::Relaxed);
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}
