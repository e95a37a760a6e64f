//! What is to be done now and then: removing the folders of deleted topics, forgetting silent producers.
//!
//! Owns the intervals of this work, none of the work itself. A failure is logged and tried again at the next turn.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::unblocked;
use crate::clock::Clock;
use crate::metadata::Controller;
use crate::storage::LogManager;

/// How often the folders of deleted topics are removed. Readers of a removed file keep it until they are done.
const PURGE_INTERVAL: Duration = Duration::from_secs(60);

/// Works until it is aborted.
pub(super) async fn run(controller: Arc<Controller>, logs: Arc<LogManager>, clock: Arc<dyn Clock>) {
    let check_ms = u64::try_from(controller.config().producer_id_expiration_check_interval_ms).unwrap_or(1);
    let mut purge = interval(PURGE_INTERVAL);
    let mut expire = interval(Duration::from_millis(check_ms.max(1)));
    purge.set_missed_tick_behavior(MissedTickBehavior::Delay);
    expire.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = purge.tick() => {
                let controller = Arc::clone(&controller);
                unblocked(move || purge_deleted(&controller)).await;
            }
            _ = expire.tick() => {
                let (controller, logs, clock) = (Arc::clone(&controller), Arc::clone(&logs), Arc::clone(&clock));
                unblocked(move || expire_producers(&controller, &logs, &*clock)).await;
            }
        }
    }
}

fn purge_deleted(controller: &Controller) {
    match controller.purge_deleted_folders() {
        Ok(0) => {}
        Ok(folders) => tracing::info!(folders, "removed the folders of deleted topics"),
        Err(error) => tracing::warn!(%error, "the folder of a deleted topic could not be removed"),
    }
}

fn expire_producers(controller: &Controller, logs: &LogManager, clock: &dyn Clock) {
    let expiration_ms = i64::from(controller.config().producer_id_expiration_ms);
    let now_ms = clock.now_ms();
    let expired: usize = logs.logs().iter().map(|log| log.expire_producers(now_ms, expiration_ms)).sum();
    if expired > 0 {
        tracing::debug!(expired, "forgot producers that were silent for producer.id.expiration.ms");
    }
}
