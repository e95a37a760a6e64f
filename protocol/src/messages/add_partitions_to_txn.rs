//! AddPartitionsToTxn (24): adds partitions to a transaction. Versions 0 to 5.
//!
//! By version: 0: KIP-98 · 1: throttled after the answer (KIP-219) · 2: PRODUCER_FENCED (KIP-588) · 3: flexible
//! (KIP-482) · 4: several transactions at once, for brokers · 5: TRANSACTION_ABORTABLE (both KIP-890).

use crate::message;

message! {
    /// A request that adds partitions to a transaction.
    request AddPartitionsToTxn AddPartitionsToTxnRequest => AddPartitionsToTxnResponse, flexible 3 {
        transactions: Vec<AddPartitionsToTxnTransaction> = since(4);
        v3_and_below_transactional_id: String = since(0).until(3);
        v3_and_below_producer_id: i64 = since(0).until(3);
        v3_and_below_producer_epoch: i16 = since(0).until(3);
        v3_and_below_topics: Vec<AddPartitionsToTxnTopic> = since(0).until(3);
    }

    /// Part of [`AddPartitionsToTxnRequest`].
    struct AddPartitionsToTxnTopic {
        name: String = since(0);
        partitions: Vec<i32> = since(0);
    }

    /// Part of [`AddPartitionsToTxnRequest`].
    struct AddPartitionsToTxnTransaction {
        transactional_id: String = since(4);
        producer_id: i64 = since(4);
        producer_epoch: i16 = since(4);
        verify_only: bool = since(4);
        topics: Vec<AddPartitionsToTxnTopic> = since(4);
    }

    /// Answers [`AddPartitionsToTxnRequest`].
    message AddPartitionsToTxnResponse, flexible 3 {
        throttle_time_ms: i32 = since(0);
        error_code: i16 = since(4).ignorable();
        results_by_transaction: Vec<AddPartitionsToTxnResult> = since(4);
        results_by_topic_v3_and_below: Vec<AddPartitionsToTxnTopicResult> = since(0).until(3);
    }

    /// Part of [`AddPartitionsToTxnResponse`].
    struct AddPartitionsToTxnTopicResult {
        name: String = since(0);
        results_by_partition: Vec<AddPartitionsToTxnPartitionResult> = since(0);
    }

    /// Part of [`AddPartitionsToTxnResponse`].
    struct AddPartitionsToTxnPartitionResult {
        partition_index: i32 = since(0);
        partition_error_code: i16 = since(0);
    }

    /// Part of [`AddPartitionsToTxnResponse`].
    struct AddPartitionsToTxnResult {
        transactional_id: String = since(4);
        topic_results: Vec<AddPartitionsToTxnTopicResult> = since(4);
    }
}
