//! `ottla log dump`: what is in the files, as lines of text or JSON objects.

use std::io::{self, BufWriter, StdoutLock, Write};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use ottla_broker::storage::StorageError;
use ottla_broker::storage::inspect::{
    FileKind, Folder, FolderKind, SegmentItem, SegmentReader, dump_checkpoint, dump_leader_epochs, dump_log_start,
    dump_offset_index, dump_snapshot, dump_time_index, dump_transaction_index,
};
use ottla_broker::storage::vfs::{RealVfs, Vfs};
use ottla_broker::types::Offset;

use super::dumped::{Batch, CheckpointEntry, Dumped, DumpedRecord, LogStart, Unreadable};
use super::{folder, internal_record, warn_if_in_use};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DumpOutput {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

#[derive(Debug, Args)]
pub(super) struct DumpCommand {
    /// Files (segments, indexes, snapshots, checkpoints), folders of partitions, or a data directory
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Partitions of the data directory; without it, only the directory's own files are shown
    #[arg(short, long, value_name = "TOPIC-PARTITION")]
    topic_partition: Vec<String>,
    /// Also show the records of each batch
    #[arg(short, long)]
    records: bool,
    /// Leave out what ends before this offset
    #[arg(long, value_name = "OFFSET", default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..))]
    from: i64,
    /// Leave out what begins at this offset or behind it
    #[arg(long, value_name = "OFFSET", default_value_t = i64::MAX, hide_default_value = true, value_parser = clap::value_parser!(i64).range(0..))]
    to: i64,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = DumpOutput::Text)]
    output: DumpOutput,
}

/// Whether everything that was shown is sound.
pub(super) fn run(command: &DumpCommand) -> Result<bool> {
    let mut dump = Dump {
        command,
        out: BufWriter::new(io::stdout().lock()),
        file: PathBuf::new(),
        topic: String::new(),
        sound: true,
    };
    for path in &command.paths {
        match Folder::look(&RealVfs, path)? {
            None if FileKind::of(path).is_some() => dump.file(path)?,
            None => bail!(
                "{} is none of the files that a broker keeps: *.log, *.index, *.timeindex, *.txnindex and *.snapshot behind 20 digits, \
                 leader-epoch-checkpoint, log-start-offset, *-checkpoint",
                path.display()
            ),
            Some(_) => dump.folder(path)?,
        }
    }
    dump.out.flush()?;
    Ok(dump.sound)
}

struct Dump<'a> {
    command: &'a DumpCommand,
    out: BufWriter<StdoutLock<'static>>,
    /// The file that is being shown.
    file: PathBuf,
    topic: String,
    sound: bool,
}

impl Dump<'_> {
    fn folder(&mut self, path: &Path) -> Result<()> {
        let folder = folder(path)?;
        warn_if_in_use(&folder);
        if folder.kind == FolderKind::Partition {
            return self.files_in(path);
        }
        let asked = &self.command.topic_partition;
        for name in asked {
            let found = folder.partitions.iter().find(|partition| partition.topic_partition.to_string() == *name);
            match found {
                Some(partition) => self.files_in(&partition.dir)?,
                None => bail!("there is no folder {name} in {}", folder.data_dir.display()),
            }
        }
        if asked.is_empty() {
            self.files_in(path)?;
            anstream::eprintln!(
                "{} partitions are not shown: name some with --topic-partition, or their folders",
                folder.partitions.len()
            );
        }
        Ok(())
    }

    /// The files right in a folder, by name: so those of one segment stand together.
    fn files_in(&mut self, path: &Path) -> Result<()> {
        let entries = RealVfs.read_dir(path)?;
        let mut files: Vec<PathBuf> =
            entries.into_iter().filter(|entry| !entry.is_dir).map(|entry| path.join(entry.name)).collect();
        files.sort_unstable();
        files.iter().filter(|file| FileKind::of(file).is_some()).try_for_each(|file| self.file(file))
    }

    fn file(&mut self, path: &Path) -> Result<()> {
        self.file = path.to_owned();
        let folder = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
        self.topic = folder.rsplit_once('-').map_or(folder.as_str(), |(topic, _)| topic).to_owned();
        if self.command.output == DumpOutput::Text {
            writeln!(self.out, "{}", path.display())?;
        }
        let (from, to) = (Offset(self.command.from), Offset(self.command.to));
        let in_range = |offset: Offset| (from..to).contains(&offset);
        let shown = match FileKind::of(path) {
            Some(FileKind::Segment(_)) => return self.segment(path, from, to),
            Some(FileKind::OffsetIndex(_)) => dump_offset_index(&RealVfs, path)
                .map(|entries| boxed(entries.into_iter().filter(|e| in_range(e.offset)))),
            Some(FileKind::TimeIndex(_)) => {
                dump_time_index(&RealVfs, path).map(|entries| boxed(entries.into_iter().filter(|e| in_range(e.offset))))
            }
            Some(FileKind::TransactionIndex(_)) => dump_transaction_index(&RealVfs, path).map(boxed),
            Some(FileKind::ProducerSnapshot(_)) => dump_snapshot(&RealVfs, path).map(boxed),
            Some(FileKind::LeaderEpochs) => dump_leader_epochs(&RealVfs, path).map(boxed),
            Some(FileKind::LogStart) => dump_log_start(&RealVfs, path).map(|start| boxed([LogStart(start)])),
            Some(FileKind::Checkpoint) => dump_checkpoint(&RealVfs, path).map(|checkpoint| {
                let wrong =
                    (!checkpoint.checksum_matches).then_some("the checksum beside it is not that of this content");
                let entries =
                    checkpoint.offsets.into_iter().map(|(partition, offset)| CheckpointEntry(partition, offset));
                let mut all = boxed(entries);
                all.extend(wrong.map(|what| Box::new(Unreadable(what.to_owned())) as Box<dyn Dumped>));
                self.sound &= checkpoint.checksum_matches;
                all
            }),
            None => Ok(Vec::new()),
        };
        match shown {
            Ok(items) => items.iter().try_for_each(|item| self.show(&**item)),
            Err(StorageError::Damaged { what, .. }) => {
                self.sound = false;
                self.show(&Unreadable(what))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn segment(&mut self, path: &Path, from: Offset, to: Offset) -> Result<()> {
        let reader = SegmentReader::open(&RealVfs, path)?;
        let mut damage_end = 0;
        for item in reader.items() {
            let batch = match item? {
                SegmentItem::Batch(batch) => batch,
                SegmentItem::Damage(damage) => {
                    damage_end = damage.end_position;
                    if damage.from < to && damage.to.is_none_or(|end| end > from || damage.from >= from) {
                        self.sound = false;
                        self.show(&damage)?;
                    }
                    continue;
                }
            };
            if batch.last_offset < from || batch.base_offset >= to {
                continue;
            }
            let shown = Batch { batch: &batch, is_sound: batch.position >= damage_end };
            self.show(&shown)?;
            if self.command.records {
                let (records, unreadable) = reader.records(&batch);
                for record in records.iter().filter(|record| (from.0..to.0).contains(&record.offset)) {
                    let (key, value) = (record.key.as_ref(), record.value.as_ref());
                    let decoded = internal_record::describe(&self.topic, shown.is_control(), key, value);
                    self.show(&DumpedRecord { record, decoded })?;
                }
                if let Some(error) = unreadable {
                    self.sound = false;
                    self.show(&Unreadable(error))?;
                }
            }
        }
        Ok(())
    }

    fn show(&mut self, item: &dyn Dumped) -> Result<()> {
        match self.command.output {
            DumpOutput::Text => writeln!(self.out, "  {}", item.text())?,
            DumpOutput::Json => {
                let mut object = item.json();
                object["file"] = self.file.to_string_lossy().into();
                serde_json::to_writer(&mut self.out, &object).map_err(io::Error::from)?;
                self.out.write_all(b"\n")?;
            }
        }
        Ok(())
    }
}

fn boxed<D: Dumped + 'static>(items: impl IntoIterator<Item = D>) -> Vec<Box<dyn Dumped>> {
    items.into_iter().map(|item| Box::new(item) as Box<dyn Dumped>).collect()
}
