//! Merging: small adjacent segments become one, so that a topic that rolls by time at a trickle ends with few files.
//!
//! Owns which segments are merged, and the copying. Batches are copied as they are; that one file takes the place of several
//! at once is `replacement.rs`'s business. Does not decide when to look (`cleaner.rs` does).
//!
//! Segments that are merged come to no more than `segment.bytes` together, nor than a tenth of `retention.bytes`, and their oldest
//! and newest records lie no further apart than a tenth of `retention.ms`; where time does not delete, than an hour or a tenth of
//! their age, whichever is longer (`extent.rs`). As a segment is deleted when its newest record is too old, merging keeps no record
//! longer than that beyond its time, however often it is repeated. Lest a large segment is copied again and again for a trickle
//! behind it, one above 64 MiB is copied only when the others double it.
//! Where compaction has to leave young records alone (`min.compaction.lag.ms`), merging does too.

use std::ops::Range;
use std::sync::Arc;

use super::error::StorageError;
use super::extent::{Extent, joinable};
use super::log::Log;
use super::log_config::LogConfig;
use super::pending::PendingReplacements;
use super::replacement::{NewSegment, Replacement};
use super::segment::{SealedSegment, last_append_ms};
use super::segment_batches::{NextBatch, SegmentBatches};
use super::throttle::Throttle;
use crate::types::Offset;

/// A segment below is cheap to copy.
const CHEAP_BYTES: u64 = 64 << 20;

impl Log {
    /// Merges what may be merged; returns how many files of segments there are fewer. Durable when it returns.
    ///
    /// # Errors
    /// A segment cannot be read or written, or what is to be written would not fit above the reserve; what was merged before stays
    /// so. Damage is no error: its segment is left alone.
    pub fn merge_segments(&self, now_ms: i64, throttle: &dyn Throttle) -> Result<usize, StorageError> {
        if self.segment_count() < 3 {
            // Two sealed ones at least.
            return Ok(0);
        }
        let mut pending = PendingReplacements::of_copies(self, throttle);
        let merged = self.merge_runs(now_ms, throttle, &mut pending);
        let replaced = pending.replace();
        let fewer = pending.segments_fewer;
        if fewer > 0 {
            let (bytes, into_bytes) = (pending.bytes_read, pending.bytes_written);
            tracing::debug!(log = %self.topic_partition(), fewer, bytes, into_bytes, "merged segments");
        }
        merged.and(replaced).map(|()| fewer)
    }

    fn merge_runs(
        &self,
        now_ms: i64,
        throttle: &dyn Throttle,
        pending: &mut PendingReplacements<'_>,
    ) -> Result<(), StorageError> {
        let config = self.config();
        for mut run in self.replaceable_runs()? {
            run.truncate(self.first_young(&run, now_ms)?);
            let extents = run.iter().map(|segment| Extent::of(self, segment)).collect::<Result<Vec<_>, _>>()?;
            let groups = groups(&extents, self.segments_replaced_max(), &config, now_ms);
            let bytes = groups.iter().flat_map(|group| &extents[group.clone()]).map(|extent| extent.size_bytes);
            throttle.begin_step("merging segments", 2 * bytes.sum::<u64>());
            let (mut rest, mut at) = (run.into_iter(), 0);
            for group in groups {
                // Whoever holds a replaced segment holds its files: those of a group go with it.
                rest.by_ref().take(group.start - at).for_each(drop);
                let segments: Vec<_> = rest.by_ref().take(group.len()).collect();
                at = group.end;
                self.merge(segments, &config, throttle, pending)?;
            }
        }
        Ok(())
    }

    /// How many segments of a run come before the first that compaction has to leave alone yet. Together with older ones it
    /// would keep them from being compacted.
    fn first_young(&self, run: &[Arc<SealedSegment>], now_ms: i64) -> Result<usize, StorageError> {
        for (index, segment) in run.iter().enumerate() {
            if self.is_too_young(segment, now_ms)? {
                return Ok(index);
            }
        }
        Ok(run.len())
    }

    /// Writes one segment with what these have, unless one of them is damaged.
    fn merge(
        &self,
        segments: Vec<Arc<SealedSegment>>,
        config: &LogConfig,
        throttle: &dyn Throttle,
        pending: &mut PendingReplacements<'_>,
    ) -> Result<(), StorageError> {
        let space = pending.claim_space(&segments)?;
        let (vfs, dir) = (self.vfs(), self.dir());
        let mut new = NewSegment::create(vfs, dir, segments[0].base_offset, config.index_interval_bytes)?;
        let copied = segments.iter().try_fold(true, |sound, segment| match sound {
            true => copy(segment, &mut new, throttle),
            false => Ok(false),
        });
        match copied {
            Ok(true) => {
                let new = new.finish(vfs, last_append_ms(&segments))?;
                pending.push(Replacement { old: segments, new, named_before: Offset(i64::MAX) }, space);
                Ok(())
            }
            Ok(false) => {
                new.discard(vfs);
                segments.iter().for_each(|segment| self.note_damage(segment));
                Ok(())
            }
            Err(error) => {
                new.discard(vfs);
                Err(error)
            }
        }
    }
}

/// False at the first batch that is damaged.
fn copy(segment: &Arc<SealedSegment>, new: &mut NewSegment, throttle: &dyn Throttle) -> Result<bool, StorageError> {
    let read = || StorageError::io("read", segment.file.path());
    let file = segment.file.get().map_err(read())?;
    let mut batches = SegmentBatches::new(segment, &file);
    loop {
        match batches.next().map_err(read())? {
            NextBatch::Batch(_, batch) => {
                throttle.pass(2 * batch.size_in_bytes() as u64)?;
                new.push(batch.bytes())?;
            }
            NextBatch::Damaged { .. } => return Ok(false),
            NextBatch::End => return Ok(true),
        }
    }
}

/// Which of these adjacent segments become one: ranges of at least two and at most `len_max`.
fn groups(extents: &[Extent], len_max: usize, config: &LogConfig, now_ms: i64) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let mut rest = 0..extents.len();
    while !rest.is_empty() {
        let next = &extents[rest.start..rest.end.min(rest.start + len_max)];
        let mut len = joinable(next, |all| all.fits(config) && all.is_brief(config, now_ms));
        // A large one on either side keeps the small ones from nothing but itself.
        while len > 1 && !is_worth_it(&next[..len]) {
            len -= 1;
        }
        if len > 1 {
            groups.push(rest.start..rest.start + len);
        }
        rest.start += len;
    }
    groups
}

fn is_worth_it(extents: &[Extent]) -> bool {
    let total: u64 = extents.iter().map(|extent| extent.size_bytes).sum();
    let largest = extents.iter().map(|extent| extent.size_bytes).max().unwrap_or(0);
    largest <= CHEAP_BYTES || total >= 2 * largest
}

#[cfg(test)]
#[path = "merge_test.rs"]
mod tests;
