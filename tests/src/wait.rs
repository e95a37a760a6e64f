//! Waiting for a condition with a deadline: what tests use instead of sleeping.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long a condition is given unless the caller says otherwise: much, for a machine that has other things to do.
pub const PATIENCE: Duration = Duration::from_secs(60);

const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Asks `condition` until it yields a value, for at most `patience`; `what` names it in the error.
pub fn wait_for<T>(what: &str, patience: Duration, mut condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            bail!("{what}: not within {patience:?}");
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Asks `condition` until it holds, for at most [`PATIENCE`].
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) -> Result<()> {
    wait_for(what, PATIENCE, || Ok(condition().then_some(())))
}
