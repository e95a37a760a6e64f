//! Reads a sealed segment batch by batch, each checked down to its checksum and its place.
//!
//! Owns the reading for those who write a segment anew. Memory is one block, or one batch where that is larger, whose size the
//! segment bounds; as long as nobody holds a batch of it, a block's memory is used again for the next one.
//! Invariant: what it returns is sound and dense: it starts where the segment or the batch before ends.

use std::io;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use ottla_protocol::records::BatchView;

use super::batch_header::{BatchHeader, HEADER_BYTES};
use super::segment::SealedSegment;
use super::vfs::{VfsFile, read_up_to_at};
use crate::types::Offset;

/// Read at once: so little that the processor's cache still has it when its batches are looked at and copied.
const BLOCK_BYTES: usize = 256 << 10;

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
    /// Where the next batch starts, and where the segment ends.
    position: u64,
    size_bytes: u64,
    expected: Offset,
    end: Offset,
    block: Bytes,
    /// What of the block lies behind `position`.
    unread: Bytes,
}

impl<'f> SegmentBatches<'f> {
    /// From the segment's first batch on; `file` is the segment's.
    pub(super) fn new(segment: &SealedSegment, file: &'f Arc<dyn VfsFile>) -> Self {
        SegmentBatches {
            file,
            position: 0,
            size_bytes: segment.size_bytes,
            expected: segment.base_offset,
            end: segment.next_offset,
            block: Bytes::new(),
            unread: Bytes::new(),
        }
    }

    /// The next batch. After damage and the end there is nothing more.
    pub(super) fn next(&mut self) -> io::Result<NextBatch> {
        let position = self.position;
        if position >= self.size_bytes && self.expected == self.end {
            return Ok(NextBatch::End);
        }
        let Some((header, batch)) = self.sound_batch()? else { return Ok(NextBatch::Damaged { position }) };
        self.position += u64::from(header.size_bytes);
        self.unread.advance(batch.size_in_bytes());
        self.expected = header.next_offset();
        Ok(NextBatch::Batch(header, batch))
    }

    /// The batch at `position`; `None` where there is none, or not the one that belongs there.
    fn sound_batch(&mut self) -> io::Result<Option<(BatchHeader, BatchView)>> {
        self.fill(HEADER_BYTES)?;
        let is_in_place = |header: &BatchHeader| {
            header.base_offset == self.expected
                && header.next_offset() <= self.end
                && u64::from(header.size_bytes) <= self.size_bytes - self.position
        };
        let Some(header) = BatchHeader::parse(&self.unread).filter(is_in_place) else { return Ok(None) };
        self.fill(header.size_bytes as usize)?;
        let batch = BatchView::split(&self.unread).ok().map(|(batch, _)| batch);
        Ok(batch.filter(|batch| batch.check_crc().is_ok()).map(|batch| (header, batch)))
    }

    /// Sees to it that at least `wanted` bytes from `position` on are in memory, unless the segment or its file ends before.
    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        if self.unread.len() >= wanted {
            return Ok(());
        }
        let left = self.size_bytes.saturating_sub(self.position);
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(wanted.max(BLOCK_BYTES));
        self.unread = Bytes::new();
        let mut block = std::mem::take(&mut self.block).try_into_mut().unwrap_or_else(|_in_use| BytesMut::new());
        block.resize(len, 0);
        let read = read_up_to_at(&**self.file, &mut block, self.position)?;
        block.truncate(read);
        self.block = block.freeze();
        self.unread = self.block.clone();
        Ok(())
    }
}
