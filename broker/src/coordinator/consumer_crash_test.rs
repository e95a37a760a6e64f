//! Goal: whenever the broker is killed or the power fails, a group of the consumer protocol is afterwards as it was before or as it
//! is after the request that was under way, whole; what was answered is there.
//!
//! Method: the floors up to the coordinator over the file system that fails on command. A script of both protocols, with the
//! group's way from one to the other and back, runs once to learn how the group is after each step; then again for each change of
//! the disk, and stops there.

use bytes::Bytes;

use super::super::group::{Assignment, ClientIdentity, ConsumerHeartbeat, Departure, JoinGroup, LeaveGroup, SyncGroup};
use super::super::test_broker::{Stopped, TOPIC, TestBroker, answer, new_disk};
use super::*;
use crate::storage::vfs::FaultVfs;

const GROUP: &str = "group";

/// How far a run has come: steps that were begun, and steps that were answered.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Progress {
    begun: usize,
    answered: usize,
}

/// A run of the script. After each step `look` sees the disk.
struct Script<'a> {
    broker: &'a TestBroker,
    progress: &'a mut Progress,
    look: &'a mut dyn FnMut(),
}

impl Script<'_> {
    fn begin(&mut self) {
        self.progress.begun += 1;
    }

    fn end(&mut self) {
        self.progress.answered += 1;
        (self.look)();
    }

    async fn heartbeat(&mut self, request: ConsumerHeartbeat) -> Result<(), Stopped> {
        self.begin();
        let handled = self.broker.groups.submit(GROUP, |shard, now| {
            let Outcome { answer, effects } = shard.consumer_heartbeat(GROUP, request, false, now);
            Outcome { answer: Ok(answer), effects }
        });
        answer(handled).await?.expect("every member is one");
        self.end();
        Ok(())
    }

    async fn waiting(
        &mut self,
        act: impl FnOnce(&TestBroker) -> Handled<Result<WaitingAnswer, GroupError>>,
    ) -> Result<WaitingAnswer, Stopped> {
        self.begin();
        let answer = answer(act(self.broker)).await?;
        let error = match &answer {
            WaitingAnswer::Join(answer) => answer.error,
            WaitingAnswer::Sync(answer) => answer.error,
        };
        if let Some(error) = error {
            return Err(error.into());
        }
        self.end();
        Ok(answer)
    }

    async fn join(&mut self, member_id: &str) -> Result<(String, i32), Stopped> {
        let request = JoinGroup {
            group_id: GROUP.to_owned(),
            member_id: member_id.to_owned(),
            instance_id: None,
            client: ClientIdentity { client_id: "client".to_owned(), client_host: "/127.0.0.1".to_owned() },
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 10_000,
            protocol_type: "consumer".to_owned(),
            protocols: vec![("range".to_owned(), subscription())],
            needs_member_id: false,
            can_skip_assignment: true,
        };
        let joined = self
            .waiting(|broker| {
                let handled = broker.groups.submit_waiting(GROUP, |shard, token, now| shard.join(request, token, now));
                // The initial rebalance of the classic group has no delay; its deadline is handled as the task would.
                broker.groups.on_time(broker.groups.moment());
                handled
            })
            .await?;
        match joined {
            WaitingAnswer::Join(answer) => Ok((answer.member_id, answer.generation)),
            WaitingAnswer::Sync(_) => unreachable!("a token is answered in kind"),
        }
    }

    async fn sync(&mut self, member_id: &str, generation: i32) -> Result<(), Stopped> {
        let request = SyncGroup {
            group_id: GROUP.to_owned(),
            generation,
            member_id: member_id.to_owned(),
            instance_id: None,
            protocol_type: None,
            protocol: None,
            assignments: vec![(member_id.to_owned(), Bytes::from_static(&[0, 0, 0, 0, 0, 0, 255, 255, 255, 255]))],
        };
        self.waiting(|broker| broker.groups.submit_waiting(GROUP, |shard, token, now| shard.sync(&request, token, now)))
            .await
            .map(|_| ())
    }

    /// Commits the step's number for both partitions.
    async fn commit(&mut self, member_id: &str, generation: i32) -> Result<(), Stopped> {
        self.begin();
        let offset = i64::try_from(self.progress.begun).expect("there are few steps");
        self.broker.commit_as(member_id, generation, GROUP, &[0, 1], offset).await?;
        self.end();
        Ok(())
    }

    async fn leave(&mut self, member_id: &str) -> Result<(), Stopped> {
        self.begin();
        let departure = Departure { member_id: member_id.to_owned(), instance_id: None, reason: None };
        let request = LeaveGroup { group_id: GROUP.to_owned(), members: vec![departure] };
        let handled = self.broker.groups.submit(GROUP, |shard, now| shard.leave(&request, now));
        answer(handled).await?.remove(0)?;
        self.end();
        Ok(())
    }
}

/// Version 0 of the subscription to the topic.
fn subscription() -> Bytes {
    let mut bytes = vec![0, 0, 0, 0, 0, 1, 0, TOPIC.len() as u8];
    bytes.extend(TOPIC.as_bytes());
    bytes.extend((-1_i32).to_be_bytes());
    bytes.into()
}

fn beat(member: &str, epoch: i32) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        member_id: member.into(),
        member_epoch: epoch,
        rebalance_timeout_ms: -1,
        client_id: "client".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        ..Default::default()
    }
}

fn enter(member: &str) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        rebalance_timeout_ms: 10_000,
        subscribed_topics: Some(vec![TOPIC.to_owned()]),
        owned: Some(Assignment::default()),
        ..beat(member, 0)
    }
}

/// A classic member, two of the consumer protocol beside it, partitions that change hands, and the way back.
async fn play(broker: &TestBroker, progress: &mut Progress, look: &mut dyn FnMut()) -> Result<(), Stopped> {
    broker.create_topics()?;
    let topic = broker.topic_id();
    let mut script = Script { broker, progress, look };
    let (classic, generation) = script.join("").await?;
    script.sync(&classic, generation).await?;
    script.commit(&classic, generation).await?;
    script.heartbeat(enter("m")).await?;
    let (_, generation) = script.join(&classic).await?;
    script.commit("m", 2).await?;
    script.sync(&classic, generation).await?;
    script.heartbeat(beat("m", 2)).await?;
    script.heartbeat(enter("n")).await?;
    script.heartbeat(beat("m", 2)).await?;
    let one: Assignment = [(topic, 0)].into_iter().collect();
    script.heartbeat(ConsumerHeartbeat { owned: Some(one), ..beat("m", 2) }).await?;
    script.heartbeat(beat("n", 3)).await?;
    script.commit("n", 3).await?;
    script.leave("m").await?;
    script.heartbeat(beat("n", -1)).await?;
    let (_, generation) = script.join(&classic).await?;
    script.sync(&classic, generation).await?;
    script.commit(&classic, generation).await?;
    script.leave(&classic).await
}

/// How the group is after a start from what is on the disk: everything that a restart brings back.
async fn after_a_start(vfs: &FaultVfs) -> String {
    let broker = TestBroker::open(vfs, 9).unwrap();
    broker.create_topics().unwrap();
    let described = loop {
        let read = broker.groups.read(GROUP, |shard| {
            let mut consumer = shard.describe_consumer(GROUP).ok();
            let members = consumer.as_mut().map(|group| group.members.iter_mut()).into_iter().flatten();
            members.for_each(|member| member.last_heard_ms = 0);
            let mut classic = shard.describe_classic(GROUP).ok();
            if let Some(group) = &mut classic {
                group.state_since_ms = 0;
                group.members.iter_mut().for_each(|member| member.last_heard_ms = 0);
            }
            let offsets: Vec<_> = (0..2).map(|partition| Some(shard.offset(GROUP, TOPIC, partition)?.offset)).collect();
            Ok(format!("{consumer:?} {offsets:?} {classic:?}"))
        });
        match answer(read).await {
            Err(GroupError::CoordinatorLoadInProgress) => tokio::task::yield_now().await,
            other => break other.unwrap(),
        }
    };
    // And it goes on: somebody joins, and is told what to read.
    let handled = broker.groups.submit(GROUP, |shard, now| {
        let Outcome { answer, effects } = shard.consumer_heartbeat(GROUP, enter("later"), false, now);
        Outcome { answer: Ok(answer), effects }
    });
    let joined = answer(handled).await.unwrap();
    assert!(joined.is_ok(), "{joined:?} after {described}");
    broker.stop();
    described
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_whole_after_a_stop_at_every_change_of_the_disk() {
    let vfs = new_disk();
    let before = vfs.mutations();
    let (mut progress, mut disks) = (Progress::default(), Vec::new());
    let broker = TestBroker::open(&vfs, 1).unwrap();
    play(&broker, &mut progress, &mut || disks.push(vfs.killed())).await.unwrap();
    broker.stop();
    let mutations = vfs.mutations();
    assert_eq!(progress, Progress { begun: 19, answered: 19 });

    let mut states = vec!["None [None, None] None".to_owned()];
    for disk in &disks {
        states.push(after_a_start(disk).await);
    }
    let protocols = |state: &str| (!state.starts_with("None"), !state.ends_with("None"));
    let seen: std::collections::BTreeSet<(bool, bool)> = states.iter().map(|state| protocols(state)).collect();
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [(false, false), (false, true), (true, false)]);

    let different: std::collections::BTreeSet<&String> = states.iter().collect();
    assert!(different.len() > 8 && mutations > before + 30, "{} states, {mutations} changes", different.len());

    for stop in before + 1..=mutations {
        let vfs = new_disk();
        vfs.crash_at_mutation(stop);
        let mut progress = Progress::default();
        if let Ok(broker) = TestBroker::open(&vfs, 1) {
            let _stopped = play(&broker, &mut progress, &mut || {}).await;
            broker.stop();
        }
        let Progress { begun, answered } = progress;
        let allowed = &states[answered..=begun];
        let mut disks = vec![vfs.killed()];
        disks.extend((0..2).map(|seed| vfs.power_cut(seed)));
        for (at, disk) in disks.iter().enumerate() {
            let state = after_a_start(disk).await;
            assert!(allowed.contains(&state), "stop {stop}, disk {at}, {progress:?}: {state}\nnot of {allowed:#?}");
        }
    }
}
