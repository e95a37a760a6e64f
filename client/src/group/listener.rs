//! What a caller may do when partitions come and go.
//!
//! Owns the trait that callers implement and its form behind a pointer. When it is called, and with what, is
//! `handover.rs`'s.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::{SeekTo, TopicPartition};

/// Where to start in partitions that were assigned, instead of at their committed offsets.
pub type StartPositions = BTreeMap<TopicPartition, SeekTo>;

/// Told when the group's partitions change hands. Every method has a default that does nothing.
///
/// The calls come one at a time, from within a call for records ([`Consumer::recv`](crate::Consumer::recv) and its like)
/// and from `close` and `unsubscribe`, which go on once they are done; meanwhile heartbeats are sent, and no record is
/// handed out. They run in a task of their own, so that dropping the future of the call for records does not cut them
/// off. Methods take `&self`: what they change belongs behind a lock or a channel.
///
/// ```
/// use std::collections::BTreeMap;
/// use std::sync::Mutex;
/// use ottla_client::{RebalanceListener, SeekTo, StartPositions, TopicPartition};
///
/// /// Offsets that are stored with the results, and not in the group.
/// struct Checkpoints(Mutex<BTreeMap<TopicPartition, i64>>);
///
/// impl RebalanceListener for Checkpoints {
///     async fn assigned(&self, partitions: Vec<TopicPartition>) -> StartPositions {
///         let stored = self.0.lock().unwrap();
///         let start = |partition| Some((stored.get(&partition).map(|offset| SeekTo::Offset(*offset))?, partition));
///         partitions.into_iter().filter_map(start).map(|(start, partition)| (partition, start)).collect()
///     }
/// }
/// ```
pub trait RebalanceListener: Send + Sync + 'static {
    /// These partitions were added. Returns where to start in some of them; the others start at their committed offsets,
    /// or as `auto_offset_reset` says.
    fn assigned(&self, partitions: Vec<TopicPartition>) -> impl Future<Output = StartPositions> + Send {
        let _ = partitions;
        std::future::ready(StartPositions::new())
    }

    /// These partitions are about to go to others. Their offsets can still be committed, through a
    /// [`Committer`](crate::Committer).
    fn revoked(&self, partitions: Vec<TopicPartition>) -> impl Future<Output = ()> + Send {
        let _ = partitions;
        std::future::ready(())
    }

    /// These partitions are gone, and may be with others already: this member was away for too long. Nothing of them can be
    /// committed any more.
    fn lost(&self, partitions: Vec<TopicPartition>) -> impl Future<Output = ()> + Send {
        let _ = partitions;
        std::future::ready(())
    }
}

/// Nobody is told.
impl RebalanceListener for () {}

/// A listener that is shared with others.
impl<L: RebalanceListener> RebalanceListener for Arc<L> {
    fn assigned(&self, partitions: Vec<TopicPartition>) -> impl Future<Output = StartPositions> + Send {
        L::assigned(self, partitions)
    }

    fn revoked(&self, partitions: Vec<TopicPartition>) -> impl Future<Output = ()> + Send {
        L::revoked(self, partitions)
    }

    fn lost(&self, partitions: Vec<TopicPartition>) -> impl Future<Output = ()> + Send {
        L::lost(self, partitions)
    }
}

type Called<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A [`RebalanceListener`] of whatever type.
pub(crate) trait AnyListener: Send + Sync {
    fn assigned(&self, partitions: Vec<TopicPartition>) -> Called<'_, StartPositions>;
    fn revoked(&self, partitions: Vec<TopicPartition>) -> Called<'_, ()>;
    fn lost(&self, partitions: Vec<TopicPartition>) -> Called<'_, ()>;
}

impl<L: RebalanceListener> AnyListener for L {
    fn assigned(&self, partitions: Vec<TopicPartition>) -> Called<'_, StartPositions> {
        Box::pin(RebalanceListener::assigned(self, partitions))
    }

    fn revoked(&self, partitions: Vec<TopicPartition>) -> Called<'_, ()> {
        Box::pin(RebalanceListener::revoked(self, partitions))
    }

    fn lost(&self, partitions: Vec<TopicPartition>) -> Called<'_, ()> {
        Box::pin(RebalanceListener::lost(self, partitions))
    }
}
