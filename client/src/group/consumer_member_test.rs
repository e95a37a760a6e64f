//! Goal: a member of the consumer protocol tells the broker what it has, only once it is so, and takes what it is given.
//! Method: scripts, one a rule of KIP-848: what is answered, and what the member wants done next.

use ottla_protocol::messages::consumer_group_heartbeat::Assignment;

use super::super::test_warnings::Warnings;
use super::*;
use crate::clock;

const TOPIC: Uuid = Uuid([7; 16]);

struct Script {
    member: ConsumerMember,
    now: Instant,
}

fn topics(topics: &[&str]) -> Subscription {
    Subscription::Topics(topics.iter().map(|topic| Arc::from(*topic)).collect())
}

fn partitions(indexes: &[i32]) -> BTreeSet<TopicPartition> {
    indexes.iter().map(|index| TopicPartition::new("t", *index)).collect()
}

fn wire(indexes: &[i32]) -> Vec<TopicPartitions> {
    to_wire(&indexes.iter().map(|index| (TOPIC, *index)).collect())
}

fn answer(epoch: i32, assignment: Option<&[i32]>) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse {
        member_epoch: epoch,
        heartbeat_interval_ms: 5000,
        assignment: assignment.map(|indexes| Assignment { topic_partitions: wire(indexes) }),
        ..Default::default()
    }
}

impl Script {
    fn new(change: impl FnOnce(&mut GroupConfig)) -> Script {
        let mut config = GroupConfig::new("g");
        change(&mut config);
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let mut member = ConsumerMember::new(config, backoff, "m".into());
        member.subscribe(topics(&["t"]));
        Script { member, now: clock::now() }
    }

    fn next(&mut self) -> Step {
        self.member.next(self.now)
    }

    fn wait(&mut self) -> Option<Instant> {
        self.next().expect_wait()
    }

    fn beat(&mut self) -> ConsumerGroupHeartbeatRequest {
        match self.next() {
            Step::Send(MemberRequest::ConsumerHeartbeat(heartbeat)) => heartbeat,
            other => panic!("{other:?} instead of a heartbeat"),
        }
    }

    fn hand_over(&mut self) -> Change {
        self.next().expect_hand_over()
    }

    fn answer(&mut self, response: ConsumerGroupHeartbeatResponse) {
        self.member.beaten(self.now, Ok(response)).unwrap();
    }

    fn refuse(&mut self, code: ErrorCode) -> Result<(), Error> {
        let response = ConsumerGroupHeartbeatResponse { error_code: code.code(), ..Default::default() };
        self.member.beaten(self.now, Ok(response))
    }

    fn pass_interval(&mut self) {
        self.now += Duration::from_secs(5);
    }

    /// A member with partitions 0, 1 and 2 that the broker knows of.
    fn settled(change: impl FnOnce(&mut GroupConfig)) -> Script {
        let mut script = Script::new(change);
        script.beat();
        script.answer(answer(1, Some(&[0, 1, 2])));
        let Step::NameTopics(ids) = script.next() else { panic!("the topic has no name yet") };
        assert_eq!(ids, [TOPIC].into());
        script.member.named(script.now, Ok([(TOPIC, "t".into())].into()));
        assert_eq!(script.hand_over().assigned, partitions(&[0, 1, 2]));
        script.member.handed_over();
        assert_eq!(script.beat().topic_partitions, Some(wire(&[0, 1, 2])));
        script.answer(answer(1, None));
        script
    }
}

#[test]
fn the_first_heartbeat_says_everything_and_the_later_ones_what_changed() {
    let mut script = Script::new(|config| config.remote_assignor = Some("range".into()));
    let join = script.beat();
    assert_eq!((join.member_id.as_str(), join.member_epoch), ("m", 0));
    assert_eq!(join.subscribed_topic_names, Some(vec!["t".into()]));
    assert_eq!((join.rebalance_timeout_ms, join.server_assignor.as_deref()), (300_000, Some("range")));
    assert_eq!((join.topic_partitions, join.subscribed_topic_regex), (Some(Vec::new()), None));
    assert_eq!(script.wait(), None, "one at a time");
    assert_eq!(script.member.identity(), None);
    script.answer(answer(3, Some(&[0])));
    assert_eq!(script.member.identity().unwrap().epoch, 3);
    assert!(matches!(script.next(), Step::NameTopics(_)));
    assert_eq!(script.beat().topic_partitions, Some(wire(&[0])));
    script.answer(answer(3, None));
    assert_eq!(script.wait(), Some(script.now + Duration::from_secs(5)), "at the broker's interval");
    script.pass_interval();
    let later = script.beat();
    assert_eq!((later.member_epoch, later.rebalance_timeout_ms), (3, -1));
    assert_eq!((later.subscribed_topic_names, later.topic_partitions, later.server_assignor), (None, None, None));
}

#[test]
fn who_has_joined_and_got_nothing_asks_again_sooner_for_a_while() {
    let second = Duration::from_secs(1);
    let mut script = Script::new(|_| ());
    script.beat();
    script.answer(answer(3, Some(&[])));
    // Nothing is acknowledged, too.
    script.beat();
    script.answer(answer(3, None));
    for _ in 2..10 {
        assert_eq!(script.wait(), Some(script.now + second));
        script.now += second;
        script.beat();
        script.answer(answer(3, None));
    }
    assert_eq!(script.wait(), Some(script.now + second), "the tenth");
    script.now += second;
    script.beat();
    script.answer(answer(3, None));
    assert_eq!(script.wait(), Some(script.now + 5 * second), "there may be nothing for it");
    // Who is fenced joins anew.
    script.now += 5 * second;
    script.beat();
    script.refuse(ErrorCode::UnknownMemberId).unwrap();
    script.beat();
    script.answer(answer(4, None));
    assert_eq!(script.wait(), Some(script.now + second));
}

#[test]
fn who_has_had_partitions_keeps_to_the_interval_without_them() {
    let mut script = Script::settled(|_| ());
    assert_eq!(script.wait(), Some(script.now + Duration::from_secs(5)));
    script.pass_interval();
    script.beat();
    script.answer(answer(1, Some(&[])));
    assert_eq!(script.hand_over().revoked, partitions(&[0, 1, 2]));
    script.member.handed_over();
    script.beat();
    script.answer(answer(2, None));
    assert_eq!(script.wait(), Some(script.now + Duration::from_secs(5)));
    // Nor does a broker's shorter interval become longer.
    let mut script = Script::new(|_| ());
    script.beat();
    script.answer(ConsumerGroupHeartbeatResponse { heartbeat_interval_ms: 300, ..answer(1, None) });
    assert_eq!(script.wait(), Some(script.now + Duration::from_millis(300)));
}

#[test]
fn partitions_are_given_up_first_and_the_broker_is_told_afterwards() {
    let mut script = Script::settled(|_| ());
    script.pass_interval();
    script.beat();
    script.answer(answer(1, Some(&[0])));
    let change = script.hand_over();
    assert_eq!((change.revoked, change.assigned, change.lost), (partitions(&[1, 2]), partitions(&[]), false));
    // The caller takes its time; heartbeats go on, and do not say what is not so yet.
    for _ in 0..3 {
        script.pass_interval();
        assert_eq!(script.beat().topic_partitions, None);
        script.answer(answer(1, None));
    }
    script.member.handed_over();
    let told = script.beat();
    assert_eq!(told.topic_partitions, Some(wire(&[0])), "at once");
    script.answer(answer(2, Some(&[0])));
    assert_eq!(script.beat().topic_partitions, Some(wire(&[0])), "the same assignment is acknowledged, too");
    script.answer(answer(2, None));
    assert_eq!(script.wait(), Some(script.now + Duration::from_secs(5)));
}

#[test]
fn after_a_lost_heartbeat_everything_is_said_anew() {
    let mut script = Script::settled(|_| ());
    script.pass_interval();
    script.beat();
    let lost = Error::Disconnected { address: "b:1".into(), reason: "reset".into() };
    script.member.beaten(script.now, Err(lost)).unwrap();
    let again = script.wait().unwrap();
    assert!(again > script.now && again < script.now + Duration::from_secs(1));
    script.now = again;
    let whole = script.beat();
    assert_eq!(whole.subscribed_topic_names, Some(vec!["t".into()]));
    assert_eq!((whole.topic_partitions, whole.rebalance_timeout_ms), (Some(wire(&[0, 1, 2])), 300_000));
}

#[test]
fn what_it_was_told_and_has_not_begun_with_is_reported_as_owned() {
    let lost = || Error::Disconnected { address: "b:1".into(), reason: "reset".into() };
    let mut script = Script::settled(|_| ());
    script.pass_interval();
    script.beat();
    script.answer(answer(2, Some(&[0, 1, 2, 3])));
    assert_eq!(script.hand_over().assigned, partitions(&[3]));
    // The caller takes its time, and the answer that would have taken 3 away again is lost: whoever left it out now would
    // have given it up, and begins with it nevertheless.
    script.pass_interval();
    script.beat();
    script.member.beaten(script.now, Err(lost())).unwrap();
    script.now = script.wait().unwrap();
    assert_eq!(script.beat().topic_partitions, Some(wire(&[0, 1, 2, 3])));
    script.answer(answer(2, Some(&[0, 1, 2])));
    // It is taken away while the caller begins with it: it is its own until it has given it up.
    script.pass_interval();
    script.beat();
    script.member.beaten(script.now, Err(lost())).unwrap();
    script.now = script.wait().unwrap();
    assert_eq!(script.beat().topic_partitions, Some(wire(&[0, 1, 2, 3])));
    script.answer(answer(2, None));
    script.member.handed_over();
    assert_eq!(script.hand_over().revoked, partitions(&[3]));
    script.member.handed_over();
    assert_eq!(script.beat().topic_partitions, Some(wire(&[0, 1, 2])));
}

#[test]
fn who_is_fenced_has_lost_everything_and_joins_again_under_its_id() {
    for code in [ErrorCode::FencedMemberEpoch, ErrorCode::UnknownMemberId] {
        let mut script = Script::settled(|_| ());
        script.pass_interval();
        script.beat();
        script.refuse(code).unwrap();
        assert_eq!(script.member.identity(), None);
        let change = script.hand_over();
        assert_eq!((change.revoked, change.lost), (partitions(&[0, 1, 2]), true));
        assert_eq!(script.wait(), None, "it joins once the caller knows");
        script.member.handed_over();
        let join = script.beat();
        assert_eq!((join.member_id.as_str(), join.member_epoch), ("m", 0));
        assert_eq!(join.topic_partitions, Some(Vec::new()));
    }
}

#[test]
fn other_refusals_end_the_membership() {
    let mut script = Script::settled(|_| ());
    script.pass_interval();
    script.beat();
    let error = script.refuse(ErrorCode::UnreleasedInstanceId).unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::UnreleasedInstanceId));
    assert!(script.hand_over().lost);
    script.member.handed_over();
    assert!(matches!(script.next(), Step::Left));
}

#[test]
fn leaving_waits_for_what_is_to_be_given_up_and_static_members_say_that_they_will_be_back() {
    for (instance, epoch) in [(None, -1), (Some("i".to_owned()), -2)] {
        let mut script = Script::settled(|config| config.group_instance_id = instance);
        script.pass_interval();
        script.beat();
        script.member.unsubscribe();
        assert_eq!(script.hand_over().revoked, partitions(&[0, 1, 2]));
        // The answer to an ordinary heartbeat is no answer to the last one.
        script.answer(answer(1, None));
        script.member.handed_over();
        assert_eq!(script.beat().member_epoch, epoch);
        script.answer(answer(epoch, None));
        assert!(matches!(script.next(), Step::Left));
        script.member.subscribe(topics(&["t"]));
        assert_eq!(script.beat().member_epoch, 0);
    }
}

#[test]
fn who_polls_too_rarely_leaves_and_joins_again_with_the_next_poll() {
    let mut script = Script::settled(|_| ());
    let Some(MemberRequest::ConsumerHeartbeat(leave)) = script.member.poll_expired() else { panic!("it says so") };
    assert_eq!(leave.member_epoch, -1);
    assert!(script.hand_over().lost);
    script.member.handed_over();
    assert_eq!(script.wait(), None);
    script.member.polled();
    assert_eq!(script.beat().member_epoch, 0);
}

#[test]
fn a_new_subscription_is_told_at_once_and_a_pattern_takes_the_place_of_names() {
    let mut script = Script::settled(|_| ());
    script.member.subscribe(topics(&["t", "u"]));
    assert_eq!(script.beat().subscribed_topic_names, Some(vec!["t".into(), "u".into()]));
    script.answer(answer(2, None));
    script.member.subscribe(Subscription::Pattern(super::super::subscription::TopicPattern::new("t.*").unwrap()));
    let told = script.beat();
    assert_eq!((told.subscribed_topic_names, told.subscribed_topic_regex), (Some(vec![]), Some("t.*".into())));
    script.answer(answer(3, None));
    script.member.subscribe(topics(&["t"]));
    let told = script.beat();
    assert_eq!((told.subscribed_topic_names, told.subscribed_topic_regex), (Some(vec!["t".into()]), Some("".into())));
}

#[test]
fn what_has_no_name_yet_waits_and_the_rest_goes_on() {
    let mut script = Script::settled(|_| ());
    let unknown = Uuid([8; 16]);
    script.pass_interval();
    script.beat();
    let mut response = answer(2, Some(&[0, 1]));
    let added = TopicPartitions { topic_id: unknown, partitions: vec![0] };
    response.assignment.as_mut().unwrap().topic_partitions.push(added);
    script.answer(response);
    assert_eq!(script.hand_over().revoked, partitions(&[2]));
    assert!(matches!(script.next(), Step::NameTopics(_)));
    script.member.handed_over();
    let told = TopicPartitions { topic_id: unknown, partitions: vec![0] };
    let expected = [wire(&[0, 1]), vec![told]].concat();
    assert_eq!(script.beat().topic_partitions, Some(expected), "it will have what it has no name for yet");
    script.answer(answer(2, None));
    script.member.named(script.now, Ok(BTreeMap::new()));
    let again = script.wait().unwrap();
    assert!(again < script.now + Duration::from_secs(2), "it asks again");
    script.now = again;
    assert!(matches!(script.next(), Step::NameTopics(_)));
    script.member.named(script.now, Ok([(unknown, "u".into())].into()));
    assert_eq!(script.hand_over().assigned, [TopicPartition::new("u", 0)].into());
}

#[test]
fn what_holds_a_member_up_is_logged_once_for_each_cause() {
    let warnings = Warnings::default();
    let _here = tracing::subscriber::set_default(warnings.clone());
    let mut script = Script::new(|_| ());
    let (loading, gone) = (ErrorCode::CoordinatorLoadInProgress, ErrorCode::CoordinatorNotAvailable);
    for (code, logged) in [(loading, 1), (loading, 1), (gone, 2), (loading, 2)] {
        script.beat();
        script.refuse(code).unwrap();
        assert_eq!(warnings.count(), logged, "{code}");
        script.now = script.wait().unwrap();
    }
    // Once it got on, it is news again.
    script.beat();
    script.answer(answer(1, None));
    script.pass_interval();
    script.beat();
    script.refuse(gone).unwrap();
    assert_eq!(warnings.count(), 3);
}
