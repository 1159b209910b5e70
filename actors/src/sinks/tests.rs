//! What an epoch becomes, read back by other means than it was written.

mod determinism;
mod fixture;
mod keys;
mod lines;
mod state;
mod stored;
mod tables;
mod uploads;
mod whole;
