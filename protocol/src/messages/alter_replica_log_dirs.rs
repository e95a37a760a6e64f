//! AlterReplicaLogDirs (34): moves replicas to other log directories. Versions 1 to 2.
//!
//! By version: 1: throttled after the answer (KIP-219; the API is KIP-113) · 2: flexible (KIP-482).

use crate::message;

message! {
    /// A request that moves replicas to other log directories.
    request AlterReplicaLogDirs AlterReplicaLogDirsRequest => AlterReplicaLogDirsResponse, flexible 2 {
        dirs: Vec<AlterReplicaLogDir> = since(0);
    }

    /// Part of [`AlterReplicaLogDirsRequest`].
    struct AlterReplicaLogDir {
        path: String = since(0);
        topics: Vec<AlterReplicaLogDirTopic> = since(0);
    }

    /// Part of [`AlterReplicaLogDirsRequest`].
    struct AlterReplicaLogDirTopic {
        name: String = since(0);
        partitions: Vec<i32> = since(0);
    }

    /// Answers [`AlterReplicaLogDirsRequest`].
    message AlterReplicaLogDirsResponse, flexible 2 {
        throttle_time_ms: i32 = since(0);
        results: Vec<AlterReplicaLogDirTopicResult> = since(0);
    }

    /// Part of [`AlterReplicaLogDirsResponse`].
    struct AlterReplicaLogDirTopicResult {
        topic_name: String = since(0);
        partitions: Vec<AlterReplicaLogDirPartitionResult> = since(0);
    }

    /// Part of [`AlterReplicaLogDirsResponse`].
    struct AlterReplicaLogDirPartitionResult {
        partition_index: i32 = since(0);
        error_code: i16 = since(0);
    }
}
