//! Wires the floors bottom-up, and stops them top-down.
//!
//! Owns the order of start and stop, and nothing that runs in between but the housekeeping. Start: configuration, lock of
//! the data directory, sockets bound, metadata, logs, partitions, APIs, sockets served. Stop: no new connections, what was
//! asked is answered within a bound, logs closed with their checkpoint and the marker of a clean stop.
//!
//! Invariant: nobody else uses the data directory from the lock to the end of the last thing that could write to it.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use tokio::task::JoinSet;

use self::descriptors::DescriptorShares;
use crate::api::{Api, Dispatcher, ServerAddress, ServerAddresses};
use crate::clock::{Clock, SystemClock};
use crate::config::{BrokerConfig, ConfigError};
use crate::coordinator::{GroupCoordinator, GroupCoordinatorContext};
use crate::metadata::{
    Controller, ControllerContext, ControllerError, INTERNAL_PARTITIONS, ImageDelta, MetadataImage, TopicListener,
};
use crate::metrics::Metrics;
use crate::net::{BoundSockets, PanicGuard, ServerSockets};
use crate::replica::{FetchSessionCache, ReplicaManager};
use crate::storage::vfs::{RealVfs, Vfs};
use crate::storage::{
    CleanerConfig, CleanerStatus, DataDir, Flusher, LogCleaner, LogManager, LogManagerConfig, LogToOpen,
    ProducerLimits, ScrubStatus, Scrubber, StorageError,
};

mod builder;
mod descriptors;
mod disk_watch;
mod housekeeping;

pub use builder::BrokerBuilder;

/// How long a stop waits for requests that are being served.
const STOP_PATIENCE: Duration = Duration::from_secs(2);
/// Logs that are flushed at the same time: a thread only waits, and a disk serves many syncs in little more than the time of one.
const FLUSH_THREADS: usize = 16;

/// Why a broker did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory is in use by another broker, or the disk fails.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The metadata cannot be loaded.
    #[error("cannot load the metadata: {0}")]
    Metadata(#[from] ControllerError),
    /// An address cannot be listened on.
    #[error("cannot listen on {listener}: {source}")]
    Bind {
        /// The listener as configured.
        listener: String,
        /// The operating system's answer.
        source: std::io::Error,
    },
}

/// Why a broker did not stop cleanly. It is stopped nevertheless, and the next start checks what was not flushed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StopError {
    /// A log could not be flushed or closed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A running broker. [`Broker::stop`] stops it in order; dropping it ends it at once, as a kill would: what was acknowledged is
/// safe, and its sockets, threads and the lock of its data directory go as its tasks do.
pub struct Broker {
    config: Arc<BrokerConfig>,
    addresses: Vec<SocketAddr>,
    cluster_id: String,
    metrics: Arc<Metrics>,
    // Dropped from here on in this order.
    sockets: ServerSockets,
    housekeeping: JoinSet<()>,
    cleaner: LogCleaner,
    scrubber: Scrubber,
    flusher: Arc<Flusher>,
    logs: Arc<LogManager>,
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker")
            .field("addresses", &self.addresses)
            .field("sockets", &self.sockets)
            .finish_non_exhaustive()
    }
}

impl Broker {
    /// A broker to be configured and started.
    #[must_use]
    pub fn builder() -> BrokerBuilder {
        BrokerBuilder::default()
    }

    /// The address of the first listener, with the port that was bound.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// The addresses of all listeners, in the order of the configuration.
    #[must_use]
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The configuration at the start.
    #[must_use]
    pub fn config(&self) -> &BrokerConfig {
        &self.config
    }

    /// The id of the cluster, which the data directory keeps.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// What compaction has done since the start, and which logs it could not do.
    #[must_use]
    pub fn cleaner_status(&self) -> CleanerStatus {
        self.cleaner.status()
    }

    /// What the scrub has checked since the start, and what it has found.
    #[must_use]
    pub fn scrub_status(&self) -> ScrubStatus {
        self.scrubber.status()
    }

    /// What the broker counts.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Connections open now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.sockets.connections()
    }

    /// Bytes of requests in memory now.
    #[must_use]
    pub fn request_bytes_in_memory(&self) -> usize {
        self.sockets.request_bytes_in_memory()
    }

    /// Bytes of answers that wait in memory for their clients to read.
    #[must_use]
    pub fn response_bytes_in_memory(&self) -> usize {
        self.sockets.response_bytes_in_memory()
    }

    /// Waits until a task of the broker has panicked; for ever if none does. What it left behind is unknown, so nothing is served
    /// any more: stop the broker, or end the process.
    pub async fn failed(&self) {
        let mut panicked = self.sockets.panicked();
        // The sender lives in the sockets, which live as long as this borrow.
        let _panicked = panicked.wait_for(|&panicked| panicked).await;
    }

    /// Stops accepting, answers what was asked within two seconds, and closes the logs with a checkpoint and the marker that spares
    /// the next start its checks. When it returns, everything is durable and released.
    ///
    /// # Errors
    /// A log could not be flushed or closed; the others are.
    pub async fn stop(self) -> Result<(), StopError> {
        let Broker { sockets, mut housekeeping, cleaner, scrubber, flusher, logs, .. } = self;
        sockets.stop(STOP_PATIENCE).await;
        housekeeping.shutdown().await;
        unblocked(move || {
            cleaner.stop();
            scrubber.stop();
            flusher.stop();
            logs.close()
        })
        .await?;
        Ok(())
    }
}

/// What a start is made of.
struct Start {
    config: BrokerConfig,
    clock: Arc<dyn Clock>,
    vfs: Arc<dyn Vfs>,
}

impl Start {
    async fn run(self) -> Result<Broker, StartError> {
        let Start { config, clock, vfs } = self;
        let data_dir = DataDir::open(Arc::clone(&vfs), &config.data_dir)?;
        let bound = BoundSockets::bind(&config).await;
        let bound = bound.map_err(|(listener, source)| StartError::Bind { listener, source })?;
        let addresses = bound.addresses();
        for (key, reason) in config.ignored() {
            tracing::info!("{key} is set and has no meaning here: {reason}");
        }
        let floors = {
            let (config, clock) = (config.clone(), Arc::clone(&clock));
            unblocked(move || Floors::open(data_dir, vfs, config, clock)).await?
        };
        let Floors { controller, logs, flusher, replicas, groups } = floors;
        groups.take_over();
        let config = controller.config();
        let cluster_id = controller.image().cluster_id().to_string();
        let keeper = Arc::clone(&controller);
        let config_now = Arc::clone(&controller);
        let slots = usize::try_from(config.max_incremental_fetch_session_cache_slots).unwrap_or(0);
        let metrics = Arc::new(Metrics::default());
        let api = Api {
            addresses: advertised(&config, &addresses),
            controller,
            replicas,
            groups: Arc::clone(&groups),
            fetch_sessions: FetchSessionCache::new(slots),
            clock: Arc::clone(&clock),
            metrics: Arc::clone(&metrics),
        };
        let dispatcher = Arc::new(Dispatcher::new(Arc::new(api)));
        let now = Arc::clone(&clock);
        let sockets = bound.serve(Arc::new(move || config_now.config()), dispatcher, Arc::clone(&metrics), now);
        let mut housekeeping = JoinSet::new();
        let watching = disk_watch::run(Arc::clone(&keeper), Arc::clone(&logs), Arc::clone(&clock));
        housekeeping.spawn(guarded(sockets.panic_guard(), watching));
        let purging = housekeeping::run(Arc::clone(&keeper), Arc::clone(&logs), Arc::clone(&clock));
        housekeeping.spawn(guarded(sockets.panic_guard(), purging));
        let cleaner = start_cleaner(&keeper, &logs, &clock, &sockets);
        let paced_by = Arc::clone(&keeper);
        let pace = move || u64::try_from(paced_by.config().log_scrub_bytes_per_second).unwrap_or(0);
        let (scrubbed, now) = (Arc::clone(&logs), Arc::clone(&clock));
        let scrubber = Scrubber::start(scrubbed, now, Arc::new(pace), sockets.panic_guard());
        housekeeping.spawn(guarded(sockets.panic_guard(), groups.run()));
        housekeeping.spawn(guarded(sockets.panic_guard(), housekeeping::retain(keeper, Arc::clone(&logs), clock)));
        Ok(Broker { config, addresses, cluster_id, metrics, sockets, housekeeping, cleaner, scrubber, flusher, logs })
    }
}

/// The floors below the APIs.
struct Floors {
    controller: Arc<Controller>,
    logs: Arc<LogManager>,
    flusher: Arc<Flusher>,
    replicas: Arc<ReplicaManager>,
    groups: Arc<GroupCoordinator>,
}

impl Floors {
    fn open(
        data_dir: DataDir,
        vfs: Arc<dyn Vfs>,
        config: BrokerConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let was_clean = data_dir.was_clean();
        let path = data_dir.path().to_owned();
        let random = rand::make_rng::<StdRng>();
        let shares = DescriptorShares::of_process(usize::try_from(config.max_partitions).unwrap_or(0));
        let partitions_max = shares.partitions_max;
        let context =
            ControllerContext { vfs, data_dir: path, config, partitions_max, random, clock: Arc::clone(&clock) };
        let (controller, folders) = Controller::open(context)?;
        report_folders(&folders);
        let (config, image) = (controller.config(), controller.image());
        let to_open: Vec<LogToOpen> =
            image.topics().flat_map(|topic| ReplicaManager::logs_of(&config, topic)).collect();
        if to_open.len() > partitions_max.saturating_add(INTERNAL_PARTITIONS) {
            tracing::error!(
                partitions = to_open.len(),
                limit = shares.limit,
                "there are more partitions than half of the files that the process may open: raise the limit (ulimit -n), or partitions and connections will fail"
            );
        }
        let recovers = !was_clean && !to_open.is_empty();
        let settings = LogManagerConfig {
            threads: usize::try_from(config.num_recovery_threads_per_data_dir).unwrap_or(1),
            open_files_max: shares.open_files_max,
            producer_limits: ProducerLimits::default(),
        };
        let logs = LogManager::open(data_dir, &settings, to_open, clock.now_ms())?;
        if recovers {
            // A log may have been cut: clients that have read further find out by the epoch (KIP-320).
            controller.begin_leader_epoch()?;
        }
        // Before the first producer comes.
        disk_watch::look(&controller, &logs, true);
        let flusher = Arc::new(Flusher::start(FLUSH_THREADS));
        let now = Arc::clone(&clock);
        let replicas = Arc::new(ReplicaManager::new(Arc::clone(&logs), Arc::clone(&flusher), now, Arc::clone(&config)));
        replicas.open(&controller.image());
        let controller = Arc::new(controller);
        let groups = GroupCoordinator::new(GroupCoordinatorContext {
            controller: Arc::clone(&controller),
            replicas: Arc::clone(&replicas),
            clock,
            random: rand::make_rng(),
        });
        let listeners = TopicListeners(vec![Arc::clone(&replicas) as _, groups.metadata_listener()]);
        let first = controller.set_listener(Arc::new(listeners));
        debug_assert!(first, "a new controller has no listener");
        let interval = u64::try_from(config.log_flush_offset_checkpoint_interval_ms).unwrap_or(0);
        logs.start_checkpoints(Duration::from_millis(interval.max(1)));
        Ok(Floors { controller, logs, flusher, replicas, groups: Arc::new(groups) })
    }
}

/// Several who are told of changes of topics, one after the other.
struct TopicListeners(Vec<Arc<dyn TopicListener>>);

impl TopicListener for TopicListeners {
    fn on_metadata_change(&self, before: &MetadataImage, after: &Arc<MetadataImage>, delta: &ImageDelta) {
        self.0.iter().for_each(|listener| listener.on_metadata_change(before, after, delta));
    }
}

/// Runs what waits for the disk on a thread that may, and lets a panic in it go on here.
async fn unblocked<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Compaction and merging, as the configuration says at each moment.
fn start_cleaner(
    controller: &Arc<Controller>,
    logs: &Arc<LogManager>,
    clock: &Arc<dyn Clock>,
    sockets: &ServerSockets,
) -> LogCleaner {
    let threads = usize::try_from(controller.config().log_cleaner_threads).unwrap_or(0);
    let controller = Arc::clone(controller);
    let milliseconds = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    let bytes = |bytes: i64| usize::try_from(bytes).unwrap_or(0);
    let config = move || {
        let config = controller.config();
        CleanerConfig {
            is_enabled: config.log_cleaner_enable,
            dedupe_buffer_bytes: bytes(config.log_cleaner_dedupe_buffer_size),
            bytes_per_second_max: config.log_cleaner_io_max_bytes_per_second,
            backoff: milliseconds(config.log_cleaner_backoff_ms),
            merge_interval: milliseconds(config.log_merge_interval_ms),
            decompressed_bytes_max: bytes(config.max_decompressed_bytes),
        }
    };
    LogCleaner::start(Arc::clone(logs), Arc::clone(clock), Arc::new(config), threads, || sockets.panic_guard())
}

/// A task whose panic ends the service.
async fn guarded(guard: PanicGuard, work: impl Future<Output = ()>) {
    let _guard = guard;
    work.await;
}

/// What each listener tells its clients: a port of 0 was unknown before it was bound.
fn advertised(config: &BrokerConfig, bound: &[SocketAddr]) -> ServerAddresses {
    let address = |(listener, bound): (&crate::config::Listener, &SocketAddr)| ServerAddress {
        host: listener.advertised_host.clone(),
        port: if listener.advertised_port == 0 { bound.port() } else { listener.advertised_port },
    };
    ServerAddresses(config.listeners.iter().zip(bound).map(address).collect())
}

fn report_folders(report: &crate::metadata::FolderReport) {
    let crate::metadata::FolderReport { undone, removals_completed, quarantined, recreated } = report;
    if !undone.is_empty() || !removals_completed.is_empty() {
        tracing::info!(?undone, ?removals_completed, "changes of topics that a stop had interrupted are settled");
    }
    if !quarantined.is_empty() {
        tracing::warn!(?quarantined, "folders with data that belong to no topic were moved to the quarantine folder");
    }
    if !recreated.is_empty() {
        tracing::error!(?recreated, "partitions had lost their folders and are empty now");
    }
}

#[cfg(test)]
#[path = "server_test.rs"]
mod tests;
