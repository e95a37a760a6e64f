//! Writes what compaction keeps of adjacent segments into a new one, without a gap between the offsets.
//!
//! Owns what stands at offsets whose batches are gone: the batch before covers them if nothing depends on where it ends,
//! else an empty batch of 61 bytes does. So the log stays dense, and recovery, reads and checks need to know nothing of
//! compaction; Kafka, which leaves gaps, cannot tell a batch that moved within one. Epochs stay where they began: what covers
//! the offsets of one epoch ends with it.

use ottla_protocol::records::{empty_batch, extend_to};

use crate::storage::batch_header::BatchHeader;
use crate::storage::error::StorageError;
use crate::storage::replacement::NewSegment;
use crate::types::{LeaderEpoch, Offset};

/// What is known of the last batch that was kept, and not written yet.
#[derive(Clone, Copy)]
struct Pending {
    epoch: LeaderEpoch,
    /// It may be made to cover more offsets.
    is_elastic: bool,
}

/// Offsets at which there is nothing any more.
#[derive(Clone, Copy)]
struct Gap {
    from: Offset,
    epoch: LeaderEpoch,
}

/// Writes a new segment.
pub(super) struct DenseWriter {
    new: NewSegment,
    pending: Option<Pending>,
    /// Its bytes; the memory is used again for the next one.
    batch: Vec<u8>,
    gap: Option<Gap>,
}

impl DenseWriter {
    /// Writes into `new`, which is empty.
    pub(super) fn new(new: NewSegment) -> Self {
        DenseWriter { new, pending: None, batch: Vec::new(), gap: None }
    }

    /// Keeps a batch. One without a producer may be stretched over offsets behind it.
    pub(super) fn keep(&mut self, batch: &[u8], header: &BatchHeader) -> Result<(), StorageError> {
        self.make_room(header)?;
        self.batch.clear();
        self.batch.extend_from_slice(batch);
        Ok(())
    }

    /// The same with what has become of it, which is taken, and other memory left in its place.
    pub(super) fn keep_rewritten(&mut self, batch: &mut Vec<u8>, header: &BatchHeader) -> Result<(), StorageError> {
        self.make_room(header)?;
        std::mem::swap(&mut self.batch, batch);
        Ok(())
    }

    fn make_room(&mut self, header: &BatchHeader) -> Result<(), StorageError> {
        self.close_gap(header.base_offset)?;
        self.write_pending()?;
        let is_elastic = !header.producer_id.is_some() && !header.is_control();
        self.pending = Some(Pending { epoch: header.leader_epoch, is_elastic });
        Ok(())
    }

    /// Leaves a batch out.
    pub(super) fn leave_out(&mut self, header: &BatchHeader) -> Result<(), StorageError> {
        let epoch = header.leader_epoch;
        if self.gap.is_some_and(|gap| gap.epoch != epoch) {
            self.close_gap(header.base_offset)?;
        }
        self.gap.get_or_insert(Gap { from: header.base_offset, epoch });
        Ok(())
    }

    /// Writes what is left. The segment ends before `next_offset`.
    pub(super) fn end_before(&mut self, next_offset: Offset) -> Result<(), StorageError> {
        self.close_gap(next_offset)?;
        self.write_pending()
    }

    /// The segment, as far as it was written.
    pub(super) fn into_segment(self) -> NewSegment {
        self.new
    }

    fn close_gap(&mut self, to: Offset) -> Result<(), StorageError> {
        let Some(gap) = self.gap.take() else { return Ok(()) };
        match self.pending {
            Some(pending) if pending.is_elastic && pending.epoch == gap.epoch => {
                extend_to(&mut self.batch, to.0);
                Ok(())
            }
            _ => {
                self.write_pending()?;
                self.new.push(&empty_batch(gap.from.0..to.0, gap.epoch.0))
            }
        }
    }

    fn write_pending(&mut self) -> Result<(), StorageError> {
        match self.pending.take() {
            Some(_) => self.new.push(&self.batch),
            None => Ok(()),
        }
    }
}
