//! The records of `__consumer_offsets`, typed: what replay is fed with and what handlers ask to be appended.
//!
//! Owns the two bytes of type before a key, the two bytes of version before a value, and the version that each value is
//! written in, which is that of Apache Kafka 4.3. Knows nothing of groups. Types that are not listed (share and streams
//! groups, what very old or newer brokers wrote) decode to nothing and stay in the log untouched.

use bytes::Bytes;
use ottla_protocol::Message;
use ottla_protocol::messages::group_records::{
    ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupCurrentMemberAssignmentValue, ConsumerGroupMemberMetadataKey,
    ConsumerGroupMemberMetadataValue, ConsumerGroupMetadataKey, ConsumerGroupMetadataValue,
    ConsumerGroupPartitionMetadataKey, ConsumerGroupPartitionMetadataValue, ConsumerGroupRegularExpressionKey,
    ConsumerGroupRegularExpressionValue, ConsumerGroupTargetAssignmentMemberKey,
    ConsumerGroupTargetAssignmentMemberValue, ConsumerGroupTargetAssignmentMetadataKey,
    ConsumerGroupTargetAssignmentMetadataValue, GroupMetadataKey, GroupMetadataValue, LegacyOffsetCommitKey,
    LegacyOffsetCommitValue, OffsetCommitKey, OffsetCommitValue,
};
use ottla_protocol::records::BatchBuilder;
use ottla_protocol::wire::{DecodeError, Reader, Writer};

/// The type of [`LegacyOffsetCommitKey`], which is read and never written.
const LEGACY_OFFSET_COMMIT: i16 = 0;
/// The only version that any key has.
const KEY_VERSION: i16 = 0;

/// Why a record of a known type cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GroupRecordError {
    /// No key, or one of less than two bytes.
    #[error("the record has no key with a type in front")]
    NoType,
    /// A value of less than two bytes.
    #[error("the value of {name} has no version in front")]
    NoVersion {
        /// The record's type.
        name: &'static str,
    },
    /// A value that a newer broker wrote.
    #[error("version {version} of {name} is newer than {newest}, the newest that this broker knows")]
    NewerVersion {
        /// The record's type.
        name: &'static str,
        /// The value's version.
        version: i16,
        /// The newest known version.
        newest: i16,
    },
    /// Bytes that are no such key or value.
    #[error("{name}: {error}")]
    Malformed {
        /// The record's type.
        name: &'static str,
        /// What is wrong.
        error: DecodeError,
    },
}

macro_rules! group_records {
    ($($(#[$doc:meta])* $name:ident = $kind:literal, $key:ident => $value:ident, written at $written:literal, read up to $newest:literal;)*) => {
        /// A record of the group coordinator; without a value it deletes what its key names.
        #[derive(Debug, Clone, PartialEq)]
        pub(crate) enum GroupRecord {
            $($(#[$doc])* $name {
                /// What the record is about.
                key: $key,
                /// What is so from now on; `None` deletes it.
                value: Option<$value>,
            },)*
        }

        impl GroupRecord {
            /// The record's key and value as they stand in the log.
            pub(crate) fn encode(&self) -> (Bytes, Option<Bytes>) {
                match self {
                    $(Self::$name { key, value } => (
                        framed($kind, key, KEY_VERSION),
                        value.as_ref().map(|value| framed(self.value_version(), value, self.value_version())),
                    ),)*
                }
            }

            /// The most that the record takes in a batch.
            pub(super) fn size_bytes(&self) -> usize {
                let (key, value) = self.encode();
                BatchBuilder::record_size_max(Some(&key), value.as_deref(), &[])
            }

            fn decode_known(kind: i16, key: &mut Reader, value: Option<&Bytes>) -> Result<Option<Self>, GroupRecordError> {
                match kind {
                    $($kind => {
                        let name = stringify!($name);
                        let key = $key::decode(key, KEY_VERSION).map_err(|error| GroupRecordError::Malformed { name, error })?;
                        let value = value.map(|value| decode_value::<$value>(name, value, $newest)).transpose()?;
                        Ok(Some(Self::$name { key, value }))
                    })*
                    _ => Ok(None),
                }
            }

            /// The version that Kafka 4.3 writes the value in.
            fn value_version(&self) -> i16 {
                match self {
                    // An explicit expiry is known to version 1 only.
                    Self::OffsetCommit { value: Some(value), .. } if value.expire_timestamp != NO_EXPIRY => 1,
                    $(Self::$name { .. } => $written,)*
                }
            }
        }
    };
}

/// The expiry of an offset that has none of its own.
pub(crate) const NO_EXPIRY: i64 = -1;

group_records! {
    /// How far a group has read in a partition.
    OffsetCommit = 1, OffsetCommitKey => OffsetCommitValue, written at 4, read up to 4;
    /// A classic group with its members.
    GroupMetadata = 2, GroupMetadataKey => GroupMetadataValue, written at 3, read up to 4;
    /// The epoch of a consumer group.
    ConsumerGroupMetadata = 3, ConsumerGroupMetadataKey => ConsumerGroupMetadataValue, written at 0, read up to 0;
    /// The partitions that a consumer group knew of; only its deletion is still written.
    ConsumerGroupPartitionMetadata = 4, ConsumerGroupPartitionMetadataKey => ConsumerGroupPartitionMetadataValue, written at 0, read up to 0;
    /// A member of a consumer group.
    ConsumerGroupMemberMetadata = 5, ConsumerGroupMemberMetadataKey => ConsumerGroupMemberMetadataValue, written at 0, read up to 0;
    /// The epoch of a consumer group's target assignment.
    ConsumerGroupTargetAssignmentMetadata = 6, ConsumerGroupTargetAssignmentMetadataKey => ConsumerGroupTargetAssignmentMetadataValue, written at 0, read up to 0;
    /// What a member is to own.
    ConsumerGroupTargetAssignmentMember = 7, ConsumerGroupTargetAssignmentMemberKey => ConsumerGroupTargetAssignmentMemberValue, written at 0, read up to 0;
    /// What a member owns.
    ConsumerGroupCurrentMemberAssignment = 8, ConsumerGroupCurrentMemberAssignmentKey => ConsumerGroupCurrentMemberAssignmentValue, written at 0, read up to 0;
    /// The topics that a subscription pattern stands for.
    ConsumerGroupRegularExpression = 16, ConsumerGroupRegularExpressionKey => ConsumerGroupRegularExpressionValue, written at 0, read up to 0;
}

impl GroupRecord {
    /// Reads a record of the log; `None` for a type that is none of ours.
    ///
    /// # Errors
    /// A known type with bytes that are not what it is made of.
    pub(crate) fn decode(key: Option<&Bytes>, value: Option<&Bytes>) -> Result<Option<Self>, GroupRecordError> {
        let mut key = Reader::new(key.cloned().unwrap_or_default());
        let kind = key.i16().map_err(|_| GroupRecordError::NoType)?;
        match kind {
            LEGACY_OFFSET_COMMIT => decode_legacy(&mut key, value).map(Some),
            kind => Self::decode_known(kind, &mut key, value),
        }
    }
}

/// A record of `__consumer_offsets` in words, for a person; `None` for a type that is none of ours.
#[must_use]
pub fn describe_group_record(key: Option<&Bytes>, value: Option<&Bytes>) -> Option<String> {
    match GroupRecord::decode(key, value) {
        Ok(record) => record.map(|record| format!("{record:?}")),
        Err(error) => Some(error.to_string()),
    }
}

fn decode_legacy(key: &mut Reader, value: Option<&Bytes>) -> Result<GroupRecord, GroupRecordError> {
    let name = "LegacyOffsetCommit";
    let key =
        LegacyOffsetCommitKey::decode(key, KEY_VERSION).map_err(|error| GroupRecordError::Malformed { name, error })?;
    let value = value.map(|value| decode_value::<LegacyOffsetCommitValue>(name, value, 0)).transpose()?;
    Ok(GroupRecord::OffsetCommit {
        key: OffsetCommitKey { group: key.group, topic: key.topic, partition: key.partition },
        value: value.map(|value| OffsetCommitValue {
            offset: value.offset,
            metadata: value.metadata,
            commit_timestamp: value.commit_timestamp,
            ..Default::default()
        }),
    })
}

fn decode_value<V: Message>(name: &'static str, value: &Bytes, newest: i16) -> Result<V, GroupRecordError> {
    let mut reader = Reader::new(value.clone());
    let version = reader.i16().map_err(|_| GroupRecordError::NoVersion { name })?;
    if !(0..=newest).contains(&version) {
        return Err(GroupRecordError::NewerVersion { name, version, newest });
    }
    V::decode(&mut reader, version).map_err(|error| GroupRecordError::Malformed { name, error })
}

/// Two bytes and a message.
fn framed<M: Message>(prefix: i16, message: &M, version: i16) -> Bytes {
    let mut writer = Writer::new();
    writer.i16(prefix);
    message.encode(&mut writer, version).expect("names that a request brought, and fields of the written version");
    writer.finish().into_bytes().expect("nothing external was written")
}

#[cfg(test)]
#[path = "group_record_test.rs"]
mod tests;
