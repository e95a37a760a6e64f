//! Where the bytes of records come from when they are walked: a slice, or a decompressor whose output passes by in a window.
//!
//! Invariant: never more than the window is in memory; how much may come out in all is the decompressor's to bound.

use std::io::{self, Read};

use super::error::RecordError;
use super::varint::{BadVarint, read_varint, read_varlong};

/// A forward-only source of record bytes.
pub(super) trait Source {
    /// The bytes that are in memory now, in front of what is to come.
    fn window(&self) -> &[u8];

    /// Passes over the first `count` bytes of the window.
    fn consume(&mut self, count: usize);

    /// Puts more bytes behind those of the window; `false` at the end.
    fn refill(&mut self) -> Result<bool, RecordError>;

    /// Bytes passed so far.
    fn position(&self) -> u64;

    /// Whether nothing is left.
    #[inline]
    fn is_at_end(&mut self) -> Result<bool, RecordError> {
        Ok(self.window().is_empty() && !self.refill()?)
    }

    /// Passes over `count` bytes.
    #[inline]
    fn skip(&mut self, mut count: usize) -> Result<(), RecordError> {
        loop {
            let available = self.window().len();
            if count <= available {
                self.consume(count);
                return Ok(());
            }
            count -= available;
            self.consume(available);
            if !self.refill()? {
                return Err(RecordError::Truncated);
            }
        }
    }

    /// A zigzag integer of at most 32 bits.
    #[inline]
    fn varint(&mut self) -> Result<i32, RecordError> {
        let (value, size) = self.integer(read_varint)?;
        self.consume(size);
        Ok(value)
    }

    /// A zigzag integer of at most 64 bits.
    #[inline]
    fn varlong(&mut self) -> Result<i64, RecordError> {
        let (value, size) = self.integer(read_varlong)?;
        self.consume(size);
        Ok(value)
    }

    /// An integer at the start of the window, and how many bytes it takes there.
    #[inline]
    fn integer<T>(
        &mut self,
        read: impl Fn(&[u8]) -> Result<Option<(T, usize)>, BadVarint>,
    ) -> Result<(T, usize), RecordError> {
        loop {
            if let Some(found) = read(self.window()).map_err(|BadVarint| RecordError::BadVarint)? {
                return Ok(found);
            }
            if !self.refill()? {
                return Err(RecordError::Truncated);
            }
        }
    }

    /// A length of bytes that follow, or `None` for null.
    #[inline]
    fn length(&mut self, what: &'static str) -> Result<Option<usize>, RecordError> {
        let length = self.varint()?;
        match usize::try_from(length) {
            Ok(length) => Ok(Some(length)),
            Err(_) if length == -1 => Ok(None),
            Err(_) => Err(RecordError::BadLength { what, length }),
        }
    }

    /// A length, or a number of things, that must not be null.
    #[inline]
    fn required_length(&mut self, what: &'static str) -> Result<usize, RecordError> {
        self.length(what)?.ok_or(RecordError::BadLength { what, length: -1 })
    }
}

/// Record bytes in memory.
#[derive(Debug)]
pub(super) struct SliceSource<'a> {
    rest: &'a [u8],
    size: usize,
}

impl<'a> SliceSource<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, size: bytes.len() }
    }

    pub(super) fn offset(&self) -> usize {
        self.size - self.rest.len()
    }
}

impl Source for SliceSource<'_> {
    #[inline]
    fn window(&self) -> &[u8] {
        self.rest
    }

    #[inline]
    fn consume(&mut self, count: usize) {
        self.rest = &self.rest[count..];
    }

    #[inline]
    fn refill(&mut self) -> Result<bool, RecordError> {
        Ok(false)
    }

    #[inline]
    fn position(&self) -> u64 {
        self.offset() as u64
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
    consumed: u64,
    /// What the decompressor said when it failed.
    pub(super) failure: Option<io::Error>,
}

impl<R: Read> StreamSource<R> {
    pub(super) fn new(inner: R) -> Self {
        let window = vec![0; WINDOW_BYTES].into_boxed_slice();
        Self { inner, window, start: 0, end: 0, consumed: 0, failure: None }
    }

    /// What the bytes come from.
    pub(super) fn into_inner(self) -> R {
        self.inner
    }
}

impl<R: Read> Source for StreamSource<R> {
    #[inline]
    fn window(&self) -> &[u8] {
        &self.window[self.start..self.end]
    }

    #[inline]
    fn consume(&mut self, count: usize) {
        self.start += count;
        self.consumed += count as u64;
    }

    fn refill(&mut self) -> Result<bool, RecordError> {
        // What is left is part of an integer: a few bytes at most.
        self.window.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let count = self.inner.read(&mut self.window[self.end..]).map_err(|error| {
            self.failure = Some(error);
            RecordError::Undecodable
        })?;
        self.end += count;
        Ok(count > 0)
    }

    #[inline]
    fn position(&self) -> u64 {
        self.consumed
    }
}
