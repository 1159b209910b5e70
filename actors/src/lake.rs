//! What lies in the bucket, spelled once, for everybody who writes or reads it.
//!
//! **Owns** the columns of every table, the names of every object, what an object's digest is made of, and the format of
//! states.
//! **Promises** a reader needs nothing else of the product to find and to understand what was written.
//! **Not here**: which rows go where, and uploading them (`sinks/`); what is done with them (`recovery.rs`, `loading/`,
//! `warehouse/`).

pub mod columns;
pub(crate) mod digest;
pub(crate) mod keys;
pub mod probe;
pub(crate) mod state;

pub use self::keys::{
    HIDDEN, KEY_BYTES_MAX, Recomputed, behind, dated_names_of, epoch_of_claim, epoch_of_manifest, is_state_of,
    keys_under, manifest_of_state, manifests_of, manifests_of_stream, raw_of_hour, recomputed, recomputed_of,
};
pub use self::state::{StateHeader, StateObject, StateObjectError, decode_state, decode_state_header};
