//! One cleaning of one log: how dirty it is, which of its segments may be cleaned, and what came of it.
//!
//! Does not own what stays (`pass.rs`), nor when a log is cleaned (`progress.rs`).

use std::sync::Arc;

use super::newest::NewestOffsets;
use super::pass::Pass;
use super::survivors::Survivors;
use super::transactions::Transactions;
use crate::storage::error::StorageError;
use crate::storage::log::Log;
use crate::storage::segment::{FoundBatch, SealedSegment, Search, Segment, last_append_ms};
use crate::storage::throttle::Throttle;
use crate::types::Offset;

/// What a log's cleaning works with.
#[derive(Debug, Clone, Copy)]
pub struct CleanLimits {
    /// Memory for the keys of one pass, in bytes.
    pub map_bytes_max: usize,
    /// What a batch may come to when it is decompressed, in bytes; one that comes to more is left as it is.
    pub decompressed_bytes_max: usize,
}

/// What one pass over a log did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CleanReport {
    /// Records before it have none of the same key before them. The next pass maps from here on.
    pub cleaned_up_to: Offset,
    /// There is more to map than memory was given for: the next pass is due at once.
    pub more_to_do: bool,
    /// Keys that were mapped.
    pub keys: usize,
    /// Bytes of the segments that were rewritten.
    pub bytes_read: u64,
    /// Bytes of those that took their place.
    pub bytes_written: u64,
    /// Records that went.
    pub records_removed: u64,
}

/// How much of a log is cleaned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Dirt {
    /// Bytes that a cleaning would look at for keys.
    pub(super) dirty_bytes: u64,
    /// All bytes that a cleaning may touch.
    pub(super) cleanable_bytes: u64,
    /// Since when the first batch that a cleaning would look at waits for it, in milliseconds since 1970: its time, or that of
    /// its segment's last append if that is older. Only where `max.compaction.lag.ms` asks for it.
    pub(super) oldest_dirty_ms: Option<i64>,
}

impl Log {
    /// How dirty a log is that was cleaned up to `cleaned_up_to`.
    pub(super) fn dirt(&self, cleaned_up_to: Offset, now_ms: i64) -> Result<Dirt, StorageError> {
        let waiting_counts = self.config().max_compaction_lag_ms < i64::MAX;
        let mut dirt = Dirt { dirty_bytes: 0, cleanable_bytes: 0, oldest_dirty_ms: None };
        for segment in self.cleanable(cleaned_up_to, now_ms)?.into_iter().flatten() {
            dirt.cleanable_bytes += segment.size_bytes;
            if segment.next_offset <= cleaned_up_to {
                continue;
            }
            let is_clean_in_part = segment.base_offset < cleaned_up_to;
            let first = match is_clean_in_part || (waiting_counts && dirt.oldest_dirty_ms.is_none()) {
                true => self.first_batch(&segment, cleaned_up_to)?,
                false => None,
            };
            // Merging puts what is dirty and what is clean into one segment.
            dirt.dirty_bytes += segment.size_bytes - first.map_or(0, |batch| batch.position);
            if waiting_counts {
                // Not by its newest record: merging makes a segment younger.
                let first_ms = first.map(|batch| batch.header.max_timestamp).filter(|timestamp| *timestamp >= 0);
                let since_ms = first_ms.into_iter().chain(last_append_ms(std::slice::from_ref(&segment))).min();
                dirt.oldest_dirty_ms = dirt.oldest_dirty_ms.or(since_ms);
            }
        }
        Ok(dirt)
    }

    /// The first batch of a segment that reaches to an offset or behind it; `None` where damage hides it.
    fn first_batch(&self, segment: &Arc<SealedSegment>, from: Offset) -> Result<Option<FoundBatch>, StorageError> {
        let segment = Segment::Sealed(Arc::clone(segment));
        let read = || StorageError::io("read", segment.path());
        let file = segment.file().map_err(read())?;
        let from = from.max(segment.base_offset());
        match segment.search(&*file, from, segment.end(), &self.corrupt_ranges()).map_err(read())? {
            Search::Found(batch) => Ok(Some(batch)),
            Search::Behind | Search::Bad { .. } => Ok(None),
        }
    }

    /// Cleans the log once, which was cleaned up to `cleaned_up_to` before. Durable when it returns.
    ///
    /// # Errors
    /// A segment is damaged, or cannot be read or written, or what takes the place of some would not fit above the reserve beside
    /// them, or the work was stopped. What was done before stays, and is done
    /// again by the next cleaning.
    pub fn clean(
        &self,
        cleaned_up_to: Offset,
        limits: CleanLimits,
        now_ms: i64,
        throttle: &dyn Throttle,
    ) -> Result<CleanReport, StorageError> {
        let runs = self.cleanable(cleaned_up_to, now_ms)?;
        let end = runs.iter().flatten().last().map_or(cleaned_up_to, |segment| segment.next_offset);
        let config = self.config();
        let aborted = self.aborted_transactions(self.offsets().log_start, end)?;
        let mut pass = Pass {
            log: self,
            horizon_ms: now_ms.saturating_add(config.delete_retention_ms),
            config: &config,
            limits,
            now_ms,
            throttle,
            newest: NewestOffsets::new(cleaned_up_to, limits.map_bytes_max),
            survivors: Survivors::default(),
            rewritten: Vec::new(),
            transactions: Transactions::new(&aborted),
            protected: self.with_producers(|producers| {
                producers.iter().flat_map(|(_, entry)| entry.batches().iter().map(|b| b.first_offset())).collect()
            }),
            report: CleanReport { cleaned_up_to, ..CleanReport::default() },
        };
        pass.check_space(&runs)?;
        let bytes_of = |of_interest: &dyn Fn(&SealedSegment) -> bool| -> u64 {
            runs.iter().flatten().filter(|segment| of_interest(segment)).map(|segment| segment.size_bytes).sum()
        };
        throttle.begin_step("reading keys", bytes_of(&|segment| segment.next_offset > cleaned_up_to));
        pass.map_keys(&runs, cleaned_up_to)?;
        let mapped_to = pass.report.cleaned_up_to;
        throttle.begin_step("rewriting segments", 2 * bytes_of(&|segment| segment.base_offset < mapped_to));
        match pass.rewrite(runs) {
            // What was done is done; the next pass, with what is there then, goes on.
            Err(StorageError::SegmentsChanged { .. }) => {
                pass.report.cleaned_up_to = cleaned_up_to;
                pass.report.more_to_do = true;
            }
            rewritten => rewritten?,
        }
        Ok(pass.report)
    }

    /// The segments that may be cleaned, in runs of adjacent ones: sealed and durable, whole before the first transaction
    /// that is open, and, where they are dirty, without a record younger than `min.compaction.lag.ms`.
    fn cleanable(&self, cleaned_up_to: Offset, now_ms: i64) -> Result<Vec<Vec<Arc<SealedSegment>>>, StorageError> {
        let stable = self.first_unstable_offset().unwrap_or(Offset(i64::MAX));
        let mut runs = self.replaceable_runs()?;
        let mut end = Offset(i64::MAX);
        for segment in runs.iter().flatten() {
            let is_young = segment.next_offset > cleaned_up_to && self.is_too_young(segment, now_ms)?;
            if is_young || segment.next_offset > stable {
                end = segment.base_offset;
                break;
            }
        }
        runs.iter_mut().for_each(|run| run.retain(|segment| segment.next_offset <= end));
        runs.retain(|run| !run.is_empty());
        Ok(runs)
    }

    /// Whether a segment has a record younger than `min.compaction.lag.ms` in a log that is compacted. A timestamp of the future
    /// makes none young.
    pub(in crate::storage) fn is_too_young(
        &self,
        segment: &Arc<SealedSegment>,
        now_ms: i64,
    ) -> Result<bool, StorageError> {
        let config = self.config();
        if !config.compact || config.min_compaction_lag_ms == 0 {
            return Ok(false);
        }
        let newest_ms = self.newest_ms(&Segment::Sealed(Arc::clone(segment)))?;
        Ok(newest_ms.is_some_and(|newest_ms| newest_ms > now_ms.saturating_sub(config.min_compaction_lag_ms)))
    }
}

#[cfg(test)]
#[path = "clean_test.rs"]
mod tests;
