//! End-to-end tests: the product against the local cloud, judged by what landed.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test that cannot go on shall say where")]

mod beijing;
mod exactly_once;
mod tidy;
