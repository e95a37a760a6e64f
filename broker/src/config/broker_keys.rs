//! The broker keys that this broker obeys. What Kafka has and Ottla has no use for is in `ignored_keys`.

use super::config_key::{Allowed, ConfigType, KeyGroup, boolean, double, int, key, list, long, short, string};
use super::topic_keys::{
    CLEANUP_POLICIES, COMPRESSION_TYPES, FLUSH_BY_MODE, FLUSH_MODES, FOREVER, FREED_AT_ONCE, GROWS, TIMESTAMP_TYPES,
};

const STARTS_WITH_RECOVERY_POINTS: &str =
    "A log start is on record before DeleteRecords answers, and again with the recovery points.";
const BOUNDED: &str = "every resource has a bound from the start";
/// 100 KiB hold less than one batch: measured, half of the rate of a producer of large batches and thrice the wake-ups.
const SOCKET_BUFFERS: &str =
    "fixed buffers turn the operating system's own sizing off, and these hold less than one batch";

pub(super) static GROUPS: &[KeyGroup] = &[
    KeyGroup {
        title: "Identity and addresses",
        ignored_because: None,
        keys: &[
            int("node.id", "1").at_least(0).kafka("none, required", "one node needs no numbering").doc("The id of this broker."),
            int("broker.id", "1").kafka("-1", "it is the older name of `node.id`").doc("The older name of `node.id`."),
            key(ConfigType::String, "broker.rack").doc("The rack that Metadata names for this broker."),
            list("listeners", "PLAINTEXT://127.0.0.1:9092")
                .kafka("PLAINTEXT://:9092", "without authentication a broker should not listen to the world unasked")
                .doc("The addresses to listen on, `NAME://HOST:PORT` or just `HOST:PORT`; port 0 takes a free one, IPv6 addresses stand in brackets, an empty host means all addresses. Kafka can alter it while it runs."),
            key(ConfigType::List, "advertised.listeners")
                .doc("The addresses that clients are told to connect to, by the names used in `listeners`; those of `listeners` where none is given."),
            string("listener.security.protocol.map", "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT")
                .doc("The security protocol of each listener name. Only PLAINTEXT is served: a listener of another protocol stops the start. Kafka can alter it while it runs."),
            key(ConfigType::List, "controller.listener.names")
                .kafka("none, required", "the controller lives inside the broker and has no listener")
                .doc("Names of listeners that Kafka's controller uses: they are left out of `listeners`."),
        ],
    },
    KeyGroup {
        title: "Storage",
        ignored_because: None,
        keys: &[
            list("log.dir", "ottla-data")
                .kafka("/tmp/kafka-logs", "a temporary directory is no place for data that was acknowledged")
                .doc("The data directory, where `log.dirs` names none."),
            key(ConfigType::List, "log.dirs").doc("The data directory: exactly one."),
            int("num.recovery.threads.per.data.dir", "2")
                .at_least(1)
                .cluster_wide()
                .doc("How many threads open and recover logs at the start."),
            long("log.scrub.bytes.per.second", "10485760").at_least(0).cluster_wide().ours().doc("How many bytes of sealed segments are checked against their checksums in a second, in the background, so that a bad disk is noticed before somebody needs what is on it; 0 checks only what is read."),
            key(ConfigType::Long, "log.reserve.bytes").at_least(0).cluster_wide().ours().doc("How many bytes of the file system stay free of what clients produce: below that, producers get KAFKA_STORAGE_ERROR until there is space again, and everything else goes on. The smaller of 1 GiB and 5 % of the file system where it is not set."),
            long("log.retention.check.interval.ms", "300000").at_least(1).doc("How many milliseconds lie between two looks for segments to delete."),
            int("log.flush.offset.checkpoint.interval.ms", "60000").at_least(0).doc("How many milliseconds lie between two writes of the recovery points, which bound the work of a recovery."),
            int("log.flush.start.offset.checkpoint.interval.ms", "60000").at_least(0).unused(STARTS_WITH_RECOVERY_POINTS)
                .doc("How many milliseconds lie between two writes of the log start offsets."),
            long("log.initial.task.delay.ms", "0")
                .kafka("30000", "a broker that is restarted often would never come to its background tasks")
                .at_least(0)
                .hidden().doc("How many milliseconds after the start the background tasks of the log begin."),
        ],
    },
    KeyGroup {
        title: "Compaction and merging",
        ignored_because: None,
        keys: &[
            boolean("log.cleaner.enable", "true").doc("Whether topics with the policy `compact` are compacted."),
            int("log.cleaner.threads", "1").at_least(0).doc("How many threads compact, each one log at a time. Kafka can alter it while it runs."),
            long("log.cleaner.dedupe.buffer.size", "134217728").at_least(0).cluster_wide()
                .doc("How many bytes all compacting threads together may take for keys, a sixteenth for offsets and the rest in slots of 24 bytes of which three quarters take a key; they take what they need. A log with more keys is compacted in several passes."),
            double("log.cleaner.io.max.bytes.per.second", "1.7976931348623157E308").cluster_wide()
                .doc("How many bytes compaction and merging read and write in a second, all threads together."),
            long("log.cleaner.backoff.ms", "15000").at_least(0).cluster_wide()
                .doc("How many milliseconds the cleaner waits when no log needs it."),
            long("log.merge.interval.ms", "30000").at_least(1).cluster_wide().ours()
                .doc("How many milliseconds lie between two looks for small adjacent segments to merge into one: together no larger than `segment.bytes` or a tenth of `retention.bytes`, and reaching from the oldest record to the newest over no more than a tenth of `retention.ms` (where time does not delete, an hour or a tenth of their age)."),
        ],
    },
    KeyGroup {
        title: "Topics",
        ignored_because: None,
        keys: &[
            int("num.partitions", "1").at_least(1).doc("How many partitions a topic gets when its creator names no number."),
            int("default.replication.factor", "1").doc("The replication factor of a topic whose creator names none; only 1 and -1 can be met."),
            boolean("auto.create.topics.enable", "true").doc("Whether asking for the metadata of an unknown topic creates it."),
            boolean("delete.topic.enable", "true").doc("Whether topics can be deleted."),
            int("max.partitions", "10000").at_least(1).ours().doc("How many partitions the broker holds, internal topics aside, as far as half of the files that it may open (`ulimit -n`) suffice; creating more is refused instead of degrading those that are there."),
        ],
    },
    KeyGroup {
        title: "Limits on requests",
        ignored_because: None,
        keys: &[
            int("socket.request.max.bytes", "104857600").at_least(1).doc("The largest request frame; a larger one closes the connection."),
            long("queued.max.request.bytes", "268435456")
                .kafka("-1 (no limit)", BOUNDED)
                .at_least(1_048_576)
                .doc("The memory for requests that are being received or answered; beyond it connections are not read until some is free."),
            int("connection.max.inflight.requests", "64").at_least(1).ours().doc("How many requests of one connection may be unanswered before it is no longer read."),
            int("connection.max.inflight.bytes", "16777216").at_least(1).ours().doc("How many bytes of unanswered requests one connection may have before it is no longer read; a single larger request still passes."),
            int("request.receive.timeout.ms", "10000").at_least(1).ours().doc("How many milliseconds a begun request may stand still, or move slower than 1 KB/s, before its connection is closed."),
            long("max.decompressed.bytes", "268435456").at_least(1_048_576).ours().doc("How many bytes one record batch may have when it is decompressed."),
            int("max.request.partition.size.limit", "2000").at_least(1).doc("How many partitions one DescribeTopicPartitions answer lists."),
        ],
    },
    KeyGroup {
        title: "Fetching",
        ignored_because: None,
        keys: &[
            int("fetch.max.bytes", "57671680").at_least(1024).doc("The largest fetch answer, whatever the client asks for; one batch that is larger is still returned whole."),
            long("fetch.memory.bytes", "268435456").at_least(1_048_576).ours().doc("The memory for answers that wait to be read by their clients; what is sent from a file does not count."),
            int("max.incremental.fetch.session.cache.slots", "1000").at_least(0).doc("How many incremental fetch sessions are remembered (KIP-227)."),
        ],
    },
    KeyGroup {
        title: "Connections",
        ignored_because: None,
        keys: &[
            int("max.connections", "10000").at_least(0).cluster_wide().kafka("2147483647", BOUNDED).doc("How many connections are open at once; further ones are closed."),
            int("max.connections.per.ip", "2147483647").at_least(0).cluster_wide().doc("How many connections one address may have open; further ones are closed."),
            string("max.connections.per.ip.overrides", "").cluster_wide().doc("Exceptions from `max.connections.per.ip`: `ADDRESS:COUNT,ADDRESS:COUNT`."),
            long("connections.max.idle.ms", "600000").doc("After how many milliseconds without a request a connection is closed; a negative number is never."),
            int("socket.send.buffer.bytes", "-1")
                .kafka("102400", SOCKET_BUFFERS)
                .doc("SO_SNDBUF of a connection; -1 leaves it to the operating system."),
            int("socket.receive.buffer.bytes", "-1")
                .kafka("102400", SOCKET_BUFFERS)
                .doc("SO_RCVBUF of a connection; -1 leaves it to the operating system."),
            int("socket.listen.backlog.size", "1024")
                .at_least(1)
                .kafka("50", "clients that all come back at once would wait a second for their next attempt")
                .doc("How many connections may wait to be accepted."),
        ],
    },
    KeyGroup {
        title: "Consumer groups",
        ignored_because: None,
        keys: &[
            int("group.initial.rebalance.delay.ms", "3000").doc("How many milliseconds an empty group waits for more members after the first one has joined."),
            int("group.min.session.timeout.ms", "6000").doc("The shortest session timeout that a member may ask for, in milliseconds."),
            int("group.max.session.timeout.ms", "1800000").doc("The longest session timeout that a member may ask for, in milliseconds."),
            int("group.max.size", "10000").at_least(1).kafka("2147483647", BOUNDED).doc("How many members a group may have; further ones are refused."),
            int("offset.metadata.max.bytes", "4096").doc("How many characters a client may store beside a committed offset."),
            int("offsets.commit.timeout.ms", "5000").at_least(1).doc("How many milliseconds a change of a group waits for the disk before it is answered with an error."),
            int("offsets.load.buffer.size", "5242880").at_least(1).doc("How many bytes of `__consumer_offsets` are read at once when groups are loaded."),
            int("offsets.retention.minutes", "10080").at_least(1).doc("How many minutes the offsets of a group are kept that has no members, or no member that reads the topic."),
            long("offsets.retention.check.interval.ms", "600000").at_least(1).doc("How many milliseconds lie between two looks for offsets to forget."),
            int("offsets.topic.num.partitions", "50").at_least(1).doc("How many partitions `__consumer_offsets` gets when it is created."),
            int("offsets.topic.segment.bytes", "104857600").at_least(1).doc("`segment.bytes` of `__consumer_offsets` when it is created."),
            int("offsets.topic.compression.codec", "0").unused("Records of groups are small and are stored as they are.")
                .doc("The codec of `__consumer_offsets`."),
            short("offsets.topic.replication.factor", "3").at_least(1).unused("There is one broker.")
                .doc("The replication factor of `__consumer_offsets`."),
        ],
    },
    KeyGroup {
        title: "Groups of the consumer protocol",
        ignored_because: None,
        keys: &[
            int("group.consumer.session.timeout.ms", "45000").at_least(1).doc("How many milliseconds a member of the consumer protocol (KIP-848) may be silent before it is removed."),
            int("group.consumer.min.session.timeout.ms", "45000").at_least(1).doc("The least that `group.consumer.session.timeout.ms` may be."),
            int("group.consumer.max.session.timeout.ms", "60000").at_least(1).doc("The most that `group.consumer.session.timeout.ms` may be."),
            int("group.consumer.heartbeat.interval.ms", "5000").at_least(1).doc("How many milliseconds members are told to let pass between two heartbeats."),
            int("group.consumer.min.heartbeat.interval.ms", "5000").at_least(1).doc("The least that `group.consumer.heartbeat.interval.ms` may be."),
            int("group.consumer.max.heartbeat.interval.ms", "15000").at_least(1).doc("The most that `group.consumer.heartbeat.interval.ms` may be."),
            int("group.consumer.assignment.interval.ms", "1000").at_least(0).doc("How many milliseconds lie between two assignments of a group at least: members that come together are assigned together. Kafka can alter it while it runs."),
            int("group.consumer.min.assignment.interval.ms", "0").at_least(0).doc("The least that `group.consumer.assignment.interval.ms` may be."),
            int("group.consumer.max.assignment.interval.ms", "15000").at_least(0).doc("The most that `group.consumer.assignment.interval.ms` may be."),
            int("group.consumer.max.size", "10000").at_least(1).kafka("2147483647", BOUNDED).doc("How many members a group of the consumer protocol may have; further ones are refused."),
            list("group.consumer.assignors", "uniform,range").allow(Allowed::EachOf(&["uniform", "range"])).doc("The assignors that members may ask for; the first one is for groups in which nobody asks."),
            string("group.consumer.migration.policy", "bidirectional").allow(Allowed::OneOfIgnoringCase(&[
                "DISABLED",
                "DOWNGRADE",
                "UPGRADE",
                "BIDIRECTIONAL",
            ])).doc("Whether a group with members may change between the classic and the consumer protocol: when a member of the consumer protocol joins (upgrade), when the last one leaves (downgrade), both, or never."),
            int("group.consumer.regex.refresh.interval.ms", "600000").at_least(10000).hidden()
                .unused("Patterns are looked up again at the first heartbeat after a topic has come or gone, and nothing else changes what they stand for.")
                .doc("How many milliseconds lie between two look-ups of the topics that a pattern stands for."),
            list("group.coordinator.rebalance.protocols", "classic,consumer,streams")
                .allow(Allowed::EachOf(&["consumer", "classic", "share", "streams"]))
                .unused("The classic and the consumer protocol are always served, the others not yet.")
                .doc("The protocols that groups may speak."),
        ],
    },
    KeyGroup {
        title: "Idempotent producers",
        ignored_because: None,
        keys: &[
            int("producer.id.expiration.ms", "86400000").at_least(1).cluster_wide().doc("After how many milliseconds without a batch a partition forgets a producer."),
            int("producer.id.expiration.check.interval.ms", "600000").at_least(1).hidden().doc("How many milliseconds lie between two looks for producers to forget."),
        ],
    },
    KeyGroup {
        title: "Defaults of topics",
        ignored_because: None,
        keys: &[
            list("log.cleanup.policy", "delete").allow(Allowed::EachOf(CLEANUP_POLICIES)).cluster_wide().doc("Default of `cleanup.policy`."),
            key(ConfigType::Long, "log.retention.ms").cluster_wide().doc("Default of `retention.ms`; -1 is for ever."),
            key(ConfigType::Int, "log.retention.minutes").doc("Default of `retention.ms` in minutes, where `log.retention.ms` is not set."),
            int("log.retention.hours", "168").doc("Default of `retention.ms` in hours, where neither `log.retention.ms` nor `log.retention.minutes` is set."),
            long("log.retention.bytes", "-1").cluster_wide().doc("Default of `retention.bytes`."),
            long("log.segment.delete.delay.ms", "60000").at_least(0).cluster_wide().unused(FREED_AT_ONCE)
                .doc("Default of `file.delete.delay.ms`."),
            int("log.segment.bytes", "1073741824").at_least(1_048_576).cluster_wide().doc("Default of `segment.bytes`."),
            key(ConfigType::Long, "log.roll.ms").cluster_wide().doc("Default of `segment.ms`."),
            int("log.roll.hours", "168").at_least(1).doc("Default of `segment.ms` in hours, where `log.roll.ms` is not set."),
            key(ConfigType::Long, "log.roll.jitter.ms").cluster_wide().doc("Default of `segment.jitter.ms`."),
            int("log.roll.jitter.hours", "0").at_least(0).doc("Default of `segment.jitter.ms` in hours, where `log.roll.jitter.ms` is not set."),
            int("log.index.interval.bytes", "4096").at_least(0).cluster_wide().doc("Default of `index.interval.bytes`."),
            int("log.index.size.max.bytes", "10485760").at_least(4).cluster_wide().doc("Default of `segment.index.bytes`."),
            boolean("log.preallocate", "false").cluster_wide().unused(GROWS)
                .doc("Default of `preallocate`."),
            int("message.max.bytes", "1048588").at_least(0).cluster_wide().doc("Default of `max.message.bytes`."),
            string("log.message.timestamp.type", "CreateTime").allow(Allowed::OneOf(TIMESTAMP_TYPES)).cluster_wide().doc("Default of `message.timestamp.type`."),
            long("log.message.timestamp.before.max.ms", FOREVER).at_least(0).cluster_wide().doc("Default of `message.timestamp.before.max.ms`."),
            long("log.message.timestamp.after.max.ms", "3600000").at_least(0).cluster_wide().doc("Default of `message.timestamp.after.max.ms`."),
            string("compression.type", "producer").allow(Allowed::OneOf(COMPRESSION_TYPES)).cluster_wide().doc("Default of the topics' `compression.type`."),
            int("compression.gzip.level", "-1").allow(Allowed::BetweenOr(1, 9, -1)).cluster_wide().doc("Default of the topics' `compression.gzip.level`."),
            int("compression.lz4.level", "9").between(1, 17).cluster_wide().doc("Default of the topics' `compression.lz4.level`."),
            int("compression.zstd.level", "3").between(-131_072, 22).cluster_wide().doc("Default of the topics' `compression.zstd.level`."),
            string("log.flush.mode", "sync").allow(Allowed::OneOf(FLUSH_MODES)).cluster_wide().ours().doc("Default of `flush.mode`."),
            long("log.flush.interval.messages", FOREVER).at_least(1).cluster_wide().unused(FLUSH_BY_MODE)
                .doc("Default of `flush.messages`."),
            key(ConfigType::Long, "log.flush.interval.ms").cluster_wide().unused(FLUSH_BY_MODE)
                .doc("Default of `flush.ms`."),
            long("log.flush.scheduler.interval.ms", FOREVER).unused(FLUSH_BY_MODE)
                .doc("Default of `flush.ms`, where `log.flush.interval.ms` is not set."),
            int("min.insync.replicas", "1").at_least(1).cluster_wide().doc("Default of the topics' `min.insync.replicas`."),
            double("log.cleaner.min.cleanable.ratio", "0.5").allow(Allowed::FractionUpTo(1.0)).cluster_wide()
                .doc("Default of `min.cleanable.dirty.ratio`."),
            long("log.cleaner.min.compaction.lag.ms", "0").at_least(0).cluster_wide()
                .doc("Default of `min.compaction.lag.ms`."),
            long("log.cleaner.max.compaction.lag.ms", FOREVER).at_least(1).cluster_wide()
                .doc("Default of `max.compaction.lag.ms`."),
            long("log.cleaner.delete.retention.ms", "86400000").at_least(0).cluster_wide()
                .doc("Default of `delete.retention.ms`."),
        ],
    },
];
