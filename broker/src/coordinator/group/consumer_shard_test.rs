//! Goal: groups are found, made and changed as requests of both protocols ask for, and change their protocol while their members
//! go on, as Apache Kafka 4.3 has it.
//! Method: one script for each rule on a whole shard, whose records all go through their bytes.

use bytes::Bytes;
use ottla_protocol::messages::group_records::ConsumerGroupMetadataValue;

use super::*;
use crate::coordinator::group::assignment::Assignment;
use crate::coordinator::group::classic::{ClassicState, ClientIdentity, LeaveGroup};
use crate::coordinator::group::consumer_context::MigrationPolicy;
use crate::coordinator::group::consumer_member::ConsumerMember;
use crate::coordinator::group::consumer_size::fits_into_change;
use crate::coordinator::group::consumer_test_group::TestGroup;
use crate::coordinator::group::embedded_protocol::{decode_assignment, encode_assignment, to_assignment};
use crate::coordinator::group::listing::GroupFilter;
use crate::coordinator::group::test_shard::{
    GROUP, INITIAL_DELAY_MS, REBALANCE_MS, SESSION_MS, TOPIC, TestShard, config, departure, member, static_member,
    subscription, sync,
};
use crate::coordinator::group::{GroupConfig, MembersBudget, Token};
use crate::metadata::{ImageDelta, MetadataRecord};

/// A shard that knows a topic of four partitions.
struct Shard {
    shard: TestShard,
    topics: TestGroup,
}

impl Shard {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut GroupConfig)) -> Self {
        let mut config = config();
        change(&mut config);
        let mut shard = Shard { shard: TestShard::with(config), topics: TestGroup::new(&[(TOPIC, 4)]) };
        shard.observe();
        shard
    }

    fn observe(&mut self) {
        self.shard.shard.observe_topics(Arc::new(self.topics.image.clone()));
    }

    fn restart(&mut self) {
        self.shard.restart();
        self.observe();
    }

    fn send(&mut self, request: ConsumerHeartbeat) -> Result<HeartbeatAnswer, ConsumerGroupError> {
        let now = self.shard.now;
        let Outcome { answer, effects } = self.shard.shard.consumer_heartbeat(GROUP, request, false, now);
        self.shard.apply(effects).expect("the disk has room");
        answer
    }

    /// A member of the consumer protocol joins.
    fn enter(&mut self, member_id: &str) -> HeartbeatAnswer {
        self.send(self.topics.join_request(member_id, &[TOPIC])).unwrap()
    }

    fn beat(&mut self, member_id: &str, epoch: i32, owned: Option<Assignment>) -> HeartbeatAnswer {
        self.send(ConsumerHeartbeat { owned, ..self.topics.request(member_id, epoch) }).unwrap()
    }

    fn leave_on_full_disk(&mut self, member_id: &str) {
        let request = self.topics.request(member_id, -1);
        let outcome = self.shard.shard.consumer_heartbeat(GROUP, request, false, self.shard.now);
        assert_eq!(self.shard.apply(outcome.effects), Err(GroupError::CoordinatorNotAvailable));
    }

    fn leave(&mut self, member_id: &str) {
        self.send(self.topics.request(member_id, -1)).unwrap();
    }

    /// A member of the classic protocol joins again, and owns `owned`; its generation.
    fn join(&mut self, member_id: &str, owned: &[i32]) -> i32 {
        let token = self.shard.join(JoinGroup { protocols: protocols(owned), ..member(member_id) });
        let answer = self.shard.joined(token).expect("a consumer group answers at once");
        assert_eq!((answer.error, answer.leader.as_str(), answer.members.len()), (None, "", 0));
        answer.generation
    }

    /// What a classic member is assigned in `generation`.
    fn sync(&mut self, member_id: &str, generation: i32) -> Result<Assignment, GroupError> {
        let token = self.shard.sync(&sync(member_id, generation));
        let answer = self.shard.synced(token).expect("a consumer group answers at once").clone();
        match answer.error {
            Some(error) => Err(error),
            None => Ok(self.decode(&answer.assignment)),
        }
    }

    fn decode(&self, assignment: &Bytes) -> Assignment {
        to_assignment(&decode_assignment(assignment).unwrap().assigned_partitions, &self.topics.image)
    }

    fn partitions(&self, partitions: &[i32]) -> Assignment {
        self.topics.partitions(TOPIC, partitions)
    }

    fn described(&self) -> DescribedConsumerGroup {
        self.shard.shard.describe_consumer(GROUP).unwrap()
    }

    /// A stable classic group of two members that share the topic; their ids, the leader's first.
    fn stable_classic(&mut self) -> [String; 2] {
        let ids = [self.shard.new_id(), self.shard.new_id()];
        let tokens: Vec<Token> =
            ids.iter().map(|id| self.shard.join(JoinGroup { protocols: protocols(&[]), ..member(id) })).collect();
        self.shard.advance(INITIAL_DELAY_MS * 2);
        let answer = self.shard.joined(tokens[0]).expect("the initial rebalance is over");
        let (leader, generation) = (answer.leader.clone(), answer.generation);
        let other = ids.iter().find(|id| **id != leader).unwrap().clone();
        self.shard.sync(&sync(&other, generation));
        let assignments = vec![(leader.clone(), self.encode(&[0, 1])), (other.clone(), self.encode(&[2, 3]))];
        self.shard.sync(&SyncGroup { assignments, ..sync(&leader, generation) });
        assert_eq!(self.shard.state(), "Stable");
        [leader, other]
    }

    fn encode(&self, partitions: &[i32]) -> Bytes {
        encode_assignment(&self.partitions(partitions), &subscription(&[TOPIC]), &self.topics.image)
    }
}

/// The protocols of a cooperative member: what it reads, in version 1 of its subscription.
fn protocols(owned: &[i32]) -> Vec<(String, Bytes)> {
    let mut bytes = vec![0, 1];
    bytes.extend_from_slice(&subscription(&[TOPIC])[2..]);
    bytes.extend(1_i32.to_be_bytes());
    bytes.extend((TOPIC.len() as i16).to_be_bytes());
    bytes.extend(TOPIC.as_bytes());
    bytes.extend((owned.len() as i32).to_be_bytes());
    owned.iter().for_each(|partition| bytes.extend(partition.to_be_bytes()));
    vec![("range".to_owned(), bytes.into())]
}

#[test]
fn a_group_is_found_by_members_of_its_own_protocol_only() {
    let mut shard = Shard::new();
    let refused = shard.send(shard.topics.request("m", 3));
    assert!(matches!(refused, Err(ConsumerGroupError::GroupIdNotFound(_))), "{refused:?}");
    assert!(shard.shard.shard.describe_consumer(GROUP).is_err());
    shard.enter("m");
    assert_eq!(shard.described().state, "Stable");
    assert!(shard.shard.shard.describe_classic(GROUP).is_err());

    let mut shard = Shard::new();
    shard.stable_classic();
    for epoch in [3, -1] {
        let refused = shard.send(shard.topics.request("m", epoch));
        assert!(matches!(refused, Err(ConsumerGroupError::GroupIdNotFound(_))), "{epoch}: {refused:?}");
    }
}

#[test]
fn a_member_without_an_id_is_given_one() {
    let mut shard = Shard::new();
    let request = ConsumerHeartbeat { member_id: "".into(), ..shard.topics.join_request("", &[TOPIC]) };
    let now = shard.shard.now;
    let outcome = shard.shard.shard.consumer_heartbeat(GROUP, request.clone(), true, now);
    assert_eq!(outcome.answer.unwrap().member_id.len(), 22);
    let refused = shard.send(request);
    assert!(matches!(refused, Err(ConsumerGroupError::InvalidRequest(_))), "{refused:?}");
}

#[test]
fn a_request_that_is_refused_leaves_nothing_behind() {
    let mut shard = Shard::new();
    let bad = ConsumerHeartbeat { subscribed_regex: Some("(".to_owned()), ..shard.topics.join_request("m", &[]) };
    assert!(shard.send(bad).is_err());
    assert!(shard.shard.shard.memories.groups.is_empty());
    assert_eq!((shard.shard.shard.group_count(), shard.shard.log.len()), (0, 0));
}

#[test]
fn members_of_both_protocols_share_a_group() {
    let mut shard = Shard::new();
    shard.enter("m");
    let id = shard.shard.new_id();
    assert_eq!(shard.join(&id, &[]), 3);
    assert_eq!(shard.sync(&id, 3), Ok(Assignment::default()));
    assert_eq!(shard.shard.heartbeat(&id, 3), Ok(()));
    let members = shard.described().members;
    assert_eq!(members.iter().filter(|member| member.is_classic).count(), 1);

    // The other one gives up its part; Heartbeat tells this one to join for it.
    assert_eq!(shard.beat("m", 2, None).assignment, Some(shard.partitions(&[0, 1])));
    assert_eq!(shard.shard.heartbeat(&id, 3), Ok(()));
    shard.beat("m", 2, Some(shard.partitions(&[0, 1])));
    assert_eq!(shard.shard.heartbeat(&id, 3), Err(GroupError::RebalanceInProgress));
    assert_eq!(shard.join(&id, &[]), 3);
    assert_eq!(shard.sync(&id, 3), Ok(shard.partitions(&[2, 3])));
    assert_eq!(shard.described().state, "Stable");
    shard.restart();
    assert_eq!(shard.sync(&id, 3), Ok(shard.partitions(&[2, 3])));
}

#[test]
fn a_classic_member_gives_up_partitions_by_joining_without_them() {
    let mut shard = Shard::new();
    shard.stable_classic();
    let ids: Vec<String> = {
        shard.enter("m");
        let members = shard.described().members;
        members.iter().filter(|member| member.is_classic).map(|member| member.member_id.clone()).collect()
    };
    let target = |shard: &Shard, id: &str| {
        let members = shard.described().members;
        let member = members.into_iter().find(|member| member.member_id == id).unwrap();
        let topics = member.target_assignment.into_iter();
        topics.flat_map(|topic| topic.partitions).collect::<Vec<i32>>()
    };
    // One of them has to give up one partition. It joins with what it has, is told to join again, and does without.
    let loser = ids.iter().find(|id| target(&shard, id).len() == 1).unwrap().clone();
    let had: &[i32] = if target(&shard, &loser)[0] < 2 { &[0, 1] } else { &[2, 3] };
    let kept = target(&shard, &loser);
    assert_eq!(shard.shard.heartbeat(&loser, 1), Err(GroupError::RebalanceInProgress));
    let generation = shard.join(&loser, had);
    assert_eq!(generation, 1);
    assert_eq!(shard.sync(&loser, generation), Ok(shard.partitions(&kept)));
    assert_eq!(shard.shard.heartbeat(&loser, generation), Err(GroupError::RebalanceInProgress));
    assert_eq!(shard.beat("m", 2, None).assignment, None);
    assert_eq!(shard.join(&loser, &kept), 2);
    assert_eq!(shard.sync(&loser, 2), Ok(shard.partitions(&kept)));
    assert_eq!(shard.shard.heartbeat(&loser, 2), Ok(()));
    assert_eq!(shard.beat("m", 2, None).assignment.map(|assignment| assignment.len()), Some(1));
}

#[test]
fn a_classic_member_that_does_not_do_what_it_is_told_is_removed() {
    // It joined, and does not sync.
    let mut shard = Shard::new();
    shard.enter("m");
    let id = shard.shard.new_id();
    let generation = shard.join(&id, &[]);
    shard.beat("m", 2, Some(shard.partitions(&[0, 1])));
    for _ in 0..REBALANCE_MS / 5_000 - 1 {
        shard.shard.advance(5_000);
        let _told = shard.shard.heartbeat(&id, generation);
        shard.beat("m", 3, None);
    }
    assert_eq!(shard.described().members.len(), 2);
    shard.shard.advance(5_000);
    assert_eq!(shard.described().members.len(), 1);
    assert_eq!(shard.shard.heartbeat(&id, generation), Err(GroupError::UnknownMemberId));

    // It is told to join again, and does not.
    let mut shard = Shard::new();
    let [one, _] = shard.stable_classic();
    shard.enter("m");
    for _ in 0..REBALANCE_MS / 5_000 + 1 {
        let _told = shard.shard.heartbeat(&one, 1);
        shard.shard.advance(5_000);
    }
    assert_eq!(shard.shard.heartbeat(&one, 1), Err(GroupError::UnknownMemberId));

    // It is silent.
    let mut shard = Shard::new();
    shard.enter("m");
    let id = shard.shard.new_id();
    let generation = shard.join(&id, &[]);
    shard.sync(&id, generation).unwrap();
    shard.shard.advance(10_000);
    assert_eq!(shard.shard.heartbeat(&id, generation), Err(GroupError::UnknownMemberId));
}

#[test]
fn a_classic_member_that_is_no_fit_is_refused() {
    let mut shard = Shard::with(|config| config.consumer.max_size = 2);
    shard.enter("m");
    let id = shard.shard.new_id();
    let generation = shard.join(&id, &[]);
    let mut refused = |request: JoinGroup| {
        let token = shard.shard.join(request);
        shard.shard.joined(token).unwrap().error
    };
    assert_eq!(refused(member("")), Some(GroupError::GroupMaxSizeReached));
    let no_fit = GroupError::InconsistentGroupProtocol;
    let connect = JoinGroup { protocol_type: "connect".to_owned(), ..member(&id) };
    assert_eq!(refused(connect), Some(no_fit));
    let protocols = vec![("other".to_owned(), subscription(&[TOPIC]))];
    // What the only classic member has said does not bind it; it does bind the next one.
    assert_eq!(refused(JoinGroup { protocols: Vec::new(), ..member(&id) }), Some(no_fit));
    assert_eq!(refused(JoinGroup { protocols, ..member(&id) }), Some(no_fit));
    let garbage = vec![("range".to_owned(), Bytes::from_static(b"\0"))];
    assert_eq!(refused(JoinGroup { protocols: garbage, ..member(&id) }), Some(no_fit));

    let mut sync_error = |change: &dyn Fn(&mut SyncGroup)| {
        let mut request = sync(&id, generation);
        change(&mut request);
        let token = shard.shard.sync(&request);
        shard.shard.synced(token).unwrap().error
    };
    assert_eq!(sync_error(&|_| {}), None);
    assert_eq!(sync_error(&|request| request.generation = 99), Some(GroupError::IllegalGeneration));
    assert_eq!(sync_error(&|request| request.protocol_type = Some("x".to_owned())), Some(no_fit));
    assert_eq!(sync_error(&|request| request.protocol = Some("x".to_owned())), Some(no_fit));
    assert_eq!(sync_error(&|request| request.member_id = "m".to_owned()), Some(GroupError::UnknownMemberId));
    assert_eq!(sync_error(&|request| request.instance_id = Some("i".to_owned())), Some(GroupError::UnknownMemberId));
    assert_eq!(shard.shard.heartbeat("m", 2), Err(GroupError::UnknownMemberId));
    assert_eq!(shard.shard.heartbeat(&id, 99), Err(GroupError::IllegalGeneration));
}

#[test]
fn members_of_both_protocols_are_taken_out_by_leave_group() {
    let mut shard = Shard::new();
    shard.enter("m");
    shard.enter("n");
    let id = shard.shard.new_id();
    shard.join(&id, &[]);
    let epoch = shard.described().epoch;
    let results = shard.shard.leave(vec![departure("x"), departure("n"), departure(&id), departure("n")]).unwrap();
    let unknown = Err(GroupError::UnknownMemberId);
    assert_eq!(results, [unknown, Ok(()), Ok(()), unknown]);
    assert_eq!((shard.described().epoch, shard.described().members.len()), (epoch + 1, 1));
}

mod upgrade {
    use super::*;

    #[test]
    fn a_classic_group_goes_on_as_a_consumer_group() {
        let mut shard = Shard::new();
        let [leader, other] = shard.stable_classic();
        shard.shard.commit(&leader, 1, 42).unwrap();
        let answer = shard.enter("m");
        assert_eq!((answer.member_epoch, answer.assignment), (2, Some(Assignment::default())));
        let described = shard.described();
        assert_eq!((described.state, described.epoch, described.assignment_epoch), ("Reconciling", 2, 2));
        // Nobody lost what it has, nor what it has read.
        for (id, partitions) in [(&leader, vec![0, 1]), (&other, vec![2, 3])] {
            let member = described.members.iter().find(|member| member.member_id == *id).unwrap();
            assert!(member.is_classic);
            assert_eq!((member.epoch, &member.assignment[0].partitions), (1, &partitions));
        }
        assert_eq!(shard.shard.committed(), Some(42));
        shard.restart();
        let again = shard.described();
        assert_eq!((again.epoch, again.members.len(), shard.shard.committed()), (2, 3, Some(42)));
        assert_eq!(shard.shard.heartbeat(&leader, 1), Err(GroupError::RebalanceInProgress));

        // Their sessions go on: one is silent, and its partitions go to the others.
        let mut epoch = 2;
        for _ in 0..2 {
            shard.shard.advance(8_000);
            let _told = shard.shard.heartbeat(&leader, 1);
            epoch = shard.beat("m", epoch, None).member_epoch;
        }
        assert_eq!(shard.shard.heartbeat(&other, 1), Err(GroupError::UnknownMemberId));
        let members = shard.described().members;
        let member = members.iter().find(|member| member.member_id == "m").unwrap();
        assert!(member.assignment[0].partitions.iter().all(|partition| [2, 3].contains(partition)));
    }

    #[test]
    fn whoever_waits_in_the_classic_group_joins_again() {
        let mut shard = Shard::new();
        let [leader, other] = shard.stable_classic();
        let joining = shard.shard.join(JoinGroup { protocols: protocols(&[0, 1]), ..member(&leader) });
        assert_eq!(shard.shard.state(), "PreparingRebalance");
        shard.enter("m");
        assert_eq!(shard.shard.joined(joining).unwrap().error, Some(GroupError::RebalanceInProgress));
        assert!(!shard.shard.is_anybody_waiting());
        assert!(shard.join(&leader, &[0, 1]) >= 1);
        assert!(shard.join(&other, &[2, 3]) >= 1);
    }

    #[test]
    fn a_group_before_its_first_generation_can_go_on_too() {
        let mut shard = Shard::new();
        let id = shard.shard.new_id();
        let token = shard.shard.join(JoinGroup { protocols: protocols(&[]), ..member(&id) });
        assert_eq!(shard.enter("m").member_epoch, 2);
        assert_eq!(shard.shard.joined(token).unwrap().error, Some(GroupError::RebalanceInProgress));
        assert_eq!(shard.join(&id, &[]), 2);
    }

    #[test]
    fn a_group_that_cannot_or_may_not_stays_as_it_is() {
        let refuse = |change: fn(&mut GroupConfig)| {
            let mut shard = Shard::with(change);
            shard.stable_classic();
            let written = shard.shard.log.len();
            let refused = shard.send(shard.topics.join_request("m", &[TOPIC]));
            assert!(matches!(refused, Err(ConsumerGroupError::GroupIdNotFound(_))), "{refused:?}");
            assert_eq!((shard.shard.state(), shard.shard.log.len()), ("Stable", written));
            assert!(shard.shard.shard.memories.groups.is_empty());
        };
        refuse(|config| config.consumer.migration_policy = MigrationPolicy::Disabled);
        refuse(|config| config.consumer.migration_policy = MigrationPolicy::Downgrade);
        refuse(|config| config.consumer.max_size = 1);

        // Members that are no consumers, or whose assignment cannot be understood.
        let mut shard = Shard::new();
        shard.shard.stable(1);
        let refused = shard.send(shard.topics.join_request("m", &[TOPIC]));
        assert!(matches!(refused, Err(ConsumerGroupError::GroupIdNotFound(_))), "{refused:?}");
        let mut shard = Shard::new();
        let connect = JoinGroup { protocol_type: "connect".to_owned(), needs_member_id: false, ..member("") };
        shard.shard.join(connect);
        shard.shard.advance(INITIAL_DELAY_MS);
        let refused = shard.send(shard.topics.join_request("m", &[TOPIC]));
        assert!(matches!(refused, Err(ConsumerGroupError::GroupIdNotFound(_))), "{refused:?}");
    }

    #[test]
    fn an_empty_classic_group_makes_room_and_keeps_its_offsets() {
        let mut shard = Shard::new();
        let ids = shard.stable_classic();
        shard.shard.commit(&ids[0], 1, 42).unwrap();
        let departures = ids.iter().map(|id| departure(id)).collect();
        shard.shard.leave(departures).unwrap();
        assert_eq!(shard.shard.state(), ClassicState::Empty.name());
        let answer = shard.enter("m");
        assert_eq!((answer.member_epoch, answer.assignment), (2, Some(shard.partitions(&[0, 1, 2, 3]))));
        shard.restart();
        assert_eq!((shard.shard.committed(), shard.described().members.len()), (Some(42), 1));

        // One that never had members, only offsets.
        let mut shard = Shard::new();
        shard.shard.commit("", -1, 7).unwrap();
        assert_eq!(shard.enter("m").member_epoch, 2);
        shard.restart();
        assert_eq!((shard.shard.committed(), shard.described().epoch), (Some(7), 2));
    }
}

mod downgrade {
    use super::*;

    /// A group of `m` of the consumer protocol and one classic member, which own two partitions each; its id.
    fn mixed(shard: &mut Shard) -> String {
        shard.enter("m");
        let id = shard.shard.new_id();
        shard.join(&id, &[]);
        shard.beat("m", 2, None);
        shard.beat("m", 2, Some(shard.partitions(&[0, 1])));
        let generation = shard.join(&id, &[]);
        assert_eq!(shard.sync(&id, generation), Ok(shard.partitions(&[2, 3])));
        id
    }

    /// The classic member joins the classic group, leads it, and has all partitions in the end.
    fn goes_on(shard: &mut Shard, id: &str) {
        assert_eq!(shard.shard.state(), "PreparingRebalance");
        assert_eq!(shard.shard.heartbeat(id, 3), Err(GroupError::RebalanceInProgress));
        let token = shard.shard.join(JoinGroup { protocols: protocols(&[2, 3]), ..member(id) });
        let answer = shard.shard.joined(token).expect("all are there").clone();
        assert_eq!((answer.error, answer.generation, answer.leader.as_str()), (None, 4, id));
        let assignments = vec![(id.to_owned(), shard.encode(&[0, 1, 2, 3]))];
        let token = shard.shard.sync(&SyncGroup { assignments, ..sync(id, 4) });
        assert_eq!(
            shard.decode(&shard.shard.synced(token).unwrap().assignment.clone()),
            shard.partitions(&[0, 1, 2, 3])
        );
        assert_eq!(shard.shard.state(), "Stable");
        assert!(shard.shard.shard.memories.groups.is_empty());
    }

    #[test]
    fn the_last_one_of_the_consumer_protocol_leaves() {
        let mut shard = Shard::new();
        let id = mixed(&mut shard);
        shard.shard.commit(&id, 3, 42).unwrap();
        shard.leave("m");
        goes_on(&mut shard, &id);
        shard.restart();
        assert_eq!((shard.shard.state(), shard.shard.committed()), ("Stable", Some(42)));
        assert_eq!(shard.shard.heartbeat(&id, 4), Ok(()));
    }

    #[test]
    fn the_last_one_of_the_consumer_protocol_is_silent_or_taken_out() {
        let mut shard = Shard::new();
        let id = mixed(&mut shard);
        while shard.shard.state() == "Dead" {
            shard.shard.advance(5_000);
            let _told = shard.shard.heartbeat(&id, 3);
        }
        goes_on(&mut shard, &id);

        let mut shard = Shard::new();
        let id = mixed(&mut shard);
        assert_eq!(shard.shard.leave(vec![departure("m")]), Ok(vec![Ok(())]));
        goes_on(&mut shard, &id);
    }

    #[test]
    fn the_sessions_of_the_others_go_on() {
        let mut shard = Shard::new();
        let id = mixed(&mut shard);
        shard.leave("m");
        shard.shard.advance(10_000);
        assert_eq!(shard.shard.heartbeat(&id, 3), Err(GroupError::UnknownMemberId));
        assert_eq!(shard.shard.state(), "Empty");
    }

    #[test]
    fn after_a_restart_in_the_middle_members_join_again() {
        let mut shard = Shard::new();
        let id = mixed(&mut shard);
        shard.leave("m");
        shard.restart();
        // The rebalance was not on record: the group is as its records say, and its member goes on.
        assert_eq!((shard.shard.state(), shard.shard.heartbeat(&id, 3)), ("Stable", Ok(())));
    }

    #[test]
    fn a_group_that_may_not_stays_as_it_is() {
        for policy in [MigrationPolicy::Disabled, MigrationPolicy::Upgrade] {
            let mut shard = Shard::with(|config| config.consumer.migration_policy = policy);
            let id = mixed(&mut shard);
            shard.leave("m");
            // Its classic member goes on in the consumer group, and gets the rest there.
            assert_eq!(shard.described().members.len(), 1);
            assert_eq!(shard.shard.heartbeat(&id, 3), Err(GroupError::RebalanceInProgress));
            assert_eq!(shard.join(&id, &[2, 3]), 4);
            assert_eq!(shard.sync(&id, 4), Ok(shard.partitions(&[0, 1, 2, 3])));
        }
        let mut shard = Shard::with(|config| config.max_size = 0);
        mixed(&mut shard);
        shard.leave("m");
        assert_eq!(shard.described().members.len(), 1);
    }

    #[test]
    fn an_empty_consumer_group_makes_room_and_keeps_its_offsets() {
        let mut shard = Shard::new();
        shard.enter("m");
        shard.shard.commit("m", 2, 42).unwrap();
        shard.leave("m");
        let token = shard.shard.join(member("stranger"));
        assert_eq!(shard.shard.joined(token).unwrap().error, Some(GroupError::UnknownMemberId));
        let [leader, _] = shard.stable_classic();
        shard.restart();
        assert_eq!((shard.shard.state(), shard.shard.committed()), ("Stable", Some(42)));
        assert_eq!(shard.shard.heartbeat(&leader, 1), Ok(()));
        assert!(shard.shard.shard.memories.groups.is_empty());
    }

    #[test]
    fn offsets_whose_group_went_for_a_member_that_never_joined_are_seen_and_can_be_deleted() {
        for restarts in [false, true] {
            let mut shard = Shard::new();
            shard.enter("m");
            shard.shard.commit("m", 2, 42).unwrap();
            shard.leave("m");
            shard.shard.new_id();
            match restarts {
                true => shard.restart(),
                false => shard.shard.advance(SESSION_MS),
            }
            assert_eq!((shard.shard.state(), shard.shard.committed()), ("Empty", Some(42)));
            let listed = shard.shard.shard.list(&GroupFilter::default());
            assert_eq!(listed.iter().map(|group| group.group_id.as_str()).collect::<Vec<_>>(), [GROUP]);
            let (retention_ms, wall_ms) = (shard.shard.config.offsets_retention_ms, shard.shard.now.wall_ms);
            let expired = shard.shard.shard.expire(wall_ms + retention_ms, &|_, _| true);
            assert_eq!(expired.effects.records.len(), 2, "the offset expires, and the group with it");
            let outcome = shard.shard.shard.delete_group(GROUP);
            assert_eq!(shard.shard.run(outcome), Ok(()));
            shard.restart();
            assert_eq!((shard.shard.state(), shard.shard.committed()), ("Dead", None));
        }
    }

    #[test]
    fn a_static_member_comes_back_with_the_other_protocol() {
        let mut shard = Shard::new();
        let named = |request: ConsumerHeartbeat| ConsumerHeartbeat { instance_id: Some("i".to_owned()), ..request };
        shard.send(named(shard.topics.join_request("m", &[TOPIC]))).unwrap();
        shard.enter("n");
        let token = shard.shard.join(static_member("i"));
        let answer = shard.shard.joined(token).unwrap().clone();
        assert_eq!(answer.error, None);
        let refused = shard.send(named(shard.topics.request("m", 2)));
        assert!(matches!(refused, Err(ConsumerGroupError::FencedInstance { .. })), "{refused:?}");
        assert_eq!(shard.described().members.len(), 2);

        // And back: no leave is waited for between the protocols.
        shard.send(named(shard.topics.join_request("m2", &[TOPIC]))).unwrap();
        assert!(shard.described().members.iter().all(|member| !member.is_classic));

        // The last one of the consumer protocol does: the group becomes a classic one with it.
        shard.leave("n");
        let token = shard.shard.join(static_member("i"));
        assert_eq!(shard.shard.joined(token).unwrap().error, None);
        assert_eq!(shard.shard.state(), "PreparingRebalance");
    }
}

#[test]
fn an_operator_sees_and_deletes_groups_of_both_kinds_alike() {
    let mut shard = Shard::new();
    shard.enter("m");
    shard.shard.commit("m", 2, 42).unwrap();
    let listed = shard.shard.shard.list(&crate::coordinator::group::GroupFilter::default());
    assert_eq!(
        (listed[0].state, listed[0].kind.name(), listed[0].protocol_type.as_str()),
        ("Stable", "consumer", "consumer")
    );
    let outcome = shard.shard.shard.delete_group(GROUP);
    assert_eq!(shard.shard.run(outcome), Err(GroupError::NonEmptyGroup));
    shard.leave("m");
    let outcome = shard.shard.shard.delete_group(GROUP);
    assert_eq!(shard.shard.run(outcome), Ok(()));
    assert_eq!((shard.shard.shard.group_count(), shard.shard.committed()), (0, None));
    assert!(shard.shard.shard.memories.groups.is_empty());
    shard.restart();
    assert_eq!(shard.shard.shard.group_count(), 0);
}

#[test]
fn offsets_of_an_empty_group_expire_and_the_group_with_them() {
    let mut shard = Shard::new();
    shard.enter("m");
    shard.shard.commit("m", 2, 42).unwrap();
    let exists = |_: &str, _: Uuid| true;
    shard.shard.advance(5_000);
    let in_years = shard.shard.now.wall_ms + 1_000_000;
    let expired = shard.shard.shard.expire(in_years, &exists);
    assert!(expired.effects.records.is_empty(), "a member reads the topic");
    shard.leave("m");
    let expired = shard.shard.shard.expire(in_years, &exists);
    shard.shard.apply(expired.effects).unwrap();
    assert_eq!((shard.shard.shard.group_count(), shard.shard.committed()), (0, None));
}

#[test]
fn what_a_full_disk_refuses_has_not_happened_and_is_tried_again() {
    let mut shard = Shard::new();
    shard.enter("m");
    let before = shard.described();
    shard.shard.disk_is_full = true;
    let now = shard.shard.now;
    let request = shard.topics.join_request("n", &[TOPIC]);
    let outcome = shard.shard.shard.consumer_heartbeat(GROUP, request, false, now);
    assert!(outcome.answer.is_ok());
    assert_eq!(shard.shard.apply(outcome.effects), Err(GroupError::CoordinatorNotAvailable));
    assert_eq!((shard.described().epoch, shard.described().members.len()), (before.epoch, 1));

    // A session that ends on a full disk ends again when there is room; nobody is remembered who was never there.
    shard.shard.advance(60_000);
    assert_eq!(shard.described().members.len(), 1);
    shard.shard.disk_is_full = false;
    shard.shard.advance(1_000);
    assert_eq!(shard.described().state, "Empty");
    assert_eq!(shard.shard.shard.next_due_ms(), None);
}

#[test]
fn an_empty_consumer_group_makes_room_for_a_classic_one_only_on_record() {
    let mut shard = Shard::new();
    shard.enter("m");
    shard.shard.commit("m", 2, 42).unwrap();
    shard.leave("m");
    let before = shard.described();
    shard.shard.disk_is_full = true;
    for needs_member_id in [true, false] {
        let token = shard.shard.join(JoinGroup { needs_member_id, ..member("") });
        assert_eq!(shard.shard.joined(token).unwrap().error, Some(GroupError::CoordinatorNotAvailable));
    }
    assert_eq!((shard.described(), shard.shard.committed()), (before, Some(42)));
    assert_eq!(shard.shard.shard.next_due_ms(), None, "nobody is expected");
    shard.restart();
    assert_eq!((shard.described().state, shard.shard.committed()), ("Empty", Some(42)));

    shard.shard.disk_is_full = false;
    shard.shard.stable(1);
    assert_eq!((shard.shard.state(), shard.shard.committed()), ("Stable", Some(42)));
    shard.restart();
    assert_eq!((shard.shard.state(), shard.shard.committed()), ("Stable", Some(42)));
}

#[test]
fn an_empty_classic_group_makes_room_for_a_consumer_group_only_on_record() {
    let mut shard = Shard::new();
    let ids = shard.stable_classic();
    shard.shard.commit(&ids[0], 1, 42).unwrap();
    shard.shard.leave(ids.iter().map(|id| departure(id)).collect()).unwrap();
    let before = shard.shard.shard.describe_classic(GROUP).unwrap();
    assert_eq!(before.state, "Empty");
    let join = |shard: &mut Shard| {
        let (now, request) = (shard.shard.now, shard.topics.join_request("m", &[TOPIC]));
        let outcome = shard.shard.shard.consumer_heartbeat(GROUP, request, false, now);
        assert!(outcome.answer.is_ok());
        shard.shard.apply(outcome.effects)
    };
    shard.shard.disk_is_full = true;
    assert_eq!(join(&mut shard), Err(GroupError::CoordinatorNotAvailable));
    assert_eq!((shard.shard.shard.describe_classic(GROUP).unwrap(), shard.shard.committed()), (before, Some(42)));
    assert!(shard.shard.shard.memories.groups.is_empty());
    assert_eq!(shard.shard.shard.next_due_ms(), None, "nobody is expected");
    shard.restart();
    assert_eq!((shard.shard.state(), shard.shard.committed()), ("Empty", Some(42)));

    shard.shard.disk_is_full = false;
    assert_eq!(join(&mut shard), Ok(()));
    assert_eq!((shard.described().members.len(), shard.shard.committed()), (1, Some(42)));
    shard.restart();
    assert_eq!((shard.described().members.len(), shard.shard.committed()), (1, Some(42)));
}

#[test]
fn of_a_group_that_a_full_disk_refuses_nothing_is_remembered() {
    let mut shard = Shard::new();
    shard.shard.disk_is_full = true;
    let (now, request) = (shard.shard.now, shard.topics.join_request("m", &[TOPIC]));
    let outcome = shard.shard.shard.consumer_heartbeat(GROUP, request, false, now);
    assert_eq!(shard.shard.apply(outcome.effects), Err(GroupError::CoordinatorNotAvailable));
    assert!(shard.shard.shard.memories.groups.is_empty());
    assert_eq!((shard.shard.shard.group_count(), shard.shard.shard.next_due_ms()), (0, None));
}

#[test]
fn what_members_say_is_bounded_over_all_groups() {
    let mut shard = Shard::new();
    shard.shard.shard.members_budget = MembersBudget::with_max(30_000);
    let join = |shard: &mut Shard, group_id: &str, member_id: &str, bytes: usize| {
        let request =
            ConsumerHeartbeat { rack_id: Some("r".repeat(bytes)), ..shard.topics.join_request(member_id, &[TOPIC]) };
        let outcome = shard.shard.shard.consumer_heartbeat(group_id, request, false, shard.shard.now);
        shard.shard.apply(outcome.effects).unwrap();
        outcome.answer
    };
    join(&mut shard, "a", "m", 10_000).unwrap();
    join(&mut shard, GROUP, "m", 10_000).unwrap();
    for group_id in [GROUP, "c"] {
        let refused = join(&mut shard, group_id, "n", 10_000);
        assert!(matches!(refused, Err(ConsumerGroupError::NoRoomForMember)), "{refused:?}");
    }
    // Whoever is in says as much as before, or less, and those who were refused are not remembered.
    join(&mut shard, "a", "m", 10_000).unwrap();
    join(&mut shard, GROUP, "m", 100).unwrap();
    assert_eq!(shard.shard.shard.memories.groups.len(), 2);
    join(&mut shard, "c", "n", 10_000).unwrap();
    // A classic member of a consumer group counts as any other.
    let token = shard.shard.join(JoinGroup {
        client: ClientIdentity { client_id: "c".repeat(10_000), client_host: String::new() },
        needs_member_id: false,
        protocols: protocols(&[]),
        ..member("")
    });
    assert_eq!(shard.shard.joined(token).unwrap().error, Some(GroupError::CoordinatorNotAvailable));
    shard.shard.advance(60_000);
    assert_eq!((shard.shard.shard.members_budget.taken_bytes(), shard.shard.shard.next_due_ms()), (0, None));
}

#[test]
fn a_classic_member_whose_join_finds_no_room_goes_on_as_before() {
    let mut shard = Shard::new();
    shard.shard.shard.members_budget = MembersBudget::with_max(10_000);
    shard.enter("m");
    let id = shard.shard.new_id();
    shard.join(&id, &[]);
    shard.beat("m", 2, Some(shard.partitions(&[0, 1])));
    let generation = shard.join(&id, &[]);
    assert_eq!(shard.sync(&id, generation).unwrap().len(), 2);
    let token = shard.shard.join(JoinGroup {
        client: ClientIdentity { client_id: "c".repeat(10_000), client_host: String::new() },
        protocols: protocols(&[]),
        ..member(&id)
    });
    assert_eq!(shard.shard.joined(token).unwrap().error, Some(GroupError::CoordinatorNotAvailable));
    // No SyncGroup is waited for: the member did not join.
    for _ in 0..REBALANCE_MS / 5_000 + 1 {
        shard.shard.advance(5_000);
        assert_eq!(shard.shard.heartbeat(&id, generation), Ok(()));
        shard.beat("m", 3, None);
    }
    assert_eq!(shard.described().members.len(), 2);
}

#[test]
fn members_that_end_together_go_in_changes_that_fit_into_a_batch() {
    // More of them than are let in by now: they were loaded.
    let mut shard = Shard::new();
    let name = "g".repeat(32_000);
    let write = |shard: &mut Shard, record: ConsumerGroupRecord| {
        let effects = Effects { records: vec![record.into_group_record(&name)], ..Effects::default() };
        shard.shard.apply(effects).unwrap();
    };
    let epoch = ConsumerGroupMetadataValue { epoch: 300, metadata_hash: 0 };
    write(&mut shard, ConsumerGroupRecord::Epoch(Some(epoch)));
    for index in 0..300 {
        let member = ConsumerMember::new(format!("m{index}").into());
        write(&mut shard, ConsumerGroupRecord::Member(member.member_id.clone(), Some(member.to_metadata())));
    }
    shard.restart();
    shard.shard.advance(45_000);
    let after = shard.shard.shard.describe_consumer(&name).unwrap();
    assert_eq!((after.state, after.members.len(), after.epoch), ("Empty", 0, 303));
}

/// A heartbeat to a group of any name; how many records it wrote.
fn send_to(shard: &mut Shard, group_id: &str, request: ConsumerHeartbeat) -> Result<usize, ConsumerGroupError> {
    let outcome = shard.shard.shard.consumer_heartbeat(group_id, request, false, shard.shard.now);
    let written = outcome.effects.records.len();
    shard.shard.apply(outcome.effects).expect("the disk has room");
    outcome.answer.map(|_| written)
}

#[test]
fn a_group_takes_no_more_members_than_one_change_can_be_about() {
    let long = "i".repeat(32_000);
    for (member_suffix, expected) in [("", 100..150), (long.as_str(), 50..75)] {
        let mut shard = Shard::with(|config| config.consumer.max_size = 1_000);
        let name = "g".repeat(32_000);
        let id = |index: usize| format!("m{index}{member_suffix}");
        let mut members = 0;
        let refused = loop {
            let request = shard.topics.join_request(&id(members), &[TOPIC]);
            match send_to(&mut shard, &name, request) {
                Ok(_) => members += 1,
                Err(refused) => break refused,
            }
        };
        assert!(matches!(refused, ConsumerGroupError::NamesTooLong { .. }), "{refused}");
        assert!(expected.contains(&members), "{members}");
        if member_suffix.is_empty() {
            // A classic member has an id like these.
            let protocols = protocols(&[]);
            let request = JoinGroup { group_id: name.clone(), needs_member_id: false, protocols, ..member("") };
            let token = shard.shard.join(request);
            assert_eq!(shard.shard.joined(token).unwrap().error, Some(GroupError::GroupMaxSizeReached));
        }

        // Everybody is to own something else, which is one change.
        shard.topics.add_partitions(TOPIC, 1_000);
        shard.observe();
        let request = shard.topics.join_request(&id(0), &[TOPIC]);
        let written = send_to(&mut shard, &name, request).unwrap();
        assert!(written > members, "{written} records for {members} members");
        // So is it when they all leave at once.
        shard.shard.advance(45_000);
        assert_eq!(shard.shard.shard.describe_consumer(&name).unwrap().members.len(), 0);
    }
    // Ordinary names have all the members that the configuration allows by default.
    let mut group = ConsumerGroup::default();
    for index in 0..10_000 {
        let member = ConsumerMember::new(format!("{index:036}").into());
        group.replay(&ConsumerGroupRecord::Member(member.member_id.clone(), Some(member.to_metadata())));
    }
    assert!(fits_into_change(&"g".repeat(300), &group));
}

#[test]
fn a_group_that_cannot_become_a_classic_one_in_one_change_waits_until_it_can() {
    let mut shard = Shard::with(|config| (config.consumer.max_size, config.max_size) = (1_000, 1_000));
    let name = "g".repeat(32_000);
    let request = shard.topics.join_request("m", &[TOPIC]);
    send_to(&mut shard, &name, request).unwrap();
    // All that its members say stands in the record of a classic group: here 60 KB each, as data of their own.
    let mut said = subscription(&[TOPIC]).to_vec();
    said.truncate(said.len() - 4);
    said.extend(60_000_i32.to_be_bytes());
    said.extend([7; 60_000]);
    let said = Bytes::from(said);
    let ids: Vec<String> = (0..110)
        .map(|_| {
            let token = shard.shard.join(JoinGroup {
                group_id: name.clone(),
                needs_member_id: false,
                session_timeout_ms: 1_800_000,
                protocols: vec![("range".to_owned(), said.clone())],
                ..member("")
            });
            let answer = shard.shard.joined(token).unwrap();
            assert_eq!(answer.error, None);
            answer.member_id.clone()
        })
        .collect();
    let request = shard.topics.request("m", -1);
    send_to(&mut shard, &name, request).unwrap();
    assert_eq!(shard.shard.shard.describe_consumer(&name).unwrap().members.len(), 110);
    for id in &ids[..60] {
        let leaves = LeaveGroup { group_id: name.clone(), members: vec![departure(id)] };
        let outcome = shard.shard.shard.leave(&leaves, shard.shard.now);
        shard.shard.run(outcome).unwrap().remove(0).unwrap();
    }
    assert_eq!(shard.shard.shard.describe_classic(&name).unwrap().members.len(), 50);
}

#[test]
fn what_a_full_disk_refuses_of_a_group_with_members_is_not_remembered() {
    let mut shard = Shard::new();
    shard.enter("m");
    shard.beat("m", 2, Some(shard.partitions(&[0, 1, 2, 3])));
    shard.shard.disk_is_full = true;
    let (now, request) = (shard.shard.now, shard.topics.join_request("n", &[TOPIC]));
    let outcome = shard.shard.shard.consumer_heartbeat(GROUP, request, false, now);
    assert_eq!(shard.shard.apply(outcome.effects), Err(GroupError::CoordinatorNotAvailable));
    let token = shard.shard.join(JoinGroup {
        session_timeout_ms: 1_800_000,
        needs_member_id: false,
        protocols: protocols(&[]),
        ..member("")
    });
    assert_eq!(shard.shard.joined(token).unwrap().error, Some(GroupError::CoordinatorNotAvailable));
    shard.leave_on_full_disk("m");
    shard.shard.disk_is_full = false;
    shard.leave("m");
    assert_eq!(shard.shard.shard.next_due_ms(), None, "nobody is remembered");
}

#[test]
fn a_group_has_times_of_its_own() {
    let mut shard = Shard::with(|config| {
        config.consumer.times.session_timeout_ms = 50_000;
        config.consumer.times.assignment_interval_ms = 2_000;
    });
    shard.enter("m");
    let own = [
        ("consumer.session.timeout.ms", "45000"),
        ("consumer.heartbeat.interval.ms", "7000"),
        ("consumer.assignment.interval.ms", "0"),
    ];
    let configs = own.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let record = MetadataRecord::GroupConfigs { group: GROUP.to_owned(), configs };
    shard.topics.image.replay(&record, &mut ImageDelta::default()).unwrap();
    shard.observe();

    // The next member gets its share without the broker's interval, and hears of the group's.
    assert_eq!(shard.enter("n").heartbeat_interval_ms, 7_000);
    assert_eq!(shard.described().assignment_epoch, shard.described().epoch);
    // `m` has the session that it began with, `n` that of the group.
    shard.shard.advance(45_001);
    let ids: Vec<_> = shard.described().members.iter().map(|member| member.member_id.clone()).collect();
    assert_eq!(ids, ["m"]);
    shard.shard.advance(5_000);
    assert!(shard.described().members.is_empty());

    // After a restart, sessions begin with what the group has.
    shard.enter("o");
    shard.restart();
    shard.shard.advance(45_001);
    assert!(shard.described().members.is_empty());
}
