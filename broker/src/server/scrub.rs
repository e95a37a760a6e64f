//! Scrubs all logs, slowly and without an end.
//!
//! Owns the pace and the order; what is checked, and what is done about damage, is the log's business
//! ([`Log::scrub`](crate::storage::Log::scrub)). A failure is logged, and the scrub goes on behind it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::unblocked;
use crate::clock::Clock;
use crate::metadata::Controller;
use crate::storage::{LogManager, ScrubCursor, StorageError};

/// What is read at once.
const STEP_BYTES: u64 = 1 << 20;
/// The least time from the begin of one round to that of the next: what fits into memory need not be read all the time.
const ROUND_AT_LEAST: Duration = Duration::from_secs(24 * 3600);
/// How often a scrub that is switched off looks whether it still is.
const OFF_INTERVAL: Duration = Duration::from_secs(10);

/// Works until it is aborted.
pub(super) async fn run(controller: Arc<Controller>, logs: Arc<LogManager>, clock: Arc<dyn Clock>) {
    loop {
        let began = clock.monotonic();
        // By name: who held the logs would keep the files of deleted ones from going.
        let mut round: Vec<_> = logs.logs().iter().map(|log| log.topic_partition().clone()).collect();
        // Each start begins elsewhere, lest a broker that is restarted often never comes to its last logs.
        round.sort_unstable();
        let first = usize::try_from(clock.now_ms()).unwrap_or(0) % round.len().max(1);
        round.rotate_left(first);
        for topic_partition in round {
            let mut cursor = ScrubCursor::default();
            loop {
                let Some(bytes_per_second) = bytes_per_second(&controller) else {
                    sleep(OFF_INTERVAL).await;
                    continue;
                };
                let Some(log) = logs.log(&topic_partition) else { break };
                let mut at = cursor;
                let (scrubbed, at) = unblocked(move || (log.scrub(&mut at, STEP_BYTES), at)).await;
                cursor = at;
                match scrubbed {
                    Ok(Some(bytes)) => sleep(Duration::from_secs_f64(bytes as f64 / bytes_per_second)).await,
                    Ok(None) | Err(StorageError::Closed { .. }) => break,
                    Err(error) => {
                        tracing::error!(%error, "a segment cannot be checked");
                        sleep(OFF_INTERVAL).await;
                    }
                }
            }
        }
        sleep(ROUND_AT_LEAST.saturating_sub(clock.monotonic().saturating_sub(began))).await;
    }
}

/// The pace; `None` where nothing is to be scrubbed.
fn bytes_per_second(controller: &Controller) -> Option<f64> {
    let bytes_per_second = controller.config().log_scrub_bytes_per_second;
    (bytes_per_second > 0).then_some(bytes_per_second as f64)
}
