//! Looks at how full the disk is, often enough that producers are not stopped for what was freed meanwhile, and frees at once what may
//! be freed when they have to.
//!
//! Owns the interval and the words in the log. The decision is that of [`DiskReserve`](crate::storage::DiskReserve), the
//! refusal that of the partition.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::{housekeeping, unblocked};
use crate::clock::Clock;
use crate::metadata::Controller;
use crate::storage::{LogManager, ReserveChange};

/// How often the disk is looked at. In between what producers append is counted.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// While producers are refused, what may be freed is freed at every so many looks, not at the leisure of the housekeeping.
const LOOKS_BETWEEN_FREEING: u32 = 4;

/// Works until it is aborted.
pub(super) async fn run(controller: Arc<Controller>, logs: Arc<LogManager>, clock: Arc<dyn Clock>) {
    let mut turn = interval(LOOK_INTERVAL);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut could_look = true;
    for look_number in (0..LOOKS_BETWEEN_FREEING).cycle() {
        turn.tick().await;
        let (controller, logs, clock) = (Arc::clone(&controller), Arc::clone(&logs), Arc::clone(&clock));
        could_look = unblocked(move || {
            let could_look = look(&controller, &logs, could_look);
            if logs.disk_reserve().is_reached() && look_number == 0 {
                housekeeping::purge_deleted(&controller);
                housekeeping::apply_retention(&logs, &*clock);
            }
            could_look
        })
        .await;
    }
}

/// One look; returns whether the file system answered. What was found before stays in force where it does not.
pub(super) fn look(controller: &Controller, logs: &LogManager, could_look: bool) -> bool {
    let reserve = logs.disk_reserve();
    let begun = reserve.begin_look();
    let space = match logs.disk_space() {
        Ok(space) => space,
        Err(error) => {
            reserve.could_not_look();
            if could_look {
                tracing::warn!(%error, "cannot find out how full the disk is; producers are served as before");
            }
            return false;
        }
    };
    let directory = logs.data_dir().display();
    let free_bytes = space.usable_bytes;
    match reserve.observe(begun, space, controller.config().log_reserve_bytes) {
        ReserveChange::None => {}
        ReserveChange::Reached { reserve_bytes } => tracing::error!(
            %directory, free_bytes, reserve_bytes,
            "the disk is nearly full: producers are refused until there is more free space than log.reserve.bytes; everything else goes on"
        ),
        ReserveChange::Free { reserve_bytes } => {
            tracing::info!(%directory, free_bytes, reserve_bytes, "there is free space again: producers are served");
        }
    }
    true
}
