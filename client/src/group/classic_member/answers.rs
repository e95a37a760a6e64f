//! What follows for a classic member from each answer: the rules of Kafka's own consumer, code by code.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::heartbeat::HeartbeatResponse;
use ottla_protocol::messages::join_group::JoinGroupResponse;
use ottla_protocol::messages::sync_group::{SyncGroupRequestAssignment, SyncGroupResponse};

use super::super::assignor::{Member, PartitionCounts};
use super::super::embedded_protocol::{decode_assignment, decode_subscription, encode_assignment};
use super::{ClassicMember, State};
use crate::clock::Instant;
use crate::metadata::error_of;
use crate::{Assignor, Error};

impl ClassicMember {
    /// # Errors
    /// What ends the membership for good.
    pub(crate) fn joined(&mut self, now: Instant, response: Result<JoinGroupResponse, Error>) -> Result<(), Error> {
        if !matches!(self.state, State::Joining) || !self.asking {
            return Ok(());
        }
        self.asking = false;
        let Some(response) = self.retrying(now, response) else { return Ok(()) };
        let Some(code) = error_of(response.error_code) else {
            return self.join_succeeded(now, response);
        };
        match code {
            ErrorCode::MemberIdRequired => {
                self.member_id = response.member_id;
                self.retry_at = None;
            }
            ErrorCode::UnknownMemberId => self.rejoin_as_new(),
            code if code == ErrorCode::RebalanceInProgress || code.is_retriable() => {
                self.refusals.warn_of("JoinGroup", code);
                self.wait(now);
            }
            code => return Err(self.end(code)),
        }
        Ok(())
    }

    /// Takes in the leader's numbers of partitions.
    pub(crate) fn partitions_counted(&mut self, now: Instant, counts: Result<PartitionCounts, Error>) {
        let State::Assigning(members) = &mut self.state else { return };
        self.asking = false;
        let members = std::mem::take(members);
        let Some(assignor) = self.assignor else { return };
        match counts {
            Err(error) => {
                tracing::warn!(group = self.config.group_id, %error, "the leader cannot assign yet");
                self.state = State::Assigning(members);
                self.wait(now);
            }
            Ok(counts) => {
                let topics = members.iter().flat_map(|member| member.topics.clone()).collect();
                let shares = assignor.assign(members, &counts);
                self.led_by = Some((topics, counts));
                let shares = shares.into_iter().map(|(member_id, partitions)| SyncGroupRequestAssignment {
                    member_id,
                    assignment: encode_assignment(&partitions),
                });
                self.state = State::Syncing(shares.collect());
            }
        }
    }

    /// # Errors
    /// What ends the membership for good.
    pub(crate) fn synced(&mut self, now: Instant, response: Result<SyncGroupResponse, Error>) -> Result<(), Error> {
        if !matches!(self.state, State::Syncing(_)) || !self.asking {
            return Ok(());
        }
        self.asking = false;
        // Whatever goes wrong: the next generation is the way on.
        let Some(response) = self.retrying(now, response) else {
            self.state = State::Joining;
            return Ok(());
        };
        let Some(code) = error_of(response.error_code) else {
            let Some(target) = decode_assignment(response.assignment) else {
                return Err(self.end(ErrorCode::InconsistentGroupProtocol));
            };
            self.backoff.reset();
            self.refusals.are_over();
            self.state = State::Completing(target);
            self.heartbeat_at = Some(now + self.config.heartbeat_interval);
            return Ok(());
        };
        match code {
            ErrorCode::RebalanceInProgress => self.state = State::Joining,
            ErrorCode::UnknownMemberId => self.rejoin_as_new(),
            ErrorCode::IllegalGeneration => {
                self.lose_membership(false);
                self.state = State::Preparing;
            }
            code if code.is_retriable() => {
                self.refusals.warn_of("SyncGroup", code);
                self.state = State::Joining;
                self.wait(now);
            }
            code => return Err(self.end(code)),
        }
        Ok(())
    }

    /// # Errors
    /// What ends the membership for good.
    pub(crate) fn beaten(
        &mut self,
        now: Instant,
        generation: i32,
        response: Result<HeartbeatResponse, Error>,
    ) -> Result<(), Error> {
        self.beating = false;
        if generation != self.generation {
            return Ok(());
        }
        let code = match response {
            Ok(response) => error_of(response.error_code),
            Err(error) if error.is_retriable() => {
                tracing::warn!(group = self.config.group_id, %error, "a heartbeat failed");
                self.heartbeat_at = Some(now + self.backoff.next());
                return Ok(());
            }
            Err(error) => {
                self.end_now();
                return Err(error);
            }
        };
        self.heartbeat_at = Some(now + self.config.heartbeat_interval);
        match code {
            None => {
                self.backoff.reset();
                self.refusals.are_over();
            }
            Some(_) if !self.may_beat() => {}
            Some(ErrorCode::RebalanceInProgress) => self.request_rejoin("the group is rebalancing"),
            Some(ErrorCode::UnknownMemberId) => self.rejoin_as_new(),
            Some(ErrorCode::IllegalGeneration) => {
                self.lose_membership(false);
                self.leave_state_for(State::Preparing);
            }
            Some(code) if code.is_retriable() => {
                self.refusals.warn_of("Heartbeat", code);
                self.heartbeat_at = Some(now + self.backoff.next());
            }
            Some(code) => return Err(self.end(code)),
        }
        Ok(())
    }

    fn join_succeeded(&mut self, now: Instant, response: JoinGroupResponse) -> Result<(), Error> {
        let named = |assignor: &&Assignor| Some(assignor.name()) == response.protocol_name.as_deref();
        let Some(assignor) = self.config.assignors.iter().find(named) else {
            return Err(self.end(ErrorCode::InconsistentGroupProtocol));
        };
        self.assignor = Some(*assignor);
        self.generation = response.generation_id;
        let leads = response.leader == response.member_id;
        self.member_id = response.member_id;
        self.heartbeat_at = Some(now + self.config.heartbeat_interval);
        self.retry_at = None;
        if !leads {
            self.led_by = None;
        }
        let members = response.members.into_iter().filter_map(|member| {
            decode_subscription(&member.member_id, member.group_instance_id.as_deref(), member.metadata)
        });
        let members: Vec<Member> = members.collect();
        self.state = match leads && !response.skip_assignment {
            true => State::Assigning(members),
            // A static leader that came back leaves the assignment as it was (KIP-814).
            false => State::Syncing(Vec::new()),
        };
        Ok(())
    }

    /// The answer; what failed on the way is tried again later.
    fn retrying<T>(&mut self, now: Instant, response: Result<T, Error>) -> Option<T> {
        match response {
            Ok(response) => Some(response),
            Err(error) => {
                tracing::warn!(group = self.config.group_id, %error, "joining the group failed, will be repeated");
                self.wait(now);
                None
            }
        }
    }
}
