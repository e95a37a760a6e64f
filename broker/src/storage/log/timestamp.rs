//! Searching by time: which record is the first at or after a timestamp, and which has the largest.
//!
//! A segment's largest timestamp and its time index say where to look; the answer is that of the records themselves. Only a
//! batch that decompresses to more than is allowed now (the limit was lowered since it was taken) is answered by its header:
//! the offset is then too early at worst, never too late.

use std::io;

use bytes::Bytes;
use ottla_protocol::records::{BatchError, BatchView, Record};

use super::Log;
use crate::storage::batch_scan::{BatchCursor, SEARCH_BLOCK_BYTES, Step};
use crate::storage::error::{ReadError, StorageError};
use crate::storage::index::TimeEntry;
use crate::storage::segment::{FoundBatch, Search, Segment};
use crate::storage::vfs::{VfsFile, read_exact_at};
use crate::types::{LeaderEpoch, Offset};

/// A record found by its timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampOffset {
    /// Its timestamp, in milliseconds since 1970.
    pub timestamp: i64,
    /// Its offset.
    pub offset: Offset,
    /// The epoch of the leader that appended it.
    pub leader_epoch: LeaderEpoch,
}

impl Log {
    /// The first record whose timestamp is `timestamp` or later, at or behind the start of the log; `None` if all are older.
    ///
    /// # Errors
    /// The segment cannot be read, or the batch that should hold the record is damaged.
    pub fn offset_for_timestamp(&self, timestamp: i64) -> Result<Option<TimestampOffset>, ReadError> {
        self.check_open()?;
        let log_start = self.offsets().log_start;
        for segment in self.segments.load().iter() {
            let largest = self.largest_timestamp(&segment)?;
            if largest.is_none_or(|largest| largest.timestamp < timestamp) {
                continue;
            }
            let from = segment
                .offset_before_timestamp(timestamp, &self.corrupt.load())
                .map_err(StorageError::io("read", segment.path()))?
                .max(log_start);
            // Where the segment's largest timestamp lies before the start of the log, nothing may be found here.
            let wanted = |header_max: i64| header_max >= timestamp;
            let found =
                self.find_record(&segment, from, wanted, |r| r.timestamp >= timestamp && r.offset >= log_start.0)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The largest timestamp of a segment and the last offset of its batch. Where the time index does not tell, the batches do,
    /// those behind damage too: what is missed here would be deleted before its time.
    ///
    /// # Errors
    /// The segment cannot be read.
    pub(in crate::storage) fn largest_timestamp(&self, segment: &Segment) -> Result<Option<TimeEntry>, StorageError> {
        let largest = match segment.largest_timestamp(&self.corrupt.load()) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                self.look_for_damage(segment)?;
                segment.largest_timestamp(&self.corrupt.load())
            }
            largest => largest,
        };
        largest.map_err(StorageError::io("read the timestamps of", segment.path()))
    }

    /// The record with the largest timestamp, the first of them if there are several; `None` in an empty log.
    ///
    /// # Errors
    /// As [`Log::offset_for_timestamp`].
    pub fn max_timestamp_offset(&self) -> Result<Option<TimestampOffset>, ReadError> {
        self.check_open()?;
        let log_start = self.offsets().log_start;
        let mut best: Option<(i64, Offset, Segment)> = None;
        for segment in self.segments.load().iter() {
            let largest = self.largest_timestamp(&segment)?;
            if let Some(largest) = largest
                && best.as_ref().is_none_or(|(timestamp, ..)| largest.timestamp > *timestamp)
            {
                best = Some((largest.timestamp, largest.offset, segment));
            }
        }
        let Some((timestamp, offset, segment)) = best else { return Ok(None) };
        if offset < log_start {
            // It was deleted; what is left has to be looked through.
            return self.max_timestamp_of_rest(log_start);
        }
        let wanted = |r: &Record| r.timestamp >= timestamp && r.offset >= log_start.0;
        match self.find_record(&segment, offset, |header_max| header_max >= timestamp, wanted)? {
            Some(found) => Ok(Some(found)),
            // It was deleted, or compaction took it, and its batch still has its time.
            None => self.max_timestamp_of_rest(log_start),
        }
    }

    fn max_timestamp_of_rest(&self, log_start: Offset) -> Result<Option<TimestampOffset>, ReadError> {
        let mut best: Option<TimestampOffset> = None;
        for segment in self.segments.load().iter() {
            let beats = |timestamp: i64, best: &Option<TimestampOffset>| best.is_none_or(|b| timestamp > b.timestamp);
            loop {
                let header_beats = |header_max: i64| beats(header_max, &best);
                let record_beats = |r: &Record| r.offset >= log_start.0 && beats(r.timestamp, &best);
                match self.find_record(&segment, segment.base_offset().max(log_start), header_beats, record_beats)? {
                    Some(found) => best = Some(found),
                    None => break,
                }
            }
        }
        Ok(best)
    }

    /// The first record at or behind `from` that is `wanted`, among the batches whose largest timestamp is. Damage is stepped
    /// over.
    fn find_record(
        &self,
        segment: &Segment,
        from: Offset,
        wanted_batch: impl Fn(i64) -> bool,
        wanted: impl Fn(&Record) -> bool,
    ) -> Result<Option<TimestampOffset>, ReadError> {
        match self.find_record_up_to_damage(segment, from, &wanted_batch, &wanted) {
            Err(ReadError::Corrupt { .. }) => {
                self.look_for_damage(segment)?;
                self.find_record_up_to_damage(segment, from, &wanted_batch, &wanted)
            }
            found => found,
        }
    }

    /// Steps over the damage that is known, and fails at any other.
    fn find_record_up_to_damage(
        &self,
        segment: &Segment,
        from: Offset,
        wanted_batch: &impl Fn(i64) -> bool,
        wanted: &impl Fn(&Record) -> bool,
    ) -> Result<Option<TimestampOffset>, ReadError> {
        let read_error = |error: io::Error| ReadError::from(StorageError::io("read", segment.path())(error));
        let end = segment.end();
        let file = segment.file().map_err(read_error)?;
        let damage = self.corrupt.load();
        let decompressed_bytes_max = self.config.load().decompressed_bytes_max;
        let first = match segment.search(&*file, from, end, &damage).map_err(read_error)? {
            Search::Found(batch) => batch,
            Search::Behind => return Ok(None),
            Search::Bad { .. } => return Err(self.corrupt_from(from, end.next_offset)),
        };
        let mut cursor = BatchCursor::new(&*file, first.position, end.size_bytes, SEARCH_BLOCK_BYTES);
        loop {
            let at = cursor.position();
            if let Some(range) = damage.iter().find(|d| d.segment_base == segment.base_offset() && d.position == at)
                && range.end_position > at
            {
                cursor.seek(range.end_position);
            }
            match cursor.next().map_err(read_error)? {
                Step::Batch { position, header } => {
                    if wanted_batch(header.max_timestamp) {
                        // Before its size is believed.
                        if !cursor.crc_matches(position, &header).map_err(read_error)? {
                            return Err(self.corrupt_from(header.base_offset, header.next_offset()));
                        }
                        let batch = FoundBatch { position, header };
                        match find_in_batch(&*file, batch, from, decompressed_bytes_max, wanted) {
                            Ok(None) => {}
                            Ok(found) => return Ok(found),
                            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                                return Err(self.corrupt_from(header.base_offset, header.next_offset()));
                            }
                            Err(error) => return Err(read_error(error)),
                        }
                    }
                }
                Step::Bad { .. } => return Err(self.corrupt_from(from, end.next_offset)),
                Step::End => return Ok(None),
            }
        }
    }

    fn corrupt_from(&self, from: Offset, to: Offset) -> ReadError {
        ReadError::Corrupt { log: self.name(), from, to }
    }
}

/// The first record of a batch that is wanted, in a search from `from` on. A batch that is damaged is `InvalidData`.
fn find_in_batch(
    file: &dyn VfsFile,
    batch: FoundBatch,
    from: Offset,
    decompressed_bytes_max: usize,
    wanted: &impl Fn(&Record) -> bool,
) -> io::Result<Option<TimestampOffset>> {
    let header = batch.header;
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut bytes = vec![0; header.size_bytes as usize];
    read_exact_at(file, &mut bytes, batch.position)?;
    let (view, _rest) = BatchView::split(&Bytes::from(bytes)).map_err(invalid)?;
    let found = view
        .records(decompressed_bytes_max)
        .and_then(|mut records| records.find(|record| record.as_ref().map_or(true, wanted)).transpose());
    let (timestamp, offset) = match found {
        Ok(Some(record)) => (record.timestamp, Offset(record.offset)),
        Ok(None) => return Ok(None),
        Err(BatchError::TooLargeDecompressed { .. }) => (header.max_timestamp, header.base_offset.max(from)),
        Err(error) => return Err(invalid(error)),
    };
    Ok(Some(TimestampOffset { timestamp, offset, leader_epoch: header.leader_epoch }))
}
