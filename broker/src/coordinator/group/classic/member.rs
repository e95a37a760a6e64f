//! A member of a classic group: what it said about itself, what it was assigned, and whether it waits for an answer.

use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::messages::group_records::MemberMetadata;

use super::Context;
use crate::coordinator::group::consumer_migration::UpgradedMember;
use crate::coordinator::group::group_shard::TimerKey;
use crate::coordinator::group::outcome::Token;
use crate::coordinator::group::timers::Timer;

/// Who a client says it is, and where it calls from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientIdentity {
    /// The client id of its requests.
    pub(crate) client_id: String,
    /// Its address, in the form `/ADDRESS`.
    pub(crate) client_host: String,
}

/// What a member takes beside its texts and what it says.
const MEMBER_BYTES: usize = 256;
/// What a protocol takes beside its name and what is said in it.
const PROTOCOL_BYTES: usize = 96;

/// An estimate of what the protocols of a member take in memory.
pub(super) fn protocols_bytes(protocols: &[(String, Bytes)]) -> usize {
    protocols.iter().map(|(name, metadata)| PROTOCOL_BYTES + name.len() + metadata.len()).sum()
}

/// A member.
#[derive(Debug)]
pub(in crate::coordinator::group) struct ClassicMember {
    /// Of a static member (KIP-345).
    pub(in crate::coordinator::group) instance_id: Option<String>,
    pub(in crate::coordinator::group) client: ClientIdentity,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    /// What it can speak, the best first, and what it says in each.
    pub(super) protocols: Vec<(String, Bytes)>,
    /// What the leader of the generation has assigned to it; empty before.
    pub(in crate::coordinator::group) assignment: Bytes,
    /// Who waits for JoinGroup.
    pub(super) awaiting_join: Option<Token>,
    /// Who waits for SyncGroup.
    pub(super) awaiting_sync: Option<Token>,
    /// It has not been told its id yet, so it cannot be heard of; nor can it be told when it is gone.
    pub(super) is_new: bool,
    /// The end of its session.
    pub(super) session: Timer,
    /// In milliseconds since 1970; -1 for one that was loaded and not heard of since.
    pub(in crate::coordinator::group) last_heard_ms: i64,
}

impl ClassicMember {
    /// A member as the log has it.
    pub(super) fn from_record(recorded: &MemberMetadata, protocol: &str) -> Self {
        let session_timeout_ms = recorded.session_timeout;
        let rebalance_timeout_ms = match recorded.rebalance_timeout {
            -1 => session_timeout_ms,
            timeout => timeout,
        };
        Self {
            instance_id: recorded.group_instance_id.clone(),
            client: ClientIdentity { client_id: recorded.client_id.clone(), client_host: recorded.client_host.clone() },
            rebalance_timeout_ms,
            session_timeout_ms,
            // Copies: the record is a part of what was read from the log at once.
            protocols: vec![(protocol.to_owned(), Bytes::copy_from_slice(&recorded.subscription))],
            assignment: Bytes::copy_from_slice(&recorded.assignment),
            awaiting_join: None,
            awaiting_sync: None,
            is_new: false,
            session: Timer::default(),
            last_heard_ms: -1,
        }
    }

    /// Goes on as the member that was `known` until now: with who waits for it, its session, and what it can speak beside the
    /// `protocol` on record. The latter only if the record is of what it says now: when the log is read, one record follows
    /// another, and of the one before nothing holds any more.
    pub(super) fn keep_memory_of(&mut self, known: Self, protocol: &str) {
        if known.metadata(protocol) == self.metadata(protocol) {
            self.protocols = known.protocols;
        }
        self.awaiting_join = known.awaiting_join;
        self.awaiting_sync = known.awaiting_sync;
        self.is_new = known.is_new;
        self.session = known.session;
        self.last_heard_ms = known.last_heard_ms;
    }

    /// What it says in a protocol, if it speaks it.
    pub(in crate::coordinator::group) fn metadata(&self, protocol: &str) -> Option<Bytes> {
        self.protocols.iter().find(|(name, _)| name == protocol).map(|(_, metadata)| metadata.clone())
    }

    /// What goes on in a consumer group, with the protocol of the generation first.
    pub(in crate::coordinator::group) fn to_upgrade(&self, protocol: Option<&str>) -> UpgradedMember<'_> {
        let mut protocols = self.protocols.clone();
        protocols.sort_by_key(|(name, _)| Some(name.as_str()) != protocol);
        UpgradedMember {
            instance_id: self.instance_id.as_deref(),
            client_id: &self.client.client_id,
            client_host: &self.client.client_host,
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            session_timeout_ms: self.session_timeout_ms,
            protocols,
            assignment: &self.assignment,
        }
    }

    /// An estimate of what it takes in memory, and at most in a record of the group.
    pub(super) fn size_bytes(&self) -> usize {
        let texts = self.client.client_id.len() + self.instance_id.as_ref().map_or(0, String::len);
        MEMBER_BYTES + 2 * texts + protocols_bytes(&self.protocols)
    }

    pub(super) fn is_static(&self) -> bool {
        self.instance_id.is_some()
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.awaiting_join.is_some() || self.awaiting_sync.is_some()
    }

    /// The first of its protocols that all others speak too.
    pub(super) fn vote(&self, is_candidate: impl Fn(&str) -> bool) -> Option<&str> {
        self.protocols.iter().map(|(name, _)| name.as_str()).find(|name| is_candidate(name))
    }

    /// Lets its session end in so many milliseconds from now.
    pub(super) fn arm_session(&mut self, group: &Arc<str>, id: &Arc<str>, timeout_ms: i32, context: &mut Context<'_>) {
        let key = || TimerKey::Session { group: Arc::clone(group), member: Arc::clone(id) };
        context.timers.arm(&mut self.session, context.now.in_ms(timeout_ms), key);
    }
}
