//! DeleteTopics: gone for clients when the answer is sent, gone from the disk a little later.

use std::sync::Arc;

use ottla_protocol::Uuid;

use super::controller::{Controller, Plan, fail_all};
use super::controller_error::ControllerError;
use super::image::TopicImage;
use super::metadata_record::MetadataRecord;

/// A topic by its name or its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicReference {
    /// By name.
    Name(String),
    /// By id.
    Id(Uuid),
}

impl Controller {
    /// Deletes topics, each for itself. Answers, in the order of the wishes, with the topics as they were. When it returns, the
    /// deletion is durable; the folders are renamed, and emptied by [`Controller::purge_deleted_folders`].
    ///
    /// # Errors
    /// For each topic, why it was not deleted.
    pub fn delete_topics(&self, topics: &[TopicReference]) -> Vec<Result<Arc<TopicImage>, ControllerError>> {
        let mut state = match self.lock() {
            Ok(state) => state,
            Err(error) => return topics.iter().map(|_| Err(error.clone())).collect(),
        };
        if !self.config().delete_topic_enable {
            return topics.iter().map(|_| Err(ControllerError::TopicDeletionDisabled)).collect();
        }
        let mut plan = self.plan(&state);
        let results: Vec<_> = topics.iter().map(|topic| plan_removal(&mut plan, topic)).collect();
        if let Err(error) = self.commit(&mut state, plan) {
            return fail_all(results, &error);
        }
        let removed: Vec<Arc<TopicImage>> = results.iter().flatten().cloned().collect();
        let mut random = || rand::RngExt::random(&mut state.random);
        if !removed.is_empty()
            && let Err(error) = self.folders.remove(&removed, &mut random)
        {
            // The topics are gone all the same: this is the disk's trouble, not the client's.
            tracing::warn!(%error, "folders of deleted topics could not be renamed; the next start does it");
            state.removal_failed = true;
        }
        results
    }
}

fn plan_removal(plan: &mut Plan, reference: &TopicReference) -> Result<Arc<TopicImage>, ControllerError> {
    let topic = match reference {
        TopicReference::Name(name) => {
            plan.image.topic(name).ok_or_else(|| ControllerError::UnknownTopic { name: name.clone() })?
        }
        TopicReference::Id(id) => {
            plan.image.topic_by_id(id).ok_or(ControllerError::UnknownTopicId { topic_id: *id })?
        }
    };
    let topic = topic.clone();
    if topic.name.is_internal() {
        return Err(ControllerError::InternalTopic { name: topic.name.clone() });
    }
    plan.add(MetadataRecord::RemoveTopic { topic_id: topic.id });
    Ok(topic)
}
