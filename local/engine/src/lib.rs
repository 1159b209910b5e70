//! What both fake clouds are made of: the local cloud (`local`, over HTTP) and that of the simulation (`chaos`, in memory).
//!
//! ```text
//! local (HTTP, tokio, the data folder)  -+
//!                                        +-> service   the services, and how each refuses
//! chaos::cloud (in memory, paused clock) +-> faults    what can befall a request, and which request it befalls
//!                                        +-> stream    Kinesis
//!                                        +-> table     DynamoDB
//!                                        +-> topics    SNS
//! ```
//!
//! **Owns** the state of the services, the vocabulary of faults, the plans that pick requests for them, and the wire form
//! of answers.
//! **Promises** a pure function: a request goes in, an answer comes out; the same requests in the same order, at the same
//! times and with the same seed, have the same answers.
//! **Fails** with a [`Refusal`], as the real service writes it.
//! **Not here**: sockets, files, tasks, a clock, chance of its own. Who knows those is a door.

pub mod faults;
pub mod form;
mod reply;
mod service;
pub mod stream;
pub mod table;
pub mod topics;

pub use crate::reply::{Refusal, Reply, escaped};
pub use crate::service::{ClientId, Place, Service};
