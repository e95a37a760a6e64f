//! An answer that may have to wait: for the disk, or for other members of a group.

use std::future::Future;
use std::pin::Pin;

/// An answer that is here or comes later.
pub(crate) enum Handled<T> {
    /// Here it is.
    Ready(T),
    /// It waits for the disk or for other members.
    Later(Pin<Box<dyn Future<Output = T> + Send>>),
}

impl<T: Send + 'static> Handled<T> {
    /// The same with another answer.
    pub(crate) fn map<U: Send + 'static>(self, change: impl FnOnce(T) -> U + Send + 'static) -> Handled<U> {
        match self {
            Self::Ready(answer) => Handled::Ready(change(answer)),
            Self::Later(future) => Handled::Later(Box::pin(async move { change(future.await) })),
        }
    }

    /// All of these, in their order, when the last is here.
    pub(crate) fn all(several: Vec<Self>) -> Handled<Vec<T>> {
        if several.iter().all(|one| matches!(one, Self::Ready(_))) {
            let ready = several.into_iter().filter_map(|one| match one {
                Self::Ready(answer) => Some(answer),
                Self::Later(_) => None,
            });
            return Handled::Ready(ready.collect());
        }
        Handled::Later(Box::pin(async move {
            let mut answers = Vec::with_capacity(several.len());
            for one in several {
                answers.push(match one {
                    Self::Ready(answer) => answer,
                    Self::Later(future) => future.await,
                });
            }
            answers
        }))
    }
}
