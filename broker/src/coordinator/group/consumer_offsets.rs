//! Who may commit and read the offsets of a consumer group: members, in their epoch (KIP-848, KIP-1251).

use super::consumer::ConsumerGroup;
use super::consumer_member::ConsumerMember;
use super::error::GroupError;
use crate::types::TopicId;

/// Checks a commit of offsets of `partitions`. Behind the member's epoch it may be as long as the member has owned all of them
/// since: a commit may have been under way while the epoch rose.
///
/// # Errors
/// Nothing of it may be committed.
pub(crate) fn check_commit(
    group: &ConsumerGroup,
    member_id: &str,
    epoch: i32,
    mut partitions: impl Iterator<Item = (TopicId, i32)>,
) -> Result<(), GroupError> {
    if epoch < 0 && group.member_count() == 0 {
        return Ok(());
    }
    let member = group.member(member_id).ok_or(GroupError::UnknownMemberId)?;
    let since = |(topic, partition): (TopicId, i32)| {
        member.assigned.epoch(&topic, partition).or(member.pending_revocation.epoch(&topic, partition))
    };
    let is_allowed = epoch == member.epoch
        || (epoch < member.epoch && partitions.all(|partition| since(partition).is_some_and(|since| since <= epoch)));
    if is_allowed { Ok(()) } else { Err(stale(member)) }
}

/// Checks that a commit by a request without member epochs does not come from a member that has one.
///
/// # Errors
/// It does.
pub(crate) fn check_old_commit(group: &ConsumerGroup, member_id: &str) -> Result<(), GroupError> {
    match group.member(member_id) {
        Some(member) if member.classic.is_none() => Err(GroupError::UnsupportedVersion),
        Some(_) | None => Ok(()),
    }
}

/// Checks a look-up of offsets. Who names no member and no epoch may always.
///
/// # Errors
/// Nothing of it may be told.
pub(crate) fn check_fetch(group: &ConsumerGroup, member_id: Option<&str>, epoch: i32) -> Result<(), GroupError> {
    let Some(member_id) = member_id else {
        return if epoch < 0 { Ok(()) } else { Err(GroupError::UnknownMemberId) };
    };
    let member = group.member(member_id).ok_or(GroupError::UnknownMemberId)?;
    if epoch == member.epoch { Ok(()) } else { Err(stale(member)) }
}

fn stale(member: &ConsumerMember) -> GroupError {
    match member.classic {
        Some(_) => GroupError::IllegalGeneration,
        None => GroupError::StaleMemberEpoch,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::group::consumer_test_group::TestGroup;

    /// A group in which `m` owns 0 since epoch 2 and has to give up 1, and `n` waits in epoch 3.
    fn group() -> TestGroup {
        let mut group = TestGroup::new(&[("t", 2)]);
        group.join("m", &["t"]);
        group.join("n", &["t"]);
        group.beat("m", 2, None);
        group
    }

    fn commit(group: &TestGroup, member: &str, epoch: i32, partitions: &[i32]) -> Result<(), GroupError> {
        let partitions = group.partitions("t", partitions);
        check_commit(&group.group, member, epoch, partitions.iter())
    }

    #[test]
    fn a_member_commits_in_its_epoch_whatever_it_owns() {
        let mut group = group();
        assert_eq!(commit(&group, "m", 2, &[0, 1]), Ok(()));
        assert_eq!(commit(&group, "n", 3, &[0]), Ok(()));
        let kept = group.partitions("t", &[0]);
        group.beat("m", 2, Some(kept));

        // What it has kept since, it may commit for the epoch before; what it gave up, and anything with it, not.
        assert_eq!(commit(&group, "m", 2, &[0]), Ok(()));
        assert_eq!(commit(&group, "m", 1, &[0]), Err(GroupError::StaleMemberEpoch));
        assert_eq!(commit(&group, "m", 2, &[1]), Err(GroupError::StaleMemberEpoch));
        assert_eq!(commit(&group, "m", 2, &[0, 1]), Err(GroupError::StaleMemberEpoch));
        assert_eq!(commit(&group, "m", 4, &[0]), Err(GroupError::StaleMemberEpoch));
        group.beat("n", 3, None);
        assert_eq!(commit(&group, "n", 2, &[1]), Err(GroupError::StaleMemberEpoch));
    }

    #[test]
    fn a_stranger_commits_to_an_empty_group_only() {
        let mut group = group();
        assert_eq!(commit(&group, "", -1, &[0]), Err(GroupError::UnknownMemberId));
        assert_eq!(commit(&group, "x", 3, &[0]), Err(GroupError::UnknownMemberId));
        assert_eq!(check_old_commit(&group.group, "m"), Err(GroupError::UnsupportedVersion));
        assert_eq!(check_old_commit(&group.group, "x"), Ok(()));
        group.pass(std::time::Duration::from_secs(100));
        assert_eq!(commit(&group, "", -1, &[0]), Ok(()));
        assert_eq!(commit(&group, "m", 2, &[0]), Err(GroupError::UnknownMemberId));
    }

    #[test]
    fn offsets_are_told_to_members_in_their_epoch_and_to_who_names_none() {
        let group = group();
        let fetch = |member, epoch| check_fetch(&group.group, member, epoch);
        assert_eq!((fetch(None, -1), fetch(Some("m"), 2)), (Ok(()), Ok(())));
        assert_eq!(fetch(Some("m"), 3), Err(GroupError::StaleMemberEpoch));
        for stranger in [Some("x"), Some("")] {
            assert_eq!(fetch(stranger, -1), Err(GroupError::UnknownMemberId));
        }
        assert_eq!(fetch(None, 3), Err(GroupError::UnknownMemberId));
    }
}
