//! The boxes of the picture: an actor shell each, over a core of plain synchronous Rust.

mod hash_key;
pub mod node;

pub use self::hash_key::hash_key;
