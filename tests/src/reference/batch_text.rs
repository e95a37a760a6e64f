//! Record batches of an answer as a tree: every header field by name, the records as far as they are not compressed.
//!
//! Independent of the codec under test. What cannot be read is shown as such instead of being left out.

use super::tree::Tree;

const HEADER_BYTES: usize = 61;
/// Bytes before the part that a batch's length counts.
const LENGTH_END: usize = 12;
/// Bytes before the part that the CRC covers.
const CRC_END: usize = 21;

/// The batches in `bytes`, the last of which may be cut off.
pub fn batches(mut bytes: &[u8]) -> Tree {
    let mut batches = Vec::new();
    while !bytes.is_empty() {
        let Some(length) = number(bytes, 8, 4).and_then(|length| usize::try_from(length).ok()) else {
            batches.push(cut_off(bytes));
            break;
        };
        let end = LENGTH_END + length;
        if bytes.len() < end || end < HEADER_BYTES {
            batches.push(cut_off(bytes));
            break;
        }
        batches.push(batch(&bytes[..end]));
        bytes = &bytes[end..];
    }
    Tree::List(batches)
}

fn cut_off(bytes: &[u8]) -> Tree {
    let offset = number(bytes, 0, 8).map_or("unknown".to_owned(), |offset| offset.to_string());
    let fields = [("base_offset", offset), ("cut_off_after_bytes", bytes.len().to_string())];
    Tree::Struct(fields.map(|(name, value)| (name.to_owned(), Tree::Plain(value))).to_vec())
}

fn number(bytes: &[u8], at: usize, width: usize) -> Option<i64> {
    let bytes = bytes.get(at..at + width)?;
    let sign = if bytes[0] & 0x80 == 0 { 0 } else { -1 };
    Some(bytes.iter().fold(sign, |value, &byte| value << 8 | i64::from(byte)))
}

fn batch(bytes: &[u8]) -> Tree {
    let field = |at, width| number(bytes, at, width).unwrap_or_default();
    let crc = if field(17, 4) as u32 == crc32c::crc32c(&bytes[CRC_END..]) { "valid" } else { "wrong" };
    let attributes = field(21, 2);
    let payload = &bytes[HEADER_BYTES..];
    let plain = |value: i64| Tree::Plain(value.to_string());
    let mut fields = vec![
        ("base_offset", plain(field(0, 8))),
        ("batch_length", plain(field(8, 4))),
        ("partition_leader_epoch", plain(field(12, 4))),
        ("magic", plain(field(16, 1))),
        ("crc", Tree::Plain(crc.to_owned())),
        ("attributes", plain(attributes)),
        ("last_offset_delta", plain(field(23, 4))),
        ("base_timestamp", plain(field(27, 8))),
        ("max_timestamp", plain(field(35, 8))),
        ("producer_id", plain(field(43, 8))),
        ("producer_epoch", plain(field(51, 2))),
        ("base_sequence", plain(field(53, 4))),
        ("record_count", plain(field(57, 4))),
        ("payload_crc", Tree::Plain(format!("{:08x}", crc32c::crc32c(payload)))),
    ];
    if attributes & 7 == 0 {
        fields.push(("payload", Tree::Text(payload.iter().map(|&byte| char::from(byte)).take(80).collect())));
    }
    Tree::Struct(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}
