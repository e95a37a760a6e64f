//! The one table of APIs: key, versions that this codec has, first flexible version.
//!
//! Versions are those of Apache Kafka 4.3. Which of these APIs a broker serves is the broker's matter.

use std::fmt;
use std::ops::RangeInclusive;

macro_rules! api_keys {
    ($($name:ident = $key:literal, versions $versions:expr, flexible $flexible:expr;)*) => {
        /// An API of Kafka's protocol.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(i16)]
        pub enum ApiKey {
            $(
                #[doc = concat!("`", stringify!($name), "`, key ", stringify!($key), ".")]
                $name = $key,
            )*
        }

        impl ApiKey {
            /// Every API, by rising key.
            pub const ALL: &'static [ApiKey] = &[$(ApiKey::$name,)*];

            /// The API with this key.
            pub const fn from_i16(key: i16) -> Option<ApiKey> {
                match key {
                    $($key => Some(ApiKey::$name),)*
                    _ => None,
                }
            }

            /// Kafka's name of the API.
            pub const fn name(self) -> &'static str {
                match self {
                    $(ApiKey::$name => stringify!($name),)*
                }
            }

            /// The versions that can be encoded and decoded.
            pub const fn versions(self) -> RangeInclusive<i16> {
                match self {
                    $(ApiKey::$name => $versions,)*
                }
            }

            /// The first version with compact lengths and tagged fields (KIP-482), if there is one.
            pub const fn first_flexible(self) -> Option<i16> {
                match self {
                    $(ApiKey::$name => $flexible,)*
                }
            }
        }
    };
}

api_keys! {
    Produce = 0, versions 3..=13, flexible Some(9);
    Fetch = 1, versions 4..=18, flexible Some(12);
    ListOffsets = 2, versions 1..=11, flexible Some(6);
    Metadata = 3, versions 0..=13, flexible Some(9);
    OffsetCommit = 8, versions 2..=10, flexible Some(8);
    OffsetFetch = 9, versions 1..=10, flexible Some(6);
    FindCoordinator = 10, versions 0..=6, flexible Some(3);
    JoinGroup = 11, versions 0..=9, flexible Some(6);
    Heartbeat = 12, versions 0..=4, flexible Some(4);
    LeaveGroup = 13, versions 0..=5, flexible Some(4);
    SyncGroup = 14, versions 0..=5, flexible Some(4);
    DescribeGroups = 15, versions 0..=6, flexible Some(5);
    ListGroups = 16, versions 0..=5, flexible Some(3);
    SaslHandshake = 17, versions 0..=1, flexible None;
    ApiVersions = 18, versions 0..=4, flexible Some(3);
    CreateTopics = 19, versions 2..=7, flexible Some(5);
    DeleteTopics = 20, versions 1..=6, flexible Some(4);
    DeleteRecords = 21, versions 0..=2, flexible Some(2);
    InitProducerId = 22, versions 0..=5, flexible Some(2);
    OffsetForLeaderEpoch = 23, versions 2..=4, flexible Some(4);
    AddPartitionsToTxn = 24, versions 0..=5, flexible Some(3);
    AddOffsetsToTxn = 25, versions 0..=4, flexible Some(3);
    EndTxn = 26, versions 0..=5, flexible Some(3);
    WriteTxnMarkers = 27, versions 1..=2, flexible Some(1);
    TxnOffsetCommit = 28, versions 0..=5, flexible Some(3);
    DescribeAcls = 29, versions 1..=3, flexible Some(2);
    CreateAcls = 30, versions 1..=3, flexible Some(2);
    DeleteAcls = 31, versions 1..=3, flexible Some(2);
    DescribeConfigs = 32, versions 1..=4, flexible Some(4);
    AlterConfigs = 33, versions 0..=2, flexible Some(2);
    AlterReplicaLogDirs = 34, versions 1..=2, flexible Some(2);
    DescribeLogDirs = 35, versions 1..=5, flexible Some(2);
    SaslAuthenticate = 36, versions 0..=2, flexible Some(2);
    CreatePartitions = 37, versions 0..=3, flexible Some(2);
    DeleteGroups = 42, versions 0..=2, flexible Some(2);
    ElectLeaders = 43, versions 0..=2, flexible Some(2);
    IncrementalAlterConfigs = 44, versions 0..=1, flexible Some(1);
    AlterPartitionReassignments = 45, versions 0..=1, flexible Some(0);
    ListPartitionReassignments = 46, versions 0..=0, flexible Some(0);
    OffsetDelete = 47, versions 0..=0, flexible None;
    DescribeClientQuotas = 48, versions 0..=1, flexible Some(1);
    AlterClientQuotas = 49, versions 0..=1, flexible Some(1);
    DescribeUserScramCredentials = 50, versions 0..=0, flexible Some(0);
    AlterUserScramCredentials = 51, versions 0..=0, flexible Some(0);
    DescribeQuorum = 55, versions 0..=2, flexible Some(0);
    UpdateFeatures = 57, versions 0..=2, flexible Some(0);
    DescribeCluster = 60, versions 0..=2, flexible Some(0);
    DescribeProducers = 61, versions 0..=0, flexible Some(0);
    UnregisterBroker = 64, versions 0..=0, flexible Some(0);
    DescribeTransactions = 65, versions 0..=0, flexible Some(0);
    ListTransactions = 66, versions 0..=2, flexible Some(0);
    ConsumerGroupHeartbeat = 68, versions 0..=1, flexible Some(0);
    ConsumerGroupDescribe = 69, versions 0..=1, flexible Some(0);
    GetTelemetrySubscriptions = 71, versions 0..=0, flexible Some(0);
    PushTelemetry = 72, versions 0..=0, flexible Some(0);
    ListConfigResources = 74, versions 0..=1, flexible Some(0);
    DescribeTopicPartitions = 75, versions 0..=0, flexible Some(0);
}

impl ApiKey {
    /// The key on the wire.
    pub const fn key(self) -> i16 {
        self as i16
    }

    /// True when the codec has this version.
    pub fn has_version(self, version: i16) -> bool {
        self.versions().contains(&version)
    }

    /// True when this version has compact lengths and tagged fields.
    pub fn is_flexible(self, version: i16) -> bool {
        self.first_flexible().is_some_and(|first| version >= first)
    }

    /// The version of the request header: 2 has tagged fields.
    pub fn request_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) { 2 } else { 1 }
    }

    /// The version of the response header: 1 has tagged fields. ApiVersions always answers with 0, since its reader may
    /// not know the version that it gets (KIP-511).
    pub fn response_header_version(self, version: i16) -> i16 {
        i16::from(self.is_flexible(version) && self != ApiKey::ApiVersions)
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl TryFrom<i16> for ApiKey {
    type Error = i16;

    fn try_from(key: i16) -> Result<Self, i16> {
        Self::from_i16(key).ok_or(key)
    }
}
