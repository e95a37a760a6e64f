//! The space that producers may not use, so that a full disk is a state and not an outage: what frees space and what keeps the
//! broker going (commits, deletions, metadata) still finds some.
//!
//! Owns the decision whether the reserve is reached, made at each look at the file system (whose interval the server decides) and,
//! between two looks, by counting what is appended; and what compaction and merging may write above it. Does not own who is
//! refused: the partition asks before it takes what a client produces, and says what others append.
//!
//! Invariant: between two looks no more is appended for clients than the last one found free above the reserve. What is not
//! counted (indexes, what others write to the file system) is seen by the next look; an append that meets the real end of the disk
//! is refused by the log itself.

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
#[derive(Debug)]
pub struct DiskReserve {
    /// By the last look.
    reached: AtomicBool,
    /// By what was appended since.
    used_up: AtomicBool,
    /// Bytes that were ever appended.
    appended_bytes: AtomicU64,
    /// What `appended_bytes` may come to before the next look.
    appended_bytes_max: AtomicU64,
    /// As of the last look.
    reserve_bytes: AtomicU64,
    /// What is about to be written above it.
    claimed_bytes: AtomicU64,
}

impl Default for DiskReserve {
    /// Nothing is known of the disk: nobody is refused.
    fn default() -> Self {
        DiskReserve {
            reached: AtomicBool::new(false),
            used_up: AtomicBool::new(false),
            appended_bytes: AtomicU64::new(0),
            appended_bytes_max: AtomicU64::new(u64::MAX),
            reserve_bytes: AtomicU64::new(0),
            claimed_bytes: AtomicU64::new(0),
        }
    }
}

/// What had been appended when a look at the file system began.
#[derive(Debug, Clone, Copy)]
pub struct LookBegun {
    appended_bytes: u64,
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
        self.reached.load(Ordering::Relaxed) || self.used_up.load(Ordering::Relaxed)
    }

    /// Whether a client may append so many bytes. Those that it may count until the next look, also if it does not append them
    /// after all.
    pub fn admits(&self, bytes: u64) -> bool {
        if self.is_reached() {
            return false;
        }
        let appended_bytes = self.count_appended(bytes).saturating_add(bytes);
        let admits = appended_bytes <= self.appended_bytes_max.load(Ordering::Relaxed);
        if !admits {
            self.used_up.store(true, Ordering::Relaxed);
        }
        admits
    }

    /// Counts what the broker itself appends, which is never refused; returns what had been appended before.
    pub fn count_appended(&self, bytes: u64) -> u64 {
        self.appended_bytes.fetch_add(bytes, Ordering::Relaxed)
    }

    /// To be called before the file system is asked: what is appended from now on may not be in its answer.
    pub fn begin_look(&self) -> LookBegun {
        LookBegun { appended_bytes: self.appended_bytes.load(Ordering::Relaxed) }
    }

    /// Takes note that the file system does not say how full it is: what the last look found stays in force, and nothing is counted.
    pub fn could_not_look(&self) {
        self.appended_bytes_max.store(u64::MAX, Ordering::Relaxed);
        self.used_up.store(false, Ordering::Relaxed);
    }

    /// Takes note of how full the disk is. `reserve_bytes` is `log.reserve.bytes`; `None` takes the smaller of 1 GiB and 5 %
    /// of the file system.
    pub fn observe(&self, look: LookBegun, space: DiskSpace, reserve_bytes: Option<u64>) -> ReserveChange {
        let by_default = || (space.total_bytes / 100 * DEFAULT_RESERVE_PERCENT).min(DEFAULT_RESERVE_BYTES_MAX);
        let reserve_bytes = reserve_bytes.unwrap_or_else(by_default);
        self.reserve_bytes.store(reserve_bytes, Ordering::Relaxed);
        let was_reached = self.reached.load(Ordering::Relaxed);
        let needed = match self.is_reached() {
            true => reserve_bytes.saturating_add(reserve_bytes / RESUMES_ABOVE_RESERVE),
            false => reserve_bytes,
        };
        let is_reached = space.usable_bytes < needed;
        self.reached.store(is_reached, Ordering::Relaxed);
        let above_bytes = match reserve_bytes {
            // Nobody is to be refused ahead: an append meets the end of the disk itself.
            0 => u64::MAX,
            _ => space.usable_bytes.saturating_sub(reserve_bytes),
        };
        self.appended_bytes_max.store(look.appended_bytes.saturating_add(above_bytes), Ordering::Relaxed);
        self.used_up.store(false, Ordering::Relaxed);
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

    fn look(disk: &DiskReserve, space: DiskSpace, reserve_bytes: Option<u64>) -> ReserveChange {
        disk.observe(disk.begin_look(), space, reserve_bytes)
    }

    #[test]
    fn the_default_is_the_smaller_of_one_gib_and_five_percent() {
        for (total, reserve) in [(1000 * GIB, GIB), (20 * GIB + 80, GIB), (10 * GIB, 10 * GIB / 100 * 5), (100, 5)] {
            let disk = DiskReserve::default();
            assert_eq!(look(&disk, space(total, reserve), None), ReserveChange::None, "{total}");
            assert!(!disk.is_reached());
            let reached = ReserveChange::Reached { reserve_bytes: reserve };
            assert_eq!(look(&disk, space(total, reserve - 1), None), reached, "{total}");
            assert!(disk.is_reached());
        }
    }

    #[test]
    fn producers_go_on_a_little_above_the_reserve() {
        let disk = DiskReserve::default();
        let look = |usable_bytes| look(&disk, space(GIB, usable_bytes), Some(1600));
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
        look(&disk, space(GIB, 1000), Some(600));
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
        look(&disk, space(GIB, 0), Some(600));
        assert!(disk.claim(space(GIB, 599), 0).is_err(), "below the reserve");
    }

    #[test]
    fn without_a_reserve_nobody_is_refused_ahead() {
        let disk = DiskReserve::default();
        assert_eq!(look(&disk, space(GIB, 0), Some(0)), ReserveChange::None);
        assert!(!disk.is_reached());
        assert!(disk.admits(GIB));
    }

    #[test]
    fn no_more_is_admitted_between_two_looks_than_was_free_above_the_reserve() {
        let disk = DiskReserve::default();
        assert!(disk.admits(GIB), "before the first look");
        assert_eq!(look(&disk, space(GIB, 1_000), Some(600)), ReserveChange::None);
        assert!(disk.admits(300));
        disk.count_appended(50);
        assert!(disk.admits(50) && !disk.is_reached());
        assert!(!disk.admits(1) && disk.is_reached());
        assert!(!disk.admits(0), "nor anything more before the next look");
        // The next look finds that less was used than was counted, by a little and by much.
        assert_eq!(look(&disk, space(GIB, 636), Some(600)), ReserveChange::Reached { reserve_bytes: 600 });
        assert!(!disk.admits(1));
        assert_eq!(look(&disk, space(GIB, 637), Some(600)), ReserveChange::Free { reserve_bytes: 600 });
        assert!(disk.admits(37) && !disk.admits(1));
        assert_eq!(look(&disk, space(GIB, 1_000), Some(600)), ReserveChange::None);
        assert!(disk.admits(400));
    }

    #[test]
    fn what_is_appended_during_a_look_counts_after_it_too() {
        let disk = DiskReserve::default();
        let begun = disk.begin_look();
        assert!(disk.admits(100));
        disk.observe(begun, space(GIB, 1_000), Some(600));
        assert!(disk.admits(300) && !disk.admits(1));
    }

    #[test]
    fn where_nobody_can_tell_nobody_is_refused_for_what_was_counted() {
        let disk = DiskReserve::default();
        look(&disk, space(GIB, 1_000), Some(600));
        assert!(!disk.admits(401));
        disk.could_not_look();
        assert!(disk.admits(GIB));
        look(&disk, space(GIB, 0), Some(600));
        disk.could_not_look();
        assert!(!disk.admits(1), "what was found before stays in force");
    }
}
