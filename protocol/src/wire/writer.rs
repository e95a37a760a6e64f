//! Builds a message in one growing buffer and remembers where foreign bytes belong, so that records are never copied.

use bytes::{BufMut, Bytes, BytesMut};

use super::{EncodeError, Segment, Segments};

/// Records from this size on are referred to instead of copied.
pub(super) const SPLICE_FROM_BYTES: usize = 1024;

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
    #[inline]
    pub fn i8(&mut self, value: i8) {
        self.inline.put_i8(value);
    }

    /// A big-endian 16-bit integer.
    #[inline]
    pub fn i16(&mut self, value: i16) {
        self.inline.put_i16(value);
    }

    /// A big-endian unsigned 16-bit integer.
    #[inline]
    pub fn u16(&mut self, value: u16) {
        self.inline.put_u16(value);
    }

    /// A big-endian 32-bit integer.
    #[inline]
    pub fn i32(&mut self, value: i32) {
        self.inline.put_i32(value);
    }

    /// A big-endian unsigned 32-bit integer.
    #[inline]
    pub fn u32(&mut self, value: u32) {
        self.inline.put_u32(value);
    }

    /// A big-endian 64-bit integer.
    #[inline]
    pub fn i64(&mut self, value: i64) {
        self.inline.put_i64(value);
    }

    /// A big-endian IEEE 754 number of 64 bits.
    #[inline]
    pub fn f64(&mut self, value: f64) {
        self.inline.put_f64(value);
    }

    /// Bytes as they are, without a length.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) {
        self.inline.extend_from_slice(bytes);
    }

    /// An unsigned variable-length integer.
    #[inline]
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
