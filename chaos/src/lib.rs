//! The simulation: a cloud in memory that does from one seed what clouds do on bad days.
//!
//! **Owns** the services as the workers' own SDK clients see them, and the truth about what was stored and written.
//! **Promises** the same seed and the same requests give the same answers, faults and times.
//! **Not here**: what ships. Nothing of the product depends on this crate.

pub mod cli;
pub mod cloud;
pub mod oracle;
pub mod sim;
