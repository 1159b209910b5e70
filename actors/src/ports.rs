//! The edge: the only place that names an AWS SDK type, reads a clock, or speaks HTTP.
//!
//! **Promises** every error is classified once, here, into what the caller can do about it; every call has a timeout;
//! the SDK never retries on its own, so that each write's outcome is applied, not applied, or unknown.
//! **Not here**: what to do about it. Retries belong to the actors, which know what they hold.

pub mod aws;
pub mod backoff;
pub mod chance;
pub mod clock;
pub mod collector;
pub mod faults;
pub mod leases;
pub mod objects;
pub mod provision;
pub mod receivers;
pub mod retries;
pub mod stream;
pub mod transports;
pub mod warehouse;
pub mod work;
