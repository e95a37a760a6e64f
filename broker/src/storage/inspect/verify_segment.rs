//! Walks over one segment as recovery would that trusts nothing, and notes what is wrong with it and with its indexes.

use std::path::{Path, PathBuf};

use ottla_protocol::records::OffsetDeltas;

use super::finding::{Finding, REFUSED};
use super::index_check::IndexCheck;
use super::segment_dump::{RECORD_BYTES_MAX, read_batch};
use super::segment_rewrite::DamagedRange;
use super::verify::Verification;
use crate::storage::batch_header::{BatchHeader, HEADER_BYTES};
use crate::storage::error::StorageError;
use crate::storage::log::CorruptRange;
use crate::storage::producer_state::CompletedTxn;
use crate::storage::recovery::{
    CONTROL_BATCH_BYTES_MAX, Event, Scan, ScanStart, end_txn_marker, first_epoch, holds_good_batch,
};
use crate::storage::vfs::{Access, VfsFile, read_up_to_at};
use crate::types::{LeaderEpoch, Offset};

const CUT: &str = "copied to the quarantine, and cut off";
const SERVED: &str = "served as it is: its checksum is right";

/// One segment among the others.
#[derive(Debug, Clone)]
pub(super) struct SegmentInFolder {
    pub(super) base: Offset,
    pub(super) path: PathBuf,
    pub(super) log_bytes: u64,
    /// It takes the place of others at the next start, and gets indexes then.
    pub(super) is_replacement: bool,
}

/// How the walk over a segment ended.
enum Ending {
    Whole,
    Tail(u64),
}

struct Walked {
    next_offset: Offset,
    ending: Ending,
    indexes: Option<IndexCheck>,
}

impl Verification<'_> {
    /// Goes through the segments, oldest first, until the last one or a torn tail. Returns the end of the log.
    pub(super) fn segments(&mut self) -> Result<Offset, StorageError> {
        let mut epoch = LeaderEpoch::NONE;
        let mut log_end = Offset::ZERO;
        let mut at = 0;
        while at < self.segments.len() {
            let next_base = self.segments.get(at + 1).map(|next| next.base);
            if next_base.is_some_and(|next_base| next_base <= self.log_start_on_record) {
                // Its records were deleted, and a stop came before the file was.
                self.progress.add(self.segments[at].log_bytes);
                at += 1;
                continue;
            }
            let Walked { next_offset, ending, indexes } = self.walk(at, next_base, &mut epoch)?;
            let SegmentInFolder { base, ref path, log_bytes, .. } = self.segments[at];
            let path = path.clone();
            log_end = next_offset;
            let good_behind = next_base.is_some() && self.any_good_batch_behind(at)?;
            match (ending, next_base) {
                (ending, Some(next_base)) if good_behind => {
                    let position = match ending {
                        Ending::Whole => log_bytes,
                        Ending::Tail(position) => position,
                    };
                    if next_offset < next_base {
                        let (from, to) = (next_offset, next_base);
                        let range = CorruptRange { from, to, segment_base: base, position, end_position: log_bytes };
                        self.damage(path, range);
                    }
                }
                (Ending::Whole, Some(next_base)) if next_offset == next_base => {}
                (ending, _) if next_offset < self.durable_end => {
                    let position = match ending {
                        Ending::Whole => log_bytes,
                        Ending::Tail(position) => position,
                    };
                    let (from, to) = (next_offset, self.durable_end);
                    let range = CorruptRange { from, to, segment_base: base, position, end_position: log_bytes };
                    self.report.ends_in_damage = true;
                    self.damage(path, range);
                    self.segments_behind_the_end(at + 1);
                    log_end = self.durable_end;
                }
                (ending, _) => {
                    if let Ending::Tail(position) = ending {
                        let what = format!("{} bytes behind the last sound batch are no batch", log_bytes - position);
                        let finding = Finding::records(path, what, CUT).bytes(position, log_bytes);
                        self.note(finding.offsets(next_offset, next_offset));
                    }
                    self.segments_behind_the_end(at + 1);
                }
            }
            let is_last = at + 1 == self.segments.len();
            let wrong = indexes.map(|indexes| indexes.finish(is_last)).unwrap_or_default();
            wrong.into_iter().for_each(|finding| self.note(finding));
            at += 1;
        }
        Ok(log_end)
    }

    fn segments_behind_the_end(&mut self, first: usize) {
        for behind in self.segments.split_off(first) {
            if self.report.ends_in_damage && behind.log_bytes == 0 && behind.base == self.durable_end {
                // A start has made it, and makes it again.
                continue;
            }
            let (what, remedy) = match behind.log_bytes {
                0 => ("an empty segment that does not follow the one before", "removed"),
                _ => ("a segment without a sound batch, behind a torn one", "moved to the quarantine"),
            };
            self.note(Finding::records(behind.path, what, remedy).bytes(0, behind.log_bytes));
        }
    }

    fn any_good_batch_behind(&self, at: usize) -> Result<bool, StorageError> {
        for (index, segment) in self.segments.iter().enumerate().skip(at + 1) {
            let limit = self.segments.get(index + 1).map(|next| next.base);
            if holds_good_batch(self.vfs, &segment.path, segment.base, segment.log_bytes, limit)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn damage(&mut self, path: PathBuf, range: CorruptRange) {
        let CorruptRange { from, to, position, end_position, .. } = range;
        let bytes = end_position - position;
        let what = match (from == to, bytes) {
            (false, 0) if self.report.ends_in_damage => {
                "records that were on the disk are missing from the end".to_owned()
            }
            (false, _) if self.report.ends_in_damage => {
                format!("{bytes} bytes at the end, where there were sound batches on the disk, are none any more")
            }
            (true, _) => format!("{bytes} bytes between sound batches are no batch that belongs there"),
            (false, 0) => "records are missing between two sound batches".to_owned(),
            (false, _) => format!("{bytes} bytes with sound batches behind are no sound batches"),
        };
        let leader_epoch = self.epochs.latest_epoch().unwrap_or(LeaderEpoch::NONE);
        self.report.corrupt.push(DamagedRange { range, leader_epoch });
        self.note(Finding::records(path, what, REFUSED).bytes(position, end_position).offsets(from, to));
    }

    /// Walks over one segment; `next_base` is where the one behind begins.
    fn walk(&mut self, at: usize, next_base: Option<Offset>, epoch: &mut LeaderEpoch) -> Result<Walked, StorageError> {
        let SegmentInFolder { base, ref path, log_bytes, is_replacement } = self.segments[at];
        let path = path.clone();
        let read_error = |error| StorageError::io("read", &path)(error);
        let file = self.vfs.open(&path, Access::Read).map_err(StorageError::io("open", &path))?;
        let mut indexes = match is_replacement {
            true => None,
            false => Some(IndexCheck::new(self.vfs, self.dir, base)?),
        };
        let behind = self.segments.get(at + 1);
        let start = ScanStart {
            segment_base: base,
            position: 0,
            expected: base,
            limit: next_base,
            epoch: *epoch,
            epoch_behind: behind.and_then(|next| first_epoch(self.vfs, &next.path, next.base, next.log_bytes)),
            epochs: None,
        };
        let mut scan = Scan::new(&*file, log_bytes, start);
        let mut completed = Vec::new();
        let mut seen_to = 0;
        let ending = loop {
            match scan.next().map_err(read_error)? {
                Event::Batch { position, header } => {
                    let end_position = position + u64::from(header.size_bytes);
                    self.progress.add(end_position - seen_to);
                    seen_to = end_position;
                    *epoch = header.leader_epoch;
                    indexes.iter_mut().for_each(|indexes| indexes.see(position, &header));
                    self.epochs.assign(header.leader_epoch, header.base_offset);
                    completed.extend(self.batch(&path, &*file, position, &header).map_err(read_error)?);
                }
                Event::Damage(range) => {
                    indexes.iter_mut().for_each(|indexes| indexes.see_damage(range.to, range.end_position));
                    self.damage(path.clone(), range);
                }
                Event::Tail { position } => {
                    // Where a segment follows, its entries may speak of batches that are damaged now.
                    if next_base.is_some() {
                        indexes.iter_mut().for_each(|indexes| indexes.see_damage(Offset(i64::MAX), u64::MAX));
                    }
                    break Ending::Tail(position);
                }
                Event::End => break Ending::Whole,
            }
        };
        self.progress.add(log_bytes.saturating_sub(seen_to));
        self.transaction_index(base, &completed)?;
        Ok(Walked { next_offset: scan.next_offset(), ending, indexes })
    }

    /// Takes note of a sound batch; returns the transaction that it ends.
    fn batch(
        &mut self,
        path: &Path,
        file: &dyn VfsFile,
        position: u64,
        header: &BatchHeader,
    ) -> std::io::Result<Option<CompletedTxn>> {
        self.report.batches += 1;
        self.report.records += u64::try_from(header.record_count).unwrap_or(0);
        let concerns = |finding: Finding| {
            let end_position = position + u64::from(header.size_bytes);
            finding.bytes(position, end_position).offsets(header.base_offset, header.next_offset())
        };
        let offsets = i64::from(header.last_offset_delta) + 1;
        if !(0..=offsets).contains(&i64::from(header.record_count)) {
            let what = format!("a batch of {offsets} offsets says that it has {} records", header.record_count);
            self.note(concerns(Finding::records(path.to_owned(), what, SERVED)));
        } else if self.options.records {
            let checked = read_batch(file, position, header.size_bytes).and_then(|view| {
                let walked = view.check_records(OffsetDeltas::Rising, RECORD_BYTES_MAX, |_| {});
                walked.map_err(|error| error.to_string())
            });
            if let Err(error) = checked {
                let what = format!("the records of a batch cannot be read: {error}");
                self.note(concerns(Finding::records(path.to_owned(), what, SERVED)));
            }
        }
        let marker = match header.is_control() {
            true => {
                let mut bytes = vec![0; (header.size_bytes as usize).min(CONTROL_BATCH_BYTES_MAX)];
                let read = read_up_to_at(file, &mut bytes, position)?;
                end_txn_marker(bytes[..read].get(HEADER_BYTES..).unwrap_or_default())
            }
            false => None,
        };
        Ok(header.producer_batch(marker).and_then(|batch| self.producers.update(&batch, 0)))
    }
}
