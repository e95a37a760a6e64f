//! How far a group has read: its committed offsets beside where the logs start and end, and when the records were made
//! that it has yet to read.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Result;

use ottla_client::{
    Admin, ClientConfig, Consumer, ConsumerConfig, Error, GroupOffsets, IsolationLevel, ListedOffset, OffsetReset,
    OffsetSpec, SeekTo, TopicPartition,
};

/// How long may be waited for the records from which times are read. Without them only the times are missing.
const READ_WAIT: Duration = Duration::from_secs(10);

/// Between two looks whether the rest of a partition has no records.
const POLL_WAIT: Duration = Duration::from_millis(200);

/// How far a group has read in one partition. What is `None` is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// The offset of the next record that it is to read; `None` where it has not committed.
    pub(super) committed: Option<i64>,
    pub(super) log_start: Option<i64>,
    pub(super) log_end: Option<i64>,
    /// When the next record was made, in milliseconds since 1970; `None` also where there is none.
    pub(super) next_record_ms: Option<i64>,
    /// When the newest record was made.
    pub(super) newest_record_ms: Option<i64>,
    /// Why the log or the committed offset is not known.
    pub(super) problem: Option<String>,
}

impl Progress {
    /// Whether it is known that nothing is committed.
    pub(super) fn is_never_committed(&self) -> bool {
        self.committed.is_none() && self.problem.is_none()
    }

    /// Offsets from the next record to the end; without a commit, those of the whole log.
    pub(super) fn lag(&self) -> Option<i64> {
        Some((self.log_end? - self.next()?).max(0))
    }

    /// From the time of the next record to that of the newest; 0 where there is nothing to read.
    pub(super) fn lag_ms(&self) -> Option<i64> {
        self.since_next(self.newest_record_ms)
    }

    /// From the time of the next record until now; 0 where there is nothing to read.
    pub(super) fn waiting_ms(&self, now_ms: i64) -> Option<i64> {
        self.since_next(Some(now_ms))
    }

    fn since_next(&self, until_ms: Option<i64>) -> Option<i64> {
        match self.lag()? {
            0 => Some(0),
            _ => Some((until_ms? - self.next_record_ms?).max(0)),
        }
    }

    /// Where a reader goes on: what is deleted behind the committed offset is not to be read any more. Without a commit, at
    /// the log's start: a reader with auto.offset.reset=earliest has all of it to read, and no less is certain.
    fn next(&self) -> Option<i64> {
        match self.committed {
            Some(committed) => Some(committed.max(self.log_start?)),
            None => self.log_start.filter(|_| self.is_never_committed()),
        }
    }
}

/// The progress in every partition that has a committed offset, and in `others`.
pub(super) async fn progress(
    admin: &Admin,
    client: ClientConfig,
    offsets: GroupOffsets,
    others: BTreeSet<TopicPartition>,
) -> Result<BTreeMap<TopicPartition, Progress>> {
    let mut progress: BTreeMap<TopicPartition, Progress> =
        others.into_iter().map(|at| (at, Progress::default())).collect();
    for (at, committed) in offsets {
        let partition = progress.entry(at).or_default();
        match committed {
            Ok(committed) => partition.committed = Some(committed.offset),
            Err(error) => partition.problem = Some(error.to_string()),
        }
    }
    let all: Vec<TopicPartition> = progress.keys().cloned().collect();
    for (at, start) in list(admin, &all, OffsetSpec::Earliest).await {
        let Some(partition) = progress.get_mut(&at) else { continue };
        match start {
            Ok(start) => partition.log_start = Some(start.offset),
            Err(error) => partition.problem = Some(error.to_string()),
        }
    }
    let there = |partition: &Progress| partition.log_start.is_some();
    for (at, end) in list(admin, &keys(&progress, there), OffsetSpec::Latest).await {
        let Some(partition) = progress.get_mut(&at) else { continue };
        match end {
            Ok(end) => partition.log_end = Some(end.offset),
            Err(error) => partition.problem = Some(error.to_string()),
        }
    }
    let behind = |partition: &Progress| partition.lag().is_some_and(|lag| lag > 0);
    let late = keys(&progress, behind);
    // Brokers before Kafka 3.0 cannot say; then the times that need it are not known.
    for (at, newest) in list(admin, &late, OffsetSpec::MaxTimestamp).await {
        let newest = newest.ok().map(|newest| newest.timestamp).filter(|time| *time >= 0);
        progress.entry(at).and_modify(|partition| partition.newest_record_ms = newest);
    }
    for (at, time) in next_record_times(client, &progress, late).await? {
        progress.entry(at).and_modify(|partition| partition.next_record_ms = Some(time));
    }
    Ok(progress)
}

fn keys(progress: &BTreeMap<TopicPartition, Progress>, is_meant: impl Fn(&Progress) -> bool) -> Vec<TopicPartition> {
    progress.iter().filter(|(_, partition)| is_meant(partition)).map(|(at, _)| at.clone()).collect()
}

async fn list(
    admin: &Admin,
    partitions: &[TopicPartition],
    spec: OffsetSpec,
) -> BTreeMap<TopicPartition, Result<ListedOffset, Error>> {
    let asked = partitions.iter().map(|at| (at.clone(), spec));
    admin.list_offsets(asked, IsolationLevel::ReadUncommitted).await
}

/// The times of the next records, by reading them.
async fn next_record_times(
    client: ClientConfig,
    progress: &BTreeMap<TopicPartition, Progress>,
    late: Vec<TopicPartition>,
) -> Result<BTreeMap<TopicPartition, i64>> {
    let mut times = BTreeMap::new();
    if late.is_empty() {
        return Ok(times);
    }
    let mut config = ConsumerConfig::new(client);
    config.auto_offset_reset = OffsetReset::None;
    let mut consumer = Consumer::connect(config).await?;
    let next = |at: &TopicPartition| progress.get(at).and_then(Progress::next).unwrap_or_default();
    consumer.assign(late.iter().map(|at| (at.clone(), SeekTo::Offset(next(at))))).await?;
    let reading = read_times(&mut consumer, progress, late, &mut times);
    // What was read in time is good; the rest is not known.
    let _ = tokio::time::timeout(READ_WAIT, reading).await;
    consumer.close().await;
    Ok(times)
}

async fn read_times(
    consumer: &mut Consumer,
    progress: &BTreeMap<TopicPartition, Progress>,
    mut open: Vec<TopicPartition>,
    times: &mut BTreeMap<TopicPartition, i64>,
) {
    while !open.is_empty() {
        let done = match consumer.poll(1, POLL_WAIT).await {
            Ok(records) => {
                let Some(record) = records.into_iter().next() else {
                    // The rest of a partition may be markers of transactions only, of which nothing is handed out.
                    let end = |at: &TopicPartition| progress.get(at).and_then(|partition| partition.log_end);
                    open.retain(|at| consumer.position(at).ok() < end(at));
                    continue;
                };
                let at = TopicPartition::new(record.topic.clone(), record.partition);
                if record.timestamp >= 0 {
                    times.entry(at.clone()).or_insert(record.timestamp);
                }
                at
            }
            // Retention was faster, or the record is damaged.
            Err(Error::OffsetOutOfRange { partition, .. } | Error::CorruptBatch { partition, .. }) => partition,
            Err(_) => return,
        };
        open.retain(|at| *at != done);
        if consumer.pause(std::slice::from_ref(&done)).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(committed: i64, log_start: i64, log_end: i64) -> Progress {
        let (committed, log_start, log_end) = (Some(committed), Some(log_start), Some(log_end));
        Progress { committed, log_start, log_end, ..Progress::default() }
    }

    #[test]
    fn the_lag_is_what_can_still_be_read() {
        assert_eq!(at(5, 0, 12).lag(), Some(7));
        assert_eq!(at(5, 10, 12).lag(), Some(2));
        assert_eq!(at(20, 0, 12).lag(), Some(0));
        assert_eq!(Progress { log_end: None, ..at(0, 0, 12) }.lag(), None);
    }

    #[test]
    fn without_a_commit_the_whole_log_is_to_be_read() {
        let never = Progress { committed: None, ..at(0, 3, 12) };
        assert!(never.is_never_committed() && !at(0, 3, 12).is_never_committed());
        assert_eq!(never.lag(), Some(9));
        let unknown = Progress { problem: Some("the coordinator is gone".to_owned()), ..never };
        assert!(!unknown.is_never_committed());
        assert_eq!(unknown.lag(), None, "what is committed is not known");
    }

    #[test]
    fn the_lag_in_time_begins_at_the_next_record() {
        let late = Progress { next_record_ms: Some(1_000), newest_record_ms: Some(4_000), ..at(5, 0, 12) };
        assert_eq!((late.lag_ms(), late.waiting_ms(61_000)), (Some(3_000), Some(60_000)));
        // Times need not rise with offsets, and clocks differ.
        let older = Progress { newest_record_ms: Some(500), ..late.clone() };
        assert_eq!((older.lag_ms(), older.waiting_ms(900)), (Some(0), Some(0)));
        assert_eq!(Progress { next_record_ms: None, ..late }.lag_ms(), None);
        assert_eq!((at(12, 0, 12).lag_ms(), at(12, 0, 12).waiting_ms(61_000)), (Some(0), Some(0)));
    }
}
