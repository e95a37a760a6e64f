//! The rules of KIP-227, one test each, without any log: what a request changes and what an answer tells.

use super::*;

fn fetch(partition: i32) -> PartitionFetch {
    PartitionFetch {
        topic: TopicRef::Name("t".into()),
        partition,
        fetch_offset: 0,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        max_bytes: 1024,
    }
}

fn request(session_id: i32, epoch: i32, partitions: &[i32]) -> SessionRequest {
    SessionRequest {
        session_id,
        epoch,
        uses_topic_ids: false,
        partitions: partitions.iter().copied().map(fetch).collect(),
        forgotten: Vec::new(),
    }
}

fn quiet(high_watermark: i64) -> PartitionAnswer {
    PartitionAnswer { high_watermark, log_start_offset: 0, has_records: false, has_error: false, diverges: false }
}

fn full(high_watermark: i64) -> PartitionAnswer {
    PartitionAnswer { has_records: true, ..quiet(high_watermark) }
}

fn open(cache: &FetchSessionCache, partitions: &[i32], now_ms: i64) -> i32 {
    let context = cache.begin(request(0, INITIAL_EPOCH, partitions), now_ms).unwrap();
    let answers = vec![quiet(0); partitions.len()];
    cache.finish(context, &answers, now_ms).session_id
}

#[test]
fn a_sessionless_fetch_tells_everything_and_keeps_nothing() {
    let cache = FetchSessionCache::new(10);
    let context = cache.begin(request(0, FINAL_EPOCH, &[0, 1]), 0).unwrap();
    assert_eq!(
        cache.finish(context, &[quiet(0), quiet(0)], 0),
        SessionAnswer { session_id: 0, told: vec![true, true] }
    );
    assert_eq!(cache.len(), 0);
}

#[test]
fn an_incremental_fetch_tells_only_what_changed() {
    let cache = FetchSessionCache::new(10);
    let id = open(&cache, &[0, 1, 2], 0);
    let context = cache.begin(request(id, 1, &[]), 0).unwrap();
    assert_eq!(context.partitions.len(), 3);
    assert_eq!(cache.finish(context, &[quiet(0), quiet(7), quiet(0)], 0).told, vec![false, true, false]);
    let context = cache.begin(request(id, 2, &[]), 0).unwrap();
    assert_eq!(cache.finish(context, &[quiet(0), quiet(7), quiet(0)], 0).told, vec![false; 3]);
}

#[test]
fn partitions_that_got_records_are_served_last_next_time() {
    let cache = FetchSessionCache::new(10);
    let id = open(&cache, &[0, 1, 2], 0);
    let context = cache.begin(request(id, 1, &[]), 0).unwrap();
    cache.finish(context, &[full(1), quiet(0), quiet(0)], 0);
    let context = cache.begin(request(id, 2, &[]), 0).unwrap();
    let order: Vec<i32> = context.partitions.iter().map(|fetch| fetch.partition).collect();
    assert_eq!(order, [1, 2, 0]);
}

#[test]
fn an_error_is_told_every_time_and_so_is_its_end() {
    let cache = FetchSessionCache::new(10);
    let id = open(&cache, &[0], 0);
    let failed = PartitionAnswer { has_error: true, ..quiet(-1) };
    for epoch in 1..=2 {
        let context = cache.begin(request(id, epoch, &[]), 0).unwrap();
        assert_eq!(cache.finish(context, &[failed], 0).told, [true]);
    }
    let context = cache.begin(request(id, 3, &[]), 0).unwrap();
    assert_eq!(cache.finish(context, &[quiet(0)], 0).told, [true]);
}

#[test]
fn partitions_are_added_changed_and_forgotten() {
    let cache = FetchSessionCache::new(10);
    let id = open(&cache, &[0, 1], 0);
    let mut change = request(id, 1, &[2]);
    change.partitions.push(PartitionFetch { fetch_offset: 9, ..fetch(0) });
    change.forgotten = vec![(TopicRef::Name("t".into()), 1)];
    let context = cache.begin(change, 0).unwrap();
    let offsets: Vec<_> = context.partitions.iter().map(|fetch| (fetch.partition, fetch.fetch_offset)).collect();
    assert_eq!(offsets, [(0, 9), (2, 0)]);
}

#[test]
fn a_session_without_partitions_ends() {
    let cache = FetchSessionCache::new(10);
    let id = open(&cache, &[0], 0);
    let mut change = request(id, 1, &[]);
    change.forgotten = vec![(TopicRef::Name("t".into()), 0)];
    let context = cache.begin(change, 0).unwrap();
    assert_eq!(cache.finish(context, &[], 0).session_id, INVALID_SESSION_ID);
    assert_eq!(cache.begin(request(id, 2, &[]), 0).unwrap_err(), SessionError::IdNotFound);
}

#[test]
fn wrong_ids_epochs_and_names_are_refused() {
    let cache = FetchSessionCache::new(10);
    let id = open(&cache, &[0], 0);
    let unknown = if id == 1 { 2 } else { 1 };
    assert_eq!(cache.begin(request(unknown, 1, &[]), 0).unwrap_err(), SessionError::IdNotFound);
    assert_eq!(cache.begin(request(id, 2, &[]), 0).unwrap_err(), SessionError::InvalidEpoch);
    let by_id = SessionRequest { uses_topic_ids: true, ..request(id, 1, &[]) };
    assert_eq!(cache.begin(by_id, 0).unwrap_err(), SessionError::TopicIdMismatch);
    cache.begin(request(id, 1, &[]), 0).unwrap();
}

#[test]
fn the_cache_is_bounded_and_evicts_only_the_idle_or_smaller() {
    let cache = FetchSessionCache::new(2);
    let first = open(&cache, &[0], 0);
    open(&cache, &[0], 10);
    assert_eq!(open(&cache, &[0], 20), INVALID_SESSION_ID, "no session has been idle for long enough");
    cache.begin(request(first, 1, &[]), 119_000).unwrap();
    assert_ne!(open(&cache, &[0], 121_000), INVALID_SESSION_ID, "the second one is idle");
    assert_eq!(open(&cache, &[0], 122_000), INVALID_SESSION_ID);
    assert_ne!(open(&cache, &[0, 1], 122_000), INVALID_SESSION_ID, "a larger one replaces an old small one");
    assert_eq!(cache.len(), 2);
}

#[test]
fn epochs_wrap_to_one() {
    assert_eq!(next_epoch(i32::MAX), 1);
}
