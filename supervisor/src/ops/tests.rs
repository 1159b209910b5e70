//! The endpoint over real HTTP, friendly and hostile.

mod admin;
#[cfg(feature = "fault-points")]
mod chaos;
mod contract;
mod hostile;
mod queries;
mod shown;
mod status;
mod world;
