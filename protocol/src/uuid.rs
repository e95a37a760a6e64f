//! Topic ids and other unique ids, as Kafka writes them.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Characters that sixteen bytes take in base64 without padding.
const TEXT_LENGTH: usize = 22;

/// Sixteen bytes; text is base64 for URLs without padding.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// All zeros: "no id".
    pub const ZERO: Uuid = Uuid([0; 16]);

    /// True for [`Uuid::ZERO`].
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from_be_bytes(self.0);
        let mut text = [0; TEXT_LENGTH];
        for (position, letter) in text.iter_mut().enumerate() {
            // The first 21 letters hold six bits each, the last one the two that remain.
            let six = match 122_usize.checked_sub(position * 6) {
                Some(shift) => bits >> shift,
                None => bits << 4,
            };
            *letter = ALPHABET[(six & 0x3f) as usize];
        }
        formatter.write_str(std::str::from_utf8(&text).expect("the alphabet is ASCII"))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Text that is not an id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is not an id: 22 characters of base64 for URLs are expected")]
pub struct ParseUuidError {
    text: String,
}

impl FromStr for Uuid {
    type Err = ParseUuidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseUuidError { text: text.chars().take(64).collect() };
        if text.len() != TEXT_LENGTH {
            return Err(error());
        }
        let mut bits = 0_u128;
        for (position, letter) in text.bytes().enumerate() {
            let six = ALPHABET.iter().position(|&other| other == letter).ok_or_else(error)? as u128;
            if position == TEXT_LENGTH - 1 {
                bits = bits << 2 | six >> 4;
            } else {
                bits = bits << 6 | six;
            }
        }
        Ok(Self(bits.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_what_kafka_prints() {
        // From org.apache.kafka.common.Uuid: METADATA_TOPIC_ID and a random one.
        let metadata = Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(metadata.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(Uuid([0xff; 16]).to_string(), "_____________________w");
    }

    #[test]
    fn text_makes_the_round_trip() {
        for seed in 0..=255_u8 {
            let id = Uuid(std::array::from_fn(|index| seed.wrapping_mul(index as u8 + 7)));
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert!("short".parse::<Uuid>().is_err());
        assert!("AAAAAAAAAAAAAAAAAAAAA=".parse::<Uuid>().is_err());
    }
}
