//! DescribeClientQuotas (48): lists quotas. Versions 0 to 1.
//!
//! By version: 0: KIP-546 · 1: flexible (KIP-482).

use crate::message;

message! {
    /// A request that lists quotas.
    request DescribeClientQuotas DescribeClientQuotasRequest => DescribeClientQuotasResponse, flexible 1 {
        components: Vec<ComponentData> = since(0);
        strict: bool = since(0);
    }

    /// Part of [`DescribeClientQuotasRequest`].
    struct ComponentData {
        entity_type: String = since(0);
        match_type: i8 = since(0);
        r#match: Option<String> = since(0).null(0);
    }

    /// Answers [`DescribeClientQuotasRequest`].
    message DescribeClientQuotasResponse, flexible 1 {
        throttle_time_ms: i32 = since(0);
        error_code: i16 = since(0);
        error_message: Option<String> = since(0).null(0);
        entries: Option<Vec<EntryData>> = since(0).null(0);
    }

    /// Part of [`DescribeClientQuotasResponse`].
    struct EntryData {
        entity: Vec<EntityData> = since(0);
        values: Vec<ValueData> = since(0);
    }

    /// Part of [`DescribeClientQuotasResponse`].
    struct EntityData {
        entity_type: String = since(0);
        entity_name: Option<String> = since(0).null(0);
    }

    /// Part of [`DescribeClientQuotasResponse`].
    struct ValueData {
        key: String = since(0);
        value: f64 = since(0);
    }
}
