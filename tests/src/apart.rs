//! A worker that is a part of its own: one thread runs all of it, and its clients are nobody else's. It can be stopped
//! like a process by SIGSTOP, and ended like one by SIGKILL, at any moment, while the cloud goes on.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use crate::world::{Setup, World, clients, finish, start_worker};

/// A worker on a thread.
#[derive(Debug)]
pub struct Apart {
    orders: mpsc::Sender<Order>,
    thread: JoinHandle<()>,
}

/// A worker that stands still until this is dropped.
#[derive(Debug)]
pub struct Frozen {
    /// Its end is the order to go on.
    _hold: SyncSender<()>,
}

#[derive(Debug)]
enum Order {
    Freeze(oneshot::Sender<()>, Receiver<()>),
    Kill,
    Finish,
}

impl Apart {
    /// Starts it, and waits until it runs.
    pub async fn start(world: &World, setup: &Setup) -> Self {
        let (endpoint_url, setup) = (world.cloud.endpoint_url(), setup.clone());
        let (orders, mut given) = mpsc::channel(1);
        let (up, is_up) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let worker = start_worker(&clients(endpoint_url).await, &setup).await.unwrap();
                up.send(()).unwrap();
                loop {
                    match given.recv().await {
                        Some(Order::Freeze(frozen, until)) => {
                            frozen.send(()).unwrap();
                            // Nothing else of the worker runs while this thread waits; the other end is dropped to end it.
                            assert!(until.recv().is_err());
                        }
                        // What is dropped with the runtime has no last word.
                        Some(Order::Kill) | None => return std::mem::forget(worker),
                        Some(Order::Finish) => return finish(worker).await,
                    }
                }
            });
            runtime.shutdown_background();
        });
        is_up.await.unwrap();
        Self { orders, thread }
    }

    /// SIGSTOP, until what is given back is dropped.
    pub async fn freeze(&self) -> Frozen {
        let (frozen, is_frozen) = oneshot::channel();
        let (hold, until) = sync_channel(1);
        self.orders.send(Order::Freeze(frozen, until)).await.unwrap();
        is_frozen.await.unwrap();
        Frozen { _hold: hold }
    }

    /// SIGKILL.
    pub async fn kill(self) {
        self.end(Order::Kill).await;
    }

    /// Catches up and drains.
    pub async fn finish(self) {
        self.end(Order::Finish).await;
    }

    async fn end(self, order: Order) {
        self.orders.send(order).await.unwrap();
        tokio::task::spawn_blocking(|| self.thread.join()).await.unwrap().unwrap();
    }
}
