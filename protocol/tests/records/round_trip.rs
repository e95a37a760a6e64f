//! Goal: what goes into a batch comes out of it. Method: random records through the builder, every codec, the deep check and
//! the iterator.

use bytes::Bytes;
use ottla_protocol::records::{
    BatchBuilder, BatchFields, BatchView, Compression, Header, OffsetDeltas, batches, batches_lenient,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use crate::{LIMIT, records, view};

/// What a record is made of.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) headers: Vec<(String, Option<Bytes>)>,
}

fn bytes(length_max: usize) -> impl Strategy<Value = Option<Bytes>> {
    option::of(vec(any::<u8>(), 0..length_max).prop_map(Bytes::from))
}

pub(crate) fn contents() -> impl Strategy<Value = Vec<Content>> {
    let headers = btree_map("[a-zß€]{0,6}", bytes(9), 0..4).prop_map(|headers| headers.into_iter().collect());
    let timestamp = prop_oneof![1_600_000_000_000..1_800_000_000_000_i64, -1..2_i64, 0..=i64::MAX / 2];
    let content = (timestamp, bytes(40), bytes(200), headers);
    vec(content.prop_map(|(timestamp, key, value, headers)| Content { timestamp, key, value, headers }), 1..60)
}

fn build(contents: &[Content], compression: Compression) -> Bytes {
    let mut builder = BatchBuilder::new();
    for content in contents {
        let header = |(key, value): &(String, Option<Bytes>)| Header { key: key.clone(), value: value.clone() };
        let headers: Vec<Header> = content.headers.iter().map(header).collect();
        let (key, value) = (content.key.as_deref(), content.value.as_deref());
        let bound = builder.size_in_bytes() + BatchBuilder::record_size_max(key, value, &headers);
        builder.append(content.timestamp, key, value, &headers);
        assert!(builder.size_in_bytes() <= bound, "the estimate is an upper bound");
    }
    let uncompressed = builder.size_in_bytes();
    let built = builder.build(&BatchFields { compression, ..BatchFields::default() }).expect("the default level");
    assert!(compression != Compression::None || built.len() == uncompressed);
    built
}

proptest! {
    #[test]
    fn what_goes_in_comes_out(contents in contents(), codec in 0..5_i16) {
        let codec = Compression::from_attributes(codec).expect("a codec");
        let batch = view(build(&contents, codec));
        batch.check_crc().expect("its own checksum");
        let mut shapes = Vec::new();
        let summary = batch.check_records(OffsetDeltas::Dense, LIMIT, |shape| shapes.push(shape)).expect("sound");
        let latest = contents.iter().map(|content| content.timestamp).max().expect("one at least");
        let first = contents.iter().position(|content| content.timestamp == latest);
        prop_assert_eq!(summary.max_timestamp, latest);
        prop_assert_eq!(batch.max_timestamp(), latest);
        prop_assert_eq!(Some(summary.offset_delta_of_max_timestamp as usize), first);
        let records = records(&batch);
        prop_assert_eq!(records.len(), contents.len());
        prop_assert_eq!(shapes.len(), contents.len());
        for (index, (record, content)) in records.iter().zip(&contents).enumerate() {
            prop_assert_eq!(record.offset, index as i64);
            prop_assert_eq!(record.timestamp, content.timestamp);
            prop_assert_eq!((&record.key, &record.value), (&content.key, &content.value));
            let headers: Vec<_> = record.headers.iter().map(|header| (header.key.clone(), header.value.clone())).collect();
            prop_assert_eq!(&headers, &content.headers);
            prop_assert_eq!(shapes[index].key_is_null, record.key.is_none());
            prop_assert_eq!(shapes[index].timestamp, record.timestamp);
        }
    }

    #[test]
    fn batches_follow_each_other_and_only_a_consumer_takes_a_cut_one(contents in contents(), cut in 1..100_usize) {
        let one = build(&contents, Compression::None);
        let two = [&one[..], &one[..]].concat();
        let whole = Bytes::from(two.clone());
        prop_assert_eq!(batches(whole.clone()).collect::<Result<Vec<BatchView>, _>>().expect("two").len(), 2);
        let cut_off = whole.slice(..two.len() - cut.min(one.len() - 1));
        prop_assert!(batches(cut_off.clone()).last().expect("one at least").is_err());
        prop_assert_eq!(batches_lenient(cut_off).collect::<Result<Vec<BatchView>, _>>().expect("no error").len(), 1);
    }
}

#[test]
fn keys_and_values_of_an_uncompressed_batch_are_not_copied() {
    let content = Content {
        timestamp: 1,
        key: Some(Bytes::from_static(b"key")),
        value: Some(Bytes::from_static(b"value")),
        headers: Vec::new(),
    };
    let bytes = build(&[content], Compression::None);
    let range = bytes.as_ptr_range();
    let record = &records(&view(bytes.clone()))[0];
    for field in [&record.key, &record.value] {
        assert!(range.contains(&field.as_ref().expect("it is there").as_ptr()));
    }
}
