//! WriteTxnMarkers (27): writes the end of a transaction into partitions. Versions 1 to 2.
//!
//! By version: 0: KIP-98, gone · 1: flexible (KIP-482) · 2: the transaction's version (KIP-1228).

use crate::message;

message! {
    /// A request that writes the end of a transaction into partitions.
    request WriteTxnMarkers WriteTxnMarkersRequest => WriteTxnMarkersResponse, flexible 1 {
        markers: Vec<WritableTxnMarker> = since(0);
    }

    /// Part of [`WriteTxnMarkersRequest`].
    struct WritableTxnMarker {
        producer_id: i64 = since(0);
        producer_epoch: i16 = since(0);
        transaction_result: bool = since(0);
        topics: Vec<WritableTxnMarkerTopic> = since(0);
        coordinator_epoch: i32 = since(0);
        transaction_version: i8 = since(2).ignorable();
    }

    /// Part of [`WriteTxnMarkersRequest`].
    struct WritableTxnMarkerTopic {
        name: String = since(0);
        partition_indexes: Vec<i32> = since(0);
    }

    /// Answers [`WriteTxnMarkersRequest`].
    message WriteTxnMarkersResponse, flexible 1 {
        markers: Vec<WritableTxnMarkerResult> = since(0);
    }

    /// Part of [`WriteTxnMarkersResponse`].
    struct WritableTxnMarkerResult {
        producer_id: i64 = since(0);
        topics: Vec<WritableTxnMarkerTopicResult> = since(0);
    }

    /// Part of [`WriteTxnMarkersResponse`].
    struct WritableTxnMarkerTopicResult {
        name: String = since(0);
        partitions: Vec<WritableTxnMarkerPartitionResult> = since(0);
    }

    /// Part of [`WriteTxnMarkersResponse`].
    struct WritableTxnMarkerPartitionResult {
        partition_index: i32 = since(0);
        error_code: i16 = since(0);
    }
}
