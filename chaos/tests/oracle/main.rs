//! GOAL    The oracle finds nothing in an honest lake, and finds whatever is done to one.
//! METHOD  Lakes are made by the product's own core, actor by actor in one thread, with every fault of a table done to them;
//!         and by workers on the local cloud, which load its warehouse as well.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test that cannot go on shall say where")]

mod honest;
mod lake;
mod large;
mod parquet;
mod tampered;
mod warehouse;
mod worker;
