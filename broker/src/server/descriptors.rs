//! How the descriptors of the process are shared out, so that no part of the broker runs out of them because of another.
//!
//! Owns the shares: one descriptor for each partition, whose active segment stays open; a bounded number for sealed segments
//! and indexes, which are opened when they are read; the rest for connections and everything else. Does not open anything.
//! Partitions beyond their share (those of internal topics come on top) are refused as they are created, rather than served without descriptors.

use crate::metadata::INTERNAL_PARTITIONS;

/// The shares of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DescriptorShares {
    /// What the process may open at once (`ulimit -n`).
    pub(super) limit: usize,
    /// Partitions that it can hold.
    pub(super) partitions_max: usize,
    /// Files that are opened on demand and kept open.
    pub(super) open_files_max: usize,
}

impl DescriptorShares {
    /// Those of this process, for a broker that may have `max.partitions`.
    pub(super) fn of_process(max_partitions: usize) -> DescriptorShares {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
        Self::of(usize::try_from(limit).unwrap_or(usize::MAX), max_partitions)
    }

    fn of(limit: usize, max_partitions: usize) -> DescriptorShares {
        // Half of them at most are partitions, three quarters with the internal ones and the files that are opened on demand; where
        // there are few, an eighth is needed for those files in any case.
        let partitions_max = limit / 2;
        let partitions = max_partitions.min(partitions_max) + INTERNAL_PARTITIONS;
        let open_files_max = (limit / 5 * 2).min((limit / 4 * 3).saturating_sub(partitions)).max(limit / 8);
        DescriptorShares { limit, partitions_max, open_files_max }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_and_files_leave_a_quarter() {
        let shares = |limit, partitions| {
            let DescriptorShares { partitions_max, open_files_max, .. } = DescriptorShares::of(limit, partitions);
            (partitions_max, open_files_max)
        };
        assert_eq!(shares(20_000, 10_000), (10_000, 4_900));
        assert_eq!(shares(20_000, 1_000), (10_000, 8_000));
        assert_eq!(shares(1_024, 10_000), (512, 156));
        assert_eq!(shares(1 << 20, 10_000), (524_288, 419_430));
        for limit in [1_024, 4_096, 20_000, usize::MAX] {
            let (partitions, files) = shares(limit, usize::MAX);
            assert!(partitions + INTERNAL_PARTITIONS + files <= limit / 4 * 3, "{limit}");
        }
        assert_eq!(shares(256, 10_000), (128, 32));
    }
}
