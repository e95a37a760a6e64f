//! A member of a classic group: JoinGroup, SyncGroup, Heartbeat, LeaveGroup (KIP-62, KIP-345, KIP-394, KIP-429).
//!
//! A pure state machine: [`ClassicMember::next`] says what to do at a time, the other methods what happened. Owns the
//! member's id and generation, what it owns, and what follows from each answer. Requests and hand-overs are the driver's.
//!
//! ```text
//! Idle -- subscribe --> Preparing -- handed over --> Joining -- leader --> Assigning --> Syncing --> Completing --> Stable
//!                           ^            (not leader: Joining --> Syncing)                                            |
//!                           +-- rejoin asked for, subscription or partitions changed, membership lost ----------------+
//! any -- poll interval exceeded --> Stale -- polled --> Preparing;   any -- unsubscribe --> Leaving --> Idle
//! ```
//!
//! Who leaves in the middle of a rebalance goes on with it for as long as something is being handed over.
//!
//! Invariants: one hand-over at a time; no JoinGroup while partitions that have to be given up first are still owned
//! (all of them, unless every assignor is cooperative); heartbeats go on whenever there is a generation and no JoinGroup or
//! SyncGroup is on its way, also while the caller takes its time with a hand-over.

mod answers;

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::heartbeat::HeartbeatRequest;
use ottla_protocol::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use ottla_protocol::messages::leave_group::{LeaveGroupRequest, MemberIdentity};
use ottla_protocol::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};

use super::assignor::{Member, PartitionCounts};
use super::embedded_protocol::{PROTOCOL_TYPE, encode_subscription};
use super::refusal::Refusals;
use super::step::{Change, Identity, MemberRequest, Step};
use crate::clock::{Backoff, Instant};
use crate::{Assignor, Error, GroupConfig, TopicPartition};

/// No member of any generation.
const NO_GENERATION: i32 = -1;

#[derive(Debug)]
enum State {
    Idle,
    /// A join is due; what has to be given up goes first.
    Preparing,
    Joining,
    /// The leader waits to be told how many partitions there are.
    Assigning(Vec<Member>),
    Syncing(Vec<SyncGroupRequestAssignment>),
    /// The share is known and is being handed over.
    Completing(BTreeSet<TopicPartition>),
    Stable,
    /// Left because the caller did not ask for records for too long.
    Stale,
    Leaving,
}

#[derive(Debug)]
pub(crate) struct ClassicMember {
    config: GroupConfig,
    refusals: Refusals,
    backoff: Backoff,
    subscription: BTreeSet<Arc<str>>,
    state: State,
    member_id: String,
    generation: i32,
    assignor: Option<Assignor>,
    owned: BTreeSet<TopicPartition>,
    /// What is owned belongs to others already.
    fenced: bool,
    /// Why the group has to be joined again, once what goes on is done.
    rejoin: Option<String>,
    joined_with: BTreeSet<Arc<str>>,
    /// What the leader assigned by: other numbers mean another assignment.
    led_by: Option<(BTreeSet<Arc<str>>, PartitionCounts)>,
    handing_over: Option<Change>,
    /// The caller wants to leave in the middle of a rebalance: what is owned is handed over beside it, since commits need a
    /// generation that the coordinator takes. The state is left with the rebalance, or once nothing is owned.
    leaving: bool,
    /// A JoinGroup, SyncGroup or the leader's question is on its way.
    asking: bool,
    beating: bool,
    heartbeat_at: Option<Instant>,
    retry_at: Option<Instant>,
}

impl ClassicMember {
    pub(crate) fn new(config: GroupConfig, backoff: Backoff) -> Self {
        ClassicMember {
            refusals: Refusals::new(&config),
            config,
            backoff,
            subscription: BTreeSet::new(),
            state: State::Idle,
            member_id: String::new(),
            generation: NO_GENERATION,
            assignor: None,
            owned: BTreeSet::new(),
            fenced: false,
            rejoin: None,
            joined_with: BTreeSet::new(),
            led_by: None,
            handing_over: None,
            leaving: false,
            asking: false,
            beating: false,
            heartbeat_at: None,
            retry_at: None,
        }
    }

    /// What to do now. To be asked again after each thing done and each thing that happened.
    pub(crate) fn next(&mut self, now: Instant) -> Step {
        if let Some(heartbeat) = self.heartbeat(now) {
            return heartbeat;
        }
        if self.leaving && (self.owned.is_empty() || !self.is_rebalancing()) {
            self.leave_now();
        }
        let next_heartbeat = self.heartbeat_at.filter(|_| self.may_beat() && !self.beating);
        match (self.leaving, self.handing_over.is_some()) {
            (true, false) => return self.hand_over(self.everything()),
            (false, true) => return Step::Wait(next_heartbeat),
            (true, true) | (false, false) => {}
        }
        loop {
            match &self.state {
                State::Idle | State::Stale => return Step::Wait(None),
                State::Stable => match self.reason_to_rejoin() {
                    None => return Step::Wait(next_heartbeat),
                    Some(reason) => {
                        self.rejoin = Some(reason);
                        self.state = State::Preparing;
                    }
                },
                State::Preparing => match self.given_up_before_joining() {
                    change if change.is_empty() => {
                        self.fenced = false;
                        self.state = State::Joining;
                    }
                    change => return self.hand_over(change),
                },
                State::Completing(target) => {
                    let change = Change {
                        revoked: self.owned.difference(target).cloned().collect(),
                        lost: false,
                        assigned: target.difference(&self.owned).cloned().collect(),
                    };
                    if !change.is_empty() {
                        return self.hand_over(change);
                    }
                    self.state = State::Stable;
                }
                State::Leaving if self.asking => return Step::Wait(None),
                State::Leaving => {
                    let change = self.everything();
                    return if change.is_empty() { self.leave() } else { self.hand_over(change) };
                }
                State::Joining | State::Assigning(_) | State::Syncing(_) if self.asking => return Step::Wait(None),
                State::Joining | State::Assigning(_) | State::Syncing(_) => {
                    return match self.retry_at.filter(|retry_at| *retry_at > now) {
                        Some(retry_at) => Step::Wait(Some(retry_at)),
                        None => self.ask(),
                    };
                }
            }
        }
    }

    /// Who commits now; `None` while nobody could.
    pub(crate) fn identity(&self) -> Option<Identity> {
        (self.generation != NO_GENERATION && !self.fenced).then(|| Identity {
            member_id: self.member_id.clone(),
            epoch: self.generation,
            instance_id: self.config.group_instance_id.clone(),
            is_consumer_protocol: false,
        })
    }

    /// Whether a refused commit by `identity` may be repeated: by what the member has become since, or will be soon.
    pub(crate) fn has_moved_on(&self, identity: &Identity) -> bool {
        let underway = matches!(self.state, State::Joining | State::Assigning(_) | State::Syncing(_));
        underway || self.identity().is_some_and(|own| own != *identity)
    }

    /// Reads these topics from now on.
    pub(crate) fn subscribe(&mut self, topics: BTreeSet<Arc<str>>) {
        self.subscription = topics;
        self.leaving = false;
        if matches!(self.state, State::Idle | State::Leaving) {
            self.rejoin = None;
            self.retry_at = None;
            self.asking = false;
            self.state = State::Preparing;
        }
    }

    /// Gives everything up and leaves; [`Step::Left`] follows.
    pub(crate) fn unsubscribe(&mut self) {
        self.subscription.clear();
        self.leaving = self.is_rebalancing() && !self.owned.is_empty();
        if !self.leaving {
            self.leave_now();
        }
    }

    /// Joins again as soon as possible.
    pub(crate) fn request_rejoin(&mut self, reason: &str) {
        self.rejoin.get_or_insert_with(|| reason.to_owned());
    }

    /// The topics whose numbers of partitions the leader has to watch.
    pub(crate) fn led_topics(&self) -> impl Iterator<Item = &Arc<str>> {
        self.led_by.iter().flat_map(|(topics, _)| topics)
    }

    /// Compares what is now known with what the leader assigned by.
    pub(crate) fn partitions_seen(&mut self, count: impl Fn(&str) -> Option<i32>) {
        let Some((topics, counts)) = &self.led_by else { return };
        let changed = |topic: &&Arc<str>| {
            count(topic).is_some_and(|count| count != counts.get(&***topic).copied().unwrap_or_default())
        };
        if let Some(topic) = topics.iter().find(changed) {
            let reason = format!("the partitions of {topic} changed");
            self.rejoin.get_or_insert(reason);
        }
    }

    /// The caller asked for nothing for too long: leaves. Returns the request to send, where there is one.
    pub(crate) fn poll_expired(&mut self) -> Option<MemberRequest> {
        if matches!(self.state, State::Idle | State::Stale | State::Leaving) {
            return None;
        }
        let leave = self.leave_request("the caller did not ask for records within max.poll.interval");
        self.lose_membership(true);
        self.asking = false;
        self.state = State::Stale;
        leave
    }

    /// The caller asks for records again.
    pub(crate) fn polled(&mut self) {
        if matches!(self.state, State::Stale) {
            self.state = State::Preparing;
        }
    }

    /// A commit was refused because the group does not know this member any more.
    pub(crate) fn fenced_by_commit(&mut self) {
        if self.may_beat() {
            self.rejoin_as_new();
        }
    }

    pub(crate) fn handed_over(&mut self) {
        let Some(change) = self.handing_over.take() else { return };
        self.owned.retain(|partition| !change.revoked.contains(partition));
        if matches!(self.state, State::Completing(_)) && !change.revoked.is_empty() {
            // Only now may the leader give them to others.
            self.request_rejoin("partitions were given up for others");
        }
        self.owned.extend(change.assigned);
        if self.owned.is_empty() {
            self.fenced = false;
        }
    }

    /// A JoinGroup is on its way, or its answer asks for more.
    fn is_rebalancing(&self) -> bool {
        match self.state {
            State::Joining => self.asking,
            State::Assigning(_) | State::Syncing(_) => true,
            _ => false,
        }
    }

    fn leave_now(&mut self) {
        self.leaving = false;
        self.asking = false;
        self.state = State::Leaving;
    }

    /// The hand-over of all that is owned.
    fn everything(&self) -> Change {
        Change { revoked: self.owned.clone(), lost: self.fenced, ..Change::default() }
    }

    fn may_beat(&self) -> bool {
        let steady = matches!(self.state, State::Preparing | State::Completing(_) | State::Stable | State::Leaving);
        self.generation != NO_GENERATION && steady
    }

    fn heartbeat(&mut self, now: Instant) -> Option<Step> {
        if !self.may_beat() || self.beating || self.heartbeat_at.is_some_and(|at| at > now) {
            return None;
        }
        self.beating = true;
        Some(Step::Send(MemberRequest::Heartbeat(HeartbeatRequest {
            group_id: self.config.group_id.clone(),
            generation_id: self.generation,
            member_id: self.member_id.clone(),
            group_instance_id: self.config.group_instance_id.clone(),
        })))
    }

    fn reason_to_rejoin(&mut self) -> Option<String> {
        match self.rejoin.take() {
            None if self.joined_with != self.subscription => Some("the subscription changed".to_owned()),
            reason => reason,
        }
    }

    /// What nobody may have any more when a join begins.
    fn given_up_before_joining(&self) -> Change {
        let cooperative = self.config.assignors.iter().all(|assignor| assignor.is_cooperative());
        let stays =
            |partition: &&TopicPartition| cooperative && !self.fenced && self.subscription.contains(&partition.topic);
        let revoked = self.owned.iter().filter(|partition| !stays(partition)).cloned().collect();
        Change { revoked, lost: self.fenced, ..Change::default() }
    }

    fn hand_over(&mut self, change: Change) -> Step {
        self.handing_over = Some(change.clone());
        Step::HandOver(change)
    }

    fn ask(&mut self) -> Step {
        self.asking = true;
        match &self.state {
            State::Assigning(members) => {
                Step::CountPartitions(members.iter().flat_map(|member| member.topics.clone()).collect())
            }
            State::Syncing(assignments) => Step::Send(MemberRequest::Sync(SyncGroupRequest {
                group_id: self.config.group_id.clone(),
                generation_id: self.generation,
                member_id: self.member_id.clone(),
                group_instance_id: self.config.group_instance_id.clone(),
                protocol_type: Some(PROTOCOL_TYPE.to_owned()),
                protocol_name: self.assignor.map(|assignor| assignor.name().to_owned()),
                assignments: assignments.clone(),
            })),
            _ => self.join(),
        }
    }

    fn join(&mut self) -> Step {
        self.joined_with.clone_from(&self.subscription);
        let protocol = |assignor: &Assignor| JoinGroupRequestProtocol {
            name: assignor.name().to_owned(),
            metadata: encode_subscription(
                &self.subscription,
                &self.owned,
                self.generation,
                assignor.user_data(&self.owned, self.generation),
            ),
        };
        Step::Send(MemberRequest::Join(JoinGroupRequest {
            group_id: self.config.group_id.clone(),
            session_timeout_ms: self.config.session_timeout.as_millis() as i32,
            rebalance_timeout_ms: self.config.max_poll_interval.as_millis() as i32,
            member_id: self.member_id.clone(),
            group_instance_id: self.config.group_instance_id.clone(),
            protocol_type: PROTOCOL_TYPE.to_owned(),
            protocols: self.config.assignors.iter().map(protocol).collect(),
            reason: self.rejoin.take(),
        }))
    }

    fn wait(&mut self, now: Instant) {
        self.retry_at = Some(now + self.backoff.next());
    }

    /// The group does not know this member (any more).
    fn rejoin_as_new(&mut self) {
        self.lose_membership(true);
        self.leave_state_for(State::Preparing);
    }

    fn leave_state_for(&mut self, state: State) {
        if !matches!(self.state, State::Leaving) {
            self.state = state;
        }
    }

    fn lose_membership(&mut self, with_id: bool) {
        if with_id {
            self.member_id.clear();
        }
        self.generation = NO_GENERATION;
        self.fenced = !self.owned.is_empty() || self.handing_over.is_some();
        self.led_by = None;
        self.heartbeat_at = None;
    }

    fn end(&mut self, code: ErrorCode) -> Error {
        self.end_now();
        self.refusals.of(code)
    }

    /// The membership cannot go on: what is owned is lost.
    pub(crate) fn end_now(&mut self) {
        self.lose_membership(true);
        self.asking = false;
        self.subscription.clear();
        self.state = State::Leaving;
    }

    fn leave(&mut self) -> Step {
        if let Some(leave) = self.leave_request("the consumer was closed or unsubscribed") {
            self.lose_membership(true);
            self.asking = true;
            return Step::Send(leave);
        }
        self.lose_membership(true);
        self.state = State::Idle;
        Step::Left
    }

    /// The request to leave was answered, or is lost: the session's end does the same.
    pub(crate) fn left(&mut self) {
        if matches!(self.state, State::Leaving) {
            self.asking = false;
        }
    }

    /// Static members do not say that they go: they may be back before their session ends (KIP-345).
    fn leave_request(&self, reason: &str) -> Option<MemberRequest> {
        (!self.member_id.is_empty() && self.config.group_instance_id.is_none()).then(|| {
            let identity = MemberIdentity {
                member_id: self.member_id.clone(),
                group_instance_id: None,
                reason: Some(reason.to_owned()),
            };
            MemberRequest::Leave(LeaveGroupRequest {
                group_id: self.config.group_id.clone(),
                member_id: String::new(),
                members: vec![identity],
            })
        })
    }
}

#[cfg(test)]
#[path = "classic_member_test.rs"]
mod tests;
