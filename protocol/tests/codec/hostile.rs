//! Goal: no bytes make the decoder panic, take a wrong message for a right one, or allocate more than its share. Method:
//! valid random messages of every type at every version are cut, given wrong lengths, nulls and tags, and flipped bits; and
//! bytes at random.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::AnyRequest;
use ottla_protocol::wire::{DecodeError, Reader};

use crate::Subject;
use crate::allocations::peak_of;
use crate::generate::{Kind, Random, Sample, encoded_length, message, varint};

/// A message to be broken, and what it takes to decode it whole.
struct Victim {
    subject: Subject,
    sample: Sample,
    /// Peak memory in bytes.
    honest: usize,
}

impl Victim {
    /// Decodes what must be refused. The part ahead of the break is sound and costs what it costs, at most twice that of the
    /// whole message, as arrays grow in steps where fewer bytes follow; the break may add four times the frame.
    fn refuse(&self, bytes: Vec<u8>, why: &str) {
        let (subject, frame) = (self.subject, Bytes::from(bytes));
        let (result, peak) = peak_of(|| subject.decode(frame.clone()));
        if let Ok((decoded, left)) = result {
            panic!("{subject:?} with {why} is taken for {decoded:#?} with {left} bytes left: {frame:?}");
        }
        let allowance = 2 * self.honest + 4 * frame.len() + 1024;
        assert!(peak <= allowance, "{subject:?} with {why}: {peak} bytes allocated, {allowance} allowed: {frame:?}");
    }
}

/// Random messages of every subject, from a sequence of their own.
fn victims(random: &mut Random, per_subject: usize) -> impl Iterator<Item = Victim> + use<> {
    let mut random = Random::new(random.next());
    Subject::all().flat_map(move |subject| std::iter::repeat_n(subject, per_subject)).map(move |subject| {
        let sample = message(&mut random, subject.shape(), subject.form());
        let frame = Bytes::from(sample.bytes.clone());
        let (whole, honest) = peak_of(|| subject.decode(frame));
        assert!(matches!(whole, Ok((_, 0))), "{subject:?}: {whole:?}");
        Victim { subject, sample, honest }
    })
}

#[test]
fn a_message_cut_anywhere_is_refused() {
    let mut random = Random::from_environment("cut");
    for victim in victims(&mut random, 2) {
        let sample = &victim.sample;
        for end in 0..sample.bytes.len() {
            victim.refuse(sample.bytes[..end].to_vec(), "its end cut off");
        }
    }
}

#[test]
fn a_length_past_the_end_is_refused() {
    let mut random = Random::from_environment("lengths");
    for victim in victims(&mut random, 4) {
        let (subject, sample) = (victim.subject, &victim.sample);
        let flexible = subject.form().flexible;
        for &mark in sample.marks.iter().filter(|mark| mark.kind != Kind::Presence) {
            let past_end = (sample.bytes.len() - mark.start) as i64;
            let largest = match mark.kind {
                _ if flexible => i64::from(u32::MAX) - 1,
                Kind::String => i64::from(i16::MAX),
                _ => i64::from(i32::MAX),
            };
            for length in [past_end, largest] {
                let replacement = encoded_length(mark.kind, Some(length), flexible);
                victim.refuse(sample.with(mark, &replacement), "a length past its end");
                // Cut behind the length: the shortest frame that can ask for so much.
                let shortest = [&sample.bytes[..mark.start], &replacement].concat();
                victim.refuse(shortest, "a length and nothing behind it");
            }
            if flexible {
                for overflow in [&[0x80, 0x80, 0x80, 0x80, 0x80, 0][..], &[0xff, 0xff, 0xff, 0xff, 0x1f]] {
                    victim.refuse(sample.with(mark, overflow), "a length that overflows");
                }
            } else {
                victim.refuse(sample.with(mark, &encoded_length(mark.kind, Some(-2), false)), "the length -2");
            }
        }
    }
}

#[test]
fn null_is_refused_where_the_schema_has_none() {
    let mut random = Random::from_environment("null");
    let mut tried = 0;
    for victim in victims(&mut random, 4) {
        let (subject, sample) = (victim.subject, &victim.sample);
        for &mark in sample.marks.iter().filter(|mark| !mark.nullable) {
            let null = encoded_length(mark.kind, None, subject.form().flexible);
            victim.refuse(sample.with(mark, &null), "null");
            tried += 1;
        }
    }
    assert!(tried > 1_000, "only {tried} places were tried");
}

#[test]
fn tagged_fields_must_ascend_and_fit_and_unknown_ones_are_skipped() {
    let mut random = Random::from_environment("tags");
    // Beyond every tag that Kafka has assigned.
    let (low, high) = (varint(1_000), varint(1_001));
    let tag = |tag: &[u8], size: u32, content: &[u8]| [tag, &varint(size), content].concat();
    for victim in victims(&mut random, 4) {
        let (subject, sample) = (victim.subject, &victim.sample);
        let Some(tagged_from) = sample.tagged_from else { continue };
        let with = |tail: &[&[u8]]| [&sample.bytes[..tagged_from], &tail.concat()].concat();
        let (value, left) = subject.decode(Bytes::from(with(&[&[0]]))).unwrap();
        let skipped = with(&[&[2], &tag(&low, 3, b"abc"), &tag(&high, 0, b"")]);
        if !matches!(subject.decode(Bytes::from(skipped.clone())), Ok((other, 0)) if other == value && left == 0) {
            panic!("{subject:?} does not skip unknown tagged fields: {skipped:?}");
        }
        victim.refuse(with(&[&varint(u32::MAX)]), "2^32-1 tagged fields");
        victim.refuse(with(&[&varint(u32::MAX), &tag(&low, 0, b"")]), "2^32-1 tagged fields");
        victim.refuse(with(&[&[2], &tag(&low, 0, b""), &tag(&low, 0, b"")]), "a tag twice");
        victim.refuse(with(&[&[2], &tag(&high, 0, b""), &tag(&low, 0, b"")]), "descending tags");
        victim.refuse(with(&[&[1], &tag(&low, 4, b"abc")]), "a tagged field past the end");
        victim.refuse(with(&[&[1], &tag(&low, u32::MAX, b"abc")]), "a tagged field of 4 GB");
        victim.refuse(with(&[&[1], &[0x80, 0x80, 0x80, 0x80, 0x80, 0], &[0]]), "a tag that overflows");
    }
}

#[test]
fn bytes_behind_a_message_are_reported() {
    let mut random = Random::from_environment("rest");
    for Victim { subject, mut sample, .. } in victims(&mut random, 1) {
        sample.bytes.extend(b"rest");
        assert_eq!(subject.decode(Bytes::from(sample.bytes)).unwrap().1, 4, "{subject:?}");
    }
}

#[test]
fn flipped_bits_and_noise_never_panic_and_stay_within_the_budget() {
    let mut random = Random::from_environment("noise");
    for Victim { subject, sample, .. } in victims(&mut random, 30) {
        let mut bytes = match random.below(3) {
            0 => {
                let len = random.below(200) as usize;
                random.bytes(len)
            }
            _ => sample.bytes,
        };
        for _ in 0..random.below(6) {
            if !bytes.is_empty() {
                let position = random.below(bytes.len() as u64) as usize;
                bytes[position] ^= 1 << random.below(8);
            }
        }
        let frame = Bytes::from(bytes);
        let (result, peak) = peak_of(|| subject.decode(frame.clone()));
        // What noise happens to spell is decoded; the budget of a request bounds it.
        assert!(peak <= 4 * frame.len() + 256 * 1024, "{subject:?}: {peak} bytes allocated for {frame:?}");
        if let Ok((decoded, _)) = result {
            // NaN is the one value that differs from itself: compare what goes out.
            if let Ok(encoded) = decoded.encode(subject.version) {
                let again = subject.decode(encoded.clone()).expect("what we encode we can decode").0;
                assert_eq!(again.encode(subject.version), Ok(encoded), "{subject:?} from {frame:?}");
            }
        }
    }
}

/// Bad input 24: names of one byte are the most expensive ones, 40 bytes in memory for 3 on the wire.
#[test]
fn a_metadata_request_for_millions_of_topics_is_refused_within_its_budget() {
    let count = 2_000_000;
    let mut bytes = varint(count + 1);
    for _ in 0..count {
        bytes.extend([2, b'a', 0]);
    }
    bytes.extend([1, 0, 0, 0]);
    let frame = Bytes::from(bytes);
    let started = Instant::now();
    let mut reader = Reader::new(frame.clone());
    let (result, peak) = peak_of(|| AnyRequest::decode(ApiKey::Metadata, &mut reader, 9));
    assert!(matches!(result, Err(DecodeError::OverBudget { .. })), "{result:?}");
    assert!(peak <= 4 * frame.len() + 256 * 1024, "{peak} bytes for {}", frame.len());
    assert!(started.elapsed() < Duration::from_secs(1), "refused after {:?}", started.elapsed());
}

/// Twenty-seven bytes that make a decoder with trust in counts reserve gigabytes.
#[test]
fn a_tiny_frame_with_a_huge_count_costs_nothing() {
    for subject in Subject::all().filter(|subject| subject.is_request) {
        let mut frame = vec![0; 23];
        frame.extend(0x7fff_ffff_u32.to_be_bytes());
        let (_, peak) = peak_of(|| subject.decode(Bytes::from(frame)));
        assert!(peak <= 1024, "{subject:?}: {peak} bytes");
    }
}
