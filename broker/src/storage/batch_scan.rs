//! Walks over the batches of a segment file, header by header, without trusting any length it reads.
//!
//! Owns the buffering and the checksum of a batch that lies in a file. Does not decide what a bad batch means: recovery
//! and reads do. Memory is one block, however large a batch claims to be.

use std::io;

use ottla_protocol::records::Crc32c;

use super::batch_header::{BatchHeader, CRC_COVERS_FROM, HEADER_BYTES};
use super::vfs::{VfsFile, read_up_to_at};

/// A block for finding one batch near an index entry.
pub(super) const SEARCH_BLOCK_BYTES: usize = 4 << 10;
/// A block for reading a segment from front to back.
pub(super) const SCAN_BLOCK_BYTES: usize = 1 << 20;

/// What comes next in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// A batch that lies wholly in the range.
    Batch {
        position: u64,
        header: BatchHeader,
    },
    /// No batch can start here, or it reaches beyond the range.
    Bad {
        position: u64,
    },
    End,
}

/// A position in a segment file.
#[derive(Debug)]
pub(super) struct BatchCursor<'f> {
    file: &'f dyn VfsFile,
    position: u64,
    end: u64,
    block: Vec<u8>,
    /// The part of the file that `block` holds starts here and has so many bytes.
    block_at: u64,
    block_len: usize,
}

impl<'f> BatchCursor<'f> {
    /// Walks from `position`, where a batch starts, to `end`.
    pub(super) fn new(file: &'f dyn VfsFile, position: u64, end: u64, block_bytes: usize) -> Self {
        let block_bytes = block_bytes.min(end.saturating_sub(position) as usize).max(HEADER_BYTES);
        BatchCursor { file, position, end, block: vec![0; block_bytes], block_at: 0, block_len: 0 }
    }

    /// Where the next batch is looked for.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Goes on at another place.
    pub(super) fn seek(&mut self, position: u64) {
        self.position = position;
    }

    /// Steps over the next batch. After `Bad` the cursor stays where it is.
    pub(super) fn next(&mut self) -> io::Result<Step> {
        let position = self.position;
        if position >= self.end {
            return Ok(Step::End);
        }
        let left = self.end - position;
        match BatchHeader::parse(self.bytes_at(position, HEADER_BYTES)?) {
            Some(header) if u64::from(header.size_bytes) <= left => {
                self.position += u64::from(header.size_bytes);
                Ok(Step::Batch { position, header })
            }
            _ => Ok(Step::Bad { position }),
        }
    }

    /// Whether the checksum of the batch at `position` is that of its bytes.
    pub(super) fn crc_matches(&mut self, position: u64, header: &BatchHeader) -> io::Result<bool> {
        let mut digest = Crc32c::new();
        let end = position + u64::from(header.size_bytes);
        let mut at = position + CRC_COVERS_FROM as u64;
        while at < end {
            let bytes = self.bytes_at(at, 1)?;
            if bytes.is_empty() {
                return Ok(false);
            }
            let bytes = &bytes[..bytes.len().min((end - at) as usize)];
            digest.update(bytes);
            at += bytes.len() as u64;
        }
        Ok(digest.finish() == header.crc)
    }

    /// The buffered bytes from `at` on: at least `wanted`, unless the range or the file ends before.
    pub(super) fn bytes_at(&mut self, at: u64, wanted: usize) -> io::Result<&[u8]> {
        let wanted = wanted.min(self.block.len()).min(self.end.saturating_sub(at) as usize);
        let buffered = at >= self.block_at && at + wanted as u64 <= self.block_at + self.block_len as u64;
        if !buffered || self.block_len == 0 {
            let len = self.block.len().min(self.end.saturating_sub(at) as usize);
            self.block_len = 0;
            self.block_len = read_up_to_at(self.file, &mut self.block[..len], at)?;
            self.block_at = at;
        }
        let from = (at - self.block_at) as usize;
        Ok(&self.block[from.min(self.block_len)..self.block_len])
    }
}
