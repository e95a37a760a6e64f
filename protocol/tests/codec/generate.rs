//! Random messages as bytes, made from the declarations alone: no encoder takes part, so that encoder and decoder are both
//! under test. Remembers where each length lies, for those who want to put a wrong one there.

use ottla_protocol::schema::{FieldShape, Form, Shape};

/// A pseudo-random sequence (splitmix64): the same seed is the same messages.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A new seed for every run, printed so that a failure can be had again with `OTTLA_TEST_SEED`.
    pub(crate) fn from_environment(test: &str) -> Self {
        let given =
            std::env::var("OTTLA_TEST_SEED").ok().map(|seed| seed.parse().expect("OTTLA_TEST_SEED is a number"));
        let seed = given.unwrap_or_else(|| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.expect("the clock is past 1970").as_nanos() as u64
        });
        println!("{test}: OTTLA_TEST_SEED={seed}");
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// What a length belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Array,
    String,
    Bytes,
    /// The byte ahead of a struct that may be null.
    Presence,
}

/// Where a length lies in a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) kind: Kind,
    pub(crate) nullable: bool,
}

/// A message in the making.
#[derive(Default)]
pub(crate) struct Sample {
    pub(crate) bytes: Vec<u8>,
    /// Lengths outside of tagged fields.
    pub(crate) marks: Vec<Mark>,
    /// Where the tagged fields of the outermost struct begin, in a flexible version.
    pub(crate) tagged_from: Option<usize>,
}

/// A random message of this shape.
pub(crate) fn message(random: &mut Random, shape: Shape, form: Form) -> Sample {
    let mut sample = Sample::default();
    sample.value(random, shape, form, false);
    sample
}

impl Sample {
    /// `significant`: the value must not be a default, or a canonical encoder would leave the tagged field out.
    fn value(&mut self, random: &mut Random, shape: Shape, form: Form, significant: bool) {
        let null = form.nullable && !significant && random.below(4) == 0;
        match shape {
            Shape::Fixed(width) => {
                let mut bytes = random.bytes(width);
                // Neither 0 nor -1 nor a quiet NaN, whatever the width.
                bytes[0] = 0x10 | bytes[0] & 0x0f;
                self.bytes.extend(bytes);
            }
            Shape::Bool => self.bytes.push(u8::from(significant || random.below(2) == 1)),
            Shape::String => {
                let len = random.below(12) + u64::from(significant);
                self.length(Kind::String, (!null).then_some(len as usize), form);
                if !null {
                    self.bytes.extend((0..len).map(|_| b'a' + random.below(26) as u8));
                }
            }
            Shape::Bytes => {
                // Now and then enough that an encoder refers to it instead of copying.
                let len = if random.below(50) == 0 { 2_000 } else { random.below(20) };
                self.length(Kind::Bytes, (!null).then_some(len as usize), form);
                if !null {
                    self.bytes.extend(random.bytes(len as usize));
                }
            }
            Shape::Array(element) => {
                let count = random.below(4) + u64::from(significant);
                self.length(Kind::Array, (!null).then_some(count as usize), form);
                if !null {
                    (0..count).for_each(|_| self.value(random, *element, Form { nullable: false, ..form }, false));
                }
            }
            Shape::Struct(fields) => {
                if form.nullable {
                    let start = self.bytes.len();
                    self.bytes.push(if null { 0xff } else { 1 });
                    self.marks.push(Mark { start, end: start + 1, kind: Kind::Presence, nullable: true });
                }
                if !null {
                    self.fields(random, fields, form);
                }
            }
        }
    }

    fn fields(&mut self, random: &mut Random, fields: &[FieldShape], form: Form) {
        let present = fields.iter().filter(|line| line.field.exists_in(form.version));
        let (tagged, plain): (Vec<&FieldShape>, Vec<&FieldShape>) =
            present.partition(|line| line.field.tag_number().is_some());
        for line in plain {
            self.value(random, line.shape, line.field.form(form), false);
        }
        if form.flexible {
            let mut contents = Vec::new();
            for line in tagged {
                let mut content = Sample::default();
                content.value(random, line.shape, line.field.form(form), true);
                if random.below(2) == 0 {
                    contents.push((line.field.tag_number().expect("partitioned by it"), content.bytes));
                }
            }
            contents.sort();
            // The outermost struct ends last.
            self.tagged_from = Some(self.bytes.len());
            self.bytes.extend(varint(contents.len() as u32));
            for (tag, content) in contents {
                self.bytes.extend(varint(tag));
                self.bytes.extend(varint(content.len() as u32));
                self.bytes.extend(content);
            }
        }
    }

    fn length(&mut self, kind: Kind, length: Option<usize>, form: Form) {
        let start = self.bytes.len();
        self.bytes.extend(encoded_length(kind, length.map(|length| length as i64), form.flexible));
        self.marks.push(Mark { start, end: self.bytes.len(), kind, nullable: form.nullable });
    }

    /// The message with other bytes in the place of a length.
    pub(crate) fn with(&self, mark: Mark, replacement: &[u8]) -> Vec<u8> {
        [&self.bytes[..mark.start], replacement, &self.bytes[mark.end..]].concat()
    }
}

/// A length as the wire has it: `None` is null.
pub(crate) fn encoded_length(kind: Kind, length: Option<i64>, flexible: bool) -> Vec<u8> {
    let length = length.unwrap_or(-1);
    match kind {
        Kind::Presence => vec![length as u8],
        _ if flexible => varint((length + 1) as u32),
        Kind::String => (length as i16).to_be_bytes().to_vec(),
        Kind::Array | Kind::Bytes => (length as i32).to_be_bytes().to_vec(),
    }
}

pub(crate) fn varint(mut value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
