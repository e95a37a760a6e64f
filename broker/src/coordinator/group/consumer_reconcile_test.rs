//! Goal: a member moves from what it owns to what it is to own as KIP-848 says. Method: one script for each way out of each state.

use super::*;

const TOPIC: TopicId = ottla_protocol::Uuid([1; 16]);
const OTHER_TOPIC: TopicId = ottla_protocol::Uuid([2; 16]);

fn partitions(partitions: &[i32]) -> Assignment {
    partitions.iter().map(|partition| (TOPIC, *partition)).collect()
}

fn owned(partitions: &[(i32, i32)]) -> OwnedPartitions {
    partitions.iter().map(|(partition, epoch)| (TOPIC, *partition, *epoch)).collect()
}

fn member(state: MemberState, epoch: i32, assigned: &[(i32, i32)], pending: &[(i32, i32)]) -> ConsumerMember {
    ConsumerMember {
        epoch,
        previous_epoch: epoch - 1,
        state,
        assigned: owned(assigned),
        pending_revocation: owned(pending),
        ..ConsumerMember::new("m".into())
    }
}

/// A step of `member` to `target`, while others own `taken`.
fn step(
    member: &ConsumerMember,
    target: (i32, &[i32]),
    taken: &[i32],
    reported: Option<&[i32]>,
) -> Result<Option<ConsumerMember>, UnknownState> {
    let (target_epoch, target) = (target.0, partitions(target.1));
    let reported = reported.map(partitions);
    let subscribed = BTreeSet::from([TOPIC]);
    let owned_by_other = |topic: &TopicId, partition| *topic == TOPIC && taken.contains(&partition);
    Reconciliation {
        target_epoch,
        target: &target,
        subscribed: &subscribed,
        reported: reported.as_ref(),
        owned_by_other,
    }
    .step(member)
}

#[test]
fn a_stable_member_stays_until_there_is_a_newer_target() {
    let stable = member(MemberState::Stable, 5, &[(0, 5)], &[]);
    assert_eq!(step(&stable, (5, &[0]), &[], None), Ok(None));
    let next = step(&stable, (6, &[0]), &[], None).unwrap().unwrap();
    assert_eq!(next, ConsumerMember { previous_epoch: 5, ..member(MemberState::Stable, 6, &[(0, 5)], &[]) });
}

#[test]
fn what_is_free_is_assigned_in_the_epoch_of_the_target() {
    let next = step(&member(MemberState::Stable, 5, &[(0, 5)], &[]), (7, &[0, 1]), &[], None).unwrap().unwrap();
    assert_eq!((next.state, next.epoch, next.previous_epoch), (MemberState::Stable, 7, 5));
    assert_eq!(next.assigned, owned(&[(0, 5), (1, 7)]));
}

#[test]
fn what_is_to_go_is_revoked_before_anything_else_in_the_old_epoch() {
    let next = step(&member(MemberState::Stable, 5, &[(0, 5), (1, 5)], &[]), (6, &[1, 2]), &[], None).unwrap().unwrap();
    assert_eq!(next, member(MemberState::UnrevokedPartitions, 5, &[(1, 5)], &[(0, 5)]));

    // It says nothing, or still has it: nothing happens. It gave it up: the next epoch, and what is free.
    assert_eq!(step(&next, (6, &[1, 2]), &[], None), Ok(None));
    assert_eq!(step(&next, (6, &[1, 2]), &[], Some(&[0, 1])), Ok(None));
    let after = step(&next, (6, &[1, 2]), &[], Some(&[1])).unwrap().unwrap();
    assert_eq!((after.state, after.epoch, after.previous_epoch), (MemberState::Stable, 6, 5));
    assert_eq!(after.assigned, owned(&[(1, 5), (2, 6)]));
    assert!(after.pending_revocation.is_empty());
}

#[test]
fn a_member_that_already_gave_it_up_skips_the_revocation() {
    let stable = member(MemberState::Stable, 5, &[(0, 5), (1, 5)], &[]);
    let next = step(&stable, (6, &[1]), &[], Some(&[])).unwrap().unwrap();
    assert_eq!((next.state, next.epoch), (MemberState::Stable, 6));
}

#[test]
fn after_a_revocation_the_epoch_rises_by_one_and_the_newest_target_counts() {
    let unrevoked = member(MemberState::UnrevokedPartitions, 5, &[(1, 5), (2, 5)], &[(0, 5)]);
    let next = step(&unrevoked, (9, &[2]), &[], Some(&[1, 2])).unwrap().unwrap();
    assert_eq!(
        next,
        ConsumerMember { previous_epoch: 5, ..member(MemberState::UnrevokedPartitions, 6, &[(2, 5)], &[(1, 5)]) }
    );
}

#[test]
fn what_others_own_is_waited_for_in_the_epoch_of_the_target() {
    let stable = member(MemberState::Stable, 5, &[(0, 5)], &[]);
    let waiting = step(&stable, (6, &[0, 1, 2]), &[1], None).unwrap().unwrap();
    assert_eq!((waiting.state, waiting.epoch), (MemberState::UnreleasedPartitions, 6));
    assert_eq!(waiting.assigned, owned(&[(0, 5), (2, 6)]));

    assert_eq!(step(&waiting, (6, &[0, 1, 2]), &[1], None), Ok(None));
    let next = step(&waiting, (6, &[0, 1, 2]), &[], None).unwrap().unwrap();
    assert_eq!((next.state, next.epoch), (MemberState::Stable, 6));
    assert_eq!(next.assigned, owned(&[(0, 5), (1, 6), (2, 6)]));

    // A newer target may take away what it waited for, and more.
    let next = step(&waiting, (7, &[2]), &[1], None).unwrap().unwrap();
    assert_eq!((next.state, next.epoch), (MemberState::UnrevokedPartitions, 6));
    assert_eq!(next.pending_revocation, owned(&[(0, 5)]));
}

#[test]
fn a_member_gives_up_what_it_no_longer_subscribes_to_before_the_target_says_so() {
    let target = partitions(&[0]);
    let run = |member: &ConsumerMember, subscribed: TopicId, reported: Option<&Assignment>| {
        let subscribed = BTreeSet::from([subscribed]);
        let owned_by_other = |_: &TopicId, _| false;
        Reconciliation { target_epoch: 5, target: &target, subscribed: &subscribed, reported, owned_by_other }
            .step(member)
    };
    let stable = member(MemberState::Stable, 5, &[(0, 5)], &[]);
    assert_eq!(run(&stable, TOPIC, None), Ok(None));
    let next = run(&stable, OTHER_TOPIC, None).unwrap().unwrap();
    assert_eq!(next, member(MemberState::UnrevokedPartitions, 5, &[], &[(0, 5)]));

    // While others are being revoked, too; and the epoch does not overtake the target's.
    let unrevoked = member(MemberState::UnrevokedPartitions, 5, &[(0, 5)], &[(1, 5)]);
    let more = run(&unrevoked, OTHER_TOPIC, None).unwrap().unwrap();
    assert_eq!(more, member(MemberState::UnrevokedPartitions, 5, &[], &[(0, 5), (1, 5)]));
    let after = run(&more, OTHER_TOPIC, Some(&Assignment::default())).unwrap().unwrap();
    assert_eq!(after, member(MemberState::Stable, 5, &[], &[]));
}

#[test]
fn a_state_of_another_version_needs_a_fresh_start() {
    let unknown = member(MemberState::Unknown, 5, &[(0, 5)], &[]);
    assert_eq!(step(&unknown, (6, &[0]), &[], None), Err(UnknownState));
    assert_eq!(step(&unknown, (6, &[0]), &[], Some(&[0])), Err(UnknownState));
    let next = step(&unknown, (6, &[0]), &[], Some(&[])).unwrap().unwrap();
    assert_eq!((next.state, next.epoch), (MemberState::Stable, 6));
}
