//! DeleteRecords (21): moves the start of logs. Versions 0 to 2.
//!
//! By version: 0: KIP-107 · 1: throttled after the answer (KIP-219) · 2: flexible (KIP-482).

use crate::message;

message! {
    /// A request that moves the start of logs.
    request DeleteRecords DeleteRecordsRequest => DeleteRecordsResponse, flexible 2 {
        topics: Vec<DeleteRecordsTopic> = since(0);
        timeout_ms: i32 = since(0);
    }

    /// Part of [`DeleteRecordsRequest`].
    struct DeleteRecordsTopic {
        name: String = since(0);
        partitions: Vec<DeleteRecordsPartition> = since(0);
    }

    /// Part of [`DeleteRecordsRequest`].
    struct DeleteRecordsPartition {
        partition_index: i32 = since(0);
        offset: i64 = since(0);
    }

    /// Answers [`DeleteRecordsRequest`].
    message DeleteRecordsResponse, flexible 2 {
        throttle_time_ms: i32 = since(0);
        topics: Vec<DeleteRecordsTopicResult> = since(0);
    }

    /// Part of [`DeleteRecordsResponse`].
    struct DeleteRecordsTopicResult {
        name: String = since(0);
        partitions: Vec<DeleteRecordsPartitionResult> = since(0);
    }

    /// Part of [`DeleteRecordsResponse`].
    struct DeleteRecordsPartitionResult {
        partition_index: i32 = since(0);
        low_watermark: i64 = since(0);
        error_code: i16 = since(0);
    }
}
