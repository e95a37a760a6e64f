//! Who waits for the answer to a JoinGroup or SyncGroup, by token.
//!
//! Owns the pairing of tokens with waiting requests. Invariant: a token is answered at most once; whoever's connection went
//! is forgotten when the answer comes.

use std::collections::HashMap;

use tokio::sync::oneshot;

use super::group::{Token, WaitingAnswer};
use crate::types::Offset;

/// An answer on its way.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) answer: WaitingAnswer,
    /// What has to be on disk before it may go out.
    pub(super) durable_to: Option<Offset>,
}

/// The requests of one shard that wait for others.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    next: u64,
    waiting: HashMap<Token, oneshot::Sender<Delivery>>,
}

impl Waiters {
    /// A token, and where its answer will come.
    pub(super) fn enter(&mut self) -> (Token, oneshot::Receiver<Delivery>) {
        let token = Token(self.next);
        self.next += 1;
        let (sender, receiver) = oneshot::channel();
        self.waiting.insert(token, sender);
        (token, receiver)
    }

    /// Sends answers to those who wait for them.
    pub(super) fn deliver(&mut self, answers: Vec<(Token, WaitingAnswer)>, durable_to: Option<Offset>) {
        for (token, answer) in answers {
            let sender = self.waiting.remove(&token);
            assert!(sender.is_some(), "{token:?} is answered twice");
            if let Some(sender) = sender {
                // An error: the connection went while it waited.
                let _gone = sender.send(Delivery { answer, durable_to });
            }
        }
    }
}
