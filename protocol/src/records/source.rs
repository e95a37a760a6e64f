//! Where the bytes of records come from: a slice, or a decompressor whose output is bounded.
//!
//! Invariant: a source never hands out more than its cap, and never holds more than a window of it in memory.

use std::io::Read;

use super::error::RecordError;

/// A forward-only source of record bytes.
pub(super) trait Source {
    /// The next byte, or `None` at the end.
    fn byte(&mut self) -> Result<Option<u8>, RecordError>;

    /// Passes over `count` bytes.
    fn skip(&mut self, count: usize) -> Result<(), RecordError>;

    /// Bytes handed out so far.
    fn position(&self) -> u64;

    /// A zigzag integer of at most 32 bits.
    fn varint(&mut self) -> Result<i32, RecordError> {
        let mut value = 0_u32;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?.ok_or(RecordError::Truncated)?;
            if shift == 28 && byte > 0x0f {
                break;
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1) as i32 ^ -((value & 1) as i32));
            }
        }
        Err(RecordError::BadVarint)
    }

    /// A zigzag integer of at most 64 bits.
    fn varlong(&mut self) -> Result<i64, RecordError> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?.ok_or(RecordError::Truncated)?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(RecordError::BadVarint)
    }

    /// A length of bytes that follow, or `None` for null.
    fn length(&mut self, what: &'static str) -> Result<Option<usize>, RecordError> {
        let length = self.varint()?;
        match usize::try_from(length) {
            Ok(length) => Ok(Some(length)),
            Err(_) if length == -1 => Ok(None),
            Err(_) => Err(RecordError::BadLength { what, length }),
        }
    }

    /// A length that must not be null.
    fn required_length(&mut self, what: &'static str) -> Result<usize, RecordError> {
        self.length(what)?.ok_or(RecordError::BadLength { what, length: -1 })
    }
}

/// Record bytes in memory.
#[derive(Debug)]
pub(super) struct SliceSource<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> SliceSource<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    pub(super) fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }
}

impl Source for SliceSource<'_> {
    #[inline]
    fn byte(&mut self) -> Result<Option<u8>, RecordError> {
        let byte = self.bytes.get(self.position).copied();
        self.position += usize::from(byte.is_some());
        Ok(byte)
    }

    #[inline]
    fn skip(&mut self, count: usize) -> Result<(), RecordError> {
        if count > self.remaining() {
            return Err(RecordError::Truncated);
        }
        self.position += count;
        Ok(())
    }

    fn position(&self) -> u64 {
        self.position as u64
    }
}

/// Bytes of decompressed records that are in memory at once.
const WINDOW_BYTES: usize = 16 * 1024;

/// Record bytes that come out of a decompressor.
pub(super) struct StreamSource<R: Read> {
    inner: R,
    window: Box<[u8]>,
    start: usize,
    end: usize,
    passed: u64,
    limit: u64,
    /// The reader was asked for a byte past the cap.
    pub(super) over_limit: bool,
}

impl<R: Read> StreamSource<R> {
    /// Hands out at most `limit` bytes of `inner`.
    pub(super) fn new(inner: R, limit: usize) -> Self {
        let window = vec![0; WINDOW_BYTES].into_boxed_slice();
        Self { inner, window, start: 0, end: 0, passed: 0, limit: limit as u64, over_limit: false }
    }

    /// What the bytes come from.
    pub(super) fn into_inner(self) -> R {
        self.inner
    }

    fn refill(&mut self) -> Result<bool, RecordError> {
        self.passed += self.end as u64;
        (self.start, self.end) = (0, 0);
        self.end = self.inner.read(&mut self.window).map_err(|error| RecordError::Source(error.to_string()))?;
        if self.passed + self.end as u64 > self.limit {
            self.over_limit = true;
            return Err(RecordError::Source(format!("more than {} bytes come out", self.limit)));
        }
        Ok(self.end > 0)
    }
}

impl<R: Read> Source for StreamSource<R> {
    #[inline]
    fn byte(&mut self) -> Result<Option<u8>, RecordError> {
        if self.start == self.end && !self.refill()? {
            return Ok(None);
        }
        let byte = self.window[self.start];
        self.start += 1;
        Ok(Some(byte))
    }

    fn skip(&mut self, mut count: usize) -> Result<(), RecordError> {
        loop {
            let step = count.min(self.end - self.start);
            self.start += step;
            count -= step;
            if count == 0 {
                return Ok(());
            }
            if !self.refill()? {
                return Err(RecordError::Truncated);
            }
        }
    }

    fn position(&self) -> u64 {
        self.passed + self.start as u64
    }
}
