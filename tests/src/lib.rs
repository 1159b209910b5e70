//! What end-to-end tests share: a world with a cloud and a worker, and a reader of what landed.
//!
//! **Not here**: the product's own readers. What landed is read as a consumer would read it.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test that cannot go on shall say where")]

pub mod apart;
pub mod collector;
pub mod faults;
pub mod history;
pub mod judge;
pub mod lake;
pub mod process;
pub mod warehouse;
pub mod world;
