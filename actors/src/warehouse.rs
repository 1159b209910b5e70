//! The words that the warehouse is sent: its tables, what a load is made of, and the SQL of it.
//!
//! **Owns** every statement that the product sends. Plain Rust: what is sent when is the loader's (`loading.rs`).
//!
//! **Promises**
//! - Nothing from outside gets into a statement but through `literal.rs` (INERT).
//! - A batch is one transaction that changes nothing if the ledger knows one of its epochs (CLEAN-ONCE).
//! - Every statement fits into the service's limits, or the batch is not made.
//!
//! **Not here**: calls, time, retries.

pub mod backlog;
pub mod batch;
pub mod describe;
pub mod diff;
pub mod external;
mod freshness;
pub mod ledger;
mod literal;
mod load;
pub mod load_policy;
pub mod metadata;
pub mod probe;
mod service;
mod sql;
mod star;
pub mod tables;
#[cfg(test)]
mod tests;
pub(crate) mod transaction;
mod versions;
pub mod views;
mod windows;
pub(crate) mod words;

pub use self::freshness::{AGES_MAX, age_ms};
pub use self::literal::Unquotable;
pub use self::load::{Load, Mode, Statements};
pub use self::service::{BATCH_STATEMENTS_MAX, Cell, STATEMENT_BYTES_MAX};
pub use self::star::{SITE_BYTES_MAX, taken};
pub use self::transaction::TooMuch;
