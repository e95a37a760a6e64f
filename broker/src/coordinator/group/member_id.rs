//! Ids for new members: what the client calls itself, and something that nobody has had before.

use rand::RngExt;
use rand::rngs::StdRng;

/// How much of a client's name goes into the id, so that the id stays a string that records can hold.
const PREFIX_BYTES_MAX: usize = 1_024;

/// `PREFIX-UUID`, with the client id, or the instance id of a static member, in front.
pub(super) fn new_member_id(prefix: &str, random: &mut StdRng) -> String {
    let mut end = prefix.len().min(PREFIX_BYTES_MAX);
    while !prefix.is_char_boundary(end) {
        end -= 1;
    }
    let prefix = &prefix[..end];
    let bits: u128 = random.random();
    // Version 4, variant 1.
    let bits = (bits & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let digits = format!("{bits:032x}");
    format!("{prefix}-{}-{}-{}-{}-{}", &digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..])
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn an_id_is_the_clients_name_and_a_random_uuid() {
        let mut random = StdRng::seed_from_u64(1);
        let (first, second) = (new_member_id("rdkafka", &mut random), new_member_id("rdkafka", &mut random));
        assert_ne!(first, second);
        let uuid = first.strip_prefix("rdkafka-").unwrap();
        let lengths: Vec<usize> = uuid.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!((&uuid[14..15], "89ab".contains(&uuid[19..20])), ("4", true), "{uuid}");
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let id = new_member_id(&"ü".repeat(20_000), &mut StdRng::seed_from_u64(1));
        assert_eq!(id.len(), PREFIX_BYTES_MAX + 37);
    }
}
