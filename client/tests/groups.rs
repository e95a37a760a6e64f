//! Goal: a group reads every record at least once, each partition in order, whatever happens to its members; and nothing
//! twice where everybody says good-bye. Method: members of one process over six partitions, in both protocols.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which are to panic when something fails")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use ottla_client::{
    Admin, ApiKey, Assignor, GroupConfig, GroupProtocol, NewTopic, Producer, ProducerConfig, ProducerRecord,
};
use support::faulty_proxy::{Fault, FaultyProxy};
use support::fleet::{Commits, Fleet, QUICK_GROUPS};
use support::{TestCluster, within};
use tokio::task::JoinHandle;

const PARTITIONS: i32 = 6;

/// A group of each kind.
fn kinds() -> Vec<GroupConfig> {
    let kind = |protocol: GroupProtocol, assignors: &[Assignor]| {
        let mut config = GroupConfig::new(support::unique_name());
        config.protocol = protocol;
        config.assignors = assignors.to_vec();
        config.session_timeout = Duration::from_secs(5);
        config.heartbeat_interval = Duration::from_millis(200);
        config.auto_commit_interval = Duration::from_millis(100);
        config
    };
    vec![
        kind(GroupProtocol::Auto, &[Assignor::Range]),
        kind(GroupProtocol::Classic, &[Assignor::Range]),
        kind(GroupProtocol::Classic, &[Assignor::CooperativeSticky]),
    ]
}

/// Produces to all partitions for as long as it is not told to stop.
struct Traffic {
    produced: Arc<AtomicI64>,
    stop: tokio::sync::oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Traffic {
    async fn start(cluster: &TestCluster, topic: &str) -> Traffic {
        Traffic::start_at(&cluster.bootstrap, topic).await
    }

    async fn start_at(address: &str, topic: &str) -> Traffic {
        let mut config = ProducerConfig::new(address);
        config.linger = Duration::from_millis(1);
        let producer = Producer::connect(config).await.unwrap();
        let topic: Arc<str> = topic.into();
        let produced = Arc::<AtomicI64>::default();
        let counter = produced.clone();
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(async move {
            let mut deliveries = Vec::new();
            while stopped.try_recv().is_err() {
                for partition in 0..PARTITIONS {
                    let record = ProducerRecord::new(topic.clone(), "x").partition(partition);
                    deliveries.push(producer.send(record).await.unwrap());
                }
                counter.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
            producer.close().await;
            for delivery in deliveries {
                delivery.await.expect("all of it is there to be read");
            }
        });
        Traffic { produced, stop, task }
    }

    /// Ends it; returns how many records each partition has.
    async fn stop(self) -> i64 {
        self.stop.send(()).unwrap();
        within(self.task).await.unwrap();
        self.produced.load(Ordering::Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_grows_shrinks_and_loses_a_member() {
    let cluster = TestCluster::start_with(QUICK_GROUPS).await;
    for config in kinds() {
        for commits in [Commits::Automatic, Commits::EachRecord] {
            let mut config = config.clone();
            config.group_id = support::unique_name();
            let topic = cluster.topic(PARTITIONS).await;
            let traffic = Traffic::start(&cluster, &topic).await;
            let mut fleet = Fleet::new(&cluster.bootstrap, &topic, config);
            fleet.start(commits, |_| ()).await;
            fleet.until_shared_as(&[6]).await;
            fleet.start(commits, |_| ()).await;
            fleet.start(commits, |_| ()).await;
            fleet.until_shared_as(&[2, 2, 2]).await;
            fleet.close(1).await;
            fleet.until_shared_as(&[3, 0, 3]).await;
            fleet.until_processed(PARTITIONS, 1).await;
            assert_eq!(fleet.repeated(), 0, "who leaves commits first, and who takes over goes on there");
            fleet.drop_dead(0).await;
            fleet.until_shared_as(&[0, 0, 6]).await;
            let count = traffic.stop().await;
            fleet.until_processed(PARTITIONS, count).await;
            fleet.close(2).await;
            fleet.check_order();
            let repeated = fleet.repeated();

            // Whoever comes later finds all of it committed.
            let last = fleet.start(commits, |_| ()).await;
            fleet.until_shared_as(&[0, 0, 0, 6]).await;
            fleet.close(last).await;
            assert_eq!(fleet.repeated(), repeated);
        }
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_stands_still_for_too_long_is_replaced_and_comes_back() {
    let cluster = TestCluster::start_with(QUICK_GROUPS).await;
    for config in kinds() {
        let topic = cluster.topic(PARTITIONS).await;
        let traffic = Traffic::start(&cluster, &topic).await;
        let mut fleet = Fleet::new(&cluster.bootstrap, &topic, config);
        // Far shorter than its session: heartbeats go on, and it leaves by its own decision.
        let slow = fleet
            .start(Commits::EachRecord, |config| {
                config.session_timeout = Duration::from_secs(30);
                config.max_poll_interval = Duration::from_secs(1);
            })
            .await;
        fleet.start(Commits::EachRecord, |config| config.max_poll_interval = Duration::from_secs(30)).await;
        fleet.until_shared_as(&[3, 3]).await;
        fleet.freeze(slow, true);
        fleet.until_partitions_of(1, 6).await;
        fleet.freeze(slow, false);
        fleet.until_shared_as(&[3, 3]).await;
        let count = traffic.stop().await;
        fleet.until_processed(PARTITIONS, count).await;
        fleet.close(0).await;
        fleet.close(1).await;
        fleet.check_order();
        assert!(fleet.reported(slow).iter().any(|error| error.contains("max_poll_interval")), "it is told why");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_handler_costs_no_membership() {
    let cluster = TestCluster::start_with(QUICK_GROUPS).await;
    for config in kinds() {
        let topic = cluster.topic(PARTITIONS).await;
        let traffic = Traffic::start(&cluster, &topic).await;
        let mut fleet = Fleet::new(&cluster.bootstrap, &topic, config);
        fleet.start(Commits::EachRecord, |_| ()).await;
        fleet.start(Commits::EachRecord, |_| ()).await;
        fleet.until_shared_as(&[3, 3]).await;
        let before = fleet.partitions_of(0);
        fleet.freeze(0, true);
        // Longer than the session of either protocol.
        tokio::time::sleep(Duration::from_secs(7)).await;
        fleet.freeze(0, false);
        let count = traffic.stop().await;
        fleet.until_processed(PARTITIONS, count).await;
        assert_eq!(fleet.partitions_of(0), before);
        assert_eq!((fleet.repeated(), fleet.reported(0)), (0, Vec::new()));
        fleet.close(0).await;
        fleet.close(1).await;
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_static_member_that_comes_back_in_time_finds_its_partitions_and_disturbs_nobody() {
    let cluster = TestCluster::start_with(QUICK_GROUPS).await;
    for config in kinds() {
        let topic = cluster.topic(PARTITIONS).await;
        let traffic = Traffic::start(&cluster, &topic).await;
        let mut fleet = Fleet::new(&cluster.bootstrap, &topic, config);
        let named = |name: &'static str| {
            move |config: &mut GroupConfig| {
                config.group_instance_id = Some(name.to_owned());
                config.session_timeout = Duration::from_secs(20);
            }
        };
        fleet.start(Commits::EachRecord, named("a")).await;
        fleet.start(Commits::EachRecord, named("b")).await;
        fleet.until_shared_as(&[3, 3]).await;
        let (first, second, changes) = (fleet.partitions_of(0), fleet.partitions_of(1), fleet.changes_of(0));
        fleet.close(1).await;
        let back = fleet.start(Commits::EachRecord, named("b")).await;
        fleet.until_shared_as(&[3, 0, 3]).await;
        assert_eq!(fleet.partitions_of(back), second);
        assert_eq!(fleet.partitions_of(0), first);
        assert_eq!(fleet.changes_of(0), changes, "nothing changed hands");
        let count = traffic.stop().await;
        fleet.until_processed(PARTITIONS, count).await;
        assert_eq!(fleet.repeated(), 0);
        fleet.close(0).await;
        fleet.close(back).await;
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_outlives_lost_requests_and_answers() {
    let cluster = TestCluster::start_with(QUICK_GROUPS).await;
    for config in kinds() {
        let topic = cluster.topic(PARTITIONS).await;
        let traffic = Traffic::start(&cluster, &topic).await;
        let requests = AtomicI64::default();
        let proxy = FaultyProxy::start(&cluster.bootstrap, move |api| {
            let of_group = [
                ApiKey::JoinGroup,
                ApiKey::SyncGroup,
                ApiKey::Heartbeat,
                ApiKey::OffsetCommit,
                ApiKey::OffsetFetch,
                ApiKey::FindCoordinator,
                ApiKey::ConsumerGroupHeartbeat,
            ];
            if !of_group.contains(&api) {
                return Fault::None;
            }
            match requests.fetch_add(1, Ordering::Relaxed) % 11 {
                4 => Fault::LoseRequest,
                9 => Fault::LoseAnswer,
                _ => Fault::None,
            }
        })
        .await;
        let mut fleet = Fleet::new(&proxy.address, &topic, config);
        fleet.start(Commits::Automatic, |_| ()).await;
        fleet.start(Commits::EachRecord, |_| ()).await;
        fleet.until_shared_as(&[3, 3]).await;
        fleet.start(Commits::EachRecord, |_| ()).await;
        fleet.until_shared_as(&[2, 2, 2]).await;
        fleet.close(0).await;
        fleet.until_shared_as(&[0, 3, 3]).await;
        let count = traffic.stop().await;
        fleet.until_processed(PARTITIONS, count).await;
        fleet.close(1).await;
        fleet.close(2).await;
        fleet.check_order();
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_both_protocols_share_one_group() {
    let cluster = TestCluster::start_with(QUICK_GROUPS).await;
    let topic = cluster.topic(PARTITIONS).await;
    let traffic = Traffic::start(&cluster, &topic).await;
    let mut fleet = Fleet::new(&cluster.bootstrap, &topic, kinds().remove(1));
    let by = |protocol: GroupProtocol| move |config: &mut GroupConfig| config.protocol = protocol;
    fleet.start(Commits::EachRecord, by(GroupProtocol::Classic)).await;
    fleet.until_shared_as(&[6]).await;
    fleet.start(Commits::EachRecord, by(GroupProtocol::Consumer)).await;
    fleet.until_shared_as(&[3, 3]).await;
    fleet.close(0).await;
    fleet.until_shared_as(&[0, 6]).await;
    fleet.start(Commits::EachRecord, by(GroupProtocol::Classic)).await;
    fleet.until_shared_as(&[0, 3, 3]).await;
    let count = traffic.stop().await;
    fleet.until_processed(PARTITIONS, count).await;
    assert_eq!(fleet.repeated(), 0);
    fleet.close(1).await;
    fleet.close(2).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_outlives_a_restart_of_the_broker() {
    let directory = tempfile::tempdir().unwrap();
    let start = async |listen: String| {
        let builder = ottla_broker::Broker::builder().data_dir(directory.path()).listen(listen);
        let settings = QUICK_GROUPS.iter().fold(builder, |builder, (key, value)| builder.set(*key, *value));
        settings.start().await.unwrap()
    };
    let mut broker = start("127.0.0.1:0".to_owned()).await;
    let address = broker.addr().to_string();
    for config in kinds() {
        let topic = support::unique_name();
        let admin = Admin::connect(address.as_str()).await.unwrap();
        admin.create_topic(NewTopic::new(&topic, PARTITIONS)).await.unwrap();
        let traffic = Traffic::start_at(&address, &topic).await;
        let mut fleet = Fleet::new(&address, &topic, config);
        for commits in [Commits::Automatic, Commits::EachRecord, Commits::EachRecord] {
            fleet.start(commits, |_| ()).await;
        }
        fleet.until_shared_as(&[2, 2, 2]).await;
        for _ in 0..2 {
            within(broker.stop()).await.unwrap();
            broker = start(address.clone()).await;
            let processed = fleet.log().len();
            fleet.until_logged(processed + 100).await;
        }
        let count = traffic.stop().await;
        fleet.until_processed(PARTITIONS, count).await;
        for member in 0..3 {
            fleet.close(member).await;
        }
        fleet.check_order();
    }
    within(broker.stop()).await.unwrap();
}
