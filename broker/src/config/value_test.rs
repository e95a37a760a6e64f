//! Goal: values are taken and refused as Apache Kafka 4.3 does. Method: the answers of its `LogConfig.validate`.

use super::*;

fn topic(name: &str, text: &str) -> Result<String, String> {
    let key = topic_key(name).expect(name);
    parse(key, text).map(|value| value.to_string()).map_err(|error| error.to_string())
}

#[test]
fn kafka_takes_these() {
    for (name, text, shown) in [
        ("cleanup.policy", "", ""),
        ("cleanup.policy", "delete,delete", "delete,delete"),
        ("cleanup.policy", " delete, compact", "delete,compact"),
        ("retention.ms", " 12 ", "12"),
        ("retention.ms", "+12", "12"),
        ("retention.bytes", "-7", "-7"),
        ("preallocate", "TRUE", "true"),
        ("preallocate", " true ", "true"),
        ("min.cleanable.dirty.ratio", "0.5f", "0.5"),
        ("min.cleanable.dirty.ratio", "1e-1", "0.1"),
        ("min.cleanable.dirty.ratio", "1", "1.0"),
        ("min.cleanable.dirty.ratio", "0.0001", "1.0E-4"),
        ("leader.replication.throttled.replicas", "*", "*"),
        ("leader.replication.throttled.replicas", "0:1,1:2", "0:1,1:2"),
        ("compression.gzip.level", "-1", "-1"),
        ("segment.bytes", "1048576", "1048576"),
    ] {
        assert_eq!(topic(name, text).as_deref(), Ok(shown), "{name}={text}");
    }
}

#[test]
fn kafka_refuses_these() {
    for (name, text) in [
        ("cleanup.policy", "none"),
        ("cleanup.policy", "DELETE"),
        ("retention.ms", "1_0"),
        ("retention.ms", "1e3"),
        ("retention.ms", "abc"),
        ("retention.ms", ""),
        ("retention.ms", "-2"),
        ("preallocate", "yes"),
        ("min.cleanable.dirty.ratio", "1.1"),
        ("min.cleanable.dirty.ratio", "-0.1"),
        ("segment.bytes", "1048575"),
        ("segment.bytes", "1"),
        ("segment.bytes", "2147483648"),
        ("compression.type", "ZSTD"),
        ("compression.type", "none"),
        ("compression.gzip.level", "0"),
        ("compression.gzip.level", "10"),
        ("message.timestamp.type", "createtime"),
        ("leader.replication.throttled.replicas", "1:2,x"),
        ("leader.replication.throttled.replicas", "none"),
        ("max.compaction.lag.ms", "0"),
        ("min.insync.replicas", "0"),
        ("segment.jitter.ms", "-1"),
        ("flush.ms", "-1"),
    ] {
        assert!(topic(name, text).is_err(), "{name}={text}");
    }
}

#[test]
fn a_ratio_that_is_not_a_number_is_refused_where_kafka_takes_it() {
    assert!(topic("min.cleanable.dirty.ratio", "NaN").is_err());
}

#[test]
fn the_message_says_what_is_allowed() {
    assert_eq!(
        topic("segment.bytes", "1"),
        Err("`segment.bytes` = `1` is not allowed: a 32-bit integer, at least 1048576".to_owned())
    );
    assert_eq!(
        topic("message.timestamp.type", "x"),
        Err("`message.timestamp.type` = `x` is not allowed: one of CreateTime, LogAppendTime".to_owned())
    );
}

#[test]
fn an_unknown_key_is_answered_with_the_nearest() {
    let error = find(Scope::Topic, "retention.mss", "5").expect_err("there is no such key");
    assert_eq!(error.to_string(), "unknown topic key `retention.mss` with the value `5`; did you mean `retention.ms`?");
}

#[test]
fn the_largest_double_reads_as_java_prints_it() {
    assert_eq!(Value::Double(f64::MAX).to_string(), "1.7976931348623157E308");
}
