//! A disk that can lose power.
//!
//! [`SimulatedDisk`] keeps every call in a journal. [`SimulatedDisk::after_power_cut`] makes the disk
//! that a machine might find when power fails right after the first `calls` of them: what was synced
//! is there, and of the rest a seeded coin decides, page by page and name by name, what is kept, lost
//! or torn. Names behave as on a file system without barriers: an unsynced create, rename or unlink
//! may or may not have happened, independently of the others.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Disk, DiskFile};

/// Writes land in units of this many bytes: the sector that drives keep whole.
const SECTOR_BYTES: usize = 512;

/// One recorded call.
#[derive(Debug, Clone)]
enum Call {
    Create { path: String, inode: usize },
    CreateFolder { path: String },
    Append { inode: usize, bytes: Vec<u8> },
    Truncate { inode: usize, length: u64 },
    Sync { inode: usize },
    Rename { from: String, to: String },
    Unlink { path: String },
    SyncFolder { path: String },
}

/// What a sync call is for, to leave single ones out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SyncPoint {
    /// Content of a file whose path has this shape (digits replaced by `N`).
    File(String),
    /// Names of a folder.
    Folder(String),
}

#[derive(Debug, Default)]
struct State {
    /// What programs see: names to inodes, inodes to bytes.
    names: BTreeMap<String, usize>,
    folders: Vec<String>,
    inodes: Vec<Vec<u8>>,
    /// The path an inode was created under: names the sync points.
    born: Vec<String>,
    journal: Vec<Call>,
    /// What was durable before the first recorded call.
    base_names: BTreeMap<String, usize>,
    base_inodes: Vec<Vec<u8>>,
    /// Syncs that silently do nothing: the disk of a program that forgot them.
    forgotten: Vec<SyncPoint>,
    /// Calls after which every further change fails, as when a disk is full.
    budget_bytes: Option<u64>,
}

/// A disk in memory that can be cut off from power.
#[derive(Debug, Clone, Default)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

impl SimulatedDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// A disk on which the given sync does nothing.
    pub fn forgetting(&self, point: SyncPoint) {
        self.state.lock().forgotten.push(point);
    }

    /// Lets appends succeed for so many more bytes, then fail as a full disk does.
    pub fn set_space(&self, bytes: Option<u64>) {
        self.state.lock().budget_bytes = bytes;
    }

    /// How many calls were recorded.
    pub fn calls(&self) -> usize {
        self.state.lock().journal.len()
    }

    /// Every different sync that was called, by the shape of its path.
    pub fn sync_points(&self) -> Vec<SyncPoint> {
        let state = self.state.lock();
        let mut points: Vec<SyncPoint> = state
            .journal
            .iter()
            .filter_map(|call| match call {
                Call::Sync { inode } => {
                    state.born.get(*inode).map(|path| SyncPoint::File(shape(path)))
                }
                Call::SyncFolder { path } => Some(SyncPoint::Folder(path.clone())),
                _ => None,
            })
            .collect();
        points.sort();
        points.dedup();
        points
    }

    /// Changes one byte of a file, as a failing medium does. Says whether there was such a byte.
    pub fn flip(&self, path: &str, offset: usize) -> bool {
        let mut state = self.state.lock();
        let Some(inode) = state.names.get(path).copied() else { return false };
        match state.inodes.get_mut(inode).and_then(|bytes| bytes.get_mut(offset)) {
            Some(byte) => {
                *byte ^= 0x01;
                true
            }
            None => false,
        }
    }

    /// The disk as found after power failed behind the first `calls` calls. `seed` decides about
    /// everything that was not synced by then.
    pub fn after_power_cut(&self, calls: usize, seed: u64) -> SimulatedDisk {
        let state = self.state.lock();
        let mut coin = Coin(seed ^ 0x9e37_79b9_7f4a_7c15);
        let mut after = Aftermath {
            durable_names: state.base_names.clone(),
            live_names: state.base_names.clone(),
            durable_bytes: state.base_inodes.iter().cloned().enumerate().collect(),
            live_bytes: state.base_inodes.iter().cloned().enumerate().collect(),
            ..Aftermath::default()
        };
        let done = state.journal.get(..calls).unwrap_or(&state.journal);
        for call in done {
            after.replay(call, &state.forgotten, &state.born);
        }
        after.lose(&mut coin)
    }
}

/// A path with its digits replaced, so that all files of a kind are one sync point.
fn shape(path: &str) -> String {
    path.chars().map(|c| if c.is_ascii_digit() { 'N' } else { c }).collect()
}

/// A small generator (splitmix64): tests must be repeatable from their seed alone.
struct Coin(u64);

impl Coin {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn flip(&mut self) -> bool {
        self.next() & 1 == 1
    }
}

/// What is durable, and what is only perhaps there.
#[derive(Default)]
struct Aftermath {
    durable_names: BTreeMap<String, usize>,
    /// Changes of names since the last sync of their folder, in order.
    pending_names: Vec<(String, Option<usize>)>,
    folders: Vec<String>,
    durable_bytes: BTreeMap<usize, Vec<u8>>,
    live_bytes: BTreeMap<usize, Vec<u8>>,
    live_names: BTreeMap<String, usize>,
}

impl Aftermath {
    fn replay(&mut self, call: &Call, forgotten: &[SyncPoint], born: &[String]) {
        match call {
            Call::Create { path, inode } => {
                self.live_bytes.insert(*inode, Vec::new());
                self.durable_bytes.insert(*inode, Vec::new());
                self.set_name(path, Some(*inode));
            }
            Call::CreateFolder { path } => self.folders.push(path.clone()),
            Call::Append { inode, bytes } => {
                self.live_bytes.entry(*inode).or_default().extend_from_slice(bytes);
            }
            Call::Truncate { inode, length } => {
                // A shorter length may or may not be durable; content that a truncation removed and
                // a later append replaced must not come back, so the cut applies to both.
                let length = usize::try_from(*length).unwrap_or(usize::MAX);
                self.live_bytes.entry(*inode).or_default().truncate(length);
                self.durable_bytes.entry(*inode).or_default().truncate(length);
            }
            Call::Sync { inode } => {
                let point = born.get(*inode).map(|path| SyncPoint::File(shape(path)));
                if !point.is_some_and(|point| forgotten.contains(&point)) {
                    let live = self.live_bytes.get(inode).cloned().unwrap_or_default();
                    self.durable_bytes.insert(*inode, live);
                }
            }
            Call::Rename { from, to } => {
                let inode = self.live_names.get(from).copied();
                self.set_name(to, inode);
                self.set_name(from, None);
            }
            Call::Unlink { path } => self.set_name(path, None),
            Call::SyncFolder { path } => {
                if forgotten.contains(&SyncPoint::Folder(path.clone())) {
                    return;
                }
                let (now, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.pending_names)
                    .into_iter()
                    .partition(|(name, _)| folder_of(name) == path);
                self.pending_names = later;
                for (name, inode) in now {
                    apply_name(&mut self.durable_names, &name, inode);
                }
            }
        }
    }

    fn set_name(&mut self, path: &str, inode: Option<usize>) {
        apply_name(&mut self.live_names, path, inode);
        self.pending_names.push((path.to_owned(), inode));
    }

    fn lose(mut self, coin: &mut Coin) -> SimulatedDisk {
        for (name, inode) in std::mem::take(&mut self.pending_names) {
            if coin.flip() {
                apply_name(&mut self.durable_names, &name, inode);
            }
        }
        let mut state = State { folders: self.folders, ..State::default() };
        for (path, inode) in self.durable_names {
            let durable = self.durable_bytes.remove(&inode).unwrap_or_default();
            let live = self.live_bytes.remove(&inode).unwrap_or_default();
            let fresh = state.inodes.len();
            state.inodes.push(tear(durable, &live, coin));
            state.born.push(path.clone());
            state.names.insert(path, fresh);
        }
        state.base_names = state.names.clone();
        state.base_inodes = state.inodes.clone();
        SimulatedDisk { state: Arc::new(Mutex::new(state)) }
    }
}

/// Keeps what was synced and of the rest, sector by sector, what the coin likes: whole, as zeros (the
/// length grew, the data did not land), or cut off from there on.
fn tear(durable: Vec<u8>, live: &[u8], coin: &mut Coin) -> Vec<u8> {
    let mut bytes = durable;
    let mode = coin.next() % 4;
    if mode == 0 {
        return bytes;
    }
    while bytes.len() < live.len() {
        let from = bytes.len();
        let to = live.len().min((from / SECTOR_BYTES + 1) * SECTOR_BYTES);
        let sector = live.get(from..to).unwrap_or_default();
        match (mode, coin.next() % 8) {
            (1, _) | (_, 3..) => bytes.extend_from_slice(sector),
            (2, 0) => break,
            (2, _) => {
                // Torn inside a sector: rare on disks, common on everything that pretends to be one.
                let half = sector.get(..sector.len() / 2).unwrap_or_default();
                bytes.extend_from_slice(half);
                break;
            }
            _ => bytes.resize(to, 0),
        }
    }
    bytes
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn apply_name(names: &mut BTreeMap<String, usize>, path: &str, inode: Option<usize>) {
    match inode {
        Some(inode) => names.insert(path.to_owned(), inode),
        None => names.remove(path),
    };
}

impl Disk for SimulatedDisk {
    fn create(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state.lock();
        if state.names.contains_key(path) {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, path.to_owned()));
        }
        let inode = state.inodes.len();
        state.inodes.push(Vec::new());
        state.born.push(path.to_owned());
        state.names.insert(path.to_owned(), inode);
        state.journal.push(Call::Create { path: path.to_owned(), inode });
        Ok(Arc::new(SimulatedFile { disk: self.clone(), inode }))
    }

    fn open(&self, path: &str) -> io::Result<Option<Arc<dyn DiskFile>>> {
        let state = self.state.lock();
        Ok(state.names.get(path).map(|&inode| {
            Arc::new(SimulatedFile { disk: self.clone(), inode }) as Arc<dyn DiskFile>
        }))
    }

    fn create_folder(&self, path: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        if !state.folders.iter().any(|folder| folder == path) {
            state.folders.push(path.to_owned());
            state.journal.push(Call::CreateFolder { path: path.to_owned() });
        }
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        let Some(inode) = state.names.remove(from) else {
            return Err(io::Error::new(io::ErrorKind::NotFound, from.to_owned()));
        };
        state.names.insert(to.to_owned(), inode);
        state.journal.push(Call::Rename { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    fn unlink(&self, path: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.names.remove(path).is_some() {
            state.journal.push(Call::Unlink { path: path.to_owned() });
        }
        Ok(())
    }

    fn sync_folder(&self, path: &str) -> io::Result<()> {
        self.state.lock().journal.push(Call::SyncFolder { path: path.to_owned() });
        Ok(())
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let state = self.state.lock();
        let mut names: Vec<String> = state
            .names
            .keys()
            .filter(|name| folder_of(name) == path)
            .map(|name| name.rsplit('/').next().unwrap_or(name).to_owned())
            .chain(
                state
                    .folders
                    .iter()
                    .filter(|folder| !folder.is_empty() && folder_of(folder) == path)
                    .map(|folder| format!("{}/", folder.rsplit('/').next().unwrap_or(folder))),
            )
            .collect();
        names.sort();
        Ok(names)
    }
}

struct SimulatedFile {
    disk: SimulatedDisk,
    inode: usize,
}

impl DiskFile for SimulatedFile {
    fn append(&self, parts: &[&[u8]]) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        let mut bytes = parts.concat();
        let mut full = false;
        if let Some(budget) = state.budget_bytes {
            let room = usize::try_from(budget).unwrap_or(usize::MAX);
            full = bytes.len() > room;
            bytes.truncate(room);
            state.budget_bytes = Some(budget - bytes.len() as u64);
        }
        if let Some(content) = state.inodes.get_mut(self.inode) {
            content.extend_from_slice(&bytes);
        }
        state.journal.push(Call::Append { inode: self.inode, bytes });
        if full { Err(io::Error::from(io::ErrorKind::StorageFull)) } else { Ok(()) }
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let state = self.disk.state.lock();
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest =
            state.inodes.get(self.inode).and_then(|bytes| bytes.get(offset..)).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.state.lock().inodes.get(self.inode).map_or(0, |bytes| bytes.len() as u64))
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.state.lock().journal.push(Call::Sync { inode: self.inode });
        Ok(())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        if let Some(bytes) = state.inodes.get_mut(self.inode) {
            bytes.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        }
        state.journal.push(Call::Truncate { inode: self.inode, length });
        Ok(())
    }
}
