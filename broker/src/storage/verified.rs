//! Which bytes of a segment file were checked against their checksums since the file was opened.
//!
//! Owns the memory of it, not the checking. What this process wrote needs no check; what lay on the disk before is checked
//! when it is first read, so that a flipped bit costs the batch that it is in and is never sent to anybody.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

/// Ranges remembered; consumers read in sequence, so there are few. What does not fit is checked again.
const RANGES_MAX: usize = 256;

/// The checked part of a segment file.
#[derive(Debug)]
pub(super) struct Verified {
    /// Bytes that were there when the file was opened; those behind it were written since.
    size_at_open: u64,
    /// All of them were checked: the usual case, found out without a lock.
    complete: AtomicBool,
    /// Checked ranges, by position, none touching the next.
    ranges: Mutex<Vec<Range<u64>>>,
}

impl Verified {
    /// A file of which nothing but `checked` is known to be good.
    pub(super) fn new(size_at_open: u64, checked: Range<u64>) -> Verified {
        let verified =
            Verified { size_at_open, complete: AtomicBool::new(size_at_open == 0), ranges: Mutex::default() };
        verified.add(checked);
        verified
    }

    /// Whether all of these bytes were checked, or written by this process.
    pub(super) fn covers(&self, wanted: Range<u64>) -> bool {
        if self.complete.load(Ordering::Acquire) || wanted.start >= self.size_at_open {
            return true;
        }
        let end = wanted.end.min(self.size_at_open);
        self.ranges.lock().iter().any(|range| range.start <= wanted.start && end <= range.end)
    }

    /// Takes note that these bytes were checked.
    pub(super) fn add(&self, checked: Range<u64>) {
        if checked.is_empty() || self.complete.load(Ordering::Acquire) {
            return;
        }
        let mut ranges = self.ranges.lock();
        let first = ranges.partition_point(|range| range.end < checked.start);
        let behind = ranges.partition_point(|range| range.start <= checked.end);
        let start = ranges.get(first).map_or(checked.start, |range| range.start.min(checked.start));
        let end = if behind > first { ranges[behind - 1].end.max(checked.end) } else { checked.end };
        let start = if behind > first { start } else { checked.start };
        if behind > first || ranges.len() < RANGES_MAX {
            ranges.splice(first..behind, std::iter::once(start..end));
        }
        if ranges[..].iter().any(|range| range.start == 0 && range.end >= self.size_at_open) {
            ranges.clear();
            self.complete.store(true, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_grow_together_as_a_set_of_bytes_does() {
        // A linear congruence decides which ranges are added; a set of single positions is the model.
        let mut random = 7u64;
        let mut next = |bound: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) % bound
        };
        for _ in 0..50 {
            let verified = Verified::new(200, 0..0);
            let mut model = [false; 260];
            for _ in 0..40 {
                let start = next(220);
                let end = start + next(25);
                verified.add(start..end);
                model[start as usize..end as usize].fill(true);
                for from in (0..220).step_by(7) {
                    for to in (from + 1..=240).step_by(11) {
                        let expected = model[from as usize..to.min(200).max(from) as usize].iter().all(|known| *known);
                        assert_eq!(verified.covers(from..to), expected, "{from}..{to} after {start}..{end}");
                    }
                }
            }
            verified.add(0..200);
            assert!(verified.complete.load(Ordering::Relaxed));
        }
        assert!(Verified::new(0, 0..0).covers(5..9), "what was written since is good");
    }
}
