//! Goal: whatever members, networks and operators do, no partition is used by two members at once, epochs only rise, a restart
//! changes nothing, and once things are quiet every partition has an owner.
//! Method: seeded random walks of clients that behave as KIP-848 wants it: they give up before they take, apply what they are
//! told before their rebalance timeout, and start over when they are fenced. Answers get lost, clients crash, pause and come
//! back, topics come and go, the coordinator restarts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::assignment::Assignment;
use super::consumer::ConsumerGroupState;
use super::consumer_error::ConsumerGroupError;
use super::consumer_heartbeat::ConsumerHeartbeat;
use super::consumer_test_group::TestGroup;
use crate::types::TopicId;

const TOPICS: [&str; 3] = ["a", "b", "c"];
/// No client that is not paused is silent for longer, which is less than its session and its rebalance timeout.
const SILENCE_MAX: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
struct Client {
    id: String,
    instance: Option<String>,
    topics: Vec<String>,
    pattern: Option<String>,
    epoch: i32,
    /// What it reads.
    owned: Assignment,
    /// What it was told to read; may be applied at any time.
    told: Assignment,
    /// It does not know what the coordinator knows: the next request says everything.
    is_unsure: bool,
    is_paused: bool,
    heard: Duration,
}

struct Walk {
    seed: u64,
    random: StdRng,
    group: TestGroup,
    clients: Vec<Client>,
    clock: Duration,
    made: usize,
    epochs: (i32, i32),
    member_epochs: BTreeMap<String, i32>,
}

impl Walk {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut group = TestGroup::new(&[("a", 4), ("b", 2)]);
        group.config.times.assignment_interval_ms = if random.random_bool(0.5) { 0 } else { 1_000 };
        Walk {
            seed,
            random,
            group,
            clients: Vec::new(),
            clock: Duration::ZERO,
            made: 0,
            epochs: (0, 0),
            member_epochs: BTreeMap::new(),
        }
    }

    fn step(&mut self) {
        match self.random.random_range(0..100) {
            0..8 if self.clients.len() < 8 => self.add_client(),
            8..60 => self.someone(|walk, at| walk.heartbeat(at, false)),
            60..66 => self.someone(|walk, at| walk.heartbeat(at, true)),
            66..74 => self.someone(|walk, at| walk.clients[at].owned = walk.clients[at].told.clone()),
            74..77 => self.someone(|walk, at| drop(walk.clients.remove(at))),
            77..80 => self.someone(Walk::leave),
            80..83 => self.someone(|walk, at| walk.clients[at].is_paused = true),
            83..86 => self.resume(),
            86..89 => self.someone(Walk::resubscribe),
            89..92 => self.change_topics(),
            92..94 => self.restart(),
            _ => {
                let ms = self.random.random_range(100..9_000);
                self.pass(Duration::from_millis(ms));
            }
        }
        self.check();
    }

    fn add_client(&mut self) {
        self.made += 1;
        let instance = self.random.random_bool(0.3).then(|| format!("i{}", self.random.random_range(0..3)));
        if self.clients.iter().any(|client| client.instance.is_some() && client.instance == instance) {
            return;
        }
        let (topics, pattern) = self.subscription();
        self.clients.push(Client {
            id: format!("m{}", self.made),
            instance,
            topics,
            pattern,
            epoch: 0,
            owned: Assignment::default(),
            told: Assignment::default(),
            is_unsure: false,
            is_paused: false,
            heard: self.clock,
        });
    }

    fn subscription(&mut self) -> (Vec<String>, Option<String>) {
        if self.random.random_bool(0.2) {
            return (Vec::new(), Some("[ab]".to_owned()));
        }
        let topics = TOPICS.into_iter().filter(|_| self.random.random_bool(0.7)).map(str::to_owned).collect();
        (topics, Some(String::new()))
    }

    /// Does something to a client that is not paused.
    fn someone(&mut self, act: impl FnOnce(&mut Walk, usize)) {
        let running: Vec<usize> = (0..self.clients.len()).filter(|at| !self.clients[*at].is_paused).collect();
        if let Some(at) = running.choose(&mut self.random).copied() {
            act(self, at);
        }
    }

    fn heartbeat(&mut self, at: usize, is_lost: bool) {
        let client = self.clients[at].clone();
        let topics: Vec<&str> = client.topics.iter().map(String::as_str).collect();
        let says_all = client.epoch == 0 || client.is_unsure;
        let mut request = if says_all {
            ConsumerHeartbeat {
                subscribed_regex: client.pattern.clone(),
                ..self.group.join_request(&client.id, &topics)
            }
        } else {
            self.group.request(&client.id, client.epoch)
        };
        request.rebalance_timeout_ms = if says_all { 60_000 } else { -1 };
        request.member_epoch = client.epoch;
        request.instance_id.clone_from(&client.instance);
        // What it may take at any time counts as owned: were it not reported, the coordinator could give it to somebody else
        // with an answer that gets lost.
        let owned: Assignment = client.owned.iter().chain(client.told.iter()).collect();
        request.owned = Some(owned).filter(|_| says_all || self.random.random_bool(0.7));

        let answer = self.group.send(&request);
        let clock = self.clock;
        let client = &mut self.clients[at];
        match answer {
            _ if is_lost => client.is_unsure = true,
            Ok(answer) => {
                client.heard = clock;
                client.is_unsure = false;
                client.epoch = answer.member_epoch;
                if let Some(told) = answer.assignment {
                    client.told = told;
                }
            }
            Err(
                ConsumerGroupError::FencedEpoch { .. }
                | ConsumerGroupError::UnknownMember { .. }
                | ConsumerGroupError::UnknownInstance { .. },
            ) => {
                client.epoch = 0;
                client.owned = Assignment::default();
                client.told = Assignment::default();
                client.heard = clock;
            }
            // Its name is not free yet, or free no more: it owns nothing.
            Err(ConsumerGroupError::UnreleasedInstance { .. }) => {
                client.heard = clock;
                self.made += 1;
                client.id = format!("m{}", self.made);
                client.epoch = 0;
                client.owned = Assignment::default();
                client.told = Assignment::default();
            }
            Err(ConsumerGroupError::FencedInstance { .. }) => drop(self.clients.remove(at)),
            Err(error) => panic!("seed {}: {error}", self.seed),
        }
    }

    fn leave(&mut self, at: usize) {
        let client = self.clients.remove(at);
        if client.epoch == 0 {
            return;
        }
        let for_a_while = client.instance.is_some() && self.random.random_bool(0.5);
        let request = ConsumerHeartbeat {
            instance_id: client.instance,
            ..self.group.request(&client.id, if for_a_while { -2 } else { -1 })
        };
        // It may have been removed before.
        let _ = self.group.send(&request);
    }

    fn resume(&mut self) {
        if let Some(at) = self.clients.iter().position(|client| client.is_paused) {
            let silent = self.clock - self.clients[at].heard;
            let client = &mut self.clients[at];
            client.is_paused = false;
            if silent >= SILENCE_MAX {
                // It knows that its session is over.
                client.owned = Assignment::default();
                client.told = Assignment::default();
                client.epoch = 0;
                self.made += 1;
                client.id = format!("m{}", self.made);
            }
            self.heartbeat(at, false);
        }
    }

    fn resubscribe(&mut self, at: usize) {
        let (topics, pattern) = self.subscription();
        let client = &mut self.clients[at];
        (client.topics, client.pattern) = (topics, pattern);
        client.is_unsure = true;
    }

    fn change_topics(&mut self) {
        let topic = *TOPICS.choose(&mut self.random).unwrap();
        match self.group.image.topic(topic).map(|topic| topic.partition_count) {
            None => self.group.create_topic(topic, 3),
            Some(_) if self.random.random_bool(0.4) => self.group.delete_topic(topic),
            Some(count) if count < 9 => self.group.add_partitions(topic, count + 1),
            Some(_) => {}
        }
    }

    fn restart(&mut self) {
        self.group.restart();
    }

    fn pass(&mut self, time: Duration) {
        let until = self.clock + time;
        for at in (0..self.clients.len()).rev() {
            let client = &mut self.clients[at];
            if !client.is_paused && until - client.heard > SILENCE_MAX {
                client.owned = client.told.clone();
                self.heartbeat(at, false);
            }
        }
        self.clock = until;
        self.group.pass(time);
    }

    /// Nobody else reads what a running client reads or may begin to read.
    fn check(&mut self) {
        let mut readers: BTreeMap<(TopicId, i32), &str> = BTreeMap::new();
        for client in self.clients.iter().filter(|client| !client.is_paused) {
            let mine: BTreeSet<(TopicId, i32)> = client.owned.iter().chain(client.told.iter()).collect();
            for partition in mine {
                if let Some(other) = readers.insert(partition, &client.id) {
                    panic!("seed {}: {} and {other} both have {partition:?}", self.seed, client.id);
                }
            }
        }
        let group = &self.group.group;
        let epochs = (group.epoch(), group.assignment_epoch());
        assert!(epochs.0 >= self.epochs.0 && epochs.1 >= self.epochs.1, "seed {}: epochs fell", self.seed);
        assert!(epochs.0 >= epochs.1, "seed {}: the target is ahead", self.seed);
        self.epochs = epochs;
        for member in group.members() {
            let before = self.member_epochs.insert(member.member_id.to_string(), member.epoch).unwrap_or(0);
            let fell = member.epoch < before && member.epoch != -2;
            assert!(!fell, "seed {}: {} fell to {}", self.seed, member.member_id, member.epoch);
            assert!(member.epoch <= epochs.1, "seed {}: a member is ahead of the target", self.seed);
        }
    }

    /// Once nothing happens any more but heartbeats, everything has one owner.
    fn settle(&mut self) {
        while self.clients.iter().any(|client| client.is_paused) {
            self.resume();
        }
        // Long enough for every session of the dead, then a few rounds for what they had.
        for _ in 0..60 {
            self.pass(Duration::from_secs(1));
            for at in (0..self.clients.len()).rev() {
                self.clients[at].owned = self.clients[at].told.clone();
                self.heartbeat(at, false);
            }
            self.check();
        }
        let state = self.group.state();
        if self.clients.is_empty() {
            assert_eq!(state, ConsumerGroupState::Empty, "seed {}", self.seed);
            return;
        }
        assert_eq!(state, ConsumerGroupState::Stable, "seed {}: {:#?}", self.seed, self.clients);
        let image = &self.group.image;
        let subscribed: BTreeSet<&str> = self.group.group.all_subscribed_names();
        let expected: BTreeSet<(TopicId, i32)> = subscribed
            .into_iter()
            .filter_map(|name| image.topic(name))
            .flat_map(|topic| topic.partition_indexes().map(|partition| (topic.id, partition)))
            .collect();
        let read: BTreeSet<(TopicId, i32)> = self.clients.iter().flat_map(|client| client.owned.iter()).collect();
        assert_eq!(read, expected, "seed {}", self.seed);
    }
}

#[test]
fn no_partition_has_two_readers_and_each_has_one_when_a_session_and_a_few_heartbeats_are_over() {
    for seed in 0..150 {
        let mut walk = Walk::new(seed);
        for _ in 0..3 {
            (0..100).for_each(|_| walk.step());
            walk.settle();
        }
    }
}
