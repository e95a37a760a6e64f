//! InitProducerId (22): gives a producer its id and epoch. Versions 0 to 5.
//!
//! By version: 0: KIP-98 · 1: throttled after the answer (KIP-219) · 2: flexible (KIP-482) · 3: a producer can ask
//! for its next epoch (KIP-360) · 4: PRODUCER_FENCED (KIP-588) · 5: TRANSACTION_ABORTABLE (KIP-890). Version 6,
//! two-phase commit (KIP-939), is not stable in Kafka 4.3 and not here.

use crate::message;

message! {
    /// A request that gives a producer its id and epoch.
    request InitProducerId InitProducerIdRequest => InitProducerIdResponse, flexible 2 {
        transactional_id: Option<String> = since(0).null(0);
        transaction_timeout_ms: i32 = since(0);
        producer_id: i64 = since(3), default -1;
        producer_epoch: i16 = since(3), default -1;
        enable2_pc: bool = since(6);
        keep_prepared_txn: bool = since(6);
    }

    /// Answers [`InitProducerIdRequest`].
    message InitProducerIdResponse, flexible 2 {
        throttle_time_ms: i32 = since(0).ignorable();
        error_code: i16 = since(0);
        producer_id: i64 = since(0), default -1;
        producer_epoch: i16 = since(0);
        ongoing_txn_producer_id: i64 = since(6), default -1;
        ongoing_txn_producer_epoch: i16 = since(6), default -1;
    }
}
