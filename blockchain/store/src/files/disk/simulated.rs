//! A disk that can lose power.
//!
//! [`SimulatedDisk`] keeps every call in a journal. [`SimulatedDisk::after_power_cut`] makes the disk
//! that a machine might find when power fails right after the first `calls` of them: what was synced
//! is there, and of the rest a seeded coin decides what is kept, lost or torn.
//!
//! The model is as nasty as real disks are, and no friendlier:
//! - unsynced bytes are lost, torn, zero or whole, sector by sector, in any order;
//! - an unsynced truncation may not have happened: the bytes it removed are back, and what was
//!   appended behind it is gone;
//! - an unsynced create, rename, unlink or new folder may or may not have happened, independently of
//!   the others; without a folder's own name everything in it is gone;
//! - a sync that fails drops the bytes it was asked for: a later sync that succeeds does not bring
//!   them to the disk, though they still read back.
//!
//! In one file because it is one model of a disk, whose rules hold together or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Disk, DiskFile};
use crate::files::room::Space;

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
    FailedSync { inode: usize },
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
    /// The one call at this place in the journal.
    Call(usize),
}

/// Names, and bytes by inode.
#[derive(Debug, Clone, Default)]
struct Tree {
    names: BTreeMap<String, usize>,
    folders: BTreeSet<String>,
    inodes: Vec<Vec<u8>>,
}

#[derive(Debug, Clone, Default)]
struct State {
    /// What programs see.
    live: Tree,
    /// What was durable before the first recorded call.
    base: Tree,
    /// The path an inode was created under: names the sync points.
    born: Vec<String>,
    journal: Vec<Call>,
    /// Syncs that silently do nothing: the disk of a program that forgot them.
    forgotten: Vec<SyncPoint>,
    /// Bytes that can still be appended, when the disk is nearly full.
    budget_bytes: Option<u64>,
    /// How many of them stay free.
    reserve: u64,
    /// Syncs that still succeed, and how many fail after them.
    failing: Option<(usize, usize)>,
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

    /// A copy that shares nothing with this one.
    pub fn fork(&self) -> Self {
        Self::of(self.state.lock().clone())
    }

    fn of(state: State) -> Self {
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Makes the given sync do nothing, also in the part of the journal that is written already, and
    /// on the disks found after a power cut.
    pub fn forgetting(&self, point: SyncPoint) {
        self.state.lock().forgotten.push(point);
    }

    /// Lets appends succeed for so many more bytes, then fail as a full disk does.
    pub fn set_space(&self, bytes: Option<u64>) {
        self.state.lock().budget_bytes = bytes;
    }

    /// Lets so many bytes stay free, of a disk that is nearly full.
    pub fn set_reserve(&self, bytes: u64) {
        self.state.lock().reserve = bytes;
    }

    /// Lets `good` more syncs succeed and the `bad` ones after them fail, of files and folders alike.
    pub fn fail_syncs(&self, good: usize, bad: usize) {
        self.state.lock().failing = Some((good, bad));
    }

    /// How many calls were recorded.
    pub fn calls(&self) -> usize {
        self.state.lock().journal.len()
    }

    /// The calls in these places of the journal, for the message of a test that failed.
    pub fn story(&self, calls: Range<usize>) -> Vec<String> {
        let state = self.state.lock();
        let told = state.journal.iter().enumerate().filter(|(at, _)| calls.contains(at));
        told.map(|(at, call)| format!("{at}: {}", state.tell(call))).collect()
    }

    /// Every different sync that was called, by the shape of its path.
    pub fn sync_points(&self) -> Vec<SyncPoint> {
        let mut points: Vec<_> = self.sync_calls().into_iter().map(|(_, point)| point).collect();
        points.sort();
        points.dedup();
        points
    }

    /// Every sync that was called: its place in the journal, and what it was for.
    pub fn sync_calls(&self) -> Vec<(usize, SyncPoint)> {
        let state = self.state.lock();
        let point = |call: &Call| state.point_of(call);
        state.journal.iter().enumerate().filter_map(|(at, call)| Some((at, point(call)?))).collect()
    }

    /// Changes one byte of a file, as a failing medium does. Says whether there was such a byte.
    pub fn flip(&self, path: &str, offset: usize) -> bool {
        let mut state = self.state.lock();
        let Some(inode) = state.live.names.get(path).copied() else { return false };
        match state.live.inodes.get_mut(inode).and_then(|bytes| bytes.get_mut(offset)) {
            Some(byte) => {
                *byte ^= 0x01;
                true
            }
            None => false,
        }
    }

    /// The disk as the next process finds it when this one was killed behind the first `calls` calls:
    /// nothing is lost, and nothing has become durable.
    pub fn after_kill(&self, calls: usize) -> Self {
        let mut state = self.state.lock().clone();
        state.journal.truncate(calls);
        let mut after = Aftermath::of(&state.base);
        for call in &state.journal {
            after.replay(call, false);
        }
        state.live = after.seen();
        state.born.truncate(state.live.inodes.len());
        (state.budget_bytes, state.failing) = (None, None);
        // The calls from here on are other ones.
        state.forgotten.retain(|point| !matches!(point, SyncPoint::Call(at) if *at >= calls));
        Self::of(state)
    }

    /// Whether bytes that a failed sync dropped still read back behind the first `calls` calls: a
    /// process that begins here cannot tell that they are not on the disk.
    pub fn lies(&self, calls: usize) -> bool {
        let state = self.state.lock();
        let mut after = Aftermath::of(&state.base);
        for call in state.journal.iter().take(calls) {
            after.replay(call, false);
        }
        after.files.iter().any(|file| file.dropped.is_some())
    }

    /// The disk as found after power failed behind the first `calls` calls. `seed` decides about
    /// everything that was not synced by then.
    pub fn after_power_cut(&self, calls: usize, seed: u64) -> Self {
        let state = self.state.lock();
        let mut coin = Coin(seed ^ 0x9e37_79b9_7f4a_7c15);
        let mut after = Aftermath::of(&state.base);
        for (at, call) in state.journal.iter().enumerate().take(calls) {
            let forgotten = state.point_of(call).is_some_and(|point| {
                state.forgotten.iter().any(|f| *f == point || *f == SyncPoint::Call(at))
            });
            after.replay(call, forgotten);
        }
        let (base, born) = after.lose(&mut coin);
        // Single calls are of this journal; what is of a kind stays forgotten.
        let forgotten = state.forgotten.iter();
        let forgotten = forgotten.filter(|point| !matches!(point, SyncPoint::Call(_))).cloned();
        Self::of(State {
            live: base.clone(),
            base,
            born,
            forgotten: forgotten.collect(),
            ..State::default()
        })
    }
}

impl State {
    fn tell(&self, call: &Call) -> String {
        let path = |inode: &usize| self.born.get(*inode).map_or("?", String::as_str);
        match call {
            Call::Append { inode, bytes } => {
                format!("append {} bytes to {}", bytes.len(), path(inode))
            }
            Call::Truncate { inode, length } => format!("cut {} to {length} bytes", path(inode)),
            Call::Sync { inode } => format!("sync {}", path(inode)),
            Call::FailedSync { inode } => format!("fail to sync {}", path(inode)),
            other => format!("{other:?}"),
        }
    }

    fn point_of(&self, call: &Call) -> Option<SyncPoint> {
        match call {
            Call::Sync { inode } => self.born.get(*inode).map(|path| SyncPoint::File(shape(path))),
            Call::SyncFolder { path } => Some(SyncPoint::Folder(path.clone())),
            _ => None,
        }
    }

    /// Whether the sync that is about to happen fails.
    fn sync_fails(&mut self) -> bool {
        match &mut self.failing {
            Some((0, 0)) | None => false,
            Some((0, bad)) => {
                *bad -= 1;
                true
            }
            Some((good, _)) => {
                *good -= 1;
                false
            }
        }
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

    fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % count.max(1) as u64).unwrap_or(0)
    }
}

/// One file's bytes: those that are durable, and those that may be.
#[derive(Clone, Default)]
struct Content {
    durable: Vec<u8>,
    live: Vec<u8>,
    /// How much of the durable bytes is still part of the live ones.
    kept: usize,
    /// What was live, and how much of it durable, before each truncation that was not synced.
    before: Vec<(usize, Vec<u8>)>,
    /// Bytes that a failed sync dropped.
    dropped: Option<Range<usize>>,
}

impl Content {
    fn of(bytes: &[u8]) -> Self {
        Self { durable: bytes.to_vec(), live: bytes.to_vec(), kept: bytes.len(), ..Self::default() }
    }

    fn truncate(&mut self, length: usize) {
        self.before.push((self.kept, self.live.clone()));
        self.live.truncate(length);
        self.kept = self.kept.min(length);
        self.dropped = self
            .dropped
            .take()
            .map(|range| range.start..range.end.min(length))
            .filter(|range| !range.is_empty());
    }

    fn sync(&mut self) {
        self.durable = self.live.clone();
        if let Some(bytes) = self.dropped.clone().and_then(|range| self.durable.get_mut(range)) {
            bytes.fill(0);
        }
        self.kept = self.live.len();
        self.before.clear();
    }

    fn fail_sync(&mut self) {
        let from = self.dropped.as_ref().map_or(self.kept, |range| range.start.min(self.kept));
        self.dropped = Some(from..self.live.len()).filter(|range| !range.is_empty());
    }

    fn lose(mut self, coin: &mut Coin) -> Vec<u8> {
        let which = coin.below(self.before.len() + 1);
        let (kept, live) = match self.before.get(which) {
            Some((kept, live)) => (*kept, live),
            None => (self.kept, &self.live),
        };
        self.durable.truncate(kept);
        tear(self.durable, live, coin)
    }
}

/// What is durable, and what is only perhaps there.
struct Aftermath {
    files: Vec<Content>,
    durable_names: BTreeMap<String, usize>,
    durable_folders: BTreeSet<String>,
    live_names: BTreeMap<String, usize>,
    live_folders: BTreeSet<String>,
    /// Changes of names since the last sync of their folder, in order.
    pending: Vec<Pending>,
}

enum Pending {
    Name(String, Option<usize>),
    Folder(String),
}

impl Pending {
    fn folder(&self) -> &str {
        match self {
            Self::Name(path, _) | Self::Folder(path) => folder_of(path),
        }
    }
}

impl Aftermath {
    fn of(base: &Tree) -> Self {
        Self {
            files: base.inodes.iter().map(|bytes| Content::of(bytes)).collect(),
            durable_names: base.names.clone(),
            durable_folders: base.folders.clone(),
            live_names: base.names.clone(),
            live_folders: base.folders.clone(),
            pending: Vec::new(),
        }
    }

    fn replay(&mut self, call: &Call, forgotten: bool) {
        match call {
            Call::Create { path, inode } => {
                self.files.resize(self.files.len().max(inode + 1), Content::default());
                self.set_name(path, Some(*inode));
            }
            Call::CreateFolder { path } => {
                self.live_folders.insert(path.clone());
                self.pending.push(Pending::Folder(path.clone()));
            }
            Call::Rename { from, to } => {
                let inode = self.live_names.get(from).copied();
                self.set_name(to, inode);
                self.set_name(from, None);
            }
            Call::Unlink { path } => self.set_name(path, None),
            Call::SyncFolder { path } if !forgotten => {
                for change in std::mem::take(&mut self.pending) {
                    if change.folder() == path {
                        self.make_durable(change);
                    } else {
                        self.pending.push(change);
                    }
                }
            }
            Call::SyncFolder { .. } => {}
            Call::Append { inode, .. }
            | Call::Truncate { inode, .. }
            | Call::Sync { inode }
            | Call::FailedSync { inode } => {
                let Some(file) = self.files.get_mut(*inode) else { return };
                match call {
                    Call::Append { bytes, .. } => file.live.extend_from_slice(bytes),
                    Call::Truncate { length, .. } => {
                        file.truncate(usize::try_from(*length).unwrap_or(usize::MAX));
                    }
                    Call::Sync { .. } if !forgotten => file.sync(),
                    Call::FailedSync { .. } => file.fail_sync(),
                    _ => {}
                }
            }
        }
    }

    fn set_name(&mut self, path: &str, inode: Option<usize>) {
        apply_name(&mut self.live_names, path, inode);
        self.pending.push(Pending::Name(path.to_owned(), inode));
    }

    fn make_durable(&mut self, change: Pending) {
        match change {
            Pending::Name(path, inode) => apply_name(&mut self.durable_names, &path, inode),
            Pending::Folder(path) => {
                self.durable_folders.insert(path);
            }
        }
    }

    /// What a program sees.
    fn seen(self) -> Tree {
        Tree {
            names: self.live_names,
            folders: self.live_folders,
            inodes: self.files.into_iter().map(|file| file.live).collect(),
        }
    }

    /// What is left without power, and under which path each file was.
    fn lose(mut self, coin: &mut Coin) -> (Tree, Vec<String>) {
        for change in std::mem::take(&mut self.pending) {
            if coin.flip() {
                self.make_durable(change);
            }
        }
        let mut tree = Tree { folders: self.durable_folders, ..Tree::default() };
        let mut born = Vec::new();
        for (path, inode) in self.durable_names {
            let folder = folder_of(&path);
            if !folder.is_empty() && !tree.folders.contains(folder) {
                continue;
            }
            // Two names of one file: a rename of which only half is durable.
            let content = self.files.get(inode).cloned().unwrap_or_default();
            let fresh = tree.inodes.len();
            tree.inodes.push(content.lose(coin));
            born.push(path.clone());
            tree.names.insert(path, fresh);
        }
        (tree, born)
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

fn absent(path: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{path}: no such file or folder"))
}

impl Disk for SimulatedDisk {
    fn create(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state.lock();
        if state.live.names.contains_key(path) {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, path.to_owned()));
        }
        let folder = folder_of(path);
        if !folder.is_empty() && !state.live.folders.contains(folder) {
            return Err(absent(folder));
        }
        let inode = state.live.inodes.len();
        state.live.inodes.push(Vec::new());
        state.born.push(path.to_owned());
        state.live.names.insert(path.to_owned(), inode);
        state.journal.push(Call::Create { path: path.to_owned(), inode });
        Ok(Arc::new(SimulatedFile { disk: self.clone(), inode }))
    }

    fn open(&self, path: &str) -> io::Result<Option<Arc<dyn DiskFile>>> {
        let state = self.state.lock();
        Ok(state.live.names.get(path).map(|&inode| {
            Arc::new(SimulatedFile { disk: self.clone(), inode }) as Arc<dyn DiskFile>
        }))
    }

    fn create_folder(&self, path: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        if !path.is_empty() && state.live.folders.insert(path.to_owned()) {
            state.journal.push(Call::CreateFolder { path: path.to_owned() });
        }
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        let inode = state.live.names.remove(from).ok_or_else(|| absent(from))?;
        state.live.names.insert(to.to_owned(), inode);
        state.journal.push(Call::Rename { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    fn unlink(&self, path: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.live.names.remove(path).is_some() {
            state.journal.push(Call::Unlink { path: path.to_owned() });
        }
        Ok(())
    }

    fn sync_folder(&self, path: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        if !path.is_empty() && !state.live.folders.contains(path) {
            return Err(absent(path));
        }
        if state.sync_fails() {
            return Err(io::Error::other("the disk failed to sync the folder"));
        }
        state.journal.push(Call::SyncFolder { path: path.to_owned() });
        Ok(())
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let state = self.state.lock();
        let last = |name: &str| name.rsplit('/').next().unwrap_or(name).to_owned();
        let files = state.live.names.keys().filter(|name| folder_of(name) == path);
        let folders = state.live.folders.iter().filter(|folder| folder_of(folder) == path);
        let mut names: Vec<String> = files
            .map(|name| last(name))
            .chain(folders.map(|folder| format!("{}/", last(folder))))
            .collect();
        names.sort();
        Ok(names)
    }

    fn space(&self, _: &str) -> io::Result<Space> {
        let state = self.state.lock();
        let of = |free| Space { free, reserve: state.reserve };
        Ok(state.budget_bytes.map_or(Space::ENDLESS, of))
    }

    /// Its files hold what they contain, and no more.
    fn set_aside(&self, _: &str, _: u64) -> io::Result<()> {
        Ok(())
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
        if let Some(content) = state.live.inodes.get_mut(self.inode) {
            content.extend_from_slice(&bytes);
        }
        state.journal.push(Call::Append { inode: self.inode, bytes });
        if full { Err(io::Error::from(io::ErrorKind::StorageFull)) } else { Ok(()) }
    }

    fn read_some(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let state = self.disk.state.lock();
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let content = state.live.inodes.get(self.inode);
        let rest = content.and_then(|bytes| bytes.get(offset..)).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }

    fn length(&self) -> io::Result<u64> {
        let state = self.disk.state.lock();
        Ok(state.live.inodes.get(self.inode).map_or(0, |bytes| bytes.len() as u64))
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        if state.sync_fails() {
            state.journal.push(Call::FailedSync { inode: self.inode });
            return Err(io::Error::other("the disk failed to sync"));
        }
        state.journal.push(Call::Sync { inode: self.inode });
        Ok(())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        if let Some(bytes) = state.live.inodes.get_mut(self.inode) {
            bytes.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        }
        state.journal.push(Call::Truncate { inode: self.inode, length });
        Ok(())
    }
}
