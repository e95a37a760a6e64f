//! An incremental fetch session with one broker (KIP-227): it is told what changed since the last request, not all.
//!
//! Pure bookkeeping of what the broker remembers. Invariant: after a request was answered, `known` is exactly what the
//! broker's session holds; after any doubt (an error, a lost connection) the next request opens a session anew with all.

use std::collections::BTreeMap;

use ottla_protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic, ForgottenTopic};
use ottla_protocol::{ErrorCode, Uuid};

use crate::TopicPartition;

/// What is asked of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FetchSpec {
    pub(crate) topic_id: Uuid,
    pub(crate) offset: i64,
    /// The leader's term, as the broker is to check it; -1 if unknown.
    pub(crate) leader_epoch: i32,
    pub(crate) max_bytes: i32,
}

#[derive(Debug, Default)]
pub(crate) struct FetchSession {
    /// 0 without a session.
    id: i32,
    /// 0 opens a session; then it counts requests.
    epoch: i32,
    known: BTreeMap<TopicPartition, FetchSpec>,
}

impl FetchSession {
    /// Writes into `request` what the broker has to be told so that it fetches `wanted`, and no other partitions.
    pub(crate) fn ask(&mut self, wanted: BTreeMap<TopicPartition, FetchSpec>, request: &mut FetchRequest) {
        request.session_id = self.id;
        request.session_epoch = self.epoch;
        if self.epoch == 0 {
            self.known.clear();
        }
        let changed = wanted.iter().filter(|(partition, spec)| self.known.get(partition) != Some(spec));
        request.topics = topics(changed);
        let gone = self
            .known
            .iter()
            .filter(|(partition, spec)| wanted.get(partition).is_none_or(|wanted| wanted.topic_id != spec.topic_id));
        request.forgotten_topics_data = forgotten(gone);
        self.known = wanted;
    }

    /// Takes in the session of an answer.
    pub(crate) fn answered(&mut self, session_id: i32) {
        if session_id == 0 {
            // The broker has no room for a session: each request says all.
            *self = FetchSession::default();
        } else {
            self.id = session_id;
            self.epoch = if self.epoch == i32::MAX { 1 } else { self.epoch + 1 };
        }
    }

    /// Takes in a refusal of the whole request.
    pub(crate) fn refused(&mut self, code: ErrorCode) {
        match code {
            ErrorCode::FetchSessionIdNotFound => *self = FetchSession::default(),
            _ => self.lost(),
        }
    }

    /// The answer was lost: the session, if the broker still has it, is replaced by a new one.
    pub(crate) fn lost(&mut self) {
        self.epoch = 0;
    }
}

fn topics<'a>(partitions: impl Iterator<Item = (&'a TopicPartition, &'a FetchSpec)>) -> Vec<FetchTopic> {
    let mut topics: Vec<FetchTopic> = Vec::new();
    for (location, spec) in partitions {
        let partition = FetchPartition {
            partition: location.partition,
            current_leader_epoch: spec.leader_epoch,
            fetch_offset: spec.offset,
            partition_max_bytes: spec.max_bytes,
            ..Default::default()
        };
        // The partitions come sorted by topic.
        match topics.last_mut().filter(|topic| *topic.topic == *location.topic) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(FetchTopic {
                topic: location.topic.to_string(),
                topic_id: spec.topic_id,
                partitions: vec![partition],
            }),
        }
    }
    topics
}

fn forgotten<'a>(partitions: impl Iterator<Item = (&'a TopicPartition, &'a FetchSpec)>) -> Vec<ForgottenTopic> {
    let mut topics: Vec<ForgottenTopic> = Vec::new();
    for (location, spec) in partitions {
        match topics.last_mut().filter(|topic| *topic.topic == *location.topic && topic.topic_id == spec.topic_id) {
            Some(topic) => topic.partitions.push(location.partition),
            None => topics.push(ForgottenTopic {
                topic: location.topic.to_string(),
                topic_id: spec.topic_id,
                partitions: vec![location.partition],
            }),
        }
    }
    topics
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(offset: i64) -> FetchSpec {
        FetchSpec { topic_id: Uuid([1; 16]), offset, leader_epoch: 0, max_bytes: 100 }
    }

    fn wanted(specs: &[(i32, FetchSpec)]) -> BTreeMap<TopicPartition, FetchSpec> {
        specs.iter().map(|(index, spec)| (TopicPartition::new("t", *index), *spec)).collect()
    }

    /// Session id and epoch, the partitions that are named with their offsets, and those that are forgotten.
    type Said = (i32, i32, Vec<(i32, i64)>, Vec<i32>);

    fn ask(session: &mut FetchSession, specs: &[(i32, FetchSpec)]) -> Said {
        let mut request = FetchRequest::default();
        session.ask(wanted(specs), &mut request);
        let named = request.topics.iter().flat_map(|topic| &topic.partitions);
        let forgotten = request.forgotten_topics_data.iter().flat_map(|topic| &topic.partitions);
        (
            request.session_id,
            request.session_epoch,
            named.map(|partition| (partition.partition, partition.fetch_offset)).collect(),
            forgotten.copied().collect(),
        )
    }

    #[test]
    fn only_what_changed_is_said_within_a_session() {
        let mut session = FetchSession::default();
        assert_eq!(ask(&mut session, &[(0, spec(5)), (1, spec(6))]), (0, 0, vec![(0, 5), (1, 6)], vec![]));
        session.answered(77);
        assert_eq!(ask(&mut session, &[(0, spec(5)), (1, spec(9))]), (77, 1, vec![(1, 9)], vec![]));
        session.answered(77);
        assert_eq!(ask(&mut session, &[(1, spec(9)), (2, spec(0))]), (77, 2, vec![(2, 0)], vec![0]));
        session.answered(77);
        assert_eq!(ask(&mut session, &[(1, spec(9)), (2, spec(0))]), (77, 3, vec![], vec![]));
    }

    #[test]
    fn a_lost_answer_replaces_the_session() {
        let mut session = FetchSession::default();
        ask(&mut session, &[(0, spec(5))]);
        session.answered(77);
        session.lost();
        assert_eq!(ask(&mut session, &[(0, spec(5))]), (77, 0, vec![(0, 5)], vec![]));
        session.answered(78);
        session.refused(ErrorCode::FetchSessionIdNotFound);
        assert_eq!(ask(&mut session, &[(0, spec(5))]), (0, 0, vec![(0, 5)], vec![]));
    }

    #[test]
    fn without_a_session_every_request_says_all() {
        let mut session = FetchSession::default();
        for _ in 0..3 {
            assert_eq!(ask(&mut session, &[(0, spec(5))]), (0, 0, vec![(0, 5)], vec![]));
            session.answered(0);
        }
    }

    #[test]
    fn a_topic_created_again_is_forgotten_under_its_old_id() {
        let mut session = FetchSession::default();
        ask(&mut session, &[(0, spec(5))]);
        session.answered(77);
        let again = FetchSpec { topic_id: Uuid([2; 16]), ..spec(0) };
        assert_eq!(ask(&mut session, &[(0, again)]), (77, 1, vec![(0, 0)], vec![0]));
    }

    #[test]
    fn the_epoch_wraps_to_one() {
        let mut session = FetchSession { id: 7, epoch: i32::MAX, known: BTreeMap::new() };
        session.answered(7);
        assert_eq!(ask(&mut session, &[]).1, 1);
    }
}
