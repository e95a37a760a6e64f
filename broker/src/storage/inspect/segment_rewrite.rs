//! Writes a segment anew without its damaged ranges.
//!
//! In the place of each there is one batch without records that covers its offsets, as compaction leaves them too: offsets
//! stay dense, each record keeps its own, and readers step over the gap. The damaged bytes are in the backup folder before
//! the new segment takes the name of the old one, by one rename.

use std::path::Path;

use ottla_protocol::records::crc32c;

use crate::storage::batch_header::{CRC_COVERS_FROM, HEADER_BYTES, LENGTH_OVERHEAD};
use crate::storage::error::StorageError;
use crate::storage::log::CorruptRange;
use crate::storage::segment::{extension, segment_path};
use crate::storage::vfs::{Access, Vfs, VfsFile, keep_modified, modified_ms, read_exact_at, write_all_at};
use crate::types::{LeaderEpoch, Offset};

const COPY_BLOCK_BYTES: usize = 1 << 20;

/// A damaged range, and the epoch of the sound batch before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct DamagedRange {
    pub(super) range: CorruptRange,
    pub(super) leader_epoch: LeaderEpoch,
}

impl DamagedRange {
    /// Whether one batch can cover the offsets: a segment holds no more than 2^31.
    pub(super) fn can_be_left_out(&self) -> bool {
        let CorruptRange { from, to, segment_base, .. } = self.range;
        from <= to && to.0 - segment_base.0 <= 1 << 31
    }
}

/// Leaves these ranges, all of one segment and in order, out of it. Durable when it returns.
pub(super) fn leave_out(
    vfs: &dyn Vfs,
    dir: &Path,
    base: Offset,
    ranges: &[DamagedRange],
    backup: &Path,
) -> Result<(), StorageError> {
    let path = segment_path(dir, base, extension::LOG);
    let old = vfs.open(&path, Access::Read).map_err(StorageError::io("open", &path))?;
    let size_bytes = old.len().map_err(StorageError::io("read", &path))?;
    let modified_ms = modified_ms(vfs, &path).map_err(StorageError::io("list", dir))?;
    let temporary = dir.join(format!("{:020}.{}.tmp", base.0, extension::LOG));
    let new = vfs.open(&temporary, Access::CreateOrKeep).map_err(StorageError::io("create", &temporary))?;
    let copy = |into: &dyn VfsFile, from: u64, to: u64, at: u64| {
        copy_range(&*old, into, (from, to), at).map_err(StorageError::io("copy from", &path))
    };
    new.set_len(0).map_err(StorageError::io("cut", &temporary))?;
    let (mut read_to, mut written) = (0, 0);
    for DamagedRange { range, leader_epoch } in ranges {
        let (position, end_position) = (range.position.max(read_to), range.end_position.max(read_to));
        copy(&*new, read_to, position, written)?;
        written += position - read_to;
        if position < end_position {
            let folder = dir.file_name().unwrap_or_default().to_string_lossy();
            let kept = backup.join(format!("{folder}.{:020}.{}.{position}.dropped", base.0, extension::LOG));
            let file = vfs.open(&kept, Access::CreateNew).map_err(StorageError::io("create", &kept))?;
            copy(&*file, position, end_position, 0)?;
            file.sync_data().map_err(StorageError::io("sync", &kept))?;
        }
        if range.from < range.to {
            let batch = batch_without_records(range.from, range.to, *leader_epoch);
            write_all_at(&*new, &batch, &[], written).map_err(StorageError::io("write", &temporary))?;
            written += batch.len() as u64;
        }
        read_to = end_position;
    }
    copy(&*new, read_to, size_bytes, written)?;
    keep_modified(vfs, &temporary, modified_ms);
    new.sync_data().map_err(StorageError::io("sync", &temporary))?;
    vfs.sync_dir(backup).map_err(StorageError::io("sync", backup))?;
    vfs.rename(&temporary, &path).map_err(StorageError::io("replace", &path))?;
    vfs.sync_dir(dir).map_err(StorageError::io("sync", dir))
}

fn copy_range(from: &dyn VfsFile, into: &dyn VfsFile, (start, end): (u64, u64), at: u64) -> std::io::Result<()> {
    let mut block = vec![0; COPY_BLOCK_BYTES.min(end.saturating_sub(start) as usize)];
    let mut done = start;
    while done < end {
        let len = block.len().min((end - done) as usize);
        read_exact_at(from, &mut block[..len], done)?;
        write_all_at(into, &block[..len], &[], at + done - start)?;
        done += len as u64;
    }
    Ok(())
}

/// A batch that takes the offsets `from..to` and holds nothing. Without timestamps, producer or sequence.
fn batch_without_records(from: Offset, to: Offset, leader_epoch: LeaderEpoch) -> [u8; HEADER_BYTES] {
    let mut batch = [0; HEADER_BYTES];
    let mut put = |at: usize, field: &[u8]| batch[at..at + field.len()].copy_from_slice(field);
    put(0, &from.0.to_be_bytes());
    put(8, &((HEADER_BYTES - LENGTH_OVERHEAD) as i32).to_be_bytes());
    put(12, &leader_epoch.0.to_be_bytes());
    put(16, &[2]);
    put(23, &((to.0 - from.0 - 1) as i32).to_be_bytes());
    put(27, &(-1i64).to_be_bytes());
    put(35, &(-1i64).to_be_bytes());
    put(43, &(-1i64).to_be_bytes());
    put(51, &(-1i16).to_be_bytes());
    put(53, &(-1i32).to_be_bytes());
    let crc = crc32c(&batch[CRC_COVERS_FROM..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::batch_header::BatchHeader;
    use bytes::Bytes;
    use ottla_protocol::records::{BatchView, OffsetDeltas};

    #[test]
    fn a_batch_without_records_is_sound_and_takes_its_offsets() {
        let bytes = batch_without_records(Offset(7), Offset(12), LeaderEpoch(3));
        let header = BatchHeader::parse(&bytes).unwrap();
        assert_eq!(
            (header.base_offset, header.next_offset(), header.leader_epoch),
            (Offset(7), Offset(12), LeaderEpoch(3))
        );
        assert!(!header.producer_id.is_some() && !header.is_control());
        let (view, rest) = BatchView::split(&Bytes::copy_from_slice(&bytes)).unwrap();
        view.check_crc().unwrap();
        assert!(rest.is_empty());
        assert_eq!(view.check_records(OffsetDeltas::Rising, 1000, |_| {}).unwrap().record_count, 0);
    }
}
