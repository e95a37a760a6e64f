//! Questions about many partitions, each asked of the broker that leads the partition.
//!
//! Owns the grouping by leader and the repetition of what failed in a way that may pass. Invariant: every partition asked
//! for has exactly one entry in the answer.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::clock;
use crate::cluster::{Cluster, Lane};
use crate::connection::Connection;
use crate::{Error, TopicPartition};

/// What is asked about one partition.
#[derive(Debug, Clone)]
pub(crate) struct Asked<P> {
    pub(crate) partition: TopicPartition,
    /// The leader's term, as the broker is to check it; -1 if unknown.
    pub(crate) leader_epoch: i32,
    pub(crate) question: P,
}

/// The answers, partition by partition.
pub(crate) type Answers<T> = Vec<(TopicPartition, Result<T, Error>)>;

/// Asks each partition's leader through `call`, which is given a connection and what to ask there. Repeats what failed
/// and may pass until the API timeout.
pub(crate) async fn by_leader<P, T, F>(
    cluster: &Cluster,
    questions: BTreeMap<TopicPartition, P>,
    call: impl Fn(Connection, Vec<Asked<P>>) -> F,
) -> BTreeMap<TopicPartition, Result<T, Error>>
where
    P: Clone,
    T: Send + 'static,
    F: Future<Output = Result<Answers<T>, Error>> + Send + 'static,
{
    let deadline = clock::now() + cluster.config().api_timeout;
    let mut backoff = cluster.backoff();
    let mut answers = BTreeMap::new();
    let mut open = questions.clone();
    loop {
        ask_once(cluster, open, &call, &mut answers).await;
        let failed = answers.iter().filter(|(_, answer)| answer.as_ref().is_err_and(may_pass));
        open =
            failed.filter_map(|(partition, _)| Some((partition.clone(), questions.get(partition)?.clone()))).collect();
        let wait = backoff.next();
        if open.is_empty() || clock::now() + wait >= deadline {
            return answers;
        }
        cluster.request_update();
        tokio::time::sleep(wait).await;
    }
}

async fn ask_once<P, T, F>(
    cluster: &Cluster,
    open: BTreeMap<TopicPartition, P>,
    call: &impl Fn(Connection, Vec<Asked<P>>) -> F,
    answers: &mut BTreeMap<TopicPartition, Result<T, Error>>,
) where
    T: Send + 'static,
    F: Future<Output = Result<Answers<T>, Error>> + Send + 'static,
{
    let mut by_leader: BTreeMap<i32, Vec<Asked<P>>> = BTreeMap::new();
    for (partition, question) in open {
        match cluster.led_partition(&partition).await {
            Ok((leader, found)) => {
                let leader_epoch = found.leader_epoch;
                by_leader.entry(leader).or_default().push(Asked { partition, leader_epoch, question });
            }
            Err(error) => drop(answers.insert(partition, Err(error))),
        }
    }
    let mut calls = JoinSet::new();
    for (leader, asked) in by_leader {
        let partitions: Vec<TopicPartition> = asked.iter().map(|asked| asked.partition.clone()).collect();
        match cluster.connection(leader, Lane::Control).await {
            Ok(connection) => {
                let unanswered = unanswered(&connection);
                let call = call(connection, asked);
                calls.spawn(async move { (partitions, call.await, unanswered) });
            }
            Err(error) => answers.extend(partitions.into_iter().map(|partition| (partition, Err(error.clone())))),
        }
    }
    while let Some(called) = calls.join_next().await {
        let Ok((partitions, outcome, unanswered)) = called else { continue };
        let outcome = outcome.unwrap_or_else(|error| {
            partitions.iter().map(|partition| (partition.clone(), Err(error.clone()))).collect()
        });
        let mut found: BTreeMap<TopicPartition, Result<T, Error>> = outcome.into_iter().collect();
        for partition in partitions {
            let answer = found.remove(&partition).unwrap_or_else(|| Err(unanswered.clone()));
            answers.insert(partition, answer);
        }
    }
}

/// The error of a partition that a broker was asked about and left out of its answer.
fn unanswered(connection: &Connection) -> Error {
    let reason = "the answer leaves out a partition that was asked for".into();
    Error::Disconnected { address: connection.address().clone(), reason }
}

/// Whether asking again may help. A topic that stayed unknown, or of which nothing was heard, had its time already.
fn may_pass(error: &Error) -> bool {
    match error {
        Error::MetadataTimeout { .. } => false,
        Error::Broker(refusal) if refusal.api == ottla_protocol::ApiKey::Metadata => {
            refusal.code == ottla_protocol::ErrorCode::LeaderNotAvailable
        }
        error => error.is_retriable(),
    }
}

/// Gathers what belongs to one topic, as most requests want it.
pub(crate) fn by_topic<P>(asked: Vec<Asked<P>>) -> BTreeMap<Arc<str>, Vec<Asked<P>>> {
    let mut topics: BTreeMap<Arc<str>, Vec<Asked<P>>> = BTreeMap::new();
    for asked in asked {
        topics.entry(asked.partition.topic.clone()).or_default().push(asked);
    }
    topics
}
