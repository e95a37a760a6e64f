//! The words between a member's state machine and the task that drives it: what to do next, and what came of it.
//!
//! Owns no behaviour but the reading of how grave a broker's refusal is. The machines (`classic_member.rs`,
//! `consumer_member.rs`) are pure; requests, clocks and the caller's hand-over are the driver's.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_protocol::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
};
use ottla_protocol::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use ottla_protocol::messages::join_group::{JoinGroupRequest, JoinGroupResponse};
use ottla_protocol::messages::leave_group::{LeaveGroupRequest, LeaveGroupResponse};
use ottla_protocol::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};
use ottla_protocol::{ErrorCode, Uuid};

use crate::clock::Instant;
use crate::{Error, TopicPartition};

/// Partitions that change hands. What is revoked goes first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) revoked: BTreeSet<TopicPartition>,
    /// What is revoked belongs to others already: nothing of it may be committed any more.
    pub(crate) lost: bool,
    pub(crate) assigned: BTreeSet<TopicPartition>,
}

impl Change {
    pub(crate) fn is_empty(&self) -> bool {
        self.revoked.is_empty() && self.assigned.is_empty()
    }
}

/// What a member has to have done next.
#[derive(Debug)]
pub(crate) enum Step {
    /// Send this, and tell the member of the answer.
    Send(MemberRequest),
    /// Have the caller hand these over, and tell the member once that is done.
    HandOver(Change),
    /// Find out how many partitions these topics have: the member leads and has to assign them.
    CountPartitions(BTreeSet<Arc<str>>),
    /// Find out the names of these topics.
    NameTopics(BTreeSet<Uuid>),
    /// The group was left as the caller wished.
    Left,
    /// Nothing before this time, or before something happens.
    Wait(Option<Instant>),
}

#[cfg(test)]
impl Step {
    /// Until when there is nothing to do; anything else fails the test.
    #[track_caller]
    pub(super) fn expect_wait(self) -> Option<Instant> {
        match self {
            Step::Wait(until) => until,
            other => panic!("{other:?} instead of a wait"),
        }
    }

    /// What changes hands.
    #[track_caller]
    pub(super) fn expect_hand_over(self) -> Change {
        match self {
            Step::HandOver(change) => change,
            other => panic!("{other:?} instead of a hand-over"),
        }
    }
}

/// A request of a member.
#[derive(Debug)]
pub(crate) enum MemberRequest {
    Join(JoinGroupRequest),
    Sync(SyncGroupRequest),
    Heartbeat(HeartbeatRequest),
    Leave(LeaveGroupRequest),
    ConsumerHeartbeat(ConsumerGroupHeartbeatRequest),
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum MemberResponse {
    Join(Result<JoinGroupResponse, Error>),
    Sync(Result<SyncGroupResponse, Error>),
    Heartbeat(Result<HeartbeatResponse, Error>),
    Leave(Result<LeaveGroupResponse, Error>),
    ConsumerHeartbeat(Result<ConsumerGroupHeartbeatResponse, Error>),
}

/// Who commits, as the coordinator is to check it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) member_id: String,
    /// The generation, or in the consumer protocol the member's epoch; -1 for who is no member.
    pub(crate) epoch: i32,
    pub(crate) instance_id: Option<String>,
    /// Whether it is an epoch of the consumer protocol.
    pub(crate) is_consumer_protocol: bool,
}

impl Identity {
    /// Who reads partitions that are assigned by hand.
    pub(crate) fn none() -> Identity {
        Identity { member_id: String::new(), epoch: -1, instance_id: None, is_consumer_protocol: false }
    }
}

/// True for a refusal that means: ask again who coordinates the group.
pub(crate) fn is_coordinator_gone(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable)
}
