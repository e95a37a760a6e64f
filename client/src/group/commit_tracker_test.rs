//! Goal: what is offered last is what the broker has in the end, and who waits hears the truth. Method: single cases, and
//! a random walk beside a broker that keeps what it was sent.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::oneshot::error::TryRecvError;

use super::*;
use crate::clock;

fn at(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

fn offset(offset: i64) -> OffsetAndMetadata {
    OffsetAndMetadata::new(offset)
}

fn passing() -> Error {
    Error::Disconnected { address: "b:1".into(), reason: "reset".into() }
}

fn later(_: u32) -> Instant {
    clock::now()
}

#[test]
fn one_request_at_a_time_and_the_latest_offer_in_it() {
    let now = clock::now();
    let mut commits = CommitTracker::default();
    assert_eq!(commits.ready_at(now), None);
    commits.offer([(at(0), offset(1)), (at(1), offset(7))]);
    commits.offer([(at(0), offset(2))]);
    assert_eq!(commits.ready_at(now), Some(now));
    assert_eq!(commits.take(), [(at(0), offset(2)), (at(1), offset(7))]);
    commits.offer([(at(0), offset(3))]);
    assert_eq!(commits.ready_at(now), None, "one is on its way");
    commits.answered(|_| Outcome::Committed, later);
    assert_eq!(commits.take(), [(at(0), offset(3))]);
}

#[test]
fn a_repetition_does_not_overtake_a_later_offer() {
    let mut commits = CommitTracker::default();
    commits.offer([(at(0), offset(1)), (at(1), offset(1))]);
    commits.take();
    commits.offer([(at(0), offset(2))]);
    let retry_at = clock::now() + Duration::from_secs(9);
    commits.answered(|_| Outcome::Retry(passing()), |_| retry_at);
    assert_eq!(commits.ready_at(clock::now()), Some(retry_at));
    assert!(commits.last_error().is_some());
    assert_eq!(commits.take(), [(at(0), offset(2)), (at(1), offset(1))]);
}

#[test]
fn who_waits_is_told_once_all_that_was_meant_is_settled() {
    let mut commits = CommitTracker::default();
    commits.offer([(at(0), offset(1)), (at(1), offset(1))]);
    let mut waiting = commits.settled([at(0), at(1), at(2)]);
    // Another partition's offer is none of it.
    commits.offer([(at(3), offset(1))]);
    commits.take();
    let outcome = |partition: &TopicPartition| match partition.partition {
        0 => Outcome::Committed,
        3 => Outcome::Failed(Error::Closed),
        _ => Outcome::Retry(passing()),
    };
    assert_eq!(commits.answered(outcome, later).len(), 1, "nobody waits for partition 3");
    assert_eq!(waiting.try_recv().unwrap_err(), TryRecvError::Empty);
    commits.offer([(at(1), offset(5))]);
    commits.take();
    commits.answered(|_| Outcome::Committed, later);
    waiting.try_recv().unwrap().unwrap();
    commits.settled([at(0)]).try_recv().unwrap().unwrap();
}

#[test]
fn what_was_taken_away_is_not_committed_and_its_waiter_hears_why() {
    let mut commits = CommitTracker::default();
    commits.offer([(at(0), offset(1)), (at(1), offset(1))]);
    let mut waiting = commits.settled([at(0), at(1)]);
    commits.take();
    commits.forget(&[at(0)], &Error::Closed);
    commits.answered(|_| Outcome::Retry(passing()), later);
    assert_eq!(commits.take(), [(at(1), offset(1))]);
    commits.answered(|_| Outcome::Committed, later);
    assert!(matches!(waiting.try_recv().unwrap(), Err(Error::Closed)));
}

#[test]
fn positions_that_did_not_move_are_not_sent_again() {
    let mut commits = CommitTracker::default();
    commits.remember(at(0), offset(4));
    commits.offer_positions(BTreeMap::from([(at(0), offset(4)), (at(1), offset(0))]));
    assert_eq!(commits.take(), [(at(1), offset(0))]);
    commits.offer_positions(BTreeMap::from([(at(1), offset(0))]));
    commits.answered(|_| Outcome::Committed, later);
    assert_eq!(commits.ready_at(clock::now()), None);
}

#[test]
fn a_random_walk_ends_with_what_was_offered_last() {
    let seed = rand::rng().random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..300 {
        let mut commits = CommitTracker::default();
        // What the broker has, what was offered last, and who waits for which offsets.
        let mut broker: BTreeMap<TopicPartition, i64> = BTreeMap::new();
        let mut offered: BTreeMap<TopicPartition, i64> = BTreeMap::new();
        let mut waiting: Vec<(Settled, BTreeMap<TopicPartition, i64>)> = Vec::new();
        let mut failed = BTreeSet::new();
        let mut in_flight: Option<Vec<(TopicPartition, OffsetAndMetadata)>> = None;
        // Offsets rise with every offer, so that a smaller one at the broker would be an older one.
        for step in 1..120 {
            match random.random_range(0..4) {
                0 => {
                    let chosen: Vec<_> = (0..4).filter(|_| random.random_bool(0.5)).map(at).collect();
                    commits.offer(chosen.iter().map(|partition| (partition.clone(), offset(step))));
                    offered.extend(chosen.iter().map(|partition| (partition.clone(), step)));
                    failed.retain(|partition| !chosen.contains(partition));
                    let meant = chosen.iter().map(|partition| (partition.clone(), step)).collect();
                    waiting.push((commits.settled(chosen), meant));
                }
                1 if in_flight.is_none() => {
                    let taken = commits.take();
                    in_flight = (!taken.is_empty()).then_some(taken);
                }
                2 | 3 => {
                    let Some(sent) = in_flight.take() else { continue };
                    let mut outcomes = BTreeMap::new();
                    for (partition, offset) in sent {
                        let before = broker.get(&partition).copied().unwrap_or(-1);
                        let outcome = match random.random_range(0..5) {
                            0 => Outcome::Retry(passing()),
                            // Carried out, but the answer was lost.
                            1 => {
                                assert!(offset.offset >= before);
                                broker.insert(partition.clone(), offset.offset);
                                Outcome::Retry(passing())
                            }
                            2 => {
                                failed.insert(partition.clone());
                                Outcome::Failed(Error::Closed)
                            }
                            _ => {
                                assert!(offset.offset >= before, "a commit went back");
                                broker.insert(partition.clone(), offset.offset);
                                Outcome::Committed
                            }
                        };
                        outcomes.insert(partition, outcome);
                    }
                    commits.answered(|partition| outcomes[partition].clone(), later);
                }
                _ => {}
            }
            waiting.retain_mut(|(settled, meant)| match settled.try_recv() {
                Ok(Ok(())) => {
                    assert!(meant.iter().all(|(partition, offset)| broker[partition] >= *offset));
                    false
                }
                Ok(Err(_)) => false,
                Err(_) => true,
            });
        }
        if in_flight.is_some() {
            commits.answered(|_| Outcome::Retry(passing()), later);
        }
        let rest = commits.take();
        broker.extend(rest.into_iter().map(|(partition, offset)| (partition, offset.offset)));
        commits.answered(|_| Outcome::Committed, later);
        assert!(commits.open().is_empty());
        for (partition, offset) in &offered {
            // An offer that failed may have been followed by one that did not.
            assert!(failed.contains(partition) || broker[partition] == *offset, "{partition}");
        }
        waiting.iter_mut().for_each(|(settled, _)| assert!(settled.try_recv().is_ok(), "everybody is told"));
    }
}
