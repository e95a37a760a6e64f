//! CreatePartitions (37): growing a topic, and what is refused.

use anyhow::Result;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::create_partitions::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic,
};

use crate::reference::{Play, Scenario};

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![Scenario::each_version("create_partitions/all", ApiKey::CreatePartitions, all)]
}

fn topic(name: String, count: i32) -> CreatePartitionsTopic {
    CreatePartitionsTopic { name, count, assignments: None }
}

fn grow(topics: Vec<CreatePartitionsTopic>) -> CreatePartitionsRequest {
    CreatePartitionsRequest { topics, timeout_ms: 30_000, validate_only: false }
}

fn assigned(name: String, count: i32, assignments: &[&[i32]]) -> CreatePartitionsTopic {
    let assignment = |ids: &&[i32]| CreatePartitionsAssignment { broker_ids: ids.to_vec() };
    CreatePartitionsTopic { assignments: Some(assignments.iter().map(assignment).collect()), ..topic(name, count) }
}

fn all(play: &mut Play) -> Result<()> {
    play.create_topic("t", 2, &[])?;
    let name = play.name("t");
    play.step("grow", &grow(vec![topic(name.clone(), 3)]))?;
    play.await_topic("t", 3)?;
    let counts = [("same_count", 3), ("fewer", 1), ("none", 0), ("negative", -1)];
    for (step, count) in counts {
        play.step(step, &grow(vec![topic(name.clone(), count)]))?;
    }
    play.step("unknown_topic", &grow(vec![topic(play.name("missing"), 3)]))?;
    play.step("bad_name", &grow(vec![topic("a/b".to_owned(), 3)]))?;
    play.step("no_topics", &grow(vec![]))?;
    play.step("one_topic_twice", &grow(vec![topic(name.clone(), 4), topic(name.clone(), 5)]))?;
    let validate = CreatePartitionsRequest { validate_only: true, ..grow(vec![topic(name.clone(), 4)]) };
    play.step("validate_only", &validate)?;
    play.step("assigned", &grow(vec![assigned(name.clone(), 4, &[&[1]])]))?;
    play.await_topic("t", 4)?;
    let assignments: [(&str, i32, &[&[i32]]); 5] = [
        ("assigned_to_unknown_broker", 5, &[&[7]]),
        ("assigned_too_few", 6, &[&[1]]),
        ("assigned_too_many", 5, &[&[1], &[1]]),
        ("assigned_to_nobody", 5, &[&[]]),
        ("assigned_none", 5, &[]),
    ];
    for (step, count, assignments) in assignments {
        play.step(step, &grow(vec![assigned(name.clone(), count, assignments)]))?;
    }
    let mixed = grow(vec![topic(name.clone(), 6), topic(play.name("missing"), 2)]);
    play.step("one_good_one_bad", &mixed)?;
    play.await_topic("t", 6)?;
    Ok(())
}
