//! Memory under a bound: a permit is taken before a buffer grows and comes back when the buffer goes.
//!
//! Owns the account, not the memory. Invariant: the permits that [`MemoryPool::try_take`] and [`MemoryPool::take`] gave
//! never sum up to more than the limit.
//!
//! Deadlock (everybody holds half a request and waits for the other half) is ruled out by three rules of the callers:
//! what is taken ahead of the bytes that it is for leaves half of the pool free, what large requests take leaves a quarter
//! free for the small ones, and whoever waits too long is closed and gives back what it holds.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// How full the pool may be after something was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    /// For what would be nice to have.
    Half,
    /// For large requests.
    ThreeQuarters,
    /// For small requests.
    Whole,
}

/// A bounded number of bytes.
#[derive(Debug)]
pub(super) struct MemoryPool {
    limit: usize,
    used: AtomicUsize,
    waiters: AtomicUsize,
    freed: Notify,
}

/// Bytes taken from a pool; they go back when this is dropped.
#[derive(Debug)]
pub(super) struct MemoryPermit {
    pool: Arc<MemoryPool>,
    bytes: usize,
}

impl MemoryPool {
    /// A pool of `limit` bytes.
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(MemoryPool { limit, used: AtomicUsize::new(0), waiters: AtomicUsize::new(0), freed: Notify::new() })
    }

    /// Bytes that may be in use when `share` of the pool is.
    pub(super) fn ceiling(&self, share: Share) -> usize {
        match share {
            Share::Half => self.limit / 2,
            Share::ThreeQuarters => self.limit / 4 * 3,
            Share::Whole => self.limit,
        }
    }

    /// Bytes in use.
    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::SeqCst)
    }

    /// Takes bytes if they are there.
    pub(super) fn try_take(self: &Arc<Self>, bytes: usize, share: Share) -> Option<MemoryPermit> {
        self.reserve(bytes, share).then(|| MemoryPermit { pool: Arc::clone(self), bytes })
    }

    /// Takes bytes as soon as they are there; the caller bounds the wait.
    pub(super) fn take(self: &Arc<Self>, bytes: usize, share: Share) -> impl Future<Output = MemoryPermit> + use<> {
        let pool = Arc::clone(self);
        async move {
            // Counted before the first try, so that whoever frees memory after it wakes us.
            let _waiting = Waiting::new(&pool.waiters);
            loop {
                let mut freed = pin!(pool.freed.notified());
                freed.as_mut().enable();
                if let Some(permit) = pool.try_take(bytes, share) {
                    return permit;
                }
                freed.await;
            }
        }
    }

    /// A permit for memory that is in use already, even beyond the limit.
    pub(super) fn account(self: &Arc<Self>, bytes: usize) -> MemoryPermit {
        self.used.fetch_add(bytes, Ordering::SeqCst);
        MemoryPermit { pool: Arc::clone(self), bytes }
    }

    fn reserve(&self, bytes: usize, share: Share) -> bool {
        let ceiling = self.ceiling(share);
        let more = |used: usize| used.checked_add(bytes).filter(|&sum| sum <= ceiling);
        self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok()
    }

    fn release(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::SeqCst);
        if self.waiters.load(Ordering::SeqCst) > 0 {
            self.freed.notify_waiters();
        }
    }
}

impl MemoryPermit {
    /// Bytes that it stands for.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes more bytes from the same pool if they are there.
    pub(super) fn try_grow(&mut self, more: usize, share: Share) -> bool {
        let grown = self.pool.reserve(more, share);
        if grown {
            self.bytes += more;
        }
        grown
    }

    /// Joins another permit of the same pool to this one.
    pub(super) fn merge(&mut self, mut other: MemoryPermit) {
        debug_assert!(Arc::ptr_eq(&self.pool, &other.pool), "permits of two pools");
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Parts `bytes` from it, at most all that it has.
    pub(super) fn split(&mut self, bytes: usize) -> MemoryPermit {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        MemoryPermit { pool: Arc::clone(&self.pool), bytes }
    }

    /// Makes it stand for `bytes` that are in use already, even beyond the limit.
    pub(super) fn account_for(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.pool.used.fetch_add(bytes - self.bytes, Ordering::SeqCst);
        } else {
            self.pool.release(self.bytes - bytes);
        }
        self.bytes = bytes;
    }
}

impl Drop for MemoryPermit {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.pool.release(self.bytes);
        }
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(waiters: &'a AtomicUsize) -> Self {
        waiters.fetch_add(1, Ordering::SeqCst);
        Waiting(waiters)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_share_leaves_room_for_the_next() {
        let pool = MemoryPool::new(400);
        let ahead = pool.try_take(200, Share::Half).expect("half is free");
        assert!(pool.try_take(1, Share::Half).is_none());
        let large = pool.try_take(100, Share::ThreeQuarters).expect("a quarter more is free");
        assert!(pool.try_take(1, Share::ThreeQuarters).is_none());
        let small = pool.try_take(100, Share::Whole).expect("the last quarter is free");
        assert!(pool.try_take(1, Share::Whole).is_none());
        drop((ahead, large, small));
        assert_eq!(pool.used(), 0);
    }

    #[test]
    fn split_merge_and_grow_keep_the_sum() {
        let pool = MemoryPool::new(100);
        let mut permit = pool.try_take(60, Share::Whole).expect("free");
        let part = permit.split(20);
        assert_eq!((permit.bytes(), part.bytes(), pool.used()), (40, 20, 60));
        assert!(permit.try_grow(40, Share::Whole) && !permit.try_grow(1, Share::Whole));
        permit.merge(part);
        assert_eq!((permit.bytes(), pool.used()), (100, 100));
        permit.account_for(130);
        assert_eq!(pool.used(), 130);
        permit.account_for(5);
        assert_eq!(pool.used(), 5);
        drop(permit);
        assert_eq!(pool.used(), 0);
    }

    #[tokio::test]
    async fn a_waiter_gets_what_is_freed_and_a_dropped_one_leaves_nothing() {
        let pool = MemoryPool::new(100);
        let held = pool.try_take(80, Share::Whole).expect("free");
        let waiting = tokio::spawn(pool.take(50, Share::Whole));
        let gone = tokio::spawn(pool.take(50, Share::Whole));
        while pool.waiters.load(Ordering::SeqCst) < 2 {
            tokio::task::yield_now().await;
        }
        gone.abort();
        assert!(gone.await.is_err_and(|error| error.is_cancelled()));
        drop(held);
        let permit = waiting.await.expect("the waiter ends");
        assert_eq!((permit.bytes(), pool.used(), pool.waiters.load(Ordering::SeqCst)), (50, 50, 0));
    }
}
