//! Records that brokers write for themselves, in words: commits, groups, metadata, the ends of transactions.

use bytes::Bytes;
use serde_json::Value;

use ottla_broker::describe_group_record;
use ottla_broker::metadata::MetadataRecord;
use ottla_broker::storage::EndTxnMarker;

const GROUPS: &str = "__consumer_offsets";
const METADATA: &str = "__cluster_metadata";

/// What a record of an internal topic says: JSON where it is kept as that, else text. `None` for all others.
pub(super) fn describe(topic: &str, is_control: bool, key: Option<&Bytes>, value: Option<&Bytes>) -> Option<Value> {
    if is_control {
        let marker = EndTxnMarker::parse(key?, value?)?;
        let how = if marker.is_commit { "commit" } else { "abort" };
        return Some(Value::from(format!("{how} by coordinator epoch {}", marker.coordinator_epoch)));
    }
    match topic {
        GROUPS => describe_group_record(key, value).map(Value::from),
        METADATA => {
            let value = value?;
            Some(match MetadataRecord::decode(value) {
                Ok(_) => serde_json::from_slice(value).unwrap_or_else(|error| Value::from(error.to_string())),
                Err(error) => Value::from(error.to_string()),
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_and_metadata_are_put_into_words() {
        let bytes = |bytes: &'static [u8]| Some(Bytes::from_static(bytes));
        let marker = describe("t", true, bytes(&[0, 0, 0, 1]).as_ref(), bytes(&[0, 0, 0, 0, 0, 7]).as_ref());
        assert_eq!(marker, Some("commit by coordinator epoch 7".into()));
        let epoch = bytes(br#"{"version":1,"type":"leader_epoch","leader_epoch":3}"#);
        assert_eq!(describe(METADATA, false, None, epoch.as_ref()).expect("a record")["leader_epoch"], 3);
        let unknown = describe(METADATA, false, None, bytes(b"{}").as_ref()).expect("an error");
        assert!(unknown.as_str().expect("text").contains("malformed"), "{unknown}");
        assert_eq!(describe("t", false, None, epoch.as_ref()), None);
    }
}
