//! Goal: what is committed is what was processed, and reading goes on there. Method: single members of groups in each
//! protocol, and consumers that assign by hand, against a real broker.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which are to panic when something fails")]

mod support;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;
use ottla_client::{
    Assignor, Committer, Consumer, ConsumerConfig, Error, ErrorCode, GroupConfig, GroupProtocol, OffsetAndMetadata,
    OffsetReset, ProducerRecord, RebalanceListener, SeekTo, StartPositions, TopicPartition,
};
use parking_lot::Mutex;
use support::fleet::QUICK_GROUPS;
use support::{TestCluster, partitions, value, within};

const PROTOCOLS: [GroupProtocol; 2] = [GroupProtocol::Consumer, GroupProtocol::Classic];

fn group(protocol: GroupProtocol) -> GroupConfig {
    let mut config = GroupConfig::new(support::unique_name());
    config.protocol = protocol;
    config.assignors = vec![Assignor::CooperativeSticky];
    config.session_timeout = Duration::from_secs(3);
    config.heartbeat_interval = Duration::from_millis(200);
    config.enable_auto_commit = false;
    config
}

async fn member(cluster: &TestCluster, group: &GroupConfig) -> Consumer {
    member_with(cluster, group, |_| ()).await
}

async fn member_with(cluster: &TestCluster, group: &GroupConfig, change: impl FnOnce(&mut ConsumerConfig)) -> Consumer {
    let change_both = |config: &mut ConsumerConfig| {
        config.group = Some(group.clone());
        config.auto_offset_reset = OffsetReset::Earliest;
        change(config);
    };
    cluster.consumer_with(change_both).await
}

/// A topic whose records in each partition are numbered from 0.
async fn numbered(cluster: &TestCluster, partitions: i32, count: i64) -> String {
    let topic = cluster.topic(partitions).await;
    let producer = cluster.producer().await;
    for number in 0..count {
        for partition in 0..partitions {
            let record = ProducerRecord::new(topic.as_str(), number.to_string()).partition(partition);
            producer.send(record).await.unwrap();
        }
    }
    within(producer.close()).await;
    topic
}

async fn offsets(consumer: &mut Consumer, count: usize) -> Vec<i64> {
    let mut offsets = Vec::new();
    for _ in 0..count {
        let record = within(consumer.recv()).await.unwrap();
        assert_eq!(value(&record), record.offset.to_string());
        offsets.push(record.offset);
    }
    offsets
}

async fn committed(consumer: &Consumer, topic: &str) -> Option<i64> {
    let partition = TopicPartition::new(topic, 0);
    let committed = within(consumer.committed(std::slice::from_ref(&partition))).await.unwrap();
    committed[&partition].as_ref().map(|committed| committed.offset)
}

#[tokio::test]
async fn manual_commits_are_by_record_by_position_and_by_offset() {
    let cluster = TestCluster::start_with(QUICK_GROUPS).await;
    for protocol in PROTOCOLS {
        let topic = numbered(&cluster, 1, 30).await;
        let group = group(protocol);
        let mut consumer = member(&cluster, &group).await;
        consumer.subscribe([topic.as_str()]).unwrap();
        let record = within(consumer.recv()).await.unwrap();
        assert_eq!(committed(&consumer, &topic).await, None);
        within(consumer.commit_record(&record)).await.unwrap();
        assert_eq!(committed(&consumer, &topic).await, Some(1));
        assert_eq!(offsets(&mut consumer, 9).await, (1..10).collect::<Vec<i64>>());
        within(consumer.commit()).await.unwrap();
        assert_eq!(committed(&consumer, &topic).await, Some(10));
        let partition = TopicPartition::new(topic.as_str(), 0);
        let words = OffsetAndMetadata::new(4).metadata("by hand");
        within(consumer.commit_offsets([(partition.clone(), words.clone())])).await.unwrap();
        let found = within(consumer.committed(std::slice::from_ref(&partition))).await.unwrap();
        assert_eq!(found[&partition], Some(words));
        // Without waiting: the last of many is there after the end.
        for _ in 0..15 {
            let record = within(consumer.recv()).await.unwrap();
            consumer.commit_record_async(&record).unwrap();
        }
        consumer.commit_async().unwrap();
        within(consumer.close()).await;
        let mut next = member(&cluster, &group).await;
        assert_eq!(committed(&next, &topic).await, Some(25));
        next.subscribe([topic.as_str()]).unwrap();
        assert_eq!(offsets(&mut next, 5).await, (25..30).collect::<Vec<i64>>());
        // Nothing was committed since.
        within(next.close()).await;
        let mut last = member(&cluster, &group).await;
        last.subscribe([topic.as_str()]).unwrap();
        assert_eq!(offsets(&mut last, 1).await, [25]);
        within(last.close()).await;
    }
    cluster.stop().await;
}

#[tokio::test]
async fn automatic_commits_are_never_ahead_of_what_was_processed() {
    let cluster = TestCluster::start_with(QUICK_GROUPS).await;
    for protocol in PROTOCOLS {
        let topic = numbered(&cluster, 1, 20).await;
        let mut group = group(protocol);
        group.enable_auto_commit = true;
        group.auto_commit_interval = Duration::from_millis(20);
        let mut consumer = member(&cluster, &group).await;
        consumer.subscribe([topic.as_str()]).unwrap();
        let admin = member(&cluster, &group).await;
        for offset in 0..10 {
            assert_eq!(within(consumer.recv()).await.unwrap().offset, offset);
            // While it is processed, whatever time that takes, the group does not have it.
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert!(committed(&admin, &topic).await.unwrap_or(0) <= offset);
        }
        assert!(committed(&admin, &topic).await.unwrap() > 0, "and yet commits go on");
        // One that is dropped is one that was killed: record 9 is handed out again.
        drop(consumer);
        let mut next = member(&cluster, &group).await;
        next.subscribe([topic.as_str()]).unwrap();
        let again = within(next.recv()).await.unwrap().offset;
        assert!(again <= 9, "{again}");
        while within(next.recv()).await.unwrap().offset < 14 {}
        within(next.close()).await;
        assert_eq!(committed(&admin, &topic).await, Some(15), "who closes has processed all that was handed out");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn whoever_assigns_by_hand_can_commit_too() {
    let cluster = TestCluster::start_with(QUICK_GROUPS).await;
    let topic = numbered(&cluster, 1, 20).await;
    let partition = TopicPartition::new(topic.as_str(), 0);
    let mut group = group(GroupProtocol::Auto);
    group.enable_auto_commit = true;
    let mut consumer = member(&cluster, &group).await;
    consumer.assign([(partition.clone(), SeekTo::Offset(3))]).await.unwrap();
    assert_eq!(offsets(&mut consumer, 5).await, [3, 4, 5, 6, 7]);
    within(consumer.close()).await;
    let consumer = member(&cluster, &group).await;
    assert_eq!(committed(&consumer, &topic).await, Some(8));
    within(consumer.commit_offsets([(partition.clone(), OffsetAndMetadata::new(2))])).await.unwrap();
    assert_eq!(committed(&consumer, &topic).await, Some(2));
    cluster.stop().await;
}

#[tokio::test]
async fn without_a_committed_offset_the_policy_says_where_to_start() {
    let cluster = TestCluster::start_with(QUICK_GROUPS).await;
    for protocol in PROTOCOLS {
        let topic = numbered(&cluster, 1, 5).await;
        let partition = TopicPartition::new(topic.as_str(), 0);
        let reset = |reset| move |config: &mut ConsumerConfig| config.auto_offset_reset = reset;
        let mut latest = member_with(&cluster, &group(protocol), reset(OffsetReset::Latest)).await;
        latest.subscribe([topic.as_str()]).unwrap();
        while latest.position(&partition).is_err() {
            assert!(within(latest.poll(1, Duration::from_millis(10))).await.unwrap().is_empty());
        }
        let producer = cluster.producer().await;
        within(producer.send(ProducerRecord::new(topic.as_str(), "5")).await.unwrap()).await.unwrap();
        assert_eq!(offsets(&mut latest, 1).await, [5]);
        let mut none = member_with(&cluster, &group(protocol), reset(OffsetReset::None)).await;
        none.subscribe([topic.as_str()]).unwrap();
        let error = within(none.recv()).await.unwrap_err();
        assert!(matches!(error, Error::NoCommittedOffset { .. }), "{error}");
        assert!(matches!(none.position(&partition), Err(Error::PositionUnknown { .. })));
        // Nothing is known, so nothing is committed.
        within(none.commit()).await.unwrap();
        assert_eq!(committed(&none, &topic).await, None);
        none.seek(&partition, SeekTo::Offset(2)).await.unwrap();
        assert_eq!(offsets(&mut none, 2).await, [2, 3]);
        within(none.close()).await;
        within(latest.close()).await;
    }
    cluster.stop().await;
}

/// Notes what it is told, and starts where it was told to.
#[derive(Default)]
struct Notes {
    starts: Mutex<StartPositions>,
    told: Mutex<Vec<(&'static str, usize)>>,
    committer: Mutex<Option<Committer>>,
}

impl RebalanceListener for Notes {
    async fn assigned(&self, partitions: Vec<TopicPartition>) -> StartPositions {
        self.told.lock().push(("assigned", partitions.len()));
        self.starts.lock().clone()
    }

    async fn revoked(&self, partitions: Vec<TopicPartition>) {
        self.told.lock().push(("revoked", partitions.len()));
        let committer = self.committer.lock().clone();
        if let Some(committer) = committer {
            let offsets = partitions.into_iter().map(|partition| (partition, OffsetAndMetadata::new(7)));
            committer.commit(offsets).await.unwrap();
        }
    }

    async fn lost(&self, partitions: Vec<TopicPartition>) {
        self.told.lock().push(("lost", partitions.len()));
    }
}

#[tokio::test]
async fn a_listener_gives_starting_positions_and_has_the_last_word_on_commits() {
    let cluster = TestCluster::start_with(QUICK_GROUPS).await;
    for protocol in PROTOCOLS {
        let topic = numbered(&cluster, 1, 20).await;
        let partition = TopicPartition::new(topic.as_str(), 0);
        let group = group(protocol);
        let notes = Arc::new(Notes::default());
        *notes.starts.lock() = BTreeMap::from([(partition.clone(), SeekTo::Offset(12))]);
        let mut consumer = member(&cluster, &group).await;
        *notes.committer.lock() = Some(consumer.committer().unwrap());
        consumer.subscribe_with([topic.as_str()], notes.clone()).unwrap();
        assert_eq!(offsets(&mut consumer, 3).await, [12, 13, 14]);
        let committer = consumer.committer().unwrap();
        within(consumer.unsubscribe()).await;
        assert_eq!(*notes.told.lock(), [("assigned", 1), ("revoked", 1)]);
        assert_eq!(committed(&consumer, &topic).await, Some(7));
        assert!(consumer.assignment().is_empty());
        // Another time, by another rule.
        *notes.starts.lock() = BTreeMap::from([(partition.clone(), SeekTo::End)]);
        consumer.subscribe_with([topic.as_str()], notes.clone()).unwrap();
        while consumer.position(&partition).is_err() {
            assert!(within(consumer.poll(1, Duration::from_millis(10))).await.unwrap().is_empty());
        }
        assert_eq!(consumer.position(&partition).unwrap(), 20);
        let elsewhere = TopicPartition::new(topic.as_str(), 1);
        let refused = within(committer.commit([(elsewhere, OffsetAndMetadata::new(1))])).await.unwrap_err();
        assert!(matches!(refused, Error::CommitFailed { .. }), "{refused}");
        within(consumer.close()).await;
    }
    cluster.stop().await;
}

#[tokio::test]
async fn pauses_and_positions_of_partitions_that_stay_outlive_a_rebalance() {
    let cluster = TestCluster::start_with(QUICK_GROUPS).await;
    for (protocol, assignor) in [
        (GroupProtocol::Consumer, Assignor::Range),
        (GroupProtocol::Classic, Assignor::CooperativeSticky),
        (GroupProtocol::Classic, Assignor::Range),
    ] {
        let topic = numbered(&cluster, 2, 10).await;
        let mut config = group(protocol);
        config.assignors = vec![assignor];
        let mut first = member(&cluster, &config).await;
        first.subscribe([topic.as_str()]).unwrap();
        while first.assignment().len() < 2 {
            within(first.poll(1, Duration::from_millis(10))).await.unwrap();
        }
        first.pause(&partitions(&topic, 2)).unwrap();
        for partition in partitions(&topic, 2) {
            first.seek(&partition, SeekTo::Beginning).await.unwrap();
        }
        let mut second = member(&cluster, &config).await;
        second.subscribe([topic.as_str()]).unwrap();
        let mut taken_over = 0;
        for _ in 0..3000 {
            assert!(first.poll(9, Duration::from_millis(5)).await.unwrap().is_empty(), "it is paused");
            taken_over += second.poll(9, Duration::from_millis(5)).await.unwrap().len();
            if first.assignment().len() == 1 && taken_over == 10 {
                break;
            }
        }
        assert_eq!((first.assignment().len(), taken_over), (1, 10), "{protocol:?} {assignor:?}");
        assert!(first.poll(9, Duration::from_millis(100)).await.unwrap().is_empty());
        first.resume(&first.assignment()).unwrap();
        assert_eq!(offsets(&mut first, 10).await, (0..10).collect::<Vec<i64>>());
        assert_eq!(first.lag(&first.assignment()[0]).unwrap(), Some(0));
        within(first.close()).await;
        within(second.close()).await;
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_pattern_finds_topics_also_those_that_come_later() {
    let cluster = TestCluster::start_with(QUICK_GROUPS).await;
    for protocol in PROTOCOLS {
        let first = numbered(&cluster, 1, 2).await;
        let mut consumer = member_with(&cluster, &group(protocol), |config| {
            config.client.metadata_max_age = Duration::from_millis(200);
        })
        .await;
        consumer.subscribe_pattern(&format!("{first}(-more)?")).unwrap();
        assert_eq!(offsets(&mut consumer, 2).await, [0, 1]);
        let admin = cluster.admin().await;
        let second = format!("{first}-more");
        admin.create_topic(ottla_client::NewTopic::new(&second, 1)).await.unwrap();
        let producer = cluster.producer().await;
        producer.send(ProducerRecord::new(second.as_str(), "0")).await.unwrap();
        let record = within(consumer.recv()).await.unwrap();
        assert_eq!(&*record.topic, second);
        within(consumer.close()).await;
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_topic_may_be_created_after_it_was_subscribed_to() {
    let cluster = TestCluster::start_with(QUICK_GROUPS).await;
    for protocol in PROTOCOLS {
        let topic = support::unique_name();
        let mut consumer = member(&cluster, &group(protocol)).await;
        consumer.subscribe([topic.as_str()]).unwrap();
        assert!(consumer.poll(1, Duration::from_millis(300)).await.unwrap().is_empty());
        cluster.admin().await.create_topic(ottla_client::NewTopic::new(&topic, 1)).await.unwrap();
        let producer = cluster.producer().await;
        producer.send(ProducerRecord::new(topic.as_str(), "0")).await.unwrap();
        assert_eq!(offsets(&mut consumer, 1).await, [0]);
        within(consumer.close()).await;
    }
    cluster.stop().await;
}

#[tokio::test]
async fn partitions_that_are_added_are_shared_too() {
    let cluster = TestCluster::start_with(QUICK_GROUPS).await;
    for protocol in PROTOCOLS {
        let topic = numbered(&cluster, 1, 1).await;
        let mut consumer = member_with(&cluster, &group(protocol), |config| {
            config.client.metadata_max_age = Duration::from_millis(200);
        })
        .await;
        consumer.subscribe([topic.as_str()]).unwrap();
        assert_eq!(offsets(&mut consumer, 1).await, [0]);
        let admin = cluster.admin().await;
        admin.create_partitions(&[(topic.as_str(), 2)], false).await.unwrap();
        while consumer.assignment().len() < 2 {
            within(consumer.poll(1, Duration::from_millis(10))).await.unwrap();
        }
        within(consumer.close()).await;
    }
    cluster.stop().await;
}

#[tokio::test]
async fn the_end_of_the_membership_is_told_once_and_ends_the_stream() {
    let cluster = TestCluster::start_with(QUICK_GROUPS).await;
    let topic = numbered(&cluster, 1, 1).await;
    let mut config = group(GroupProtocol::Auto);
    config.remote_assignor = Some("nobody-has-this".to_owned());
    let mut consumer = member(&cluster, &config).await;
    // Subscribing again is a new attempt.
    for _ in 0..2 {
        consumer.subscribe([topic.as_str()]).unwrap();
        let mut stream = consumer.stream();
        let error = next(&mut stream).await.unwrap().unwrap_err();
        assert!(matches!(&error, Error::GroupMembership { code: ErrorCode::UnsupportedAssignor, .. }), "{error:?}");
        assert!(next(&mut stream).await.is_none() && next(&mut stream).await.is_none(), "a loop over it ends");
        drop(stream);
        for _ in 0..2 {
            let error = within(consumer.recv()).await.unwrap_err();
            assert!(matches!(error, Error::NoMembership { .. }) && !error.is_retriable(), "{error:?}");
            assert_eq!(error.code(), Some(ErrorCode::UnsupportedAssignor));
            let said = error.to_string();
            assert!(said.contains(&config.group_id) && said.contains("subscribe again, or close it"), "{said}");
            assert!(said.contains("the assignor that remote_assignor names"), "and why: {said}");
        }
        assert!(next(&mut consumer.stream()).await.is_none());
    }
    within(consumer.close()).await;
    cluster.stop().await;
}

async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    within(std::future::poll_fn(|context| Pin::new(&mut *stream).poll_next(context))).await
}

#[tokio::test]
async fn the_stream_has_records() {
    async fn next<S: Stream + Unpin>(stream: &mut S) -> S::Item {
        self::next(stream).await.unwrap()
    }
    let cluster = TestCluster::start_with(QUICK_GROUPS).await;
    let topic = numbered(&cluster, 1, 5).await;
    let mut consumer = member(&cluster, &group(GroupProtocol::Auto)).await;
    consumer.subscribe([topic.as_str()]).unwrap();
    let mut stream = consumer.stream();
    assert_eq!(next(&mut stream).await.unwrap().offset, 0);
    assert_eq!(next(&mut stream).await.unwrap().offset, 1);
    drop(stream);
    assert_eq!(offsets(&mut consumer, 3).await, [2, 3, 4]);
    {
        let mut stream = consumer.stream();
        let waiting = std::future::poll_fn(|context| {
            std::task::Poll::Ready(Pin::new(&mut stream).poll_next(context).is_pending())
        });
        assert!(waiting.await);
    }
    let producer = cluster.producer().await;
    producer.send(ProducerRecord::new(topic.as_str(), "5")).await.unwrap();
    assert_eq!(next(&mut consumer.stream()).await.unwrap().offset, 5);
    assert!(consumer.member_id().is_some());
    within(consumer.unsubscribe()).await;
    assert_eq!(consumer.member_id(), None, "it has left");
    within(consumer.close()).await;
    cluster.stop().await;
}

#[tokio::test]
async fn what_cannot_be_is_refused() {
    let cluster = TestCluster::start_with(QUICK_GROUPS).await;
    let topic = numbered(&cluster, 1, 1).await;
    let at_start = [(TopicPartition::new(topic.as_str(), 0), SeekTo::Beginning)];
    let mut alone = cluster.consumer().await;
    assert!(matches!(alone.subscribe([topic.as_str()]), Err(Error::NoGroup)));
    assert!(matches!(alone.commit().await, Err(Error::NoGroup)));
    let mut consumer = member(&cluster, &group(GroupProtocol::Auto)).await;
    assert!(consumer.subscribe_pattern("(").is_err());
    consumer.subscribe([topic.as_str()]).unwrap();
    assert!(matches!(consumer.assign(at_start.clone()).await, Err(Error::Subscribed)));
    within(consumer.unsubscribe()).await;
    consumer.assign(at_start).await.unwrap();
    assert_eq!(offsets(&mut consumer, 1).await, [0]);
    within(consumer.close()).await;
    let mut short = group(GroupProtocol::Classic);
    short.session_timeout = Duration::from_millis(20);
    short.heartbeat_interval = Duration::from_millis(10);
    let mut short = member(&cluster, &short).await;
    short.subscribe([topic.as_str()]).unwrap();
    let error = within(short.recv()).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::InvalidSessionTimeout));
    assert!(error.to_string().contains("group.min.session.timeout.ms"), "{error}");
    cluster.stop().await;
}
