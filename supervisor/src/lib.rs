//! The supervision tree of one worker, its ops endpoint, its configuration and its command line.

pub mod cli;
pub mod config;
pub mod cost;
#[cfg(feature = "local")]
pub mod demo;
pub mod exit;
mod inert;
pub mod lake;
pub mod leases;
pub mod log;
pub mod memory;
pub mod ops;
pub mod owned;
mod protocol;
pub mod run;
pub mod shard;
pub mod shards;
pub mod supervision;
pub mod tree_view;
pub mod worker;
