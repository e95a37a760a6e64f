//! From numbers and positions as people give them to partitions and their offsets.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use ottla_client::{Admin, Error, IsolationLevel, OffsetSpec, TopicMetadata, TopicPartition};

use crate::output::plural;
use crate::start_position::StartPosition;

/// The partitions of a topic with these numbers; without any, all of them.
pub(crate) fn chosen_partitions<'a>(
    topic: &TopicMetadata,
    numbers: impl IntoIterator<Item = &'a i32>,
) -> Result<BTreeSet<TopicPartition>> {
    let at = |partition: i32| TopicPartition::new(topic.name.clone(), partition);
    let all: BTreeSet<TopicPartition> = topic.partitions.iter().map(|one| at(one.partition)).collect();
    let chosen: BTreeSet<TopicPartition> = numbers.into_iter().map(|number| at(*number)).collect();
    match chosen.difference(&all).next() {
        Some(unknown) => {
            let count = plural(all.len() as i64, "partition");
            bail!("{unknown} does not exist: the topic has {count}, numbered from 0")
        }
        None => Ok(if chosen.is_empty() { all } else { chosen }),
    }
}

/// The offset of a position in each partition, perhaps outside of its log.
pub(crate) async fn at_position(
    admin: &Admin,
    partitions: BTreeSet<TopicPartition>,
    position: StartPosition,
) -> Result<BTreeMap<TopicPartition, i64>> {
    let (spec, last) = match position {
        StartPosition::Beginning => (OffsetSpec::Earliest, 0),
        StartPosition::Last(count) => (OffsetSpec::Latest, count),
        StartPosition::Timestamp(time) => (OffsetSpec::Timestamp(time), 0),
        StartPosition::Offset(offset) => return Ok(partitions.into_iter().map(|at| (at, offset)).collect()),
        StartPosition::End => (OffsetSpec::Latest, 0),
    };
    let listed = list(admin, partitions, spec).await?;
    // Where no record is as late as the time, there is no offset: the end is meant.
    let offset = |found: i64| if found < 0 { i64::MAX } else { found.saturating_sub(last) };
    Ok(listed.into_iter().map(|(at, found)| (at, offset(found))).collect())
}

/// The same offsets, moved to the start or end of the log where they lie outside of it; an offset that was asked for as such is told
/// of on stderr.
pub(crate) async fn within_logs(
    admin: &Admin,
    wanted: BTreeMap<TopicPartition, i64>,
) -> Result<BTreeMap<TopicPartition, i64>> {
    let partitions: BTreeSet<TopicPartition> = wanted.keys().cloned().collect();
    let starts = list(admin, partitions.clone(), OffsetSpec::Earliest).await?;
    let ends = list(admin, partitions, OffsetSpec::Latest).await?;
    let within = |(at, offset): (TopicPartition, i64)| {
        let (start, end) = (starts.get(&at).copied()?, ends.get(&at).copied()?);
        let moved = offset.clamp(start, end.max(start));
        if moved != offset && offset != i64::MAX {
            anstream::eprintln!("{at} has offsets from {start} to {end}: {moved} instead of {offset}");
        }
        Some((at, moved))
    };
    Ok(wanted.into_iter().filter_map(within).collect())
}

/// One offset for each partition, or the first failure.
pub(crate) async fn list(
    admin: &Admin,
    partitions: BTreeSet<TopicPartition>,
    spec: OffsetSpec,
) -> Result<BTreeMap<TopicPartition, i64>> {
    let asked = partitions.into_iter().map(|at| (at, spec));
    let listed = admin.list_offsets(asked, IsolationLevel::ReadUncommitted).await;
    Ok(listed.into_iter().map(|(at, listed)| listed.map(|listed| (at, listed.offset))).collect::<Result<_, Error>>()?)
}
