//! Appending a batch: refusals first, then one write.

use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;

use super::{Log, Writer, first_unstable};
use crate::storage::error::{AppendError, StorageError, is_no_space};
use crate::storage::producer_state::Verdict;
use crate::storage::segment::{ActiveSegment, extension, segment_path};
use crate::storage::txn_index::{self, AbortedTxn};
use crate::storage::validated_batch::ValidatedBatch;
use crate::storage::vfs::{keep_modified, write_all_at};
use crate::types::{LeaderEpoch, Offset};

/// Where a batch went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendOutcome {
    /// The offset of its first record.
    pub base_offset: Offset,
    /// The offset of its last record.
    pub last_offset: Offset,
    /// The batch's timestamp, if the broker set it (`message.timestamp.type=LogAppendTime`).
    pub log_append_time_ms: Option<i64>,
    /// The start of the log.
    pub log_start_offset: Offset,
    /// It was in the log already: an idempotent producer sent it again. Nothing was appended.
    pub duplicate: bool,
    /// The end of the log after it: what a wait for the disk has to reach. For a duplicate, the end of the log now.
    pub log_end_offset: Offset,
}

impl Log {
    /// Appends a batch at the end: assigns its offsets, writes `leader_epoch` into it.
    ///
    /// When it returns, the batch is in the page cache and visible to readers; it is durable once
    /// [`LogOffsets::flushed`](super::LogOffsets) has reached `log_end_offset`.
    ///
    /// # Errors
    /// Nothing was appended. After a failed write (other than a full disk) the log is offline for good.
    pub fn append(
        &self,
        mut batch: ValidatedBatch,
        leader_epoch: LeaderEpoch,
        now_ms: i64,
    ) -> Result<AppendOutcome, AppendError> {
        let config = self.config.load();
        let size_bytes = batch.size_bytes();
        if size_bytes > config.segment_bytes as usize {
            return Err(AppendError::BatchTooLarge { size_bytes, limit_bytes: config.segment_bytes as usize });
        }
        let mut writer = self.writer.lock();
        self.check_usable()?;
        let mut active = self.segments.load().active.clone();
        let log_end = active.end().next_offset;
        batch.place(log_end, leader_epoch);
        let header = batch.parsed();
        let producer_batch = batch.producer_batch(&header);
        let mut outcome = AppendOutcome {
            base_offset: log_end,
            last_offset: header.last_offset(),
            log_append_time_ms: header.log_append_time(),
            log_start_offset: self.offsets().log_start,
            duplicate: false,
            log_end_offset: header.next_offset(),
        };
        if let Some(producer_batch) = &producer_batch
            && let Verdict::Duplicate { base_offset, last_offset, timestamp } =
                writer.producers.check(producer_batch)?
        {
            outcome.log_append_time_ms = outcome.log_append_time_ms.map(|_| timestamp);
            return Ok(AppendOutcome { base_offset, last_offset, duplicate: true, log_end_offset: log_end, ..outcome });
        }
        if self.roll_is_due(&writer, &active, &header, &config, now_ms) {
            active = self.roll(&mut writer, &active, now_ms)?;
        }
        self.write(&mut writer, &active, &batch)?;
        let completed = producer_batch.as_ref().and_then(|batch| writer.producers.completed_by(batch));
        if let Some(aborted) = completed.filter(|completed| completed.is_aborted) {
            self.note_aborted(&mut writer, &active, &batch, &aborted.into())?;
        }
        writer.epochs_are_dirty |= writer.epochs.assign(leader_epoch, log_end);
        match producer_batch {
            Some(producer_batch) => {
                writer.producers.update(&producer_batch, now_ms);
                // Before the end of the log moves, so that no reader takes an open transaction for a stable one.
                self.first_unstable.store(first_unstable(&writer.producers), Ordering::Release);
            }
            None => writer.producers.advance_end_offset(outcome.log_end_offset),
        }
        active.publish(self.vfs(), &header, &mut writer.cadence, config.index_interval_bytes, now_ms);
        Ok(outcome)
    }

    fn write(&self, writer: &mut Writer, active: &ActiveSegment, batch: &ValidatedBatch) -> Result<(), StorageError> {
        let position = active.end().size_bytes;
        let written = write_all_at(&*active.file, batch.header(), batch.records(), position);
        written.map_err(|error| self.refuse(writer, active, batch.size_bytes(), &active.path, error))
    }

    /// An aborted transaction that the index does not name would be shown to readers of committed records: so a failure is
    /// that of the append, though recovery can rebuild the file. An entry that is cut off is none.
    fn note_aborted(
        &self,
        writer: &mut Writer,
        active: &ActiveSegment,
        batch: &ValidatedBatch,
        aborted: &AbortedTxn,
    ) -> Result<(), StorageError> {
        let path = segment_path(&self.dir, active.base_offset, extension::TRANSACTION_INDEX);
        let noted = txn_index::append(self.vfs(), &path, aborted);
        noted.map_err(|error| self.refuse(writer, active, batch.size_bytes(), &path, error))
    }

    /// A full disk passes, and what was written of the batch, which nobody has seen, can be taken back. Any other failure, and
    /// a failure of that too, leaves bytes in a file of which nothing is known.
    fn refuse(
        &self,
        writer: &mut Writer,
        active: &ActiveSegment,
        batch_bytes: usize,
        path: &Path,
        error: io::Error,
    ) -> StorageError {
        if is_no_space(&error) && active.file.set_len(active.end().size_bytes).is_ok() {
            writer.took_back = true;
            // What was refused makes the segment no younger.
            keep_modified(self.vfs(), &active.path, active.last_append_ms());
            return StorageError::NoSpace { path: path.to_owned(), bytes: batch_bytes };
        }
        self.poison_with(StorageError::io("append to", path)(error))
    }
}
