//! The one home of the clocks: everything else takes the time as an argument or asks here.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) use tokio::time::Instant;

use rand::RngExt;

/// The monotonic time, which a paused tokio runtime can stop and move.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Milliseconds since 1970, as records carry them.
pub(crate) fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// How long to wait before trying again: doubling from `first` to `max`, a fifth more or less at random, so that many
/// clients that failed together do not return together (KIP-580).
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(first: Duration, max: Duration) -> Self {
        Backoff { first, max, failures: 0 }
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The wait after one more failure.
    pub(crate) fn next(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.after(self.failures)
    }

    /// The wait after `failures` failures in a row.
    pub(crate) fn after(&self, failures: u32) -> Duration {
        let doubled = self.first.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(self.max);
        doubled.mul_f64(rand::rng().random_range(0.8..1.2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_to_its_limit_and_starts_again() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let waits: Vec<u128> = (0..40).map(|_| backoff.next().as_millis()).collect();
        for (index, nominal) in [100, 200, 400, 800, 1000, 1000].into_iter().enumerate() {
            assert!((nominal * 8 / 10..=nominal * 12 / 10).contains(&waits[index]), "{waits:?}");
        }
        assert!(waits.iter().all(|wait| *wait <= 1200));
        backoff.reset();
        assert!(backoff.next().as_millis() <= 120);
    }
}
