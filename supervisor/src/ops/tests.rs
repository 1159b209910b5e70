//! The endpoint over real HTTP, friendly and hostile.

#[cfg(feature = "fault-points")]
mod chaos;
mod hostile;
mod queries;
mod world;
