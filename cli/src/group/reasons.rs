//! Why a group may not move, in words: what its description and its offsets tell at one moment, and what only time tells.

use std::collections::BTreeMap;

use ottla_client::GroupState;

use super::partition_set::PartitionSet;
use super::view::{GroupView, MemberView, PartitionView};
use crate::output::{plural, span};
use crate::timestamp::format_timestamp;

/// How long a member may say nothing before it is mentioned: members are to send a heartbeat every 3 to 5 s, and have at
/// least 6 s (as a rule 45 s) until the coordinator gives them up.
const SILENT_MS: i64 = 10_000;

/// What can be seen at one moment.
pub(super) fn reasons(group: &GroupView, now_ms: i64) -> Vec<String> {
    let mut reasons = Vec::new();
    let since = || since(group.state_since_ms, now_ms);
    match &group.state {
        GroupState::Empty if group.lag > 0 => {
            reasons.push(format!("no members{}, and {} wait", since(), plural(group.lag, "record")));
        }
        GroupState::Empty => reasons.push(format!("no members{}", since())),
        GroupState::PreparingRebalance if group.members.iter().all(|member| member.is_awaited == Some(false)) => {
            reasons.push(format!("rebalancing{}: all members have joined again, and more may come", since()));
        }
        GroupState::PreparingRebalance => {
            reasons.push(format!("rebalancing{}: the members are to join again{}", since(), awaited(group)));
        }
        GroupState::CompletingRebalance => {
            let awaited = awaited(group);
            reasons.push(format!("rebalancing{}: the leader is to assign the partitions{awaited}", since()));
        }
        GroupState::Assigning | GroupState::Reconciling => {
            reasons.push(format!("rebalancing{}: not every member has what the assignment says", since()));
        }
        GroupState::Stable | GroupState::Dead => {}
        other => reasons.push(format!("in state {other}{}", since())),
    }
    reasons.extend(group.members.iter().filter_map(|member| unreconciled(member, group.group_epoch)));
    reasons.extend(group.members.iter().filter_map(|member| silent(member, &group.state, now_ms)));
    if group.state == GroupState::Stable {
        reasons.extend(without_owner(group));
    }
    reasons.extend(without_commit(group));
    reasons.extend(group.partitions.iter().filter_map(out_of_range));
    reasons
}

/// ` since TIME (SPAN)`, if the time is known.
fn since(since_ms: Option<i64>, now_ms: i64) -> String {
    since_ms.map_or_else(String::new, |since| {
        format!(" since {} ({})", format_timestamp(since), span((now_ms - since).max(0)))
    })
}

/// For whom a classic group waits, where the broker says.
fn awaited(group: &GroupView) -> String {
    let awaited = group.members.iter().filter(|member| member.is_awaited == Some(true));
    let names: Vec<String> = awaited.map(MemberView::name).collect();
    if names.is_empty() { String::new() } else { format!("; it waits for {}", names.join(", ")) }
}

/// A member of a consumer group that has not what it is to have.
fn unreconciled(member: &MemberView, group_epoch: Option<i32>) -> Option<String> {
    let (has, is_to_have) = (member.partitions.as_ref()?, member.target_partitions.as_ref()?);
    let (surplus, missing) = (has.without(is_to_have), is_to_have.without(has));
    let (epoch, group_epoch) = (member.epoch?, group_epoch?);
    let mut open = Vec::new();
    if !surplus.is_empty() {
        open.push(format!("is to give up {surplus}"));
    }
    if !missing.is_empty() {
        open.push(format!("is to get {missing}"));
    }
    if epoch < group_epoch {
        open.push(format!("has followed to epoch {epoch} of {group_epoch}"));
    }
    (!open.is_empty()).then(|| format!("member {} {}", member.name(), open.join(", ")))
}

fn silent(member: &MemberView, state: &GroupState, now_ms: i64) -> Option<String> {
    // Who has joined again has nothing to say until the others have.
    let waits = member.is_awaited == Some(false) && state == &GroupState::PreparingRebalance;
    let heard = member.last_heard_ms.filter(|heard| !waits && now_ms - heard >= SILENT_MS)?;
    Some(format!("member {} is silent{}", member.name(), since(Some(heard), now_ms)))
}

/// Partitions that nobody reads although the group is settled: those that a member subscribes to, and those that were
/// read before.
fn without_owner(group: &GroupView) -> Vec<String> {
    let by_regex = group.members.iter().any(|member| member.topic_regex.is_some());
    let subscribes = |topic: &String| {
        let topics = group.members.iter().filter_map(|member| member.topics.as_ref());
        topics.flatten().any(|one| one == topic)
    };
    let (mut subscribed, mut others) = (PartitionSet::default(), PartitionSet::default());
    for partition in group.partitions.iter().filter(|one| one.owner.is_none() && one.problem.is_none()) {
        let set = if subscribes(&partition.topic) { &mut subscribed } else { &mut others };
        set.insert(&partition.topic, partition.partition);
    }
    let mut reasons = Vec::new();
    if !subscribed.is_empty() {
        reasons.push(format!("no owner: {subscribed}, which members subscribe to"));
    }
    if !others.is_empty() {
        let regex = if by_regex { ", nor matches what they match" } else { "" };
        reasons.push(format!("no owner: {others}, which no member names{regex}"));
    }
    reasons
}

/// Partitions with records of which the group has not committed one.
fn without_commit(group: &GroupView) -> Option<String> {
    let (mut partitions, mut waiting) = (PartitionSet::default(), 0);
    for partition in group.partitions.iter().filter(|one| one.is_never_committed) {
        if let Some(lag) = partition.lag.filter(|lag| *lag > 0) {
            partitions.insert(&partition.topic, partition.partition);
            waiting += lag;
        }
    }
    let records = plural(waiting, "record");
    (!partitions.is_empty())
        .then(|| format!("nothing committed yet for {partitions}: {records} there, from the start of the log"))
}

fn out_of_range(partition: &PartitionView) -> Option<String> {
    let at = format!("{}-{}", partition.topic, partition.partition);
    if let Some(problem) = &partition.problem {
        return Some(format!("{at} is not known: {problem}"));
    }
    let committed = partition.committed_offset?;
    let (start, end) = (partition.log_start_offset?, partition.log_end_offset?);
    if committed < start {
        return Some(format!(
            "{at}: the committed offset {committed} is deleted, the log starts at {start}; readers go where their \
             auto.offset.reset says"
        ));
    }
    (committed > end).then(|| {
        format!(
            "{at}: the committed offset {committed} is beyond the end of the log, {end}; readers go where their \
             auto.offset.reset says"
        )
    })
}

/// Since when each committed offset is where it is, or is not there yet, over several looks.
#[derive(Debug, Default)]
pub(super) struct Watch {
    since: BTreeMap<(String, String, i32), Seen>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    /// `None` where nothing is committed yet.
    committed: Option<i64>,
    since_ms: i64,
    waits: bool,
}

impl Watch {
    /// The partitions in which records wait, as they did at the last look, and the committed offset is the same.
    pub(super) fn stuck(&mut self, group: &GroupView, now_ms: i64) -> Vec<String> {
        let mut reasons = Vec::new();
        for partition in &group.partitions {
            let key = (group.group.clone(), partition.topic.clone(), partition.partition);
            let committed = partition.committed_offset;
            if committed.is_none() && !partition.is_never_committed {
                self.since.remove(&key);
                continue;
            }
            let lag = partition.lag.unwrap_or_default();
            let now = Seen { committed, since_ms: now_ms, waits: lag > 0 };
            match self.since.get(&key) {
                Some(before) if before.committed == committed && before.waits && now.waits => {
                    let still = span(now_ms - before.since_ms);
                    let owner = partition.owner.as_deref().unwrap_or("nobody");
                    let what = match committed {
                        Some(committed) => format!("the committed offset {committed} has not moved"),
                        None => "nothing has been committed".to_owned(),
                    };
                    reasons.push(format!(
                        "{}-{} is stuck: {what} for {still} while {} wait; it belongs to {owner}",
                        partition.topic,
                        partition.partition,
                        plural(lag, "record"),
                    ));
                }
                _ => drop(self.since.insert(key, now)),
            }
        }
        reasons
    }
}

#[cfg(test)]
#[path = "reasons_test.rs"]
mod tests;
