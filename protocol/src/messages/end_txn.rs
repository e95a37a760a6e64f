//! EndTxn (26): commits or aborts a transaction. Versions 0 to 5.
//!
//! By version: 0: KIP-98 · 1: throttled after the answer (KIP-219) · 2: PRODUCER_FENCED (KIP-588) · 3: flexible
//! (KIP-482) · 4: TRANSACTION_ABORTABLE · 5: every end bumps the epoch, which comes back (both KIP-890).

use crate::message;

message! {
    /// A request that commits or aborts a transaction.
    request EndTxn EndTxnRequest => EndTxnResponse, flexible 3 {
        transactional_id: String = since(0);
        producer_id: i64 = since(0);
        producer_epoch: i16 = since(0);
        committed: bool = since(0);
    }

    /// Answers [`EndTxnRequest`].
    message EndTxnResponse, flexible 3 {
        throttle_time_ms: i32 = since(0);
        error_code: i16 = since(0);
        producer_id: i64 = since(5).ignorable(), default -1;
        producer_epoch: i16 = since(5).ignorable(), default -1;
    }
}
