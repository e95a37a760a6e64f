//! DescribeConfigs (32), AlterConfigs (33) and IncrementalAlterConfigs (44) of groups: the keys of single groups of the consumer
//! protocol (KIP-848), and what a group does with them.

use anyhow::Result;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::alter_configs::{self, AlterConfigsRequest};
use ottla_protocol::messages::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
use ottla_protocol::messages::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use ottla_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};

use crate::reference::play::RESOURCE_GROUP;
use crate::reference::{Play, Scenario};

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;

const SESSION: &str = "consumer.session.timeout.ms";
const HEARTBEAT: &str = "consumer.heartbeat.interval.ms";
const ASSIGNMENT: &str = "consumer.assignment.interval.ms";

/// Keys, operations and values, in order.
type Configs<'a> = &'a [(&'a str, i8, Option<&'a str>)];

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::each_version("group_configs/describe", ApiKey::DescribeConfigs, describes),
        Scenario::each_version("group_configs/alter", ApiKey::IncrementalAlterConfigs, alters),
        Scenario::once("group_configs/replace", 2, replaces),
        Scenario::each_version("group_configs/errors", ApiKey::IncrementalAlterConfigs, errors),
        Scenario::once("group_configs/heartbeat", 1, heartbeats),
    ]
}

fn resource(group: &str, configs: Configs<'_>) -> AlterConfigsResource {
    let config = |&(name, config_operation, value): &(&str, i8, Option<&str>)| AlterableConfig {
        name: name.to_owned(),
        config_operation,
        value: value.map(str::to_owned),
    };
    AlterConfigsResource {
        resource_type: RESOURCE_GROUP,
        resource_name: group.to_owned(),
        configs: configs.iter().map(config).collect(),
    }
}

fn alter(group: &str, configs: Configs<'_>) -> IncrementalAlterConfigsRequest {
    IncrementalAlterConfigsRequest { resources: vec![resource(group, configs)], validate_only: false }
}

/// The keys of groups of the consumer protocol.
fn describe(group: &str) -> DescribeConfigsRequest {
    let keys = [SESSION, HEARTBEAT, ASSIGNMENT, "no.such.key"];
    let resource = DescribeConfigsResource {
        resource_type: RESOURCE_GROUP,
        resource_name: group.to_owned(),
        configuration_keys: Some(keys.map(str::to_owned).to_vec()),
    };
    DescribeConfigsRequest { resources: vec![resource], include_synonyms: true, ..Default::default() }
}

fn describes(play: &mut Play) -> Result<()> {
    let group = play.name("g");
    play.step("never_heard_of", &describe(&group))?;
    play.step("without_synonyms", &DescribeConfigsRequest { include_synonyms: false, ..describe(&group) })?;
    play.step("empty_name", &describe(""))?;
    let change = alter(&group, &[(SESSION, SET, Some("50000")), (HEARTBEAT, SET, Some("7000"))]);
    play.ask(1, &change)?;
    play.await_config(RESOURCE_GROUP, &group, SESSION, "50000")?;
    play.step("altered", &describe(&group))?;
    play.ask(1, &alter(&group, &[(SESSION, DELETE, None), (HEARTBEAT, DELETE, None)]))?;
    play.await_config(RESOURCE_GROUP, &group, SESSION, "45000")?;
    play.step("back", &describe(&group))?;
    Ok(())
}

fn alters(play: &mut Play) -> Result<()> {
    let group = play.name("g");
    let changes: [(&str, Configs<'_>, (&str, &str)); 5] = [
        ("set", &[(SESSION, SET, Some("50000"))], (SESSION, "50000")),
        ("set_others", &[(HEARTBEAT, SET, Some("6000")), (ASSIGNMENT, SET, Some("2000"))], (HEARTBEAT, "6000")),
        ("delete", &[(SESSION, DELETE, None)], (SESSION, "45000")),
        ("delete_missing", &[(SESSION, DELETE, None)], (SESSION, "45000")),
        ("delete_others", &[(HEARTBEAT, DELETE, None), (ASSIGNMENT, DELETE, Some("5"))], (HEARTBEAT, "5000")),
    ];
    for (step, configs, (key, value)) in changes {
        play.step(step, &alter(&group, configs))?;
        play.await_config(RESOURCE_GROUP, &group, key, value)?;
        play.step_at(&format!("{step}:after"), 4, &describe(&group))?;
    }
    let set = alter(&group, &[(SESSION, SET, Some("50000"))]);
    play.step("validate_only", &IncrementalAlterConfigsRequest { validate_only: true, ..set })?;
    play.step_at("validate_only:after", 4, &describe(&group))?;
    Ok(())
}

/// AlterConfigs, which takes every other value away.
fn replaces(play: &mut Play) -> Result<()> {
    let group = play.name("g");
    let replace = |values: &[(&str, &str)]| {
        let config = |&(name, value): &(&str, &str)| alter_configs::AlterableConfig {
            name: name.to_owned(),
            value: Some(value.to_owned()),
        };
        let resource = alter_configs::AlterConfigsResource {
            resource_type: RESOURCE_GROUP,
            resource_name: group.clone(),
            configs: values.iter().map(config).collect(),
        };
        AlterConfigsRequest { resources: vec![resource], validate_only: false }
    };
    for (step, values, (key, value)) in [
        ("two", &[(SESSION, "46000"), (HEARTBEAT, "6000")][..], (SESSION, "46000")),
        ("another", &[(ASSIGNMENT, "3000")][..], (ASSIGNMENT, "3000")),
        ("none", &[][..], (ASSIGNMENT, "0")),
        ("bad", &[(SESSION, "1")][..], (ASSIGNMENT, "0")),
    ] {
        play.step(step, &replace(values))?;
        play.await_config(RESOURCE_GROUP, &group, key, value)?;
        play.step_at(&format!("{step}:after"), 4, &describe(&group))?;
    }
    Ok(())
}

fn errors(play: &mut Play) -> Result<()> {
    let group = play.name("g");
    let configs: [(&str, Configs<'_>); 17] = [
        ("unknown_key", &[("no.such.key", SET, Some("1"))]),
        ("key_of_a_broker", &[("group.consumer.session.timeout.ms", SET, Some("50000"))]),
        ("delete_unknown_key", &[("no.such.key", DELETE, None)]),
        ("not_a_number", &[(SESSION, SET, Some("abc"))]),
        ("session_below_the_broker's_least", &[(SESSION, SET, Some("44999"))]),
        ("session_above_the_broker's_most", &[(SESSION, SET, Some("60001"))]),
        ("session_of_nothing", &[(SESSION, SET, Some("0"))]),
        ("heartbeat_below_the_broker's_least", &[(HEARTBEAT, SET, Some("4999"))]),
        ("heartbeat_above_the_broker's_most", &[(HEARTBEAT, SET, Some("15001"))]),
        ("assignment_above_the_broker's_most", &[(ASSIGNMENT, SET, Some("15001"))]),
        ("assignment_below_zero", &[(ASSIGNMENT, SET, Some("-1"))]),
        ("set_null", &[(SESSION, SET, None)]),
        ("append", &[(SESSION, APPEND, Some("50000"))]),
        ("operation_4", &[(SESSION, 4, Some("50000"))]),
        ("key_twice", &[(SESSION, SET, Some("50000")), (SESSION, SET, Some("51000"))]),
        ("good_and_bad", &[(SESSION, SET, Some("50000")), (HEARTBEAT, SET, Some("1"))]),
        ("no_configs", &[]),
    ];
    for (step, configs) in configs {
        play.step(step, &alter(&group, configs))?;
    }
    play.step_at("after", 4, &describe(&group))?;
    let good: Configs<'_> = &[(SESSION, SET, Some("50000"))];
    play.step("empty_name", &alter("", good))?;
    let twice = vec![resource(&group, good), resource(&group, good)];
    play.step("one_resource_twice", &IncrementalAlterConfigsRequest { resources: twice, validate_only: false })?;
    Ok(())
}

/// What members are told follows at the next heartbeat.
fn heartbeats(play: &mut Play) -> Result<()> {
    play.create_topic("t", 1, &[])?;
    play.await_coordinator()?;
    let group = play.name("g");
    let enter = ConsumerGroupHeartbeatRequest {
        group_id: group.clone(),
        member_id: "m".to_owned(),
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(vec![play.name("t")]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    };
    let beat = |epoch: i32| ConsumerGroupHeartbeatRequest {
        group_id: group.clone(),
        member_id: "m".to_owned(),
        member_epoch: epoch,
        ..Default::default()
    };
    let epoch = play.step("enter", &enter)?.map_or(0, |answer| answer.member_epoch);
    play.ask(1, &alter(&group, &[(HEARTBEAT, SET, Some("9000"))]))?;
    play.await_config(RESOURCE_GROUP, &group, HEARTBEAT, "9000")?;
    play.step("told_another_interval", &beat(epoch))?;
    play.ask(1, &alter(&group, &[(HEARTBEAT, DELETE, None)]))?;
    play.await_config(RESOURCE_GROUP, &group, HEARTBEAT, "5000")?;
    play.step("and_the_broker's_again", &beat(epoch))?;
    play.step("leave", &beat(-1))?;
    Ok(())
}
