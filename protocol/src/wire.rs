//! Reading and writing primitive values within bounds.
//!
//! [`Reader`] owns the position in one frame, [`Writer`] the bytes of one being made. Neither knows any message.
//!
//! Invariant: nothing is read past the end of the frame, no allocation is larger than what the budget has left, and a
//! length that was read is compared with the bytes at hand before anything else happens with it.

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

/// Why bytes could not be decoded. The connection that sent them cannot be trusted to be in step any more.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A value goes past the end of the frame or of its tagged field.
    #[error("{what} needs {needed} bytes at position {position}, {left} are left")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Bytes that it needs.
        needed: usize,
        /// Where it starts.
        position: usize,
        /// Bytes that are there.
        left: usize,
    },
    /// A length that no value has.
    #[error("{what} has the length {length}")]
    BadLength {
        /// What was being read.
        what: &'static str,
        /// The length as it was declared.
        length: i64,
    },
    /// Null where the schema has none.
    #[error("{what} is null, which this version does not allow")]
    UnexpectedNull {
        /// What was being read.
        what: &'static str,
    },
    /// A variable-length integer that does not end or does not fit.
    #[error("the variable-length integer at position {position} is longer than {bits} bits")]
    VarintOverflow {
        /// Where it starts.
        position: usize,
        /// Bits that it may have.
        bits: u32,
    },
    /// Text that is not UTF-8.
    #[error("the string at position {position} is not UTF-8")]
    NotUtf8 {
        /// Where its bytes start.
        position: usize,
    },
    /// Tagged fields out of order, or one of them twice (KIP-482 demands ascending tags).
    #[error("tagged field {tag} follows {previous}")]
    TagOrder {
        /// The offending tag.
        tag: u32,
        /// The one before it.
        previous: u32,
    },
    /// A tagged field whose content is shorter than its declared size.
    #[error("tagged field {tag} leaves {left} of its bytes unread")]
    TagSize {
        /// The tag.
        tag: u32,
        /// Bytes that nothing read.
        left: usize,
    },
    /// The decoded form would take more memory than the frame is allowed.
    #[error("decoding needs more than the {budget} bytes of memory that this frame may use")]
    OverBudget {
        /// What the frame may use, in bytes.
        budget: usize,
    },
    /// An API or a version that this codec does not have.
    #[error("api key {api_key} has no version {version} here")]
    Unsupported {
        /// The API.
        api_key: i16,
        /// The version.
        version: i16,
    },
}

/// Why a message could not be encoded: it says something that the version has no words for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A field is set that the version lacks and that must not be dropped.
    #[error("{message}.{field} is set, but version {version} does not have it")]
    NotInVersion {
        /// The message or nested struct.
        message: &'static str,
        /// The field.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// Null in a version that does not allow it.
    #[error("{message}.{field} is null, which version {version} does not allow")]
    NullNotAllowed {
        /// The message or nested struct.
        message: &'static str,
        /// The field.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A value too long for its length field.
    #[error("a value of {length} bytes or elements is longer than the {limit} that its length field can hold")]
    TooLong {
        /// Its length.
        length: usize,
        /// The highest that fits.
        limit: usize,
    },
}

/// Memory that decoding a frame may use beside the frame itself: this many times its length ...
const BUDGET_FACTOR: usize = 4;
/// ... and this much, so that small requests with many short fields are never refused.
const BUDGET_FLOOR_BYTES: usize = 256 * 1024;

/// Reads primitive values from one frame. Cheap to make; byte fields are slices of the frame.
#[derive(Debug)]
pub struct Reader {
    frame: Bytes,
    position: usize,
    /// Nothing is read at or past this position; below the frame's end inside a tagged field.
    end: usize,
    budget: usize,
    budget_left: usize,
}

impl Reader {
    /// Reads a frame with the usual budget: four times its length plus 256 KiB.
    pub fn new(frame: Bytes) -> Self {
        let budget = frame.len().saturating_mul(BUDGET_FACTOR).saturating_add(BUDGET_FLOOR_BYTES);
        Self::with_budget(frame, budget)
    }

    /// Reads a frame whose decoded form may take `budget` bytes.
    pub fn with_budget(frame: Bytes, budget: usize) -> Self {
        let end = frame.len();
        Self { frame, position: 0, end, budget, budget_left: budget }
    }

    /// Bytes that are left to read.
    pub fn remaining(&self) -> usize {
        self.end - self.position
    }

    /// Where the next value starts, counted from the frame's start.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Takes `bytes` of memory from the budget; call before allocating them.
    pub fn charge(&mut self, bytes: usize) -> Result<(), DecodeError> {
        self.budget_left =
            self.budget_left.checked_sub(bytes).ok_or(DecodeError::OverBudget { budget: self.budget })?;
        Ok(())
    }

    fn take(&mut self, needed: usize, what: &'static str) -> Result<&[u8], DecodeError> {
        let left = self.remaining();
        if needed > left {
            return Err(DecodeError::Truncated { what, needed, position: self.position, left });
        }
        let start = self.position;
        self.position += needed;
        Ok(&self.frame[start..start + needed])
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        let bytes = self.take(N, what)?;
        Ok(bytes.try_into().expect("take returns as many bytes as asked for"))
    }

    /// One signed byte.
    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        Ok(i8::from_be_bytes(self.array("int8")?))
    }

    /// A big-endian 16-bit integer.
    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        Ok(i16::from_be_bytes(self.array("int16")?))
    }

    /// A big-endian unsigned 16-bit integer.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array("uint16")?))
    }

    /// A big-endian 32-bit integer.
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.array("int32")?))
    }

    /// A big-endian unsigned 32-bit integer.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array("uint32")?))
    }

    /// A big-endian 64-bit integer.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.array("int64")?))
    }

    /// A big-endian IEEE 754 number of 64 bits.
    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        Ok(f64::from_be_bytes(self.array("float64")?))
    }

    /// Sixteen bytes.
    pub fn uuid(&mut self) -> Result<[u8; 16], DecodeError> {
        self.array("uuid")
    }

    /// An unsigned variable-length integer of at most 32 bits in at most five bytes.
    pub fn unsigned_varint(&mut self) -> Result<u32, DecodeError> {
        let start = self.position;
        let mut value = 0_u32;
        for shift in (0..35).step_by(7) {
            let byte = self.take(1, "varint")?[0];
            if shift == 28 && byte > 0x0f {
                break;
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::VarintOverflow { position: start, bits: 32 })
    }

    /// The length of a value: `None` for null. `flexible` lengths are varints one above the length, others have `width`.
    fn length(&mut self, flexible: bool, width: LengthWidth, what: &'static str) -> Result<Option<usize>, DecodeError> {
        let length = match (flexible, width) {
            (true, _) => i64::from(self.unsigned_varint()?) - 1,
            (false, LengthWidth::Int16) => i64::from(self.i16()?),
            (false, LengthWidth::Int32) => i64::from(self.i32()?),
        };
        match usize::try_from(length) {
            Ok(length) => Ok(Some(length)),
            Err(_) if length == -1 => Ok(None),
            Err(_) => Err(DecodeError::BadLength { what, length }),
        }
    }

    /// A string, or `None` for null.
    pub fn string(&mut self, flexible: bool) -> Result<Option<String>, DecodeError> {
        let Some(length) = self.length(flexible, LengthWidth::Int16, "a string")? else { return Ok(None) };
        if length > i16::MAX as usize {
            return Err(DecodeError::BadLength { what: "a string", length: length as i64 });
        }
        self.charge(length.min(self.remaining()))?;
        let position = self.position;
        let text = std::str::from_utf8(self.take(length, "a string")?);
        text.map(|text| Some(text.to_owned())).map_err(|_| DecodeError::NotUtf8 { position })
    }

    /// Bytes as a slice of the frame, or `None` for null.
    pub fn bytes(&mut self, flexible: bool) -> Result<Option<Bytes>, DecodeError> {
        let Some(length) = self.length(flexible, LengthWidth::Int32, "bytes")? else { return Ok(None) };
        let start = self.position;
        self.take(length, "bytes")?;
        Ok(Some(self.frame.slice(start..start + length)))
    }

    /// The element count of an array, or `None` for null; never more than the bytes that are left.
    pub fn array_length(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        let Some(count) = self.length(flexible, LengthWidth::Int32, "an array")? else { return Ok(None) };
        if count > self.remaining() {
            let (position, left) = (self.position, self.remaining());
            return Err(DecodeError::Truncated { what: "an array", needed: count, position, left });
        }
        Ok(Some(count))
    }

    /// Calls `field` for each tagged field, in the order of the wire; it reads what it knows and returns whether it did.
    /// What it does not know is skipped, as KIP-482 asks.
    pub fn tagged_fields(
        &mut self,
        mut field: impl FnMut(&mut Self, u32) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        let count = self.unsigned_varint()?;
        let mut previous: Option<u32> = None;
        for _ in 0..count {
            let tag = self.unsigned_varint()?;
            if let Some(previous) = previous.filter(|&previous| previous >= tag) {
                return Err(DecodeError::TagOrder { tag, previous });
            }
            previous = Some(tag);
            let size = self.unsigned_varint()? as usize;
            if size > self.remaining() {
                let (position, left) = (self.position, self.remaining());
                return Err(DecodeError::Truncated { what: "a tagged field", needed: size, position, left });
            }
            let outer_end = self.end;
            self.end = self.position + size;
            let known = field(self, tag)?;
            if !known {
                self.position = self.end;
            }
            if self.position != self.end {
                return Err(DecodeError::TagSize { tag, left: self.remaining() });
            }
            self.end = outer_end;
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy)]
enum LengthWidth {
    Int16,
    Int32,
}

/// A piece of an encoded message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Bytes in memory.
    Bytes(Bytes),
    /// `len` bytes that the sender puts in here from elsewhere, such as a range of a file that it knows as `id`.
    External {
        /// The caller's name for them.
        id: u32,
        /// How many there are.
        len: u32,
    },
}

impl Segment {
    /// Bytes on the wire.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::External { len, .. } => *len as usize,
        }
    }

    /// True for a piece without bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An encoded message, in pieces in the order of the wire.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Segments(pub Vec<Segment>);

impl Segments {
    /// Bytes on the wire of all pieces.
    pub fn len(&self) -> usize {
        self.0.iter().map(Segment::len).sum()
    }

    /// True when there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All pieces in one buffer; `None` when one of them is external.
    pub fn into_bytes(self) -> Option<Bytes> {
        let mut pieces = self.0;
        if pieces.len() == 1 {
            return match pieces.pop() {
                Some(Segment::Bytes(bytes)) => Some(bytes),
                _ => None,
            };
        }
        let mut joined = BytesMut::with_capacity(pieces.iter().map(Segment::len).sum());
        for piece in pieces {
            match piece {
                Segment::Bytes(bytes) => joined.extend_from_slice(&bytes),
                Segment::External { .. } => return None,
            }
        }
        Some(joined.freeze())
    }
}

/// Records from this size on are referred to instead of copied.
const SPLICE_FROM_BYTES: usize = 1024;

/// Writes primitive values. Large byte fields and external ones are spliced in without a copy.
#[derive(Debug, Default)]
pub struct Writer {
    inline: BytesMut,
    /// What is spliced in, each before the inline byte at this position, in rising order.
    splices: Vec<(usize, Segment)>,
    spliced_bytes: usize,
}

impl Writer {
    /// An empty writer.
    pub fn new() -> Self {
        Self { inline: BytesMut::with_capacity(256), splices: Vec::new(), spliced_bytes: 0 }
    }

    /// Bytes written so far, with those that are spliced in.
    pub fn len(&self) -> usize {
        self.inline.len() + self.spliced_bytes
    }

    /// True before the first byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One signed byte.
    pub fn i8(&mut self, value: i8) {
        self.inline.put_i8(value);
    }

    /// A big-endian 16-bit integer.
    pub fn i16(&mut self, value: i16) {
        self.inline.put_i16(value);
    }

    /// A big-endian unsigned 16-bit integer.
    pub fn u16(&mut self, value: u16) {
        self.inline.put_u16(value);
    }

    /// A big-endian 32-bit integer.
    pub fn i32(&mut self, value: i32) {
        self.inline.put_i32(value);
    }

    /// A big-endian unsigned 32-bit integer.
    pub fn u32(&mut self, value: u32) {
        self.inline.put_u32(value);
    }

    /// A big-endian 64-bit integer.
    pub fn i64(&mut self, value: i64) {
        self.inline.put_i64(value);
    }

    /// A big-endian IEEE 754 number of 64 bits.
    pub fn f64(&mut self, value: f64) {
        self.inline.put_f64(value);
    }

    /// Bytes as they are, without a length.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.inline.extend_from_slice(bytes);
    }

    /// An unsigned variable-length integer.
    pub fn unsigned_varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.inline.put_u8((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.inline.put_u8(value as u8);
    }

    /// A string, or null.
    pub fn string(&mut self, value: Option<&str>, flexible: bool) -> Result<(), EncodeError> {
        let length = value.map(str::len);
        if let Some(length) = length.filter(|&length| length > i16::MAX as usize) {
            return Err(EncodeError::TooLong { length, limit: i16::MAX as usize });
        }
        if flexible {
            self.unsigned_varint(length.map_or(0, |length| length as u32 + 1));
        } else {
            self.i16(length.map_or(-1, |length| length as i16));
        }
        self.raw(value.unwrap_or_default().as_bytes());
        Ok(())
    }

    /// Bytes, or null. They are copied: a byte field may lie in a tagged field, which must stay in one piece.
    pub fn bytes(&mut self, value: Option<&[u8]>, flexible: bool) -> Result<(), EncodeError> {
        self.array_length(value.map(<[u8]>::len), flexible)?;
        self.raw(value.unwrap_or_default());
        Ok(())
    }

    /// Record batches in memory, not copied when there is much of them.
    pub fn records(&mut self, records: &Bytes, flexible: bool) -> Result<(), EncodeError> {
        self.array_length(Some(records.len()), flexible)?;
        if records.len() >= SPLICE_FROM_BYTES {
            self.splice(Segment::Bytes(records.clone()));
        } else {
            self.raw(records);
        }
        Ok(())
    }

    /// A field of records whose content the sender supplies.
    pub fn external(&mut self, id: u32, len: u32, flexible: bool) -> Result<(), EncodeError> {
        self.array_length(Some(len as usize), flexible)?;
        self.splice(Segment::External { id, len });
        Ok(())
    }

    /// The element count of an array or the length of a byte field, or null.
    pub fn array_length(&mut self, length: Option<usize>, flexible: bool) -> Result<(), EncodeError> {
        const LIMIT: usize = i32::MAX as usize - 1;
        if let Some(length) = length.filter(|&length| length > LIMIT) {
            return Err(EncodeError::TooLong { length, limit: LIMIT });
        }
        if flexible {
            self.unsigned_varint(length.map_or(0, |length| length as u32 + 1));
        } else {
            self.i32(length.map_or(-1, |length| length as i32));
        }
        Ok(())
    }

    /// One tagged field, with its tag and size.
    pub fn tagged_field(
        &mut self,
        tag: u32,
        content: impl FnOnce(&mut Writer) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.unsigned_varint(tag);
        let (start, splices) = (self.inline.len(), self.splices.len());
        content(self)?;
        assert_eq!(splices, self.splices.len(), "no message has spliced bytes in a tagged field");
        // The size stands ahead of a content that is known only now: append it, and turn it round to the front.
        let end = self.inline.len();
        self.unsigned_varint((end - start) as u32);
        let size_length = self.inline.len() - end;
        self.inline[start..].rotate_right(size_length);
        Ok(())
    }

    fn splice(&mut self, segment: Segment) {
        self.spliced_bytes += segment.len();
        self.splices.push((self.inline.len(), segment));
    }

    /// Leaves room for a size prefix; [`Writer::finish_frame`] fills it in.
    pub(crate) fn begin_frame(&mut self) {
        debug_assert!(self.is_empty(), "a frame starts with its size");
        self.i32(0);
    }

    /// The pieces of a frame that was begun with [`Writer::begin_frame`].
    pub(crate) fn finish_frame(mut self) -> Result<Segments, EncodeError> {
        let length = self.len() - size_of::<i32>();
        let size = i32::try_from(length).map_err(|_| EncodeError::TooLong { length, limit: i32::MAX as usize })?;
        self.inline[..4].copy_from_slice(&size.to_be_bytes());
        Ok(self.finish())
    }

    /// The pieces of what was written.
    pub fn finish(self) -> Segments {
        let mut inline = self.inline.freeze();
        let mut taken = 0;
        let mut segments = Vec::with_capacity(self.splices.len() * 2 + 1);
        for (position, splice) in self.splices {
            if position > taken {
                segments.push(Segment::Bytes(inline.split_to(position - taken)));
                taken = position;
            }
            segments.push(splice);
        }
        if !inline.is_empty() {
            segments.push(Segment::Bytes(inline));
        }
        Segments(segments)
    }
}

#[cfg(test)]
#[path = "wire_test.rs"]
mod tests;
