//! The one place where an error of a lower floor becomes a Kafka error code.
//!
//! A new error has to choose its code here: no arm catches the rest. UNKNOWN_SERVER_ERROR is never an answer to Produce,
//! because the Java producer then sends the batch again under a new epoch and duplicates it.

use ottla_protocol::ErrorCode;

use crate::config::ConfigError;
use crate::coordinator::group::{ConsumerGroupError, GroupError};
use crate::metadata::{ControllerError, TopicNameError};
use crate::replica::ProduceError;
use crate::storage::validate::ValidateError;
use crate::storage::{AppendError, ProducerStateError, ReadError, StorageError};

/// An error that a client hears of as a code.
pub(crate) trait ToErrorCode {
    /// The code that Kafka's clients act upon.
    fn to_error_code(&self) -> ErrorCode;
}

impl ToErrorCode for StorageError {
    fn to_error_code(&self) -> ErrorCode {
        ErrorCode::KafkaStorageError
    }
}

impl ToErrorCode for TopicNameError {
    fn to_error_code(&self) -> ErrorCode {
        ErrorCode::InvalidTopicException
    }
}

impl ToErrorCode for ReadError {
    fn to_error_code(&self) -> ErrorCode {
        match self {
            Self::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            Self::Corrupt { .. } => ErrorCode::CorruptMessage,
            Self::Storage(error) => error.to_error_code(),
        }
    }
}

impl ToErrorCode for AppendError {
    fn to_error_code(&self) -> ErrorCode {
        match self {
            Self::BatchTooLarge { .. } => ErrorCode::RecordListTooLarge,
            Self::Producer(error) => error.to_error_code(),
            Self::Storage(error) => error.to_error_code(),
        }
    }
}

impl ToErrorCode for ValidateError {
    fn to_error_code(&self) -> ErrorCode {
        match self {
            Self::Corrupt(_) => ErrorCode::CorruptMessage,
            Self::NotOneBatch(_) | Self::InvalidRecord(_) | Self::InvalidHeader(_) | Self::KeysMissing { .. } => {
                ErrorCode::InvalidRecord
            }
            Self::TooLarge { .. } => ErrorCode::MessageTooLarge,
            Self::UnknownCodec { .. } => ErrorCode::UnsupportedCompressionType,
            Self::NoTransaction => ErrorCode::InvalidTxnState,
            Self::InvalidTimestamp { .. } => ErrorCode::InvalidTimestamp,
        }
    }
}

impl ToErrorCode for ProducerStateError {
    fn to_error_code(&self) -> ErrorCode {
        match self {
            Self::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
            Self::DuplicateSequence { .. } => ErrorCode::DuplicateSequenceNumber,
            Self::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
            Self::InvalidTxnState { .. } => ErrorCode::InvalidTxnState,
            Self::TransactionCoordinatorFenced { .. } => ErrorCode::TransactionCoordinatorFenced,
            Self::TooManyOpenTransactions { .. } => ErrorCode::ThrottlingQuotaExceeded,
        }
    }
}

impl ToErrorCode for ProduceError {
    fn to_error_code(&self) -> ErrorCode {
        match self {
            Self::Invalid(error) => error.to_error_code(),
            Self::Append(error) => error.to_error_code(),
            Self::DiskNearlyFull => ErrorCode::KafkaStorageError,
        }
    }
}

impl ToErrorCode for ConfigError {
    fn to_error_code(&self) -> ErrorCode {
        match self {
            Self::NullValue { .. } | Self::DuplicateKey { .. } | Self::ReadOnly { .. } | Self::PerBrokerOnly { .. } => {
                ErrorCode::InvalidRequest
            }
            Self::UnknownKey { .. }
            | Self::InvalidValue { .. }
            | Self::Conflict(_)
            | Self::NotAList { .. }
            | Self::MalformedFile { .. } => ErrorCode::InvalidConfig,
        }
    }
}

impl ToErrorCode for GroupError {
    fn to_error_code(&self) -> ErrorCode {
        match self {
            Self::InvalidGroupId => ErrorCode::InvalidGroupId,
            Self::GroupIdNotFound => ErrorCode::GroupIdNotFound,
            Self::UnknownMemberId => ErrorCode::UnknownMemberId,
            Self::FencedInstanceId => ErrorCode::FencedInstanceId,
            Self::IllegalGeneration => ErrorCode::IllegalGeneration,
            Self::StaleMemberEpoch => ErrorCode::StaleMemberEpoch,
            Self::UnsupportedVersion => ErrorCode::UnsupportedVersion,
            Self::InconsistentGroupProtocol => ErrorCode::InconsistentGroupProtocol,
            Self::InvalidSessionTimeout => ErrorCode::InvalidSessionTimeout,
            Self::RebalanceInProgress => ErrorCode::RebalanceInProgress,
            Self::MemberIdRequired => ErrorCode::MemberIdRequired,
            Self::GroupMaxSizeReached => ErrorCode::GroupMaxSizeReached,
            Self::NonEmptyGroup => ErrorCode::NonEmptyGroup,
            Self::GroupSubscribedToTopic => ErrorCode::GroupSubscribedToTopic,
            Self::OffsetMetadataTooLarge => ErrorCode::OffsetMetadataTooLarge,
            Self::NotCoordinator => ErrorCode::NotCoordinator,
            Self::CoordinatorLoadInProgress => ErrorCode::CoordinatorLoadInProgress,
            Self::CoordinatorNotAvailable => ErrorCode::CoordinatorNotAvailable,
            Self::AnswerTooLarge => ErrorCode::InvalidRequest,
            Self::ChangeTooLarge => ErrorCode::UnknownServerError,
        }
    }
}

impl ToErrorCode for ConsumerGroupError {
    fn to_error_code(&self) -> ErrorCode {
        match self {
            Self::InvalidRequest(_) => ErrorCode::InvalidRequest,
            Self::GroupIdNotFound(_) => ErrorCode::GroupIdNotFound,
            Self::TooManyGroups | Self::NoRoomForMember => ErrorCode::CoordinatorNotAvailable,
            Self::UnsupportedAssignor { .. } => ErrorCode::UnsupportedAssignor,
            Self::InvalidRegularExpression { .. } => ErrorCode::InvalidRegularExpression,
            Self::GroupMaxSizeReached { .. }
            | Self::TooMuchMetadata { .. }
            | Self::NamesTooLong { .. }
            | Self::TooManyRegexes { .. } => ErrorCode::GroupMaxSizeReached,
            Self::UnknownMember { .. } | Self::UnknownInstance { .. } => ErrorCode::UnknownMemberId,
            Self::FencedInstance { .. } => ErrorCode::FencedInstanceId,
            Self::UnreleasedInstance { .. } => ErrorCode::UnreleasedInstanceId,
            Self::FencedEpoch { .. } | Self::UnknownState => ErrorCode::FencedMemberEpoch,
        }
    }
}

impl ToErrorCode for ControllerError {
    fn to_error_code(&self) -> ErrorCode {
        match self {
            Self::InvalidTopicName(error) => error.to_error_code(),
            Self::TopicNameCollision { .. } | Self::InternalTopic { .. } => ErrorCode::InvalidTopicException,
            Self::InternalTopicConfig { .. } => ErrorCode::InvalidConfig,
            Self::InvalidGroupName { .. } => ErrorCode::InvalidRequest,
            Self::TooManyConfiguredGroups => ErrorCode::PolicyViolation,
            Self::ReservedTopicName { .. } | Self::AssignmentAndCount { .. } | Self::ChangeTooLarge { .. } => {
                ErrorCode::InvalidRequest
            }
            Self::TopicExists { .. } => ErrorCode::TopicAlreadyExists,
            Self::UnknownTopic { .. } => ErrorCode::UnknownTopicOrPartition,
            Self::UnknownTopicId { .. } => ErrorCode::UnknownTopicId,
            Self::TopicDeletionDisabled => ErrorCode::TopicDeletionDisabled,
            Self::InvalidPartitionCount { .. } | Self::NotMorePartitions { .. } | Self::TooManyPartitions { .. } => {
                ErrorCode::InvalidPartitions
            }
            Self::InvalidReplicationFactor { .. } => ErrorCode::InvalidReplicationFactor,
            Self::InvalidReplicaAssignment { .. } => ErrorCode::InvalidReplicaAssignment,
            Self::Config(error) => error.to_error_code(),
            Self::ProducerIdsExhausted => ErrorCode::UnknownServerError,
            Self::Storage(error) => error.to_error_code(),
            Self::Replay { .. } | Self::Record { .. } => ErrorCode::KafkaStorageError,
        }
    }
}
