//! Goal: sources and synonyms are those that Apache Kafka 4.3 answers for the same settings. Method: its answers.

use super::*;

fn map(values: &[(&str, &str)]) -> BTreeMap<String, String> {
    values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn find<'a>(entries: &'a [ConfigEntry], name: &str) -> &'a ConfigEntry {
    entries.iter().find(|entry| entry.name == name).expect(name)
}

fn synonyms(entry: &ConfigEntry) -> Vec<(&str, &str, ConfigSource)> {
    let text = |synonym: &'_ ConfigSynonym| synonym.value.clone().unwrap_or_default().leak() as &str;
    entry.synonyms.iter().map(|synonym| (synonym.name.as_str(), text(synonym), synonym.source)).collect()
}

#[test]
fn an_override_comes_first_and_the_default_of_the_broker_key_last() {
    let entries =
        describe_topic(&BrokerConfig::default(), &map(&[("cleanup.policy", "compact"), ("retention.ms", "1000")]));
    let policy = find(&entries, "cleanup.policy");
    assert_eq!((policy.value.as_deref(), policy.source), (Some("compact"), ConfigSource::DynamicTopic));
    assert_eq!(
        synonyms(policy),
        [
            ("cleanup.policy", "compact", ConfigSource::DynamicTopic),
            ("log.cleanup.policy", "delete", ConfigSource::Default)
        ]
    );
    // The default is that of log.retention.hours, which does not count as long as log.retention.ms is not set.
    assert_eq!(synonyms(find(&entries, "retention.ms")), [("retention.ms", "1000", ConfigSource::DynamicTopic)]);
    assert_eq!(synonyms(find(&entries, "segment.ms")), []);
    assert_eq!(find(&entries, "segment.ms").value.as_deref(), Some("604800000"));
    assert_eq!(synonyms(find(&entries, "segment.bytes")), [("log.segment.bytes", "1073741824", ConfigSource::Default)]);
}

#[test]
fn a_dynamic_broker_key_shows_in_the_topic() {
    let all = map(&[("log.segment.bytes", "2000000"), ("log.retention.ms", "777777")]);
    let broker = BrokerConfig::default().with_dynamic(&all, &BTreeMap::new()).expect("good");
    let entries = describe_topic(&broker, &map(&[("retention.ms", "1000")]));
    assert_eq!(
        synonyms(find(&entries, "retention.ms")),
        [
            ("retention.ms", "1000", ConfigSource::DynamicTopic),
            ("log.retention.ms", "777777", ConfigSource::DynamicDefaultBroker),
            ("log.retention.hours", "168", ConfigSource::Default),
        ]
    );
    let segment = find(&entries, "segment.bytes");
    assert_eq!((segment.value.as_deref(), segment.source), (Some("2000000"), ConfigSource::DynamicDefaultBroker));

    let entries = describe_broker(&broker);
    let retention = find(&entries, "log.retention.ms");
    assert_eq!((retention.value.as_deref(), retention.read_only), (Some("777777"), false));
    assert_eq!(retention.source, ConfigSource::DynamicDefaultBroker);

    let names: Vec<String> = describe_cluster_defaults(&broker).into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["log.retention.ms", "log.segment.bytes"]);
}

#[test]
fn the_broker_lists_every_key_that_kafka_lists() {
    let broker =
        BrokerConfig::from_values([("num.partitions", " 3 "), ("ssl.key.password", "open sesame")]).expect("good");
    let entries = describe_broker(&broker);
    assert_eq!(entries.iter().filter(|entry| !broker_key(&entry.name).is_some_and(|key| key.ours)).count(), 340);
    let partitions = find(&entries, "num.partitions");
    assert_eq!((partitions.value.as_deref(), partitions.source), (Some("3"), ConfigSource::StaticBroker));
    assert!(partitions.read_only);
    assert_eq!(find(&entries, "log.retention.ms").value, None);
    assert_eq!(find(&entries, "log.retention.ms").synonyms, []);
    assert_eq!(find(&entries, "node.id").value.as_deref(), Some("1"));
}

#[test]
fn a_password_is_never_shown() {
    let broker = BrokerConfig::from_values([
        ("ssl.key.password", "open sesame"),
        ("listener.name.internal.ssl.keystore.password", "open sesame"),
    ])
    .expect("good");
    let entries = describe_broker(&broker);
    for name in ["ssl.key.password", "listener.name.internal.ssl.keystore.password"] {
        let entry = find(&entries, name);
        assert!(entry.sensitive);
        assert_eq!((entry.value.as_deref(), entry.source), (None, ConfigSource::StaticBroker));
    }
    assert!(!format!("{entries:?}").contains("open sesame"));
}

#[test]
fn internal_keys_are_listed_only_where_they_are_set() {
    let broker = BrokerConfig::default();
    let listed = |overrides: &[(&str, &str)]| {
        describe_topic(&broker, &map(overrides)).iter().any(|entry| entry.name == "internal.segment.bytes")
    };
    assert!(!listed(&[]));
    assert!(listed(&[("internal.segment.bytes", "100")]));
}
