//! Reads every byte of a data folder and says what is wrong with it, and where.
//!
//! Called by `lucid verify --all`, and by tests; it reads through [`Disk`] and writes nothing. It covers
//! `STORE`, `keys/`, `CLOSED`, `log/` and `chunks/`; `blocks/` and `TIP` belong to the chain's own audit,
//! and `index/` and `run/` hold nothing of their own. One thread walks the headers ([`logs`],
//! [`segments`]) and hands the records, in stretches, to as many as there are cores ([`pool`]).
//!
//! A damaged record costs that record: the walk goes on behind it. What a crash may have torn off behind the
//! last commit is listed apart, as [`Audit::torn`]: nobody was promised it.

mod elsewhere;
mod labels;
mod logs;
mod pool;
mod segments;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::contract::blobs::Blobs;
use crate::contract::fact_log::FactLog;
use crate::crypt::Cipher;
use crate::files::disk::{self, Disk, DiskFile};
use crate::files::watermark;
use crate::files::watermark::Watermark;
use crate::files::{folder, log, segment};
use crate::frame::Header;
use crate::{Damage, StoreError};
use pool::Work;

/// What was read, and what is wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audit {
    /// Files that were read.
    pub files: u64,
    /// Bytes of the log and the segments.
    pub bytes: u64,
    /// Records with a sound header.
    pub records: u64,
    /// Chunk records among them.
    pub chunks: u64,
    /// Facts among them.
    pub facts: u64,
    /// Commits among them.
    pub commits: u64,
    /// Records that were opened, decompressed and hashed again.
    pub opened: u64,
    /// Bytes that came out of them.
    pub plain_bytes: u64,
    /// What is wrong, by file and place.
    pub damage: Vec<Damage>,
    /// Records whose data key is not here: nobody knows whether they are sound, so the store is not called
    /// so. The list ends as [`DamageList`](crate::damage::DamageList) does.
    pub unopened: Vec<Damage>,
    /// What follows the last commit without belonging to one: a crash leaves this, and the next start
    /// cuts it off.
    pub torn: Vec<Damage>,
    /// Files and folders that no part of Lucid makes.
    pub unknown: Vec<String>,
    /// Files and folders that are audited elsewhere, with the chain.
    pub elsewhere: Vec<String>,
    /// What this audit could not know, as sentences without a full stop.
    pub not_checked: Vec<String>,
}

/// Audits the folder on `disk`. Without a `cipher` payloads are compared with their digests only.
/// `mark` is a place that the log is known to have reached (an index's watermark, say), beside the one
/// that `CLOSED` names. `progress` hears how many bytes of how many are done.
pub fn audit(
    disk: &Arc<dyn Disk>,
    cipher: Option<&Cipher>,
    store: [u8; 16],
    mark: Option<Watermark>,
    progress: &dyn Fn(u64, u64),
) -> Result<Audit, StoreError> {
    audit_with(disk, cipher, store, mark, None, progress)
}

/// The half of a store that is not in its folder.
#[derive(Clone, Copy)]
pub enum OtherHalf<'a> {
    /// The log: what it says of itself by reading it through, and what it says of chunks.
    Log(&'a dyn FactLog),
    /// The chunks: every record of every unit.
    Chunks(&'a dyn Blobs),
}

/// Audits the folder on `disk` like [`audit`], and the half of the store that is elsewhere.
pub fn audit_with(
    disk: &Arc<dyn Disk>,
    cipher: Option<&Cipher>,
    store: [u8; 16],
    mark: Option<Watermark>,
    other: Option<OtherHalf<'_>>,
    progress: &dyn Fn(u64, u64),
) -> Result<Audit, StoreError> {
    let mut found = Audit::default();
    let listed = FolderListing::of(disk.as_ref(), &mut found)?;
    labels::audit(disk.as_ref(), &mut found)?;
    let has_log = !matches!(other, Some(OtherHalf::Log(_)));
    let mut marks = Vec::from_iter(mark.filter(|mark| has_log && mark.commit > 0));
    let closed = match has_log {
        true => watermark::read_mark(disk.as_ref(), &mut found.damage)?,
        false => None,
    };
    match closed {
        // A store that was never closed has a mark that says nothing.
        Some(closed) => marks.extend(Some(closed).filter(|closed| closed.commit > 0)),
        None if !has_log => {}
        None => found.not_checked.push(format!(
            "whether the log is whole to its end: there is no sound {} mark",
            watermark::MARK
        )),
    }
    if cipher.is_none() {
        found.not_checked.push("what the records hold: no keys were given to open them".into());
    }
    let total = listed.bytes + other.map_or(Ok(0), |other| other.bytes())?;
    let auditor = Auditor {
        disk: disk.as_ref(),
        store,
        bound: marks.iter().map(Watermark::place).max().unwrap_or((0, 0)),
        marks,
        found,
        ranges: BTreeMap::new(),
        log_zone: (0, 0),
        chunk_zone: (0, 0),
        log_end: (0, 0),
        chunk_end: (0, 0),
        log_was_damaged: false,
        summed: (0, 0),
        needless: BTreeSet::new(),
        other,
        cipher,
    };
    let mut found = pool::with_workers(cipher, total, progress, |work| auditor.run(&listed, work))?;
    found.damage.sort();
    found.damage.dedup();
    found.unopened.sort();
    Ok(found)
}

/// Audits the label and the keys of a folder alone.
pub(crate) fn audit_labels(disk: &dyn Disk) -> Result<Audit, StoreError> {
    let mut found = Audit::default();
    labels::audit(disk, &mut found)?;
    Ok(found)
}

/// The files there are to read.
struct FolderListing {
    logs: Vec<u32>,
    segments: Vec<u32>,
    bytes: u64,
}

impl FolderListing {
    fn of(disk: &dyn Disk, found: &mut Audit) -> Result<Self, StoreError> {
        let list =
            |folder: &str| disk.list(folder).map_err(StoreError::io(format!("listing {folder}/")));
        for name in list("")? {
            let bare = name.trim_end_matches('/');
            match bare {
                log::FOLDER | segment::FOLDER | folder::KEYS | folder::INDEX | folder::RUN => {}
                // Neither is a part of the store.
                folder::MOVING_INDEX | folder::MOVING_INDEX_HERE | folder::BEFORE_MOVE => {}
                folder::STORE | watermark::MARK => found.files += 1,
                _ if bare == folder::copy_name(folder::STORE) => found.files += 1,
                "blocks" | "staging" | "TIP" | "TIP.new" => found.elsewhere.push(name),
                "CLOSED.new" | "STORE.new" | "STORE.copy.new" => found.torn.push(Damage::new(
                    name,
                    0,
                    "a replacement of the file was interrupted; the next one removes it",
                )),
                _ => found.unknown.push(name),
            }
        }
        let mut numbered = |folder: &str, number_in: fn(&str) -> Option<u32>| {
            let mut numbers = Vec::new();
            for name in list(folder)? {
                match number_in(&name) {
                    None if folder == log::FOLDER && name.ends_with(".log.new") => {
                        let why = "condensing the file was interrupted; the next start removes it";
                        found.torn.push(Damage::new(format!("{folder}/{name}"), 0, why));
                    }
                    Some(number) => numbers.push(number),
                    None => found.unknown.push(format!("{folder}/{name}")),
                }
            }
            numbers.sort_unstable();
            Ok::<_, StoreError>(numbers)
        };
        let logs = numbered(log::FOLDER, |name| log::number_of(name, "log"))?;
        let segments = numbered(segment::FOLDER, segment::number_in)?;
        let paths = logs.iter().map(|n| log::path(*n));
        let mut bytes = 0;
        for path in paths.chain(segments.iter().map(|n| segment::path(*n))) {
            let context = || StoreError::io(format!("reading {path}"));
            if let Ok(file) = disk::find(disk, &path)? {
                bytes += file.length().map_err(context())?;
            }
        }
        Ok(Self { logs, segments, bytes })
    }
}

/// The range of a segment that a commit answers for.
struct Range {
    commit: u64,
    from: u64,
    to: u64,
    digest: [u8; 32],
    /// Where the commit is, to be named when its chunks are missing.
    log: String,
}

/// What the walk has learned so far.
struct Auditor<'a> {
    disk: &'a dyn Disk,
    store: [u8; 16],
    marks: Vec<Watermark>,
    /// Everything in the log below this place was acknowledged.
    bound: (u32, u64),
    found: Audit,
    ranges: BTreeMap<u32, Vec<Range>>,
    /// From here on, damage in the log is only torn.
    log_zone: (u32, u64),
    /// From here on, damage in the segments is only torn.
    chunk_zone: (u32, u64),
    /// The end of the last commit.
    log_end: (u32, u64),
    /// The end of the last chunk that a commit or a mark answers for.
    chunk_end: (u32, u64),
    /// Whether commits may be missing from what was read, so that chunks may lack theirs.
    log_was_damaged: bool,
    /// The end of the last chunk that summaries answer for.
    summed: (u32, u64),
    /// Rewritten segments that nothing relies on yet.
    needless: BTreeSet<u32>,
    /// What is not in the folder.
    other: Option<OtherHalf<'a>>,
    /// Opens what is in memory.
    cipher: Option<&'a Cipher>,
}

/// A file and its length.
type OpenedFile = (Arc<dyn DiskFile>, u64);

impl Auditor<'_> {
    fn run(mut self, listed: &FolderListing, work: &mut Work<'_>) -> Result<Audit, StoreError> {
        match self.other {
            Some(OtherHalf::Log(log)) => {
                let logs = listed.logs.iter().map(|number| log::path(*number));
                self.found.unknown.extend(logs);
                self.log_elsewhere(log, work)?;
            }
            _ => self.logs(&listed.logs, work)?,
        }
        match self.other {
            Some(OtherHalf::Chunks(blobs)) => {
                let segments = listed.segments.iter().map(|number| segment::path(*number));
                self.found.unknown.extend(segments);
                self.units_elsewhere(blobs, work)?;
            }
            _ => self.segments(&listed.segments, work)?,
        }
        let checked = work.finish();
        if let Some(error) = checked.failed {
            return Err(error);
        }
        self.found.opened += checked.opened;
        self.found.plain_bytes += checked.plain_bytes;
        self.found.damage.extend(checked.damage);
        self.found.unopened = checked.unopened.into();
        self.set_torn_apart();
        Ok(self.found)
    }

    /// Opens a file; one that is missing, or that the disk will not read, is damage.
    fn open(&mut self, path: &str) -> Result<Option<OpenedFile>, StoreError> {
        match disk::find(self.disk, path)? {
            Ok(file) => {
                self.found.files += 1;
                let length = file.length().map_err(StoreError::io(format!("reading {path}")))?;
                Ok(Some((file, length)))
            }
            Err(damage) => {
                self.found.damage.push(damage);
                Ok(None)
            }
        }
    }

    /// Names the files between the one that was looked at last and this one.
    fn name_gap(&mut self, last: u32, number: u32, path: fn(u32) -> String) -> bool {
        let gap = last.saturating_add(1)..=number.saturating_sub(1);
        if gap.is_empty() {
            return false;
        }
        self.found.damage.push(Damage::missing(gap, path));
        true
    }

    fn damage(&mut self, path: &str, offset: u64, why: &str) {
        self.found.damage.push(Damage::new(path, offset, why));
    }

    /// The payload of a record that the walk itself needs; `None` when it is damaged, which is noted.
    fn small_payload(
        &mut self,
        file: &dyn DiskFile,
        path: &str,
        offset: u64,
        header: &Header,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let why = match crate::frame::read_payload(file, path, offset, header)? {
            Ok(_) if header.name != header.payload_digest => "the record's name is not its digest",
            Ok(payload) => return Ok(Some(payload)),
            Err(why) => why,
        };
        self.damage(path, offset, why);
        Ok(None)
    }

    /// Moves what a crash may have left behind the last commit from the damage to the torn.
    fn set_torn_apart(&mut self) {
        let (log_zone, chunk_zone) = (self.log_zone, self.chunk_zone);
        let is_torn = |damage: &Damage| {
            let number = |folder: &str, extension| {
                let name = damage.file.strip_prefix(folder)?.strip_prefix('/')?;
                log::number_of(name, extension)
            };
            let is_rewritten = |number: u32| number & segment::REWRITTEN != 0;
            match (number(log::FOLDER, "log"), segment::number_of(&damage.file)) {
                // It was whole before anything relied on it.
                (_, Some(number)) if is_rewritten(number) => self.needless.contains(&number),
                (Some(number), _) => (number, damage.offset) >= log_zone,
                (_, Some(number)) => (number, damage.offset) >= chunk_zone,
                _ => false,
            }
        };
        let (torn, damage): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.found.damage).into_iter().partition(is_torn);
        self.found.damage = damage;
        self.found.torn.extend(torn);
        self.found.torn.sort();
        self.found.torn.dedup();
    }
}
