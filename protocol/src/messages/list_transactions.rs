//! ListTransactions (66): lists the transactions of a coordinator. Versions 0 to 2.
//!
//! By version: 0: KIP-664 · 1: those that run longer than a duration (KIP-994) · 2: by a pattern of transactional ids
//! (KIP-1152).

use crate::message;

message! {
    /// A request that lists the transactions of a coordinator.
    request ListTransactions ListTransactionsRequest => ListTransactionsResponse, flexible 0 {
        state_filters: Vec<String> = since(0);
        producer_id_filters: Vec<i64> = since(0);
        duration_filter: i64 = since(1), default -1;
        transactional_id_pattern: Option<String> = since(2).null(2);
    }

    /// Answers [`ListTransactionsRequest`].
    message ListTransactionsResponse, flexible 0 {
        throttle_time_ms: i32 = since(0);
        error_code: i16 = since(0);
        unknown_state_filters: Vec<String> = since(0);
        transaction_states: Vec<TransactionState> = since(0);
    }

    /// Part of [`ListTransactionsResponse`].
    struct TransactionState {
        transactional_id: String = since(0);
        producer_id: i64 = since(0);
        transaction_state: String = since(0);
    }
}
