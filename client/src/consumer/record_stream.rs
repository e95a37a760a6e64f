//! Records as a [`Stream`].

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::Consumer;
use crate::{ConsumerRecord, Error};

type Waiting<'a> = Pin<Box<dyn Future<Output = (&'a mut Consumer, Result<ConsumerRecord, Error>)> + Send + 'a>>;

/// The records of a consumer, with errors in their places among them: got from [`Consumer::stream`]. It goes on after an
/// error, for ever, unless the error is the end of the membership in the group: then it ends.
pub struct RecordStream<'a>(State<'a>);

enum State<'a> {
    Idle(&'a mut Consumer),
    Waiting(Waiting<'a>),
    /// While the state changes.
    Between,
}

impl fmt::Debug for RecordStream<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RecordStream").finish_non_exhaustive()
    }
}

impl Consumer {
    /// The same as calling [`Consumer::recv`] again and again, until the membership in the group has ended and that was told.
    /// Dropping the stream loses nothing.
    pub fn stream(&mut self) -> RecordStream<'_> {
        RecordStream(State::Idle(self))
    }
}

impl Stream for RecordStream<'_> {
    type Item = Result<ConsumerRecord, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut waiting: Waiting<'_> = match std::mem::replace(&mut self.0, State::Between) {
            State::Idle(consumer) if consumer.is_end_told() => {
                self.0 = State::Idle(consumer);
                return Poll::Ready(None);
            }
            State::Idle(consumer) => Box::pin(async move {
                let record = consumer.recv().await;
                (consumer, record)
            }),
            State::Waiting(waiting) => waiting,
            State::Between => return Poll::Ready(None),
        };
        match waiting.as_mut().poll(context) {
            Poll::Ready((consumer, record)) => {
                self.0 = State::Idle(consumer);
                Poll::Ready(Some(record))
            }
            Poll::Pending => {
                self.0 = State::Waiting(waiting);
                Poll::Pending
            }
        }
    }
}
