//! The endpoint over real HTTP, friendly and hostile.

mod hostile;
mod queries;
mod world;
