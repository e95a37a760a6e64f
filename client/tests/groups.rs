//! Goal: a group reads every record at least once, each partition in order, whatever happens to its members; and nothing
//! twice where everybody says good-bye. Method: members of one process over six partitions, in both protocols.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which are to panic when something fails")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use ottla_client::{Assignor, GroupConfig, GroupProtocol, ProducerRecord};
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
        config.session_timeout = Duration::from_secs(3);
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
        let producer = cluster.producer_with(|config| config.linger = Duration::from_millis(1)).await;
        let topic: Arc<str> = topic.into();
        let produced = Arc::<AtomicI64>::default();
        let counter = produced.clone();
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(async move {
            while stopped.try_recv().is_err() {
                for partition in 0..PARTITIONS {
                    let record = ProducerRecord::new(topic.clone(), "x").partition(partition);
                    producer.send(record).await.unwrap();
                }
                counter.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
            producer.close().await;
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
            fleet.drop_dead(0);
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
