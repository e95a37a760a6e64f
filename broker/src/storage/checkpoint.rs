//! The small text files that say where recovery may start and where logs begin, in Kafka's format.
//!
//! Owns `recovery-point-offset-checkpoint` and `log-start-offset-checkpoint` of a data directory, the checksums beside
//! them, and the start of one log in its own folder. All are hints that save work, save one: the start of a log is a promise
//! (deleted records stay deleted) and nothing else tells it. So it is written to the log's own folder at once, in two files of
//! which either will do, and to Kafka's file now and then.
//!
//! ```text
//! 0                       version
//! 2                       number of entries
//! flights 0 1234          topic, partition, offset
//! flights 1 99
//! ```
//!
//! Kafka refuses a checkpoint with anything more in it, so its checksum lies in a file of ours, `NAME.crc32` (the leader epochs of
//! a log have one like it): a version and
//! the checksums of the last two contents, because two files cannot be replaced at once. Without a matching one, the
//! checkpoint is not believed, and everything is scanned.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use super::error::StorageError;
use super::vfs::{Vfs, read_file, replace_file};
use crate::types::{Offset, TopicPartition};

/// The first offset that is not known to be durable, for each log.
pub(super) const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
/// The first offset that can be read, for each log whose start is not that of its first segment.
pub(super) const LOG_STARTS: &str = "log-start-offset-checkpoint";
/// Up to where each compacted log was cleaned.
pub(super) const CLEANED: &str = "cleaner-offset-checkpoint";
/// The start of one log, in its own folder, twice: a damaged file must not bring deleted records back.
pub(super) const LOG_START: [&str; 2] = ["log-start-offset", "log-start-offset.copy"];

const VERSION: &str = "0";
/// 100,000 partitions with names of 249 characters.
const CHECKPOINT_BYTES_MAX: u64 = 32 << 20;
const SMALL_FILE_BYTES_MAX: u64 = 256;

/// Offsets by partition.
pub(super) type Offsets = BTreeMap<TopicPartition, Offset>;

/// Replaces a checkpoint of the data directory. Durable when it returns.
pub(super) fn write(vfs: &dyn Vfs, data_dir: &Path, name: &str, offsets: &Offsets) -> Result<(), StorageError> {
    let mut text = format!("{VERSION}\n{}\n", offsets.len());
    for (TopicPartition { topic, partition }, offset) in offsets {
        let _infallible = writeln!(text, "{topic} {partition} {offset}");
    }
    let path = data_dir.join(name);
    replace_with_checksum(vfs, &path, text.as_bytes()).map_err(StorageError::io("replace", &path))
}

/// Replaces a file of Kafka's that has no room for a checksum, and the file with the checksums beside it. Durable when it
/// returns; at each moment one of the checksums is that of the file.
pub(super) fn replace_with_checksum(vfs: &dyn Vfs, path: &Path, content: &[u8]) -> io::Result<()> {
    let crc = crc32fast::hash(content);
    let before = match read_file(vfs, path, CHECKPOINT_BYTES_MAX) {
        Ok(Some(before)) => crc32fast::hash(&before),
        _ => crc,
    };
    let checksums = format!("{VERSION}\n{before:08x}\n{crc:08x}\n");
    replace_file(vfs, &checksum_path(path), checksums.as_bytes())?;
    replace_file(vfs, path, content)
}

/// The file beside another that has the checksums of its last two contents.
pub(super) fn checksum_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".crc32");
    PathBuf::from(name)
}

/// A checkpoint as it lies there, believable or not.
#[derive(Debug)]
pub(super) struct FoundCheckpoint {
    /// `None` if the text is no checkpoint.
    pub(super) offsets: Option<Offsets>,
    pub(super) checksum_matches: bool,
}

/// Looks at a checkpoint of the data directory; `None` if there is none.
pub(super) fn find(vfs: &dyn Vfs, data_dir: &Path, name: &str) -> io::Result<Option<FoundCheckpoint>> {
    let path = data_dir.join(name);
    let Some(text) = read_file(vfs, &path, CHECKPOINT_BYTES_MAX)? else { return Ok(None) };
    let offsets = std::str::from_utf8(&text).ok().and_then(parse);
    Ok(Some(FoundCheckpoint { offsets, checksum_matches: checksum_matches(vfs, &path, &text) }))
}

/// Reads a checkpoint of the data directory; `None` if there is none that can be believed.
pub(super) fn read(vfs: &dyn Vfs, data_dir: &Path, name: &str) -> Option<Offsets> {
    let path = data_dir.join(name);
    let found = match find(vfs, data_dir, name) {
        Ok(found) => found?,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "cannot read a checkpoint; doing without");
            return None;
        }
    };
    let offsets = found.offsets.filter(|_| found.checksum_matches);
    if offsets.is_none() {
        tracing::warn!(path = %path.display(), "a checkpoint is damaged or not ours; doing without");
    }
    offsets
}

/// Whether a file's content is one of the two that were last given to it.
pub(super) fn checksum_matches(vfs: &dyn Vfs, path: &Path, text: &[u8]) -> bool {
    let checksums = match read_file(vfs, &checksum_path(path), SMALL_FILE_BYTES_MAX) {
        Ok(Some(checksums)) => checksums,
        _ => return false,
    };
    let Ok(checksums) = std::str::from_utf8(&checksums) else { return false };
    let mut lines = checksums.lines();
    lines.next() == Some(VERSION) && lines.any(|line| line == format!("{:08x}", crc32fast::hash(text)))
}

fn parse(text: &str) -> Option<Offsets> {
    let mut lines = text.lines();
    let count: usize = (lines.next()? == VERSION).then(|| lines.next())??.parse().ok()?;
    let offsets = lines.map(parse_entry).collect::<Option<Offsets>>()?;
    (offsets.len() == count).then_some(offsets)
}

fn parse_entry(line: &str) -> Option<(TopicPartition, Offset)> {
    let mut words = line.split(' ');
    let topic_partition = TopicPartition::new(words.next()?, words.next()?.parse().ok()?);
    let offset: i64 = words.next()?.parse().ok()?;
    (offset >= 0 && words.next().is_none()).then_some((topic_partition, Offset(offset)))
}

/// What a log's folder says about its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LogStartOnRecord {
    /// Where it is; `None` if it was never put on record, or nothing of it can be believed.
    pub(super) start: Option<Offset>,
    /// One of the two files is missing, damaged or older: they are to be written again.
    pub(super) needs_repair: bool,
}

/// Puts the start of one log on record in its folder. Durable when it returns.
pub(super) fn write_log_start(vfs: &dyn Vfs, log_dir: &Path, start: Offset) -> Result<(), StorageError> {
    let text = format!("{VERSION}\n{start}\n");
    let crc = crc32fast::hash(text.as_bytes());
    let text = format!("{text}{crc:08x}\n");
    for path in LOG_START.map(|name| log_dir.join(name)) {
        replace_file(vfs, &path, text.as_bytes()).map_err(StorageError::io("replace", &path))?;
    }
    Ok(())
}

/// The start of one log as it was put on record in its folder.
pub(super) fn read_log_start(vfs: &dyn Vfs, log_dir: &Path) -> LogStartOnRecord {
    let files = LOG_START.map(|name| read_one_log_start(vfs, &log_dir.join(name)));
    let start = files.iter().flatten().copied().max().flatten();
    let folder = log_dir.display();
    let is_whole = files == [None, None] || (start.is_some() && files == [Some(start); 2]);
    match (is_whole, start) {
        (true, _) => {}
        (false, None) => {
            tracing::error!(%folder, "neither file that says where the log starts can be believed: deleted records may be back");
        }
        (false, Some(start)) => {
            tracing::warn!(%folder, %start, "of the two files that say where the log starts, one is missing, old or damaged: it is written again");
        }
    }
    LogStartOnRecord { start, needs_repair: !is_whole }
}

/// What one of the two files says; `None` if there is no file, `Some(None)` if it cannot be believed.
pub(super) fn read_one_log_start(vfs: &dyn Vfs, path: &Path) -> Option<Option<Offset>> {
    match read_file(vfs, path, SMALL_FILE_BYTES_MAX) {
        Ok(bytes) => bytes.map(|bytes| parse_log_start(&bytes)),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "cannot read where the log starts");
            Some(None)
        }
    }
}

fn parse_log_start(bytes: &[u8]) -> Option<Offset> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut lines = text.lines();
    let (version, start, crc) = (lines.next()?, lines.next()?, lines.next()?);
    let expected = crc32fast::hash(format!("{version}\n{start}\n").as_bytes());
    let start: i64 = start.parse().ok()?;
    (version == VERSION && crc == format!("{expected:08x}") && start >= 0).then_some(Offset(start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::vfs::RealVfs;

    fn offsets(entries: &[(&str, i32, i64)]) -> Offsets {
        entries.iter().map(|(t, p, o)| (TopicPartition::new(*t, *p), Offset(*o))).collect()
    }

    #[test]
    fn a_checkpoint_is_kafkas_text_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(&RealVfs, dir.path(), RECOVERY_POINTS), None);
        for content in [offsets(&[("b", 1, 7), ("a", 0, 3)]), offsets(&[]), offsets(&[("a", 0, 4)])] {
            write(&RealVfs, dir.path(), RECOVERY_POINTS, &content).unwrap();
            assert_eq!(read(&RealVfs, dir.path(), RECOVERY_POINTS), Some(content));
        }
        write(&RealVfs, dir.path(), RECOVERY_POINTS, &offsets(&[("b", 1, 7), ("a", 0, 3)])).unwrap();
        let text = std::fs::read_to_string(dir.path().join(RECOVERY_POINTS)).unwrap();
        assert_eq!(text, "0\n2\na 0 3\nb 1 7\n");
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        write(&RealVfs, dir.path(), LOG_STARTS, &offsets(&[("topic", 0, 3)])).unwrap();
        write_log_start(&RealVfs, dir.path(), Offset(77)).unwrap();
        let whole = LogStartOnRecord { start: Some(Offset(77)), needs_repair: false };
        assert_eq!(read_log_start(&RealVfs, dir.path()), whole);
        for name in [LOG_STARTS, LOG_START[0], LOG_START[1]] {
            let path = dir.path().join(name);
            let good = std::fs::read(&path).unwrap();
            for bit in 0..good.len() * 8 {
                let mut bad = good.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                std::fs::write(&path, bad).unwrap();
                match name {
                    LOG_STARTS => assert_eq!(read(&RealVfs, dir.path(), name), None),
                    // The case of a hexadecimal digit means nothing.
                    _ => assert_eq!(read_log_start(&RealVfs, dir.path()).start, Some(Offset(77))),
                }
            }
            std::fs::write(&path, good).unwrap();
        }
    }

    #[test]
    fn either_file_tells_the_log_start_and_what_does_not_fit_is_to_be_repaired() {
        type Damage = fn(&Path);
        let damages: [Damage; 4] = [
            |path| std::fs::remove_file(path).unwrap(),
            |path| std::fs::write(path, "").unwrap(),
            |path| std::fs::write(path, [0; 20]).unwrap(),
            // As a crash between the two leaves it.
            |path| {
                let other = tempfile::tempdir().unwrap();
                write_log_start(&RealVfs, other.path(), Offset(5)).unwrap();
                std::fs::copy(other.path().join(LOG_START[0]), path).unwrap();
            },
        ];
        for damage in damages {
            for name in LOG_START {
                let dir = tempfile::tempdir().unwrap();
                assert_eq!(read_log_start(&RealVfs, dir.path()), LogStartOnRecord::default());
                write_log_start(&RealVfs, dir.path(), Offset(77)).unwrap();
                damage(&dir.path().join(name));
                let found = LogStartOnRecord { start: Some(Offset(77)), needs_repair: true };
                assert_eq!(read_log_start(&RealVfs, dir.path()), found, "{name}");
            }
        }
        let dir = tempfile::tempdir().unwrap();
        for name in LOG_START {
            std::fs::write(dir.path().join(name), "zeros").unwrap();
        }
        let lost = LogStartOnRecord { start: None, needs_repair: true };
        assert_eq!(read_log_start(&RealVfs, dir.path()), lost);
    }

    #[test]
    fn the_content_before_is_believed_while_its_successor_is_being_written() {
        let dir = tempfile::tempdir().unwrap();
        write(&RealVfs, dir.path(), LOG_STARTS, &offsets(&[("t", 0, 3)])).unwrap();
        let first = std::fs::read(dir.path().join(LOG_STARTS)).unwrap();
        write(&RealVfs, dir.path(), LOG_STARTS, &offsets(&[("t", 0, 4)])).unwrap();
        std::fs::write(dir.path().join(LOG_STARTS), first).unwrap();
        assert_eq!(read(&RealVfs, dir.path(), LOG_STARTS), Some(offsets(&[("t", 0, 3)])));
    }
}
