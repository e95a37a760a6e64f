//! Retention: whole segments go, the oldest first, once they are too old or the log is too large.
//!
//! Owns the decision which segments `retention.ms` and `retention.bytes` no longer keep; the removal is that of
//! DeleteRecords. Does not decide when to look (the housekeeping does), nor whether a topic is cleaned by deletion at all:
//! one that is not has neither limit.
//!
//! A segment is as old as its newest record or as its last append, whichever is older: so neither a timestamp of the future
//! nor records without any keep it for ever, and one old timestamp among new ones takes nothing away. Where the file system does
//! not tell of the last append and no record bears a time, it is as old as the segment behind it.

use std::sync::Arc;

use super::{Log, Segments};
use crate::storage::error::StorageError;
use crate::storage::log_config::LogConfig;
use crate::storage::segment::Segment;

impl Log {
    /// Removes the segments that are kept no longer, the one that is being written included: a new one takes its place.
    /// Returns how many. The new start of the log is durable when this returns.
    ///
    /// # Errors
    /// A segment's time cannot be read, or the new start could not be put on record; what was not removed is tried again at
    /// the next call.
    pub fn apply_retention(&self, now_ms: i64) -> Result<usize, StorageError> {
        self.check_usable()?;
        let config = self.config();
        self.roll_if_old(&config, now_ms)?;
        let segments = self.segments.load_full();
        let log_start = self.offsets().log_start;
        let deleted = segments.sealed.partition_point(|segment| segment.next_offset <= log_start);
        let mut gone = self.kept_no_longer(&segments, &config, now_ms).max(deleted);
        if gone > segments.sealed.len() {
            gone = self.seal_to_remove(&config, now_ms);
        }
        let segments = self.segments.load_full();
        let Some(last) = gone.checked_sub(1).and_then(|index| segments.sealed.get(index)) else { return Ok(0) };
        let start = self.delete_records(last.next_offset)?;
        tracing::info!(log = %self.topic_partition, segments = gone, %start, "removed what retention no longer keeps");
        Ok(gone)
    }

    /// Seals the active segment when it is older than `segment.ms`, also when nothing is appended that would do it.
    fn roll_if_old(&self, config: &LogConfig, now_ms: i64) -> Result<(), StorageError> {
        let mut writer = self.writer.lock();
        let active = Arc::clone(&self.segments.load().active);
        if active.end().size_bytes == 0 || !self.is_old(&writer, &active, config, now_ms) {
            return Ok(());
        }
        match self.roll(&mut writer, &active, now_ms) {
            // It stays until there is space.
            Ok(_) | Err(StorageError::NoSpace { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Seals the active segment if it too is to go, which only the one who may append can say. Returns how many sealed
    /// segments are to go then.
    fn seal_to_remove(&self, config: &LogConfig, now_ms: i64) -> usize {
        let mut writer = self.writer.lock();
        let segments = self.segments.load_full();
        let gone = self.kept_no_longer(&segments, config, now_ms);
        if gone <= segments.sealed.len() {
            return gone;
        }
        match self.roll(&mut writer, &segments.active, now_ms) {
            Ok(_) => gone,
            // A full disk is no reason to keep the others, on the contrary, and is known.
            Err(StorageError::NoSpace { .. }) => segments.sealed.len(),
            Err(error) => {
                tracing::warn!(log = %self.topic_partition, %error, "the last segment is too old and cannot be replaced yet");
                segments.sealed.len()
            }
        }
    }

    /// How many of the oldest segments are to go.
    fn kept_no_longer(&self, segments: &Segments, config: &LogConfig, now_ms: i64) -> usize {
        let by_size = match u64::try_from(config.retention_bytes) {
            Ok(limit) => too_many(segments, limit),
            Err(_) => 0,
        };
        let by_age = match config.retention_ms {
            ..0 => 0,
            limit_ms => self.too_old(segments, now_ms.saturating_sub(limit_ms)),
        };
        by_size.max(by_age)
    }

    /// How many of the oldest segments are older than `oldest_ms`. One that cannot be read is as old as its last append.
    fn too_old(&self, segments: &Segments, oldest_ms: i64) -> usize {
        let mut count = 0;
        for (index, segment) in segments.iter().enumerate().filter(|(_, segment)| !is_empty(segment)) {
            let newest_ms = self.newest_ms(&segment).unwrap_or_else(|error| {
                tracing::error!(log = %self.topic_partition, %error, "the times of a segment cannot be read; it goes by when it was last appended to");
                segment.last_append_ms()
            });
            match newest_ms {
                Some(newest_ms) if newest_ms >= oldest_ms => break,
                Some(_) => count = index + 1,
                None => {}
            }
        }
        count
    }

    /// What the age of a segment is counted from, in milliseconds since 1970: the time of its newest record or of its last
    /// append, whichever is older, so that a timestamp of the future makes none young. `None` where nothing tells.
    ///
    /// # Errors
    /// The segment cannot be read.
    pub(in crate::storage) fn newest_ms(&self, segment: &Segment) -> Result<Option<i64>, StorageError> {
        let largest = self.largest_timestamp(segment)?;
        let newest_record_ms = largest.map(|entry| entry.timestamp).filter(|timestamp| *timestamp >= 0);
        Ok(newest_record_ms.into_iter().chain(segment.last_append_ms()).min())
    }
}

/// How many of the oldest segments can go while at least `limit` bytes stay.
fn too_many(segments: &Segments, limit: u64) -> usize {
    // Looked at once: the active segment grows meanwhile.
    let sizes: Vec<u64> = segments.iter().map(|segment| segment.end().size_bytes).filter(|size| *size > 0).collect();
    let mut left: u64 = sizes.iter().sum();
    let goes = |size: &&u64| {
        left -= **size;
        left >= limit
    };
    sizes.iter().take_while(goes).count()
}

/// Only the active segment can be empty.
fn is_empty(segment: &Segment) -> bool {
    segment.end().size_bytes == 0
}

#[cfg(test)]
#[path = "retention_test.rs"]
mod tests;
