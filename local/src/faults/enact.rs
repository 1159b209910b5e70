//! Carrying a fault out.
//!
//! **Owns** nothing.
//! **Promises** that the request is applied wholly, before anything else, or not at all, as its kind says; that nothing
//! of the request is held while a connection waits to be closed.
//! **Fails** never; a closed connection is a [`Severed`].
//! **Not here**: which request it hits.

use axum::body::Body;
use axum::http::Response;
use local_engine::faults::{Fault, Hit};
use local_engine::{Refusal, Service};
use tokio::time::sleep;

use crate::reply;

/// The connection ends here, without an answer.
#[derive(Debug, thiserror::Error)]
#[error("an injected fault closes the connection")]
pub(crate) struct Severed;

/// Does it to a request whose real answer is `answer`.
pub(crate) async fn enact(
    Hit { fault, delay }: Hit,
    service: Service,
    answer: impl Future<Output = Response<Body>>,
) -> Result<Response<Body>, Severed> {
    match fault {
        Fault::Throttle => Ok(reply::refuse(service, Refusal::throttled(service))),
        Fault::Error => Ok(reply::refuse(service, Refusal::internal(service))),
        Fault::Deny => Ok(reply::refuse(service, Refusal::denied(service))),
        Fault::Skew => Ok(reply::refuse(service, Refusal::skewed(service))),
        Fault::HangBefore => {
            // The future owns the body and its share of the budget.
            drop(answer);
            sleep(delay).await;
            Err(Severed)
        }
        Fault::LoseReply | Fault::HangAfter => {
            drop(answer.await);
            sleep(delay).await;
            Err(Severed)
        }
        Fault::Delay => {
            let answer = answer.await;
            sleep(delay).await;
            Ok(answer)
        }
        // No rule asks for what follows the reset: see `Fault::OF_RULES`.
        Fault::Reset | Fault::Late | Fault::Conflict | Fault::Abort | Fault::EmptyPage => Err(Severed),
    }
}
