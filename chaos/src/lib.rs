//! Breaks Mangrove on purpose, and judges what is left: the simulation, runs of real processes, and the oracle.
//!
//! **Owns** the faults and the judge, and a cloud in memory that does from one seed what clouds do on bad days.
//! **Promises** nothing of the product: it holds the product to its promises.
//! **Fails** by saying so; no verdict is given on evidence that could not be read.
//! **Not here**: what ships. Nothing of the product depends on this crate.

pub mod cli;
pub mod cloud;
pub mod evidence;
pub mod oracle;
pub mod processes;
pub mod sim;
