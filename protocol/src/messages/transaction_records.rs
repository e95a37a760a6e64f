//! Records of transactions: the coordinator's log, `__transaction_state`, and the markers that end a transaction in each
//! partition, as Kafka writes them.
//!
//! Two bytes of record type (keys) or of version (values) precede each.

use crate::message;

message! {
    /// Key of [`TransactionLogValue`]: record type 0. Version 0.
    message TransactionLogKey, flexible never {
        transactional_id: String = since(0);
    }

    /// A transactional id: its producer, state and partitions. 1: flexible, the epoch is bumped at every end
    /// (KIP-890). Versions 0 to 1.
    message TransactionLogValue, flexible 1 {
        producer_id: i64 = since(0);
        producer_epoch: i16 = since(0);
        transaction_timeout_ms: i32 = since(0);
        transaction_status: i8 = since(0);
        transaction_partitions: Option<Vec<PartitionsSchema>> = since(0).null(0);
        transaction_last_update_timestamp_ms: i64 = since(0);
        transaction_start_timestamp_ms: i64 = since(0);
        previous_producer_id: i64 = since(1).tag(0), default -1;
        next_producer_id: i64 = since(1).tag(1), default -1;
        client_transaction_version: i16 = since(1).tag(2);
        next_producer_epoch: i16 = since(1).tag(3), default -1;
    }

    /// Part of [`TransactionLogValue`].
    struct PartitionsSchema {
        topic: String = since(0);
        partition_ids: Vec<i32> = since(0);
    }

    /// Key of a control record: 0 aborts, 1 commits. Version 0.
    message ControlRecordTypeSchema, flexible never {
        r#type: i16 = since(0);
    }

    /// Value of the control record that ends a transaction. Version 0.
    message EndTxnMarker, flexible never {
        coordinator_epoch: i32 = since(0);
    }
}
