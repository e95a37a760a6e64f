//! The space that producers may not use, so that a full disk is a state and not an outage: what frees space and what keeps the
//! broker going (commits, deletions, metadata) still finds some.
//!
//! Owns the decision whether the reserve is reached, made at each look at the file system (whose interval the server decides), and
//! what compaction and merging may write above it. Does not own who is refused: the partition asks before it takes what a client
//! produces, and reads one atomic flag for it.
//!
//! Invariant: the flag is what the last look found. Between two looks a disk may fill by what is written meanwhile; an
//! append that meets the real end of the disk is refused by the log itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::error::StorageError;
use super::vfs::DiskSpace;

/// The reserve of a large disk, where none is configured.
const DEFAULT_RESERVE_BYTES_MAX: u64 = 1 << 30;
/// The reserve of a small disk, where none is configured: so many percent of it.
const DEFAULT_RESERVE_PERCENT: u64 = 5;
/// Producers go on when the reserve is free and this part of it more, so that the state does not change with every segment.
const RESUMES_ABOVE_RESERVE: u64 = 16;

/// Whether the reserve is reached.
#[derive(Debug, Default)]
pub struct DiskReserve {
    reached: AtomicBool,
    /// As of the last look.
    reserve_bytes: AtomicU64,
    /// What is about to be written above it.
    claimed_bytes: AtomicU64,
}

/// Space above the reserve for what work in the background writes; dropping it gives it back, or up what was written.
#[derive(Debug, Default)]
pub struct SpaceClaim(Option<(Arc<DiskReserve>, u64)>);

impl Drop for SpaceClaim {
    fn drop(&mut self) {
        if let Some((reserve, bytes)) = &self.0 {
            reserve.claimed_bytes.fetch_sub(*bytes, Ordering::Relaxed);
        }
    }
}

/// What a look at the file system changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReserveChange {
    /// Nothing.
    None,
    /// Producers are refused from now on: less than the reserve is free.
    Reached {
        /// The reserve in bytes.
        reserve_bytes: u64,
    },
    /// Producers are served again.
    Free {
        /// The reserve in bytes.
        reserve_bytes: u64,
    },
}

impl DiskReserve {
    /// Whether producers are to be refused.
    pub fn is_reached(&self) -> bool {
        self.reached.load(Ordering::Relaxed)
    }

    /// Takes note of how full the disk is. `reserve_bytes` is `log.reserve.bytes`; `None` takes the smaller of 1 GiB and 5 %
    /// of the file system.
    pub fn observe(&self, space: DiskSpace, reserve_bytes: Option<u64>) -> ReserveChange {
        let by_default = || (space.total_bytes / 100 * DEFAULT_RESERVE_PERCENT).min(DEFAULT_RESERVE_BYTES_MAX);
        let reserve_bytes = reserve_bytes.unwrap_or_else(by_default);
        self.reserve_bytes.store(reserve_bytes, Ordering::Relaxed);
        let was_reached = self.is_reached();
        let needed = match was_reached {
            true => reserve_bytes.saturating_add(reserve_bytes / RESUMES_ABOVE_RESERVE),
            false => reserve_bytes,
        };
        let is_reached = space.usable_bytes < needed;
        self.reached.store(is_reached, Ordering::Relaxed);
        match (was_reached, is_reached) {
            (false, true) => ReserveChange::Reached { reserve_bytes },
            (true, false) => ReserveChange::Free { reserve_bytes },
            _ => ReserveChange::None,
        }
    }

    /// Claims space for so many bytes above the reserve. What others have claimed counts until they are done, also the part that
    /// they have written: rather too late than too much.
    ///
    /// # Errors
    /// [`StorageError::NoSpaceAboveReserve`].
    pub(super) fn claim(self: &Arc<Self>, space: DiskSpace, bytes: u64) -> Result<SpaceClaim, StorageError> {
        let claimed_bytes = self.claimed_bytes.fetch_add(bytes, Ordering::Relaxed);
        let claim = SpaceClaim(Some((Arc::clone(self), bytes)));
        let (reserve_bytes, free_bytes) = (self.reserve_bytes.load(Ordering::Relaxed), space.usable_bytes);
        match free_bytes >= reserve_bytes.saturating_add(claimed_bytes).saturating_add(bytes) {
            true => Ok(claim),
            false => Err(StorageError::NoSpaceAboveReserve { bytes, free_bytes, reserve_bytes }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn space(total_bytes: u64, usable_bytes: u64) -> DiskSpace {
        DiskSpace { total_bytes, usable_bytes }
    }

    #[test]
    fn the_default_is_the_smaller_of_one_gib_and_five_percent() {
        for (total, reserve) in [(1000 * GIB, GIB), (20 * GIB + 80, GIB), (10 * GIB, 10 * GIB / 100 * 5), (100, 5)] {
            let disk = DiskReserve::default();
            assert_eq!(disk.observe(space(total, reserve), None), ReserveChange::None, "{total}");
            assert!(!disk.is_reached());
            let reached = ReserveChange::Reached { reserve_bytes: reserve };
            assert_eq!(disk.observe(space(total, reserve - 1), None), reached, "{total}");
            assert!(disk.is_reached());
        }
    }

    #[test]
    fn producers_go_on_a_little_above_the_reserve() {
        let disk = DiskReserve::default();
        let look = |usable_bytes| disk.observe(space(GIB, usable_bytes), Some(1600));
        assert_eq!(look(0), ReserveChange::Reached { reserve_bytes: 1600 });
        assert_eq!(look(1699), ReserveChange::None);
        assert!(disk.is_reached());
        assert_eq!(look(1700), ReserveChange::Free { reserve_bytes: 1600 });
        assert_eq!(look(1600), ReserveChange::None);
        assert!(!disk.is_reached());
    }

    #[test]
    fn what_is_claimed_fits_above_the_reserve_together() {
        let disk = Arc::new(DiskReserve::default());
        disk.observe(space(GIB, 1000), Some(600));
        let claim = |bytes| disk.claim(space(GIB, 1000), bytes);
        let refused = claim(401).unwrap_err().to_string();
        assert!(["401", "600", "1000"].iter().all(|number| refused.contains(number)), "{refused}");
        let first = claim(300).unwrap();
        assert!(claim(101).is_err());
        let second = claim(100).unwrap();
        drop(first);
        assert!(claim(301).is_err());
        drop(second);
        drop(claim(400).unwrap());
        disk.observe(space(GIB, 0), Some(600));
        assert!(disk.claim(space(GIB, 599), 0).is_err(), "below the reserve");
    }

    #[test]
    fn without_a_reserve_nobody_is_refused_ahead() {
        let disk = DiskReserve::default();
        assert_eq!(disk.observe(space(GIB, 0), Some(0)), ReserveChange::None);
        assert!(!disk.is_reached());
    }
}
