//! What records hold: slices of one piece of memory, so that making them takes no time.

use bytes::Bytes;

/// Distinct bytes before they repeat.
const POOL_BYTES: usize = 1 << 20;
/// From where one value starts to where the next one does: a prime, so that batches differ.
const STEP_BYTES: usize = 7_919;

/// Values of one size.
#[derive(Debug)]
pub(super) struct Payload {
    pool: Bytes,
    value_bytes: usize,
    next: usize,
}

impl Payload {
    /// Values of random hexadecimal digits, the same in every run.
    pub(super) fn new(value_bytes: usize) -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let digit = |_| {
            // Marsaglia's xorshift.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            b"0123456789abcdef"[(state >> 60) as usize]
        };
        let pool = (0..POOL_BYTES + value_bytes).map(digit).collect();
        Payload { pool, value_bytes, next: 0 }
    }

    /// The next value.
    pub(super) fn next(&mut self) -> Bytes {
        let value = self.pool.slice(self.next..self.next + self.value_bytes);
        self.next = (self.next + STEP_BYTES) % POOL_BYTES;
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_size_and_differ() {
        for size in [0, 1, 100, POOL_BYTES, 3 * POOL_BYTES] {
            let mut payload = Payload::new(size);
            let values: Vec<Bytes> = (0..500).map(|_| payload.next()).collect();
            assert!(values.iter().all(|value| value.len() == size));
            assert!(size < 100 || values[0] != values[1] && values[0] != values[499]);
        }
    }
}
