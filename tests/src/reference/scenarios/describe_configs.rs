//! DescribeConfigs (32): every key of a topic, keys of the broker, sources, synonyms, and what is refused.

use anyhow::Result;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};

use crate::reference::play::{RESOURCE_BROKER, RESOURCE_TOPIC};
use crate::reference::{Play, Scenario};

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::each_version("describe_configs/topic", ApiKey::DescribeConfigs, topic),
        Scenario::each_version("describe_configs/broker", ApiKey::DescribeConfigs, broker),
        Scenario::each_version("describe_configs/errors", ApiKey::DescribeConfigs, errors),
    ]
}

fn resource(resource_type: i8, name: &str, keys: Option<&[&str]>) -> DescribeConfigsResource {
    DescribeConfigsResource {
        resource_type,
        resource_name: name.to_owned(),
        configuration_keys: keys.map(|keys| keys.iter().map(|key| (*key).to_owned()).collect()),
    }
}

fn of(resources: Vec<DescribeConfigsResource>) -> DescribeConfigsRequest {
    DescribeConfigsRequest { resources, ..Default::default() }
}

fn topic(play: &mut Play) -> Result<()> {
    play.create_topic("t", 1, &[("retention.ms", "3600000"), ("cleanup.policy", "compact,delete")])?;
    let name = play.name("t");
    let all = of(vec![resource(RESOURCE_TOPIC, &name, None)]);
    play.step("all_keys", &all)?;
    play.step("all_keys_with_synonyms", &DescribeConfigsRequest { include_synonyms: true, ..all.clone() })?;
    if play.version >= 3 {
        play.step("all_keys_with_documentation", &DescribeConfigsRequest { include_documentation: true, ..all })?;
    }
    let some = ["retention.ms", "segment.bytes", "no.such.key", "num.partitions"];
    let some = of(vec![resource(RESOURCE_TOPIC, &name, Some(&some))]);
    play.step("some_keys", &DescribeConfigsRequest { include_synonyms: true, ..some })?;
    play.step("no_keys", &of(vec![resource(RESOURCE_TOPIC, &name, Some(&[]))]))?;
    play.step("key_twice", &of(vec![resource(RESOURCE_TOPIC, &name, Some(&["retention.ms", "retention.ms"]))]))?;
    Ok(())
}

fn broker(play: &mut Play) -> Result<()> {
    let keys = [
        "auto.create.topics.enable",
        "compression.type",
        "delete.topic.enable",
        "fetch.max.bytes",
        "log.cleanup.policy",
        "log.message.timestamp.type",
        "log.retention.bytes",
        "log.retention.hours",
        "log.retention.minutes",
        "log.retention.ms",
        "log.roll.ms",
        "log.segment.bytes",
        "message.max.bytes",
        "min.insync.replicas",
        "node.id",
        "num.network.threads",
        "num.partitions",
        "socket.request.max.bytes",
        "no.such.key",
    ];
    let some = of(vec![resource(RESOURCE_BROKER, "1", Some(&keys))]);
    play.step("some_keys", &some)?;
    play.step("some_keys_with_synonyms", &DescribeConfigsRequest { include_synonyms: true, ..some })?;
    play.step("cluster_default", &of(vec![resource(RESOURCE_BROKER, "", Some(&keys))]))?;
    Ok(())
}

fn errors(play: &mut Play) -> Result<()> {
    let missing = play.name("missing");
    play.step("unknown_topic", &of(vec![resource(RESOURCE_TOPIC, &missing, None)]))?;
    play.step("bad_name", &of(vec![resource(RESOURCE_TOPIC, "a/b", None)]))?;
    play.step("empty_name", &of(vec![resource(RESOURCE_TOPIC, "", None)]))?;
    play.step("other_broker", &of(vec![resource(RESOURCE_BROKER, "7", None)]))?;
    play.step("broker_not_a_number", &of(vec![resource(RESOURCE_BROKER, "one", None)]))?;
    for (step, kind) in [("kind_0", 0), ("kind_1", 1), ("kind_3", 3), ("kind_127", 127), ("kind_minus_1", -1)] {
        play.step(step, &of(vec![resource(kind, "1", None)]))?;
    }
    play.step("no_resources", &of(vec![]))?;
    play.create_topic("t", 1, &[])?;
    let key: Option<&[&str]> = Some(&["retention.ms"]);
    let name = play.name("t");
    play.step(
        "one_resource_twice",
        &of(vec![resource(RESOURCE_TOPIC, &name, key), resource(RESOURCE_TOPIC, &name, key)]),
    )?;
    let mixed = vec![resource(RESOURCE_TOPIC, &missing, key), resource(RESOURCE_TOPIC, &name, key)];
    play.step("good_and_unknown", &of(mixed))?;
    Ok(())
}
