//! Goal: alterations have the outcome and the refusals of Apache Kafka 4.3. Method: its answers, one by one.

use super::*;

fn map(values: &[(&str, &str)]) -> BTreeMap<String, String> {
    values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn op(name: &str, op: AlterOp, value: Option<&str>) -> Alteration {
    Alteration { name: name.to_owned(), op, value: value.map(str::to_owned) }
}

fn topic(overrides: &[(&str, &str)], alterations: &[Alteration]) -> Result<BTreeMap<String, String>, ConfigError> {
    alter_topic(&BrokerConfig::default(), &map(overrides), alterations)
}

#[test]
fn lists_grow_from_what_is_in_force_and_shrink_to_nothing() {
    let policy = |overrides: &[(&str, &str)], how, item| topic(overrides, &[op("cleanup.policy", how, Some(item))]);
    assert_eq!(policy(&[], AlterOp::Append, "compact"), Ok(map(&[("cleanup.policy", "delete,compact")])));
    let both = [("cleanup.policy", "delete,compact")];
    assert_eq!(policy(&both, AlterOp::Append, "compact"), Ok(map(&both)));
    assert_eq!(policy(&both, AlterOp::Subtract, "delete"), Ok(map(&[("cleanup.policy", "compact")])));
    let none = [("cleanup.policy", "")];
    assert_eq!(policy(&[("cleanup.policy", "compact")], AlterOp::Subtract, "compact"), Ok(map(&none)));
    assert_eq!(policy(&none, AlterOp::Subtract, "bogus"), Ok(map(&none)));
    assert!(matches!(policy(&none, AlterOp::Append, "bogus"), Err(ConfigError::InvalidValue { .. })));
    assert_eq!(topic(&none, &[op("cleanup.policy", AlterOp::Delete, None)]), Ok(map(&[])));
}

#[test]
fn set_and_delete() {
    assert_eq!(topic(&[], &[op("retention.ms", AlterOp::Set, Some(" 5 "))]), Ok(map(&[("retention.ms", "5")])));
    assert_eq!(topic(&[], &[op("no.such.key", AlterOp::Delete, None)]), Ok(map(&[])));
}

#[test]
fn what_kafka_refuses() {
    let refused = |alterations: &[Alteration]| topic(&[], alterations).expect_err("refused");
    let set = |name, value| op(name, AlterOp::Set, value);
    assert!(matches!(refused(&[op("retention.ms", AlterOp::Append, Some("5"))]), ConfigError::NotAList { .. }));
    assert!(matches!(
        refused(&[set("retention.ms", Some("5")), set("retention.ms", Some("6"))]),
        ConfigError::DuplicateKey { .. }
    ));
    assert!(matches!(refused(&[set("retention.ms", Some("abc"))]), ConfigError::InvalidValue { .. }));
    assert!(matches!(refused(&[set("retention.ms", Some(""))]), ConfigError::InvalidValue { .. }));
    assert!(matches!(refused(&[set("foo", Some("1"))]), ConfigError::UnknownKey { .. }));
    assert!(matches!(refused(&[set("retention.ms", None)]), ConfigError::NullValue { .. }));
    assert!(matches!(refused(&[op("cleanup.policy", AlterOp::Append, None)]), ConfigError::NullValue { .. }));
    assert!(matches!(
        refused(&[set("min.compaction.lag.ms", Some("9")), set("max.compaction.lag.ms", Some("8"))]),
        ConfigError::Conflict(_)
    ));
}

#[test]
fn broker_keys_change_where_their_mode_allows_it() {
    let broker = BrokerConfig::default();
    let alter = |scope, name, value| alter_broker(&broker, scope, &[op(name, AlterOp::Set, Some(value))]);
    use BrokerScope::{ClusterWide, PerBroker};
    assert!(matches!(alter(PerBroker, "num.partitions", "5"), Err(ConfigError::ReadOnly { .. })));
    assert!(matches!(alter(PerBroker, "log.retention.hours", "5"), Err(ConfigError::ReadOnly { .. })));
    assert!(matches!(alter(PerBroker, "listeners", "PLAINTEXT://:1"), Err(ConfigError::ReadOnly { .. })));
    assert!(matches!(
        alter(ClusterWide, "principal.builder.class", "some.Class"),
        Err(ConfigError::PerBrokerOnly { .. })
    ));
    assert!(matches!(alter(PerBroker, "log.segment.bytes", "1"), Err(ConfigError::InvalidValue { .. })));
    assert!(matches!(alter(PerBroker, "foo.bar", "1"), Err(ConfigError::UnknownKey { .. })));
    assert_eq!(alter(ClusterWide, "log.retention.ms", "55"), Ok(map(&[("log.retention.ms", "55")])));
    let appended = alter_broker(&broker, PerBroker, &[op("log.cleanup.policy", AlterOp::Append, Some("compact"))]);
    assert_eq!(appended, Ok(map(&[("log.cleanup.policy", "delete,compact")])));
}

#[test]
fn operations_have_their_wire_codes() {
    let all = [AlterOp::Set, AlterOp::Delete, AlterOp::Append, AlterOp::Subtract];
    assert_eq!([0, 1, 2, 3].map(AlterOp::from_code), all.map(Some));
    assert_eq!((AlterOp::from_code(-1), AlterOp::from_code(4)), (None, None));
}
