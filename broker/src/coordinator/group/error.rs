//! Why the group coordinator refuses a request. Which code a client gets is decided in `api/error_map.rs`.

/// A refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum GroupError {
    /// A group id that no group can have.
    #[error("the group id is empty")]
    InvalidGroupId,
    /// No such group, or one of the other protocol.
    #[error("there is no such group")]
    GroupIdNotFound,
    /// A member that the group does not have.
    #[error("the group has no such member")]
    UnknownMemberId,
    /// The instance id belongs to a member that joined later (KIP-345).
    #[error("the instance id belongs to another member by now")]
    FencedInstanceId,
    /// A generation other than the group's.
    #[error("the generation is not the group's")]
    IllegalGeneration,
    /// An epoch other than the member's (KIP-848).
    #[error("the epoch is not the member's")]
    StaleMemberEpoch,
    /// A request of a version that knows no epochs, from a member that has one (KIP-848).
    #[error("the version of the request is older than members with epochs")]
    UnsupportedVersion,
    /// A protocol type or name that does not go with the group's.
    #[error("the protocol is not the group's")]
    InconsistentGroupProtocol,
    /// A session timeout outside `group.min.session.timeout.ms` to `group.max.session.timeout.ms`.
    #[error("the session timeout is not allowed")]
    InvalidSessionTimeout,
    /// Join again.
    #[error("the group rebalances")]
    RebalanceInProgress,
    /// Join again with the id that comes with this (KIP-394).
    #[error("a member id is needed: join again with this one")]
    MemberIdRequired,
    /// The group has as many members, or as large ones, as it may.
    #[error("the group is full")]
    GroupMaxSizeReached,
    /// It has members.
    #[error("the group has members")]
    NonEmptyGroup,
    /// Members read the topic.
    #[error("the group is subscribed to the topic")]
    GroupSubscribedToTopic,
    /// More than `offset.metadata.max.bytes`.
    #[error("the metadata beside the offset is too long")]
    OffsetMetadataTooLarge,
    /// The groups of this partition are not in this broker's hands.
    #[error("the coordinator of the group is not here")]
    NotCoordinator,
    /// The groups are being read from the log.
    #[error("the groups are being loaded")]
    CoordinatorLoadInProgress,
    /// What was asked for could not be made durable. Nothing was changed.
    #[error("the coordinator cannot write its log")]
    CoordinatorNotAvailable,
    /// The request asks for more than one answer may hold.
    #[error("the answer would be too large: ask for fewer groups or partitions at once")]
    AnswerTooLarge,
    /// The records of the change are larger than one batch may be.
    #[error("the change is too large for the log")]
    ChangeTooLarge,
}
