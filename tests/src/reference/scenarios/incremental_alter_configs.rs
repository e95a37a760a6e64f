//! IncrementalAlterConfigs (44): SET, DELETE, APPEND and SUBTRACT on topics and the broker.

use anyhow::Result;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};

use super::alter_configs::{OFFSETS_TOPIC, describe};
use crate::reference::play::{RESOURCE_BROKER, RESOURCE_TOPIC};
use crate::reference::{Play, Scenario};

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// Keys, operations and values, in order.
type Configs<'a> = &'a [(&'a str, i8, Option<&'a str>)];

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::each_version("incremental_alter_configs/topic", ApiKey::IncrementalAlterConfigs, topic),
        Scenario::each_version("incremental_alter_configs/broker", ApiKey::IncrementalAlterConfigs, broker),
        Scenario::each_version("incremental_alter_configs/errors", ApiKey::IncrementalAlterConfigs, errors),
        Scenario::each_version("incremental_alter_configs/internal", ApiKey::IncrementalAlterConfigs, internal),
    ]
}

fn resource(resource_type: i8, name: &str, configs: &[(&str, i8, Option<&str>)]) -> AlterConfigsResource {
    let config = |&(name, config_operation, value): &(&str, i8, Option<&str>)| AlterableConfig {
        name: name.to_owned(),
        config_operation,
        value: value.map(str::to_owned),
    };
    AlterConfigsResource {
        resource_type,
        resource_name: name.to_owned(),
        configs: configs.iter().map(config).collect(),
    }
}

fn of(resources: Vec<AlterConfigsResource>) -> IncrementalAlterConfigsRequest {
    IncrementalAlterConfigsRequest { resources, validate_only: false }
}

fn topic(play: &mut Play) -> Result<()> {
    play.create_topic("t", 1, &[("retention.ms", "3600000")])?;
    let name = play.name("t");
    type Change<'a> = (&'a str, Configs<'a>, (&'a str, &'a str));
    let changes: [Change<'_>; 10] = [
        ("set", &[("retention.ms", SET, Some("1000000"))], ("retention.ms", "1000000")),
        ("set_another", &[("segment.bytes", SET, Some("2097152"))], ("segment.bytes", "2097152")),
        ("append", &[("cleanup.policy", APPEND, Some("compact"))], ("cleanup.policy", "delete,compact")),
        ("append_again", &[("cleanup.policy", APPEND, Some("compact"))], ("cleanup.policy", "delete,compact")),
        ("subtract", &[("cleanup.policy", SUBTRACT, Some("delete"))], ("cleanup.policy", "compact")),
        ("subtract_missing", &[("cleanup.policy", SUBTRACT, Some("delete"))], ("cleanup.policy", "compact")),
        ("delete", &[("retention.ms", DELETE, None)], ("retention.ms", "604800000")),
        ("delete_missing", &[("retention.ms", DELETE, None)], ("retention.ms", "604800000")),
        ("delete_with_value", &[("segment.bytes", DELETE, Some("5"))], ("segment.bytes", "1073741824")),
        (
            "two_keys",
            &[("retention.ms", SET, Some("5000000")), ("cleanup.policy", DELETE, None)],
            ("retention.ms", "5000000"),
        ),
    ];
    for (step, configs, (key, value)) in changes {
        play.step(step, &of(vec![resource(RESOURCE_TOPIC, &name, configs)]))?;
        play.await_config(RESOURCE_TOPIC, &name, key, value)?;
        play.step_at(&format!("{step}:after"), 4, &describe(&name))?;
    }
    let set = of(vec![resource(RESOURCE_TOPIC, &name, &[("retention.ms", SET, Some("1"))])]);
    play.step("validate_only", &IncrementalAlterConfigsRequest { validate_only: true, ..set })?;
    play.step_at("validate_only:after", 4, &describe(&name))?;
    Ok(())
}

fn broker(play: &mut Play) -> Result<()> {
    let set = |value: &str| of(vec![resource(RESOURCE_BROKER, "1", &[("log.retention.ms", SET, Some(value))])]);
    play.step("set", &set("7200000"))?;
    play.await_config(RESOURCE_BROKER, "1", "log.retention.ms", "7200000")?;
    let delete = of(vec![resource(RESOURCE_BROKER, "1", &[("log.retention.ms", DELETE, None)])]);
    play.step("delete", &delete)?;
    play.step("set_for_all", &of(vec![resource(RESOURCE_BROKER, "", &[("log.retention.ms", SET, Some("7300000"))])]))?;
    play.await_config(RESOURCE_BROKER, "1", "log.retention.ms", "7300000")?;
    play.step("delete_for_all", &of(vec![resource(RESOURCE_BROKER, "", &[("log.retention.ms", DELETE, None)])]))?;
    play.step("not_dynamic", &of(vec![resource(RESOURCE_BROKER, "1", &[("node.id", SET, Some("5"))])]))?;
    play.step("bad_value", &set("abc"))?;
    play.step("unknown_key", &of(vec![resource(RESOURCE_BROKER, "1", &[("no.such.key", SET, Some("5"))])]))?;
    play.step("other_broker", &of(vec![resource(RESOURCE_BROKER, "7", &[("log.retention.ms", SET, Some("5"))])]))?;
    Ok(())
}

fn errors(play: &mut Play) -> Result<()> {
    play.create_topic("t", 1, &[("retention.ms", "3600000")])?;
    let (name, missing) = (play.name("t"), play.name("missing"));
    let configs: [(&str, Configs<'_>); 14] = [
        ("unknown_key", &[("no.such.key", SET, Some("1"))]),
        ("delete_unknown_key", &[("no.such.key", DELETE, None)]),
        ("not_a_number", &[("retention.ms", SET, Some("abc"))]),
        ("too_small", &[("segment.bytes", SET, Some("1"))]),
        ("set_null", &[("retention.ms", SET, None)]),
        ("append_null", &[("cleanup.policy", APPEND, None)]),
        ("subtract_null", &[("cleanup.policy", SUBTRACT, None)]),
        ("append_to_no_list", &[("retention.ms", APPEND, Some("1"))]),
        ("subtract_from_no_list", &[("retention.ms", SUBTRACT, Some("1"))]),
        ("append_bad_item", &[("cleanup.policy", APPEND, Some("burn"))]),
        ("operation_4", &[("retention.ms", 4, Some("1"))]),
        ("operation_minus_1", &[("retention.ms", -1, Some("1"))]),
        ("key_twice", &[("retention.ms", SET, Some("1000")), ("retention.ms", SET, Some("2000"))]),
        ("good_and_bad", &[("retention.ms", SET, Some("1000")), ("segment.bytes", SET, Some("1"))]),
    ];
    for (step, configs) in configs {
        play.step(step, &of(vec![resource(RESOURCE_TOPIC, &name, configs)]))?;
    }
    play.step_at("after", 4, &describe(&name))?;
    let good: &[(&str, i8, Option<&str>)] = &[("retention.ms", SET, Some("3600000"))];
    play.step("unknown_topic", &of(vec![resource(RESOURCE_TOPIC, &missing, good)]))?;
    play.step("bad_name", &of(vec![resource(RESOURCE_TOPIC, "a/b", good)]))?;
    play.step("empty_name", &of(vec![resource(RESOURCE_TOPIC, "", good)]))?;
    for (step, kind) in [("kind_0", 0), ("kind_1", 1), ("kind_3", 3), ("kind_127", 127)] {
        play.step(step, &of(vec![resource(kind, &name, good)]))?;
    }
    play.step("no_resources", &of(vec![]))?;
    play.step("no_configs", &of(vec![resource(RESOURCE_TOPIC, &name, &[])]))?;
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
    let configs: [(&str, Configs<'_>); 6] = [
        ("other_key", &[("segment.bytes", SET, Some("2097152"))]),
        ("policy_as_it_is", &[("cleanup.policy", SET, Some("compact"))]),
        ("set_policy", &[("cleanup.policy", SET, Some("delete"))]),
        ("append_policy", &[("cleanup.policy", APPEND, Some("delete"))]),
        ("subtract_policy", &[("cleanup.policy", SUBTRACT, Some("compact"))]),
        ("delete_policy", &[("cleanup.policy", DELETE, None)]),
    ];
    for (step, configs) in configs {
        let request = of(vec![resource(RESOURCE_TOPIC, OFFSETS_TOPIC, configs)]);
        play.step(step, &IncrementalAlterConfigsRequest { validate_only: true, ..request })?;
    }
    Ok(())
}
