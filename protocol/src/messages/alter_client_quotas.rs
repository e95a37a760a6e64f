//! AlterClientQuotas (49): changes quotas. Versions 0 to 1.
//!
//! By version: 0: KIP-546 · 1: flexible (KIP-482).

use crate::message;

message! {
    /// A request that changes quotas.
    request AlterClientQuotas AlterClientQuotasRequest => AlterClientQuotasResponse, flexible 1 {
        entries: Vec<EntryData> = since(0);
        validate_only: bool = since(0);
    }

    /// Part of [`AlterClientQuotasRequest`].
    struct EntryData {
        entity: Vec<EntityData> = since(0);
        ops: Vec<OpData> = since(0);
    }

    /// Part of [`AlterClientQuotasRequest`].
    struct EntityData {
        entity_type: String = since(0);
        entity_name: Option<String> = since(0).null(0);
    }

    /// Part of [`AlterClientQuotasRequest`].
    struct OpData {
        key: String = since(0);
        value: f64 = since(0);
        remove: bool = since(0);
    }

    /// Answers [`AlterClientQuotasRequest`].
    message AlterClientQuotasResponse, flexible 1 {
        throttle_time_ms: i32 = since(0);
        entries: Vec<EntryDataResponse> = since(0);
    }

    /// Part of [`AlterClientQuotasResponse`].
    struct EntryDataResponse {
        error_code: i16 = since(0);
        error_message: Option<String> = since(0).null(0);
        entity: Vec<EntityData> = since(0);
    }
}
