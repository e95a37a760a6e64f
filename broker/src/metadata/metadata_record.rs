//! The records of the metadata log, and their bytes.
//!
//! Each record's value is one JSON object `{"version":1,"type":...}`: it describes itself, any tool reads it, and there are
//! only a few of them for each topic. What a record does to the metadata stands in `image.rs`.
//!
//! Invariant: a record that this version does not understand is an error, never skipped: what it says may be that
//! a topic exists.

use std::collections::BTreeMap;

use ottla_protocol::Uuid;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The version that is written.
pub const METADATA_RECORD_VERSION: u32 = 1;

/// Why a metadata record is not understood.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MetadataRecordError {
    /// Not JSON, or not a record of the version that it says.
    #[error("metadata record is malformed: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Written by a newer broker.
    #[error("metadata record has version {version}; this broker knows 1 to {METADATA_RECORD_VERSION}")]
    Version {
        /// What the record says.
        version: u32,
    },
}

/// One change of the metadata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum MetadataRecord {
    /// The first record of a cluster, and of a rewritten log: nothing before it counts.
    Cluster {
        /// The cluster's id.
        #[serde(with = "uuid_text")]
        cluster_id: Uuid,
    },
    /// A topic begins to exist, whole.
    Topic {
        /// Its name, checked by whoever writes the record and again at replay.
        name: String,
        /// Its id.
        #[serde(with = "uuid_text")]
        topic_id: Uuid,
        /// How many partitions it has.
        partition_count: i32,
        /// Its overrides of the broker's configuration.
        configs: BTreeMap<String, String>,
    },
    /// A topic has more partitions than before.
    PartitionCount {
        /// The topic.
        #[serde(with = "uuid_text")]
        topic_id: Uuid,
        /// The new number.
        partition_count: i32,
    },
    /// All overrides of a topic, replacing those before.
    TopicConfigs {
        /// The topic.
        #[serde(with = "uuid_text")]
        topic_id: Uuid,
        /// Key to value.
        configs: BTreeMap<String, String>,
    },
    /// A topic is gone; its folders may still have to be removed.
    RemoveTopic {
        /// The topic.
        #[serde(with = "uuid_text")]
        topic_id: Uuid,
    },
    /// The folders of every topic removed before this record are out of the way for good.
    RemovalsCompleted {},
    /// All dynamic overrides of the broker's configuration, replacing those before.
    BrokerConfigs {
        /// Overrides for all brokers of the cluster.
        cluster_wide: BTreeMap<String, String>,
        /// Overrides for this broker.
        per_broker: BTreeMap<String, String>,
    },
    /// All values that a group has of its own, replacing those before.
    GroupConfigs {
        /// The group.
        group: String,
        /// Key to value; empty when it has none any more.
        configs: BTreeMap<String, String>,
    },
    /// Producer ids below this may have been handed out.
    ProducerIds {
        /// The first id that was certainly not.
        next_producer_id: i64,
    },
    /// The epoch in which this broker leads all its partitions.
    LeaderEpoch {
        /// Rises.
        leader_epoch: i32,
    },
}

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    #[serde(flatten)]
    record: &'a MetadataRecord,
}

#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

impl MetadataRecord {
    /// The value of the record in the log.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(&Written { version: METADATA_RECORD_VERSION, record: self })
            .expect("strings, numbers and maps with string keys are always JSON")
    }

    /// Reads the value of a record.
    ///
    /// # Errors
    /// The record is malformed, or of a version that is not known.
    pub fn decode(value: &[u8]) -> Result<Self, MetadataRecordError> {
        let VersionOnly { version } = serde_json::from_slice(value)?;
        if version != METADATA_RECORD_VERSION {
            return Err(MetadataRecordError::Version { version });
        }
        let mut object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(value)?;
        object.remove("version");
        Ok(serde_json::from_value(object.into())?)
    }
}

mod uuid_text {
    //! Topic and cluster ids as users see them everywhere else.

    use ottla_protocol::Uuid;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(id: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Uuid, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    //! Goal: records survive the round trip, and what is not understood is refused. Method: one of each kind.

    use super::*;

    #[test]
    fn every_kind_comes_back() {
        let id = Uuid([7; 16]);
        let configs = BTreeMap::from([("retention.ms".to_owned(), "-1".to_owned())]);
        let records = [
            MetadataRecord::Cluster { cluster_id: id },
            MetadataRecord::Topic { name: "t".to_owned(), topic_id: id, partition_count: 3, configs: configs.clone() },
            MetadataRecord::PartitionCount { topic_id: id, partition_count: 5 },
            MetadataRecord::TopicConfigs { topic_id: id, configs: configs.clone() },
            MetadataRecord::RemoveTopic { topic_id: id },
            MetadataRecord::RemovalsCompleted {},
            MetadataRecord::GroupConfigs { group: "g".to_owned(), configs: configs.clone() },
            MetadataRecord::BrokerConfigs { cluster_wide: configs, per_broker: BTreeMap::new() },
            MetadataRecord::ProducerIds { next_producer_id: 1_000 },
            MetadataRecord::LeaderEpoch { leader_epoch: 2 },
        ];
        for record in records {
            assert_eq!(MetadataRecord::decode(&record.encode()).unwrap(), record);
        }
    }

    #[test]
    fn the_format_is_what_is_documented() {
        let record = MetadataRecord::PartitionCount { topic_id: Uuid([7; 16]), partition_count: 5 };
        let text = String::from_utf8(record.encode()).unwrap();
        assert_eq!(
            text,
            r#"{"version":1,"type":"partition_count","topic_id":"BwcHBwcHBwcHBwcHBwcHBw","partition_count":5}"#
        );
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        let refused = |text: &str| MetadataRecord::decode(text.as_bytes()).unwrap_err();
        assert!(matches!(
            refused(r#"{"version":2,"type":"producer_ids","next_producer_id":1}"#),
            MetadataRecordError::Version { version: 2 }
        ));
        for bad in [
            "",
            "{}",
            r#"{"version":1,"type":"no_such"}"#,
            r#"{"version":1,"type":"producer_ids"}"#,
            r#"{"version":1,"type":"producer_ids","next_producer_id":1,"more":2}"#,
            r#"{"version":1,"type":"remove_topic","topic_id":"short"}"#,
        ] {
            assert!(matches!(refused(bad), MetadataRecordError::Malformed(_)), "{bad}");
        }
    }
}
