//! A cursor over one frame that refuses whatever the bytes at hand can not back.
//!
//! Owns the position, the end of the tagged field that is being read, and the memory that decoding may still take.

use bytes::Bytes;

use super::DecodeError;

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
    #[inline]
    pub fn remaining(&self) -> usize {
        self.end - self.position
    }

    /// Where the next value starts, counted from the frame's start.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Takes `bytes` of memory from the budget; call before allocating them.
    #[inline]
    pub fn charge(&mut self, bytes: usize) -> Result<(), DecodeError> {
        self.budget_left =
            self.budget_left.checked_sub(bytes).ok_or(DecodeError::OverBudget { budget: self.budget })?;
        Ok(())
    }

    #[inline]
    fn take(&mut self, needed: usize, what: &'static str) -> Result<&[u8], DecodeError> {
        let left = self.remaining();
        if needed > left {
            return Err(DecodeError::Truncated { what, needed, position: self.position, left });
        }
        let start = self.position;
        self.position += needed;
        Ok(&self.frame[start..start + needed])
    }

    #[inline]
    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        let bytes = self.take(N, what)?;
        Ok(bytes.try_into().expect("take returns as many bytes as asked for"))
    }

    /// One signed byte.
    #[inline]
    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        Ok(i8::from_be_bytes(self.array("int8")?))
    }

    /// A big-endian 16-bit integer.
    #[inline]
    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        Ok(i16::from_be_bytes(self.array("int16")?))
    }

    /// A big-endian unsigned 16-bit integer.
    #[inline]
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array("uint16")?))
    }

    /// A big-endian 32-bit integer.
    #[inline]
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.array("int32")?))
    }

    /// A big-endian unsigned 32-bit integer.
    #[inline]
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array("uint32")?))
    }

    /// A big-endian 64-bit integer.
    #[inline]
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.array("int64")?))
    }

    /// A big-endian IEEE 754 number of 64 bits.
    #[inline]
    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        Ok(f64::from_be_bytes(self.array("float64")?))
    }

    /// Sixteen bytes.
    #[inline]
    pub fn uuid(&mut self) -> Result<[u8; 16], DecodeError> {
        self.array("uuid")
    }

    /// An unsigned variable-length integer of at most 32 bits in at most five bytes.
    #[inline]
    pub fn unsigned_varint(&mut self) -> Result<u32, DecodeError> {
        let start = self.position;
        // Nearly all of them are lengths and counts of one byte.
        if let Some(&byte @ 0..0x80) = self.frame[start..self.end].first() {
            self.position += 1;
            return Ok(u32::from(byte));
        }
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
    #[inline]
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
