//! Goal: whatever clients do, and whenever the broker restarts or its disk is full: no partition has two owners in one generation,
//! generations only rise, committed offsets are those that were acknowledged last, everybody who waits is answered once, and in
//! the end the group is stable again.
//!
//! Method: clients that follow the protocol, die, sleep and leave at random, over a model that keeps the offsets in a map. The seed
//! is in every message.

use std::collections::{BTreeMap, HashMap};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::super::outcome::Token;
use super::super::test_shard::*;
use super::*;

const WALKS: u64 = 60;
const STEPS: usize = 1_500;
const CLIENTS: usize = 6;
const PARTITIONS: i32 = 8;

/// Where a client is in the protocol.
#[derive(Debug, Clone, PartialEq)]
enum Phase {
    Out,
    Joining(Token),
    /// It has a generation to sync; the leader has its members.
    Joined {
        members: Vec<String>,
    },
    Syncing(Token),
    Owning(Vec<i32>),
}

#[derive(Debug, Clone)]
struct Client {
    member_id: String,
    instance_id: Option<String>,
    /// Changes now and then, which makes the group rebalance.
    says: u8,
    generation: i32,
    phase: Phase,
}

struct Walk {
    seed: u64,
    random: StdRng,
    shard: TestShard,
    clients: Vec<Client>,
    committed: BTreeMap<i32, i64>,
    /// Who was given a partition in a generation.
    owners: HashMap<(i32, i32), String>,
    generation: i32,
}

impl Walk {
    fn new(seed: u64) -> Self {
        let client = |index: usize| Client {
            member_id: String::new(),
            instance_id: index.is_multiple_of(3).then(|| format!("instance-{index}")),
            says: 0,
            generation: -1,
            phase: Phase::Out,
        };
        Self {
            seed,
            random: StdRng::seed_from_u64(seed),
            shard: TestShard::default(),
            clients: (0..CLIENTS).map(client).collect(),
            committed: BTreeMap::new(),
            owners: HashMap::new(),
            generation: 0,
        }
    }

    fn step(&mut self) {
        let client = self.random.random_range(0..CLIENTS);
        match self.random.random_range(0..1_000) {
            0..650 => self.proceed(client),
            650..750 => self.pass(None),
            750..930 => self.commit(client),
            930..945 => self.crash(client),
            945..955 => self.leave(client),
            955..970 => self.clients[client].says = self.clients[client].says.wrapping_add(1),
            970..980 => self.shard.disk_is_full = self.random.random_ratio(1, 4),
            980..990 => {
                self.shard.disk_is_full = false;
                self.restart();
            }
            990..992 => self.shard.advance(SESSION_MS * 2),
            // It sleeps through its session, and goes on as if nothing had been.
            _ => (0..4).for_each(|_| self.pass(Some(client))),
        }
        self.check();
    }

    /// The client's next step in the protocol.
    fn proceed(&mut self, index: usize) {
        let client = self.clients[index].clone();
        let instance_id = client.instance_id.clone();
        match client.phase {
            Phase::Out => {
                let metadata = [subscription(&[TOPIC]).to_vec(), vec![client.says]].concat();
                let session_timeout_ms = SESSION_MS + i32::from(client.says);
                let mut protocols = vec![("range".to_owned(), metadata.into())];
                if client.says.is_multiple_of(2) {
                    protocols.insert(0, ("roundrobin".to_owned(), subscription(&["another", TOPIC])));
                }
                let request = JoinGroup { instance_id, protocols, session_timeout_ms, ..member(&client.member_id) };
                let token = self.shard.join(request);
                self.clients[index].phase = Phase::Joining(token);
                self.hear_of_join(index, token);
            }
            Phase::Joining(token) => self.hear_of_join(index, token),
            Phase::Joined { members } => {
                let mut assignments: Vec<(String, Vec<u8>)> = members.into_iter().map(|id| (id, Vec::new())).collect();
                let count = assignments.len();
                for partition in (0..PARTITIONS).filter(|_| count > 0) {
                    assignments[partition as usize % count].1.push(partition as u8);
                }
                let assignments = assignments.into_iter().map(|(id, share)| (id, share.into())).collect();
                let request = SyncGroup {
                    instance_id,
                    assignments,
                    protocol: None,
                    ..sync(&client.member_id, client.generation)
                };
                let token = self.shard.sync(&request);
                self.clients[index].phase = Phase::Syncing(token);
                self.hear_of_sync(index, token);
            }
            Phase::Syncing(token) => self.hear_of_sync(index, token),
            Phase::Owning(_) => self.heartbeat(index),
        }
    }

    fn hear_of_join(&mut self, index: usize, token: Token) {
        let Some(answer) = self.shard.joined(token).cloned() else { return };
        let client = &mut self.clients[index];
        client.phase = Phase::Out;
        match answer.error {
            None => {
                assert!(answer.generation > 0, "seed {}", self.seed);
                client.member_id = answer.member_id;
                client.generation = answer.generation;
                let members = answer.members.into_iter().map(|member| member.member_id).collect();
                client.phase = Phase::Joined { members };
            }
            Some(GroupError::MemberIdRequired) => client.member_id = answer.member_id,
            Some(GroupError::RebalanceInProgress | GroupError::CoordinatorNotAvailable) => {}
            Some(_) => client.member_id.clear(),
        }
    }

    fn hear_of_sync(&mut self, index: usize, token: Token) {
        let Some(answer) = self.shard.synced(token).cloned() else { return };
        if let Some(error) = answer.error {
            self.refused(index, error);
            return;
        }
        let (seed, client) = (self.seed, &mut self.clients[index]);
        let share: Vec<i32> = answer.assignment.iter().map(|partition| i32::from(*partition)).collect();
        let name = client.instance_id.clone().unwrap_or_else(|| client.member_id.clone());
        for partition in &share {
            let owner = self.owners.entry((client.generation, *partition)).or_insert_with(|| name.clone());
            assert_eq!(*owner, name, "seed {seed}: two owners of {partition} in generation {}", client.generation);
        }
        self.generation = self.generation.max(client.generation);
        client.phase = Phase::Owning(share);
    }

    fn refused(&mut self, index: usize, error: GroupError) {
        let client = &mut self.clients[index];
        client.phase = Phase::Out;
        if matches!(error, GroupError::UnknownMemberId | GroupError::FencedInstanceId) {
            client.member_id.clear();
        }
    }

    fn heartbeat(&mut self, index: usize) {
        let Client { member_id, instance_id, generation, .. } = self.clients[index].clone();
        let now = self.shard.now;
        let outcome = self.shard.shard.heartbeat(GROUP, &member_id, instance_id.as_deref(), generation, now);
        if let Err(error) = self.shard.run(outcome)
            && matches!(self.clients[index].phase, Phase::Owning(_))
        {
            self.refused(index, error);
        }
    }

    /// Commits for its partitions, in the name of whatever generation it believes in.
    fn commit(&mut self, index: usize) {
        let Client { member_id, instance_id, generation, phase, .. } = self.clients[index].clone();
        let Phase::Owning(share) = phase else { return };
        if share.is_empty() {
            return;
        }
        let partition = share[self.random.random_range(0..share.len())];
        let offset = self.committed.get(&partition).map_or(0, |offset| offset + 1);
        let committer = Committer { member_id, instance_id, generation };
        let offsets = vec![to_commit(partition, offset, "")];
        let (now, unknown) = (self.shard.now, GroupError::IllegalGeneration);
        let outcome = self.shard.shard.commit_offsets(GROUP, &committer, offsets, None, unknown, now);
        match self.shard.run(outcome) {
            Ok(results) => {
                assert_eq!(results, [Ok(())], "seed {}", self.seed);
                let owner = committer.instance_id.unwrap_or(committer.member_id);
                let rightful = &self.owners[&(committer.generation, partition)];
                assert_eq!(*rightful, owner, "seed {}: a commit for another's partition", self.seed);
                self.committed.insert(partition, offset);
            }
            Err(GroupError::CoordinatorNotAvailable) => {}
            Err(error) => self.refused(index, error),
        }
    }

    fn leave(&mut self, index: usize) {
        let member_id = std::mem::take(&mut self.clients[index].member_id);
        self.clients[index].phase = Phase::Out;
        let left = self.shard.leave(vec![departure(&member_id)]);
        assert!(matches!(left, Ok(_) | Err(GroupError::CoordinatorNotAvailable)), "seed {}: {left:?}", self.seed);
    }

    fn restart(&mut self) {
        self.shard.restart();
        for client in &mut self.clients {
            // The connection is gone, and with it whatever was waited for.
            if matches!(client.phase, Phase::Joining(_) | Phase::Syncing(_)) {
                client.phase = Phase::Out;
            }
        }
    }

    /// Time passes in which all clients but one send their heartbeats.
    fn pass(&mut self, but: Option<usize>) {
        self.shard.advance(self.random.random_range(1..SESSION_MS / 3));
        (0..CLIENTS).filter(|index| Some(*index) != but).for_each(|index| self.heartbeat(index));
    }

    /// What it waits for is answered to nobody, and it comes back as somebody new.
    fn crash(&mut self, index: usize) {
        self.clients[index].member_id.clear();
        self.clients[index].phase = Phase::Out;
    }

    fn check(&self) {
        for partition in 0..PARTITIONS {
            let offset = self.shard.shard.offset(GROUP, TOPIC, partition).map(|offset| offset.offset);
            assert_eq!(offset, self.committed.get(&partition).copied(), "seed {}: partition {partition}", self.seed);
        }
    }

    /// With all clients well and time to join, the group comes to rest.
    fn settle(&mut self) {
        self.shard.disk_is_full = false;
        for _ in 0..400 {
            (0..CLIENTS).for_each(|index| self.proceed(index));
            self.shard.advance(1_000);
            self.check();
        }
        let phases: Vec<_> = self.clients.iter().map(|client| &client.phase).collect();
        let mut owned: Vec<i32> = phases
            .iter()
            .flat_map(|phase| match phase {
                Phase::Owning(share) => share.clone(),
                _ => panic!("seed {}: {phases:?} in state {}", self.seed, self.shard.state()),
            })
            .collect();
        owned.sort_unstable();
        assert_eq!(owned, (0..PARTITIONS).collect::<Vec<_>>(), "seed {}", self.seed);
        assert!(!self.shard.is_anybody_waiting(), "seed {}", self.seed);
    }
}

#[test]
fn clients_at_random_never_share_a_partition_nor_lose_a_commit() {
    let first: u64 = rand::random_range(0..1_000_000);
    let (mut commits, mut total) = (0, 0);
    for seed in first..first + WALKS {
        let mut walk = Walk::new(seed);
        let mut generations = 0;
        for step in 1..=STEPS {
            walk.step();
            generations = generations.max(walk.generation);
            if step.is_multiple_of(STEPS / 3) {
                walk.settle();
            }
        }
        assert!(walk.generation >= generations, "seed {seed}: a generation went back");
        total += generations;
        commits += walk.committed.values().map(|offset| offset + 1).sum::<i64>();
    }
    assert!(commits > 1_000 && total > 300, "only {commits} commits in {total} generations of {WALKS} walks");
}
