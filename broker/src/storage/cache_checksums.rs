//! What the indexes of a log's segments contained when they were last saved: a file beside them, since Kafka's formats have no
//! room for a checksum.
//!
//! Owns the file `cache-checksums` of a log's folder. An offset index is found out by the batches that its entries lead to; a
//! time index that lacks its end, or a transaction index that is missing, looks like a sound one of other batches, and would
//! make look-ups by time wrong and show aborted records. Does not decide what happens to an index that does not fit.
//!
//! Invariant: a cache, and not durable by itself. It has a checksum of its own; where it is missing or damaged, nothing is
//! known of any index, and all are built again.
//!
//! ```text
//! 0                                     version
//! 1                                     number of segments
//! 5000 4096 0a1b2c3d 1200 0a1b2c3d 0 00000000
//! 9ffd4c2e                              CRC-32 of all before
//! ```
//!
//! A segment's line has its base offset, and for its offset index, time index and transaction index how many bytes of the file
//! count, and their CRC-32. What the active segment's files have beyond that was added later.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

use super::vfs::{Access, Vfs, read_file, write_all_at};
use crate::types::Offset;

/// The name of the file.
pub(super) const CACHE_CHECKSUMS: &str = "cache-checksums";

const VERSION: &str = "0";
/// 100,000 segments.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The first bytes of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Checksum {
    /// How many.
    pub(super) len: u64,
    /// Their CRC-32 (IEEE).
    pub(super) crc: u32,
}

impl Checksum {
    pub(super) fn of(bytes: &[u8]) -> Checksum {
        Checksum { len: bytes.len() as u64, crc: crc32fast::hash(bytes) }
    }

    /// That of the same bytes and these behind them.
    pub(super) fn extended(self, bytes: &[u8]) -> Checksum {
        let mut hasher = crc32fast::Hasher::new_with_initial_len(self.crc, self.len);
        hasher.update(bytes);
        Checksum { len: self.len + bytes.len() as u64, crc: hasher.finalize() }
    }

    /// The bytes that it speaks of, if they are as they were.
    pub(super) fn prefix_of(self, bytes: &[u8]) -> Option<&[u8]> {
        let prefix = bytes.get(..usize::try_from(self.len).ok()?)?;
        (crc32fast::hash(prefix) == self.crc).then_some(prefix)
    }

    /// Whether these are the bytes, no more and no less.
    pub(super) fn is_of(self, bytes: &[u8]) -> bool {
        self == Checksum::of(bytes)
    }
}

/// The indexes of one segment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SegmentChecksums {
    pub(super) offset_index: Checksum,
    pub(super) time_index: Checksum,
    pub(super) transaction_index: Checksum,
}

/// The indexes of a log, by their segments' base offsets.
pub(super) type CacheChecksums = BTreeMap<Offset, SegmentChecksums>;

/// Replaces the file. Not durable.
pub(super) fn write(vfs: &dyn Vfs, log_dir: &Path, checksums: &CacheChecksums) -> io::Result<()> {
    let mut text = format!("{VERSION}\n{}\n", checksums.len());
    for (base, SegmentChecksums { offset_index, time_index, transaction_index }) in checksums {
        let _infallible = write!(text, "{base}");
        for Checksum { len, crc } in [offset_index, time_index, transaction_index] {
            let _infallible = write!(text, " {len} {crc:08x}");
        }
        text.push('\n');
    }
    let crc = crc32fast::hash(text.as_bytes());
    let _infallible = writeln!(text, "{crc:08x}");
    let path = log_dir.join(CACHE_CHECKSUMS);
    let temporary = log_dir.join(format!("{CACHE_CHECKSUMS}.tmp"));
    let file = vfs.open(&temporary, Access::CreateOrKeep)?;
    file.set_len(0)?;
    write_all_at(&*file, text.as_bytes(), &[], 0)?;
    vfs.rename(&temporary, &path)
}

/// Reads the file; nothing is known where there is none that can be believed.
pub(super) fn read(vfs: &dyn Vfs, log_dir: &Path) -> CacheChecksums {
    let path = log_dir.join(CACHE_CHECKSUMS);
    let bytes = match read_file(vfs, &path, FILE_BYTES_MAX) {
        Ok(None) => return CacheChecksums::default(),
        Ok(Some(bytes)) => bytes,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "cannot read the checksums of indexes; the indexes are built again");
            return CacheChecksums::default();
        }
    };
    parse(&bytes).unwrap_or_else(|| {
        tracing::warn!(path = %path.display(), "the checksums of indexes are damaged; the indexes are built again");
        CacheChecksums::default()
    })
}

fn parse(bytes: &[u8]) -> Option<CacheChecksums> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (content, crc) = text.strip_suffix('\n')?.rsplit_once('\n')?;
    let content = &text[..content.len() + 1];
    if crc != format!("{:08x}", crc32fast::hash(content.as_bytes())) {
        return None;
    }
    let mut lines = content.lines();
    let count: usize = (lines.next()? == VERSION).then(|| lines.next())??.parse().ok()?;
    let checksums = lines.map(parse_line).collect::<Option<CacheChecksums>>()?;
    (checksums.len() == count).then_some(checksums)
}

fn parse_line(line: &str) -> Option<(Offset, SegmentChecksums)> {
    let mut words = line.split(' ');
    let base = Offset(words.next()?.parse().ok()?);
    let mut checksum = || {
        let (len, crc) = (words.next()?.parse().ok()?, u32::from_str_radix(words.next()?, 16).ok()?);
        Some(Checksum { len, crc })
    };
    let checksums =
        SegmentChecksums { offset_index: checksum()?, time_index: checksum()?, transaction_index: checksum()? };
    words.next().is_none().then_some((base, checksums))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::vfs::RealVfs;

    #[test]
    fn what_was_written_comes_back_and_any_damage_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(&RealVfs, dir.path()), CacheChecksums::default());
        let indexes = |n: &str| SegmentChecksums {
            offset_index: Checksum::of(n.as_bytes()),
            time_index: Checksum::of(b"").extended(b"time").extended(n.as_bytes()),
            transaction_index: Checksum::default(),
        };
        let checksums = CacheChecksums::from([(Offset(0), indexes("first")), (Offset(5000), indexes("second"))]);
        write(&RealVfs, dir.path(), &checksums).unwrap();
        assert_eq!(read(&RealVfs, dir.path()), checksums);
        let path = dir.path().join(CACHE_CHECKSUMS);
        let good = std::fs::read(&path).unwrap();
        let damaged = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(read(&RealVfs, dir.path()), CacheChecksums::default(), "{:?}", String::from_utf8_lossy(bytes));
        };
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            damaged(&bad);
        }
        (0..good.len()).for_each(|len| damaged(&good[..len]));
        damaged(&vec![0; good.len()]);
    }

    #[test]
    fn a_checksum_tells_a_prefix_from_other_bytes() {
        let sum = Checksum::of(b"abc").extended(b"def");
        assert_eq!(sum, Checksum::of(b"abcdef"));
        assert!(sum.is_of(b"abcdef") && !sum.is_of(b"abcdefg") && !sum.is_of(b"abcde"));
        assert_eq!(sum.prefix_of(b"abcdefgh"), Some(&b"abcdef"[..]));
        assert_eq!(sum.prefix_of(b"abcdeXgh"), None);
        assert_eq!(sum.prefix_of(b"abc"), None);
        assert_eq!(Checksum::default().prefix_of(b"x"), Some(&b""[..]));
    }
}
