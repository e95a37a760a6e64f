//! The producer's id and epoch, by which a broker knows a repetition.
//!
//! Owns the asking for an id (one question at a time, with a back-off) and the moving on to the next epoch, which an
//! idempotent producer without transactions does by itself (KIP-360). Invariant: an identity that was given up is never
//! handed out again.

use ottla_protocol::ApiKey;
use ottla_protocol::messages::init_producer_id::InitProducerIdRequest;

use crate::Error;
use crate::clock::{Backoff, Instant};
use crate::cluster::Cluster;
use crate::outbox::Identity;

#[derive(Debug)]
pub(crate) struct ProducerIdentity {
    identity: Option<Identity>,
    asking: bool,
    ask_at: Option<Instant>,
    backoff: Backoff,
}

/// What to do to get an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Identification {
    Known(Identity),
    /// Ask the broker, and hand the answer to [`ProducerIdentity::answered`].
    Ask,
    /// It is being asked for, or will be at this time.
    Wait(Option<Instant>),
}

impl ProducerIdentity {
    pub(crate) fn new(backoff: Backoff) -> Self {
        ProducerIdentity { identity: None, asking: false, ask_at: None, backoff }
    }

    /// An identity other than `spent`: the present one if it has moved on, else one under the next epoch.
    pub(crate) fn other_than(&mut self, spent: Option<Identity>, now: Instant) -> Identification {
        match self.identity {
            Some(identity) if Some(identity) != spent => return Identification::Known(identity),
            Some(identity) if identity.epoch < i16::MAX => {
                let next = Identity { epoch: identity.epoch + 1, ..identity };
                self.identity = Some(next);
                return Identification::Known(next);
            }
            // The epochs of this id are used up.
            _ => self.identity = None,
        }
        if self.asking {
            return Identification::Wait(None);
        }
        if let Some(ask_at) = self.ask_at.filter(|ask_at| *ask_at > now) {
            return Identification::Wait(Some(ask_at));
        }
        self.asking = true;
        Identification::Ask
    }

    /// Takes in the broker's answer.
    ///
    /// # Errors
    /// A refusal that asking again will not change.
    pub(crate) fn answered(&mut self, answer: Result<Identity, Error>, now: Instant) -> Result<(), Error> {
        self.asking = false;
        match answer {
            Ok(identity) => {
                self.backoff.reset();
                self.identity = Some(identity);
                Ok(())
            }
            Err(error) if error.is_retriable() => {
                tracing::warn!(%error, "no producer id yet");
                self.ask_at = Some(now + self.backoff.next());
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

/// Asks any broker for a producer id.
pub(crate) async fn init_producer_id(cluster: &Cluster) -> Result<Identity, Error> {
    let request = InitProducerIdRequest { transaction_timeout_ms: i32::MAX, ..Default::default() };
    let connection = cluster.any_connection().await?;
    let response = connection.request(&request, cluster.config().request_timeout).await?;
    match response.error_code {
        0 => Ok(Identity { producer_id: response.producer_id, epoch: response.producer_epoch }),
        code => Err(Error::broker(ApiKey::InitProducerId, code, connection.address(), "", None)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock;

    fn identity() -> ProducerIdentity {
        ProducerIdentity::new(Backoff::new(Duration::from_millis(100), Duration::from_secs(1)))
    }

    #[test]
    fn an_identity_is_asked_for_once_and_then_moves_on_by_itself() {
        let now = clock::now();
        let mut producer = identity();
        assert_eq!(producer.other_than(None, now), Identification::Ask);
        assert_eq!(producer.other_than(None, now), Identification::Wait(None));
        let first = Identity { producer_id: 7, epoch: 0 };
        producer.answered(Ok(first), now).unwrap();
        assert_eq!(producer.other_than(None, now), Identification::Known(first));
        let second = Identity { producer_id: 7, epoch: 1 };
        assert_eq!(producer.other_than(Some(first), now), Identification::Known(second));
        assert_eq!(producer.other_than(Some(first), now), Identification::Known(second), "others follow");
    }

    #[test]
    fn the_last_epoch_is_followed_by_another_id() {
        let now = clock::now();
        let mut producer = identity();
        assert_eq!(producer.other_than(None, now), Identification::Ask);
        let last = Identity { producer_id: 7, epoch: i16::MAX };
        producer.answered(Ok(last), now).unwrap();
        assert_eq!(producer.other_than(Some(last), now), Identification::Ask);
    }

    #[test]
    fn a_failure_that_may_pass_is_waited_out_and_a_refusal_is_final() {
        let now = clock::now();
        let mut producer = identity();
        producer.other_than(None, now);
        let lost = Error::Disconnected { address: "b:1".into(), reason: "reset".into() };
        producer.answered(Err(lost), now).unwrap();
        let Identification::Wait(Some(ask_at)) = producer.other_than(None, now) else { panic!("too soon") };
        assert_eq!(producer.other_than(None, ask_at), Identification::Ask);
        let refused = Error::broker(ApiKey::InitProducerId, 31, &"b:1".into(), "", None);
        producer.answered(Err(refused), now).unwrap_err();
    }
}
