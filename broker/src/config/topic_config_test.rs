//! Goal: a topic's settings follow from its overrides, the broker's keys and the defaults, in that order.

use super::*;

fn overrides(values: &[(&str, &str)]) -> BTreeMap<String, String> {
    values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn broker(values: &[(&str, &str)]) -> BrokerConfig {
    BrokerConfig::from_values(values.iter().copied()).expect("the test's own values are good")
}

fn topic(broker: &BrokerConfig, values: &[(&str, &str)]) -> TopicConfig {
    TopicConfig::from_overrides(broker, &overrides(values)).expect("the test's own values are good")
}

#[test]
fn defaults_are_kafkas() {
    let config = TopicConfig::default();
    assert_eq!(config.retention_ms, 7 * 24 * 3_600_000);
    assert_eq!(config.segment_bytes, 1 << 30);
    assert_eq!(config.max_message_bytes, 1_048_588);
    assert_eq!(config.cleanup_policy, CleanupPolicy { delete: true, compact: false });
    assert_eq!(config.flush_mode, FlushMode::Sync);
    assert_eq!(config.message_timestamp_after_max_ms, 3_600_000);
    assert_eq!(config.message_timestamp_type, MessageTimestampType::CreateTime);
    assert_eq!(config.compression_type, StoredCompression::Producer);
}

#[test]
fn an_override_wins_over_the_broker_and_the_broker_over_the_default() {
    let broker = broker(&[("log.segment.bytes", "2000000"), ("log.cleanup.policy", "compact,delete")]);
    assert_eq!(topic(&broker, &[]).segment_bytes, 2_000_000);
    assert_eq!(topic(&broker, &[("segment.bytes", "3000000")]).segment_bytes, 3_000_000);
    assert_eq!(topic(&broker, &[]).cleanup_policy, CleanupPolicy { delete: true, compact: true });
    assert_eq!(
        topic(&broker, &[("cleanup.policy", "")]).cleanup_policy,
        CleanupPolicy { delete: false, compact: false }
    );
}

#[test]
fn the_finest_unit_of_retention_wins() {
    assert_eq!(topic(&broker(&[("log.retention.hours", "2")]), &[]).retention_ms, 7_200_000);
    assert_eq!(topic(&broker(&[("log.retention.minutes", "3")]), &[]).retention_ms, 180_000);
    assert_eq!(topic(&broker(&[("log.retention.hours", "-1")]), &[]).retention_ms, -1);
    assert_eq!(topic(&broker(&[("log.roll.hours", "1")]), &[]).segment_ms, 3_600_000);
}

#[test]
fn a_retention_of_zero_is_a_topics_own_choice_only() {
    assert!(BrokerConfig::from_values([("log.retention.ms", "0")]).is_err());
    assert_eq!(topic(&broker(&[]), &[("retention.ms", "0")]).retention_ms, 0);
}

#[test]
fn values_that_contradict_each_other_are_refused() {
    let refused = |values: &[(&str, &str)]| {
        TopicConfig::from_overrides(&BrokerConfig::default(), &overrides(values)).expect_err("refused").to_string()
    };
    assert_eq!(
        refused(&[("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")]),
        "`min.compaction.lag.ms` = 10 is more than `max.compaction.lag.ms` = 5"
    );
    assert!(refused(&[("remote.storage.enable", "true")]).contains("no tiered storage"));
    assert!(refused(&[("internal.segment.bytes", "0")]).contains("less than 1"));
    assert!(refused(&[("retention.ms", "abc")]).contains("a 64-bit integer, at least -1"));
    assert!(refused(&[("message.format.version", "2.0")]).contains("unknown topic key"));
}

#[test]
fn the_internal_segment_size_has_no_lower_bound() {
    assert_eq!(topic(&broker(&[]), &[("internal.segment.bytes", "100")]).segment_bytes, 100);
}

#[test]
fn keys_without_a_meaning_here_are_accepted() {
    let values = [
        ("unclean.leader.election.enable", "true"),
        ("local.retention.ms", "5"),
        ("leader.replication.throttled.replicas", "*"),
    ];
    assert_eq!(topic(&broker(&[]), &values), TopicConfig::default());
}
