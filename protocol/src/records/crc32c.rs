//! CRC-32C (Castagnoli), the checksum of record batches. Files of our own use the IEEE polynomial instead.

use crc_fast::{CrcAlgorithm, Digest};

/// The checksum of `bytes`.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc32c_of_parts(&[bytes])
}

/// The checksum of several pieces as if they were one.
pub fn crc32c_of_parts(parts: &[&[u8]]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    for part in parts {
        digest.update(part);
    }
    // The algorithm has 32 bits; the digest returns the widest type of all that it knows.
    digest.finalize() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_another_implementation_at_every_length() {
        let bytes: Vec<u8> = (0..4_096_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for length in (0..300).chain([511, 1_024, 4_095, 4_096]) {
            assert_eq!(crc32c(&bytes[..length]), ::crc32c::crc32c(&bytes[..length]), "{length} bytes");
            let (left, right) = bytes[..length].split_at(length / 3);
            assert_eq!(crc32c_of_parts(&[left, right]), ::crc32c::crc32c(&bytes[..length]));
        }
    }

    #[test]
    fn check_value_of_the_standard() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }
}
