//! Goal: while members of both protocols come and go and the group moves between them, no partition is read by two members at
//! once, nobody waits for ever, and once things are quiet every partition is read.
//! Method: seeded random walks of consumers of the consumer protocol and of cooperative and eager ones of the classic protocol,
//! who behave as Java's do, on a whole shard that restarts now and then, and whose disk is full now and then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::assignment::Assignment;
use super::assignor::{Assignor, AssignorMember};
use super::classic::{ClientIdentity, JoinAnswer, JoinGroup, SyncGroup};
use super::consumer_error::ConsumerGroupError;
use super::consumer_heartbeat::ConsumerHeartbeat;
use super::consumer_test_group::TestGroup;
use super::embedded_protocol::{decode_assignment, decode_subscription, encode_assignment, to_assignment};
use super::error::GroupError;
use super::outcome::{Outcome, Token};
use super::test_shard::{GROUP, TOPIC, TestShard, config, departure};
use crate::types::TopicId;

const PARTITIONS: i32 = 5;
/// Nobody who runs is silent for longer; a classic session lasts ten seconds.
const SILENCE_MAX_MS: u64 = 4_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Consumer,
    Cooperative,
    Eager,
}

#[derive(Debug, Clone)]
struct Client {
    id: String,
    protocol: Protocol,
    /// The epoch or generation; 0 before the first.
    epoch: i32,
    /// What it reads.
    owned: Assignment,
    /// What it was told to read; may be applied at any time.
    told: Assignment,
    must_join: bool,
    joining: Option<Token>,
    syncing: Option<Token>,
    heard_ms: u64,
}

impl Client {
    fn lose_everything(&mut self) {
        self.owned = Assignment::default();
        self.told = Assignment::default();
        self.epoch = 0;
        self.must_join = true;
    }
}

struct Walk {
    seed: u64,
    random: StdRng,
    shard: TestShard,
    topics: TestGroup,
    clients: Vec<Client>,
    made: usize,
}

impl Walk {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut config = config();
        config.initial_rebalance_delay_ms = 500;
        config.consumer.times.assignment_interval_ms = if random.random_bool(0.5) { 0 } else { 1_000 };
        let topics = TestGroup::new(&[(TOPIC, PARTITIONS)]);
        let mut walk = Walk { seed, random, shard: TestShard::with(config), topics, clients: Vec::new(), made: 0 };
        walk.observe();
        walk
    }

    fn observe(&mut self) {
        self.shard.shard.observe_topics(Arc::new(self.topics.image.clone()));
    }

    fn step(&mut self) {
        match self.random.random_range(0..100) {
            0..6 if self.clients.len() < 6 => self.add_client(),
            6..70 => self.someone(Walk::act),
            70..80 => self.someone(|walk, at| walk.clients[at].owned = walk.clients[at].told.clone()),
            80..83 => self.someone(|walk, at| drop(walk.clients.remove(at))),
            83..87 => self.someone(Walk::leave),
            87..89 => self.restart(),
            89..91 => self.shard.disk_is_full = self.random.random_ratio(1, 2),
            _ => {
                let ms = self.random.random_range(50..3_000);
                self.pass(ms);
            }
        }
        self.check();
    }

    fn add_client(&mut self) {
        self.made += 1;
        let protocol = *[Protocol::Consumer, Protocol::Cooperative, Protocol::Eager].choose(&mut self.random).unwrap();
        self.clients.push(Client {
            id: if protocol == Protocol::Consumer { format!("m{}", self.made) } else { String::new() },
            protocol,
            epoch: 0,
            owned: Assignment::default(),
            told: Assignment::default(),
            must_join: true,
            joining: None,
            syncing: None,
            heard_ms: self.shard.now.monotonic_ms,
        });
    }

    fn someone(&mut self, act: impl FnOnce(&mut Walk, usize)) {
        if !self.clients.is_empty() {
            let at = self.random.random_range(0..self.clients.len());
            act(self, at);
        }
    }

    /// The next thing that the client does.
    fn act(&mut self, at: usize) {
        self.clients[at].heard_ms = self.shard.now.monotonic_ms;
        if self.clients[at].protocol == Protocol::Consumer {
            return self.consumer_heartbeat(at);
        }
        if let Some(token) = self.clients[at].joining {
            if let Some(answer) = self.shard.joined(token).cloned() {
                self.clients[at].joining = None;
                self.joined(at, answer);
            }
        } else if let Some(token) = self.clients[at].syncing {
            if let Some(answer) = self.shard.synced(token).cloned() {
                self.clients[at].syncing = None;
                self.synced(at, answer.error, &answer.assignment);
            }
        } else if self.clients[at].must_join {
            self.join(at);
        } else {
            let client = &self.clients[at];
            let (id, epoch) = (client.id.clone(), client.epoch);
            match self.shard.heartbeat(&id, epoch) {
                Ok(()) | Err(GroupError::CoordinatorNotAvailable) => {}
                Err(error) => self.refused(at, error),
            }
        }
    }

    fn consumer_heartbeat(&mut self, at: usize) {
        let client = self.clients[at].clone();
        let owned: Assignment = client.owned.iter().chain(client.told.iter()).collect();
        let request = match client.epoch {
            0 => ConsumerHeartbeat { rebalance_timeout_ms: 60_000, ..self.topics.join_request(&client.id, &[TOPIC]) },
            epoch => ConsumerHeartbeat { owned: Some(owned), ..self.topics.request(&client.id, epoch) },
        };
        let Outcome { answer, effects } = self.shard.shard.consumer_heartbeat(GROUP, request, false, self.shard.now);
        if self.shard.apply(effects).is_err() {
            // It did not happen, and is asked for again.
            return;
        }
        let client = &mut self.clients[at];
        match answer {
            Ok(answer) => {
                client.epoch = answer.member_epoch;
                if let Some(told) = answer.assignment {
                    client.told = told;
                }
            }
            Err(
                ConsumerGroupError::FencedEpoch { .. }
                | ConsumerGroupError::UnknownMember { .. }
                | ConsumerGroupError::GroupIdNotFound(_),
            ) => client.lose_everything(),
            Err(error) => panic!("seed {}: {error}", self.seed),
        }
    }

    /// A cooperative member keeps what it was told to; an eager one reads nothing from here on.
    fn join(&mut self, at: usize) {
        let client = &mut self.clients[at];
        if client.protocol == Protocol::Eager {
            client.told = Assignment::default();
        }
        client.owned = client.told.clone();
        let client = client.clone();
        let request = JoinGroup {
            group_id: GROUP.to_owned(),
            member_id: client.id,
            instance_id: None,
            client: ClientIdentity { client_id: "client".to_owned(), client_host: "/127.0.0.1".to_owned() },
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 60_000,
            protocol_type: "consumer".to_owned(),
            protocols: vec![("sticky".to_owned(), self.subscription(&client.owned))],
            needs_member_id: true,
            can_skip_assignment: false,
        };
        let token = self.shard.join(request);
        self.clients[at].joining = Some(token);
        self.clients[at].must_join = false;
    }

    /// What a member reads, in version 1.
    fn subscription(&self, owned: &Assignment) -> Bytes {
        let mut bytes = vec![0, 1, 0, 0, 0, 1, 0, TOPIC.len() as u8];
        bytes.extend(TOPIC.as_bytes());
        bytes.extend((-1_i32).to_be_bytes());
        // An assignment is a subscription's last field with user data behind it.
        let assignment = encode_assignment(owned, &Bytes::from_static(&[0, 1]), &self.topics.image);
        bytes.extend_from_slice(&assignment[2..assignment.len() - 4]);
        bytes.into()
    }

    fn joined(&mut self, at: usize, answer: JoinAnswer) {
        match answer.error {
            None => {}
            Some(GroupError::MemberIdRequired) => {
                self.clients[at].id = answer.member_id;
                self.clients[at].must_join = true;
                return;
            }
            Some(error) => return self.refused(at, error),
        }
        self.clients[at].id.clone_from(&answer.member_id);
        self.clients[at].epoch = answer.generation;
        let assignments = if answer.members.is_empty() { Vec::new() } else { self.lead(&answer) };
        let request = SyncGroup {
            group_id: GROUP.to_owned(),
            generation: answer.generation,
            member_id: answer.member_id,
            instance_id: None,
            protocol_type: Some("consumer".to_owned()),
            protocol: Some("sticky".to_owned()),
            assignments,
        };
        let token = self.shard.sync(&request);
        self.clients[at].syncing = Some(token);
    }

    /// What a cooperative leader assigns: nothing that another member has not given up yet.
    fn lead(&self, answer: &JoinAnswer) -> Vec<(String, Bytes)> {
        let image = &self.topics.image;
        let owned: Vec<Assignment> = answer
            .members
            .iter()
            .map(|member| to_assignment(&decode_subscription(&member.metadata).unwrap().owned_partitions, image))
            .collect();
        let topic = self.topics.topic(TOPIC);
        let subscribed = [topic];
        let members: Vec<AssignorMember<'_>> = answer
            .members
            .iter()
            .zip(&owned)
            .map(|(member, previous)| AssignorMember {
                member_id: &member.member_id,
                instance_id: None,
                subscribed: &subscribed,
                previous,
            })
            .collect();
        let targets = Assignor::Uniform.assign(&members, &BTreeMap::from([(topic, PARTITIONS)]));
        let share = |(at, target): (usize, &Assignment)| -> (String, Bytes) {
            let is_free = |(topic, partition): &(TopicId, i32)| {
                owned.iter().enumerate().all(|(other, owned)| other == at || !owned.contains(topic, *partition))
            };
            let assignment: Assignment = target.iter().filter(is_free).collect();
            let member = &answer.members[at];
            (member.member_id.clone(), encode_assignment(&assignment, &member.metadata, image))
        };
        targets.iter().enumerate().map(share).collect()
    }

    fn synced(&mut self, at: usize, error: Option<GroupError>, assignment: &Bytes) {
        if let Some(error) = error {
            return self.refused(at, error);
        }
        let told = to_assignment(&decode_assignment(assignment).unwrap().assigned_partitions, &self.topics.image);
        let client = &mut self.clients[at];
        client.told = told;
        // What it has to give up makes it join again when it did, so that others can get it.
        let gives_up = client.owned.iter().any(|(topic, partition)| !client.told.contains(&topic, partition));
        client.must_join |= gives_up && client.protocol == Protocol::Cooperative;
    }

    fn refused(&mut self, at: usize, error: GroupError) {
        let client = &mut self.clients[at];
        client.must_join = true;
        match error {
            GroupError::RebalanceInProgress | GroupError::CoordinatorNotAvailable => {}
            GroupError::IllegalGeneration => client.lose_everything(),
            GroupError::UnknownMemberId => {
                client.lose_everything();
                client.id = String::new();
            }
            error => panic!("seed {}: {error}", self.seed),
        }
    }

    fn leave(&mut self, at: usize) {
        let client = self.clients.remove(at);
        if client.protocol == Protocol::Consumer {
            let request = self.topics.request(&client.id, -1);
            let Outcome { effects, .. } = self.shard.shard.consumer_heartbeat(GROUP, request, false, self.shard.now);
            // It goes, whether that is on record or not.
            let _full = self.shard.apply(effects);
        } else if !client.id.is_empty() {
            // It may have been removed before.
            let _left = self.shard.leave(vec![departure(&client.id)]);
        }
    }

    fn restart(&mut self) {
        self.shard.disk_is_full = false;
        self.shard.restart();
        self.observe();
        for client in &mut self.clients {
            // The connection broke, and with it what was waited for.
            if client.joining.take().is_some() || client.syncing.take().is_some() {
                client.must_join = true;
            }
        }
    }

    fn pass(&mut self, ms: i32) {
        let until = self.shard.now.in_ms(ms);
        for at in (0..self.clients.len()).rev() {
            if until - self.clients[at].heard_ms > SILENCE_MAX_MS {
                self.act(at);
            }
        }
        self.shard.advance(ms);
    }

    /// Nobody else reads what a client reads or may begin to read.
    fn check(&self) {
        let mut readers: BTreeMap<(TopicId, i32), &Client> = BTreeMap::new();
        for client in &self.clients {
            let mine: BTreeSet<(TopicId, i32)> = client.owned.iter().chain(client.told.iter()).collect();
            for partition in mine {
                if let Some(other) = readers.insert(partition, client) {
                    panic!("seed {}: both have {partition:?}: {client:#?} {other:#?}", self.seed);
                }
            }
        }
    }

    fn settle(&mut self) {
        self.shard.disk_is_full = false;
        for _ in 0..150 {
            self.pass(500);
            for at in (0..self.clients.len()).rev() {
                self.clients[at].owned = self.clients[at].told.clone();
                self.act(at);
            }
            self.check();
        }
        let read: BTreeSet<(TopicId, i32)> = self.clients.iter().flat_map(|client| client.owned.iter()).collect();
        if !self.clients.is_empty() {
            assert_eq!(read.len(), PARTITIONS as usize, "seed {}: {:#?}", self.seed, self.clients);
        }
        assert!(!self.shard.is_anybody_waiting() || self.clients.iter().any(|client| client.joining.is_some()));
    }
}

#[test]
fn a_group_that_moves_between_the_protocols_never_gives_a_partition_to_two() {
    for seed in 0..120 {
        let mut walk = Walk::new(seed);
        for _ in 0..4 {
            (0..100).for_each(|_| walk.step());
            walk.settle();
        }
    }
}
