//! Where a partition key lies in a stream's hash range.

use md5::{Digest, Md5};

/// The MD5 of the key as an unsigned 128-bit number, as Kinesis places records on shards.
pub fn hash_key(partition_key: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(partition_key.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_lands_where_kinesis_puts_it() {
        // MD5("abc") from RFC 1321, appendix A.5.
        assert_eq!(hash_key("abc"), 0x900150983cd24fb0d6963f7d28e17f72);
    }
}
