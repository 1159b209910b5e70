//! End-to-end tests: the product against the local cloud, judged by what landed.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test that cannot go on shall say where")]

mod agreement;
mod alert_transports;
mod backpressure;
mod bad_input;
mod beijing;
mod cluster;
mod crash_points;
mod drain;
mod duplicates_and_late;
mod encryption;
mod event_time;
mod exactly_once;
mod hostile;
mod kpl;
mod lifecycle;
mod metadata;
mod probe;
mod readers;
mod readiness;
mod reshard;
mod schema_reference;
mod sensor_panic;
mod spectrum;
mod spread;
mod star;
mod start;
mod states;
mod tidy;
mod trimmed;
mod warehouse;
mod warehouse_faults;
