//! The transaction index of a segment: the aborted transactions whose marker lies in it, in Kafka's format.
//!
//! Owns the file `.txnindex`, which exists only where there is something to say, and what is kept in memory of one. A cache like
//! the others: recovery writes it anew from the markers in the log.
//!
//! ```text
//! 34 bytes an entry: version i16 = 0 | producer id i64 | first offset i64 | last offset i64 (the marker's) | last stable offset i64
//! ```

use std::io;
use std::path::Path;
use std::sync::OnceLock;

use super::open_transactions::CompletedTxn;
use super::vfs::{Access, Vfs, read_file, write_all_at};
use crate::types::{Offset, ProducerId};

const ENTRY_BYTES: usize = 34;

/// An aborted transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AbortedTxn {
    /// Whose it was.
    pub producer_id: ProducerId,
    /// The offset of its first record.
    pub first_offset: Offset,
    /// The offset of the marker that ended it.
    pub last_offset: Offset,
    /// The last stable offset once it had ended.
    pub last_stable_offset: Offset,
}

impl From<CompletedTxn> for AbortedTxn {
    fn from(completed: CompletedTxn) -> Self {
        AbortedTxn {
            producer_id: completed.producer_id,
            first_offset: completed.first_offset,
            last_offset: completed.last_offset,
            last_stable_offset: completed.last_stable_offset,
        }
    }
}

impl AbortedTxn {
    fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        let fields = [self.producer_id.0, self.first_offset.0, self.last_offset.0, self.last_stable_offset.0];
        for (field, place) in fields.iter().zip(bytes[2..].chunks_exact_mut(8)) {
            place.copy_from_slice(&field.to_be_bytes());
        }
        bytes
    }

    /// `None` for a version that is not known.
    fn decode(bytes: &[u8; ENTRY_BYTES]) -> Option<AbortedTxn> {
        let field = |n: usize| {
            let mut field = [0; 8];
            field.copy_from_slice(&bytes[2 + n * 8..10 + n * 8]);
            i64::from_be_bytes(field)
        };
        (bytes[..2] == [0, 0]).then(|| AbortedTxn {
            producer_id: ProducerId(field(0)),
            first_offset: Offset(field(1)),
            last_offset: Offset(field(2)),
            last_stable_offset: Offset(field(3)),
        })
    }
}

/// What the index of one segment says, where that is known without its file: nothing, or what it said before another segment got
/// the file's name.
///
/// Invariant: it says the same as long as it lives, whatever becomes of the file after [`KeptNames::keep`].
#[derive(Debug, Default)]
pub(super) struct KeptNames(OnceLock<Vec<AbortedTxn>>);

impl KeptNames {
    /// What is kept, or else what `read` finds in the file.
    ///
    /// # Errors
    /// Those of `read`.
    pub(super) fn or_read<E>(&self, read: impl FnOnce() -> Result<Vec<AbortedTxn>, E>) -> Result<Vec<AbortedTxn>, E> {
        if let Some(kept) = self.0.get() {
            return Ok(kept.clone());
        }
        let read = read();
        // Kept meanwhile: the file may be gone since, or say what another segment has.
        self.0.get().map_or(read, |kept| Ok(kept.clone()))
    }

    /// Keeps what is in the file, which does not grow any more and is about to change or to go.
    ///
    /// # Errors
    /// As [`read`]; nothing is kept.
    pub(super) fn keep(&self, vfs: &dyn Vfs, path: &Path, limit_bytes: u64) -> io::Result<&[AbortedTxn]> {
        if self.0.get().is_none() {
            let _first = self.0.set(read(vfs, path, limit_bytes)?);
        }
        Ok(self.0.get().map_or(&[], Vec::as_slice))
    }

    /// Remembers that there is no file, and that there will be none.
    pub(super) fn keep_none(&self) {
        let _first = self.0.set(Vec::new());
    }
}

/// How large an index can be whose markers have the offsets `from..up_to`: each has one of its own.
pub(super) fn size_bytes_max(from: Offset, up_to: Offset) -> u64 {
    u64::try_from(up_to.0 - from.0).unwrap_or(0).saturating_mul(ENTRY_BYTES as u64)
}

/// Adds an entry at the end. Not durable.
pub(super) fn append(vfs: &dyn Vfs, path: &Path, aborted: &AbortedTxn) -> io::Result<()> {
    let file = vfs.open(path, Access::CreateOrKeep)?;
    let entries = file.len()? / ENTRY_BYTES as u64;
    write_all_at(&*file, &aborted.encode(), &[], entries * ENTRY_BYTES as u64)
}

/// All entries, in the order of their markers; none if there is no file. `limit_bytes` bounds the file.
pub(super) fn read(vfs: &dyn Vfs, path: &Path, limit_bytes: u64) -> io::Result<Vec<AbortedTxn>> {
    let bytes = read_file(vfs, path, limit_bytes)?.unwrap_or_default();
    decode_all(&bytes)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "transaction index of an unknown version"))
}

/// The whole entries in these bytes; `None` if one of them is of an unknown version.
pub(super) fn decode_all(bytes: &[u8]) -> Option<Vec<AbortedTxn>> {
    let (entries, _torn) = bytes.as_chunks::<ENTRY_BYTES>();
    entries.iter().map(AbortedTxn::decode).collect()
}

/// The content of a file with these entries.
pub(super) fn encode_all(entries: &[AbortedTxn]) -> Vec<u8> {
    entries.iter().flat_map(AbortedTxn::encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::vfs::RealVfs;

    #[test]
    fn entries_have_kafkas_bytes_and_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.txnindex");
        assert_eq!(read(&RealVfs, &path, 1000).unwrap(), []);
        let first = AbortedTxn {
            producer_id: ProducerId(0x0102),
            first_offset: Offset(3),
            last_offset: Offset(4),
            last_stable_offset: Offset(5),
        };
        let second = AbortedTxn { last_offset: Offset(9), ..first };
        append(&RealVfs, &path, &first).unwrap();
        append(&RealVfs, &path, &second).unwrap();
        assert_eq!(read(&RealVfs, &path, 1000).unwrap(), [first, second]);
        let mut golden = vec![0u8; 34];
        (golden[8], golden[9], golden[17], golden[25], golden[33]) = (1, 2, 3, 4, 5);
        assert_eq!(std::fs::read(&path).unwrap()[..34], golden);
        std::fs::write(&path, [1; 34]).unwrap();
        assert_eq!(read(&RealVfs, &path, 1000).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
