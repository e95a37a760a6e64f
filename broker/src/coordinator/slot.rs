//! One partition of `__consumer_offsets` with the groups in it: loading, serving, or not.
//!
//! Owns the step from effects to the log: append, replay, answers. Invariant: what was replayed is in the log before
//! `replayed_to`, in the same order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use ottla_protocol::records::{BatchBuilder, BatchFields, HEADER_BYTES};
use parking_lot::Mutex;

use super::group::{Effects, GROUP_RECORD_BYTES_MAX, GroupError, GroupRecord, GroupShard, Moment};
use super::load::{LoadError, Loaded};
use super::offsets_topic::OFFSETS_TOPIC;
use super::waiters::Waiters;
use crate::replica::Partition;
use crate::storage::ValidatedBatch;
use crate::types::Offset;

/// The most bytes that the records of one change may have.
const BATCH_BYTES_MAX: usize = 16 << 20;
// Beside it stands the group's name.
const _: () = assert!(GROUP_RECORD_BYTES_MAX + (1 << 17) <= BATCH_BYTES_MAX);
/// No deadline.
pub(super) const NEVER: u64 = u64::MAX;

/// A partition of the topic and its groups.
pub(super) struct Slot {
    /// `None` if it is offline.
    pub(super) partition: Option<Arc<Partition>>,
    pub(super) state: Mutex<SlotState>,
    /// When a deadline of it is next due, in monotonic milliseconds.
    pub(super) next_due_ms: AtomicU64,
}

/// Whether a slot's groups are served.
pub(super) enum SlotState {
    /// The log is being read.
    Loading,
    /// It cannot be read; a person was told.
    Failed,
    /// It serves requests.
    Loaded(Box<LiveShard>),
}

/// A shard that serves requests.
pub(super) struct LiveShard {
    pub(super) shard: GroupShard,
    pub(super) waiters: Waiters,
    /// Everything that was replayed lies before this offset.
    pub(super) replayed_to: Offset,
}

impl Slot {
    /// A slot at the start: of an empty log all is known.
    pub(super) fn begin(partition: Option<Arc<Partition>>, shard: GroupShard) -> Arc<Self> {
        let state = match &partition {
            None => {
                tracing::error!("a partition of {OFFSETS_TOPIC} is offline, and its groups with it");
                SlotState::Failed
            }
            Some(partition) => {
                let offsets = partition.offsets();
                match offsets.log_start == offsets.high_watermark {
                    true => SlotState::Loaded(Box::new(LiveShard::new(shard, offsets.high_watermark))),
                    false => SlotState::Loading,
                }
            }
        };
        Arc::new(Self { partition, state: Mutex::new(state), next_due_ms: AtomicU64::new(NEVER) })
    }

    /// Puts a shard in service whose log was read.
    pub(super) fn finish_loading(&self, mut shard: GroupShard, read: Result<Loaded, LoadError>, now: Moment) {
        let index = self.partition.as_ref().map(|partition| partition.index());
        let mut state = self.state.lock();
        match read {
            Ok(loaded) => {
                let effects = shard.on_loaded(now);
                tracing::debug!(partition = index, ?loaded, groups = shard.group_count(), "groups are loaded");
                let mut live = LiveShard::new(shard, loaded.end);
                if let Err(error) = self.commit(&mut live, effects, now) {
                    tracing::warn!(%error, "a change of a group at its loading could not be put on record");
                }
                self.note_next_due(&live.shard);
                *state = SlotState::Loaded(Box::new(live));
            }
            Err(error) => {
                tracing::error!(
                    partition = index, %error,
                    "groups cannot be loaded and are not served; a restart alone does not change that: look at the records \
                     with `ottla log dump --records`, and with `ottla log repair` at what it can mend \
                     (docs/operations.md)"
                );
                *state = SlotState::Failed;
            }
        }
    }

    /// Appends records, replays them, and lets answers go as far as the disk. Returns what has to be durable for them.
    ///
    /// # Errors
    /// Nothing was appended, and whoever was to be answered is refused.
    pub(super) fn commit(
        &self,
        live: &mut LiveShard,
        effects: Effects,
        now: Moment,
    ) -> Result<Option<Offset>, GroupError> {
        let Effects { records, mut answers, follow_up } = effects;
        let appended = match records.is_empty() {
            true => Ok(None),
            false => self.append(&records, now).map(Some),
        };
        match &appended {
            Ok(Some(end)) => {
                live.replayed_to = *end;
                records.iter().for_each(|record| live.shard.replay(record, now));
            }
            Ok(None) => {}
            Err(error) => answers.iter_mut().for_each(|(_, answer)| answer.refuse(*error)),
        }
        live.waiters.deliver(answers, appended.ok().flatten());
        if let Some(follow_up) = follow_up {
            let effects = live.shard.follow_up(follow_up, appended.map(drop), now);
            // A failed append of its own is in its answers.
            let _refused = self.commit(live, effects, now);
        }
        appended
    }

    /// Appends records as one batch; returns the end of the log behind it.
    fn append(&self, records: &[GroupRecord], now: Moment) -> Result<Offset, GroupError> {
        let partition = self.partition.as_ref().ok_or(GroupError::CoordinatorNotAvailable)?;
        let mut batch = BatchBuilder::new();
        for record in records {
            let (key, value) = record.encode();
            batch.append(now.wall_ms, Some(&key), value.as_deref(), &[]);
            if batch.size_in_bytes() > BATCH_BYTES_MAX {
                return Err(GroupError::ChangeTooLarge);
            }
        }
        let bytes: Bytes = batch.build(&BatchFields::default()).expect("without compression nothing can fail");
        let header = *bytes.first_chunk::<HEADER_BYTES>().expect("a batch begins with its header");
        let batch = ValidatedBatch::new(header, bytes.slice(HEADER_BYTES..));
        match partition.append_own(batch, now.wall_ms) {
            Ok(appended) => Ok(appended.log_end_offset),
            Err(error) => {
                tracing::warn!(partition = partition.index(), %error, "a change of a group could not be put on record");
                Err(GroupError::CoordinatorNotAvailable)
            }
        }
    }

    /// Publishes when the shard's next deadline is due, and returns it.
    pub(super) fn note_next_due(&self, shard: &GroupShard) -> u64 {
        let due_ms = shard.next_due_ms().unwrap_or(NEVER);
        self.next_due_ms.store(due_ms, Ordering::SeqCst);
        due_ms
    }
}

impl LiveShard {
    fn new(shard: GroupShard, replayed_to: Offset) -> Self {
        Self { shard, waiters: Waiters::default(), replayed_to }
    }
}
