//! A shard with the runtime's part played by hand: a log in memory, a clock that is moved, answers by token.
//!
//! Records make the way through their bytes before they are replayed, so that what a restart reads is what was replayed live.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::Uuid;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::any_group::Group;
use super::classic::{ClientIdentity, Departure, JoinAnswer, JoinGroup, LeaveGroup, SyncAnswer, SyncGroup};
use super::commit::{Committer, OffsetToCommit};
use super::consumer_describe::DescribedConsumerGroup;
use super::consumer_test_group::consumer_config;
use super::error::GroupError;
use super::listing::DescribedGroup;
use super::offset_store::CHANGE_BYTES_MAX;
use super::outcome::{Effects, Outcome, Token, WaitingAnswer};
use super::timers::Moment;
use super::{GroupConfig, GroupRecord, GroupShard};

/// The group of most tests.
pub(super) const GROUP: &str = "group";
/// The topic of most tests.
pub(super) const TOPIC: &str = "topic";
/// What a member has as its session timeout.
pub(super) const SESSION_MS: i32 = 10_000;
/// What a member has as its rebalance timeout.
pub(super) const REBALANCE_MS: i32 = 60_000;
/// How long an initial rebalance waits for more members.
pub(super) const INITIAL_DELAY_MS: i32 = 3_000;

pub(super) struct TestShard {
    pub(super) shard: GroupShard,
    pub(super) config: Arc<GroupConfig>,
    pub(super) now: Moment,
    pub(super) log: Vec<(Bytes, Option<Bytes>)>,
    /// Appends fail, as on a full disk.
    pub(super) disk_is_full: bool,
    answers: HashMap<Token, WaitingAnswer>,
    asked: HashSet<Token>,
    next_token: u64,
    lives: u64,
}

pub(super) fn config() -> GroupConfig {
    GroupConfig {
        min_session_timeout_ms: 6_000,
        max_session_timeout_ms: 1_800_000,
        max_size: 100,
        initial_rebalance_delay_ms: INITIAL_DELAY_MS,
        offset_metadata_max_bytes: 16,
        offsets_retention_ms: 1_000_000,
        offsets_retention_check_interval_ms: 600_000,
        consumer: consumer_config(),
    }
}

impl Default for TestShard {
    fn default() -> Self {
        Self::with(config())
    }
}

impl TestShard {
    pub(super) fn with(config: GroupConfig) -> Self {
        let config = Arc::new(config);
        Self {
            shard: GroupShard::new(Arc::clone(&config), Default::default(), StdRng::seed_from_u64(0)),
            config,
            now: Moment { monotonic_ms: 1_000, wall_ms: 1_700_000_000_000 },
            log: Vec::new(),
            disk_is_full: false,
            answers: HashMap::new(),
            asked: HashSet::new(),
            next_token: 0,
            lives: 1,
        }
    }

    /// The runtime's part: append, replay, answer.
    pub(super) fn apply(&mut self, effects: Effects) -> Result<(), GroupError> {
        let Effects { records, mut answers, follow_up } = effects;
        let refused = self.disk_is_full && !records.is_empty();
        let size_bytes = records.iter().map(GroupRecord::size_bytes).sum::<usize>();
        assert!(size_bytes <= CHANGE_BYTES_MAX, "{} records of {size_bytes} bytes fit into no batch", records.len());
        for record in records.iter().filter(|_| !refused) {
            let (key, value) = record.encode();
            let read = GroupRecord::decode(Some(&key), value.as_ref()).unwrap().unwrap();
            assert_eq!(read, *record, "a record is read as it was written");
            self.shard.replay(&read, self.now);
            self.log.push((key, value));
        }
        let is_unrecorded = |group: &Group| matches!(group, Group::Classic(group) if !group.is_recorded());
        let unrecorded = self.shard.groups().filter(|(_, group)| is_unrecorded(group));
        assert_eq!(self.shard.unrecorded_names_bytes, unrecorded.map(|(id, _)| id.len()).sum::<usize>());
        let pending = self.shard.groups().map(|(_, group)| match group {
            Group::Classic(group) => group.pending_member_count(),
            Group::Consumer(_) => 0,
        });
        assert_eq!(self.shard.pending_members.len(), pending.sum::<usize>());
        let members_bytes = self.shard.groups().map(|(_, group)| match group {
            Group::Classic(group) => group.members_bytes(),
            Group::Consumer(group) => group.members_bytes(),
        });
        assert_eq!(self.shard.members_budget.taken_bytes(), members_bytes.sum::<usize>());
        assert_eq!(self.shard.offsets.bytes(), self.shard.offsets.counted_bytes());
        if refused {
            answers.iter_mut().for_each(|(_, answer)| answer.refuse(GroupError::CoordinatorNotAvailable));
        }
        for (token, answer) in answers {
            assert!(self.asked.contains(&token), "{token:?} was never asked");
            let before = self.answers.insert(token, answer);
            assert_eq!(before, None, "{token:?} is answered twice");
        }
        let written = if refused { Err(GroupError::CoordinatorNotAvailable) } else { Ok(()) };
        if let Some(follow_up) = follow_up {
            let effects = self.shard.follow_up(follow_up, written, self.now);
            let _refused = self.apply(effects);
        }
        written
    }

    pub(super) fn run<A>(&mut self, outcome: Outcome<Result<A, GroupError>>) -> Result<A, GroupError> {
        self.apply(outcome.effects)?;
        outcome.answer
    }

    fn token(&mut self) -> Token {
        self.next_token += 1;
        self.asked.insert(Token(self.next_token));
        Token(self.next_token)
    }

    /// A broker that was killed and starts again: what is in the log, and nobody who waits. Every group is what it was, unless
    /// it was in a rebalance; and what compaction leaves of the log says the same as the whole of it.
    pub(super) fn restart(&mut self) {
        self.lives += 1;
        let before = descriptions(&self.shard);
        let (shard, effects) = self.load(&self.log);
        let after = descriptions(&shard);
        // A group that is larger than it may be by now begins a rebalance.
        let stays = |described: &Described| {
            described.is_on_record
                && described.classic.as_ref().is_none_or(|group| group.members.len() <= self.config.max_size)
        };
        for (group, described) in before.iter().filter(|(_, described)| stays(described)) {
            assert_eq!(after.get(group), Some(described), "a restart changes {group}");
        }
        let last: HashMap<&Bytes, usize> = self.log.iter().enumerate().map(|(index, (key, _))| (key, index)).collect();
        let is_kept = |index: usize| last[&self.log[index].0] == index && self.log[index].1.is_some();
        let compacted: Vec<_> =
            (0..self.log.len()).filter(|&index| is_kept(index)).map(|index| self.log[index].clone()).collect();
        assert_eq!(descriptions(&self.load(&compacted).0), after, "compaction changes groups");
        self.shard = shard;
        self.asked.clear();
        self.apply(effects).unwrap();
    }

    /// A shard that has read a log.
    fn load(&self, log: &[(Bytes, Option<Bytes>)]) -> (GroupShard, Effects) {
        let random = StdRng::seed_from_u64(self.lives);
        let mut shard = GroupShard::new(Arc::clone(&self.config), Default::default(), random);
        shard.topics = self.shard.topics.clone();
        for (key, value) in log {
            let record = GroupRecord::decode(Some(key), value.as_ref()).unwrap().unwrap();
            shard.replay(&record, self.now);
        }
        let effects = shard.on_loaded(self.now);
        (shard, effects)
    }

    /// Lets time pass, and handles every deadline at its time.
    pub(super) fn advance(&mut self, ms: i32) {
        let until = self.now.in_ms(ms);
        while let Some(due_ms) = self.shard.next_due_ms().filter(|&due_ms| due_ms <= until) {
            self.move_to(due_ms.max(self.now.monotonic_ms));
            let effects = self.shard.on_time(self.now).expect("a deadline is due");
            // A full disk is tried again.
            let _full = self.apply(effects);
        }
        self.move_to(until);
    }

    fn move_to(&mut self, monotonic_ms: u64) {
        self.now.wall_ms += (monotonic_ms - self.now.monotonic_ms) as i64;
        self.now.monotonic_ms = monotonic_ms;
    }

    pub(super) fn join(&mut self, request: JoinGroup) -> Token {
        let token = self.token();
        let outcome = self.shard.join(request, token, self.now);
        let _refused = self.apply(outcome.effects);
        token
    }

    pub(super) fn sync(&mut self, request: &SyncGroup) -> Token {
        let token = self.token();
        let outcome = self.shard.sync(request, token, self.now);
        let _refused = self.apply(outcome.effects);
        token
    }

    /// The answer to a JoinGroup, if there is one yet.
    pub(super) fn joined(&self, token: Token) -> Option<&JoinAnswer> {
        match self.answers.get(&token)? {
            WaitingAnswer::Join(answer) => Some(answer),
            WaitingAnswer::Sync(_) => panic!("{token:?} was a join"),
        }
    }

    /// The answer to a SyncGroup, if there is one yet.
    pub(super) fn synced(&self, token: Token) -> Option<&SyncAnswer> {
        match self.answers.get(&token)? {
            WaitingAnswer::Sync(answer) => Some(answer),
            WaitingAnswer::Join(_) => panic!("{token:?} was a sync"),
        }
    }

    /// Whether somebody still waits.
    pub(super) fn is_anybody_waiting(&self) -> bool {
        self.asked.iter().any(|token| !self.answers.contains_key(token))
    }

    pub(super) fn heartbeat(&mut self, member_id: &str, generation: i32) -> Result<(), GroupError> {
        let outcome = self.shard.heartbeat(GROUP, member_id, None, generation, self.now);
        self.run(outcome)
    }

    pub(super) fn leave(&mut self, members: Vec<Departure>) -> Result<Vec<Result<(), GroupError>>, GroupError> {
        let request = LeaveGroup { group_id: GROUP.to_owned(), members };
        let outcome = self.shard.leave(&request, self.now);
        self.run(outcome)
    }

    pub(super) fn commit(&mut self, member_id: &str, generation: i32, offset: i64) -> Result<(), GroupError> {
        let committer = Committer { member_id: member_id.to_owned(), instance_id: None, generation };
        let offsets = vec![to_commit(0, offset, "")];
        let unknown = GroupError::IllegalGeneration;
        let outcome = self.shard.commit_offsets(GROUP, &committer, offsets, None, unknown, self.now);
        self.run(outcome)?.remove(0)
    }

    /// The offset of partition 0.
    pub(super) fn committed(&self) -> Option<i64> {
        self.shard.offset(GROUP, TOPIC, 0).map(|offset| offset.offset)
    }

    /// The name of the group's state; `Dead` if there is none.
    pub(super) fn state(&self) -> &'static str {
        self.shard.describe_classic(GROUP).map_or("Dead", |group| group.state)
    }

    /// A new dynamic member's id, as a client of today gets it.
    pub(super) fn new_id(&mut self) -> String {
        let token = self.join(JoinGroup { needs_member_id: true, ..member("") });
        let answer = self.joined(token).expect("an id comes at once");
        assert_eq!(answer.error, Some(GroupError::MemberIdRequired));
        answer.member_id.clone()
    }

    /// A group of so many members whose generation has no assignment yet; their ids, the leader's first, and the generation.
    pub(super) fn unassigned(&mut self, members: usize) -> (Vec<String>, i32) {
        let mut ids: Vec<String> = (0..members).map(|_| self.new_id()).collect();
        let tokens: Vec<Token> = ids.iter().map(|id| self.join(member(id))).collect();
        self.advance(INITIAL_DELAY_MS * members as i32);
        let answer = self.joined(tokens[0]).expect("the initial rebalance is over");
        let (leader, generation) = (answer.leader.clone(), answer.generation);
        ids.sort_by_key(|id| *id != leader);
        (ids, generation)
    }

    /// A stable group of so many members; their ids, the leader's first.
    pub(super) fn stable(&mut self, members: usize) -> Vec<String> {
        let (ids, generation) = self.unassigned(members);
        for id in &ids[1..] {
            self.sync(&sync(id, generation));
        }
        self.sync(&SyncGroup { assignments: shares(&ids), ..sync(&ids[0], generation) });
        assert_eq!((self.state(), self.is_anybody_waiting()), ("Stable", false));
        ids
    }

    /// A member sends heartbeats and nothing else for the length of a rebalance, whatever it is told.
    pub(super) fn only_heartbeats(&mut self, id: &str, generation: i32) {
        for _ in 0..REBALANCE_MS / (SESSION_MS / 2) {
            let _told = self.heartbeat(id, generation);
            self.advance(SESSION_MS / 2);
        }
    }
}

/// All that is told of a group, save for what a restart forgets by right.
#[derive(Debug, PartialEq)]
struct Described {
    classic: Option<DescribedGroup>,
    consumer: Option<DescribedConsumerGroup>,
    /// The group says which topics it reads; and whether it reads this one.
    subscribed: (bool, bool),
    /// It is as its last record says.
    is_on_record: bool,
}

fn descriptions(shard: &GroupShard) -> BTreeMap<String, Described> {
    let describe = |(id, group): (&Arc<str>, &Group)| {
        let mut described = Described {
            classic: shard.describe_classic(id).ok(),
            consumer: shard.describe_consumer(id).ok(),
            subscribed: (true, group.is_subscribed_to(TOPIC)),
            is_on_record: match group {
                Group::Classic(group) => group.is_recorded() && matches!(group.state().name(), "Stable" | "Empty"),
                Group::Consumer(_) => true,
            },
        };
        if let Some(described) = &mut described.classic {
            described.members.iter_mut().for_each(|member| member.last_heard_ms = -1);
            if described.protocol_type.is_empty() {
                described.state_since_ms = -1;
            }
        }
        if let Some(described) = &mut described.consumer {
            described.members.iter_mut().for_each(|member| member.last_heard_ms = -1);
            described.state_since_ms = -1;
        }
        if let Group::Classic(group) = group {
            described.subscribed.0 = group.knows_subscriptions();
        }
        (id.to_string(), described)
    };
    shard.groups().map(describe).collect()
}

/// A join of a consumer with one protocol.
pub(super) fn member(member_id: &str) -> JoinGroup {
    JoinGroup {
        group_id: GROUP.to_owned(),
        member_id: member_id.to_owned(),
        instance_id: None,
        client: ClientIdentity { client_id: "client".to_owned(), client_host: "/127.0.0.1".to_owned() },
        session_timeout_ms: SESSION_MS,
        rebalance_timeout_ms: REBALANCE_MS,
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), subscription(&[TOPIC]))],
        needs_member_id: true,
        can_skip_assignment: true,
    }
}

/// A join of a static member that has no id yet.
pub(super) fn static_member(instance_id: &str) -> JoinGroup {
    JoinGroup { instance_id: Some(instance_id.to_owned()), ..member("") }
}

/// What a consumer says of itself: version 0 of its subscription.
pub(super) fn subscription(topics: &[&str]) -> Bytes {
    let mut bytes = vec![0, 0];
    bytes.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        bytes.extend((topic.len() as i16).to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend((-1_i32).to_be_bytes());
    bytes.into()
}

/// A sync of a member that is not the leader.
pub(super) fn sync(member_id: &str, generation: i32) -> SyncGroup {
    SyncGroup {
        group_id: GROUP.to_owned(),
        generation,
        member_id: member_id.to_owned(),
        instance_id: None,
        protocol_type: Some("consumer".to_owned()),
        protocol: Some("range".to_owned()),
        assignments: Vec::new(),
    }
}

/// An assignment of something for each member: its own id.
pub(super) fn shares(ids: &[String]) -> Vec<(String, Bytes)> {
    ids.iter().map(|id| (id.clone(), Bytes::from(id.clone()))).collect()
}

pub(super) fn departure(member_id: &str) -> Departure {
    Departure { member_id: member_id.to_owned(), instance_id: None, reason: None }
}

pub(super) fn to_commit(partition: i32, offset: i64, metadata: &str) -> OffsetToCommit {
    OffsetToCommit {
        topic: TOPIC.into(),
        topic_id: Uuid([7; 16]),
        partition,
        offset,
        leader_epoch: 3,
        metadata: metadata.to_owned(),
    }
}
