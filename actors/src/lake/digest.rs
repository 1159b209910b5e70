//! What an object says, as one number.
//!
//! **Owns** the logical digest: SHA-256 over row keys and values in their order, each with its length, floats by
//! their bits.
//! **Promises** equal digests for equal content whatever the compression level or the size of row groups; another
//! digest for any other value, order or place of a value (RAW-ONCE, CLEAN-ONCE).
//! **Fails** never.
//! **Not here**: the bytes of the object. Another version of a library may encode the same rows differently.

use sha2::{Digest as _, Sha256};

/// Hashing goes by blocks of 64 bytes: values of a few bytes each are collected first.
const SCRATCH_BYTES: usize = 4096;
const ABSENT: u8 = 0;
const PRESENT: u8 = 1;

/// Hashes a sequence of values.
#[derive(Debug)]
pub(crate) struct Digest {
    hasher: Sha256,
    scratch: Vec<u8>,
}

impl Digest {
    /// A digest of something that has a name: different things never have the same digest by accident.
    pub(crate) fn new(name: &str) -> Self {
        let mut digest = Self { hasher: Sha256::new(), scratch: Vec::with_capacity(SCRATCH_BYTES) };
        digest.bytes(b"mangrove 1");
        digest.bytes(name.as_bytes());
        digest
    }

    /// There is no value here.
    pub(crate) fn absent(&mut self) {
        self.put(&[ABSENT]);
    }

    /// A value whose type fixes its length.
    pub(crate) fn fixed<const N: usize>(&mut self, value: [u8; N]) {
        self.put(&[PRESENT]);
        self.put(&value);
    }

    /// A value of any length.
    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.put(&[PRESENT]);
        self.put(&(value.len() as u64).to_le_bytes());
        self.put(value);
    }

    /// The digest of all values so far.
    pub(crate) fn finish(mut self) -> [u8; 32] {
        self.hasher.update(&self.scratch);
        self.hasher.finalize().into()
    }

    fn put(&mut self, bytes: &[u8]) {
        if self.scratch.len() + bytes.len() > SCRATCH_BYTES {
            self.hasher.update(&self.scratch);
            self.scratch.clear();
        }
        if bytes.len() >= SCRATCH_BYTES {
            self.hasher.update(bytes);
        } else {
            self.scratch.extend_from_slice(bytes);
        }
    }
}

/// The bytes as lower-case hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]).map(char::from).collect()
}
