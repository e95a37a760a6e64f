//! DeleteRecords (21): bounds, the high watermark, and topics that keep their records.

use anyhow::Result;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};

use super::list_offsets;
use crate::batch::BatchSpec;
use crate::reference::{Play, Scenario};

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![Scenario::each_version("delete_records/all", ApiKey::DeleteRecords, all)]
}

fn of(name: String, partitions: &[(i32, i64)]) -> DeleteRecordsRequest {
    let partition = |&(partition_index, offset): &(i32, i64)| DeleteRecordsPartition { partition_index, offset };
    let topics = vec![DeleteRecordsTopic { name, partitions: partitions.iter().map(partition).collect() }];
    DeleteRecordsRequest { topics, timeout_ms: 10_000 }
}

fn all(play: &mut Play) -> Result<()> {
    play.create_topic("t", 2, &[])?;
    play.append("t", 0, BatchSpec::of(&["one", "two", "three"]).build())?;
    play.append("t", 0, BatchSpec::of(&["four", "five"]).build())?;
    let name = play.name("t");
    let steps: [(&str, &[(i32, i64)]); 10] = [
        ("to_0", &[(0, 0)]),
        ("to_the_middle_of_a_batch", &[(0, 1)]),
        ("lower_than_before", &[(0, 0)]),
        ("to_the_next_batch", &[(0, 3)]),
        ("past_the_end", &[(0, 6)]),
        ("negative", &[(0, -2)]),
        ("unknown_partition", &[(7, 0), (-1, 0)]),
        ("empty_partition", &[(1, 0)]),
        ("empty_partition_past_the_end", &[(1, 1)]),
        ("to_the_high_watermark", &[(0, -1), (1, -1)]),
    ];
    for (step, partitions) in steps {
        play.step(step, &of(name.clone(), partitions))?;
        let earliest = list_offsets::of(name.clone(), &[(0, -1, -2)]);
        play.step_at(&format!("{step}:earliest"), 4, &earliest)?;
    }
    play.step("one_partition_twice", &of(name.clone(), &[(0, 5), (0, 5)]))?;
    play.step("unknown_topic", &of(play.name("missing"), &[(0, 0)]))?;
    play.step("bad_name", &of("a/b".to_owned(), &[(0, 0)]))?;
    play.step("no_topics", &DeleteRecordsRequest::default())?;
    play.create_topic("compacted", 1, &[("cleanup.policy", "compact")])?;
    play.step("compacted_topic", &of(play.name("compacted"), &[(0, 0)]))?;
    play.create_topic("both", 1, &[("cleanup.policy", "compact,delete")])?;
    play.step("compacted_and_deleted_topic", &of(play.name("both"), &[(0, 0)]))?;
    Ok(())
}
