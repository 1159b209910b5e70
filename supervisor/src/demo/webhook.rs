//! The demo's own alert receiver, so that alerts can be seen arriving.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::post;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const BODY_BYTES_MAX: usize = 64 << 10;

/// Counts what it is sent. Ends when dropped.
#[derive(Debug)]
pub(super) struct Webhook {
    url: String,
    received: Arc<AtomicU64>,
    serving: JoinHandle<()>,
}

impl Webhook {
    pub(super) async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/alerts", listener.local_addr()?);
        let received = Arc::new(AtomicU64::new(0));
        let app = Router::new()
            .route("/alerts", post(receive))
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .with_state(received.clone());
        let serving = tokio::spawn(async move {
            // Serving ends only with the listener; the demo's own alerts would then be retried and reported.
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self { url, received, serving })
    }

    pub(super) fn url(&self) -> String {
        self.url.clone()
    }

    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn receive(State(received): State<Arc<AtomicU64>>, _alert: String) -> StatusCode {
    received.fetch_add(1, Ordering::Relaxed);
    StatusCode::NO_CONTENT
}
