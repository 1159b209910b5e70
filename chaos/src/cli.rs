//! The command line of chaos.

pub mod sim;
