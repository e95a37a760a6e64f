//! A disk in memory that knows, for every operation, whether it would survive a power cut.
//!
//! Owns the model: folders and files are inodes; each has what is seen now and what is durable; between them lie pending
//! operations, which a sync makes durable and of which a power cut keeps any subset. A rename is kept or lost as a whole; a write can be
//! kept in some of its 512-byte sectors.
//!
//! Invariant: the current state is the durable one with all pending operations applied, save what a failed sync has lost.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path};

use rand::RngExt;
use rand::rngs::StdRng;

const SECTOR_BYTES: usize = 512;
const ROOT: usize = 0;

/// An inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    Dir(usize),
    File(usize),
}

#[derive(Debug, Clone, Default)]
struct Dir {
    current: BTreeMap<String, Node>,
    durable: BTreeMap<String, Node>,
}

#[derive(Debug, Clone, Default)]
struct File {
    current: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<FileChange>,
}

#[derive(Debug, Clone)]
enum FileChange {
    Write { position: usize, bytes: Vec<u8> },
    SetLen(usize),
}

/// A name in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    dir: usize,
    name: String,
}

#[derive(Debug, Clone)]
enum DirChange {
    Link(Entry, Node),
    Unlink(Entry),
    /// Between two folders, durable when both were synced.
    Rename {
        from: Entry,
        to: Entry,
        from_synced: bool,
        to_synced: bool,
    },
}

/// The disk. Its methods are those of a file system; none of them fails but for the reasons that a healthy one has.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    dirs: Vec<Dir>,
    files: Vec<File>,
    pending: Vec<DirChange>,
}

impl Disk {
    pub(super) fn new() -> Self {
        Disk { dirs: vec![Dir::default()], files: Vec::new(), pending: Vec::new() }
    }

    /// What is found after the power came back.
    pub(super) fn after_power_cut(&self, random: &mut StdRng) -> Self {
        let mut disk = self.clone();
        // Everything and nothing are the subsets in which most mistakes show, so they get their share.
        let chance = [0, 8, 4, 4, 4][random.random_range(0..5)];
        let keep = |random: &mut StdRng| random.random_ratio(chance, 8);
        for change in std::mem::take(&mut disk.pending) {
            if keep(random) {
                disk.apply_durably(&change);
            }
        }
        for dir in &mut disk.dirs {
            dir.current.clone_from(&dir.durable);
        }
        for file in &mut disk.files {
            for change in std::mem::take(&mut file.pending) {
                if keep(random) {
                    apply(&mut file.durable, &change, &mut |_| true);
                } else if chance != 0 && random.random() {
                    apply(&mut file.durable, &change, &mut |_| random.random());
                }
            }
            file.current.clone_from(&file.durable);
        }
        disk
    }

    /// The entry of a path; its folder must exist.
    pub(super) fn entry(&self, path: &Path) -> io::Result<Entry> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy().into_owned();
        let dir = self.dir(path.parent().unwrap_or(Path::new("")))?;
        Ok(Entry { dir, name })
    }

    pub(super) fn dir(&self, path: &Path) -> io::Result<usize> {
        let mut dir = ROOT;
        for component in path.components() {
            let Component::Normal(name) = component else { continue };
            match self.dirs[dir].current.get(&*name.to_string_lossy()) {
                Some(Node::Dir(inner)) => dir = *inner,
                Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => return Err(io::ErrorKind::NotFound.into()),
            }
        }
        Ok(dir)
    }

    pub(super) fn node(&self, entry: &Entry) -> Option<Node> {
        self.dirs[entry.dir].current.get(&entry.name).copied()
    }

    pub(super) fn list(&self, dir: usize) -> impl Iterator<Item = (&String, Node)> {
        self.dirs[dir].current.iter().map(|(name, node)| (name, *node))
    }

    pub(super) fn create_file(&mut self, entry: Entry) -> usize {
        self.files.push(File::default());
        let file = self.files.len() - 1;
        self.change(DirChange::Link(entry, Node::File(file)));
        file
    }

    pub(super) fn create_dir(&mut self, entry: Entry) {
        self.dirs.push(Dir::default());
        let dir = self.dirs.len() - 1;
        self.change(DirChange::Link(entry, Node::Dir(dir)));
    }

    pub(super) fn remove(&mut self, entry: Entry, is_dir: bool) -> io::Result<()> {
        match self.node(&entry) {
            None => return Err(io::ErrorKind::NotFound.into()),
            Some(Node::File(_)) if is_dir => return Err(io::ErrorKind::NotADirectory.into()),
            Some(Node::Dir(_)) if !is_dir => return Err(io::ErrorKind::IsADirectory.into()),
            Some(Node::Dir(dir)) if !self.dirs[dir].current.is_empty() => {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
            Some(_) => {}
        }
        self.change(DirChange::Unlink(entry));
        Ok(())
    }

    pub(super) fn rename(&mut self, from: Entry, to: Entry) -> io::Result<()> {
        if self.node(&from).is_none() {
            return Err(io::ErrorKind::NotFound.into());
        }
        if let Some(Node::Dir(dir)) = self.node(&to)
            && !self.dirs[dir].current.is_empty()
        {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        self.change(DirChange::Rename { from, to, from_synced: false, to_synced: false });
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, dir: usize) {
        for mut change in std::mem::take(&mut self.pending) {
            let is_durable = match &mut change {
                DirChange::Link(entry, _) | DirChange::Unlink(entry) => entry.dir == dir,
                DirChange::Rename { from, to, from_synced, to_synced } => {
                    *from_synced |= from.dir == dir;
                    *to_synced |= to.dir == dir;
                    *from_synced && *to_synced
                }
            };
            match is_durable {
                true => self.apply_durably(&change),
                false => self.pending.push(change),
            }
        }
    }

    pub(super) fn content(&self, file: usize) -> &[u8] {
        &self.files[file].current
    }

    pub(super) fn write(&mut self, file: usize, position: usize, bytes: Vec<u8>) {
        self.change_file(file, FileChange::Write { position, bytes });
    }

    pub(super) fn set_len(&mut self, file: usize, len: usize) {
        self.change_file(file, FileChange::SetLen(len));
    }

    pub(super) fn sync_file(&mut self, file: usize) {
        let file = &mut self.files[file];
        for change in std::mem::take(&mut file.pending) {
            apply(&mut file.durable, &change, &mut |_| true);
        }
    }

    /// What a failed sync does: the pages count as clean, so no later sync writes them.
    pub(super) fn lose_unsynced(&mut self, file: usize) {
        self.files[file].pending.clear();
    }

    fn change_file(&mut self, file: usize, change: FileChange) {
        let file = &mut self.files[file];
        apply(&mut file.current, &change, &mut |_| true);
        file.pending.push(change);
    }

    fn change(&mut self, change: DirChange) {
        match &change {
            DirChange::Link(entry, node) => {
                self.dirs[entry.dir].current.insert(entry.name.clone(), *node);
            }
            DirChange::Unlink(entry) => {
                self.dirs[entry.dir].current.remove(&entry.name);
            }
            DirChange::Rename { from, to, .. } => {
                if let Some(node) = self.dirs[from.dir].current.remove(&from.name) {
                    self.dirs[to.dir].current.insert(to.name.clone(), node);
                }
            }
        }
        self.pending.push(change);
    }

    /// A change whose source never became durable changes nothing.
    fn apply_durably(&mut self, change: &DirChange) {
        match change {
            DirChange::Link(entry, node) => {
                self.dirs[entry.dir].durable.insert(entry.name.clone(), *node);
            }
            DirChange::Unlink(entry) => {
                self.dirs[entry.dir].durable.remove(&entry.name);
            }
            DirChange::Rename { from, to, .. } => {
                if let Some(node) = self.dirs[from.dir].durable.remove(&from.name) {
                    self.dirs[to.dir].durable.insert(to.name.clone(), node);
                }
            }
        }
    }
}

/// Applies a change to content; of a write, only the sectors that `keep_sector` wants.
fn apply(content: &mut Vec<u8>, change: &FileChange, keep_sector: &mut dyn FnMut(usize) -> bool) {
    match change {
        FileChange::SetLen(len) => content.resize(*len, 0),
        FileChange::Write { position, bytes } => {
            let mut from = 0;
            while from < bytes.len() {
                let start = position + from;
                let to = bytes.len().min(from + SECTOR_BYTES - start % SECTOR_BYTES);
                if keep_sector(start / SECTOR_BYTES) {
                    let end = position + to;
                    if content.len() < end {
                        content.resize(end, 0);
                    }
                    content[start..end].copy_from_slice(&bytes[from..to]);
                }
                from = to;
            }
        }
    }
}
