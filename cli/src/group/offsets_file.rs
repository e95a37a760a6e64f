//! Files of `reset-offsets`: offsets of partitions as CSV without a header, `topic,partition,offset`, as Kafka's
//! `kafka-consumer-groups --export` writes for one group; for several it puts the group in front.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use ottla_client::TopicPartition;

/// The lines of a file. Names of topics need no quotes.
pub(super) fn write_offsets<'a>(offsets: impl Iterator<Item = (&'a str, i32, i64)>) -> String {
    offsets.map(|(topic, partition, offset)| format!("{topic},{partition},{offset}\n")).collect()
}

/// The offsets that a file has for `group`.
pub(super) fn read_offsets_file(path: &Path, group: &str) -> Result<BTreeMap<TopicPartition, i64>> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let offsets = parse(file, group).with_context(|| format!("cannot use {}", path.display()))?;
    ensure!(!offsets.is_empty(), "{} has no offsets of the group {group}", path.display());
    Ok(offsets)
}

fn parse(input: impl Read, group: &str) -> Result<BTreeMap<TopicPartition, i64>> {
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).trim(csv::Trim::All).from_reader(input);
    let mut offsets = BTreeMap::new();
    for row in reader.records() {
        let row = row?;
        let line = row.position().map_or(0, csv::Position::line);
        let fields: Vec<&str> = row.iter().collect();
        let (topic, partition, offset) = match fields[..] {
            [topic, partition, offset] => (topic, partition, offset),
            [of_group, topic, partition, offset] if of_group == group => (topic, partition, offset),
            [_, _, _, _] => continue,
            _ => bail!("line {line} has {} fields: topic,partition,offset are expected", fields.len()),
        };
        let number = |what: &str, text: &str| -> Result<i64> {
            let number = text.parse().ok().filter(|number| *number >= 0);
            number.with_context(|| format!("line {line}: the {what} {text:?} is no number from 0 on"))
        };
        let partition = i32::try_from(number("partition", partition)?);
        let partition = partition.with_context(|| format!("line {line}: there is no such partition"))?;
        let at = TopicPartition::new(topic, partition);
        let offset = number("offset", offset)?;
        ensure!(offsets.insert(at.clone(), offset).is_none(), "line {line} names {at} a second time");
    }
    Ok(offsets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_group_or_several() {
        let expected = BTreeMap::from([(TopicPartition::new("t", 0), 5), (TopicPartition::new("u", 12), 0)]);
        assert_eq!(parse("t,0,5\n\"u\",12,0\n".as_bytes(), "g").expect("good"), expected);
        let several = "g,t,0,5\nother,t,1,9\ng,u,12,0\n";
        assert_eq!(parse(several.as_bytes(), "g").expect("good"), expected);
        let written = write_offsets(expected.iter().map(|(at, offset)| (&*at.topic, at.partition, *offset)));
        assert_eq!(parse(written.as_bytes(), "g").expect("good"), expected);
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, expected) in [
            ("t,0,5\nt,0\n", "line 2 has 2 fields"),
            ("t,x,5\n", "line 1: the partition \"x\""),
            ("t,0,-5\n", "line 1: the offset \"-5\""),
            ("t,99999999999,5\n", "line 1: there is no such partition"),
            ("t,0,5\nt,0,6\n", "line 2 names t-0 a second time"),
        ] {
            let error = parse(text.as_bytes(), "g").expect_err(text);
            assert!(format!("{error:#}").contains(expected), "{error:#}");
        }
    }
}
