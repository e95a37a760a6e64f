//! Goal: members of a consumer group join, keep up, leave and are refused as KIP-848 and Apache Kafka 4.3 have it.
//! Method: one script for each rule, on a group whose records all go through a log.

use std::time::Duration;

use super::*;
use crate::coordinator::group::consumer::ConsumerGroupState;
use crate::coordinator::group::consumer_record::ConsumerGroupRecord;
use crate::coordinator::group::consumer_test_group::{START_MS, TestGroup};

use ConsumerGroupState::{Assigning, Empty, Reconciling, Stable};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Two members of which each owns two partitions, in epoch 3.
fn two_members() -> TestGroup {
    let mut group = TestGroup::new(&[("t", 4)]);
    group.join("m", &["t"]);
    group.join("n", &["t"]);
    let both = group.partitions("t", &[0, 1]);
    group.beat("m", 2, None);
    group.beat("m", 2, Some(both));
    group.beat("n", 3, None);
    assert_eq!(group.state(), Stable);
    group
}

#[test]
fn the_first_member_gets_everything_in_epoch_2() {
    let mut group = TestGroup::new(&[("t", 3)]);
    assert_eq!(group.state(), Empty);
    let answer = group.join("m", &["t"]);
    assert_eq!((answer.member_epoch, answer.heartbeat_interval_ms), (2, 5_000));
    assert_eq!(answer.assignment, Some(group.partitions("t", &[0, 1, 2])));
    assert_eq!(group.state(), Stable);

    // It subscribes to nothing, or to what does not exist: an epoch, and no partitions.
    let mut group = TestGroup::new(&[("t", 3)]);
    assert_eq!(
        group.join("m", &[]),
        HeartbeatAnswer { assignment: Some(Assignment::default()), member_epoch: 1, ..answer.clone() }
    );
    let mut group = TestGroup::new(&[]);
    assert_eq!(group.join("m", &["t"]), HeartbeatAnswer { assignment: Some(Assignment::default()), ..answer });
}

#[test]
fn a_second_member_waits_until_the_first_one_gave_up_its_part() {
    let mut group = TestGroup::new(&[("t", 4)]);
    group.join("m", &["t"]);
    let answer = group.join("n", &["t"]);
    assert_eq!((answer.member_epoch, answer.assignment), (3, Some(Assignment::default())));
    assert_eq!(group.state(), Reconciling);

    // The first one is told, keeps its epoch until it says that it gave them up, and then has them no more.
    let (kept, all) = (group.partitions("t", &[0, 1]), group.partitions("t", &[0, 1, 2, 3]));
    let answer = group.beat("m", 2, None);
    assert_eq!((answer.member_epoch, answer.assignment), (2, Some(kept.clone())));
    assert_eq!(group.beat("n", 3, None).assignment, None);
    assert_eq!(group.beat("m", 2, Some(all)).assignment, None);
    let answer = group.beat("m", 2, Some(kept.clone()));
    assert_eq!((answer.member_epoch, answer.assignment), (3, None));
    assert_eq!(group.state(), Reconciling);
    let answer = group.beat("n", 3, None);
    assert_eq!((answer.member_epoch, answer.assignment), (3, Some(group.partitions("t", &[2, 3]))));
    assert_eq!(group.state(), Stable);
}

#[test]
fn a_heartbeat_that_changes_nothing_writes_nothing() {
    let mut group = two_members();
    let written = group.log.len();
    for _ in 0..3 {
        group.pass(seconds(20));
        for member in ["m", "n"] {
            let answer = group.beat(member, 3, None);
            assert_eq!((answer.member_epoch, answer.assignment), (3, None));
        }
    }
    assert_eq!(group.log.len(), written);
    // One that asks for everything is told everything, and writes nothing either.
    let owned = group.owned("m");
    let full = ConsumerHeartbeat { member_epoch: 3, owned: Some(owned.clone()), ..group.join_request("m", &["t"]) };
    assert_eq!(group.send(&full).unwrap().assignment, Some(owned));
    assert_eq!(group.log.len(), written);
}

#[test]
fn a_lost_answer_is_given_again_to_a_member_that_owns_no_more_than_it_may() {
    let mut group = TestGroup::new(&[("t", 4)]);
    group.join("m", &["t"]);
    group.join("n", &["t"]);
    group.beat("m", 2, None);
    let (kept, more) = (group.partitions("t", &[0, 1]), group.partitions("t", &[0, 1, 2]));
    assert_eq!(group.beat("m", 2, Some(kept.clone())).member_epoch, 3);
    assert_eq!(group.beat("m", 2, Some(kept)).member_epoch, 3);
    for owned in [None, Some(more)] {
        let request = ConsumerHeartbeat { owned, ..group.request("m", 2) };
        let refused = group.send(&request);
        assert!(matches!(refused, Err(ConsumerGroupError::FencedEpoch { received: 2, epoch: 3 })), "{refused:?}");
    }
}

#[test]
fn a_wrong_epoch_is_fenced_and_a_stranger_is_unknown() {
    let mut group = two_members();
    for epoch in [1, 4, i32::MAX] {
        let refused = group.send(&group.request("m", epoch));
        assert!(matches!(refused, Err(ConsumerGroupError::FencedEpoch { .. })), "{epoch}: {refused:?}");
    }
    for epoch in [3, LEAVE_EPOCH] {
        let refused = group.send(&group.request("x", epoch));
        assert!(matches!(refused, Err(ConsumerGroupError::UnknownMember { .. })), "{epoch}: {refused:?}");
    }
}

#[test]
fn a_member_may_join_again_under_its_id() {
    let mut group = two_members();
    let epoch = group.group.epoch();
    let answer = group.join("m", &["t"]);
    assert_eq!((answer.member_epoch, answer.assignment), (3, Some(group.owned("m"))));
    assert_eq!((group.group.epoch(), group.state()), (epoch, Stable));
}

#[test]
fn a_member_that_joins_again_has_given_up_what_it_had_to() {
    let mut group = TestGroup::new(&[("t", 4)]);
    group.join("m", &["t"]);
    group.join("n", &["t"]);
    group.beat("m", 2, None);
    let answer = group.join("m", &["t"]);
    assert_eq!((answer.member_epoch, answer.assignment), (3, Some(group.partitions("t", &[0, 1]))));
    assert_eq!(group.beat("n", 3, None).assignment, Some(group.partitions("t", &[2, 3])));
}

#[test]
fn a_member_that_leaves_leaves_its_partitions() {
    let mut group = two_members();
    let answer = group.send(&group.request("n", LEAVE_EPOCH)).unwrap();
    assert_eq!((answer.member_epoch, answer.heartbeat_interval_ms, answer.assignment), (-1, 0, None));
    assert_eq!((group.state(), group.group.epoch()), (Assigning, 4));
    let answer = group.beat("m", 3, None);
    assert_eq!((answer.member_epoch, answer.assignment), (4, Some(group.partitions("t", &[0, 1, 2, 3]))));

    group.send(&group.request("m", LEAVE_EPOCH)).unwrap();
    assert_eq!((group.state(), group.group.epoch(), group.group.metadata_hash()), (Empty, 5, 0));
    assert_eq!(group.join("m", &["t"]).member_epoch, 6);
}

#[test]
fn a_silent_member_is_removed_after_its_session() {
    let mut group = two_members();
    group.pass(seconds(30));
    group.beat("m", 3, None);
    group.pass(seconds(14));
    assert_eq!(group.group.member_count(), 2);
    group.pass(seconds(1));
    assert_eq!((group.group.member_count(), group.group.epoch()), (1, 4));
    assert!(matches!(group.send(&group.request("n", 3)), Err(ConsumerGroupError::UnknownMember { .. })));
    assert_eq!(group.beat("m", 3, None).assignment, Some(group.partitions("t", &[0, 1, 2, 3])));
    group.pass(seconds(45));
    assert_eq!(group.state(), Empty);
    assert_eq!(group.memory.next_deadline_ms(), None);
}

#[test]
fn members_that_are_silent_together_raise_the_epoch_once() {
    let mut group = two_members();
    group.pass(seconds(100));
    assert_eq!((group.state(), group.group.epoch()), (Empty, 4));
}

#[test]
fn a_member_that_does_not_revoke_in_time_is_removed() {
    let mut group = TestGroup::new(&[("t", 4)]);
    group.join("m", &["t"]);
    group.join("n", &["t"]);
    let all = group.partitions("t", &[0, 1, 2, 3]);
    group.beat("m", 2, None);
    group.pass(seconds(9));
    group.beat("m", 2, Some(all.clone()));
    group.pass(seconds(1));
    assert_eq!(group.group.member_count(), 1);
    assert_eq!(group.beat("n", 3, None).assignment, Some(all));

    // One that did is not.
    let mut group = two_members();
    group.pass(seconds(20));
    assert_eq!(group.group.member_count(), 2);
}

#[test]
fn after_a_restart_members_go_on_and_sessions_start_afresh() {
    let mut group = TestGroup::new(&[("t", 4)]);
    group.join("m", &["t"]);
    group.join("n", &["t"]);
    group.beat("m", 2, None);
    group.pass(seconds(8));
    group.restart();
    // Ten more seconds to revoke, 45 to be heard of.
    group.pass(seconds(9));
    let written = group.log.len();
    assert_eq!(group.beat("n", 3, None).member_epoch, 3);
    assert_eq!(group.log.len(), written, "the topics are as they were");
    group.pass(seconds(1));
    assert_eq!(group.group.member_count(), 1);
    assert_eq!(group.beat("n", 3, None).member_epoch, 4);
    group.restart();
    group.pass(seconds(44));
    assert_eq!(group.group.member_count(), 1);
    group.pass(seconds(1));
    assert_eq!(group.state(), Empty);
}

#[test]
fn topics_that_come_grow_and_go_are_noticed_at_the_next_heartbeat() {
    let mut group = TestGroup::new(&[]);
    group.join("m", &["t"]);
    group.create_topic("other", 3);
    assert_eq!(group.beat("m", 2, None).assignment, None);
    group.create_topic("t", 1);
    let answer = group.beat("m", 2, None);
    assert_eq!((answer.member_epoch, answer.assignment), (3, Some(group.partitions("t", &[0]))));
    group.add_partitions("t", 2);
    let answer = group.beat("m", 3, None);
    assert_eq!((answer.member_epoch, answer.assignment), (4, Some(group.partitions("t", &[0, 1]))));

    // Made again: other partitions of the same name.
    let old = group.partitions("t", &[0, 1]);
    group.delete_topic("t");
    group.create_topic("t", 1);
    let answer = group.beat("m", 4, None);
    assert_eq!((answer.member_epoch, answer.assignment), (4, Some(Assignment::default())));
    group.beat("m", 4, Some(old));
    let answer = group.beat("m", 4, Some(Assignment::default()));
    assert_eq!((answer.member_epoch, answer.assignment), (5, Some(group.partitions("t", &[0]))));
    group.delete_topic("t");
    assert_eq!(group.beat("m", 5, None).assignment, Some(Assignment::default()));
    assert_eq!(group.beat("m", 5, Some(Assignment::default())).member_epoch, 6);
}

#[test]
fn assignments_are_made_no_more_often_than_the_interval_allows() {
    let mut group = TestGroup::new(&[("t", 4)]);
    group.config.times.assignment_interval_ms = 1_000;
    group.join("m", &["t"]);
    let answer = group.join("n", &["t"]);
    assert_eq!((answer.member_epoch, answer.assignment), (2, Some(Assignment::default())));
    assert_eq!((group.group.epoch(), group.state()), (3, Assigning));
    assert_eq!(group.beat("m", 2, None).assignment, None);
    group.pass(seconds(1));
    assert_eq!(group.beat("m", 2, None).assignment, Some(group.partitions("t", &[0, 1])));
    assert_eq!(group.state(), Reconciling);
}

#[test]
fn a_member_gives_up_at_once_what_it_no_longer_subscribes_to() {
    let mut group = TestGroup::new(&[("t", 2), ("u", 2)]);
    group.config.times.assignment_interval_ms = 1_000;
    group.join("m", &["t", "u"]);
    let request = ConsumerHeartbeat { subscribed_topics: Some(vec!["u".to_owned()]), ..group.request("m", 2) };
    let answer = group.send(&request).unwrap();
    assert_eq!((answer.member_epoch, answer.assignment), (2, Some(group.partitions("u", &[0, 1]))));
    assert_eq!(group.group.epoch(), 3);
    let kept = group.partitions("u", &[0, 1]);
    assert_eq!(group.beat("m", 2, Some(kept.clone())).member_epoch, 2);
    group.pass(seconds(1));
    assert_eq!(group.beat("m", 2, Some(kept)).member_epoch, 3);
    assert_eq!(group.state(), Stable);
}

#[test]
fn what_needs_no_other_assignment_is_written_without_an_epoch() {
    let mut group = two_members();
    let request = ConsumerHeartbeat {
        rebalance_timeout_ms: 6_000,
        rack_id: Some("rack".to_owned()),
        server_assignor: Some("range".to_owned()),
        ..group.request("m", 3)
    };
    let written = group.log.len();
    group.send(&request).unwrap();
    assert_eq!((group.log.len(), group.group.epoch()), (written + 1, 3));
    let member = group.group.member("m").unwrap();
    assert_eq!((member.rebalance_timeout_ms, member.rack_id.as_deref()), (6_000, Some("rack")));
    group.send(&request).unwrap();
    assert_eq!(group.log.len(), written + 1);
}

#[test]
fn the_assignor_that_most_members_ask_for_is_taken() {
    let mut group = TestGroup::new(&[("t", 2), ("u", 2)]);
    let ask = |group: &TestGroup, member: &str, assignor: &str| ConsumerHeartbeat {
        server_assignor: Some(assignor.to_owned()),
        ..group.join_request(member, &["t", "u"])
    };
    group.send(&ask(&group, "m", "range")).unwrap();
    group.join("n", &["t", "u"]);
    let range: Assignment = [(group.topic("t"), 0), (group.topic("u"), 0)].into_iter().collect();
    assert_eq!(group.beat("m", 2, None).assignment, Some(range));

    let refused = group.send(&ask(&group, "o", "sticky"));
    assert!(matches!(refused, Err(ConsumerGroupError::UnsupportedAssignor { .. })), "{refused:?}");
    group.config.assignors = vec![Assignor::Range];
    assert!(group.send(&ask(&group, "o", "uniform")).is_err());
}

#[test]
fn a_full_group_takes_nobody() {
    let mut group = two_members();
    group.config.max_size = 2;
    let refused = group.send(&group.join_request("o", &["t"]));
    assert!(matches!(refused, Err(ConsumerGroupError::GroupMaxSizeReached { max: 2 })), "{refused:?}");
    assert_eq!(group.join("m", &["t"]).member_epoch, 3);
}

#[test]
fn members_may_not_say_more_than_a_group_can_keep() {
    let mut group = two_members();
    let topics: Vec<String> = (0..2_000).map(|number| format!("{number}{}", "x".repeat(2_000))).collect();
    let much = |group: &TestGroup, member: &str| ConsumerHeartbeat {
        subscribed_topics: Some(topics.clone()),
        ..group.join_request(member, &[])
    };
    group.send(&much(&group, "o")).unwrap();
    group.send(&much(&group, "p")).unwrap();
    let written = group.log.len();
    let refused = group.send(&much(&group, "q"));
    assert!(matches!(refused, Err(ConsumerGroupError::TooMuchMetadata { .. })), "{refused:?}");
    assert_eq!(group.log.len(), written);
    // Those who are in go on, and saying less is always allowed.
    group.beat("m", 3, None);
    group.join("o", &["t"]);
    group.send(&much(&group, "q")).unwrap();
}

#[test]
fn a_request_that_can_be_no_members_is_refused() {
    let mut group = two_members();
    let join = group.join_request("o", &["t"]);
    let partition = Some(group.partitions("t", &[0]));
    let refused = [
        ConsumerHeartbeat { member_id: "".into(), ..join.clone() },
        ConsumerHeartbeat { instance_id: Some(String::new()), ..join.clone() },
        ConsumerHeartbeat { rack_id: Some(String::new()), ..join.clone() },
        ConsumerHeartbeat { rebalance_timeout_ms: -1, ..join.clone() },
        ConsumerHeartbeat { owned: None, ..join.clone() },
        ConsumerHeartbeat { owned: partition, ..join.clone() },
        ConsumerHeartbeat { subscribed_topics: None, ..join.clone() },
        ConsumerHeartbeat { member_epoch: STATIC_LEAVE_EPOCH, ..join.clone() },
        ConsumerHeartbeat { member_epoch: -3, ..join.clone() },
        ConsumerHeartbeat { member_epoch: i32::MIN, ..join.clone() },
    ];
    let written = group.log.len();
    for request in refused {
        let refused = group.send(&request);
        assert!(matches!(refused, Err(ConsumerGroupError::InvalidRequest(_))), "{request:?}: {refused:?}");
    }
    assert!(matches!(join.check("", &group.context()), Err(ConsumerGroupError::InvalidRequest(_))));
    assert_eq!(group.log.len(), written);
}

mod static_members {
    use super::*;

    fn named(request: ConsumerHeartbeat) -> ConsumerHeartbeat {
        ConsumerHeartbeat { instance_id: Some("i".to_owned()), ..request }
    }

    fn group() -> TestGroup {
        let mut group = TestGroup::new(&[("t", 2)]);
        group.send(&named(group.join_request("s", &["t"]))).unwrap();
        group
    }

    #[test]
    fn one_that_left_for_a_while_finds_what_it_had() {
        let mut group = group();
        let answer = group.send(&named(group.request("s", STATIC_LEAVE_EPOCH))).unwrap();
        assert_eq!((answer.member_epoch, answer.heartbeat_interval_ms), (-2, 0));
        assert_eq!(group.state(), Reconciling);
        group.pass(seconds(30));
        let epoch = group.group.epoch();
        let answer = group.send(&named(group.join_request("s2", &["t"]))).unwrap();
        assert_eq!((answer.member_epoch, answer.assignment), (2, Some(group.partitions("t", &[0, 1]))));
        assert_eq!((group.group.epoch(), group.state(), group.group.member_count()), (epoch, Stable, 1));

        // The one before is fenced by its name, and unknown by its id.
        let refused = group.send(&named(group.request("s", 2)));
        assert!(matches!(refused, Err(ConsumerGroupError::FencedInstance { .. })), "{refused:?}");
        let refused = group.send(&group.request("s", 2));
        assert!(matches!(refused, Err(ConsumerGroupError::UnknownMember { .. })), "{refused:?}");
        group.restart();
        assert_eq!(group.send(&named(group.request("s2", 2))).unwrap().member_epoch, 2);
    }

    #[test]
    fn one_that_comes_back_under_its_old_id_finds_what_it_had() {
        let mut group = group();
        group.send(&named(group.request("s", STATIC_LEAVE_EPOCH))).unwrap();
        let answer = group.send(&named(group.join_request("s", &["t"]))).unwrap();
        assert_eq!((answer.member_epoch, answer.assignment), (2, Some(group.partitions("t", &[0, 1]))));
        group.pass(seconds(44));
        group.restart();
        assert_eq!(group.state(), Stable);
    }

    #[test]
    fn one_that_does_not_come_back_is_removed_after_its_session() {
        let mut group = group();
        group.send(&named(group.request("s", STATIC_LEAVE_EPOCH))).unwrap();
        group.pass(seconds(45));
        assert_eq!(group.state(), Empty);
    }

    #[test]
    fn a_name_belongs_to_one_member() {
        let mut group = group();
        for member in ["s2", "s"] {
            let refused = group.send(&named(group.join_request(member, &["t"])));
            assert!(matches!(refused, Err(ConsumerGroupError::UnreleasedInstance { .. })), "{member}: {refused:?}");
        }
        for epoch in [2, LEAVE_EPOCH, STATIC_LEAVE_EPOCH] {
            let refused = group.send(&named(group.request("s2", epoch)));
            assert!(matches!(refused, Err(ConsumerGroupError::FencedInstance { .. })), "{epoch}: {refused:?}");
            let other = ConsumerHeartbeat { instance_id: Some("j".to_owned()), ..group.request("s", epoch) };
            let refused = group.send(&other);
            assert!(matches!(refused, Err(ConsumerGroupError::UnknownInstance { .. })), "{epoch}: {refused:?}");
        }
        assert!(matches!(
            group.send(&named(group.request("s", 9))),
            Err(ConsumerGroupError::FencedEpoch { received: 9, epoch: 2 })
        ));
        // By its id alone it is known as well, and may leave for good.
        assert_eq!(group.send(&group.request("s", 2)).unwrap().member_epoch, 2);
        group.send(&group.request("s", LEAVE_EPOCH)).unwrap();
        assert_eq!(group.state(), Empty);
        assert!(group.send(&named(group.join_request("s2", &["t"]))).is_ok());
    }

    #[test]
    fn one_that_left_for_a_while_has_given_up_what_it_had_to() {
        let mut group = group();
        group.join("n", &["t"]);
        group.send(&named(group.request("s", 2))).unwrap();
        assert_eq!(group.beat("n", 3, None).assignment, None);
        group.send(&named(group.request("s", STATIC_LEAVE_EPOCH))).unwrap();
        assert_eq!(group.beat("n", 3, None).assignment, Some(group.partitions("t", &[1])));
        let answer = group.send(&named(group.join_request("s2", &["t"]))).unwrap();
        assert_eq!((answer.member_epoch, answer.assignment), (3, Some(group.partitions("t", &[0]))));
    }
}

mod patterns {
    use super::*;

    fn by_pattern(group: &TestGroup, member: &str, pattern: &str) -> ConsumerHeartbeat {
        ConsumerHeartbeat {
            subscribed_topics: None,
            subscribed_regex: Some(pattern.to_owned()),
            ..group.join_request(member, &[])
        }
    }

    #[test]
    fn a_pattern_stands_for_the_topics_that_it_matches_now_and_later() {
        let mut group = TestGroup::new(&[("orders-eu", 1), ("other", 1)]);
        let answer = group.send(&by_pattern(&group, "m", "orders-.*")).unwrap();
        assert_eq!((answer.member_epoch, answer.assignment), (2, Some(group.partitions("orders-eu", &[0]))));
        group.pass(seconds(1));
        group.create_topic("orders-us", 1);
        let both: Assignment = [(group.topic("orders-eu"), 0), (group.topic("orders-us"), 0)].into_iter().collect();
        let answer = group.beat("m", 2, None);
        assert_eq!((answer.member_epoch, answer.assignment), (3, Some(both)));

        // Looked up again no more than once a second, and not forgotten.
        group.delete_topic("orders-us");
        group.create_topic("orders-uk", 1);
        group.beat("m", 3, None);
        group.pass(seconds(1));
        group.beat("m", 3, Some(group.partitions("orders-eu", &[0])));
        let both: Assignment = [(group.topic("orders-eu"), 0), (group.topic("orders-uk"), 0)].into_iter().collect();
        assert_eq!(group.owned("m"), both);
        group.restart();
        let written = group.log.len();
        group.beat("m", group.group.epoch(), None);
        assert_eq!(group.log.len(), written);
    }

    #[test]
    fn a_pattern_that_nobody_has_any_more_is_forgotten() {
        let mut group = TestGroup::new(&[("a", 1), ("b", 1)]);
        group.send(&by_pattern(&group, "m", "a")).unwrap();
        group.send(&by_pattern(&group, "n", "a|b")).unwrap();
        assert_eq!(group.group.resolved_regexes().len(), 2);
        let change = ConsumerHeartbeat { subscribed_regex: Some("b".to_owned()), ..group.request("m", 2) };
        group.send(&change).unwrap();
        assert_eq!(group.group.resolved_regexes().keys().collect::<Vec<_>>(), ["a|b", "b"]);
        group.send(&group.request("n", LEAVE_EPOCH)).unwrap();
        group.send(&group.request("m", LEAVE_EPOCH)).unwrap();
        assert!(group.group.resolved_regexes().is_empty());
    }

    #[test]
    fn names_and_a_pattern_add_up_and_an_empty_pattern_is_none() {
        let mut group = TestGroup::new(&[("a", 1), ("b", 1)]);
        let both = ConsumerHeartbeat { subscribed_topics: Some(vec!["a".to_owned()]), ..by_pattern(&group, "m", "b") };
        assert_eq!(group.send(&both).unwrap().assignment.unwrap().len(), 2);
        let none = ConsumerHeartbeat { subscribed_regex: Some(String::new()), ..group.request("m", 2) };
        assert_eq!(group.send(&none).unwrap().assignment, Some(group.partitions("a", &[0])));
    }

    #[test]
    fn a_group_has_so_many_patterns_and_no_more() {
        let mut group = TestGroup::new(&[("a", 1)]);
        for number in 0..REGEXES_MAX {
            group.send(&by_pattern(&group, &format!("m{number}"), &format!("a{{{number}}}"))).unwrap();
        }
        let refused = group.send(&by_pattern(&group, "n", "b"));
        assert!(matches!(refused, Err(ConsumerGroupError::TooManyRegexes { .. })), "{refused:?}");
        group.send(&by_pattern(&group, "n", "a{1}")).unwrap();
    }

    #[test]
    fn what_is_no_pattern_is_refused_and_changes_nothing() {
        let mut group = TestGroup::new(&[("a", 1)]);
        let refused = group.send(&by_pattern(&group, "m", "("));
        assert!(matches!(refused, Err(ConsumerGroupError::InvalidRegularExpression { .. })), "{refused:?}");
        assert!(group.log.is_empty());
    }
}

#[test]
fn a_member_is_replaced_record_by_record_as_kafka_does() {
    let mut group = TestGroup::new(&[("t", 1)]);
    group.join("m", &["t"]);
    let kinds: Vec<&str> = group
        .log
        .iter()
        .map(|record| match record {
            ConsumerGroupRecord::Member(..) => "member",
            ConsumerGroupRecord::Epoch(_) => "epoch",
            ConsumerGroupRecord::TargetMember(..) => "target",
            ConsumerGroupRecord::TargetEpoch(_) => "target epoch",
            ConsumerGroupRecord::CurrentAssignment(..) => "current",
            ConsumerGroupRecord::Regex(..) => "regex",
        })
        .collect();
    assert_eq!(kinds, ["member", "epoch", "target", "target epoch", "current"]);
    assert_eq!(group.group.assignment_timestamp_ms(), START_MS + 1_000);
    assert_eq!(
        (group.memory.state_since_ms(), group.memory.last_heard_ms("m")),
        (Some(START_MS + 1_000), Some(START_MS + 1_000))
    );
}

#[test]
fn a_member_that_is_in_a_state_of_another_version_joins_again() {
    let mut group = two_members();
    let mut member = ConsumerMember::clone(group.group.member("m").unwrap());
    member.state = MemberState::Unknown;
    let value = Some(member.to_current_assignment());
    group.group.replay(&ConsumerGroupRecord::CurrentAssignment("m".into(), value));
    let refused = group.send(&group.request("m", 3));
    assert!(matches!(refused, Err(ConsumerGroupError::UnknownState)), "{refused:?}");
    assert_eq!(group.join("m", &["t"]).member_epoch, 3);
}
