//! What Ottla answers otherwise than Apache Kafka on purpose, and why.
//!
//! The one list of it: the comparison forgives exactly these, fails when one of them no longer occurs, and
//! `docs/protocol-support.md` must show them all.

use super::run::Mismatch;

/// Answers that differ on purpose. In the patterns `*` stands for any text.
#[derive(Debug)]
pub struct Difference {
    /// `scenario/step`.
    pub step: &'static str,
    /// The fields.
    pub path: &'static str,
    /// Kafka's value; `absent` where it has no such field.
    pub kafka: &'static str,
    /// Ottla's value.
    pub ottla: &'static str,
    /// Why.
    pub reason: &'static str,
}

/// Every difference on purpose. The first one that covers a mismatch counts.
pub const DIFFERENCES: &[Difference] = &[
    Difference {
        step: "api_versions/*",
        path: "api_keys",
        kafka: "list of *",
        ottla: "list of *",
        reason: "Ottla lists the APIs that it serves. Clients fall back for what is not listed; an API that is listed and answered badly hangs them.",
    },
    Difference {
        step: "api_versions/*",
        path: "api_keys{*",
        kafka: "*",
        ottla: "absent",
        reason: "Ottla lists the APIs that it serves. Clients fall back for what is not listed; an API that is listed and answered badly hangs them.",
    },
    Difference {
        step: "api_versions/normal/served",
        path: "*_features",
        kafka: "list of *",
        ottla: "list of *",
        reason: "A feature is listed once what it stands for is served. `metadata.version` is, so that consoles know the level of the broker.",
    },
    Difference {
        step: "api_versions/normal/served",
        path: "*_features{*",
        kafka: "*",
        ottla: "absent",
        reason: "A feature is listed once what it stands for is served. `metadata.version` is, so that consoles know the level of the broker.",
    },
    Difference {
        step: "*",
        path: "*configs",
        kafka: "list of 33",
        ottla: "list of 34",
        reason: "`flush.mode` is Ottla's own: whether `acks=all` waits for the disk.",
    },
    Difference {
        step: "*",
        path: "*configs{flush.mode}*",
        kafka: "absent",
        ottla: "*",
        reason: "`flush.mode` is Ottla's own: whether `acks=all` waits for the disk.",
    },
    Difference {
        step: "*",
        path: "*configs{min.insync.replicas}*",
        kafka: "*",
        ottla: "*",
        reason: "Kafka sets this key for the whole cluster when it formats a node with eligible leader replicas (KIP-966); here it has its default.",
    },
    Difference {
        step: "describe_configs/broker/cluster_default",
        path: "results{#0}.configs",
        kafka: "list of 1",
        ottla: "[]",
        reason: "Kafka sets this key for the whole cluster when it formats a node with eligible leader replicas (KIP-966); here it has its default.",
    },
    Difference {
        step: "create_topics/configs/25:preallocate=TRUE",
        path: "*{preallocate}.value",
        kafka: "\"TRUE\"",
        ottla: "\"true\"",
        reason: "A value is kept in the form in which it was understood.",
    },
    Difference {
        step: "create_topics/configs/30:retention.ms=_1000_",
        path: "*{retention.ms}.value",
        kafka: "\" 1000 \"",
        ottla: "\"1000\"",
        reason: "A value is kept in the form in which it was understood.",
    },
    Difference {
        step: "create_topics/errors/config_null",
        path: "topics{@t}.error_code",
        kafka: "40",
        ottla: "42",
        reason: "A value of null gets INVALID_REQUEST from every API that sets configuration.",
    },
    Difference {
        step: "create_topics/errors/config_twice",
        path: "*",
        kafka: "*",
        ottla: "*",
        reason: "A key that is given twice is a mistake of the caller: refused, as AlterConfigs and IncrementalAlterConfigs do, instead of taking the last value.",
    },
    Difference {
        step: "create_topics/errors/names_collide_in_the_request",
        path: "topics{@c_d}.*",
        kafka: "*",
        ottla: "*",
        reason: "Names that differ only in `.` and `_` collide in metrics. Kafka refuses the second one unless both come in one request; Ottla also then.",
    },
    Difference {
        step: "create_partitions/*",
        path: "*.error_message",
        kafka: "null",
        ottla: "\"<message>\"",
        reason: "An error comes with a sentence that says what is wrong.",
    },
    Difference {
        step: "describe_configs/errors/*",
        path: "*.error_message",
        kafka: "\"\"",
        ottla: "\"<message>\"",
        reason: "An error comes with a sentence that says what is wrong.",
    },
    Difference {
        step: "find_coordinator/all/share",
        path: "*.error_message",
        kafka: "\"\"",
        ottla: "\"<message>\"",
        reason: "An error comes with a sentence that says what is wrong.",
    },
    Difference {
        step: "produce/*",
        path: "*.error_message",
        kafka: "null",
        ottla: "\"<message>\"",
        reason: "An error comes with a sentence that says what is wrong.",
    },
    Difference {
        step: "alter_configs/errors/one_resource_twice",
        path: "*",
        kafka: "*",
        ottla: "*",
        reason: "Kafka gives no answer at all, and the client waits until it gives up. Ottla refuses the resource with INVALID_REQUEST.",
    },
    Difference {
        step: "produce/null_records/null",
        path: "*",
        kafka: "*",
        ottla: "*",
        reason: "Kafka gives no answer at all. Ottla answers INVALID_RECORD.",
    },
    Difference {
        step: "delete_records/all/one_partition_twice",
        path: "topics{@t}.partitions*",
        kafka: "*",
        ottla: "*",
        reason: "A partition that is named twice is answered twice; Kafka's answer loses one of them.",
    },
    Difference {
        step: "delete_topics/*twice",
        path: "responses*",
        kafka: "*",
        ottla: "*",
        reason: "A topic that is named twice is refused once for each time; Kafka's answer has it once.",
    },
    Difference {
        step: "delete_topics/by_id/id_and_name_of_the_same_topic",
        path: "responses*",
        kafka: "*",
        ottla: "*",
        reason: "A topic that is named twice is refused once for each time; Kafka's answer has it once.",
    },
    Difference {
        step: "list_offsets/all/one_partition_twice*",
        path: "topics{@t}.partitions*",
        kafka: "*",
        ottla: "*",
        reason: "A topic that is named twice is refused once for each time; Kafka's answer has it once.",
    },
    Difference {
        step: "metadata/normal/one_topic_twice",
        path: "topics*",
        kafka: "*",
        ottla: "*",
        reason: "A topic that is named twice is told twice.",
    },
    Difference {
        step: "metadata/by_id/ids_and_names",
        path: "topics*",
        kafka: "*",
        ottla: "*",
        reason: "Each topic of the request is answered by itself, be it named by id or by name; Kafka refuses or forgets the names beside ids.",
    },
    Difference {
        step: "fetch/errors/one_*_twice",
        path: "responses*",
        kafka: "*",
        ottla: "*",
        reason: "A partition that is named twice is read twice, within the limits of the request; Kafka reads it once.",
    },
    Difference {
        step: "produce/errors/one_*_twice",
        path: "responses*",
        kafka: "*",
        ottla: "*",
        reason: "Batches for one partition that come in two places of a request are both appended and both answered; Kafka appends one and drops the other without a word.",
    },
    Difference {
        step: "produce/errors/end",
        path: "topics{@t}.partitions{1}.offset",
        kafka: "2",
        ottla: "4",
        reason: "Batches for one partition that come in two places of a request are both appended and both answered; Kafka appends one and drops the other without a word.",
    },
    Difference {
        step: "list_offsets/all/no_partitions",
        path: "topics*",
        kafka: "*",
        ottla: "*",
        reason: "A topic without partitions is answered with no partitions; Kafka leaves it out.",
    },
    Difference {
        step: "produce/normal/no_partitions",
        path: "responses*",
        kafka: "*",
        ottla: "*",
        reason: "A topic without partitions is answered with no partitions; Kafka leaves it out.",
    },
    Difference {
        step: "fetch/errors/good_and_unknown*",
        path: "responses*",
        kafka: "*",
        ottla: "*",
        reason: "Ottla answers in the order of the request and names a topic once where its partitions stand together; Kafka moves unknown topics and partitions apart.",
    },
    Difference {
        step: "fetch/errors/good_and_unknown_and_too_few_bytes",
        path: "elapsed",
        kafka: "waited",
        ottla: "at once",
        reason: "An error is told at once, not after the wait for more records.",
    },
    Difference {
        step: "fetch/*",
        path: "*.aborted_transactions",
        kafka: "[]",
        ottla: "null",
        reason: "There are no aborted transactions beside an error. Kafka says so with an empty list for some errors and with null for others.",
    },
    Difference {
        step: "fetch/errors/replica_*",
        path: "*",
        kafka: "*",
        ottla: "*",
        reason: "There are no followers: a client that takes the part of a replica is refused with INVALID_REQUEST.",
    },
    Difference {
        step: "fetch/limits/*_negative_bytes",
        path: "responses*",
        kafka: "*",
        ottla: "*",
        reason: "A negative limit counts as 0 (one batch comes, as always); Kafka answers UNKNOWN_SERVER_ERROR.",
    },
    Difference {
        step: "fetch/positions/isolation_2",
        path: "*",
        kafka: "*",
        ottla: "*",
        reason: "An unknown isolation level counts as read_uncommitted; Kafka answers UNKNOWN_SERVER_ERROR.",
    },
    Difference {
        step: "list_offsets/all/isolation_*",
        path: "topics{@t}.partitions{0}.*",
        kafka: "*",
        ottla: "*",
        reason: "An unknown isolation level counts as read_uncommitted; Kafka answers UNKNOWN_SERVER_ERROR.",
    },
    Difference {
        step: "list_offsets/all/negative_epoch",
        path: "topics{@t}.partitions{0}.*",
        kafka: "*",
        ottla: "*",
        reason: "A negative leader epoch is no epoch, as it is in Fetch, in Kafka too.",
    },
    Difference {
        step: "offset_for_leader_epoch/all/negative_leader_epoch",
        path: "topics{@t}.partitions{0}.*",
        kafka: "*",
        ottla: "*",
        reason: "A negative leader epoch is no epoch, as it is in Fetch, in Kafka too.",
    },
    Difference {
        step: "offset_for_leader_epoch/all/negative_epoch",
        path: "topics{@t}.partitions{0}.*",
        kafka: "*",
        ottla: "-1",
        reason: "A negative epoch ends nowhere.",
    },
    Difference {
        step: "describe_configs/broker/some_keys*",
        path: "results{1}.configs{node.id}*",
        kafka: "*",
        ottla: "*",
        reason: "The recorded node has this key in its configuration file, Ottla has it by default.",
    },
    Difference {
        step: "describe_configs/broker/some_keys*",
        path: "results{1}.configs{num.partitions}*",
        kafka: "*",
        ottla: "*",
        reason: "The recorded node has this key in its configuration file, Ottla has it by default.",
    },
    Difference {
        step: "describe_topic_partitions/all/empty_name",
        path: "topics{#0}.*",
        kafka: "*",
        ottla: "*",
        reason: "An empty name is an invalid name; Kafka answers UNKNOWN_SERVER_ERROR.",
    },
    Difference {
        step: "metadata/by_id/neither",
        path: "*",
        kafka: "*",
        ottla: "*",
        reason: "A topic that is neither named nor has an id is refused with INVALID_REQUEST; Kafka answers UNKNOWN_SERVER_ERROR.",
    },
    Difference {
        step: "metadata/by_id/*",
        path: "brokers*",
        kafka: "*",
        ottla: "*",
        reason: "The brokers are told also when the topics cannot be named by id in this version.",
    },
    Difference {
        step: "metadata/by_id/*",
        path: "c*",
        kafka: "*",
        ottla: "*",
        reason: "So are the cluster and its controller.",
    },
    Difference {
        step: "metadata/auto_creation/first_answer",
        path: "topics{@new}.*",
        kafka: "*",
        ottla: "*",
        reason: "A topic that Metadata creates is there when the answer comes; Kafka says that it is unknown and creates it meanwhile.",
    },
    Difference {
        step: "find_coordinator/all/share",
        path: "coordinators{*",
        kafka: "*",
        ottla: "*",
        reason: "Share groups are not served.",
    },
    Difference {
        step: "*alter_configs/internal/*_policy",
        path: "responses{__consumer_offsets}.error_code",
        kafka: "0",
        ottla: "40",
        reason: "What groups are kept in stays compacted, or the commits of a group would be deleted with the segment that they are in: refused with INVALID_CONFIG. Kafka takes it, and loses them.",
    },
    Difference {
        step: "*alter_configs/internal/*_policy",
        path: "responses{__consumer_offsets}.error_message",
        kafka: "null",
        ottla: "\"<message>\"",
        reason: "What groups are kept in stays compacted, or the commits of a group would be deleted with the segment that they are in: refused with INVALID_CONFIG. Kafka takes it, and loses them.",
    },
    Difference {
        step: "incremental_alter_configs/broker/bad_value",
        path: "responses{1}.error_code",
        kafka: "42",
        ottla: "40",
        reason: "A bad value gets INVALID_CONFIG, for a broker as for a topic.",
    },
    Difference {
        step: "incremental_alter_configs/broker/unknown_key",
        path: "responses{1}.*",
        kafka: "*",
        ottla: "*",
        reason: "A key that does not exist is refused; Kafka keeps it.",
    },
    Difference {
        step: "incremental_alter_configs/errors/operation_*",
        path: "responses{@t}.*",
        kafka: "*",
        ottla: "*",
        reason: "An unknown operation gets INVALID_REQUEST; Kafka answers UNKNOWN_SERVER_ERROR.",
    },
    Difference {
        step: "produce/errors/acks_2_unknown_topic",
        path: "responses*",
        kafka: "*",
        ottla: "21",
        reason: "A wrong number of acknowledgements is refused for every partition, before any of them is looked up.",
    },
    Difference {
        step: "produce/bad_*/end",
        path: "topics{@t}.partitions{0}.offset",
        kafka: "*",
        ottla: "*",
        reason: "What Kafka appends and Ottla refuses, see the rows of produce/bad_*.",
    },
    Difference {
        step: "produce/bad_frame/cut_in_*",
        path: "responses*.error_code",
        kafka: "87",
        ottla: "2",
        reason: "A batch that does not end where it says is damaged, not invalid: sending it again may help.",
    },
    Difference {
        step: "produce/bad_frame/length_past_the_end",
        path: "responses*.error_code",
        kafka: "87",
        ottla: "2",
        reason: "A batch that does not end where it says is damaged, not invalid: sending it again may help.",
    },
    Difference {
        step: "produce/bad_frame/length_huge",
        path: "responses*.error_code",
        kafka: "-1",
        ottla: "2",
        reason: "UNKNOWN_SERVER_ERROR is never an answer to Produce: the Java producer then sends the batch again under a new epoch and duplicates it.",
    },
    Difference {
        step: "produce/bad_frame/length_one_short",
        path: "responses*.error_code",
        kafka: "2",
        ottla: "87",
        reason: "The byte behind the batch is noticed before its checksum is.",
    },
    Difference {
        step: "produce/bad_frame/garbage_behind",
        path: "responses*",
        kafka: "*",
        ottla: "*",
        reason: "Bytes behind the batch are refused with INVALID_RECORD; Kafka drops them.",
    },
    Difference {
        step: "produce/bad_frame/delete_horizon",
        path: "responses*",
        kafka: "*",
        ottla: "*",
        reason: "Only the cleaner of a broker sets a delete horizon; Kafka keeps that of a client.",
    },
    Difference {
        step: "produce/bad_frame/transactional",
        path: "responses*.error_code",
        kafka: "53",
        ottla: "48",
        reason: "Outside a transaction a transactional batch gets INVALID_TXN_STATE, whether the request names a transactional id or not.",
    },
    Difference {
        step: "produce/transactional/batch_without_transactional_id",
        path: "responses*.error_code",
        kafka: "53",
        ottla: "48",
        reason: "Outside a transaction a transactional batch gets INVALID_TXN_STATE, whether the request names a transactional id or not.",
    },
    Difference {
        step: "produce/bad_records/*_offset_delta_*",
        path: "responses*",
        kafka: "*",
        ottla: "*",
        reason: "The offsets in a batch must be dense and rising, or readers and compaction stumble; Kafka keeps them, or answers UNKNOWN_SERVER_ERROR.",
    },
    Difference {
        step: "produce/bad_records/Gzip_record_length_*",
        path: "responses*",
        kafka: "*",
        ottla: "*",
        reason: "Kafka does not look into compressed records beyond their keys; Ottla refuses what a reader could not read.",
    },
    Difference {
        step: "produce/bad_records/None_endless_varint",
        path: "responses*.error_code",
        kafka: "-1",
        ottla: "87",
        reason: "INVALID_RECORD instead of UNKNOWN_SERVER_ERROR.",
    },
    Difference {
        step: "produce/bad_compression/*",
        path: "responses*.error_code",
        kafka: "-1",
        ottla: "87",
        reason: "INVALID_RECORD instead of UNKNOWN_SERVER_ERROR.",
    },
    Difference {
        step: "produce/bad_compression/codec_*",
        path: "responses*.error_code",
        kafka: "-1",
        ottla: "76",
        reason: "UNSUPPORTED_COMPRESSION_TYPE instead of UNKNOWN_SERVER_ERROR.",
    },
    Difference {
        step: "produce/bad_compression/codec_*",
        path: "responses*.log_start_offset",
        kafka: "-1",
        ottla: "0",
        reason: "The log start beside an error tells nothing.",
    },
    Difference {
        step: "produce/bad_compression/*_garbage_behind",
        path: "responses*",
        kafka: "*",
        ottla: "*",
        reason: "Bytes behind the compressed records are refused; Kafka drops some of them.",
    },
    Difference {
        step: "produce/bad_compression/*_twice",
        path: "responses*",
        kafka: "*",
        ottla: "*",
        reason: "Bytes behind the compressed records are refused; Kafka drops some of them.",
    },
    Difference {
        step: "produce/bad_*",
        path: "responses*.base_offset",
        kafka: "*",
        ottla: "*",
        reason: "Offsets move on as batches before were taken or not.",
    },
    Difference {
        step: "produce/compression_of_topic/stored_*",
        path: "*.records{*}.batch_length",
        kafka: "*",
        ottla: "*",
        reason: "Another implementation of the codec; the records are the same.",
    },
    Difference {
        step: "produce/compression_of_topic/stored_*",
        path: "*.records{*}.payload_crc",
        kafka: "*",
        ottla: "*",
        reason: "Another implementation of the codec; the records are the same.",
    },
    Difference {
        step: "produce/epochs/epoch_minus_1",
        path: "responses*.error_code",
        kafka: "47",
        ottla: "87",
        reason: "A producer id without an epoch makes an invalid batch, not a stale producer.",
    },
    Difference {
        step: "produce/sequences/*again*",
        path: "responses*.log_append_time_ms",
        kafka: "*",
        ottla: "-1",
        reason: "The answer to a repeated batch is that to the first one; Kafka tells the time that the producer gave it.",
    },
    Difference {
        step: "produce/sequences/*again*",
        path: "responses*.error_code",
        kafka: "45",
        ottla: "46",
        reason: "DUPLICATE_SEQUENCE_NUMBER for what is older than the five batches that are remembered: the records are in the log.",
    },
    Difference {
        step: "produce/timestamps/append_time_claimed",
        path: "responses*",
        kafka: "*",
        ottla: "*",
        reason: "Only a broker stamps the time of the append: a batch that claims it is refused in every topic; Kafka refuses it where the topic's timestamps are the broker's and drops the claim elsewhere.",
    },
    Difference {
        step: "produce/timestamps/wrong_maximum",
        path: "responses*.base_offset",
        kafka: "3",
        ottla: "2",
        reason: "Only a broker stamps the time of the append: a batch that claims it is refused in every topic; Kafka refuses it where the topic's timestamps are the broker's and drops the claim elsewhere.",
    },
    Difference {
        step: "produce/timestamps/plain_stored",
        path: "*",
        kafka: "*",
        ottla: "*",
        reason: "Only a broker stamps the time of the append: a batch that claims it is refused in every topic; Kafka refuses it where the topic's timestamps are the broker's and drops the claim elsewhere.",
    },
    Difference {
        step: "offset_commit/*/no_partitions",
        path: "topics*",
        kafka: "*",
        ottla: "*",
        reason: "A topic without partitions is answered with no partitions; Kafka leaves it out.",
    },
    Difference {
        step: "offset_delete/all/unknown_topic",
        path: "topics*",
        kafka: "*",
        ottla: "*",
        reason: "A topic without partitions is answered with no partitions; Kafka leaves it out.",
    },
    Difference {
        step: "join_group/rebalance/first_of_two_joins",
        path: "*",
        kafka: "*",
        ottla: "*",
        reason: "When a member joins again before its first request is answered, Kafka never answers the first. Ottla answers REBALANCE_IN_PROGRESS, so that nobody waits for ever.",
    },
    Difference {
        step: "*",
        path: "*.state_since_ms",
        kafka: "-1",
        ottla: "<now>",
        reason: "A tagged field of Ottla's own, which other clients skip: since when the group is in its state.",
    },
    Difference {
        step: "*",
        path: "*.last_heard_ms",
        kafka: "-1",
        ottla: "<now>",
        reason: "A tagged field of Ottla's own, which other clients skip: when the member was last heard of.",
    },
    Difference {
        step: "group_configs/errors/operation_4",
        path: "responses{@g}.*",
        kafka: "*",
        ottla: "*",
        reason: "An unknown operation gets INVALID_REQUEST; Kafka answers UNKNOWN_SERVER_ERROR.",
    },
    Difference {
        step: "*",
        path: "*.is_awaited",
        kafka: "-1",
        ottla: "*",
        reason: "A tagged field of Ottla's own, which other clients skip: whether a rebalance waits for the member.",
    },
    Difference {
        step: "consumer_group_migration/refused/with_garbage",
        path: "error_*",
        kafka: "*",
        ottla: "*",
        reason: "A classic group whose members say what cannot be understood stays as it is: the member that would change its protocol hears GROUP_ID_NOT_FOUND and why; Kafka answers UNKNOWN_SERVER_ERROR.",
    },
];

impl Difference {
    /// True when this is the reason for a mismatch.
    pub fn covers(&self, mismatch: &Mismatch) -> bool {
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "absent".to_owned());
        matches_pattern(self.step, &format!("{}/{}", mismatch.scenario, mismatch.step))
            && matches_pattern(self.path, &mismatch.path)
            && matches_pattern(self.kafka, &value(&mismatch.kafka))
            && matches_pattern(self.ottla, &value(&mismatch.ottla))
    }

    /// The row in the table of `docs/protocol-support.md`.
    pub fn row(&self) -> String {
        let cell = |text: &str| text.replace('|', "\\|");
        let Self { step, path, kafka, ottla, reason } = self;
        format!("| `{}` | `{}` | `{}` | `{}` | {} |", cell(step), cell(path), cell(kafka), cell(ottla), cell(reason))
    }
}

/// True when `text` is `pattern` with any text in place of each `*`.
fn matches_pattern(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(head) else { return false };
    text.char_indices().map(|(at, _)| at).chain([text.len()]).any(|at| matches_pattern(rest, &text[at..]))
}

#[cfg(test)]
mod tests {
    use super::matches_pattern;

    #[test]
    fn a_star_stands_for_any_text() {
        assert!(matches_pattern("a*c", "abbc"));
        assert!(matches_pattern("*", ""));
        assert!(matches_pattern("x*y*", "x{1}.y = 2"));
        assert!(!matches_pattern("a*c", "abcd"));
        assert!(!matches_pattern("ab", "abc"));
    }
}
