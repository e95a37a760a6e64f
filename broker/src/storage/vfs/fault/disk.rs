//! What lies on a disk, and what a power cut leaves of it.
//!
//! Every file and folder has two states: the live one, which calls see, and the durable one, to which changes are added
//! by a sync. The changes in between are kept one by one. A power cut adds any of them, in their order:
//!
//! - a write, whole, or some of its sectors (512 bytes or 4 KiB), and for itself the size that it gave the file;
//! - a cut or extension of a file;
//! - the creation, removal or renaming of a name. A rename is one change: names do not vanish in between.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Component, Path};

use crate::storage::vfs::DirEntry;

/// A file or a folder.
pub(super) type Inode = u64;

const ROOT: Inode = 0;
const SECTOR_BYTES: [usize; 2] = [512, 4096];

#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    next_inode: Inode,
    files: HashMap<Inode, FileState>,
    dirs: HashMap<Inode, DirState>,
    /// Changes of names that are not durable, oldest first.
    unsynced_names: Vec<NameChange>,
}

#[derive(Debug, Clone, Default)]
struct FileState {
    /// Survives a power cut, as on a file system that wrote it just in time.
    modified_ms: Option<i64>,
    live: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<FileChange>,
}

#[derive(Debug, Clone)]
enum FileChange {
    Write { position: usize, bytes: Vec<u8> },
    SetLen(usize),
}

#[derive(Debug, Clone, Default)]
struct DirState {
    live: BTreeMap<String, Inode>,
    durable: BTreeMap<String, Inode>,
}

/// Names that change at once: what each stands for afterwards.
#[derive(Debug, Clone)]
struct NameChange(Vec<(Inode, String, Option<Inode>)>);

impl FileChange {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            FileChange::Write { position, bytes } => {
                if content.len() < position + bytes.len() {
                    content.resize(position + bytes.len(), 0);
                }
                content[*position..position + bytes.len()].copy_from_slice(bytes);
            }
            FileChange::SetLen(len) => content.resize(*len, 0),
        }
    }

    /// Applies what a power cut leaves of the change.
    fn apply_some(&self, content: &mut Vec<u8>, random: &mut Random) {
        let FileChange::Write { position, bytes } = self else {
            if random.one_in(2) {
                self.apply(content);
            }
            return;
        };
        match random.below(4) {
            0 => {}
            1 => self.apply(content),
            _ => {
                let sector = SECTOR_BYTES[random.below(2) as usize];
                let mut at = *position;
                let end = position + bytes.len();
                while at < end {
                    let next = (at / sector + 1) * sector;
                    let until = next.min(end);
                    if random.one_in(2) {
                        let part = bytes[at - position..until - position].to_vec();
                        FileChange::Write { position: at, bytes: part }.apply(content);
                    }
                    at = until;
                }
                // The size may be on disk where the bytes are not.
                if random.one_in(2) && content.len() < end {
                    content.resize(end, 0);
                }
            }
        }
    }
}

fn name_of(component: Component<'_>) -> Option<String> {
    match component {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        _ => None,
    }
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Disk {
    pub(super) fn find(&self, path: &Path) -> io::Result<Inode> {
        let mut at = ROOT;
        for name in path.components().filter_map(name_of) {
            at = *self.dir(at)?.live.get(&name).ok_or_else(not_found)?;
        }
        Ok(at)
    }

    fn dir(&self, inode: Inode) -> io::Result<&DirState> {
        static EMPTY: std::sync::LazyLock<DirState> = std::sync::LazyLock::new(DirState::default);
        match self.dirs.get(&inode) {
            Some(dir) => Ok(dir),
            None if inode == ROOT => Ok(&EMPTY),
            None => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    pub(super) fn find_file(&self, path: &Path) -> io::Result<Inode> {
        let inode = self.find(path)?;
        self.files.contains_key(&inode).then_some(inode).ok_or_else(|| io::ErrorKind::IsADirectory.into())
    }

    /// The folder that a path lies in, and its name there.
    fn place(&self, path: &Path) -> io::Result<(Inode, String)> {
        let name = path.components().next_back().and_then(name_of).ok_or_else(not_found)?;
        let dir = self.find(path.parent().unwrap_or(Path::new("")))?;
        self.dir(dir)?;
        Ok((dir, name))
    }

    fn change_names(&mut self, change: NameChange) {
        for (dir, name, inode) in &change.0 {
            set(&mut self.dirs.entry(*dir).or_default().live, name, *inode);
        }
        self.unsynced_names.push(change);
    }

    fn add(&mut self, path: &Path) -> io::Result<Inode> {
        let (dir, name) = self.place(path)?;
        self.next_inode += 1;
        let inode = self.next_inode;
        self.change_names(NameChange(vec![(dir, name, Some(inode))]));
        Ok(inode)
    }

    pub(super) fn create_file(&mut self, path: &Path) -> io::Result<Inode> {
        let inode = self.add(path)?;
        self.files.insert(inode, FileState::default());
        Ok(inode)
    }

    pub(super) fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        match self.find(path) {
            Ok(inode) => self.dir(inode).map(drop),
            Err(_) => {
                let inode = self.add(path)?;
                self.dirs.insert(inode, DirState::default());
                Ok(())
            }
        }
    }

    pub(super) fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let dir = self.dir(self.find(path)?)?;
        let entry = |(name, inode): (&String, &Inode)| DirEntry {
            name: name.clone(),
            is_dir: self.dirs.contains_key(inode),
            size_bytes: self.files.get(inode).map_or(0, |file| file.live.len() as u64),
            modified_ms: self.files.get(inode).and_then(|file| file.modified_ms),
        };
        Ok(dir.live.iter().map(entry).collect())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = self.find(from)?;
        let (from_dir, from_name) = self.place(from)?;
        let (to_dir, to_name) = self.place(to)?;
        self.change_names(NameChange(vec![(from_dir, from_name, None), (to_dir, to_name, Some(inode))]));
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let inode = self.find(path)?;
        if self.dirs.get(&inode).is_some_and(|dir| !dir.live.is_empty()) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let (dir, name) = self.place(path)?;
        self.change_names(NameChange(vec![(dir, name, None)]));
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let dir = self.find(path)?;
        self.dir(dir)?;
        let touches = |change: &NameChange| change.0.iter().any(|(changed, ..)| *changed == dir);
        let (synced, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.unsynced_names).into_iter().partition(touches);
        self.unsynced_names = rest;
        synced.iter().for_each(|change| self.make_durable(change));
        Ok(())
    }

    fn make_durable(&mut self, change: &NameChange) {
        for (dir, name, inode) in &change.0 {
            set(&mut self.dirs.entry(*dir).or_default().durable, name, *inode);
        }
    }

    /// Bytes of the files that have a name.
    pub(super) fn used_bytes(&self) -> u64 {
        let named = self.dirs.values().flat_map(|dir| dir.live.values());
        named.filter_map(|inode| self.files.get(inode)).map(|file| file.live.len() as u64).sum()
    }

    pub(super) fn content(&self, file: Inode) -> &[u8] {
        self.files.get(&file).map_or(&[], |file| &file.live)
    }

    fn change_file(&mut self, file: Inode, change: FileChange) {
        let file = self.files.entry(file).or_default();
        change.apply(&mut file.live);
        file.unsynced.push(change);
    }

    pub(super) fn set_modified(&mut self, file: Inode, modified_ms: Option<i64>) {
        self.files.entry(file).or_default().modified_ms = modified_ms;
    }

    pub(super) fn write(&mut self, file: Inode, position: u64, bytes: Vec<u8>) {
        self.change_file(file, FileChange::Write { position: position as usize, bytes });
    }

    pub(super) fn set_len(&mut self, file: Inode, len: u64) {
        self.change_file(file, FileChange::SetLen(len as usize));
    }

    pub(super) fn sync_file(&mut self, file: Inode) {
        let file = self.files.entry(file).or_default();
        for change in file.unsynced.drain(..) {
            change.apply(&mut file.durable);
        }
    }

    /// What was to be synced is taken for clean, and never reaches the disk.
    pub(super) fn lose_unsynced(&mut self, file: Inode) {
        self.files.entry(file).or_default().unsynced.clear();
    }

    pub(super) fn after_power_cut(&self, seed: u64) -> Disk {
        let mut random = Random(seed);
        let mut disk = self.clone();
        let changes = std::mem::take(&mut disk.unsynced_names);
        changes.iter().filter(|_| random.one_in(2)).for_each(|change| disk.make_durable(change));
        let mut inodes: Vec<Inode> = disk.files.keys().copied().collect();
        inodes.sort_unstable();
        for inode in inodes {
            let file = disk.files.entry(inode).or_default();
            for change in std::mem::take(&mut file.unsynced) {
                change.apply_some(&mut file.durable, &mut random);
            }
            file.live.clone_from(&file.durable);
        }
        disk.dirs.values_mut().for_each(|dir| dir.live.clone_from(&dir.durable));
        disk
    }
}

fn set(names: &mut BTreeMap<String, Inode>, name: &str, inode: Option<Inode>) {
    match inode {
        Some(inode) => names.insert(name.to_owned(), inode),
        None => names.remove(name),
    };
}

/// SplitMix64: small, and the same everywhere.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }
}
