//! The leader epochs of one partition: which epoch wrote from which offset on, and Kafka's `leader-epoch-checkpoint` text.
//!
//! Answers OffsetForLeaderEpoch and tells the epoch of an offset. Does not read or write files: `encode` and `decode` are
//! the text, the log decides when it is written. The text is a cache: every batch carries its epoch, and a checkpoint that is
//! damaged or does not fit the log is rebuilt with [`LeaderEpochCache::assign`] from the batches.
//!
//! Invariant: entries rise strictly in both epoch and start offset.

use std::fmt::Write as _;

use thiserror::Error;

use crate::types::{LeaderEpoch, Offset};

/// An epoch, and the offset of the first record that it wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEntry {
    /// The epoch, never negative.
    pub epoch: LeaderEpoch,
    /// Where it starts.
    pub start_offset: Offset,
}

/// Where an epoch ends: the answer to OffsetForLeaderEpoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEndOffset {
    /// The largest epoch known that is not above the one asked for.
    pub epoch: LeaderEpoch,
    /// The offset after its last record.
    pub end_offset: Offset,
}

/// Why a `leader-epoch-checkpoint` is not believed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LeaderEpochError {
    /// The first line is not a version that is known.
    #[error("leader epoch checkpoint has version {version:?}, only \"0\" is known")]
    Version {
        /// The first line.
        version: String,
    },
    /// A line is missing, too many, or not made of numbers.
    #[error("leader epoch checkpoint is malformed at line {line}")]
    Malformed {
        /// Counted from 1.
        line: usize,
    },
    /// Entries that no log can have.
    #[error("leader epoch checkpoint: epoch {epoch} from offset {start_offset} does not follow the entry before it")]
    Order {
        /// The entry's epoch.
        epoch: i32,
        /// The entry's start offset.
        start_offset: i64,
    },
}

/// The epochs of one partition, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeaderEpochCache {
    entries: Vec<EpochEntry>,
}

impl LeaderEpochCache {
    /// The entries, oldest first.
    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    /// The newest epoch that wrote, or was assigned to write, here.
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|entry| entry.epoch)
    }

    /// Notes that `epoch` writes from `start_offset` on. Nothing happens when that is known. What contradicts it (entries
    /// of this or a higher epoch, or from this or a higher offset) is dropped: the log is right, the cache was not.
    ///
    /// Returns whether something changed, so that the checkpoint must be written.
    pub fn assign(&mut self, epoch: LeaderEpoch, start_offset: Offset) -> bool {
        if epoch.0 < 0 || start_offset.0 < 0 {
            return false;
        }
        if self.entries.last().is_some_and(|last| last.epoch == epoch && last.start_offset <= start_offset) {
            return false;
        }
        self.entries.retain(|entry| entry.epoch < epoch && entry.start_offset < start_offset);
        self.entries.push(EpochEntry { epoch, start_offset });
        true
    }

    /// Where `epoch` ends, given the log's end. `None` when the epoch is unknown because it is newer than all, or when
    /// nothing is known: Kafka then answers epoch -1 and offset -1.
    pub fn end_offset_for(&self, epoch: LeaderEpoch, log_end_offset: Offset) -> Option<EpochEndOffset> {
        let latest = self.latest_epoch()?;
        if epoch.0 < 0 || epoch > latest {
            return None;
        }
        if epoch == latest {
            return Some(EpochEndOffset { epoch, end_offset: log_end_offset });
        }
        let after = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let end_offset = self.entries[after].start_offset;
        // An epoch older than all that is left ends where the oldest begins, and is named as asked.
        let floor = after.checked_sub(1).map_or(epoch, |index| self.entries[index].epoch);
        Some(EpochEndOffset { epoch: floor, end_offset })
    }

    /// The epoch that wrote the record at `offset`.
    pub fn epoch_for_offset(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|entry| entry.start_offset <= offset);
        after.checked_sub(1).map(|index| self.entries[index].epoch)
    }

    /// Forgets epochs that start at or behind the new end of the log. Returns whether something changed.
    pub fn truncate_from_end(&mut self, end_offset: Offset) -> bool {
        let kept = self.entries.partition_point(|entry| entry.start_offset < end_offset);
        let changed = kept < self.entries.len();
        self.entries.truncate(kept);
        changed
    }

    /// Forgets epochs that end at or before the new start of the log; the one that covers it now starts there. Returns
    /// whether something changed.
    pub fn truncate_from_start(&mut self, start_offset: Offset) -> bool {
        let after = self.entries.partition_point(|entry| entry.start_offset <= start_offset);
        let Some(covering) = after.checked_sub(1) else { return false };
        let changed = covering > 0 || self.entries[0].start_offset < start_offset;
        self.entries.drain(..covering);
        self.entries[0].start_offset = start_offset;
        changed
    }

    /// Forgets all, for a rebuild.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// The text of `leader-epoch-checkpoint`: version 0, the number of entries, and `EPOCH START_OFFSET` lines.
    pub fn encode(&self) -> String {
        let mut text = format!("0\n{}\n", self.entries.len());
        for entry in &self.entries {
            writeln!(text, "{} {}", entry.epoch, entry.start_offset).expect("writing to a String cannot fail");
        }
        text
    }

    /// Reads the text of `leader-epoch-checkpoint`.
    ///
    /// # Errors
    /// Whatever makes it unbelievable; the caller rebuilds from the log.
    pub fn decode(text: &str) -> Result<Self, LeaderEpochError> {
        let mut lines = text.lines();
        let version = lines.next().unwrap_or_default();
        if version != "0" {
            return Err(LeaderEpochError::Version { version: version.chars().take(20).collect() });
        }
        let count: usize =
            lines.next().and_then(|line| line.parse().ok()).ok_or(LeaderEpochError::Malformed { line: 2 })?;
        let mut entries: Vec<EpochEntry> = Vec::new();
        for text in lines {
            let line = entries.len() + 3;
            let (epoch, start_offset) = text
                .split_once(' ')
                .and_then(|(epoch, offset)| Some((epoch.parse::<i32>().ok()?, offset.parse::<i64>().ok()?)))
                .ok_or(LeaderEpochError::Malformed { line })?;
            let entry = EpochEntry { epoch: LeaderEpoch(epoch), start_offset: Offset(start_offset) };
            let follows = match entries.last() {
                Some(last) => entry.epoch > last.epoch && entry.start_offset > last.start_offset,
                None => epoch >= 0 && start_offset >= 0,
            };
            if !follows {
                return Err(LeaderEpochError::Order { epoch, start_offset });
            }
            entries.push(entry);
        }
        match entries.len() == count {
            true => Ok(Self { entries }),
            false => Err(LeaderEpochError::Malformed { line: entries.len() + 3 }),
        }
    }
}

#[cfg(test)]
mod tests {
    //! Goal: Kafka's answers for every position of the asked epoch, and a text that Kafka writes. Method: a small cache by hand.

    use super::*;

    fn cache(entries: &[(i32, i64)]) -> LeaderEpochCache {
        let mut cache = LeaderEpochCache::default();
        for (epoch, offset) in entries {
            assert!(cache.assign(LeaderEpoch(*epoch), Offset(*offset)));
        }
        cache
    }

    fn end(cache: &LeaderEpochCache, epoch: i32) -> Option<(i32, i64)> {
        cache.end_offset_for(LeaderEpoch(epoch), Offset(100)).map(|end| (end.epoch.0, end.end_offset.0))
    }

    #[test]
    fn answers_for_epochs_below_between_and_above() {
        let cache = cache(&[(2, 10), (4, 30), (7, 60)]);
        let asked: Vec<_> = [-1, 0, 2, 3, 4, 6, 7, 8].into_iter().map(|epoch| end(&cache, epoch)).collect();
        let expected =
            [None, Some((0, 10)), Some((2, 30)), Some((2, 30)), Some((4, 60)), Some((4, 60)), Some((7, 100)), None];
        assert_eq!(asked, expected);
        assert_eq!(end(&LeaderEpochCache::default(), 0), None);
        assert_eq!(cache.epoch_for_offset(Offset(9)), None);
        assert_eq!(cache.epoch_for_offset(Offset(10)), Some(LeaderEpoch(2)));
        assert_eq!(cache.epoch_for_offset(Offset(59)), Some(LeaderEpoch(4)));
    }

    #[test]
    fn a_contradicting_assignment_drops_what_it_contradicts() {
        let mut cache = cache(&[(2, 10), (4, 30), (7, 60)]);
        assert!(!cache.assign(LeaderEpoch(7), Offset(80)));
        assert!(!cache.assign(LeaderEpoch(-1), Offset(80)));
        assert!(cache.assign(LeaderEpoch(8), Offset(30)));
        assert_eq!(cache.encode(), "0\n2\n2 10\n8 30\n");
    }

    #[test]
    fn truncation_at_both_ends() {
        let mut cache = cache(&[(2, 10), (4, 30), (7, 60)]);
        assert!(!cache.truncate_from_start(Offset(5)));
        assert!(cache.truncate_from_start(Offset(35)));
        assert!(!cache.truncate_from_start(Offset(35)));
        assert_eq!(cache.encode(), "0\n2\n4 35\n7 60\n");
        assert!(!cache.truncate_from_end(Offset(61)));
        assert!(cache.truncate_from_end(Offset(60)));
        assert_eq!(cache.encode(), "0\n1\n4 35\n");
    }

    #[test]
    fn text_round_trip_and_refusals() {
        let cache = cache(&[(0, 0), (4, 30)]);
        assert_eq!(LeaderEpochCache::decode(&cache.encode()), Ok(cache));
        for bad in
            ["", "1\n0\n", "0\n", "0\n2\n0 0\n", "0\n1\n0 0\n1 1\n", "0\n1\nx 0\n", "0\n1\n0\n", "0\n99999999999\n"]
        {
            assert!(LeaderEpochCache::decode(bad).is_err(), "{bad:?}");
        }
        for order in ["0\n2\n1 5\n1 6\n", "0\n2\n1 5\n2 5\n", "0\n1\n-1 5\n", "0\n1\n1 -5\n"] {
            assert!(matches!(LeaderEpochCache::decode(order), Err(LeaderEpochError::Order { .. })), "{order:?}");
        }
    }
}
