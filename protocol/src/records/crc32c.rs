//! CRC-32C (Castagnoli), the checksum of record batches. Files of our own use the IEEE polynomial instead.

use crc_fast::{CrcAlgorithm, Digest};

/// The checksum of `bytes`.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// The checksum of several pieces as if they were one.
pub fn crc32c_of_parts(parts: &[&[u8]]) -> u32 {
    let mut crc = Crc32c::new();
    parts.iter().for_each(|part| crc.update(part));
    crc.finish()
}

/// The checksum of bytes that come piece by piece, such as a batch that is read from a file in blocks.
#[derive(Debug, Clone)]
pub struct Crc32c(Digest);

impl Crc32c {
    /// Of nothing yet.
    pub fn new() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc32Iscsi))
    }

    /// Adds the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The checksum of all pieces so far.
    pub fn finish(&self) -> u32 {
        // The algorithm has 32 bits; the digest returns the widest type of all that it knows.
        self.0.finalize() as u32
    }
}

impl Default for Crc32c {
    fn default() -> Self {
        Self::new()
    }
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
