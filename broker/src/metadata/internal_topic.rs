//! What the configuration of an internal topic has to say.
//!
//! A coordinator takes what was acknowledged to be in its topic until a record deletes it, whoever creates the topic and whatever an
//! operator changes. Owns these values. Invariant: an internal topic has them as overrides of its own from its creation on, or from
//! the next start where an older version made it, so that no default of the broker counts.

use std::collections::BTreeMap;

use super::controller_error::ControllerError;
use super::topic_name::TopicName;

/// A value that an internal topic must have.
#[derive(Debug)]
struct Required {
    key: &'static str,
    value: &'static str,
    /// What would become of the coordinator's state with another value, for people.
    otherwise: &'static str,
}

const REQUIRED: [Required; 2] = [
    Required {
        key: "cleanup.policy",
        value: "compact",
        otherwise: "committed offsets and groups would be deleted with the segments that they are in",
    },
    Required {
        key: "flush.mode",
        value: "sync",
        otherwise: "committed offsets that were acknowledged could be lost when the power fails",
    },
];

/// Gives a topic that is about to be created what it must have, where nothing was asked for.
pub(super) fn complete(topic: &TopicName, configs: &mut BTreeMap<String, String>) {
    if topic.is_internal() {
        for required in &REQUIRED {
            configs.entry(required.key.to_owned()).or_insert_with(|| required.value.to_owned());
        }
    }
}

/// The overrides that an internal topic is to have in place of those that it has; `None` for one that has what it must, and for any
/// other topic.
pub(super) fn mended(topic: &TopicName, configs: &BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    check(topic, configs).err()?;
    let mut mended = configs.clone();
    mended.extend(REQUIRED.iter().map(|required| (required.key.to_owned(), required.value.to_owned())));
    Some(mended)
}

/// Checks the overrides that a topic is to have.
///
/// # Errors
/// It is an internal one, and they would cost it what it keeps.
pub(super) fn check(topic: &TopicName, configs: &BTreeMap<String, String>) -> Result<(), ControllerError> {
    if !topic.is_internal() {
        return Ok(());
    }
    match REQUIRED.iter().find(|required| configs.get(required.key).map(String::as_str) != Some(required.value)) {
        None => Ok(()),
        Some(Required { key, value, otherwise }) => {
            Err(ControllerError::InternalTopicConfig { name: topic.clone(), key, value, otherwise })
        }
    }
}
