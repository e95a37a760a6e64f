//! Reads a sealed segment batch by batch, each checked down to its checksum and its place.
//!
//! Owns the reading for those who write a segment anew. Memory is one block and one batch, whose size the segment bounds.
//! Invariant: what it returns is sound and dense: it starts where the segment or the batch before ends.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::records::BatchView;

use super::batch_header::BatchHeader;
use super::batch_scan::{BatchCursor, SCAN_BLOCK_BYTES, Step};
use super::segment::SealedSegment;
use super::vfs::{VfsFile, read_exact_at};
use crate::types::Offset;

/// What reading a batch came to.
#[derive(Debug)]
pub(super) enum NextBatch {
    Batch(BatchHeader, BatchView),
    /// From this position on the segment is not what it should be.
    Damaged {
        position: u64,
    },
    End,
}

/// A walk over a sealed segment.
pub(super) struct SegmentBatches<'f> {
    file: &'f Arc<dyn VfsFile>,
    cursor: BatchCursor<'f>,
    expected: Offset,
    end: Offset,
}

impl<'f> SegmentBatches<'f> {
    /// From the segment's first batch on; `file` is the segment's.
    pub(super) fn new(segment: &SealedSegment, file: &'f Arc<dyn VfsFile>) -> Self {
        let cursor = BatchCursor::new(&**file, 0, segment.size_bytes, SCAN_BLOCK_BYTES);
        SegmentBatches { file, cursor, expected: segment.base_offset, end: segment.next_offset }
    }

    /// The next batch. After damage and the end there is nothing more.
    pub(super) fn next(&mut self) -> io::Result<NextBatch> {
        let at = self.cursor.position();
        let (position, header) = match self.cursor.next()? {
            Step::Batch { position, header } => (position, header),
            Step::End if self.expected == self.end => return Ok(NextBatch::End),
            Step::End => return Ok(NextBatch::Damaged { position: at }),
            Step::Bad { position } => return Ok(NextBatch::Damaged { position }),
        };
        if header.base_offset != self.expected || header.next_offset() > self.end {
            return Ok(NextBatch::Damaged { position });
        }
        let bytes = self.bytes(position, header.size_bytes as usize)?;
        let Some(batch) = BatchView::split(&bytes).ok().map(|(batch, _)| batch).filter(|b| b.check_crc().is_ok())
        else {
            return Ok(NextBatch::Damaged { position });
        };
        self.expected = header.next_offset();
        Ok(NextBatch::Batch(header, batch))
    }

    fn bytes(&mut self, position: u64, size_bytes: usize) -> io::Result<Bytes> {
        if size_bytes <= SCAN_BLOCK_BYTES {
            let buffered = self.cursor.bytes_at(position, size_bytes)?;
            if buffered.len() >= size_bytes {
                return Ok(Bytes::copy_from_slice(&buffered[..size_bytes]));
            }
        }
        let mut bytes = vec![0; size_bytes];
        read_exact_at(&**self.file, &mut bytes, position)?;
        Ok(Bytes::from(bytes))
    }
}
