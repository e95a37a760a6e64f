//! AlterConfigs (33): replaces all overrides of a topic.

use anyhow::Result;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::alter_configs::{AlterConfigsRequest, AlterConfigsResource, AlterableConfig};
use ottla_protocol::messages::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};

use crate::reference::play::{RESOURCE_BROKER, RESOURCE_TOPIC};
use crate::reference::{Play, Scenario};

/// The topic that groups are kept in.
pub(super) const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// Keys and values, in order.
type Configs<'a> = &'a [(&'a str, Option<&'a str>)];

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::each_version("alter_configs/topic", ApiKey::AlterConfigs, topic),
        Scenario::each_version("alter_configs/errors", ApiKey::AlterConfigs, errors),
        Scenario::each_version("alter_configs/internal", ApiKey::AlterConfigs, internal),
    ]
}

fn resource(resource_type: i8, name: &str, configs: &[(&str, Option<&str>)]) -> AlterConfigsResource {
    let config = |&(name, value): &(&str, Option<&str>)| AlterableConfig {
        name: name.to_owned(),
        value: value.map(str::to_owned),
    };
    AlterConfigsResource {
        resource_type,
        resource_name: name.to_owned(),
        configs: configs.iter().map(config).collect(),
    }
}

fn of(resources: Vec<AlterConfigsResource>) -> AlterConfigsRequest {
    AlterConfigsRequest { resources, validate_only: false }
}

/// What the overrides of a topic are, as far as this script changes them.
pub(super) fn describe(name: &str) -> DescribeConfigsRequest {
    let keys = ["retention.ms", "segment.bytes", "cleanup.policy", "max.message.bytes"];
    let resource = DescribeConfigsResource {
        resource_type: RESOURCE_TOPIC,
        resource_name: name.to_owned(),
        configuration_keys: Some(keys.iter().map(|key| (*key).to_owned()).collect()),
    };
    DescribeConfigsRequest { resources: vec![resource], ..Default::default() }
}

fn topic(play: &mut Play) -> Result<()> {
    play.create_topic("t", 1, &[("retention.ms", "3600000")])?;
    let name = play.name("t");
    let set = of(vec![resource(RESOURCE_TOPIC, &name, &[("segment.bytes", Some("2097152"))])]);
    play.step("validate_only", &AlterConfigsRequest { validate_only: true, ..set.clone() })?;
    play.step_at("validate_only:after", 4, &describe(&name))?;
    play.step("replace", &set)?;
    play.await_config(RESOURCE_TOPIC, &name, "segment.bytes", "2097152")?;
    play.step_at("replace:after", 4, &describe(&name))?;
    let two = [("retention.ms", Some("7200000")), ("cleanup.policy", Some("compact"))];
    play.step("two_keys", &of(vec![resource(RESOURCE_TOPIC, &name, &two)]))?;
    play.await_config(RESOURCE_TOPIC, &name, "retention.ms", "7200000")?;
    play.step_at("two_keys:after", 4, &describe(&name))?;
    play.step("remove_all", &of(vec![resource(RESOURCE_TOPIC, &name, &[])]))?;
    play.await_config(RESOURCE_TOPIC, &name, "retention.ms", "604800000")?;
    play.step_at("remove_all:after", 4, &describe(&name))?;
    Ok(())
}

fn errors(play: &mut Play) -> Result<()> {
    play.create_topic("t", 1, &[("retention.ms", "3600000")])?;
    let (name, missing) = (play.name("t"), play.name("missing"));
    let configs: [(&str, Configs<'_>); 6] = [
        ("unknown_key", &[("no.such.key", Some("1"))]),
        ("not_a_number", &[("retention.ms", Some("abc"))]),
        ("too_small", &[("segment.bytes", Some("1"))]),
        ("null", &[("retention.ms", None)]),
        ("good_and_bad", &[("retention.ms", Some("1000")), ("segment.bytes", Some("1"))]),
        ("key_twice", &[("retention.ms", Some("1000")), ("retention.ms", Some("2000"))]),
    ];
    for (step, configs) in configs {
        let request = of(vec![resource(RESOURCE_TOPIC, &name, configs)]);
        play.step(step, &AlterConfigsRequest { validate_only: step == "key_twice", ..request })?;
    }
    play.step_at("after", 4, &describe(&name))?;
    let good: &[(&str, Option<&str>)] = &[("retention.ms", Some("3600000"))];
    play.step("unknown_topic", &of(vec![resource(RESOURCE_TOPIC, &missing, good)]))?;
    play.step("bad_name", &of(vec![resource(RESOURCE_TOPIC, "a/b", good)]))?;
    play.step("empty_name", &of(vec![resource(RESOURCE_TOPIC, "", good)]))?;
    for (step, kind) in [("kind_0", 0), ("kind_1", 1), ("kind_3", 3), ("kind_127", 127)] {
        play.step(step, &of(vec![resource(kind, &name, good)]))?;
    }
    play.step("other_broker", &of(vec![resource(RESOURCE_BROKER, "7", &[("log.retention.ms", Some("1"))])]))?;
    play.step("broker_not_a_number", &of(vec![resource(RESOURCE_BROKER, "x", &[("log.retention.ms", Some("1"))])]))?;
    play.step("no_resources", &of(vec![]))?;
    play.step(
        "one_resource_twice",
        &of(vec![resource(RESOURCE_TOPIC, &name, good), resource(RESOURCE_TOPIC, &name, good)]),
    )?;
    play.step(
        "good_and_unknown",
        &of(vec![resource(RESOURCE_TOPIC, &name, good), resource(RESOURCE_TOPIC, &missing, good)]),
    )?;
    Ok(())
}

/// What groups are kept in; only checked, so that it stays what it is.
fn internal(play: &mut Play) -> Result<()> {
    play.await_coordinator()?;
    let configs: [(&str, Configs<'_>); 2] = [
        ("set_policy", &[("cleanup.policy", Some("delete"))]),
        ("remove_policy", &[("segment.bytes", Some("2097152"))]),
    ];
    for (step, configs) in configs {
        let request = of(vec![resource(RESOURCE_TOPIC, OFFSETS_TOPIC, configs)]);
        play.step(step, &AlterConfigsRequest { validate_only: true, ..request })?;
    }
    Ok(())
}
