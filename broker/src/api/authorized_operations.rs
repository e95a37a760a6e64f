//! The operations that a client may do (KIP-430), as bit fields: without an authorizer, all that the resource has.

/// Codes of ACL operations that a topic has: read, write, create, delete, alter, describe, describe and alter configs.
const TOPIC_OPERATIONS: [u32; 8] = [3, 4, 5, 6, 7, 8, 10, 11];
/// Those of the cluster: create, alter, describe, cluster action, describe and alter configs, idempotent write.
const CLUSTER_OPERATIONS: [u32; 7] = [5, 7, 8, 9, 10, 11, 12];

/// Those of a group: read, delete, describe, describe and alter configs.
const GROUP_OPERATIONS: [u32; 5] = [3, 6, 8, 10, 11];

/// Everything that may be done with a topic.
pub(super) const TOPIC: i32 = bits(&TOPIC_OPERATIONS);
/// Everything that may be done with the cluster.
pub(super) const CLUSTER: i32 = bits(&CLUSTER_OPERATIONS);

/// Everything that may be done with a group.
pub(super) const GROUP: i32 = bits(&GROUP_OPERATIONS);

/// The bits when they were asked for, else the value that says that they were not.
pub(super) fn or_unasked(bits: i32, asked: bool) -> i32 {
    if asked { bits } else { i32::MIN }
}

const fn bits(codes: &[u32]) -> i32 {
    let mut bits = 0;
    let mut index = 0;
    while index < codes.len() {
        bits |= 1 << codes[index];
        index += 1;
    }
    bits
}
