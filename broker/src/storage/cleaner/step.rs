//! How far a step of the work on one log is: a pass over a large log takes minutes, and whoever waits for it wants to see it.
//!
//! Owns the figures, and how often they are told. Does not own the words of the log.
//!
//! Invariant: there is nothing to tell in the first ten seconds of a pass, nor within ten seconds of the last news.

use std::time::Duration;

use parking_lot::Mutex;

const TOLD_EVERY: Duration = Duration::from_secs(10);

/// The steps of one pass over a log, one after the other.
#[derive(Debug)]
pub(super) struct Steps(Mutex<State>);

#[derive(Debug)]
struct State {
    name: &'static str,
    began: Duration,
    done_bytes: u64,
    of_bytes: u64,
    told: Duration,
}

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StepNews {
    /// What is done.
    pub(super) name: &'static str,
    /// Bytes that were read and written in this step.
    pub(super) done_bytes: u64,
    /// As many as it has, as far as that could be told at its begin.
    pub(super) of_bytes: u64,
    /// On the average of the step, pauses of the throttle included.
    pub(super) bytes_per_second: u64,
}

impl Steps {
    /// A pass that begins at this time of the monotonic clock.
    pub(super) fn new(now: Duration) -> Steps {
        Steps(Mutex::new(State { name: "beginning", began: now, done_bytes: 0, of_bytes: 0, told: now }))
    }

    /// The step before is over.
    pub(super) fn begin(&self, name: &'static str, of_bytes: u64, now: Duration) {
        let mut state = self.0.lock();
        *state = State { name, began: now, done_bytes: 0, of_bytes, told: state.told };
    }

    /// So many bytes are read or written; what there is to tell about it, if it is time to.
    pub(super) fn count(&self, bytes: u64, now: Duration) -> Option<StepNews> {
        let mut state = self.0.lock();
        state.done_bytes += bytes;
        if now.saturating_sub(state.told) < TOLD_EVERY {
            return None;
        }
        state.told = now;
        let took_ms = now.saturating_sub(state.began).as_millis().max(1);
        let bytes_per_second = u128::from(state.done_bytes) * 1_000 / took_ms;
        Some(StepNews {
            name: state.name,
            done_bytes: state.done_bytes,
            of_bytes: state.of_bytes,
            bytes_per_second: u64::try_from(bytes_per_second).unwrap_or(u64::MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_told_of_every_ten_seconds_with_its_own_figures() {
        let at = Duration::from_secs;
        let steps = Steps::new(at(100));
        steps.begin("reading", 5_000, at(101));
        assert_eq!(steps.count(500, at(109)), None);
        let news = |name, done_bytes, of_bytes, bytes_per_second| {
            Some(StepNews { name, done_bytes, of_bytes, bytes_per_second })
        };
        assert_eq!(steps.count(500, at(111)), news("reading", 1_000, 5_000, 100));
        assert_eq!(steps.count(2_000, at(120)), None);
        steps.begin("writing", 8_000, at(120));
        assert_eq!(steps.count(10, at(120)), None);
        assert_eq!(steps.count(90, at(121)), news("writing", 100, 8_000, 100), "ten seconds after the last news");
        assert_eq!(steps.count(1, at(130)), None);
        assert_eq!(steps.count(899, at(140)), news("writing", 1_000, 8_000, 50));
    }
}
