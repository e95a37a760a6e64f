//! What is to be done now and then: removing what retention no longer keeps and the folders of deleted topics, forgetting
//! silent producers.
//!
//! Owns the intervals of this work, none of the work itself. A failure is logged and tried again at the next turn.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep};

use super::unblocked;
use crate::clock::Clock;
use crate::metadata::Controller;
use crate::storage::{LogManager, StorageError};

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

/// Applies retention until it is aborted: first after `log.initial.task.delay.ms`, then every
/// `log.retention.check.interval.ms`.
pub(super) async fn retain(controller: Arc<Controller>, logs: Arc<LogManager>, clock: Arc<dyn Clock>) {
    let config = controller.config();
    let delay = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    sleep(delay(config.log_initial_task_delay_ms)).await;
    loop {
        let (logs, clock) = (Arc::clone(&logs), Arc::clone(&clock));
        unblocked(move || apply_retention(&logs, &*clock)).await;
        sleep(delay(config.log_retention_check_interval_ms.max(1))).await;
    }
}

pub(super) fn apply_retention(logs: &LogManager, clock: &dyn Clock) {
    for log in logs.logs() {
        match log.apply_retention(clock.now_ms()) {
            Ok(_) => {}
            // It was deleted, or is offline and said so.
            Err(StorageError::Closed { .. } | StorageError::Poisoned { .. }) => {}
            Err(error) => {
                tracing::warn!(log = %log.topic_partition(), %error, "retention could not be applied; it is tried again");
            }
        }
    }
}

pub(super) fn purge_deleted(controller: &Controller) {
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
