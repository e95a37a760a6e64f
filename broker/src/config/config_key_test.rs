//! Goal: the tables themselves hold together. Method: walk every row.

use super::*;
use crate::config::value::{Value, parse};

fn all() -> impl Iterator<Item = &'static ConfigKey> {
    broker_keys().chain(topic_keys())
}

#[test]
fn every_default_passes_its_own_bounds_and_is_spelt_canonically() {
    for key in all() {
        if let Some(default) = key.default {
            let value = parse(key, default).expect(key.name);
            assert_eq!(value.to_string(), default, "{}", key.name);
        }
    }
}

#[test]
fn every_key_has_a_sentence_or_a_reason() {
    for key in all() {
        assert!(!key.describe().is_empty() && key.describe().ends_with('.'), "{}: {}", key.name, key.describe());
    }
}

#[test]
fn a_topic_key_has_the_default_of_its_broker_key_in_its_own_unit() {
    for topic in topic_keys().filter(|key| !key.synonyms.is_empty()) {
        let defaults =
            topic.synonyms.iter().map(|synonym| (broker_key(synonym.name).expect(synonym.name), synonym.factor));
        let (broker, factor) = defaults.into_iter().find(|(key, _)| key.default.is_some()).expect(topic.name);
        let value = |key: &ConfigKey| parse(key, key.default.expect(key.name)).expect(key.name);
        match (value(topic), value(broker)) {
            (Value::Integer(ours), Value::Integer(theirs)) => assert_eq!(ours, theirs * factor, "{}", topic.name),
            (ours, theirs) => assert_eq!(ours, theirs, "{}", topic.name),
        }
    }
}

#[test]
fn all_topic_keys_of_kafka_are_known() {
    // What `LogConfig` of Apache Kafka 4.3.0 defines.
    const KAFKA: &str = "cleanup.policy compression.gzip.level compression.lz4.level compression.type \
        compression.zstd.level delete.retention.ms file.delete.delay.ms flush.messages flush.ms \
        follower.replication.throttled.replicas index.interval.bytes internal.segment.bytes \
        leader.replication.throttled.replicas local.retention.bytes local.retention.ms max.compaction.lag.ms \
        max.message.bytes message.timestamp.after.max.ms message.timestamp.before.max.ms message.timestamp.type \
        min.cleanable.dirty.ratio min.compaction.lag.ms min.insync.replicas preallocate remote.log.copy.disable \
        remote.log.delete.on.disable remote.storage.enable retention.bytes retention.ms segment.bytes \
        segment.index.bytes segment.jitter.ms segment.ms unclean.leader.election.enable";
    let ours: Vec<&str> = topic_keys().filter(|key| !key.ours).map(|key| key.name).collect();
    assert_eq!(ours, KAFKA.split_whitespace().collect::<Vec<_>>());
}

#[test]
fn broker_keys_of_kafka_are_counted() {
    // 360 in `AbstractKafkaConfig` of Apache Kafka 4.3.0, and three throttles that are dynamic only.
    assert_eq!(broker_keys().filter(|key| !key.ours).count(), 363);
    // ... of which DescribeConfigs lists 340.
    assert_eq!(broker_keys().filter(|key| !key.ours && !key.hidden).count(), 340);
}

#[test]
fn a_key_of_one_listener_is_the_key() {
    assert_eq!(
        broker_key("listener.name.internal.ssl.keystore.location").map(|key| key.name),
        Some("ssl.keystore.location")
    );
    assert_eq!(
        broker_key("listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config").map(|key| key.name),
        Some("sasl.jaas.config")
    );
    assert!(broker_key("listener.name.internal.nonsense").is_none());
    assert!(broker_key("listener.name.").is_none());
}

#[test]
fn the_nearest_key_of_a_typing_error_is_found() {
    assert_eq!(nearest("log.retenton.ms", broker_keys()), Some("log.retention.ms"));
    assert_eq!(nearest("num_partition", broker_keys()), Some("num.partitions"));
    assert_eq!(nearest("Retention.MS", topic_keys()), Some("retention.ms"));
    assert_eq!(nearest("something.else.entirely", topic_keys()), None);
    assert_eq!(nearest(&"x".repeat(100_000), topic_keys()), None);
}

#[test]
fn a_variable_names_one_key_only() {
    let mut names: Vec<String> = broker_keys().map(ConfigKey::variable).collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
}
