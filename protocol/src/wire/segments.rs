//! What a [`Writer`](super::Writer) yields: runs of bytes, some at hand and some that only the sender can fetch.

use bytes::{Bytes, BytesMut};

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
