//! Goal: no batch lost, doubled or overtaken, whatever the broker answers. Method: scripts for each rule, then random
//! faults against a model of the broker's own sequence check.

use std::collections::HashMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::clock;

const BACKOFF: Duration = Duration::from_millis(100);
const FIRST: Identity = Identity { producer_id: 7, epoch: 0 };
const SECOND: Identity = Identity { producer_id: 7, epoch: 1 };

fn outbox() -> Outbox<()> {
    let mut outbox = Outbox::new(true, 5);
    outbox.adopt(FIRST);
    outbox
}

fn deadline() -> Instant {
    clock::now() + Duration::from_secs(120)
}

/// An outbox whose first batch (of one record) was acknowledged.
fn running() -> Outbox<()> {
    let mut outbox = outbox();
    let first = outbox.admit((), 1, 1, deadline());
    assert!(matches!(outbox.settle(first, Answer::Acknowledged, clock::now(), BACKOFF), Verdict::Delivered(_)));
    outbox
}

#[test]
fn sequences_count_records_and_wrap_to_zero() {
    let mut outbox = running();
    assert_eq!(outbox.admit((), 2, 10, deadline()).sequence, 1);
    assert_eq!(outbox.admit((), 3, 1, deadline()).sequence, 11);
    assert_eq!(sequence_after(i32::MAX, 1), 0);
    assert_eq!(sequence_after(i32::MAX - 1, 3), 1);
}

#[test]
fn one_batch_at_a_time_until_the_broker_knows_the_producer() {
    let now = clock::now();
    let mut outbox = outbox();
    let first = outbox.admit((), 1, 1, deadline());
    assert_eq!(outbox.next(now), Next::Wait(None));
    outbox.settle(first, Answer::Acknowledged, now, BACKOFF);
    for number in 2..7 {
        assert_eq!(outbox.next(now), Next::New);
        outbox.admit((), number, 1, deadline());
    }
    assert_eq!(outbox.next(now), Next::Wait(None), "five are in flight");
}

#[test]
fn batches_are_repeated_in_their_order_under_their_sequences() {
    let now = clock::now();
    let mut outbox = running();
    let sent: Vec<_> = (2..6).map(|number| outbox.admit((), number, 3, deadline())).collect();
    for outgoing in sent.iter().rev() {
        assert_eq!(outbox.settle(outgoing.clone(), Answer::Lost, now, BACKOFF), Verdict::Retry);
    }
    assert_eq!(outbox.next(now), Next::Wait(Some(now + BACKOFF)));
    let later = now + BACKOFF;
    for outgoing in &sent {
        assert_eq!(outbox.next(later), Next::Resend);
        let again = outbox.resend().unwrap();
        assert_eq!((again.number, again.sequence, again.uncertain), (outgoing.number, outgoing.sequence, true));
    }
}

#[test]
fn a_gap_behind_a_batch_that_is_repeated_closes_by_itself() {
    let now = clock::now();
    let mut outbox = running();
    let (second, third) = (outbox.admit((), 2, 1, deadline()), outbox.admit((), 3, 1, deadline()));
    outbox.settle(second, Answer::Refused(ErrorCode::NotLeaderOrFollower), now, BACKOFF);
    outbox.settle(third, Answer::Refused(ErrorCode::OutOfOrderSequenceNumber), now, BACKOFF);
    assert_eq!(outbox.next(now + BACKOFF), Next::Resend);
    assert_eq!(outbox.identity(), Some(FIRST));
    assert_eq!(outbox.resend().unwrap().sequence, 1);
    assert_eq!(outbox.resend().unwrap().sequence, 2);
}

#[test]
fn a_broker_that_forgot_the_producer_gets_a_new_epoch_from_sequence_zero() {
    let now = clock::now();
    let mut outbox = running();
    let (second, third) = (outbox.admit((), 2, 4, deadline()), outbox.admit((), 3, 1, deadline()));
    outbox.settle(second, Answer::Refused(ErrorCode::UnknownProducerId), now, BACKOFF);
    assert_eq!(outbox.next(now + BACKOFF), Next::Wait(None), "the third is in flight");
    outbox.settle(third, Answer::Refused(ErrorCode::OutOfOrderSequenceNumber), now, BACKOFF);
    assert_eq!(outbox.next(now + BACKOFF), Next::NeedsIdentity);
    outbox.adopt(SECOND);
    let again = outbox.resend().unwrap();
    assert_eq!((again.number, again.sequence), (2, 0));
    assert_eq!(outbox.next(now + BACKOFF), Next::Wait(None), "one at a time under the new epoch");
    outbox.settle(again, Answer::Acknowledged, now, BACKOFF);
    assert_eq!(outbox.resend().unwrap().sequence, 4);
}

#[test]
fn an_uncertain_batch_is_resolved_before_sequences_change() {
    let now = clock::now();
    let mut outbox = running();
    let (second, third) = (outbox.admit((), 2, 1, deadline()), outbox.admit((), 3, 1, deadline()));
    assert!(matches!(
        outbox.settle(second, Answer::Refused(ErrorCode::MessageTooLarge), now, BACKOFF),
        Verdict::Failed(_)
    ));
    outbox.settle(third, Answer::Lost, now, BACKOFF);
    let later = now + BACKOFF;
    assert_eq!(outbox.next(later), Next::Resend, "under its old sequence: the broker may have it");
    let third = outbox.resend().unwrap();
    assert_eq!((third.sequence, outbox.identity()), (2, Some(FIRST)));
    outbox.settle(third, Answer::Refused(ErrorCode::OutOfOrderSequenceNumber), later, BACKOFF);
    assert_eq!(outbox.next(later + BACKOFF), Next::NeedsIdentity, "it does not");
}

#[test]
fn halves_take_the_place_and_the_sequences_of_the_whole_and_go_one_by_one() {
    let now = clock::now();
    let mut outbox = running();
    let (large, behind) = (outbox.admit((), 2, 5, deadline()), outbox.admit((), 3, 1, deadline()));
    outbox.split(large, [((), 10, 2), ((), 11, 3)]);
    let gap = Answer::Refused(ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(outbox.settle(behind, gap, now, Duration::ZERO), Verdict::Retry);
    let mut order = Vec::new();
    while outbox.next(now) == Next::Resend {
        let outgoing = outbox.resend().unwrap();
        order.push((outgoing.number, outgoing.sequence));
        if outgoing.number == 11 {
            assert_eq!(outbox.next(now), Next::Wait(None), "one by one");
            outbox.split(outgoing, [((), 12, 1), ((), 13, 2)]);
            continue;
        }
        assert!(matches!(outbox.settle(outgoing, Answer::Acknowledged, now, BACKOFF), Verdict::Delivered(_)));
    }
    assert_eq!(order, [(10, 1), (11, 3), (12, 3), (13, 4), (3, 6)]);
    assert_eq!((outbox.next(now), outbox.next_sequence(), outbox.identity()), (Next::New, 7, Some(FIRST)));
}

#[test]
fn a_batch_is_not_pushed_out_of_the_brokers_memory_by_those_behind_it() {
    let now = clock::now();
    let mut outbox = running();
    let second = outbox.admit((), 2, 1, deadline());
    outbox.settle(second, Answer::Lost, now, Duration::ZERO);
    let second = outbox.resend().unwrap();
    for number in 3..7 {
        assert_eq!(outbox.next(now), Next::New);
        let later = outbox.admit((), number, 1, deadline());
        outbox.settle(later, Answer::Acknowledged, now, Duration::ZERO);
    }
    assert_eq!(outbox.next(now), Next::Wait(None), "the sixth would be one too many, though only one is in flight");
    outbox.settle(second, Answer::Acknowledged, now, Duration::ZERO);
    assert_eq!(outbox.next(now), Next::New);
}

#[test]
fn a_late_repetition_is_success() {
    let mut outbox = running();
    let second = outbox.admit((), 2, 1, deadline());
    let duplicate = Answer::Refused(ErrorCode::DuplicateSequenceNumber);
    assert!(matches!(outbox.settle(second, duplicate, clock::now(), BACKOFF), Verdict::Delivered(_)));
}

#[test]
fn a_batch_fails_at_its_deadline_in_flight_or_in_line() {
    let now = clock::now();
    let mut outbox = running();
    let deadline = now + Duration::from_secs(1);
    let (second, third) = (outbox.admit((), 2, 1, deadline), outbox.admit((), 3, 1, deadline + BACKOFF));
    outbox.settle(second, Answer::Lost, now, BACKOFF);
    assert!(matches!(outbox.settle(third, Answer::Lost, deadline + BACKOFF, BACKOFF), Verdict::Failed(_)));
    let (expired, next) = outbox.take_expired(deadline);
    assert_eq!((expired.len(), next), (1, None));
    assert_eq!(outbox.next(deadline + BACKOFF), Next::NeedsIdentity, "the gap needs a new epoch");
}

#[test]
fn without_idempotence_there_is_neither_identity_nor_sequence() {
    let mut outbox: Outbox<()> = Outbox::new(false, 2);
    assert_eq!(outbox.next(clock::now()), Next::New);
    assert_eq!(outbox.admit((), 1, 9, deadline()).sequence, 0);
    assert_eq!(outbox.next(clock::now()), Next::New);
    let second = outbox.admit((), 2, 9, deadline());
    assert_eq!(second.sequence, 0);
    assert_eq!(outbox.next(clock::now()), Next::Wait(None));
    outbox.settle(second, Answer::Refused(ErrorCode::MessageTooLarge), clock::now(), BACKOFF);
    assert_eq!(outbox.next(clock::now()), Next::New);
}

/// The records that the random walk sends, and how many of them the broker takes in one batch.
const RECORDS: u64 = 150;
const RECORDS_MAX: usize = 3;

/// A partition as Kafka keeps it: the log, and the last five batches of each epoch's sequences.
#[derive(Default)]
struct Broker {
    log: Vec<u64>,
    known: HashMap<i64, (i16, Vec<(i32, i32)>)>,
}

impl Broker {
    fn append(&mut self, identity: Identity, outgoing: &Outgoing<Vec<u64>>) -> Answer {
        if outgoing.batch.len() > RECORDS_MAX {
            return Answer::Refused(ErrorCode::MessageTooLarge);
        }
        let (epoch, window) = match self.known.get_mut(&identity.producer_id) {
            Some((epoch, window)) => (*epoch, window),
            None => (identity.epoch, &mut self.known.entry(identity.producer_id).or_insert((identity.epoch, vec![])).1),
        };
        if identity.epoch < epoch {
            return Answer::Refused(ErrorCode::InvalidProducerEpoch);
        }
        let after = sequence_after(outgoing.sequence, outgoing.records);
        if identity.epoch > epoch {
            if outgoing.sequence != 0 {
                return Answer::Refused(ErrorCode::OutOfOrderSequenceNumber);
            }
        } else if window.contains(&(outgoing.sequence, after)) {
            return Answer::Acknowledged;
        } else if window.last().is_some_and(|(_, last)| *last != outgoing.sequence) {
            return Answer::Refused(ErrorCode::OutOfOrderSequenceNumber);
        }
        if identity.epoch > epoch {
            window.clear();
        }
        window.push((outgoing.sequence, after));
        if window.len() > 5 {
            window.remove(0);
        }
        self.log.extend(&outgoing.batch);
        self.known.get_mut(&identity.producer_id).unwrap().0 = identity.epoch;
        Answer::Acknowledged
    }
}

#[test]
fn under_random_faults_every_record_is_in_the_log_once_and_in_order() {
    for seed in 0..500 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut broker = Broker::default();
        let mut outbox: Outbox<Vec<u64>> = Outbox::new(true, 5);
        let mut identity = FIRST;
        // In the order of the connection, with the identity that was stamped on it.
        let mut wire: VecDeque<(Identity, Outgoing<Vec<u64>>)> = VecDeque::new();
        let mut now = clock::now();
        let (mut next_record, mut delivered) = (1, Vec::new());
        let mut rounds = 0;
        while delivered.len() < RECORDS as usize {
            rounds += 1;
            assert!(rounds < 10_000, "seed {seed}: it does not come to an end");
            now += BACKOFF;
            while wire.len() < 5 {
                match outbox.next(now) {
                    Next::Wait(_) => break,
                    Next::NeedsIdentity => {
                        if outbox.identity() == Some(identity) {
                            identity.epoch += 1;
                        }
                        outbox.adopt(identity);
                    }
                    Next::Resend => wire.push_back((identity, outbox.resend().unwrap())),
                    Next::New if next_record > RECORDS => break,
                    Next::New => {
                        let end = (next_record + random.random_range(1..8)).min(RECORDS + 1);
                        let batch: Vec<u64> = (next_record..end).collect();
                        let count = batch.len() as i32;
                        wire.push_back((identity, outbox.admit(batch, next_record, count, deadline())));
                        next_record = end;
                    }
                }
            }
            let disconnect = random.random_bool(0.1);
            for _ in 0..random.random_range(1..=wire.len().max(1)) {
                let Some((stamped, outgoing)) = wire.pop_front() else { break };
                let answer = match random.random_range(0..10) {
                    0 => Answer::Refused(ErrorCode::NotLeaderOrFollower),
                    1 => Answer::NotSent,
                    2 => {
                        broker.append(stamped, &outgoing);
                        Answer::Refused(ErrorCode::RequestTimedOut)
                    }
                    _ if disconnect => {
                        if random.random_bool(0.5) {
                            broker.append(stamped, &outgoing);
                        }
                        Answer::Lost
                    }
                    _ => broker.append(stamped, &outgoing),
                };
                if answer == Answer::Refused(ErrorCode::MessageTooLarge) {
                    let (first, second) = outgoing.batch.split_at(outgoing.batch.len() / 2);
                    let parts = [first, second].map(|part| (part.to_vec(), part[0], part.len() as i32));
                    outbox.split(outgoing, parts);
                } else if let Verdict::Delivered(outgoing) = outbox.settle(outgoing, answer, now, Duration::ZERO) {
                    delivered.extend(outgoing.batch);
                }
            }
        }
        let in_order: Vec<u64> = (1..=broker.log.len() as u64).collect();
        assert_eq!(broker.log, in_order, "seed {seed}: each once, in order");
        assert!(delivered.iter().all(|record| broker.log.contains(record)), "seed {seed}: acknowledged means there");
    }
}
