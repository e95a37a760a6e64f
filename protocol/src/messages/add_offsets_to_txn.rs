//! AddOffsetsToTxn (25): adds a group's offsets to a transaction. Versions 0 to 4.
//!
//! By version: 0: KIP-98 · 1: throttled after the answer (KIP-219) · 2: PRODUCER_FENCED (KIP-588) · 3: flexible
//! (KIP-482) · 4: TRANSACTION_ABORTABLE (KIP-890).

use crate::message;

message! {
    /// A request that adds a group's offsets to a transaction.
    request AddOffsetsToTxn AddOffsetsToTxnRequest => AddOffsetsToTxnResponse, flexible 3 {
        transactional_id: String = since(0);
        producer_id: i64 = since(0);
        producer_epoch: i16 = since(0);
        group_id: String = since(0);
    }

    /// Answers [`AddOffsetsToTxnRequest`].
    message AddOffsetsToTxnResponse, flexible 3 {
        throttle_time_ms: i32 = since(0);
        error_code: i16 = since(0);
    }
}
