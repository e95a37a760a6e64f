//! Goal: the verdict for every kind of batch, exact transaction bounds, bounded memory, and a rebuild that equals what was
//! there. Method: one small script a rule, and random histories replayed from a snapshot in their middle.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

const PRODUCER: ProducerId = ProducerId(7);

fn state() -> ProducerState {
    ProducerState::new(ProducerLimits::default())
}

fn batch(epoch: i16, first_sequence: i32, base_offset: i64, records: i64) -> ProducerBatch {
    ProducerBatch {
        producer_id: PRODUCER,
        producer_epoch: epoch,
        first_sequence,
        base_offset: Offset(base_offset),
        last_offset: Offset(base_offset + records - 1),
        max_timestamp: 1_000 + base_offset,
        is_transactional: false,
        end_txn_marker: None,
    }
}

fn marker(epoch: i16, offset: i64, is_commit: bool, coordinator_epoch: i32) -> ProducerBatch {
    ProducerBatch {
        is_transactional: true,
        end_txn_marker: Some(EndTxnMarker { is_commit, coordinator_epoch }),
        ..batch(epoch, -1, offset, 1)
    }
}

fn append(state: &mut ProducerState, batch: ProducerBatch) -> Option<CompletedTxn> {
    assert_eq!(state.check(&batch), Ok(Verdict::Append), "{batch:?}");
    state.update(&batch, 0)
}

fn out_of_order(state: &ProducerState, batch: ProducerBatch) -> Option<i32> {
    match state.check(&batch) {
        Err(ProducerStateError::OutOfOrderSequence { expected, .. }) => Some(expected),
        _ => None,
    }
}

#[test]
fn a_repeat_within_five_batches_gets_its_first_offset() {
    let mut state = state();
    for n in 0..7 {
        append(&mut state, batch(0, n * 2, i64::from(n) * 2, 2));
    }
    for n in 2..7 {
        let repeat = batch(0, n * 2, 500, 2);
        let first = i64::from(n) * 2;
        let expected =
            Verdict::Duplicate { base_offset: Offset(first), last_offset: Offset(first + 1), timestamp: 1_000 + first };
        assert_eq!(state.check(&repeat), Ok(expected));
    }
    // Older ones are known to have been appended, but no longer where.
    assert!(matches!(
        state.check(&batch(0, 0, 500, 2)),
        Err(ProducerStateError::DuplicateSequence { window_start: 4, .. })
    ));
    assert!(matches!(state.check(&batch(0, 1, 500, 3)), Err(ProducerStateError::DuplicateSequence { .. })));
    // Neither a repeat nor before the window: a gap, an overlap with other bounds, one that reaches into the window.
    assert_eq!(out_of_order(&state, batch(0, 15, 500, 1)), Some(14));
    assert_eq!(out_of_order(&state, batch(0, 13, 500, 1)), Some(14));
    assert_eq!(out_of_order(&state, batch(0, 2, 500, 3)), Some(14));
}

#[test]
fn an_unknown_producer_may_start_anywhere_but_what_came_before_is_not_called_appended() {
    let mut state = state();
    for n in 0..6 {
        append(&mut state, batch(0, 100 + n, i64::from(n), 1));
    }
    assert!(matches!(state.check(&batch(0, 100, 500, 1)), Err(ProducerStateError::DuplicateSequence { .. })));
    // 99 may have been lost before this partition forgot the producer: saying "duplicate" would make the client drop it.
    assert_eq!(out_of_order(&state, batch(0, 99, 500, 1)), Some(106));
    assert_eq!(out_of_order(&state, batch(0, 99, 500, 2)), Some(106));
}

#[test]
fn sequences_wrap_to_zero() {
    let mut state = state();
    append(&mut state, batch(0, i32::MAX - 4, 0, 3));
    append(&mut state, batch(0, i32::MAX - 1, 3, 4));
    assert_eq!(state.get(PRODUCER).unwrap().last_sequence(), Some(1));
    assert_eq!(out_of_order(&state, batch(0, 3, 500, 1)), Some(2));
    assert!(matches!(
        state.check(&batch(0, i32::MAX - 1, 500, 4)),
        Ok(Verdict::Duplicate { base_offset: Offset(3), last_offset: Offset(6), .. })
    ));
    for n in 0..5 {
        append(&mut state, batch(0, 2 + n, 7 + i64::from(n), 1));
    }
    assert!(matches!(
        state.check(&batch(0, i32::MAX - 1, 500, 4)),
        Err(ProducerStateError::DuplicateSequence { window_start: 2, .. })
    ));
}

#[test]
fn epochs_fence_and_start_at_zero() {
    let mut state = state();
    append(&mut state, batch(3, 0, 0, 1));
    assert_eq!(out_of_order(&state, batch(4, 1, 1, 1)), Some(0));
    append(&mut state, batch(4, 0, 1, 1));
    // Not a duplicate of the old epoch's batch, which the new epoch's window has dropped.
    assert_eq!(state.get(PRODUCER).unwrap().batches().len(), 1);
    assert_eq!(
        state.check(&batch(3, 1, 2, 1)),
        Err(ProducerStateError::InvalidProducerEpoch { producer_id: PRODUCER, producer_epoch: 3, current_epoch: 4 })
    );
    assert!(matches!(state.check(&marker(3, 2, true, 0)), Err(ProducerStateError::InvalidProducerEpoch { .. })));
    // A marker with a bumped epoch starts the sequence afresh; one with the same epoch does not.
    append(&mut state, marker(4, 2, true, 0));
    append(&mut state, batch(4, 1, 3, 1));
    append(&mut state, marker(5, 4, true, 0));
    assert_eq!(out_of_order(&state, batch(5, 2, 5, 1)), Some(0));
    append(&mut state, batch(5, 0, 5, 1));
}

#[test]
fn open_transactions_bound_the_stable_offset() {
    let mut state = state();
    let other = ProducerId(8);
    let transactional = |batch: ProducerBatch| ProducerBatch { is_transactional: true, ..batch };
    append(&mut state, transactional(batch(0, 0, 10, 2)));
    append(&mut state, transactional(ProducerBatch { producer_id: other, ..batch(0, 0, 12, 1) }));
    append(&mut state, transactional(batch(0, 2, 13, 1)));
    assert_eq!(state.first_unstable_offset(), Some(Offset(10)));
    assert_eq!(
        state.check(&batch(0, 3, 14, 1)),
        Err(ProducerStateError::InvalidTxnState { producer_id: PRODUCER, first_offset: Offset(10) })
    );
    let completed = append(&mut state, marker(0, 14, false, 2)).unwrap();
    let expected = CompletedTxn {
        producer_id: PRODUCER,
        first_offset: Offset(10),
        last_offset: Offset(14),
        is_aborted: true,
        last_stable_offset: Offset(12),
    };
    assert_eq!(completed, expected);
    // Until the marker is below the high watermark, the transaction is undecided for readers.
    state.on_high_watermark_updated(Offset(14));
    assert_eq!(state.first_unstable_offset(), Some(Offset(10)));
    state.on_high_watermark_updated(Offset(15));
    assert_eq!(state.first_unstable_offset(), Some(Offset(12)));
    // A retried marker ends nothing; one of an older coordinator is refused.
    assert_eq!(append(&mut state, marker(0, 15, false, 2)), None);
    assert!(matches!(
        state.check(&marker(0, 16, false, 1)),
        Err(ProducerStateError::TransactionCoordinatorFenced { coordinator_epoch: 1, current_epoch: 2, .. })
    ));
    let completed = append(&mut state, ProducerBatch { producer_id: other, ..marker(0, 16, true, 2) }).unwrap();
    assert_eq!((completed.is_aborted, completed.last_stable_offset), (false, Offset(17)));
    state.on_high_watermark_updated(Offset(17));
    assert_eq!(state.first_unstable_offset(), None);
}

#[test]
fn producers_expire_by_the_clock_and_never_with_an_open_transaction() {
    let mut state = state();
    state.update(&batch(0, 0, 0, 1), 1_000);
    let open = ProducerBatch { producer_id: ProducerId(8), is_transactional: true, ..batch(0, 0, 1, 1) };
    state.update(&open, 1_000);
    assert_eq!(state.remove_expired(1_099, 100), 0);
    assert_eq!(state.remove_expired(1_100, 100), 1);
    assert!(state.get(PRODUCER).is_none() && state.get(ProducerId(8)).is_some());
    // A clock that jumps back expires nobody.
    assert_eq!(state.remove_expired(i64::MIN, 100), 0);
}

#[test]
fn a_million_producer_ids_stay_within_the_bound_and_spare_other_partitions() {
    let budget = ProducerBudget::new(1_000);
    let limits = ProducerLimits { producers_per_partition_max: 2_000, budget: budget.clone() };
    let mut quiet = ProducerState::new(limits.clone());
    let mut flooded = ProducerState::new(limits);
    let of = |id: i64, offset: i64| ProducerBatch { producer_id: ProducerId(id), ..batch(0, 0, offset, 1) };
    let open = ProducerBatch { is_transactional: true, ..of(5_000_000, 0) };
    flooded.update(&open, 0);
    for id in 0..1_000_000 {
        flooded.update(&of(id, id + 1), 0);
    }
    assert!(flooded.len() <= 1_000 + RESERVED_PRODUCERS_PER_PARTITION, "{}", flooded.len());
    assert_eq!(budget.taken(), 1_000);
    assert!(flooded.get(ProducerId(999_999)).is_some(), "the newest stays");
    assert!(flooded.get(open.producer_id).is_some(), "an open transaction stays");
    for id in 0..RESERVED_PRODUCERS_PER_PARTITION as i64 {
        quiet.update(&of(id, id), 0);
    }
    assert_eq!(quiet.len(), RESERVED_PRODUCERS_PER_PARTITION);
    flooded.remove_expired(10, 10);
    assert_eq!((flooded.len(), budget.taken()), (1, 0));
    for id in 0..500 {
        flooded.update(&of(id, id), 0);
    }
    drop(flooded);
    assert_eq!(budget.taken(), 0);
}

#[test]
fn the_longest_idle_are_forgotten_first_and_open_transactions_are_limited() {
    let limits = ProducerLimits { producers_per_partition_max: 20, budget: ProducerBudget::new(100) };
    let mut state = ProducerState::new(limits);
    let of = |id: i64, offset: i64| ProducerBatch { producer_id: ProducerId(id), ..batch(0, 0, offset, 1) };
    for id in 0..20 {
        state.update(&of(id, id), 0);
    }
    state.update(&ProducerBatch { first_sequence: 1, ..of(0, 20) }, 0);
    state.update(&of(20, 21), 0);
    assert!(state.get(ProducerId(0)).is_some() && state.get(ProducerId(1)).is_none());
    for id in 100..120 {
        append(&mut state, ProducerBatch { is_transactional: true, ..of(id, id) });
    }
    let one_more = ProducerBatch { is_transactional: true, ..of(200, 200) };
    assert_eq!(state.check(&one_more), Err(ProducerStateError::TooManyOpenTransactions { limit: 20 }));
    assert_eq!(state.first_unstable_offset(), Some(Offset(100)));
}

#[test]
fn control_records_are_parsed() {
    let marker = |is_commit| Some(EndTxnMarker { is_commit, coordinator_epoch: 9 });
    assert_eq!(EndTxnMarker::parse(&[0, 0, 0, 0], &[0, 0, 0, 0, 0, 9]), marker(false));
    assert_eq!(EndTxnMarker::parse(&[0, 0, 0, 1], &[0, 1, 0, 0, 0, 9, 1]), marker(true));
    assert_eq!(EndTxnMarker::parse(&[0, 0, 0, 2], &[0, 0, 0, 0, 0, 9]), None);
    assert_eq!(EndTxnMarker::parse(&[0, 0, 0], &[0, 0, 0, 0, 0, 9]), None);
    assert_eq!(EndTxnMarker::parse(&[0, 0, 0, 1], &[0, 0, 0]), None);
}

/// A random history that `check` accepts: several producers, transactions, epochs, repeats and gaps tried in between.
fn history(rng: &mut StdRng) -> Vec<ProducerBatch> {
    let mut state = state();
    let mut appended = Vec::new();
    let mut offset = 0;
    while appended.len() < 200 {
        let id = ProducerId(rng.random_range(0..4));
        let known = state.get(id).cloned();
        let epoch = known.as_ref().map_or(0, |entry| entry.producer_epoch) + i16::from(rng.random_ratio(1, 20));
        let next = known.as_ref().and_then(ProducerEntry::last_sequence).map_or(0, next_sequence);
        let is_open = known.is_some_and(|entry| entry.current_txn_first_offset.is_some());
        let records = rng.random_range(1..5);
        let mut tried = ProducerBatch { producer_id: id, ..batch(epoch, next, offset, records) };
        tried.first_sequence = if rng.random_ratio(1, 8) { rng.random_range(0..50) } else { next };
        tried.is_transactional = is_open || rng.random_ratio(1, 4);
        if is_open && rng.random_ratio(1, 3) {
            tried = ProducerBatch { producer_id: id, ..marker(epoch, offset, rng.random(), 0) };
        }
        if state.check(&tried) == Ok(Verdict::Append) {
            state.update(&tried, 5);
            offset = tried.last_offset.0 + 1;
            appended.push(tried);
        }
    }
    appended
}

fn replay(mut state: ProducerState, batches: &[ProducerBatch]) -> ProducerState {
    for batch in batches {
        state.update(batch, 5);
    }
    state
}

#[test]
fn a_snapshot_and_a_replay_give_what_was_there() {
    for seed in 0..200 {
        let mut rng = StdRng::seed_from_u64(seed);
        let batches = history(&mut rng);
        let whole = replay(state(), &batches);
        let cut = rng.random_range(0..=batches.len());
        let before = replay(state(), &batches[..cut]);
        let loaded = ProducerState::decode_snapshot(
            &before.encode_snapshot(),
            before.end_offset(),
            5,
            ProducerLimits::default(),
        )
        .unwrap();
        assert_eq!(loaded.encode_snapshot(), before.encode_snapshot(), "seed {seed}");
        let rebuilt = replay(loaded, &batches[cut..]);
        assert_eq!(rebuilt.entries, whole.entries, "seed {seed}");
        assert_eq!(rebuilt.open_transactions.ongoing(), whole.open_transactions.ongoing(), "seed {seed}");
        assert_eq!(rebuilt.end_offset(), whole.end_offset(), "seed {seed}");
        // The same probes get the same verdicts.
        for _ in 0..100 {
            let probe = ProducerBatch {
                producer_id: ProducerId(rng.random_range(0..5)),
                is_transactional: rng.random(),
                ..batch(rng.random_range(0..6), rng.random_range(0..200), 10_000, rng.random_range(1..5))
            };
            assert_eq!(rebuilt.check(&probe), whole.check(&probe), "seed {seed}");
        }
    }
}

#[test]
fn what_a_state_knows_of_before_and_a_replay_give_what_was_there() {
    for seed in 0..200 {
        let mut rng = StdRng::seed_from_u64(seed);
        let batches = history(&mut rng);
        let cut = rng.random_range(1..batches.len());
        let later = rng.random_range(cut..=batches.len());
        let (before, whole) = (replay(state(), &batches[..cut]), replay(state(), &batches[..later]));
        let mut kept = replay(state(), &batches[..later]);
        kept.keep_before(before.end_offset());
        assert_eq!(kept.end_offset(), before.end_offset());
        for (id, entry) in kept.iter() {
            let was = before.get(id).unwrap();
            let same_epoch = entry.producer_epoch == was.producer_epoch;
            assert!(was.batches().ends_with(entry.batches()) || !same_epoch, "seed {seed}, {id:?}");
            let txn = entry.current_txn_first_offset;
            assert!(txn.is_none() || txn == was.current_txn_first_offset, "seed {seed}, {id:?}");
        }
        let rebuilt = replay(kept, &batches[cut..later]);
        let known = |state: &ProducerState| {
            let of = |(id, entry): (ProducerId, &ProducerEntry)| {
                // Of one that began before, whose first batches the later ones have pushed out, the first that is left counts.
                let txn = entry.current_txn_first_offset;
                let began = whole.get(id).and_then(|entry| entry.current_txn_first_offset);
                let txn = if began < Some(before.end_offset()) { txn.and(began) } else { txn };
                (id, (entry.producer_epoch, entry.batches().to_vec(), txn))
            };
            state.iter().map(of).collect::<std::collections::BTreeMap<_, _>>()
        };
        assert_eq!(known(&rebuilt), known(&whole), "seed {seed}");
    }
}
