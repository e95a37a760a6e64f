//! OffsetForLeaderEpoch (23): where epochs end, and epochs that are not there.

use anyhow::Result;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};

use crate::batch::BatchSpec;
use crate::reference::{Play, Scenario};

/// Partitions, current leader epochs and the epochs asked for, in order.
type Epochs<'a> = &'a [(i32, i32, i32)];

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![Scenario::each_version("offset_for_leader_epoch/all", ApiKey::OffsetForLeaderEpoch, all)]
}

fn of(topic: String, partitions: &[(i32, i32, i32)]) -> OffsetForLeaderEpochRequest {
    let partition = |&(partition, current_leader_epoch, leader_epoch): &(i32, i32, i32)| OffsetForLeaderPartition {
        partition,
        current_leader_epoch,
        leader_epoch,
    };
    let topics = vec![OffsetForLeaderTopic { topic, partitions: partitions.iter().map(partition).collect() }];
    OffsetForLeaderEpochRequest { replica_id: -1, topics }
}

fn all(play: &mut Play) -> Result<()> {
    play.create_topic("t", 2, &[])?;
    play.append("t", 0, BatchSpec::of(&["one", "two", "three"]).build())?;
    let name = play.name("t");
    let steps: [(&str, Epochs<'_>); 10] = [
        ("current", &[(0, -1, 0)]),
        ("current_and_fresh", &[(0, 0, 0)]),
        ("empty_partition", &[(1, -1, 0)]),
        ("later_epoch", &[(0, -1, 5)]),
        ("no_epoch", &[(0, -1, -1)]),
        ("negative_epoch", &[(0, -1, -7)]),
        ("unknown_leader_epoch", &[(0, 5, 0)]),
        ("negative_leader_epoch", &[(0, -7, 0)]),
        ("unknown_partition", &[(9, -1, 0), (-1, -1, 0), (0, -1, 0)]),
        ("one_partition_twice", &[(0, -1, 0), (0, -1, 0)]),
    ];
    for (step, partitions) in steps {
        play.step(step, &of(name.clone(), partitions))?;
    }
    play.step("unknown_topic", &of(play.name("missing"), &[(0, -1, 0)]))?;
    play.step("bad_name", &of("a/b".to_owned(), &[(0, -1, 0)]))?;
    play.step("no_partitions", &of(name.clone(), &[]))?;
    play.step("no_topics", &OffsetForLeaderEpochRequest { replica_id: -1, topics: Vec::new() })?;
    if play.version >= 3 {
        play.step("from_a_replica", &OffsetForLeaderEpochRequest { replica_id: 2, ..of(name, &[(0, -1, 0)]) })?;
    }
    Ok(())
}
