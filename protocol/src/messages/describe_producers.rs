//! DescribeProducers (61): lists the active producers of partitions. Version 0.
//!
//! By version: 0: KIP-664.

use crate::message;

message! {
    /// A request that lists the active producers of partitions.
    request DescribeProducers DescribeProducersRequest => DescribeProducersResponse, flexible 0 {
        topics: Vec<TopicRequest> = since(0);
    }

    /// Part of [`DescribeProducersRequest`].
    struct TopicRequest {
        name: String = since(0);
        partition_indexes: Vec<i32> = since(0);
    }

    /// Answers [`DescribeProducersRequest`].
    message DescribeProducersResponse, flexible 0 {
        throttle_time_ms: i32 = since(0);
        topics: Vec<TopicResponse> = since(0);
    }

    /// Part of [`DescribeProducersResponse`].
    struct TopicResponse {
        name: String = since(0);
        partitions: Vec<PartitionResponse> = since(0);
    }

    /// Part of [`DescribeProducersResponse`].
    struct PartitionResponse {
        partition_index: i32 = since(0);
        error_code: i16 = since(0);
        error_message: Option<String> = since(0).null(0);
        active_producers: Vec<ProducerState> = since(0);
    }

    /// Part of [`DescribeProducersResponse`].
    struct ProducerState {
        producer_id: i64 = since(0);
        producer_epoch: i32 = since(0);
        last_sequence: i32 = since(0), default -1;
        last_timestamp: i64 = since(0), default -1;
        coordinator_epoch: i32 = since(0);
        current_txn_start_offset: i64 = since(0), default -1;
    }
}
