//! Retention in a running broker: limits of a topic and of the broker are in force at the next round, in both directions; a topic that
//! nobody writes to any more ends empty; records of the future are refused, and where they are not, pin nothing; a deletion of
//! records holds when the process is killed right after its answer.
//!
//! Method: our client; rounds every few milliseconds, which a topic shows that loses its record in each of them.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use ottla_broker::Broker;
use ottla_client::{
    Admin, AlterConfigOp, ClientConfig, ConfigResource, ErrorCode, IsolationLevel, NewTopic, OffsetSpec, Producer,
    ProducerConfig, ProducerRecord, TopicPartition,
};
use ottla_tests::process::{OttlaOptions, OttlaProcess};

const HOUR_MS: i64 = 3_600_000;
const PATIENCE: Duration = Duration::from_secs(60);
/// Loses its records in every round.
const CANARY: &str = "canary";

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(since.as_millis()).expect("a clock before the year 292 million")
}

struct Clients {
    admin: Admin,
    producer: Producer,
}

impl Clients {
    async fn connect(bootstrap: &str) -> Result<Self> {
        let admin = Admin::connect(ClientConfig::new(bootstrap)).await?;
        Ok(Self { admin, producer: Producer::connect(ProducerConfig::new(bootstrap)).await? })
    }

    async fn create(&self, topic: &str, configs: &[(&str, &str)]) -> Result<()> {
        let topic = configs.iter().fold(NewTopic::new(topic, 1), |topic, (key, value)| topic.config(*key, *value));
        self.admin.create_topic(topic).await?;
        Ok(())
    }

    async fn send(&self, topic: &str, timestamp_ms: i64) -> Result<i64> {
        let record = ProducerRecord::new(topic, vec![b'v'; 1_000]).partition(0).timestamp(timestamp_ms);
        Ok(self.producer.send(record).await?.await?.offset)
    }

    async fn alter(&self, resource: ConfigResource, op: AlterConfigOp) -> Result<()> {
        let mut altered = self.admin.incremental_alter_configs(&[(resource.clone(), vec![op])], false).await?;
        altered.remove(&resource).context("an answer for it")??;
        Ok(())
    }

    async fn set(&self, topic: &str, key: &str, value: &str) -> Result<()> {
        self.alter(ConfigResource::Topic(topic.to_owned()), AlterConfigOp::Set(key.to_owned(), value.to_owned())).await
    }

    async fn offset(&self, topic: &str, spec: OffsetSpec) -> Result<i64> {
        let partition = TopicPartition::new(topic, 0);
        let mut listed = self.admin.list_offsets([(partition.clone(), spec)], IsolationLevel::ReadUncommitted).await;
        Ok(listed.remove(&partition).context("an answer for it")??.offset)
    }

    async fn start(&self, topic: &str) -> Result<i64> {
        self.offset(topic, OffsetSpec::Earliest).await
    }

    async fn until_start_is(&self, topic: &str, start: i64) -> Result<()> {
        let began = std::time::Instant::now();
        loop {
            let found = self.start(topic).await?;
            if found == start {
                return Ok(());
            }
            ensure!(found < start && began.elapsed() < PATIENCE, "{topic} begins at {found}, {start} is expected");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// A whole round, from before its beginning to its end: the second canary was sent after a first round had found one.
    async fn a_round_passes(&self) -> Result<()> {
        for _ in 0..2 {
            let offset = self.send(CANARY, now_ms() - HOUR_MS).await?;
            self.until_start_is(CANARY, offset + 1).await?;
        }
        Ok(())
    }
}

async fn broker(dir: &Path) -> Result<Broker> {
    let builder = Broker::builder().data_dir(dir).listen("127.0.0.1:0");
    Ok(builder.set("log.retention.check.interval.ms", "20").start().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_a_topic_and_of_the_broker_hold_from_the_next_round_on_in_both_directions() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let broker = broker(directory.path()).await?;
    let clients = Clients::connect(&broker.addr().to_string()).await?;
    clients.create(CANARY, &[("retention.ms", "1000")]).await?;
    clients.create("default", &[]).await?;
    clients.create("own", &[("retention.ms", "-1")]).await?;
    clients.create("kept", &[("cleanup.policy", ""), ("retention.ms", "1000")]).await?;
    let old_ms = now_ms() - 2 * HOUR_MS;
    for topic in ["default", "own", "kept"] {
        clients.send(topic, old_ms).await?;
    }
    clients.a_round_passes().await?;
    for topic in ["default", "own", "kept"] {
        assert_eq!(clients.start(topic).await?, 0, "{topic}: a week, for ever, and no policy");
    }
    // The broker's default reaches those that follow it, and is followed back.
    let broker_default = |value: &str| AlterConfigOp::Set("log.retention.ms".to_owned(), value.to_owned());
    clients.alter(ConfigResource::AllBrokers, broker_default("3600000")).await?;
    clients.until_start_is("default", 1).await?;
    clients.alter(ConfigResource::AllBrokers, broker_default("-1")).await?;
    clients.send("default", old_ms).await?;
    clients.a_round_passes().await?;
    assert_eq!(clients.start("default").await?, 1);
    clients.alter(ConfigResource::AllBrokers, broker_default("1000")).await?;
    clients.until_start_is("default", 2).await?;
    clients.alter(ConfigResource::AllBrokers, AlterConfigOp::Delete("log.retention.ms".to_owned())).await?;
    clients.send("default", old_ms).await?;
    clients.a_round_passes().await?;
    assert_eq!((clients.start("default").await?, clients.start("own").await?), (2, 0));
    // A topic's own.
    clients.set("own", "retention.ms", "3600000").await?;
    clients.until_start_is("own", 1).await?;
    clients.set("own", "retention.ms", "-1").await?;
    clients.set("own", "internal.segment.bytes", "1500").await?;
    for _ in 0..6 {
        clients.send("own", old_ms).await?;
    }
    clients.a_round_passes().await?;
    assert_eq!(clients.start("own").await?, 1);
    clients.set("own", "retention.bytes", "3000").await?;
    clients.until_start_is("own", 4).await?;
    clients.set("own", "retention.bytes", "-1").await?;
    clients.send("own", old_ms).await?;
    clients.a_round_passes().await?;
    assert_eq!((clients.start("own").await?, clients.start("kept").await?), (4, 0));
    // Without a policy nothing is deleted; with one again it is.
    clients.set("kept", "cleanup.policy", "delete").await?;
    clients.until_start_is("kept", 1).await?;
    broker.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_the_future_is_refused_and_where_it_is_not_pins_nothing_and_an_idle_topic_ends_empty() -> Result<()>
{
    let directory = tempfile::tempdir()?;
    let first = broker(directory.path()).await?;
    let clients = Clients::connect(&first.addr().to_string()).await?;
    clients.create("t", &[]).await?;
    let refused = clients.send("t", now_ms() + 2 * HOUR_MS).await.expect_err("an hour ahead is the most");
    let code = refused.downcast_ref::<ottla_client::Error>().and_then(ottla_client::Error::code);
    assert_eq!(code, Some(ErrorCode::InvalidTimestamp), "{refused}");
    clients.send("t", now_ms() + HOUR_MS / 2).await?;
    clients.set("t", "message.timestamp.after.max.ms", "9223372036854775807").await?;
    clients.send("t", 4_000_000_000_000).await?;
    // Its age is that of its append, across a restart.
    drop(clients);
    first.stop().await?;
    let second = broker(directory.path()).await?;
    let clients = Clients::connect(&second.addr().to_string()).await?;
    clients.create(CANARY, &[("retention.ms", "1000")]).await?;
    clients.a_round_passes().await?;
    assert_eq!(clients.start("t").await?, 0);
    clients.set("t", "retention.ms", "1").await?;
    clients.until_start_is("t", 2).await?;
    assert_eq!(clients.offset("t", OffsetSpec::Latest).await?, 2, "no offset is given out twice");
    assert_eq!(clients.send("t", now_ms()).await?, 2);
    second.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_were_deleted_stay_so_when_the_process_is_killed_right_after_the_answer() -> Result<()> {
    const KILLS: i64 = 5;
    let directory = tempfile::tempdir()?;
    let start = || {
        let options = OttlaOptions { data_dir: Some(directory.path().to_owned()), ..OttlaOptions::default() };
        OttlaProcess::start(options).expect("the process starts")
    };
    for round in 0..KILLS {
        let process = start();
        let clients = Clients::connect(&process.address().to_string()).await?;
        if round == 0 {
            clients.create("t", &[("internal.segment.bytes", "2500")]).await?;
        }
        assert_eq!(clients.start("t").await?, round * 7, "as it was deleted before the kill");
        for _ in 0..10 {
            clients.send("t", now_ms()).await?;
        }
        let partition = TopicPartition::new("t", 0);
        let mut deleted = clients.admin.delete_records([(partition.clone(), (round + 1) * 7)]).await;
        process.kill()?;
        assert_eq!(deleted.remove(&partition).context("an answer for it")??, (round + 1) * 7);
    }
    let process = start();
    let clients = Clients::connect(&process.address().to_string()).await?;
    assert_eq!((clients.start("t").await?, clients.offset("t", OffsetSpec::Latest).await?), (KILLS * 7, KILLS * 10));
    assert!(process.terminate()?.success());
    Ok(())
}
