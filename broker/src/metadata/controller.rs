//! Changes the metadata: checks a wish, makes folders, commits records, replays them, tells the listener, publishes the image.
//!
//! Owns the order of these steps, which is what makes a crash harmless between any two of them:
//! 1. folders of new partitions are made and synced (an orphan without records is undone at the start);
//! 2. the records are appended to the metadata log and synced: from here on the change has happened;
//! 3. the records are replayed into a copy of the image, the listener opens and closes logs, the copy is published;
//! 4. folders of removed topics are renamed (the start completes that).
//!
//! The wishes are in files of their own: `create_topics`, `create_partitions`, `delete_topics`, `alter_configs`,
//! `allocate_producer_id`. All calls are synchronous and wait for the disk; one change at a time, readers wait for nobody.
//!
//! Invariant: the published image is what the durable records make. After a failed append nobody knows what is durable, so
//! nothing more is changed before a restart.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use bytes::Bytes;
use ottla_protocol::Uuid;
use parking_lot::{Mutex, MutexGuard};
use rand::RngExt;
use rand::rngs::StdRng;

use super::controller_error::ControllerError;
use super::image::{ImageDelta, MetadataImage, TopicImage};
use super::internal_topic;
use super::metadata_log::{CHANGE_BYTES_MAX, MetadataLog};
use super::metadata_record::MetadataRecord;
use super::partition_folder::{FolderReport, NewFolders, PartitionFolders};
use super::topic_listener::TopicListener;
use crate::clock::Clock;
use crate::config::BrokerConfig;
use crate::storage::vfs::Vfs;
use crate::types::LeaderEpoch;

/// At the start, a log of more records than this is rewritten if that makes it much shorter.
const REWRITE_ABOVE_RECORDS: usize = 10_000;
/// How much shorter: so many times.
const REWRITE_FACTOR: usize = 2;

/// What the controller works with.
#[derive(Debug)]
pub struct ControllerContext {
    /// The file system.
    pub vfs: Arc<dyn Vfs>,
    /// The data directory; it exists.
    pub data_dir: PathBuf,
    /// The broker's configuration at the start, without what was altered while it ran.
    pub config: BrokerConfig,
    /// Partitions that the process has descriptors for, whatever `max.partitions` says.
    pub partitions_max: usize,
    /// Where topic ids come from.
    pub random: StdRng,
    /// Where the timestamps of metadata records come from.
    pub clock: Arc<dyn Clock>,
}

/// The metadata of the cluster and the only way to change it.
pub struct Controller {
    pub(super) folders: PartitionFolders,
    image: ArcSwap<MetadataImage>,
    config: ArcSwap<BrokerConfig>,
    listener: OnceLock<Arc<dyn TopicListener>>,
    partitions_max: usize,
    state: Mutex<ControllerState>,
    clock: Arc<dyn Clock>,
}

/// What only the change at hand may touch.
pub(super) struct ControllerState {
    log: MetadataLog,
    pub(super) random: StdRng,
    /// Producer ids that are durably reserved and not handed out yet.
    pub(super) producer_ids: std::ops::Range<i64>,
    /// Whether a folder of a removed topic is still in its place, so that the next start must look for it.
    pub(super) removal_failed: bool,
}

/// A change in the making: records, and the image that they make.
pub(super) struct Plan {
    pub(super) image: MetadataImage,
    pub(super) records: Vec<MetadataRecord>,
    pub(super) folders: Vec<NewFolders>,
    /// Partitions that the process has descriptors for.
    pub(super) partitions_max: usize,
    delta: ImageDelta,
    /// Records that are worth no commit of their own.
    housekeeping: usize,
}

impl Plan {
    /// Adds a record whose wish was checked against the plan's image.
    pub(super) fn add(&mut self, record: MetadataRecord) {
        self.image.replay(&record, &mut self.delta).expect("the wish was checked against this image");
        self.records.push(record);
    }
}

impl Controller {
    /// Loads the metadata, or starts a new cluster in an empty data directory, and makes the partitions' folders agree with it.
    /// No log may be open yet.
    ///
    /// # Errors
    /// The disk fails, or the metadata log holds what this broker does not understand.
    pub fn open(context: ControllerContext) -> Result<(Self, FolderReport), ControllerError> {
        let ControllerContext { vfs, data_dir, config, partitions_max, mut random, clock } = context;
        let now_ms = clock.now_ms();
        let (log, values) = MetadataLog::open(vfs.clone(), &data_dir, now_ms)?;
        let mut image = load(&values)?;
        if image.cluster_id().is_zero() {
            let record = MetadataRecord::Cluster { cluster_id: random_id(&mut random) };
            commit_at_start(&log, &mut image, record, now_ms)?;
        }
        let folders = PartitionFolders::new(vfs, &data_dir);
        let report = folders.reconcile(&image, &mut || random_bytes(&mut random))?;
        if !image.pending_removals().is_empty() {
            commit_at_start(&log, &mut image, MetadataRecord::RemovalsCompleted {}, now_ms)?;
        }
        mend_internal_topics(&log, &mut image, now_ms)?;
        rewrite_if_long(&log, &image, values.len(), now_ms)?;
        let config = dynamic_config(&config, &image).unwrap_or_else(|error| {
            tracing::error!(%error, "configuration altered at run time does not fit that of this start, and is ignored");
            config
        });
        let state = ControllerState { log, random, producer_ids: 0..0, removal_failed: false };
        let controller = Self {
            folders,
            image: ArcSwap::from_pointee(image),
            config: ArcSwap::from_pointee(config),
            listener: OnceLock::new(),
            partitions_max,
            state: Mutex::new(state),
            clock,
        };
        Ok((controller, report))
    }

    /// Who is told of changes. Can be set once, before the first change; returns whether it was.
    pub fn set_listener(&self, listener: Arc<dyn TopicListener>) -> bool {
        self.listener.set(listener).is_ok()
    }

    /// The metadata now. Waits for nobody.
    pub fn image(&self) -> Arc<MetadataImage> {
        self.image.load_full()
    }

    /// The broker's configuration with what was altered while it ran.
    pub fn config(&self) -> Arc<BrokerConfig> {
        self.config.load_full()
    }

    /// Enters the next leader epoch, durably. Called at a start that had to cut a log, so that clients who have read further
    /// find out (KIP-320).
    ///
    /// # Errors
    /// The metadata log fails.
    pub fn begin_leader_epoch(&self) -> Result<LeaderEpoch, ControllerError> {
        let mut state = self.lock()?;
        let mut plan = self.plan(&state);
        let leader_epoch = plan.image.leader_epoch().0 + 1;
        plan.add(MetadataRecord::LeaderEpoch { leader_epoch });
        self.commit(&mut state, plan)?;
        Ok(LeaderEpoch(leader_epoch))
    }

    /// Removes the folders of deleted topics from the disk; returns how many. May run beside anything else.
    ///
    /// # Errors
    /// The file system fails; the rest is removed by a later call, in this or another start.
    pub fn purge_deleted_folders(&self) -> Result<usize, ControllerError> {
        Ok(self.folders.purge()?)
    }

    /// The right to change something.
    pub(super) fn lock(&self) -> Result<MutexGuard<'_, ControllerState>, ControllerError> {
        let state = self.state.lock();
        match state.log.failure() {
            Some(failure) => Err(failure),
            None => Ok(state),
        }
    }

    /// A change that does nothing yet.
    pub(super) fn plan(&self, state: &ControllerState) -> Plan {
        let mut plan = Plan {
            image: MetadataImage::clone(&self.image.load()),
            records: Vec::new(),
            folders: Vec::new(),
            partitions_max: self.partitions_max,
            delta: ImageDelta::default(),
            housekeeping: 0,
        };
        if !plan.image.pending_removals().is_empty() && !state.removal_failed {
            plan.add(MetadataRecord::RemovalsCompleted {});
            plan.housekeeping = 1;
        }
        plan
    }

    /// Steps 1 to 3 of a change; nothing happens for a plan without records.
    pub(super) fn commit(&self, state: &mut ControllerState, plan: Plan) -> Result<(), ControllerError> {
        if plan.records.len() == plan.housekeeping {
            return Ok(());
        }
        let now_ms = self.clock.now_ms();
        let change = MetadataLog::encode(&plan.records, now_ms);
        if change.size_bytes() > CHANGE_BYTES_MAX {
            return Err(ControllerError::ChangeTooLarge { bytes: change.size_bytes() });
        }
        if !plan.folders.is_empty()
            && let Err(error) = self.folders.create(&plan.folders, &mut || random_bytes(&mut state.random))
        {
            self.folders.undo_create(&plan.folders);
            return Err(error.into());
        }
        // A configuration that does not parse was refused before the plan was made.
        let config = plan.delta.broker_configs_altered.then(|| self.config_under(&plan.image)).transpose()?;
        if let Err(error) = state.log.append(change, now_ms) {
            if state.log.failure().is_none() {
                // The disk is full, which passes: nothing was appended.
                self.folders.undo_create(&plan.folders);
            }
            return Err(error.into());
        }
        let (before, after) = (self.image.load_full(), Arc::new(plan.image));
        if let Some(config) = config {
            self.config.store(Arc::new(config));
        }
        if let Some(listener) = self.listener.get() {
            listener.on_metadata_change(&before, &after, &plan.delta);
        }
        self.image.store(after);
        Ok(())
    }

    fn config_under(&self, image: &MetadataImage) -> Result<BrokerConfig, ControllerError> {
        Ok(dynamic_config(&self.config.load(), image)?)
    }
}

impl ControllerState {
    pub(super) fn random_id(&mut self) -> Uuid {
        random_id(&mut self.random)
    }
}

impl fmt::Debug for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Controller").field("folders", &self.folders).finish_non_exhaustive()
    }
}

/// Replaces the values of results whose change failed in the end.
pub(super) fn fail_all<T>(
    results: Vec<Result<T, ControllerError>>,
    error: &ControllerError,
) -> Vec<Result<T, ControllerError>> {
    results.into_iter().map(|result| result.and_then(|_| Err(error.clone()))).collect()
}

fn load(values: &[Bytes]) -> Result<MetadataImage, ControllerError> {
    let (mut image, mut delta) = (MetadataImage::default(), ImageDelta::default());
    for (index, value) in values.iter().enumerate() {
        let record = MetadataRecord::decode(value)
            .map_err(|reason| ControllerError::Record { index, reason: Arc::new(reason) })?;
        image.replay(&record, &mut delta).map_err(|reason| ControllerError::Replay { index, reason })?;
    }
    Ok(image)
}

fn commit_at_start(
    log: &MetadataLog,
    image: &mut MetadataImage,
    record: MetadataRecord,
    now_ms: i64,
) -> Result<(), ControllerError> {
    log.append(MetadataLog::encode(std::slice::from_ref(&record), now_ms), now_ms)?;
    image.replay(&record, &mut ImageDelta::default()).expect("these records contradict no image");
    Ok(())
}

/// Gives internal topics that an older version made what they must have, before their logs are opened.
fn mend_internal_topics(log: &MetadataLog, image: &mut MetadataImage, now_ms: i64) -> Result<(), ControllerError> {
    let mended =
        |topic: &Arc<TopicImage>| Some((Arc::clone(topic), internal_topic::mended(&topic.name, &topic.configs)?));
    let to_mend: Vec<_> = image.topics().filter_map(mended).collect();
    for (topic, configs) in to_mend {
        let record = MetadataRecord::TopicConfigs { topic_id: topic.id, configs: configs.clone() };
        commit_at_start(log, image, record, now_ms)?;
        tracing::warn!(
            topic = %topic.name, before = ?topic.configs, now = ?configs,
            "an internal topic was made with a configuration that could lose what is kept in it, and has got the one that it must \
             have; what was lost before is not known"
        );
    }
    Ok(())
}

fn rewrite_if_long(
    log: &MetadataLog,
    image: &MetadataImage,
    records: usize,
    now_ms: i64,
) -> Result<(), ControllerError> {
    if records <= REWRITE_ABOVE_RECORDS {
        return Ok(());
    }
    let shortest = image.to_records();
    if records > shortest.len() * REWRITE_FACTOR {
        log.rewrite(&shortest, now_ms)?;
        tracing::info!(before = records, after = shortest.len(), "rewrote the metadata log");
    }
    Ok(())
}

fn dynamic_config(config: &BrokerConfig, image: &MetadataImage) -> Result<BrokerConfig, crate::config::ConfigError> {
    let dynamic = image.broker_configs();
    config.with_dynamic(&dynamic.cluster_wide, &dynamic.per_broker)
}

fn random_bytes(random: &mut StdRng) -> [u8; 16] {
    random.random()
}

/// A random id (UUID version 4) that is none of Kafka's reserved ones and does not look like a flag on a command line.
fn random_id(random: &mut StdRng) -> Uuid {
    loop {
        let mut bytes = random_bytes(random);
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let id = Uuid(bytes);
        if !id.to_string().starts_with('-') {
            return id;
        }
    }
}

#[cfg(test)]
#[path = "controller_test.rs"]
mod tests;

#[cfg(test)]
#[path = "controller_crash_test.rs"]
mod crash_tests;

#[cfg(test)]
#[path = "controller_model_test.rs"]
mod model_tests;
