//! Fetch (1) without sessions: positions, limits, waiting, epochs, and what is not there.

use std::time::Duration;

use anyhow::Result;
use ottla_protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic, ReplicaState};
use ottla_protocol::{ApiKey, Uuid};

use super::delete_records_to;
use crate::batch::{BatchSpec, Codec, RecordSpec};
use crate::reference::{Play, Scenario};

/// Waits in this script are this long.
const WAIT: Duration = Duration::from_millis(200);

/// Partitions and offsets, in order.
type Positions<'a> = &'a [(i32, i64)];

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::each_version("fetch/positions", ApiKey::Fetch, positions),
        Scenario::each_version("fetch/zstd", ApiKey::Fetch, zstd),
        Scenario::each_version("fetch/limits", ApiKey::Fetch, limits),
        Scenario::each_version("fetch/errors", ApiKey::Fetch, errors),
        Scenario::each_version("fetch/waiting", ApiKey::Fetch, waiting),
    ]
}

/// A partition to be read from `fetch_offset` on.
pub(super) fn partition(partition: i32, fetch_offset: i64) -> FetchPartition {
    FetchPartition { partition, fetch_offset, partition_max_bytes: 1 << 20, ..Default::default() }
}

/// A request that waits for nothing.
pub(super) fn of_topics(topics: Vec<FetchTopic>) -> FetchRequest {
    FetchRequest { max_wait_ms: 0, min_bytes: 1, max_bytes: 50 << 20, topics, ..Default::default() }
}

/// One topic of a request.
pub(super) fn topic(name: &str, topic_id: Uuid, partitions: Vec<FetchPartition>) -> FetchTopic {
    FetchTopic { topic: name.to_owned(), topic_id, partitions }
}

/// A request for one partition.
pub(super) fn of(name: &str, topic_id: Uuid, index: i32, fetch_offset: i64) -> FetchRequest {
    of_topics(vec![topic(name, topic_id, vec![partition(index, fetch_offset)])])
}

/// A topic of two partitions: offsets 0-2, 3, 4-6 (gzip) and 0.
fn filled(play: &mut Play) -> Result<(String, Uuid)> {
    let id = play.create_topic("t", 2, &[])?;
    play.append("t", 0, BatchSpec::of(&["one", "two", "three"]).build())?;
    play.append("t", 0, BatchSpec::of(&["four"]).build())?;
    play.append("t", 0, BatchSpec { codec: Codec::Gzip, ..BatchSpec::of(&["five", "six", "seven"]) }.build())?;
    play.append("t", 1, BatchSpec::of(&["other"]).build())?;
    Ok((play.name("t"), id))
}

fn positions(play: &mut Play) -> Result<()> {
    let (name, id) = filled(play)?;
    for offset in 0..=7 {
        play.step(&format!("from_{offset}"), &of(&name, id, 0, offset))?;
    }
    for (step, offset) in [("past_the_end", 8), ("minus_1", -1), ("minus_5", -5), ("max", i64::MAX), ("min", i64::MIN)]
    {
        play.step(step, &of(&name, id, 0, offset))?;
    }
    let both = of_topics(vec![topic(&name, id, vec![partition(0, 3), partition(1, 0)])]);
    play.step("two_partitions", &both)?;
    play.step("read_committed", &FetchRequest { isolation_level: 1, ..of(&name, id, 0, 3) })?;
    play.step("isolation_2", &FetchRequest { isolation_level: 2, ..of(&name, id, 0, 3) })?;
    delete_records_to(play, "t", 0, 1)?;
    play.step("deleted", &of(&name, id, 0, 0))?;
    play.step("after_deletion_inside_the_batch", &of(&name, id, 0, 1))?;
    delete_records_to(play, "t", 0, 7)?;
    play.step("all_deleted", &of(&name, id, 0, 7))?;
    play.step("all_deleted_from_6", &of(&name, id, 0, 6))?;
    Ok(())
}

fn zstd(play: &mut Play) -> Result<()> {
    let batch = BatchSpec { codec: Codec::Zstd, ..BatchSpec::of(&["one", "two"]) };
    let id = play.create_topic("any", 1, &[])?;
    play.append("any", 0, batch.build())?;
    play.step("in_a_topic_of_any_codec", &of(&play.name("any"), id, 0, 0))?;
    let id = play.create_topic("zstd", 1, &[("compression.type", "zstd")])?;
    play.append("zstd", 0, batch.build())?;
    play.step("in_a_topic_of_zstd", &of(&play.name("zstd"), id, 0, 0))?;
    Ok(())
}

fn limits(play: &mut Play) -> Result<()> {
    let (name, id) = filled(play)?;
    let large = BatchSpec { records: vec![RecordSpec::value(vec![b'x'; 3000])], ..Default::default() };
    play.append("t", 0, large.build())?;
    let limited = |max_bytes, partition_max_bytes, partitions: &[(i32, i64)]| {
        let partitions = partitions
            .iter()
            .map(|&(index, offset)| FetchPartition { partition_max_bytes, ..partition(index, offset) })
            .collect();
        FetchRequest { max_bytes, ..of_topics(vec![topic(&name, id, partitions)]) }
    };
    const PLENTY: i32 = 1 << 20;
    let both = [(0, 0), (1, 0)];
    let steps: [(&str, i32, i32, Positions<'_>); 16] = [
        ("partition_1_byte", PLENTY, 1, &[(0, 0)]),
        ("partition_0_bytes", PLENTY, 0, &[(0, 0)]),
        ("partition_negative_bytes", PLENTY, -1, &[(0, 0)]),
        ("partition_one_batch_and_some", PLENTY, 100, &[(0, 0)]),
        ("partition_100_bytes_from_the_middle", PLENTY, 100, &[(0, 1)]),
        ("partition_200_bytes", PLENTY, 200, &[(0, 0)]),
        ("partition_max", PLENTY, i32::MAX, &[(0, 0)]),
        ("request_1_byte", 1, PLENTY, &[(0, 0)]),
        ("request_0_bytes", 0, PLENTY, &[(0, 0)]),
        ("request_negative_bytes", -1, PLENTY, &[(0, 0)]),
        ("request_1_byte_two_partitions", 1, PLENTY, &both),
        ("request_100_bytes_two_partitions", 100, PLENTY, &both),
        ("partition_1_byte_two_partitions", PLENTY, 1, &both),
        ("empty_first_partition", 1, PLENTY, &[(0, 8), (1, 0)]),
        ("large_batch_small_limit", 10, 10, &[(0, 7)]),
        ("request_max", i32::MAX, i32::MAX, &both),
    ];
    for (step, max_bytes, partition_max_bytes, partitions) in steps {
        play.step(step, &limited(max_bytes, partition_max_bytes, partitions))?;
    }
    Ok(())
}

fn errors(play: &mut Play) -> Result<()> {
    let (name, id) = filled(play)?;
    let missing = play.name("missing");
    play.step("unknown_partition", &of(&name, id, 9, 0))?;
    play.step("negative_partition", &of(&name, id, -1, 0))?;
    play.step("unknown_topic", &of(&missing, Uuid([9; 16]), 0, 0))?;
    play.step("no_id", &of("", Uuid::ZERO, 0, 0))?;
    if play.version < 13 {
        play.step("bad_name", &of("a/b", Uuid::ZERO, 0, 0))?;
    }
    let mixed = of_topics(vec![
        topic(&name, id, vec![partition(0, 3), partition(5, 0)]),
        topic(&missing, Uuid([9; 16]), vec![partition(0, 0)]),
    ]);
    play.step("good_and_unknown", &mixed)?;
    play.timed_step(
        "good_and_unknown_and_too_few_bytes",
        WAIT,
        &FetchRequest { max_wait_ms: 200, min_bytes: 10_000, ..mixed },
    )?;
    play.step("no_topics", &of_topics(vec![]))?;
    play.step("no_partitions", &of_topics(vec![topic(&name, id, vec![])]))?;
    let twice = of_topics(vec![topic(&name, id, vec![partition(1, 0), partition(1, 0)])]);
    play.step("one_partition_twice", &twice)?;
    let twice = of_topics(vec![topic(&name, id, vec![partition(1, 0)]), topic(&name, id, vec![partition(1, 0)])]);
    play.step("one_topic_twice", &twice)?;
    let one = |change: &dyn Fn(&mut FetchPartition)| {
        let mut wanted = partition(0, 3);
        change(&mut wanted);
        of_topics(vec![topic(&name, id, vec![wanted])])
    };
    if play.version >= 9 {
        play.step("current_epoch", &one(&|wanted| wanted.current_leader_epoch = 0))?;
        play.step("unknown_epoch", &one(&|wanted| wanted.current_leader_epoch = 5))?;
        play.step("negative_epoch", &one(&|wanted| wanted.current_leader_epoch = -5))?;
    }
    if play.version >= 12 {
        play.step("last_fetched_epoch", &one(&|wanted| wanted.last_fetched_epoch = 0))?;
        play.step(
            "last_fetched_epoch_past_the_end",
            &one(&|wanted| {
                wanted.last_fetched_epoch = 0;
                wanted.fetch_offset = 100;
            }),
        )?;
        play.step("last_fetched_epoch_unknown", &one(&|wanted| wanted.last_fetched_epoch = 5))?;
        play.step("cluster_id", &FetchRequest { cluster_id: Some("other".to_owned()), ..one(&|_| {}) })?;
    }
    play.step("log_start_offset", &one(&|wanted| wanted.log_start_offset = 2))?;
    for (step, replica_id) in [("replica_2", 2), ("replica_1", 1), ("debugging_consumer", -2)] {
        let mut request = one(&|_| {});
        if play.version >= 15 {
            request.replica_state = ReplicaState { replica_id, replica_epoch: 1 };
        } else {
            request.replica_id = replica_id;
        }
        play.step(step, &request)?;
    }
    if play.version >= 11 {
        play.step("rack", &FetchRequest { rack_id: "somewhere".to_owned(), ..one(&|_| {}) })?;
    }
    Ok(())
}

fn waiting(play: &mut Play) -> Result<()> {
    let (name, id) = filled(play)?;
    let waiting = |offset, min_bytes| FetchRequest { max_wait_ms: 200, min_bytes, ..of(&name, id, 0, offset) };
    play.timed_step("at_the_end", WAIT, &waiting(7, 1))?;
    play.timed_step("enough", WAIT, &waiting(0, 1))?;
    play.timed_step("too_few_bytes", WAIT, &waiting(0, 100_000))?;
    play.timed_step("min_bytes_0", WAIT, &waiting(7, 0))?;
    play.timed_step("min_bytes_negative", WAIT, &waiting(7, -1))?;
    play.timed_step("min_bytes_max", WAIT, &waiting(0, i32::MAX))?;
    play.timed_step("no_wait", WAIT, &FetchRequest { max_wait_ms: 0, ..waiting(7, 1) })?;
    play.timed_step("negative_wait", WAIT, &FetchRequest { max_wait_ms: -1, ..waiting(7, 1) })?;
    play.timed_step("nothing_to_wait_for", WAIT, &FetchRequest { topics: vec![], ..waiting(0, 1) })?;
    Ok(())
}
