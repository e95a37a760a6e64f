//! Questions about groups, each asked of the broker that coordinates the group.
//!
//! Owns the look-up of coordinators, the grouping by coordinator and the repetition of what failed in a way that may
//! pass: a coordinator that moved or still loads its groups, a lost connection. Invariant: every group asked for has
//! exactly one entry in the answer.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

use ottla_protocol::ApiKey;
use ottla_protocol::messages::find_coordinator::{Coordinator, FindCoordinatorRequest};
use tokio::task::JoinSet;

use crate::Error;
use crate::clock;
use crate::cluster::{Cluster, Lane};
use crate::connection::Connection;

/// What a coordinator is looked up for, as requests say it: a group, not a transactional id.
const GROUP: i8 = 0;

/// The first version of FindCoordinator that takes several groups at once (KIP-699).
const BATCHED: i16 = 4;

/// The groups of a question with one result each.
pub(crate) type ByGroup<T> = BTreeMap<String, Result<T, Error>>;

/// Asks each group's coordinator through `call`, which is given a connection and the groups to ask about there. Repeats
/// what failed and may pass until the API timeout.
pub(crate) async fn by_coordinator<T, F>(
    cluster: &Cluster,
    groups: BTreeSet<String>,
    call: impl Fn(Connection, Vec<String>) -> F,
) -> ByGroup<T>
where
    T: Send + 'static,
    F: Future<Output = Result<ByGroup<T>, Error>> + Send + 'static,
{
    let deadline = clock::now() + cluster.config().api_timeout;
    let mut backoff = cluster.backoff();
    let mut answers = ByGroup::new();
    let mut open = groups;
    loop {
        ask_once(cluster, open, &call, &mut answers).await;
        let failed = answers.iter().filter(|(_, answer)| answer.as_ref().is_err_and(Error::is_retriable));
        open = failed.map(|(group, _)| group.clone()).collect();
        let wait = backoff.next();
        if open.is_empty() || clock::now() + wait >= deadline {
            return answers;
        }
        cluster.request_update();
        tokio::time::sleep(wait).await;
    }
}

async fn ask_once<T, F>(
    cluster: &Cluster,
    open: BTreeSet<String>,
    call: &impl Fn(Connection, Vec<String>) -> F,
    answers: &mut ByGroup<T>,
) where
    T: Send + 'static,
    F: Future<Output = Result<ByGroup<T>, Error>> + Send + 'static,
{
    let mut by_node: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    for (group, coordinator) in find_coordinators(cluster, open).await {
        match coordinator {
            Ok(node) => by_node.entry(node).or_default().push(group),
            Err(error) => drop(answers.insert(group, Err(error))),
        }
    }
    let mut calls = JoinSet::new();
    for (node, groups) in by_node {
        match cluster.connection(node, Lane::Control).await {
            Ok(connection) => {
                let unanswered = unanswered(&connection);
                let call = call(connection, groups.clone());
                calls.spawn(async move { one_each(groups, call.await, &unanswered) });
            }
            Err(error) => answers.extend(one_each(groups, Err(error.clone()), &error)),
        }
    }
    while let Some(called) = calls.join_next().await {
        answers.extend(called.unwrap_or_default());
    }
}

/// The broker that coordinates each group: one attempt, one result for each group.
async fn find_coordinators(cluster: &Cluster, groups: BTreeSet<String>) -> ByGroup<i32> {
    let groups: Vec<String> = groups.into_iter().collect();
    let connection = match cluster.any_connection().await {
        Ok(connection) => connection,
        Err(error) => return one_each(groups, Err(error.clone()), &error),
    };
    let timeout = cluster.config().request_timeout;
    let found = match connection.version(ApiKey::FindCoordinator) {
        Ok(BATCHED..) => find_together(&connection, groups.clone(), timeout).await,
        Ok(_) => find_one_by_one(&connection, &groups, timeout).await,
        Err(error) => Err(error),
    };
    one_each(groups, found, &unanswered(&connection))
}

async fn find_together(
    connection: &Connection,
    coordinator_keys: Vec<String>,
    timeout: Duration,
) -> Result<ByGroup<i32>, Error> {
    let request = FindCoordinatorRequest { key_type: GROUP, coordinator_keys, ..Default::default() };
    let response = connection.request(&request, timeout).await?;
    let result = |found: Coordinator| {
        let answer = coordinator(connection, &found.key, found.error_code, found.error_message, found.node_id);
        (found.key, answer)
    };
    Ok(response.coordinators.into_iter().map(result).collect())
}

/// Before Kafka 3.0.
async fn find_one_by_one(connection: &Connection, groups: &[String], timeout: Duration) -> Result<ByGroup<i32>, Error> {
    let mut found = ByGroup::new();
    for group in groups {
        let request = FindCoordinatorRequest { key: group.clone(), key_type: GROUP, ..Default::default() };
        let response = connection.request(&request, timeout).await?;
        let answer = coordinator(connection, group, response.error_code, response.error_message, response.node_id);
        found.insert(group.clone(), answer);
    }
    Ok(found)
}

fn coordinator(
    connection: &Connection,
    group: &str,
    code: i16,
    message: Option<String>,
    node: i32,
) -> Result<i32, Error> {
    match code {
        0 => Ok(node),
        code => Err(Error::broker(ApiKey::FindCoordinator, code, connection.address(), group, message)),
    }
}

/// A result for each of `groups`: what was found, or the failure of all, or `unanswered` for those that an answer omits.
fn one_each<T>(groups: Vec<String>, found: Result<ByGroup<T>, Error>, unanswered: &Error) -> ByGroup<T> {
    match found {
        Ok(mut found) => {
            let answer = |group: String| {
                let answer = found.remove(&group).unwrap_or_else(|| Err(unanswered.clone()));
                (group, answer)
            };
            groups.into_iter().map(answer).collect()
        }
        Err(error) => groups.into_iter().map(|group| (group, Err(error.clone()))).collect(),
    }
}

/// The error of a group that a broker was asked about and left out of its answer.
fn unanswered(connection: &Connection) -> Error {
    let reason = "the answer leaves out a group that was asked for".into();
    Error::Disconnected { address: connection.address().clone(), reason }
}
