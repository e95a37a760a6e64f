//! The deadlines of one shard, in order: arming, moving and firing one cost a logarithm, whatever the number of members.
//!
//! Owns the queue and the pairing of a [`Timer`] with its place in it. What a deadline means is said by its key.
//! Invariant: an armed timer stands in the queue exactly once; a timer that was moved or disarmed never fires for the old time.

use std::collections::BTreeMap;

/// Two clocks at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    /// For waiting: milliseconds since some moment before the start.
    pub(crate) monotonic_ms: u64,
    /// For timestamps: milliseconds since 1970.
    pub(crate) wall_ms: i64,
}

impl Moment {
    /// The monotonic time so many milliseconds from here; a negative number is none.
    pub(crate) fn in_ms(self, ms: i32) -> u64 {
        self.monotonic_ms.saturating_add(u64::try_from(ms).unwrap_or(0))
    }
}

/// Where a timer stands in the queue: when it is due, and a number that makes it unique.
type Place = (u64, u64);

/// A deadline that may be set. It belongs to the [`Timers`] that armed it.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    place: Option<Place>,
}

impl Timer {
    /// When it fires.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        self.place.map(|(due_ms, _)| due_ms)
    }
}

/// A queue of deadlines, each with what it is about.
#[derive(Debug)]
pub(crate) struct Timers<K> {
    queue: BTreeMap<Place, K>,
    next: u64,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { queue: BTreeMap::new(), next: 0 }
    }
}

impl<K> Timers<K> {
    /// Lets `timer` fire at `due_ms` and at no other time. `key` is asked for when it was not armed.
    pub(crate) fn arm(&mut self, timer: &mut Timer, due_ms: u64, key: impl FnOnce() -> K) {
        let before = timer.place.take().and_then(|place| self.queue.remove(&place));
        let place = (due_ms, self.next);
        self.next += 1;
        self.queue.insert(place, before.unwrap_or_else(key));
        timer.place = Some(place);
    }

    /// Lets `timer` not fire.
    pub(crate) fn disarm(&mut self, timer: &mut Timer) {
        if let Some(place) = timer.place.take() {
            self.queue.remove(&place);
        }
    }

    /// When the next timer is due.
    pub(crate) fn next_due_ms(&self) -> Option<u64> {
        self.queue.first_key_value().map(|((due_ms, _), _)| *due_ms)
    }

    /// The next timer that is due by now; it fires once.
    pub(crate) fn pop_due(&mut self, now_ms: u64) -> Option<K> {
        let first = self.queue.first_entry()?;
        (first.key().0 <= now_ms).then(|| first.remove())
    }

    /// How many timers are armed.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_fires_once_and_only_at_the_time_that_was_set_last() {
        let mut timers = Timers::default();
        let (mut first, mut second) = (Timer::default(), Timer::default());
        timers.arm(&mut first, 10, || "first");
        timers.arm(&mut second, 20, || "second");
        timers.arm(&mut first, 30, || unreachable!("the key is kept"));
        assert_eq!((timers.len(), timers.next_due_ms(), first.due_ms()), (2, Some(20), Some(30)));
        assert_eq!(timers.pop_due(19), None);
        assert_eq!((timers.pop_due(30), timers.pop_due(30), timers.pop_due(30)), (Some("second"), Some("first"), None));
    }

    #[test]
    fn a_disarmed_timer_does_not_fire_and_can_be_armed_again() {
        let mut timers = Timers::default();
        let mut timer = Timer::default();
        timers.arm(&mut timer, 10, || 1);
        timers.disarm(&mut timer);
        assert_eq!((timers.pop_due(100), timers.next_due_ms()), (None, None));
        timers.arm(&mut timer, 5, || 2);
        assert_eq!(timers.pop_due(5), Some(2));
        // It has fired: its place is gone, and taking it away again does no harm.
        timers.disarm(&mut timer);
        assert_eq!(timers.len(), 0);
    }

    #[test]
    fn a_time_beyond_all_bounds_is_the_last_one() {
        let late = Moment { monotonic_ms: u64::MAX - 1, wall_ms: 0 };
        assert_eq!((late.in_ms(i32::MAX), late.in_ms(-5)), (u64::MAX, u64::MAX - 1));
    }
}
