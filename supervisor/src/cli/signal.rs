//! When to stop.

use tokio::sync::watch;

/// Becomes true with Ctrl-C or SIGTERM. A second one ends the process at once: whoever asks twice does not want to wait.
pub fn stop_signal() -> watch::Receiver<bool> {
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        interrupted().await;
        stop.send_replace(true);
        interrupted().await;
        // 128 + SIGINT, as a shell would report it. Nothing is lost: what is not committed is read again.
        std::process::exit(130);
    });
    stopped
}

#[cfg(unix)]
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};

    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signals) => signals.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = terminated => {}
        () = ctrl_c() => {}
    }
}

#[cfg(not(unix))]
async fn interrupted() {
    ctrl_c().await;
}

async fn ctrl_c() {
    // Without a handler the system's default ends the process, which is what Ctrl-C asks for.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}
