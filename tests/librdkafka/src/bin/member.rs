//! A member of a group with librdkafka from Rust, which says what it does as Kafka's VerifiableConsumer does: what that is and
//! who listens is in `tests/foreign/groups`.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Value, json};

const POLL: Duration = Duration::from_millis(200);

/// What was said to be consumed and is not committed yet: the next offset of each partition.
type Pending = Arc<Mutex<BTreeMap<i32, i64>>>;

struct Context {
    topic: String,
    pending: Pending,
}

impl ClientContext for Context {}

impl ConsumerContext for Context {
    /// Commits while the partitions are still its own.
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(partitions) = rebalance {
            if consumer.assignment_lost() {
                self.pending.lock().unwrap().clear();
            }
            commit(consumer, &self.topic, &self.pending);
            say("partitions_revoked", json!({"partitions": named(partitions)}));
        }
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(partitions) => say("partitions_assigned", json!({"partitions": named(partitions)})),
            Rebalance::Error(error) => say("trouble", json!({"error": error.to_string()})),
            Rebalance::Revoke(_) => {}
        }
    }
}

fn main() {
    let topic = variable("TOPIC");
    let session_ms: u32 = variable("SESSION_MS").parse().unwrap();
    let poll_records: usize = variable("POLL_RECORDS").parse().unwrap();
    let pending = Pending::default();
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", variable("BOOTSTRAP"))
        .set("group.id", variable("GROUP"))
        .set("client.id", variable("NAME"))
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false");
    match variable("PROTOCOL").as_str() {
        "consumer" => config.set("group.protocol", "consumer"),
        _ => config
            .set("session.timeout.ms", session_ms.to_string())
            .set("heartbeat.interval.ms", (session_ms / 6).to_string()),
    };
    let context = Context { topic: topic.clone(), pending: pending.clone() };
    let consumer: BaseConsumer<Context> = config.create_with_context(context).unwrap();
    consumer.subscribe(&[&topic]).unwrap();
    let ending = ending_at_sigterm();
    while !ending.load(Ordering::Relaxed) {
        for index in 0..poll_records {
            let Some(message) = consumer.poll(if index == 0 { POLL } else { Duration::ZERO }) else { break };
            match message {
                Ok(message) => {
                    let value = String::from_utf8_lossy(message.payload().unwrap_or_default());
                    let (partition, offset) = (message.partition(), message.offset());
                    say("record_data", json!({"topic": topic, "partition": partition, "offset": offset, "value": value}));
                    pending.lock().unwrap().insert(partition, offset + 1);
                }
                Err(error) => say("trouble", json!({"error": error.to_string()})),
            }
        }
        commit(&consumer, &topic, &pending);
    }
    consumer.unsubscribe();
    drop(consumer);
    say("shutdown_complete", json!({}));
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: tests/foreign/groups/orchestrator.py starts members"))
}

/// One line, out at once.
fn say(name: &str, what: Value) {
    let mut event = json!({"timestamp": SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64, "name": name});
    event.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
    writeln!(std::io::stdout(), "{event}").unwrap();
}

fn named(partitions: &TopicPartitionList) -> Vec<Value> {
    let elements = partitions.elements();
    elements.iter().map(|one| json!({"topic": one.topic(), "partition": one.partition()})).collect()
}

fn commit(consumer: &BaseConsumer<Context>, topic: &str, pending: &Pending) {
    let offsets = std::mem::take(&mut *pending.lock().unwrap());
    if offsets.is_empty() {
        return;
    }
    let mut list = TopicPartitionList::new();
    for (partition, offset) in &offsets {
        list.add_partition_offset(topic, *partition, Offset::Offset(*offset)).unwrap();
    }
    let said: Vec<Value> = offsets
        .iter()
        .map(|(partition, offset)| json!({"topic": topic, "partition": partition, "offset": offset}))
        .collect();
    let outcome = consumer.commit(&list, CommitMode::Sync);
    let error = outcome.as_ref().err().map(ToString::to_string);
    say("offsets_committed", json!({"offsets": said, "success": outcome.is_ok(), "error": error}));
}

/// Becomes true at SIGTERM.
fn ending_at_sigterm() -> Arc<AtomicBool> {
    let ending = Arc::new(AtomicBool::new(false));
    let seen = ending.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    std::thread::spawn(move || {
        runtime.block_on(async {
            let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
            terminate.recv().await;
            seen.store(true, Ordering::Relaxed);
        });
    });
    ending
}
