//! CreateTopics (19): names, partitions, replication, assignments, configs, and what is refused.

use anyhow::Result;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};

use crate::reference::{Play, Scenario};

/// Keys and values, in order.
type Configs<'a> = &'a [(&'a str, Option<&'a str>)];
/// Partitions and their brokers, in order.
type Assignments<'a> = &'a [(i32, &'a [i32])];

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::each_version("create_topics/normal", ApiKey::CreateTopics, normal),
        Scenario::each_version("create_topics/errors", ApiKey::CreateTopics, errors),
        Scenario::once("create_topics/configs", 7, configs),
    ]
}

fn topic(name: impl Into<String>, num_partitions: i32, replication_factor: i16) -> CreatableTopic {
    CreatableTopic { name: name.into(), num_partitions, replication_factor, ..Default::default() }
}

fn with_configs(mut topic: CreatableTopic, configs: &[(&str, Option<&str>)]) -> CreatableTopic {
    let config = |&(name, value): &(&str, Option<&str>)| CreatableTopicConfig {
        name: name.to_owned(),
        value: value.map(str::to_owned),
    };
    topic.configs = configs.iter().map(config).collect();
    topic
}

fn assigned(mut topic: CreatableTopic, assignments: &[(i32, &[i32])]) -> CreatableTopic {
    let assignment = |&(partition_index, broker_ids): &(i32, &[i32])| CreatableReplicaAssignment {
        partition_index,
        broker_ids: broker_ids.to_vec(),
    };
    topic.assignments = assignments.iter().map(assignment).collect();
    topic
}

fn create(topics: Vec<CreatableTopic>) -> CreateTopicsRequest {
    CreateTopicsRequest { topics, timeout_ms: 30_000, validate_only: false }
}

fn validate(topics: Vec<CreatableTopic>) -> CreateTopicsRequest {
    CreateTopicsRequest { validate_only: true, ..create(topics) }
}

fn normal(play: &mut Play) -> Result<()> {
    let name = |play: &Play, name: &str| play.name(name);
    let one = create(vec![topic(name(play, "one"), 1, 1)]);
    play.step("one_partition", &one)?;
    play.await_topic("one", 1)?;
    play.step("exists", &one)?;
    play.step("exists_validate_only", &validate(vec![topic(name(play, "one"), 1, 1)]))?;
    let two = create(vec![topic(name(play, "two"), 3, 1), topic(name(play, "three"), 2, -1)]);
    play.step("two_topics", &two)?;
    play.await_topic("two", 3)?;
    play.await_topic("three", 2)?;
    let configured = with_configs(
        topic(name(play, "configured"), 1, 1),
        &[("retention.ms", Some("3600000")), ("cleanup.policy", Some("compact"))],
    );
    play.step("with_configs", &create(vec![configured]))?;
    play.await_topic("configured", 1)?;
    play.step("validate_only", &validate(vec![topic(name(play, "never"), 1, 1)]))?;
    play.step("no_topics", &create(vec![]))?;
    let assignment = assigned(topic(name(play, "assigned"), -1, -1), &[(0, &[1]), (1, &[1])]);
    play.step("assigned", &create(vec![assignment]))?;
    play.await_topic("assigned", 2)?;
    if play.version >= 4 {
        play.step("default_counts", &create(vec![topic(name(play, "defaults"), -1, -1)]))?;
        play.await_topic("defaults", 1)?;
    }
    let mixed = create(vec![topic(name(play, "good"), 1, 1), topic(name(play, "bad"), 0, 1)]);
    play.step("one_good_one_bad", &mixed)?;
    play.await_topic("good", 1)?;
    Ok(())
}

fn errors(play: &mut Play) -> Result<()> {
    let long = "x".repeat(250);
    let names = [
        ("name_empty", ""),
        ("name_dot", "."),
        ("name_dots", ".."),
        ("name_path", "../../etc/passwd"),
        ("name_slash", "a/b"),
        ("name_nul", "a\0b"),
        ("name_space", "a b"),
        ("name_not_ascii", "zürich"),
        ("name_too_long", &long),
    ];
    for (step, name) in names {
        play.step(step, &create(vec![topic(name, 1, 1)]))?;
    }
    play.step("name_and_validate_only", &validate(vec![topic("a/b", 1, 1)]))?;
    let full = |play: &Play| play.name("t");
    for (step, partitions) in [("no_partitions", 0), ("minus_5_partitions", -5), ("default_partitions", -1)] {
        let request = validate(vec![topic(full(play), partitions, 1)]);
        play.step(step, &request)?;
    }
    for (step, factor) in [("no_replicas", 0), ("two_replicas", 2), ("minus_2_replicas", -2), ("default_replicas", -1)]
    {
        let request = validate(vec![topic(full(play), 1, factor)]);
        play.step(step, &request)?;
    }
    play.step("no_partitions_two_replicas", &validate(vec![topic(full(play), 0, 2)]))?;
    let twice = create(vec![topic(full(play), 1, 1), topic(full(play), 2, 1)]);
    play.step("one_topic_twice", &twice)?;
    let twice_and_good = create(vec![topic(full(play), 1, 1), topic(full(play), 2, 1), topic(play.name("good"), 1, 1)]);
    play.step("one_topic_twice_beside_a_good_one", &twice_and_good)?;
    play.await_topic("good", 1)?;
    let configs: [(&str, Configs<'_>); 8] = [
        ("config_unknown", &[("no.such.key", Some("1"))]),
        ("config_not_a_number", &[("retention.ms", Some("abc"))]),
        ("config_too_small", &[("segment.bytes", Some("1"))]),
        ("config_null", &[("retention.ms", None)]),
        ("config_not_in_list", &[("cleanup.policy", Some("burn"))]),
        ("config_empty", &[("retention.ms", Some(""))]),
        ("config_twice", &[("retention.ms", Some("1000")), ("retention.ms", Some("2000"))]),
        ("config_of_broker", &[("num.partitions", Some("3"))]),
    ];
    for (step, configs) in configs {
        let request = validate(vec![with_configs(topic(full(play), 1, 1), configs)]);
        play.step(step, &request)?;
    }
    let assignments: [(&str, i32, i16, Assignments<'_>); 8] = [
        ("assigned_to_unknown_broker", -1, -1, &[(0, &[7])]),
        ("assigned_from_one", -1, -1, &[(1, &[1])]),
        ("assigned_with_gap", -1, -1, &[(0, &[1]), (2, &[1])]),
        ("assigned_twice", -1, -1, &[(0, &[1]), (0, &[1])]),
        ("assigned_to_nobody", -1, -1, &[(0, &[])]),
        ("assigned_broker_twice", -1, -1, &[(0, &[1, 1])]),
        ("assigned_and_counted", 1, -1, &[(0, &[1])]),
        ("assigned_and_replicated", -1, 1, &[(0, &[1])]),
    ];
    for (step, partitions, factor, assignments) in assignments {
        let request = validate(vec![assigned(topic(full(play), partitions, factor), assignments)]);
        play.step(step, &request)?;
    }
    let dotted = create(vec![topic(play.name("a_b"), 1, 1)]);
    play.ask(7, &dotted)?;
    play.await_topic("a_b", 1)?;
    play.step("name_collides", &create(vec![topic(play.name("a.b"), 1, 1)]))?;
    let colliding = create(vec![topic(play.name("c.d"), 1, 1), topic(play.name("c_d"), 1, 1)]);
    play.step("names_collide_in_the_request", &colliding)?;
    Ok(())
}

fn configs(play: &mut Play) -> Result<()> {
    let values = [
        ("cleanup.policy", "compact,delete"),
        ("cleanup.policy", ""),
        ("cleanup.policy", "delete,delete"),
        ("compression.type", "zstd"),
        ("compression.type", "brotli"),
        ("compression.type", "producer"),
        ("delete.retention.ms", "-1"),
        ("file.delete.delay.ms", "0"),
        ("flush.messages", "0"),
        ("flush.ms", "-1"),
        ("index.interval.bytes", "-1"),
        ("max.compaction.lag.ms", "0"),
        ("max.message.bytes", "-1"),
        ("max.message.bytes", "0"),
        ("max.message.bytes", "2147483648"),
        ("message.timestamp.after.max.ms", "-1"),
        ("message.timestamp.before.max.ms", "0"),
        ("message.timestamp.type", "LogAppendTime"),
        ("message.timestamp.type", "logappendtime"),
        ("min.cleanable.dirty.ratio", "1.5"),
        ("min.cleanable.dirty.ratio", "0.5"),
        ("min.compaction.lag.ms", "-1"),
        ("min.insync.replicas", "0"),
        ("min.insync.replicas", "2"),
        ("preallocate", "yes"),
        ("preallocate", "TRUE"),
        ("remote.storage.enable", "true"),
        ("retention.bytes", "-2"),
        ("retention.bytes", "-1"),
        ("retention.ms", "-2"),
        ("retention.ms", " 1000 "),
        ("retention.ms", "1e3"),
        ("retention.ms", "9223372036854775808"),
        ("segment.bytes", "1048575"),
        ("segment.bytes", "1048576"),
        ("segment.index.bytes", "3"),
        ("segment.jitter.ms", "-1"),
        ("segment.ms", "0"),
        ("unclean.leader.election.enable", "true"),
        ("leader.replication.throttled.replicas", "*"),
        ("leader.replication.throttled.replicas", "0:1,1:1"),
        ("leader.replication.throttled.replicas", "x"),
        ("local.retention.ms", "-2"),
        ("message.format.version", "3.0"),
    ];
    for (position, (key, value)) in values.into_iter().enumerate() {
        let configured = with_configs(topic(play.name("t"), 1, 1), &[(key, Some(value))]);
        play.step(&format!("{position}:{key}={}", value.replace(' ', "_")), &validate(vec![configured]))?;
    }
    Ok(())
}
