//! The actors: a shell that speaks ractor each, over a core of plain synchronous Rust.

pub mod aggregator;
pub mod agreement;
pub mod alerts;
pub mod budget;
pub mod committer;
mod hash_key;
pub mod keys;
pub mod lake;
pub mod loader;
pub mod loading;
pub mod metrics;
pub mod node;
pub mod panics;
pub mod ports;
pub mod reader;
pub mod recompute;
pub mod recovery;
pub mod ring;
pub mod sensor;
pub mod sensors;
pub mod shard;
pub mod sinks;
pub mod traces;
pub mod verdict;
pub mod warehouse;

pub use self::hash_key::hash_key;
