//! Findings and reports of partitions, for people and for programs.

use serde_json::{Value, json};

use ottla_broker::storage::inspect::{Finding, FindingKind, PartitionReport};

use crate::output::bytes;

pub(super) fn finding_json(finding: &Finding) -> Value {
    json!({
        "kind": match finding.kind { FindingKind::Records => "records", FindingKind::Cache => "cache" },
        "file": finding.path.to_string_lossy(),
        "position": finding.position,
        "end_position": finding.end_position,
        "from_offset": finding.offsets.map(|(from, _)| from.0),
        "to_offset": finding.offsets.map(|(_, to)| to.0),
        "what": finding.what,
        "remedy": finding.remedy,
    })
}

/// Two lines: what is wrong, and what becomes of it.
pub(super) fn finding_text(finding: &Finding, remedy: &str) -> String {
    let kind = match finding.kind {
        FindingKind::Records => "RECORDS",
        FindingKind::Cache => "cache",
    };
    let mut place = finding.path.display().to_string();
    match (finding.position, finding.end_position) {
        (Some(position), Some(end)) if end > position => place += &format!(", bytes {position} to {}", end - 1),
        (Some(position), _) => place += &format!(", byte {position}"),
        _ => {}
    }
    match finding.offsets {
        Some((from, to)) if to > from => place += &format!(", offsets {from} to {}", to.0 - 1),
        Some((from, _)) => place += &format!(", offset {from}"),
        None => {}
    }
    format!("  {kind}: {place}\n    {}\n    -> {remedy}\n", finding.what)
}

pub(super) fn report_json(report: &PartitionReport) -> Value {
    json!({
        "topic": &*report.topic_partition.topic,
        "partition": report.topic_partition.partition,
        "segments": report.segments,
        "batches": report.batches,
        "records": report.records,
        "bytes": report.bytes,
        "log_start": report.log_start.0,
        "log_end": report.log_end.0,
        "sound": report.is_sound(),
        "findings": report.findings.iter().map(finding_json).collect::<Vec<_>>(),
        "findings_left_out": report.findings_left_out,
    })
}

/// What a partition holds, in one line.
pub(super) fn report_line(report: &PartitionReport) -> String {
    let state = match report.findings.len() as u64 + report.findings_left_out {
        0 => "sound".to_owned(),
        1 => "1 finding".to_owned(),
        count => format!("{count} findings"),
    };
    format!(
        "{}: {state}; offsets {} to {}, {} records in {} batches and {} segments, {}\n",
        report.topic_partition,
        report.log_start,
        report.log_end,
        report.records,
        report.batches,
        report.segments,
        bytes(i64::try_from(report.bytes).unwrap_or(i64::MAX))
    )
}
