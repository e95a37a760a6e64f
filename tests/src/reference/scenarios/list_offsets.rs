//! ListOffsets (2): by time, both ends, the special timestamps, and what is refused.

use anyhow::Result;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};

use super::delete_records_to;
use crate::batch::{BASE_TIMESTAMP, BatchSpec, Codec};
use crate::reference::{Play, Scenario};

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::each_version("list_offsets/all", ApiKey::ListOffsets, all),
        Scenario::each_version("list_offsets/times", ApiKey::ListOffsets, times),
    ]
}

/// Asks for `(partition, leader epoch, timestamp)` of one topic.
pub(super) fn of(name: String, partitions: &[(i32, i32, i64)]) -> ListOffsetsRequest {
    let partition = |&(partition_index, current_leader_epoch, timestamp): &(i32, i32, i64)| ListOffsetsPartition {
        partition_index,
        current_leader_epoch,
        timestamp,
    };
    let topics = vec![ListOffsetsTopic { name, partitions: partitions.iter().map(partition).collect() }];
    ListOffsetsRequest { replica_id: -1, topics, timeout_ms: 10_000, ..Default::default() }
}

fn all(play: &mut Play) -> Result<()> {
    play.create_topic("t", 2, &[])?;
    play.append("t", 0, BatchSpec::of(&["one", "two", "three"]).build())?;
    let later = BatchSpec { base_timestamp: BASE_TIMESTAMP + 1000, ..BatchSpec::of(&["four", "five"]) };
    play.append("t", 0, later.build())?;
    let name = play.name("t");
    for special in -8..=-1 {
        play.step(&format!("special_{}", -special), &of(name.clone(), &[(0, -1, special)]))?;
    }
    play.step("special_of_empty_partition", &of(name.clone(), &[(1, -1, -1)]))?;
    play.step("earliest_of_empty_partition", &of(name.clone(), &[(1, -1, -2)]))?;
    play.step("time_in_empty_partition", &of(name.clone(), &[(1, -1, BASE_TIMESTAMP)]))?;
    if play.version >= 7 {
        play.step("highest_time_of_empty_partition", &of(name.clone(), &[(1, -1, -3)]))?;
    }
    play.step("both_partitions", &of(name.clone(), &[(0, -1, -1), (1, -1, -1)]))?;
    play.step("one_partition_twice", &of(name.clone(), &[(0, -1, -1), (0, -1, -2)]))?;
    play.step("one_partition_twice_and_another", &of(name.clone(), &[(0, -1, -1), (0, -1, -2), (1, -1, -1)]))?;
    play.step("unknown_partition", &of(name.clone(), &[(9, -1, -1), (-1, -1, -1), (0, -1, -1)]))?;
    play.step("unknown_topic", &of(play.name("missing"), &[(0, -1, -1)]))?;
    play.step("bad_name", &of("a/b".to_owned(), &[(0, -1, -1)]))?;
    play.step("no_partitions", &of(name.clone(), &[]))?;
    play.step("no_topics", &ListOffsetsRequest { replica_id: -1, ..Default::default() })?;
    if play.version >= 2 {
        for (step, isolation_level) in [("read_committed", 1), ("isolation_2", 2), ("isolation_minus_1", -1)] {
            play.step(step, &ListOffsetsRequest { isolation_level, ..of(name.clone(), &[(0, -1, -1)]) })?;
        }
    }
    if play.version >= 4 {
        play.step("current_epoch", &of(name.clone(), &[(0, 0, -1)]))?;
        play.step("unknown_epoch", &of(name.clone(), &[(0, 5, -1)]))?;
        play.step("negative_epoch", &of(name.clone(), &[(0, -5, -1)]))?;
    }
    for (step, replica_id) in [("debugging_consumer", -2), ("replica_2", 2), ("replica_1", 1)] {
        play.step(step, &ListOffsetsRequest { replica_id, ..of(name.clone(), &[(0, -1, -1)]) })?;
    }
    Ok(())
}

fn times(play: &mut Play) -> Result<()> {
    play.create_topic("t", 1, &[])?;
    for (delta, codec) in [(0, Codec::None), (1000, Codec::Gzip), (500, Codec::None), (2000, Codec::Lz4)] {
        let batch = BatchSpec { base_timestamp: BASE_TIMESTAMP + delta, codec, ..BatchSpec::of(&["a", "b", "c"]) };
        play.append("t", 0, batch.build())?;
    }
    let name = play.name("t");
    let times = [
        ("zero", -BASE_TIMESTAMP),
        ("before_the_first", -1),
        ("first", 0),
        ("second_record", 1),
        ("last_of_the_first_batch", 2),
        ("between_batches", 3),
        ("inside_a_compressed_batch", 1001),
        ("of_the_batch_out_of_order", 501),
        ("between_again", 1500),
        ("last_record", 2002),
        ("after_the_last", 2003),
    ];
    for (step, delta) in times {
        play.step(step, &of(name.clone(), &[(0, -1, BASE_TIMESTAMP + delta)]))?;
    }
    if play.version >= 7 {
        play.step("highest", &of(name.clone(), &[(0, -1, -3)]))?;
    }
    delete_records_to(play, "t", 0, 4)?;
    play.step("earliest_after_deletion", &of(name.clone(), &[(0, -1, -2)]))?;
    play.step("first_after_deletion", &of(name.clone(), &[(0, -1, BASE_TIMESTAMP)]))?;
    play.step("in_the_cut_batch", &of(name.clone(), &[(0, -1, BASE_TIMESTAMP + 1000)]))?;
    Ok(())
}
