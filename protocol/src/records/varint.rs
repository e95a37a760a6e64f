//! Zigzag integers of variable length, as records hold them: seven bits a byte, the lowest first.
//!
//! At most 5 bytes for 32 bits and 10 for 64. A longer one, and one whose last byte does not fit, is an error; one that
//! spends more bytes than it needs is not, since Kafka reads it.

/// An integer that does not end within its bytes, or does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadVarint;

/// Most bytes of 32 bits.
const VARINT_BYTES_MAX: usize = 5;
/// Most bytes of 64 bits.
const VARLONG_BYTES_MAX: usize = 10;

/// Reads 32 bits from the start of `bytes` and says how many bytes they took; `None` if the bytes end in the middle.
#[inline(always)]
pub(super) fn read_varint(bytes: &[u8]) -> Result<Option<(i32, usize)>, BadVarint> {
    match read_short(bytes) {
        Some((value, size)) => Ok(Some((unzigzag(value), size))),
        None => read_long_varint(bytes),
    }
}

/// Reads 64 bits from the start of `bytes` and says how many bytes they took; `None` if the bytes end in the middle.
#[inline(always)]
pub(super) fn read_varlong(bytes: &[u8]) -> Result<Option<(i64, usize)>, BadVarint> {
    match read_short(bytes) {
        Some((value, size)) => Ok(Some((unzigzag64(u64::from(value)), size))),
        None => read_long_varlong(bytes),
    }
}

/// Nearly every field of nearly every record takes one byte or two, and is read without a call.
#[inline(always)]
fn read_short(bytes: &[u8]) -> Option<(u32, usize)> {
    match *bytes {
        [first, ..] if first < 0x80 => Some((u32::from(first), 1)),
        [first, second, ..] if second < 0x80 => Some((u32::from(first & 0x7f) | u32::from(second) << 7, 2)),
        _ => None,
    }
}

/// Bytes of a [`Head`].
pub(super) const HEAD_BYTES: usize = 16;

/// Bytes of a known number, from which integers are read one after the other without asking each time where they end.
pub(super) struct Head<'a> {
    bytes: &'a [u8; HEAD_BYTES],
    /// Bytes read so far.
    pub(super) at: usize,
}

impl<'a> Head<'a> {
    /// `None` if there are fewer bytes.
    #[inline(always)]
    pub(super) fn of(bytes: &'a [u8]) -> Option<Self> {
        Some(Self { bytes: bytes.first_chunk()?, at: 0 })
    }

    /// The next integer; `None` if it takes more than three bytes, or does not end within the head.
    #[inline(always)]
    pub(super) fn varint(&mut self) -> Option<i32> {
        if self.at + 3 > HEAD_BYTES {
            return None;
        }
        // Within bounds, as has just been seen; so the compiler sees it too.
        let byte = |index: usize| self.bytes[(self.at + index) % HEAD_BYTES];
        let (first, second) = (byte(0), byte(1));
        let (value, size) = if first < 0x80 {
            (u32::from(first), 1)
        } else if second < 0x80 {
            (u32::from(first & 0x7f) | u32::from(second) << 7, 2)
        } else if byte(2) < 0x80 {
            (u32::from(first & 0x7f) | u32::from(second & 0x7f) << 7 | u32::from(byte(2)) << 14, 3)
        } else {
            return None;
        };
        self.at += size;
        Some(unzigzag(value))
    }

    /// The next integer of 64 bits; `None` if it does not end within the head.
    #[inline(always)]
    pub(super) fn varlong(&mut self) -> Option<i64> {
        if let Some(value) = self.varint() {
            return Some(i64::from(value));
        }
        let (value, size) = read_varlong(self.bytes.get(self.at..)?).ok()??;
        self.at += size;
        Some(value)
    }
}

#[inline(never)]
fn read_long_varint(bytes: &[u8]) -> Result<Option<(i32, usize)>, BadVarint> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(VARINT_BYTES_MAX).enumerate() {
        if index == VARINT_BYTES_MAX - 1 && byte > 0x0f {
            return Err(BadVarint);
        }
        value |= u32::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Ok(Some((unzigzag(value), index + 1)));
        }
    }
    Ok(None)
}

#[inline(never)]
fn read_long_varlong(bytes: &[u8]) -> Result<Option<(i64, usize)>, BadVarint> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(VARLONG_BYTES_MAX).enumerate() {
        if index == VARLONG_BYTES_MAX - 1 && byte > 1 {
            return Err(BadVarint);
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Ok(Some((unzigzag64(value), index + 1)));
        }
    }
    Ok(None)
}

/// Appends 32 bits.
pub(super) fn put_varint(buffer: &mut Vec<u8>, value: i32) {
    put(buffer, zigzag(value));
}

/// Appends 64 bits.
pub(super) fn put_varlong(buffer: &mut Vec<u8>, value: i64) {
    put(buffer, zigzag64(value));
}

/// Bytes that 32 bits take.
pub(super) fn varint_size(value: i32) -> usize {
    size(zigzag(value))
}

/// Bytes that 64 bits take.
pub(super) fn varlong_size(value: i64) -> usize {
    size(zigzag64(value))
}

fn put(buffer: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        buffer.push(value as u8 | 0x80);
        value >>= 7;
    }
    buffer.push(value as u8);
}

fn size(value: u64) -> usize {
    (70 - (value | 1).leading_zeros() as usize) / 7
}

fn zigzag(value: i32) -> u64 {
    u64::from(((value << 1) ^ (value >> 31)) as u32)
}

fn zigzag64(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u32) -> i32 {
    (value >> 1) as i32 ^ -((value & 1) as i32)
}

fn unzigzag64(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_encodings() {
        for (value, bytes) in [
            (0, &[0][..]),
            (-1, &[1]),
            (1, &[2]),
            (63, &[0x7e]),
            (-64, &[0x7f]),
            (64, &[0x80, 1]),
            (i32::MAX, &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
            (i32::MIN, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ] {
            let mut written = Vec::new();
            put_varint(&mut written, value);
            assert_eq!(written, bytes);
            assert_eq!(read_varint(bytes), Ok(Some((value, bytes.len()))));
        }
    }

    #[test]
    fn too_long_and_too_large_are_errors_and_spare_bytes_are_not() {
        assert_eq!(read_varint(&[0xff, 0xff, 0xff, 0xff, 0x10]), Err(BadVarint), "33 bits");
        assert_eq!(read_varint(&[0x80; 6]), Err(BadVarint), "six bytes");
        assert_eq!(read_varint(&[0x82, 0x80, 0x80, 0x80, 0]), Ok(Some((1, 5))), "one, in five bytes");
        assert_eq!(read_varint(&[0x80; 4]), Ok(None));
        let mut long = [0xff; 10];
        long[9] = 2;
        assert_eq!(read_varlong(&long), Err(BadVarint), "65 bits");
        assert_eq!(read_varlong(&[0x80; 11]), Err(BadVarint), "eleven bytes");
        assert_eq!(read_varlong(&[0x80; 9]), Ok(None));
        assert_eq!(read_varlong(&[]), Ok(None));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value: i32, long: i64, shift in 0..64_u32) {
            let (value, long) = (value >> (shift / 2), long >> shift);
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            prop_assert_eq!(bytes.len(), varint_size(value));
            prop_assert_eq!(read_varint(&bytes), Ok(Some((value, bytes.len()))));
            bytes.clear();
            put_varlong(&mut bytes, long);
            prop_assert_eq!(bytes.len(), varlong_size(long));
            prop_assert_eq!(read_varlong(&bytes), Ok(Some((long, bytes.len()))));
            for end in 0..bytes.len() {
                prop_assert_eq!(read_varlong(&bytes[..end]), Ok(None));
            }
        }

        #[test]
        fn a_head_reads_what_the_others_read_or_nothing(bytes: [u8; HEAD_BYTES], at in 0..=HEAD_BYTES) {
            let at_most = |size: usize| move |found: &(i64, usize)| found.1 <= size && at + 3 <= HEAD_BYTES;
            let read = read_varint(&bytes[at..]).ok().flatten().map(|(value, size)| (i64::from(value), size));
            let mut head = Head { bytes: &bytes, at };
            let found = head.varint().map(|value| (i64::from(value), head.at - at));
            prop_assert_eq!(found, read.filter(at_most(3)));
            let mut head = Head { bytes: &bytes, at };
            let found = head.varlong().map(|value| (value, head.at - at));
            prop_assert_eq!(found, read_varlong(&bytes[at..]).ok().flatten());
            prop_assert!(Head::of(&bytes[1..]).is_none());
        }
    }
}
