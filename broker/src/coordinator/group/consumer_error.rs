//! Why a request of a consumer group's member is refused.
//!
//! The messages go to clients. Which code each of them has stands in `api::error_map`.

use thiserror::Error;

use super::subscription_regex::SubscriptionRegexError;

/// See the module's text.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum ConsumerGroupError {
    /// A field that no request may have so.
    #[error("{0}")]
    InvalidRequest(&'static str),
    /// No such group, or one of the classic protocol that cannot become one of this.
    #[error("{0}")]
    GroupIdNotFound(&'static str),
    /// There are as many groups as the coordinator can keep.
    #[error("the coordinator has as many groups as it can keep")]
    TooManyGroups,
    /// More than the members of all groups may say about themselves.
    #[error("the members of all groups say as much about themselves as the coordinator can keep")]
    NoRoomForMember,
    /// An assignor that this broker does not have.
    #[error("the assignor {name:?} is not supported; there are: {supported}")]
    UnsupportedAssignor {
        /// What was asked for.
        name: String,
        /// What there is.
        supported: String,
    },
    /// A pattern that is none.
    #[error("the pattern {pattern:?} is not a valid regular expression: {error}")]
    InvalidRegularExpression {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        error: SubscriptionRegexError,
    },
    /// One member more than is allowed.
    #[error("the group has its maximum of {max} members")]
    GroupMaxSizeReached {
        /// The limit.
        max: usize,
    },
    /// More than the members of a group may say about themselves.
    #[error("the members of the group say more than {max} bytes about themselves, topics and patterns included")]
    TooMuchMetadata {
        /// The limit.
        max: usize,
    },
    /// Longer names than the records of all members of a group may have.
    #[error(
        "the group can have no more members with names as long as these: a change of all of them has to fit into {max} bytes, and \
         has the group's name and the member's in every record; use a shorter group id or fewer members"
    )]
    NamesTooLong {
        /// The limit.
        max: usize,
    },
    /// More different patterns than a group may subscribe to.
    #[error("the group subscribes to its maximum of {max} different patterns")]
    TooManyRegexes {
        /// The limit.
        max: usize,
    },
    /// Nobody of this id.
    #[error("{member_id:?} is not a member of the group")]
    UnknownMember {
        /// The id.
        member_id: String,
    },
    /// No static member of this name.
    #[error("the group has no static member {instance_id:?}")]
    UnknownInstance {
        /// The name.
        instance_id: String,
    },
    /// The name belongs to another member.
    #[error("member {member_id:?} is fenced: static member {instance_id:?} is {owner:?}")]
    FencedInstance {
        /// Who asks.
        member_id: String,
        /// The name.
        instance_id: String,
        /// Whose it is.
        owner: String,
    },
    /// The name belongs to a member that has not left.
    #[error("member {member_id:?} cannot join: static member {instance_id:?} is {owner:?}, which has not left")]
    UnreleasedInstance {
        /// Who asks.
        member_id: String,
        /// The name.
        instance_id: String,
        /// Whose it is.
        owner: String,
    },
    /// An epoch that the member is not in.
    #[error("the member is in epoch {epoch}, not in {received}: it must give up all partitions and join again")]
    FencedEpoch {
        /// What it says.
        received: i32,
        /// What it is in.
        epoch: i32,
    },
    /// A member that another version of the broker left in a state of its own.
    #[error("the member's state is of another version: it must give up all partitions and join again")]
    UnknownState,
}
