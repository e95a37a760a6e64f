//! DescribeLogDirs (35): sizes of partitions.

use anyhow::Result;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::describe_log_dirs::{DescribableLogDirTopic, DescribeLogDirsRequest};

use crate::batch::BatchSpec;
use crate::reference::{Play, Scenario};

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![Scenario::each_version("describe_log_dirs/all", ApiKey::DescribeLogDirs, all)]
}

fn all(play: &mut Play) -> Result<()> {
    play.create_topic("t", 2, &[])?;
    play.append("t", 1, BatchSpec::of(&["one", "two"]).build())?;
    let of = |topics: &[(String, &[i32])]| DescribeLogDirsRequest {
        topics: Some(
            topics
                .iter()
                .map(|(topic, partitions)| DescribableLogDirTopic {
                    topic: topic.clone(),
                    partitions: partitions.to_vec(),
                })
                .collect(),
        ),
    };
    let name = play.name("t");
    play.step("both_partitions", &of(&[(name.clone(), &[0, 1])]))?;
    play.step("one_partition", &of(&[(name.clone(), &[1])]))?;
    play.step("unknown_partition", &of(&[(name.clone(), &[7, -1])]))?;
    play.step("no_partitions", &of(&[(name.clone(), &[])]))?;
    play.step("unknown_topic", &of(&[(play.name("missing"), &[0])]))?;
    play.step("bad_name", &of(&[("a/b".to_owned(), &[0])]))?;
    play.step("no_topics", &of(&[]))?;
    Ok(())
}
