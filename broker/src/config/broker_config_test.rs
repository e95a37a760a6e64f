//! Goal: what is set reaches the typed fields, and contradictions are refused.

use super::*;

fn config(values: &[(&str, &str)]) -> BrokerConfig {
    BrokerConfig::from_values(values.iter().copied()).expect("the test's own values are good")
}

fn map(values: &[(&str, &str)]) -> BTreeMap<String, String> {
    values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn defaults_suit_one_node() {
    let config = BrokerConfig::default();
    assert_eq!(config.node_id, 1);
    assert_eq!(config.listeners[0].to_string(), "PLAINTEXT://127.0.0.1:9092");
    assert_eq!(config.data_dir, PathBuf::from("ottla-data"));
    assert_eq!(config.max_connections, 10_000);
    assert_eq!(config.queued_max_request_bytes, 256 << 20);
    assert!(config.auto_create_topics_enable);
}

#[test]
fn either_name_of_the_node_id_counts_and_both_must_agree() {
    assert_eq!(config(&[("broker.id", "7")]).node_id, 7);
    assert_eq!(config(&[("node.id", "8")]).node_id, 8);
    assert_eq!(config(&[("broker.id", "8"), ("node.id", "8")]).node_id, 8);
    assert!(BrokerConfig::from_values([("broker.id", "7"), ("node.id", "8")]).is_err());
    assert!(BrokerConfig::from_values([("broker.id", "-1")]).is_err());
}

#[test]
fn there_is_exactly_one_data_directory() {
    assert_eq!(config(&[("log.dir", "/a"), ("log.dirs", "/b")]).data_dir, PathBuf::from("/b"));
    for value in ["/a,/b", "", ","] {
        let error = BrokerConfig::from_values([("log.dirs", value)]).expect_err(value);
        assert!(error.to_string().contains("exactly one directory"), "{error}");
    }
}

#[test]
fn overrides_of_connections_per_address() {
    let config = config(&[("max.connections.per.ip.overrides", "10.0.0.1:5, [::1]:7,::2:9")]);
    let counts: Vec<i32> = ["10.0.0.1", "::1", "::2"]
        .iter()
        .map(|address| config.max_connections_per_ip_overrides[&address.parse::<IpAddr>().expect("an address")])
        .collect();
    assert_eq!(counts, [5, 7, 9]);
    assert!(BrokerConfig::from_values([("max.connections.per.ip.overrides", "10.0.0.1")]).is_err());
}

#[test]
fn dynamic_values_win_over_static_ones_and_one_broker_over_all() {
    let started = config(&[("log.segment.bytes", "2000000")]);
    let all = map(&[("log.segment.bytes", "3000000"), ("max.connections", "5")]);
    let one = map(&[("log.segment.bytes", "4000000")]);
    let altered = started.with_dynamic(&all, &BTreeMap::new()).expect("good");
    assert_eq!((altered.topic_defaults.segment_bytes, altered.max_connections), (3_000_000, 5));
    let altered = altered.with_dynamic(&all, &one).expect("good");
    assert_eq!(altered.topic_defaults.segment_bytes, 4_000_000);
    let restored = altered.with_dynamic(&BTreeMap::new(), &BTreeMap::new()).expect("good");
    assert_eq!(restored, started);
}

#[test]
fn keys_that_mean_nothing_here_are_named() {
    let config = config(&[("num.io.threads", "9"), ("num.partitions", "3"), ("ssl.keystore.location", "/x")]);
    let names: Vec<&str> = config.ignored().iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["num.io.threads", "ssl.keystore.location"]);
}

#[test]
fn an_unknown_key_is_refused() {
    let error = BrokerConfig::from_values([("num.partition", "3")]).expect_err("there is no such key");
    assert_eq!(
        error.to_string(),
        "unknown broker key `num.partition` with the value `3`; did you mean `num.partitions`?"
    );
}
