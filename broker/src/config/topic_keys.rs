//! The keys of a topic: what CreateTopics and AlterConfigs take for it.
//!
//! Every topic key of Apache Kafka 4.3 is here, and what Ottla adds. The default of a topic key is that of its broker
//! synonym, in the unit of the topic key.

use super::config_key::{Allowed, ConfigType, KeyGroup, Synonym, boolean, double, int, key, list, long, same, string};

const HOUR_MS: i64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;
pub(super) const FOREVER: &str = "9223372036854775807";

pub(super) const COMPRESSION_TYPES: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];
pub(super) const CLEANUP_POLICIES: &[&str] = &["compact", "delete"];
pub(super) const TIMESTAMP_TYPES: &[&str] = &["CreateTime", "LogAppendTime"];
pub(super) const FLUSH_MODES: &[&str] = &["sync", "async"];

const ONE_COPY: &str = "A partition has one copy, on this broker.";
pub(super) const FREED_AT_ONCE: &str =
    "The files of a deleted segment are removed at once; readers keep them until they are done.";
pub(super) const GROWS: &str = "A segment grows as it is written.";
pub(super) const FLUSH_BY_MODE: &str = "What is flushed when is said by `flush.mode` and the producer's acks.";
const NO_TIERED_STORAGE: &str = "There is no tiered storage: every segment stays on this broker's disk.";

pub(super) static GROUPS: &[KeyGroup] = &[
    KeyGroup {
        title: "Retention and deletion",
        ignored_because: None,
        keys: &[
            list("cleanup.policy", "delete")
                .allow(Allowed::EachOf(CLEANUP_POLICIES))
                .from(&[same("log.cleanup.policy")])
                .doc("What happens to old data: `delete` drops old segments by time and size, `compact` keeps the last record of each key, both do both, and an empty list keeps everything. A compacted topic refuses records without a key."),
            long("retention.ms", "604800000")
                .at_least(-1)
                .from(&[
                    same("log.retention.ms"),
                    Synonym { name: "log.retention.minutes", factor: MINUTE_MS },
                    Synonym { name: "log.retention.hours", factor: HOUR_MS },
                ])
                .doc("How many milliseconds a segment is kept after its newest record under the policy `delete`; -1 is for ever."),
            long("retention.bytes", "-1")
                .from(&[same("log.retention.bytes")])
                .doc("How many bytes a partition may hold before its oldest segments go under the policy `delete`; -1 is no limit."),
            long("file.delete.delay.ms", "60000")
                .at_least(0)
                .from(&[same("log.segment.delete.delay.ms")])
                .unused(FREED_AT_ONCE)
                .doc("How many milliseconds a deleted segment stays on the disk, renamed, before its space is freed."),
        ],
    },
    KeyGroup {
        title: "Segments and indexes",
        ignored_because: None,
        keys: &[
            int("segment.bytes", "1073741824")
                .at_least(1_048_576)
                .from(&[same("log.segment.bytes")])
                .doc("The size at which a segment file is closed and a new one begun."),
            long("segment.ms", "604800000")
                .at_least(1)
                .from(&[same("log.roll.ms"), Synonym { name: "log.roll.hours", factor: HOUR_MS }])
                .doc("The age in milliseconds at which a segment is closed even if it is not full, so that retention can reach it."),
            long("segment.jitter.ms", "0")
                .at_least(0)
                .from(&[same("log.roll.jitter.ms"), Synonym { name: "log.roll.jitter.hours", factor: HOUR_MS }])
                .doc("At most how many milliseconds, chosen at random, are taken off `segment.ms`, so that partitions do not all roll at once."),
            int("index.interval.bytes", "4096")
                .at_least(0)
                .from(&[same("log.index.interval.bytes")])
                .doc("How many bytes of records lie between two entries of the offset index."),
            int("segment.index.bytes", "10485760")
                .at_least(4)
                .from(&[same("log.index.size.max.bytes")])
                .doc("The size that an offset or time index may reach; a full index closes its segment."),
            boolean("preallocate", "false")
                .from(&[same("log.preallocate")])
                .unused(GROWS)
                .doc("Whether the space of a new segment is reserved at once."),
            key(ConfigType::Int, "internal.segment.bytes")
                .hidden()
                .doc("Replaces `segment.bytes` without its lower bound, for tests."),
        ],
    },
    KeyGroup {
        title: "Records",
        ignored_because: None,
        keys: &[
            int("max.message.bytes", "1048588")
                .at_least(0)
                .from(&[same("message.max.bytes")])
                .doc("The largest record batch that is taken, in bytes as it is stored (compressed)."),
            string("message.timestamp.type", "CreateTime")
                .allow(Allowed::OneOf(TIMESTAMP_TYPES))
                .from(&[same("log.message.timestamp.type")])
                .doc("Whether a record keeps the time its producer gave it (`CreateTime`) or gets the time of its append (`LogAppendTime`)."),
            long("message.timestamp.before.max.ms", FOREVER)
                .at_least(0)
                .from(&[same("log.message.timestamp.before.max.ms")])
                .doc("How many milliseconds a record's timestamp may lie behind the broker's clock; beyond that the record is refused."),
            long("message.timestamp.after.max.ms", "3600000")
                .at_least(0)
                .from(&[same("log.message.timestamp.after.max.ms")])
                .doc("How many milliseconds a record's timestamp may lie ahead of the broker's clock; beyond that the record is refused."),
            string("compression.type", "producer")
                .allow(Allowed::OneOf(COMPRESSION_TYPES))
                .from(&[same("compression.type")])
                .doc("The codec that batches are stored with; `producer` keeps what the producer chose."),
            int("compression.gzip.level", "-1")
                .allow(Allowed::BetweenOr(1, 9, -1))
                .from(&[same("compression.gzip.level")])
                .doc("The gzip level where `compression.type` is `gzip`; -1 leaves it to the codec."),
            int("compression.lz4.level", "9")
                .between(1, 17)
                .from(&[same("compression.lz4.level")])
                .doc("The lz4 level where `compression.type` is `lz4`."),
            int("compression.zstd.level", "3")
                .between(-131_072, 22)
                .from(&[same("compression.zstd.level")])
                .doc("The zstd level where `compression.type` is `zstd`."),
        ],
    },
    KeyGroup {
        title: "Durability",
        ignored_because: None,
        keys: &[
            string("flush.mode", "sync")
                .allow(Allowed::OneOf(FLUSH_MODES))
                .from(&[same("log.flush.mode")])
                .ours()
                .doc("What acks=all waits for: `sync` for an fdatasync that everyone waiting shares, `async` for the page cache alone, which a power cut can lose."),
            long("flush.messages", FOREVER)
                .at_least(1)
                .from(&[same("log.flush.interval.messages")])
                .unused(FLUSH_BY_MODE)
                .doc("After how many records the log is flushed to the disk, whatever producers wait for."),
            long("flush.ms", FOREVER)
                .at_least(0)
                .from(&[same("log.flush.interval.ms"), same("log.flush.scheduler.interval.ms")])
                .unused(FLUSH_BY_MODE)
                .doc("After how many milliseconds unflushed records are flushed to the disk, whatever producers wait for."),
            int("min.insync.replicas", "1")
                .at_least(1)
                .from(&[same("min.insync.replicas")])
                .doc("How many copies must have a record before acks=all is answered; it counts up to the number of replicas (KIP-966), which is 1: a larger number refuses nothing."),
        ],
    },
    KeyGroup {
        title: "Compaction",
        ignored_because: None,
        keys: &[
            double("min.cleanable.dirty.ratio", "0.5")
                .allow(Allowed::FractionUpTo(1.0))
                .from(&[same("log.cleaner.min.cleanable.ratio")])
                .doc("Which share of a compacted log must be uncleaned before the cleaner takes it up."),
            long("min.compaction.lag.ms", "0")
                .at_least(0)
                .from(&[same("log.cleaner.min.compaction.lag.ms")])
                .doc("How many milliseconds a record stays untouched by compaction."),
            long("max.compaction.lag.ms", FOREVER)
                .at_least(1)
                .from(&[same("log.cleaner.max.compaction.lag.ms")])
                .doc("After how many milliseconds a record must have been considered for compaction."),
            long("delete.retention.ms", "86400000")
                .at_least(0)
                .from(&[same("log.cleaner.delete.retention.ms")])
                .doc("How many milliseconds the marker of a deleted key outlives its compaction, so that every consumer can see it."),
        ],
    },
    KeyGroup {
        title: "Replication",
        ignored_because: Some(ONE_COPY),
        keys: &[
            boolean("unclean.leader.election.enable", "false").from(&[same("unclean.leader.election.enable")]),
            list("leader.replication.throttled.replicas", "").allow(Allowed::ThrottledReplicas),
            list("follower.replication.throttled.replicas", "").allow(Allowed::ThrottledReplicas),
        ],
    },
    KeyGroup {
        title: "Tiered storage",
        ignored_because: Some(NO_TIERED_STORAGE),
        keys: &[
            boolean("remote.storage.enable", "false").doc("`true` is refused."),
            boolean("remote.log.copy.disable", "false"),
            boolean("remote.log.delete.on.disable", "false"),
            long("local.retention.ms", "-2").at_least(-2).from(&[same("log.local.retention.ms")]),
            long("local.retention.bytes", "-2").at_least(-2).from(&[same("log.local.retention.bytes")]),
        ],
    },
];
