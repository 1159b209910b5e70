//! Faults on purpose, and the judge of what they left behind.
//!
//! **Owns** the oracle.
//! **Promises** nothing of the product: it holds the product to its promises.
//! **Fails** by saying so; no verdict is given on evidence that could not be read.
//! **Not here**: the product.

pub mod oracle;
