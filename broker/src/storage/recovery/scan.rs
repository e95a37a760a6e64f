//! Checks the batches of a segment one by one, and tells what is damaged from what ends.
//!
//! Owns the rules for a batch that lies in a file: its checksum, and what the checksum does not cover (base offset and leader
//! epoch), which is checked against the neighbours. Changes nothing.

use std::collections::VecDeque;
use std::io;

use crate::storage::batch_header::{BatchHeader, HEADER_BYTES};
use crate::storage::batch_scan::{BatchCursor, SCAN_BLOCK_BYTES, SEARCH_BLOCK_BYTES, Step};
use crate::storage::leader_epoch::LeaderEpochCache;
use crate::storage::log::CorruptRange;
use crate::storage::segment::SegmentEnd;
use crate::storage::vfs::VfsFile;
use crate::types::{LeaderEpoch, Offset};

/// Bytes whose checksum is computed in the search for the next good batch behind a bad one, before the search is given up:
/// a hostile segment is full of headers that look right.
const RESYNC_CRC_BYTES_MAX: u64 = 1 << 30;
/// The magic byte's place in a header.
const MAGIC_AT: usize = 16;

/// What the scan met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::storage) enum Event {
    /// A good batch.
    Batch { position: u64, header: BatchHeader },
    /// Damaged batches, with good ones behind.
    Damage(CorruptRange),
    /// From here on there is no good batch in this segment.
    Tail { position: u64 },
    /// The segment ends after a good batch (or is empty).
    End,
}

/// A walk over a segment.
#[derive(Debug)]
pub(in crate::storage) struct Scan<'f> {
    cursor: BatchCursor<'f>,
    segment_base: Offset,
    /// The offset that the next batch must have.
    expected: Offset,
    /// No batch reaches beyond it.
    limit: Offset,
    /// The epoch of the last batch that a later one has confirmed.
    confirmed_epoch: LeaderEpoch,
    epoch_behind: Option<LeaderEpoch>,
    epochs: Option<&'f LeaderEpochCache>,
    checked_from: u64,
    /// Good but for its epoch, which the next batch has to confirm.
    pending: Option<(u64, BatchHeader)>,
    ready: VecDeque<Event>,
    finished: bool,
    end_position: u64,
}

/// Where a scan starts, and what it may find.
#[derive(Debug, Clone, Copy)]
pub(in crate::storage) struct ScanStart<'f> {
    pub(in crate::storage) segment_base: Offset,
    pub(in crate::storage) position: u64,
    pub(in crate::storage) expected: Offset,
    /// The base offset of the segment behind, if there is one.
    pub(in crate::storage) limit: Option<Offset>,
    /// The epoch of the batch before; [`LeaderEpoch::NONE`] if it is not known.
    pub(in crate::storage) epoch: LeaderEpoch,
    /// The epoch of the first batch of the segment behind.
    pub(in crate::storage) epoch_behind: Option<LeaderEpoch>,
    /// Which epoch wrote which offset, for a log in use, where that is known.
    pub(in crate::storage) epochs: Option<&'f LeaderEpochCache>,
}

/// A block for a walk over batches whose checksums were computed already: little but their headers is read.
const HEADERS_BLOCK_BYTES: usize = 16 << 10;

impl<'f> Scan<'f> {
    pub(in crate::storage) fn new(file: &'f dyn VfsFile, size_bytes: u64, start: ScanStart<'f>) -> Scan<'f> {
        Scan::with_block(file, size_bytes, start, SCAN_BLOCK_BYTES)
    }

    /// A walk over batches of which those from the position `checked_from` on were all found to be good a moment ago: their checksums
    /// are not computed again.
    pub(in crate::storage) fn over_checked(
        file: &'f dyn VfsFile,
        size_bytes: u64,
        start: ScanStart<'f>,
        checked_from: u64,
    ) -> Scan<'f> {
        let block_bytes = if checked_from <= start.position { HEADERS_BLOCK_BYTES } else { SCAN_BLOCK_BYTES };
        Scan { checked_from, ..Scan::with_block(file, size_bytes, start, block_bytes) }
    }

    fn with_block(file: &'f dyn VfsFile, size_bytes: u64, start: ScanStart<'f>, block_bytes: usize) -> Scan<'f> {
        Scan {
            cursor: BatchCursor::new(file, start.position, size_bytes, block_bytes),
            segment_base: start.segment_base,
            expected: start.expected,
            // An offset in a segment is at most i32::MAX from its base.
            limit: start.limit.unwrap_or(start.segment_base.plus(1 << 31)),
            confirmed_epoch: start.epoch,
            epoch_behind: start.epoch_behind,
            epochs: start.epochs,
            checked_from: u64::MAX,
            pending: None,
            ready: VecDeque::new(),
            finished: false,
            end_position: size_bytes,
        }
    }

    /// The offset after the last batch of the walk so far.
    pub(in crate::storage) fn next_offset(&self) -> Offset {
        self.expected
    }

    /// What comes next. After `Tail` and `End` there is nothing more.
    pub(in crate::storage) fn next(&mut self) -> io::Result<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            if self.finished {
                return Ok(Event::End);
            }
            self.step()?;
        }
    }

    fn step(&mut self) -> io::Result<()> {
        let position = self.cursor.position();
        match self.cursor.next()? {
            Step::End => {
                self.judge_last();
                self.ready.push_back(Event::End);
                self.finished = true;
            }
            Step::Batch { position, header } if self.fits(&header) && self.is_sound(position, &header)? => {
                self.judge_pending(header.leader_epoch);
                self.pending = Some((position, header));
                self.expected = header.next_offset();
            }
            Step::Batch { .. } | Step::Bad { .. } => {
                self.judge_last();
                let from = self.expected;
                match self.resync(position)? {
                    Some((good, header)) => {
                        let to = header.base_offset;
                        self.ready.push_back(Event::Damage(self.range(from, to, position, good)));
                        self.cursor.seek(good);
                        self.expected = to;
                    }
                    None => {
                        self.ready.push_back(Event::Tail { position });
                        self.finished = true;
                    }
                }
            }
        }
        Ok(())
    }

    fn range(&self, from: Offset, to: Offset, position: u64, end_position: u64) -> CorruptRange {
        CorruptRange { from, to, segment_base: self.segment_base, position, end_position }
    }

    fn fits(&self, header: &BatchHeader) -> bool {
        header.base_offset == self.expected
            && header.next_offset() <= self.limit
            && header.leader_epoch >= self.confirmed_epoch
            && self.epoch_is_known(header)
    }

    fn is_sound(&mut self, position: u64, header: &BatchHeader) -> io::Result<bool> {
        Ok(position >= self.checked_from || self.cursor.crc_matches(position, header)?)
    }

    fn epoch_is_known(&self, header: &BatchHeader) -> bool {
        let known = self.epochs.and_then(|epochs| epochs.epoch_for_offset(header.base_offset));
        known.is_none_or(|known| known == header.leader_epoch)
    }

    /// What has no good batch behind it in this segment is judged by the segment behind.
    fn judge_last(&mut self) {
        match self.epoch_behind.filter(|behind| *behind >= self.confirmed_epoch) {
            Some(behind) => self.judge_pending(behind),
            None => self.confirm_pending(),
        }
    }

    /// Epochs never fall. Where they do, and the batch behind agrees with those before, it is the one in between that lies.
    fn judge_pending(&mut self, behind: LeaderEpoch) {
        match self.pending {
            Some((position, header)) if header.leader_epoch > behind => {
                self.pending = None;
                let end_position = position + u64::from(header.size_bytes);
                let range = self.range(header.base_offset, header.next_offset(), position, end_position);
                self.ready.push_back(Event::Damage(range));
            }
            _ => self.confirm_pending(),
        }
    }

    fn confirm_pending(&mut self) {
        if let Some((position, header)) = self.pending.take() {
            self.confirmed_epoch = header.leader_epoch;
            self.ready.push_back(Event::Batch { position, header });
        }
    }

    /// The next good batch behind `bad`: where the bad one's length points to, if that is right, else wherever one starts.
    fn resync(&mut self, bad: u64) -> io::Result<Option<(u64, BatchHeader)>> {
        let mut crc_bytes_left = RESYNC_CRC_BYTES_MAX;
        if let Some(header) = BatchHeader::parse(self.cursor.bytes_at(bad, HEADER_BYTES)?) {
            let behind = bad + u64::from(header.size_bytes);
            if let Some(found) = self.good_at(behind, &mut crc_bytes_left)? {
                return Ok(Some((behind, found)));
            }
        }
        let mut at = bad + 1;
        while at + HEADER_BYTES as u64 <= self.end_position {
            let bytes = self.cursor.bytes_at(at, HEADER_BYTES)?;
            if bytes.len() < HEADER_BYTES {
                break;
            }
            // Most positions are ruled out by one byte.
            let candidates = bytes.len() - HEADER_BYTES + 1;
            let skip = bytes[MAGIC_AT..MAGIC_AT + candidates].iter().position(|magic| *magic == 2);
            let Some(skip) = skip else {
                at += candidates as u64;
                continue;
            };
            at += skip as u64;
            if let Some(found) = self.good_at(at, &mut crc_bytes_left)? {
                return Ok(Some((at, found)));
            }
            at += 1;
        }
        Ok(None)
    }

    fn good_at(&mut self, position: u64, crc_bytes_left: &mut u64) -> io::Result<Option<BatchHeader>> {
        let left = self.end_position.saturating_sub(position);
        let Some(header) = BatchHeader::parse(self.cursor.bytes_at(position, HEADER_BYTES)?) else { return Ok(None) };
        let size_bytes = u64::from(header.size_bytes);
        let plausible = size_bytes <= left
            && header.base_offset >= self.expected
            && header.next_offset() <= self.limit
            && header.leader_epoch >= self.confirmed_epoch;
        if !plausible || size_bytes > *crc_bytes_left {
            return Ok(None);
        }
        *crc_bytes_left -= size_bytes;
        Ok(self.cursor.crc_matches(position, &header)?.then_some(header))
    }
}

/// Checks the batches of a segment in use from `position`, where the batch with `base_offset` starts, to the one that holds
/// `end_position`, and that a good one follows: a wrong base offset shows in its neighbour only. Returns where the last batch
/// ends that was checked; `None` if anything is doubtful.
pub(in crate::storage) fn verify(
    file: &dyn VfsFile,
    segment_base: Offset,
    end: SegmentEnd,
    (base_offset, position): (Offset, u64),
    end_position: u64,
    epochs: &LeaderEpochCache,
) -> io::Result<Option<u64>> {
    let start = ScanStart {
        segment_base,
        position,
        expected: base_offset,
        limit: Some(end.next_offset),
        epoch: LeaderEpoch::NONE,
        epoch_behind: None,
        epochs: Some(epochs),
    };
    // Somebody waits for this: no more is read than is asked for, and the header behind.
    let wanted = end_position.saturating_sub(position) as usize;
    let block_bytes = wanted.saturating_add(SEARCH_BLOCK_BYTES).min(SCAN_BLOCK_BYTES);
    let mut scan = Scan::with_block(file, end.size_bytes, start, block_bytes);
    let mut checked = position;
    loop {
        match scan.next()? {
            Event::Batch { .. } if checked >= end_position => return Ok(Some(checked)),
            Event::Batch { position, header } => checked = position + u64::from(header.size_bytes),
            Event::End => return Ok((scan.next_offset() == end.next_offset).then_some(end.size_bytes)),
            Event::Damage(_) | Event::Tail { .. } => return Ok(None),
        }
    }
}

/// The damaged ranges of a segment that is in use.
pub(in crate::storage) fn find_damage(
    file: &dyn VfsFile,
    segment_base: Offset,
    end: SegmentEnd,
    epochs: &LeaderEpochCache,
) -> io::Result<Vec<CorruptRange>> {
    let start = ScanStart {
        segment_base,
        position: 0,
        expected: segment_base,
        limit: Some(end.next_offset),
        epoch: LeaderEpoch::NONE,
        epoch_behind: None,
        epochs: Some(epochs),
    };
    let mut scan = Scan::new(file, end.size_bytes, start);
    let mut damage = Vec::new();
    loop {
        match scan.next()? {
            Event::Batch { .. } => {}
            Event::Damage(range) => damage.push(range),
            Event::Tail { position } => {
                damage.push(scan.range(scan.expected, end.next_offset, position, end.size_bytes));
                return Ok(damage);
            }
            Event::End => {
                if scan.expected < end.next_offset {
                    damage.push(scan.range(scan.expected, end.next_offset, end.size_bytes, end.size_bytes));
                }
                return Ok(damage);
            }
        }
    }
}
