//! The one listener: HTTP/1.1 and h2c, bounded in connections and in patience.
//!
//! **Owns** the sockets.
//! **Promises** that a slow, silent or broken client costs one connection slot for a bounded time and nothing else.
//! **Fails** per connection; a panic in a request ends that connection only.
//! **Not here**: what a request means (`gateway`).

use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

use crate::gateway::Gateway;

/// Far above what a demo's clients keep open, far below the usual limit of open files with one file per request.
const CONNECTIONS_MAX: usize = 512;

/// SDKs drop pooled connections after 20 to 90 s, so this mostly ends clients that never finish a request head.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(90);

/// A signed S3 request carries 2 KiB of user metadata and about 2 KiB of headers; the rest is margin.
const HEADER_BYTES_MAX: usize = 64 * 1024;

/// How long running requests may take after a stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// A failed accept (usually: no file descriptors left) would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stopped` resolves, then drains.
pub(crate) async fn run(listener: TcpListener, gateway: Arc<Gateway>, mut stopped: oneshot::Receiver<()>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let draining = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let http = http();

    loop {
        let accepted = async {
            let slot = Arc::clone(&slots).acquire_owned().await.expect("the semaphore is never closed");
            (slot, listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            // Also when the handle was dropped without a word.
            _ = &mut stopped => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = accepted => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot switch off the send delay");
        }

        // A connection without an address is gone already.
        let Ok(local) = stream.local_addr() else { continue };
        let gateway = Arc::clone(&gateway);
        let service = service_fn(move |request| {
            let gateway = Arc::clone(&gateway);
            async move { Gateway::serve(gateway, request, local.ip()).await }
        });
        let connection = draining.watch(http.serve_connection(TokioIo::new(stream), service).into_owned());
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection closed with an error");
            }
            drop(slot);
        });
    }

    drop(listener);
    if tokio::time::timeout(DRAIN_TIMEOUT, draining.shutdown()).await.is_err() {
        tracing::warn!(n_connections = connections.len(), "requests did not finish in time and were cut off");
    }
    connections.shutdown().await;
}

fn http() -> Builder<TokioExecutor> {
    let mut http = Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_READ_TIMEOUT).max_buf_size(HEADER_BYTES_MAX);
    http.http2().timer(TokioTimer::new()).max_concurrent_streams(64).max_header_list_size(HEADER_BYTES_MAX as u32);
    http
}
