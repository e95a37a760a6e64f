//! DescribeTransactions (65): describes transactions. Version 0.
//!
//! By version: 0: KIP-664.

use crate::message;

message! {
    /// A request that describes transactions.
    request DescribeTransactions DescribeTransactionsRequest => DescribeTransactionsResponse, flexible 0 {
        transactional_ids: Vec<String> = since(0);
    }

    /// Answers [`DescribeTransactionsRequest`].
    message DescribeTransactionsResponse, flexible 0 {
        throttle_time_ms: i32 = since(0);
        transaction_states: Vec<TransactionState> = since(0);
    }

    /// Part of [`DescribeTransactionsResponse`].
    struct TransactionState {
        error_code: i16 = since(0);
        transactional_id: String = since(0);
        transaction_state: String = since(0);
        transaction_timeout_ms: i32 = since(0);
        transaction_start_time_ms: i64 = since(0);
        producer_id: i64 = since(0);
        producer_epoch: i16 = since(0);
        topics: Vec<TopicData> = since(0);
    }

    /// Part of [`DescribeTransactionsResponse`].
    struct TopicData {
        topic: String = since(0);
        partitions: Vec<i32> = since(0);
    }
}
