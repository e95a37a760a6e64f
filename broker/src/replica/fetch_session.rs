//! Incremental fetch sessions (KIP-227): what a consumer asked for last time and what it was told.
//!
//! Owns the cache of sessions and the rules of ids, epochs, additions, removals and eviction; knows nothing of logs.
//! Invariant: the number of sessions never exceeds the cache's slots, and the number of partitions over all sessions is
//! bounded by what their requests listed.

use std::collections::HashMap;
use std::sync::Arc;

use ottla_protocol::Uuid;
use parking_lot::Mutex;

/// The session id of a fetch that has no session.
pub(crate) const INVALID_SESSION_ID: i32 = 0;
/// The epoch that asks for a new session.
pub(crate) const INITIAL_EPOCH: i32 = 0;
/// The epoch that asks for no session, and ends the one named.
pub(crate) const FINAL_EPOCH: i32 = -1;

/// How a client names a topic in a fetch: by name up to version 12, by id from 13 (KIP-516).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum TopicRef {
    /// By name.
    Name(Arc<str>),
    /// By topic id.
    Id(Uuid),
}

/// What a client wants of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartitionFetch {
    pub(crate) topic: TopicRef,
    pub(crate) partition: i32,
    pub(crate) fetch_offset: i64,
    /// -1: the client does not know it.
    pub(crate) current_leader_epoch: i32,
    /// -1: no check for divergence.
    pub(crate) last_fetched_epoch: i32,
    pub(crate) max_bytes: i32,
}

/// What a partition answered, as far as a session has to remember it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartitionAnswer {
    pub(crate) high_watermark: i64,
    pub(crate) log_start_offset: i64,
    pub(crate) has_records: bool,
    pub(crate) has_error: bool,
    pub(crate) diverges: bool,
}

#[derive(Debug)]
struct CachedPartition {
    fetch: PartitionFetch,
    /// -1 until told, and again after an error, so that the end of the error is told.
    told_high_watermark: i64,
    told_log_start_offset: i64,
}

#[derive(Debug)]
struct Session {
    id: i32,
    /// The epoch that the next request must carry.
    next_epoch: i32,
    uses_topic_ids: bool,
    /// In the order in which they are served; those that got records go to the end, so that none starves.
    partitions: Vec<CachedPartition>,
}

impl Session {
    fn apply(&mut self, changed: Vec<PartitionFetch>, forgotten: &[(TopicRef, i32)]) {
        let mut positions: HashMap<(TopicRef, i32), usize> = HashMap::with_capacity(self.partitions.len());
        for (position, cached) in self.partitions.iter().enumerate() {
            positions.insert((cached.fetch.topic.clone(), cached.fetch.partition), position);
        }
        for fetch in changed {
            match positions.get(&(fetch.topic.clone(), fetch.partition)) {
                Some(&position) => self.partitions[position].fetch = fetch,
                None => {
                    positions.insert((fetch.topic.clone(), fetch.partition), self.partitions.len());
                    self.partitions.push(CachedPartition::new(fetch));
                }
            }
        }
        if !forgotten.is_empty() {
            let gone: std::collections::HashSet<usize> =
                forgotten.iter().filter_map(|key| positions.get(key).copied()).collect();
            let mut position = 0;
            self.partitions.retain(|_| {
                position += 1;
                !gone.contains(&(position - 1))
            });
        }
    }

    /// Says for each partition, in the order in which it was served, whether the answer has to name it.
    fn answer(&mut self, answers: &[PartitionAnswer]) -> Vec<bool> {
        assert_eq!(answers.len(), self.partitions.len(), "an answer belongs to a partition of the session");
        let told: Vec<bool> =
            self.partitions.iter_mut().zip(answers).map(|(cached, answer)| cached.must_tell(answer)).collect();
        let mut served = Vec::new();
        let mut kept = Vec::with_capacity(self.partitions.len());
        for (cached, answer) in self.partitions.drain(..).zip(answers) {
            if answer.has_records { &mut served } else { &mut kept }.push(cached);
        }
        kept.append(&mut served);
        self.partitions = kept;
        told
    }
}

impl CachedPartition {
    fn new(fetch: PartitionFetch) -> Self {
        Self { fetch, told_high_watermark: -1, told_log_start_offset: -1 }
    }

    fn must_tell(&mut self, answer: &PartitionAnswer) -> bool {
        let mut tell = answer.has_records || answer.diverges || answer.has_error;
        if self.told_high_watermark != answer.high_watermark {
            self.told_high_watermark = answer.high_watermark;
            tell = true;
        }
        if self.told_log_start_offset != answer.log_start_offset {
            self.told_log_start_offset = answer.log_start_offset;
            tell = true;
        }
        if answer.has_error {
            self.told_high_watermark = -1;
        }
        tell
    }
}

/// Why a fetch could not go on in its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SessionError {
    /// No such session: never made, or evicted.
    #[error("no such fetch session")]
    IdNotFound,
    /// Not the epoch that was due.
    #[error("the fetch session expects another epoch")]
    InvalidEpoch,
    /// The session was made with topic names and is now used with ids, or the reverse.
    #[error("the fetch session names its topics in the other way")]
    TopicIdMismatch,
}

/// A fetch request as the session rules see it.
#[derive(Debug)]
pub(crate) struct SessionRequest {
    pub(crate) session_id: i32,
    pub(crate) epoch: i32,
    pub(crate) uses_topic_ids: bool,
    pub(crate) partitions: Vec<PartitionFetch>,
    pub(crate) forgotten: Vec<(TopicRef, i32)>,
}

/// What to serve, and how to answer.
#[derive(Debug)]
pub(crate) struct FetchContext {
    /// In the order to serve them.
    pub(crate) partitions: Vec<PartitionFetch>,
    kind: ContextKind,
}

#[derive(Debug)]
enum ContextKind {
    /// Every partition is answered, no session is kept.
    Sessionless,
    /// Every partition is answered, and a session made where there is room.
    New { uses_topic_ids: bool },
    /// Only what changed is answered.
    Incremental { session: Arc<Mutex<Session>>, epoch: i32 },
}

/// What the answer to a fetch carries.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SessionAnswer {
    pub(crate) session_id: i32,
    /// Says for each partition of the context whether the answer names it.
    pub(crate) told: Vec<bool>,
}

#[derive(Debug)]
struct Slot {
    session: Arc<Mutex<Session>>,
    /// For eviction, so that it need not lock the session.
    partition_count: usize,
    created_ms: i64,
    last_used_ms: i64,
}

/// All fetch sessions of this broker, at most `slots` of them.
#[derive(Debug)]
pub(crate) struct FetchSessionCache {
    slots: usize,
    sessions: Mutex<HashMap<i32, Slot>>,
}

/// A session that was used within this time is not evicted for another of the same size (Kafka's figure).
const MIN_EVICTION_MS: i64 = 120_000;

impl FetchSessionCache {
    /// A cache of at most `slots` sessions (`max.incremental.fetch.session.cache.slots`).
    pub(crate) fn new(slots: usize) -> Self {
        Self { slots, sessions: Mutex::new(HashMap::new()) }
    }

    /// Applies a request to its session and says what to serve.
    pub(crate) fn begin(&self, request: SessionRequest, now_ms: i64) -> Result<FetchContext, SessionError> {
        if request.epoch == FINAL_EPOCH || request.epoch == INITIAL_EPOCH {
            if request.session_id != INVALID_SESSION_ID {
                self.sessions.lock().remove(&request.session_id);
            }
            let kind = if request.epoch == FINAL_EPOCH {
                ContextKind::Sessionless
            } else {
                ContextKind::New { uses_topic_ids: request.uses_topic_ids }
            };
            return Ok(FetchContext { partitions: request.partitions, kind });
        }
        let mut sessions = self.sessions.lock();
        let slot = sessions.get_mut(&request.session_id).ok_or(SessionError::IdNotFound)?;
        let shared = Arc::clone(&slot.session);
        let mut session = shared.lock();
        if session.next_epoch != request.epoch {
            return Err(SessionError::InvalidEpoch);
        }
        if session.uses_topic_ids != request.uses_topic_ids {
            return Err(SessionError::TopicIdMismatch);
        }
        session.apply(request.partitions, &request.forgotten);
        slot.last_used_ms = now_ms;
        slot.partition_count = session.partitions.len();
        if session.partitions.is_empty() {
            sessions.remove(&request.session_id);
            return Ok(FetchContext { partitions: Vec::new(), kind: ContextKind::Sessionless });
        }
        session.next_epoch = next_epoch(session.next_epoch);
        let partitions = session.partitions.iter().map(|cached| cached.fetch.clone()).collect();
        drop(session);
        Ok(FetchContext { partitions, kind: ContextKind::Incremental { session: shared, epoch: request.epoch } })
    }

    /// Takes what each partition of the context answered, in the context's order, and says what to tell.
    pub(crate) fn finish(&self, context: FetchContext, answers: &[PartitionAnswer], now_ms: i64) -> SessionAnswer {
        let everything = |session_id| SessionAnswer { session_id, told: vec![true; answers.len()] };
        match context.kind {
            ContextKind::Sessionless => everything(INVALID_SESSION_ID),
            ContextKind::New { uses_topic_ids } => {
                everything(self.insert(context.partitions, answers, uses_topic_ids, now_ms))
            }
            ContextKind::Incremental { session, epoch } => {
                let mut session = session.lock();
                // Another request of this session came between the two halves: its view of the partitions stands, and
                // this answer tells everything, which is always right.
                if session.next_epoch != next_epoch(epoch) || session.partitions.len() != answers.len() {
                    return everything(session.id);
                }
                SessionAnswer { session_id: session.id, told: session.answer(answers) }
            }
        }
    }

    /// The number of sessions that are kept now.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.sessions.lock().len()
    }

    fn insert(&self, fetches: Vec<PartitionFetch>, answers: &[PartitionAnswer], by_id: bool, now_ms: i64) -> i32 {
        let mut sessions = self.sessions.lock();
        if sessions.len() >= self.slots && !evict(&mut sessions, fetches.len(), now_ms) {
            return INVALID_SESSION_ID;
        }
        let id = loop {
            let candidate = rand::random_range(1..=i32::MAX);
            if !sessions.contains_key(&candidate) {
                break candidate;
            }
        };
        let partition_count = fetches.len();
        let mut partitions = Vec::with_capacity(partition_count);
        for (fetch, answer) in fetches.into_iter().zip(answers) {
            let mut cached = CachedPartition::new(fetch);
            cached.must_tell(answer);
            partitions.push(cached);
        }
        let session = Session { id, next_epoch: next_epoch(INITIAL_EPOCH), uses_topic_ids: by_id, partitions };
        let slot =
            Slot { session: Arc::new(Mutex::new(session)), partition_count, created_ms: now_ms, last_used_ms: now_ms };
        sessions.insert(id, slot);
        id
    }
}

/// Makes room for a session of `wanted` partitions: the one idle for longest, or else a smaller one that has had its
/// time. False when every session has a better claim.
fn evict(sessions: &mut HashMap<i32, Slot>, wanted: usize, now_ms: i64) -> bool {
    let idle = sessions.iter().min_by_key(|(_, slot)| slot.last_used_ms);
    let smaller = sessions
        .iter()
        .filter(|(_, slot)| slot.partition_count < wanted && now_ms - slot.created_ms > MIN_EVICTION_MS)
        .min_by_key(|(_, slot)| slot.partition_count);
    let victim = match (idle, smaller) {
        (Some((&id, slot)), _) if now_ms - slot.last_used_ms > MIN_EVICTION_MS => id,
        (_, Some((&id, _))) => id,
        _ => return false,
    };
    sessions.remove(&victim);
    true
}

fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

#[cfg(test)]
#[path = "fetch_session_test.rs"]
mod tests;
