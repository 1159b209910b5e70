//! A thread of its own for all that is asked by others.
//!
//! **Promises** requests, however many, take turns on one thread, and none of the data's. The system shares the
//! processors fairly between threads; a runtime would share its threads between tasks, and a heartbeat wait in a row.
//! **Not here**: what waits for actors. They answer on the data's threads, and are asked at a bounded pace.

use std::io;
use std::sync::Arc;
use std::thread;

use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::admin::Admin;
use super::{OpsState, serve, serve_admin};

/// Requests that have come are looked for after so many steps, so that one of a probe waits for few others.
const EVENT_INTERVAL: u32 = 8;

/// Where to listen, and for what.
#[derive(Debug)]
pub struct Listening {
    /// What is shown.
    pub ops: (TcpListener, Arc<OpsState>),
    /// What is done, if anything.
    pub admin: Option<(TcpListener, Admin)>,
}

/// Serves all of it until `shutdown` is true or its sender is gone, on a thread that ends with the task returned.
pub fn serve_apart(listening: Listening, shutdown: watch::Receiver<bool>) -> io::Result<JoinHandle<()>> {
    let Listening { ops: (ops, state), admin } = listening;
    // A listener belongs to the runtime that made it.
    let ops = ops.into_std()?;
    let admin = admin.map(|(listener, admin)| Ok::<_, io::Error>((listener.into_std()?, admin))).transpose()?;
    let runtime = Builder::new_current_thread().enable_all().event_interval(EVENT_INTERVAL).build()?;
    let (alive, gone) = oneshot::channel::<()>();
    let (done, ended) = oneshot::channel::<io::Result<()>>();
    let serving = async move {
        let ops = TcpListener::from_std(ops)?;
        let admin = admin.map(|(listener, admin)| Ok::<_, io::Error>((TcpListener::from_std(listener)?, admin)));
        let admin = admin.transpose()?;
        let orders = async {
            if let Some((listener, admin)) = admin {
                serve_admin(listener, admin, shutdown.clone()).await;
            }
        };
        tokio::join!(serve(ops, state, shutdown.clone()), orders);
        Ok(())
    };
    thread::Builder::new().name("ops".to_owned()).spawn(move || {
        let served = runtime.block_on(async {
            tokio::select! {
                served = serving => served,
                // Whoever waited for it does not any more.
                _ = gone => Ok(()),
            }
        });
        // Nobody may be left to tell.
        let _ = done.send(served);
    })?;
    Ok(tokio::spawn(async move {
        let _alive = alive;
        if let Ok(Err(error)) = ended.await {
            tracing::error!(%error, "ops endpoint ended");
        }
    }))
}
