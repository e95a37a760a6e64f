//! What of one partition is on its way: the order of its batches, their sequence numbers, and what follows from an answer.
//!
//! A pure state machine for each partition of a producer; sockets, bytes and timers are the sender's. With idempotence
//! the broker keeps (producer id, epoch, sequence) of the last five batches, drops repetitions and refuses gaps.
//!
//! Invariants: batches go out in the order of their numbers, also when repeated; a batch whose outcome is uncertain is
//! repeated only under the sequence it had, so that the broker can tell it is a repetition; sequences are given afresh
//! (under a new epoch, KIP-360) only when nothing is in flight and nothing uncertain comes first.
//!
//! The broker knows a repetition among the last five batches only. So no batch is sent that is more than four behind one
//! whose outcome is open, be they acknowledged or not: a batch that the broker has, but whose answers were lost several
//! times, would otherwise be pushed out of its memory by those behind it, and be refused for ever.
//!
//! Until the first batch under an identity was acknowledged only one is in flight: a broker that does not know a
//! producer takes any first sequence, so that a second batch could overtake a first that was refused.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use ottla_protocol::ErrorCode;

use crate::clock::Instant;

/// How many batches of a producer and partition a broker can recognize as repetitions.
const BROKER_REMEMBERS: u64 = 5;

/// Who the broker takes the producer for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
}

/// A batch with its place in the order of the partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outgoing<B> {
    pub(crate) batch: B,
    pub(crate) number: u64,
    pub(crate) records: i32,
    /// The sequence of its first record; 0 without idempotence.
    pub(crate) sequence: i32,
    /// Counts the batches of the partition ...
    ordinal: u64,
    /// ... and the records before this part of one that was split; `None` for a whole batch.
    part: Option<i32>,
    /// When it fails if it was not acknowledged.
    pub(crate) deadline: Instant,
    /// It was sent, and whether the broker has it is not known.
    pub(crate) uncertain: bool,
}

/// A place in the order of the partition.
type Place = (u64, Option<i32>);

impl<B> Outgoing<B> {
    fn place(&self) -> Place {
        (self.ordinal, self.part)
    }
}

/// What came of sending a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Acknowledged,
    /// The broker refused with this code.
    Refused(ErrorCode),
    /// No answer: the connection was lost or the request timed out.
    Lost,
    /// The request could not be made: nothing was sent.
    NotSent,
    /// It was not sent and never can be.
    Impossible,
}

/// What to do about it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict<B> {
    Delivered(Outgoing<B>),
    /// It is back in line.
    Retry,
    Failed(Outgoing<B>),
}

/// What the partition may do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing before this time, or before an answer when there is none.
    Wait(Option<Instant>),
    /// Nothing before [`Outbox::adopt`].
    NeedsIdentity,
    /// Send again what [`Outbox::resend`] returns.
    Resend,
    /// Send a new batch, if there is one.
    New,
}

#[derive(Debug)]
pub(crate) struct Outbox<B> {
    idempotent: bool,
    in_flight_max: usize,
    identity: Option<Identity>,
    next_sequence: i32,
    next_ordinal: u64,
    /// The places of the batches whose outcome is open, in flight or in line.
    open: BTreeSet<Place>,
    /// The sequence after the last acknowledged batch, and that batch's place.
    expected_sequence: i32,
    last_acknowledged: Place,
    /// Something was acknowledged under this identity.
    acknowledged: bool,
    /// The sequences have a gap that the broker will not pass: a new identity is needed.
    reset: bool,
    /// Batches to be sent again, in their order.
    again: VecDeque<Outgoing<B>>,
    in_flight: usize,
    retry_at: Option<Instant>,
    failures: u32,
}

impl<B> Outbox<B> {
    pub(crate) fn new(idempotent: bool, in_flight_max: usize) -> Self {
        Outbox {
            idempotent,
            in_flight_max,
            identity: None,
            next_sequence: 0,
            next_ordinal: 1,
            open: BTreeSet::new(),
            expected_sequence: 0,
            last_acknowledged: (0, None),
            acknowledged: false,
            reset: false,
            again: VecDeque::new(),
            in_flight: 0,
            retry_at: None,
            failures: 0,
        }
    }

    pub(crate) fn identity(&self) -> Option<Identity> {
        self.identity
    }

    /// The sequence that [`Outbox::admit`] will give.
    pub(crate) fn next_sequence(&self) -> i32 {
        if self.idempotent { self.next_sequence } else { 0 }
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Failures in a row, for the back-off.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    pub(crate) fn next(&self, now: Instant) -> Next {
        if let Some(retry_at) = self.retry_at.filter(|retry_at| *retry_at > now) {
            return Next::Wait(Some(retry_at));
        }
        // Parts of a batch go one by one: there may be more of them than a broker remembers.
        let one_by_one = self.open.iter().any(|(_, part)| part.is_some());
        if self.in_flight >= if one_by_one { 1 } else { self.in_flight_max } {
            return Next::Wait(None);
        }
        if self.idempotent {
            let alone = self.in_flight == 0;
            match self.identity {
                None => return Next::NeedsIdentity,
                Some(_) if self.reset && !alone => return Next::Wait(None),
                Some(_) if self.reset && !self.again.front().is_some_and(|first| first.uncertain) => {
                    return Next::NeedsIdentity;
                }
                Some(_) if !self.acknowledged && !alone => return Next::Wait(None),
                Some(_) => {}
            }
        }
        if !self.again.is_empty() {
            return Next::Resend;
        }
        let oldest = self.open.first().map_or(self.next_ordinal, |(ordinal, _)| *ordinal);
        match self.idempotent && self.next_ordinal - oldest >= BROKER_REMEMBERS {
            true => Next::Wait(None),
            false => Next::New,
        }
    }

    /// Goes on under `identity`: what is in line gets sequences from 0.
    pub(crate) fn adopt(&mut self, identity: Identity) {
        assert_eq!(self.in_flight, 0, "sequences change only when nothing is in flight");
        self.identity = Some(identity);
        self.reset = false;
        self.acknowledged = false;
        self.expected_sequence = 0;
        self.next_sequence = 0;
        for outgoing in &mut self.again {
            outgoing.sequence = self.next_sequence;
            // Under the new identity the broker cannot know it as a repetition anyway.
            outgoing.uncertain = false;
            self.next_sequence = sequence_after(self.next_sequence, outgoing.records);
        }
    }

    /// The first batch that is to be sent again.
    pub(crate) fn peek(&self) -> Option<&Outgoing<B>> {
        self.again.front()
    }

    /// Takes the first batch that is to be sent again.
    pub(crate) fn resend(&mut self) -> Option<Outgoing<B>> {
        let outgoing = self.again.pop_front()?;
        self.in_flight += 1;
        Some(outgoing)
    }

    /// Gives a new batch its sequence; it counts as in flight from now on.
    pub(crate) fn admit(&mut self, batch: B, number: u64, records: i32, deadline: Instant) -> Outgoing<B> {
        let sequence = self.next_sequence();
        let ordinal = self.next_ordinal;
        self.next_sequence = sequence_after(self.next_sequence, records);
        self.next_ordinal += 1;
        self.open.insert((ordinal, None));
        self.in_flight += 1;
        Outgoing { batch, number, records, sequence, ordinal, part: None, deadline, uncertain: false }
    }

    /// Takes in what came of a batch that was in flight. A repetition waits for `backoff`.
    pub(crate) fn settle(
        &mut self,
        mut outgoing: Outgoing<B>,
        answer: Answer,
        now: Instant,
        backoff: Duration,
    ) -> Verdict<B> {
        self.in_flight -= 1;
        let retriable = match answer {
            Answer::Acknowledged | Answer::Refused(ErrorCode::DuplicateSequenceNumber) => {
                if outgoing.place() > self.last_acknowledged {
                    self.last_acknowledged = outgoing.place();
                    self.expected_sequence = sequence_after(outgoing.sequence, outgoing.records);
                }
                self.open.remove(&outgoing.place());
                self.acknowledged = true;
                self.failures = 0;
                return Verdict::Delivered(outgoing);
            }
            Answer::Refused(code) => self.refused(&mut outgoing, code),
            Answer::Lost => {
                outgoing.uncertain = true;
                true
            }
            Answer::NotSent => true,
            Answer::Impossible => false,
        };
        if retriable && outgoing.deadline > now {
            self.failures = self.failures.saturating_add(1);
            self.retry_at = Some(now + backoff);
            self.put_in_line(outgoing);
            return Verdict::Retry;
        }
        self.open.remove(&outgoing.place());
        // Those behind it have sequences that the broker will refuse for the gap.
        self.reset |= self.idempotent;
        Verdict::Failed(outgoing)
    }

    /// Puts parts, each with its number and its count of records, in the place of a batch that was in flight and that the
    /// broker refused whole. They have the sequences of its records, so that there is no gap.
    pub(crate) fn split(&mut self, outgoing: Outgoing<B>, parts: impl IntoIterator<Item = (B, u64, i32)>) {
        self.in_flight -= 1;
        self.open.remove(&outgoing.place());
        let (ordinal, deadline) = (outgoing.ordinal, outgoing.deadline);
        let (mut sequence, mut first) = (outgoing.sequence, outgoing.part.unwrap_or(0));
        for (batch, number, records) in parts {
            let part = Some(first);
            let place = Outgoing { batch, number, records, sequence, ordinal, part, deadline, uncertain: false };
            self.open.insert(place.place());
            self.put_in_line(place);
            sequence = sequence_after(sequence, records);
            first += records;
        }
    }

    fn put_in_line(&mut self, outgoing: Outgoing<B>) {
        let index = self.again.partition_point(|other| other.place() < outgoing.place());
        self.again.insert(index, outgoing);
    }

    /// Whether a batch that was refused may be sent again.
    fn refused(&mut self, outgoing: &mut Outgoing<B>, code: ErrorCode) -> bool {
        match code {
            ErrorCode::OutOfOrderSequenceNumber | ErrorCode::UnknownProducerId | ErrorCode::InvalidProducerEpoch
                if self.idempotent =>
            {
                // The broker has looked at the sequence: it does not have the batch.
                outgoing.uncertain = false;
                // Behind a batch that has to be repeated the gap will close by itself.
                let first_in_line = outgoing.sequence == self.expected_sequence;
                self.reset |= first_in_line || code != ErrorCode::OutOfOrderSequenceNumber;
                true
            }
            ErrorCode::RequestTimedOut | ErrorCode::NotEnoughReplicasAfterAppend => {
                outgoing.uncertain = true;
                true
            }
            code => code.is_retriable(),
        }
    }

    /// Takes the batches in line whose deadline has passed, and tells when the next one will.
    pub(crate) fn take_expired(&mut self, now: Instant) -> (Vec<Outgoing<B>>, Option<Instant>) {
        let (expired, kept): (VecDeque<_>, VecDeque<_>) = self.again.drain(..).partition(|one| one.deadline <= now);
        self.again = kept;
        for outgoing in &expired {
            self.open.remove(&outgoing.place());
        }
        self.reset |= self.idempotent && !expired.is_empty();
        (expired.into(), self.again.iter().map(|outgoing| outgoing.deadline).min())
    }
}

/// The sequence that follows a batch; it goes from 2^31 - 1 to 0.
fn sequence_after(sequence: i32, records: i32) -> i32 {
    sequence.wrapping_add(records) & i32::MAX
}

#[cfg(test)]
#[path = "outbox_test.rs"]
mod tests;
