//! The settings of one log, as its topic has them. Owns no defaults for users: those stand in the table of config keys.

/// Whether an acknowledgement of `acks=all` waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FlushMode {
    /// It waits for an fdatasync, shared with everybody who waits.
    #[default]
    Sync,
    /// It waits for the page cache only: a power cut may lose what was acknowledged.
    Async,
}

/// The settings of one log; replaced as a whole when a topic's config changes.
#[derive(Debug, Clone, PartialEq)]
pub struct LogConfig {
    /// `segment.bytes`: a segment does not grow beyond it.
    pub segment_bytes: u32,
    /// `segment.ms`: a segment is rolled when its first batch is so old.
    pub segment_ms: i64,
    /// `segment.jitter.ms`: up to so much less, so that not all partitions roll at once.
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`: a segment is rolled when one of its indexes has so many bytes.
    pub segment_index_bytes: u32,
    /// `index.interval.bytes`: an index entry is due after so many bytes of batches.
    pub index_interval_bytes: u32,
    /// `retention.ms`; -1 keeps for ever.
    pub retention_ms: i64,
    /// `retention.bytes`; -1 keeps everything.
    pub retention_bytes: i64,
    /// `cleanup.policy` has `compact`.
    pub compact: bool,
    /// `min.cleanable.dirty.ratio`, from 0 to 1.
    pub min_cleanable_dirty_ratio: f64,
    /// `min.compaction.lag.ms`.
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`.
    pub max_compaction_lag_ms: i64,
    /// `delete.retention.ms`.
    pub delete_retention_ms: i64,
    /// `flush.mode`.
    pub flush_mode: FlushMode,
    /// `max.decompressed.bytes` of the broker: what a batch may come to when it is decompressed in a look-up by time.
    pub decompressed_bytes_max: usize,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3_600_000,
            segment_jitter_ms: 0,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            retention_ms: 7 * 24 * 3_600_000,
            retention_bytes: -1,
            compact: false,
            min_cleanable_dirty_ratio: 0.5,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            delete_retention_ms: 24 * 3_600_000,
            flush_mode: FlushMode::Sync,
            decompressed_bytes_max: 256 << 20,
        }
    }
}
