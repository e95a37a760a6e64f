//! DescribeLogDirs (35): lists log directories with the partitions in them. Versions 1 to 5.
//!
//! By version: 1: throttled after the answer (KIP-219; the API is KIP-113) · 2: flexible (KIP-482) · 3: an error for
//! the whole answer (KIP-784) · 4: total and usable bytes (KIP-827) · 5: cordoned directories (KIP-1066).

use crate::message;

message! {
    /// A request that lists log directories with the partitions in them.
    request DescribeLogDirs DescribeLogDirsRequest => DescribeLogDirsResponse, flexible 2 {
        topics: Option<Vec<DescribableLogDirTopic>> = since(0).null(0);
    }

    /// Part of [`DescribeLogDirsRequest`].
    struct DescribableLogDirTopic {
        topic: String = since(0);
        partitions: Vec<i32> = since(0);
    }

    /// Answers [`DescribeLogDirsRequest`].
    message DescribeLogDirsResponse, flexible 2 {
        throttle_time_ms: i32 = since(0);
        error_code: i16 = since(3).ignorable();
        results: Vec<DescribeLogDirsResult> = since(0);
    }

    /// Part of [`DescribeLogDirsResponse`].
    struct DescribeLogDirsResult {
        error_code: i16 = since(0);
        log_dir: String = since(0);
        topics: Vec<DescribeLogDirsTopic> = since(0);
        total_bytes: i64 = since(4).ignorable(), default -1;
        usable_bytes: i64 = since(4).ignorable(), default -1;
        is_cordoned: bool = since(5).ignorable();
    }

    /// Part of [`DescribeLogDirsResponse`].
    struct DescribeLogDirsTopic {
        name: String = since(0);
        partitions: Vec<DescribeLogDirsPartition> = since(0);
    }

    /// Part of [`DescribeLogDirsResponse`].
    struct DescribeLogDirsPartition {
        partition_index: i32 = since(0);
        partition_size: i64 = since(0);
        offset_lag: i64 = since(0);
        is_future_key: bool = since(0);
    }
}
