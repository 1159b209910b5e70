//! What the alerts actor can be told.

use crate::epoch::Receipt;
use crate::{Alert, TraceParent};

/// The protocol of the alerts actor.
#[derive(Debug)]
pub enum AlertsMsg {
    /// Send this on.
    Send {
        /// The alert.
        alert: Alert,
        /// Settled when it was handed to every transport; none for alerts that can be raised again from state.
        receipt: Option<Receipt>,
        /// The span that its own stands below; none if it has none.
        trace: Option<TraceParent>,
    },
    /// Take as many of these as there is room for, in order; answer with the rest.
    Offer {
        /// The alerts, each with its receipt if its epoch waits for it.
        alerts: Vec<(Alert, Option<Receipt>)>,
        /// Where the rest goes.
        reply: ractor::RpcReplyPort<Vec<(Alert, Option<Receipt>)>>,
    },
    /// From the actor's own task: an alert was handed to a receiver, or given up for it.
    Ended {
        /// The receiver's number.
        receiver: usize,
        /// Whether the receiver has answered to the alert itself: it takes alerts, if not this one.
        answered: bool,
    },
    /// Answer when nothing is queued or under way any more.
    Flush(ractor::RpcReplyPort<()>),
    /// Answer with what is queued or under way: for each receiver that has not taken everything, how many.
    Left(ractor::RpcReplyPort<Vec<(String, u64)>>),
}
