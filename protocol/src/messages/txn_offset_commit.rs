//! TxnOffsetCommit (28): records how far a group has read, as part of a transaction. Versions 0 to 5.
//!
//! By version: 0: KIP-98 · 1: throttled after the answer (KIP-219) · 2: leader epochs (KIP-320) · 3: flexible
//! (KIP-482), the member is checked (KIP-447) · 4: TRANSACTION_ABORTABLE · 5: the group joins the transaction by it
//! (both KIP-890).

use crate::message;

message! {
    /// A request that records how far a group has read, as part of a transaction.
    request TxnOffsetCommit TxnOffsetCommitRequest => TxnOffsetCommitResponse, flexible 3 {
        transactional_id: String = since(0);
        group_id: String = since(0);
        producer_id: i64 = since(0);
        producer_epoch: i16 = since(0);
        generation_id: i32 = since(3), default -1;
        member_id: String = since(3);
        group_instance_id: Option<String> = since(3).null(3);
        topics: Vec<TxnOffsetCommitRequestTopic> = since(0);
    }

    /// Part of [`TxnOffsetCommitRequest`].
    struct TxnOffsetCommitRequestTopic {
        name: String = since(0);
        partitions: Vec<TxnOffsetCommitRequestPartition> = since(0);
    }

    /// Part of [`TxnOffsetCommitRequest`].
    struct TxnOffsetCommitRequestPartition {
        partition_index: i32 = since(0);
        committed_offset: i64 = since(0);
        committed_leader_epoch: i32 = since(2).ignorable(), default -1;
        committed_metadata: Option<String> = since(0).null(0);
    }

    /// Answers [`TxnOffsetCommitRequest`].
    message TxnOffsetCommitResponse, flexible 3 {
        throttle_time_ms: i32 = since(0);
        topics: Vec<TxnOffsetCommitResponseTopic> = since(0);
    }

    /// Part of [`TxnOffsetCommitResponse`].
    struct TxnOffsetCommitResponseTopic {
        name: String = since(0);
        partitions: Vec<TxnOffsetCommitResponsePartition> = since(0);
    }

    /// Part of [`TxnOffsetCommitResponse`].
    struct TxnOffsetCommitResponsePartition {
        partition_index: i32 = since(0);
        error_code: i16 = since(0);
    }
}
