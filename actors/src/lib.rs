//! The boxes of the picture: an actor shell each, over a core of plain synchronous Rust.

mod hash_key;
pub mod node;
pub mod alerts;
pub mod budget;
pub mod committer;
pub mod metrics;
pub mod ports;
pub mod reader;
pub mod recovery;
pub mod sensor;
pub mod sensors;
pub mod sinks;
pub mod shard;

pub use self::hash_key::hash_key;
