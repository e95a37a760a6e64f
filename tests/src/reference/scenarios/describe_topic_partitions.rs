//! DescribeTopicPartitions (75): by name, all, pages and cursors.

use anyhow::Result;
use ottla_protocol::messages::describe_topic_partitions::{Cursor, DescribeTopicPartitionsRequest, TopicRequest};

use crate::reference::{Play, Scenario};

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![Scenario::once("describe_topic_partitions/all", 0, all)]
}

fn of(names: &[String], limit: i32, cursor: Option<(String, i32)>) -> DescribeTopicPartitionsRequest {
    DescribeTopicPartitionsRequest {
        topics: names.iter().map(|name| TopicRequest { name: name.clone() }).collect(),
        response_partition_limit: limit,
        cursor: cursor.map(|(topic_name, partition_index)| Cursor { topic_name, partition_index }),
    }
}

fn all(play: &mut Play) -> Result<()> {
    play.create_topic("a", 3, &[])?;
    play.create_topic("b", 2, &[])?;
    let (a, b, missing) = (play.name("a"), play.name("b"), play.name("missing"));
    let both = [a.clone(), b.clone()];
    play.step("one_topic", &of(std::slice::from_ref(&a), 2000, None))?;
    play.step("two_topics", &of(&both, 2000, None))?;
    play.step("other_order", &of(&[b.clone(), a.clone()], 2000, None))?;
    play.step("one_topic_twice", &of(&[a.clone(), a.clone()], 2000, None))?;
    play.step("unknown_topic", &of(&[missing.clone(), a.clone()], 2000, None))?;
    play.step("bad_name", &of(&["a/b".to_owned()], 2000, None))?;
    play.step("empty_name", &of(&[String::new()], 2000, None))?;
    play.step("first_page", &of(&both, 2, None))?;
    play.step("second_page", &of(&both, 2, Some((a.clone(), 2))))?;
    play.step("third_page", &of(&both, 2, Some((b.clone(), 1))))?;
    play.step("page_ends_with_topic", &of(&both, 3, None))?;
    play.step("cursor_past_the_topic", &of(&both, 2, Some((a.clone(), 7))))?;
    play.step("cursor_at_topic_not_asked_for", &of(std::slice::from_ref(&b), 2, Some((a.clone(), 1))))?;
    play.step("cursor_at_unknown_topic", &of(&both, 2, Some((missing, 0))))?;
    play.step("cursor_negative", &of(&both, 2, Some((a.clone(), -1))))?;
    play.step("limit_of_none", &of(&both, 0, None))?;
    play.step("limit_negative", &of(&both, -1, None))?;
    play.step("limit_huge", &of(&both, i32::MAX, None))?;
    Ok(())
}
