//! What adjacent segments come to together, and whether one may take their place: the limits that merging and compaction share.
//!
//! Invariant: however often segments are replaced, none becomes larger or reaches over a longer time than one step allows.

use std::sync::Arc;

use super::error::StorageError;
use super::log::Log;
use super::log_config::LogConfig;
use super::segment::{SealedSegment, Segment};
use crate::types::Offset;

/// The part of the retention that a segment may make up which replaces several.
const RETENTION_SHARE: i64 = 10;
const HOUR_MS: i64 = 3_600_000;

/// A segment, or several that follow one another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    pub(super) size_bytes: u64,
    pub(super) index_bytes: u64,
    pub(super) base_offset: Offset,
    pub(super) next_offset: Offset,
    /// What the age is counted from, where anything tells.
    pub(super) newest_ms: Option<i64>,
    /// How long it reaches back, also where it was merged of others: the time of the first batch, or else `newest_ms`.
    pub(super) oldest_ms: Option<i64>,
    /// Each first batch has a time, and none of the future.
    pub(super) is_dated: bool,
}

impl Extent {
    /// That of one segment.
    ///
    /// # Errors
    /// The segment cannot be read.
    pub(super) fn of(log: &Log, segment: &Arc<SealedSegment>) -> Result<Extent, StorageError> {
        let newest_ms = log.newest_ms(&Segment::Sealed(Arc::clone(segment)))?;
        let first = segment.first_timestamp().map_err(StorageError::io("read", segment.file.path()))?;
        let first = first.filter(|first| newest_ms.is_some_and(|newest_ms| *first <= newest_ms));
        Ok(Extent {
            size_bytes: segment.size_bytes,
            index_bytes: segment.index_bytes(),
            base_offset: segment.base_offset,
            next_offset: segment.next_offset,
            newest_ms,
            oldest_ms: first.or(newest_ms),
            is_dated: first.is_some(),
        })
    }

    fn and(self, behind: Extent) -> Extent {
        Extent {
            size_bytes: self.size_bytes + behind.size_bytes,
            index_bytes: self.index_bytes + behind.index_bytes,
            base_offset: self.base_offset,
            next_offset: behind.next_offset,
            newest_ms: self.newest_ms.max(behind.newest_ms),
            oldest_ms: [self.oldest_ms, behind.oldest_ms].into_iter().flatten().min(),
            is_dated: self.is_dated && behind.is_dated,
        }
    }

    /// Whether one segment can hold it. The retention by size removes whole segments: none may be a large part of it.
    pub(super) fn fits(&self, config: &LogConfig) -> bool {
        let segment_bytes = u64::from(config.segment_bytes);
        let size_bytes_max = u64::try_from(config.retention_bytes)
            .map_or(segment_bytes, |limit| segment_bytes.min(limit / RETENTION_SHARE as u64));
        self.size_bytes <= size_bytes_max
            && self.index_bytes <= u64::from(config.segment_index_bytes)
            && self.next_offset.0 - self.base_offset.0 <= i64::from(i32::MAX)
    }

    /// Whether it reaches over no more than a tenth of the time that records are kept, so that none is kept for the sake of its
    /// neighbours. Where it is not known how far it reaches it does not count as brief, since it would reach further with each
    /// repetition. Where time does not delete: no more than an hour, or a tenth of the age.
    pub(super) fn is_brief(&self, config: &LogConfig, now_ms: i64) -> bool {
        let newest_ms = self.newest_ms.unwrap_or(now_ms);
        let span_ms = newest_ms.saturating_sub(self.oldest_ms.unwrap_or(newest_ms));
        match config.retention_ms {
            ..0 => span_ms <= (now_ms.saturating_sub(newest_ms) / RETENTION_SHARE).max(HOUR_MS),
            limit_ms => self.is_dated && span_ms <= limit_ms / RETENTION_SHARE,
        }
    }
}

/// How many of these that follow one another, from the first on, may together become one segment; one at least, by itself.
pub(super) fn joinable(extents: &[Extent], may_be_one: impl Fn(&Extent) -> bool) -> usize {
    let together = extents.iter().copied().scan(None, |before: &mut Option<Extent>, extent| {
        let all = before.map_or(extent, |before| before.and(extent));
        *before = Some(all);
        Some(all)
    });
    together.take_while(may_be_one).count().max(1)
}
