//! Values at the edges of their ranges, and bytes that no honest peer sends.

use bytes::Bytes;

use super::writer::SPLICE_FROM_BYTES;
use super::*;

fn reader(bytes: &[u8]) -> Reader {
    Reader::new(Bytes::copy_from_slice(bytes))
}

#[test]
fn varints_make_the_round_trip_at_every_width() {
    for value in [0, 1, 0x7f, 0x80, 0x3fff, 0x4000, 0x1f_ffff, 0x20_0000, 0xfff_ffff, 0x1000_0000, u32::MAX] {
        let mut writer = Writer::new();
        writer.unsigned_varint(value);
        let bytes = writer.finish().into_bytes().unwrap();
        assert_eq!(reader(&bytes).unsigned_varint(), Ok(value));
    }
}

#[test]
fn a_varint_that_does_not_end_or_overflows_is_refused() {
    let overflow = Err(DecodeError::VarintOverflow { position: 0, bits: 32 });
    assert_eq!(reader(&[0x80, 0x80, 0x80, 0x80, 0x80, 0]).unsigned_varint(), overflow);
    assert_eq!(reader(&[0xff, 0xff, 0xff, 0xff, 0x1f]).unsigned_varint(), overflow);
    assert!(matches!(reader(&[0x80]).unsigned_varint(), Err(DecodeError::Truncated { .. })));
}

#[test]
fn lengths_are_held_against_the_bytes_left() {
    assert!(matches!(reader(&[0x7f, 0xff, 0xff, 0xff]).array_length(false), Err(DecodeError::Truncated { .. })));
    assert!(matches!(reader(&[0xff, 0xff, 0xff, 0xff, 0x0f]).array_length(true), Err(DecodeError::Truncated { .. })));
    assert_eq!(reader(&[0xff, 0xfe]).string(false), Err(DecodeError::BadLength { what: "a string", length: -2 }));
    assert_eq!(reader(&[0, 1, 0xff]).string(false), Err(DecodeError::NotUtf8 { position: 2 }));
}

#[test]
fn memory_is_charged_before_it_is_allocated() {
    let mut reader = Reader::with_budget(Bytes::from_static(&[0, 3, b'a', b'b', b'c']), 2);
    assert_eq!(reader.string(false), Err(DecodeError::OverBudget { budget: 2 }));
}

#[test]
fn tags_must_rise_and_fill_their_size() {
    assert_eq!(
        reader(&[2, 1, 0, 1, 0]).tagged_fields(|_, _| Ok(false)),
        Err(DecodeError::TagOrder { tag: 1, previous: 1 })
    );
    assert!(reader(&[2, 1, 1, 9, 4, 0]).tagged_fields(|_, _| Ok(false)).is_ok());
    assert!(reader(&[1, 1, 5, 0]).tagged_fields(|_, _| Ok(false)).is_err());
    assert_eq!(
        reader(&[1, 7, 2, 0, 0]).tagged_fields(|reader, _| reader.i8().map(|_| true)),
        Err(DecodeError::TagSize { tag: 7, left: 1 })
    );
    assert!(reader(&[0xff, 0xff, 0xff, 0xff, 0x0f]).tagged_fields(|_, _| Ok(false)).is_err());
}

#[test]
fn splices_stay_in_their_place() {
    let large = Bytes::from(vec![7; SPLICE_FROM_BYTES]);
    let mut writer = Writer::new();
    writer.begin_frame();
    writer.i8(1);
    writer.records(&large, true).unwrap();
    writer.i8(2);
    writer.external(5, 10, true).unwrap();
    let segments = writer.finish_frame().unwrap();
    let size = 1 + 2 + SPLICE_FROM_BYTES + 1 + 1 + 10;
    assert_eq!(segments.len(), size + 4);
    let head = [&(size as u32).to_be_bytes()[..], &[1, 0x81, 8]].concat();
    assert_eq!(
        segments.0,
        [
            Segment::Bytes(Bytes::from(head)),
            Segment::Bytes(large),
            Segment::Bytes(Bytes::from_static(&[2, 11])),
            Segment::External { id: 5, len: 10 }
        ]
    );
}

#[test]
fn a_tagged_field_is_as_long_as_it_says() {
    for length in [0, 1, 127, 128, 16_383, 16_384] {
        let content = Bytes::from(vec![9; length]);
        let mut writer = Writer::new();
        writer.i8(1);
        writer
            .tagged_field(3, |writer| {
                writer.raw(&content);
                Ok(())
            })
            .unwrap();
        let bytes = writer.finish().into_bytes().unwrap();
        let mut reader = reader(&bytes[1..]);
        assert_eq!(reader.unsigned_varint(), Ok(3));
        assert_eq!(reader.unsigned_varint(), Ok(length as u32));
        assert_eq!(reader.remaining(), length);
        assert_eq!(bytes[bytes.len() - length..], content);
    }
}
