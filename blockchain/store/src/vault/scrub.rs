//! Reads stored records again, file after file, and names what is damaged.
//!
//! A chunk that is damaged where it is in use is quarantined, so that the same content sent again
//! replaces it; if the store has another sound copy of the record, that takes its place at the end of
//! the round. Copies are looked for once, for all damaged chunks together: it takes every footer.

use std::collections::BTreeMap;
use std::sync::Arc;

use lucid_core::digest::ChunkName;

use crate::codec::Packer;
use crate::contract::blobs::Placement;
use crate::crypt::Unopened;
use crate::files::disk::{self, DiskFile};
use crate::files::segment::{self, Footer, REWRITTEN};
use crate::files::segment_rows;
use crate::files::watermark::Watermark;
use crate::files::{log, rewrite};
use crate::frame::{self, Header, Kind, Scanner, Sealed, Step};
use crate::vault::Vault;
use crate::vault::chunk_rows;
use crate::vault::committer::Submission;
use crate::{Damage, StoreError};

/// Where a round of reading is: the log first, then segments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// Whether the log has been read.
    pub chunks: bool,
    /// The file.
    pub number: u32,
    /// Everything before this has been read.
    pub offset: u64,
}

/// Something that is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where, and why.
    pub damage: Damage,
    /// Which chunk it was, if that is known.
    pub chunk: Option<ChunkName>,
}

/// What a stretch of reading came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stretch {
    /// Bytes that were read.
    pub bytes: u64,
    /// Records among them.
    pub records: u64,
    /// What was damaged.
    pub findings: Vec<Finding>,
    /// Where to go on; `None` at the end.
    pub next: Option<Cursor>,
}

/// What a damaged chunk's place means now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The chunk is needed from there, and cannot be read.
    Quarantined,
    /// A sound copy is elsewhere.
    Healed,
    /// Nothing refers to it.
    Unused,
}

/// Damaged chunks for which another copy is looked for at the end of a round; the next round takes more.
const UNHEALED_MAX: usize = 100_000;

/// Reads records of one file until so many bytes are read.
struct Reader<'a> {
    vault: &'a Vault,
    packer: Packer,
    room: Vec<u8>,
    limit: u64,
    stretch: Stretch,
}

impl Vault {
    /// How many bytes a whole round reads, if every chunk is read.
    pub fn scrub_bytes(&self) -> Result<u64, StoreError> {
        let logs = log::numbers(self.disk()?.as_ref())?;
        let mut paths: Vec<String> = logs.into_iter().map(log::path).collect();
        paths.extend(segment::numbers(self.disk()?.as_ref())?.into_iter().map(segment::path));
        let mut bytes = 0;
        for path in paths {
            let context = || StoreError::io(format!("measuring {path}"));
            if let Ok(file) = disk::find(self.disk()?.as_ref(), &path)? {
                bytes += file.length().map_err(context())?;
            }
        }
        Ok(bytes)
    }

    /// Reads on from a place, until at least so many bytes are read. Of the chunks only those are read
    /// that `wanted` names; all of the log is.
    pub fn scrub(
        &self,
        from: Cursor,
        limit: u64,
        wanted: &dyn Fn(&ChunkName) -> bool,
    ) -> Result<Stretch, StoreError> {
        let (packer, room) = (Packer::new(), Vec::new());
        let mut reader = Reader { vault: self, packer, room, limit, stretch: Stretch::default() };
        let mut at = Some(from);
        if from == Cursor::default() {
            self.unhealed().lock().clear();
        }
        while let Some(cursor) = at {
            let to = segment_rows::watermark(self.index())?;
            at = if cursor.chunks {
                reader.segment(cursor, &to, wanted)?
            } else {
                reader.log(cursor, &to)?
            };
            if reader.is_full() {
                break;
            }
        }
        if at.is_none() {
            reader.heal()?;
        }
        reader.stretch.next = at;
        Ok(reader.stretch)
    }

    /// What became of a damaged chunk since it was found at this place.
    pub fn standing(&self, chunk: &ChunkName, damage: &Damage) -> Result<Standing, StoreError> {
        let place = segment::number_of(&damage.file).map(|number| (number, damage.offset));
        Ok(match chunk_rows::placement(self.index(), chunk)? {
            None => Standing::Unused,
            Some(now) if Some((now.segment, now.offset)) == place => Standing::Quarantined,
            Some(_) => Standing::Healed,
        })
    }
}

/// Where a record begins, at a place or behind it: the file may have been condensed since the place was
/// noted, and then it is in the middle of one.
fn boundary(file: &dyn DiskFile, path: &str, at: u64, end: u64) -> Result<u64, StoreError> {
    if at == 0 || !matches!(frame::read_header(file, path, at)?, Some(Err(_))) {
        return Ok(at);
    }
    let mut scanner = Scanner::new(file, path, 0, end);
    while scanner.offset() < at && scanner.step()?.is_some() {}
    Ok(scanner.offset())
}

impl Reader<'_> {
    fn is_full(&self) -> bool {
        self.stretch.bytes >= self.limit
    }

    fn open(&self, path: &str) -> Result<Result<Arc<dyn DiskFile>, Damage>, StoreError> {
        disk::find(self.vault.disk()?.as_ref(), path)
    }

    fn found(&mut self, damage: Damage, chunk: Option<ChunkName>) {
        self.stretch.findings.push(Finding { damage, chunk });
    }

    /// Reads a log file on, and says where the round goes on.
    fn log(&mut self, cursor: Cursor, to: &Watermark) -> Result<Option<Cursor>, StoreError> {
        let number = cursor.number.max(1);
        if number > to.log {
            return Ok(Some(Cursor { chunks: true, number: 0, offset: 0 }));
        }
        let listed = log::listed(self.vault.disk()?.as_ref(), self.vault.store()?, to.log)?;
        if !listed.files.contains(&number) {
            let there = listed.files.iter().copied().find(|there| *there > number);
            let next = there.unwrap_or(to.log.saturating_add(1));
            for gap in listed.missing {
                let gap = number.max(*gap.start())..=*gap.end();
                if gap.start() < &next && !gap.is_empty() {
                    self.found(Damage::missing(gap, log::path), None);
                }
            }
            for (_, damage) in listed.foreign.range(number..next) {
                self.found(damage.clone(), None);
            }
            return Ok(Some(Cursor { chunks: false, number: next, offset: 0 }));
        }
        let next = Cursor { chunks: false, number: number.saturating_add(1), offset: 0 };
        let path = log::path(number);
        let file = match self.open(&path)? {
            Ok(file) => file,
            Err(damage) => {
                self.found(damage, None);
                return Ok(Some(next));
            }
        };
        let length = file.length().map_err(StoreError::io(format!("reading {path}")))?;
        let end = if number == to.log { to.offset.min(length) } else { length };
        let from = boundary(file.as_ref(), &path, cursor.offset.min(end), end)?;
        let mut scanner = Scanner::new(file.as_ref(), &path, from, end);
        while let Some(step) = scanner.step()? {
            match step {
                Step::Damaged(damage) => self.found(damage, None),
                Step::Record(offset, header) => {
                    self.stretch.records += 1;
                    self.stretch.bytes += header.record_bytes();
                    let read = frame::read_payload(file.as_ref(), &path, offset, &header)?;
                    if let Some(why) = read.map_or_else(
                        |why| Ok(Some(why.to_owned())),
                        |payload| self.fault(&header, payload),
                    )? {
                        self.found(Damage::new(path.as_str(), offset, why), None);
                    }
                }
            }
            if self.is_full() {
                let offset = scanner.offset();
                return Ok(Some(Cursor { chunks: false, number, offset }));
            }
        }
        Ok(Some(next))
    }

    /// What is wrong with a record, if anything is.
    fn fault(
        &mut self,
        header: &Header,
        mut payload: Vec<u8>,
    ) -> Result<Option<String>, StoreError> {
        if !header.matches(&payload) {
            return Ok(Some(frame::UNSOUND.into()));
        }
        if !matches!(header.kind, Kind::Fact | Kind::Chunk) {
            return Ok(None);
        }
        let sealer = self.vault.sealer();
        match sealer.check(&mut self.packer, header, &mut payload, &mut self.room) {
            Ok(()) => Ok(None),
            Err(Unopened::Damaged(why)) => Ok(Some(why)),
            Err(why @ Unopened::NoKey(_)) => Err(StoreError::Key(why.to_string())),
        }
    }

    /// The segments that are part of the store: not those that are only being written.
    fn numbers(&self, to: &Watermark) -> Result<Vec<u32>, StoreError> {
        let mut numbers = segment::numbers(self.vault.disk()?.as_ref())?;
        let rewritten = segment_rows::rewritten(self.vault.index())?;
        numbers.retain(|number| match number & REWRITTEN {
            0 => *number <= to.segment,
            _ => rewritten.contains(number),
        });
        Ok(numbers)
    }

    /// Names the segments from one number up to the next that is there, or to the end: those that should be
    /// there, and whose loss nobody has accepted.
    fn name_gap(
        &mut self,
        from: u32,
        next: Option<u32>,
        rewritten: &[u32],
        to: &Watermark,
    ) -> Result<(), StoreError> {
        let before = |last: u32| next.map_or(last, |next| last.min(next.saturating_sub(1)));
        let mut lost = vec![from.max(1)..=before(to.last_segment())];
        let skipped = rewritten.iter().filter(|number| (from..=before(u32::MAX)).contains(number));
        lost.extend(skipped.map(|number| *number..=*number));
        rewrite::keep_lost(self.vault.index(), &mut lost)?;
        rewrite::leave_accepted(self.vault.unread(), &mut lost);
        for numbers in lost {
            self.found(Damage::missing(numbers, segment::path), None);
        }
        Ok(())
    }

    fn segment(
        &mut self,
        cursor: Cursor,
        to: &Watermark,
        wanted: &dyn Fn(&ChunkName) -> bool,
    ) -> Result<Option<Cursor>, StoreError> {
        // Asked for before files are listed, and what was replaced after: none is away only for a while.
        let known = segment_rows::rewritten(self.vault.index())?;
        let numbers = self.numbers(to)?;
        let number = numbers.into_iter().filter(|number| *number >= cursor.number).min();
        self.name_gap(cursor.number, number, &known, to)?;
        let Some(number) = number else { return Ok(None) };
        let from = if number == cursor.number { cursor.offset } else { 0 };
        let next = number.checked_add(1).map(|number| Cursor { chunks: true, number, offset: 0 });
        let path = segment::path(number);
        // It may have been rewritten, and removed, since it was listed.
        let file = match self.open(&path)? {
            Ok(file) => file,
            Err(damage) => {
                if self.numbers(to)?.contains(&number) {
                    self.found(damage, None);
                }
                return Ok(next);
            }
        };
        if from == 0
            && let Some(why) = rewrite::foreign(file.as_ref(), number, self.vault.store()?)?
        {
            self.found(Damage::new(path, 0, why), None);
            return Ok(next);
        }
        let mut chunks = self.entries(number, &path, &file, from, to)?;
        chunks.sort_by_key(|(_, placement)| placement.offset);
        for (name, placement) in chunks {
            if placement.offset < from || !wanted(&name) {
                continue;
            }
            self.stretch.records += 1;
            self.stretch.bytes += frame::HEADER_BYTES as u64 + u64::from(placement.stored_length);
            let fault = match self.vault.blobs().read(&name, &placement) {
                Ok((header, payload)) => self
                    .fault(&header, payload)?
                    .map(|why| Damage::new(path.as_str(), placement.offset, why)),
                Err(StoreError::Damaged(damage)) => Some(damage),
                Err(error) => return Err(error),
            };
            if let Some(damage) = fault {
                self.damaged(&name, &placement, damage)?;
            }
            if self.is_full() {
                let record = frame::HEADER_BYTES as u64 + u64::from(placement.stored_length);
                let offset = placement.offset + record;
                return Ok(Some(Cursor { chunks: true, number, offset }));
            }
        }
        Ok(next)
    }

    /// The chunks of a segment: as its footer lists them, or as they lie in it.
    fn entries(
        &mut self,
        number: u32,
        path: &str,
        file: &Arc<dyn DiskFile>,
        from: u64,
        to: &Watermark,
    ) -> Result<Vec<(ChunkName, Placement)>, StoreError> {
        let is_open = number == to.segment;
        match Footer::find(file.as_ref(), number)? {
            // A payload at the end of the open one may look like its footer.
            Some(Ok((at, footer))) if !is_open || at == to.segment_offset => {
                let entries = footer.entries.into_iter();
                return Ok(entries.map(|entry| (entry.name, entry.placement)).collect());
            }
            Some(Err(damage)) if !is_open => self.found(damage, None),
            _ => {}
        }
        let length = file.length().map_err(StoreError::io(format!("reading {path}")))?;
        let end = if is_open { to.segment_offset.min(length) } else { length };
        let mut scanner = Scanner::new(file.as_ref(), path, from.min(end), end);
        let mut chunks = Vec::new();
        while let Some(step) = scanner.step()? {
            match step {
                Step::Record(offset, header) if header.kind == Kind::Chunk => {
                    let placement = segment::placement_of(number, offset, &header);
                    chunks.push((ChunkName::new(header.name), placement));
                }
                Step::Record(..) => {}
                Step::Damaged(damage) => self.found(damage, None),
            }
        }
        Ok(chunks)
    }

    fn damaged(
        &mut self,
        name: &ChunkName,
        placement: &Placement,
        damage: Damage,
    ) -> Result<(), StoreError> {
        let place = |at: Placement| (at.segment, at.offset);
        let now = chunk_rows::placement(self.vault.index(), name)?;
        // Another copy is in use, or none; or the file was replaced while it was read.
        if now.map(place) == Some(place(*placement)) {
            self.vault.quarantine(&mut self.packer, name, placement, &damage);
            let mut unhealed = self.vault.unhealed().lock();
            if unhealed.len() < UNHEALED_MAX {
                unhealed.insert(*name, *placement);
            }
        }
        self.found(damage, Some(*name));
        Ok(())
    }

    /// Puts sound copies in the place of the chunks that this round found damaged, where there are any.
    fn heal(&mut self) -> Result<(), StoreError> {
        let mut left = std::mem::take(&mut *self.vault.unhealed().lock());
        if left.is_empty() {
            return Ok(());
        }
        let healed = self.heal_each(&mut left);
        if healed.is_err() {
            // The end of the round is tried again, and takes what is left.
            self.vault.unhealed().lock().append(&mut left);
        }
        healed
    }

    fn heal_each(&mut self, left: &mut BTreeMap<ChunkName, Placement>) -> Result<(), StoreError> {
        let to = segment_rows::watermark(self.vault.index())?;
        // What is wrong with the files themselves has been named by the round.
        let named = self.stretch.findings.len();
        for number in self.numbers(&to)? {
            let path = segment::path(number);
            let Ok(file) = self.open(&path)? else { continue };
            for (name, placement) in self.entries(number, &path, &file, 0, &to)? {
                let Some(bad) = left.get(&name) else { continue };
                let is_bad = (number, placement.offset) == (bad.segment, bad.offset);
                if is_bad || placement.encrypted != bad.encrypted {
                    continue;
                }
                let read = match self.vault.blobs().read(&name, &placement) {
                    Err(StoreError::Damaged(_)) => continue,
                    read => read?,
                };
                let (header, payload) = read;
                if self.fault(&header, payload.clone())?.is_none() {
                    self.replace(Sealed { header, payload })?;
                    left.remove(&name);
                }
            }
            if left.is_empty() {
                break;
            }
        }
        self.stretch.findings.truncate(named);
        Ok(())
    }

    fn replace(&self, copy: Sealed) -> Result<(), StoreError> {
        let failed = || StoreError::commit("healing a chunk");
        // Once this is answered the quarantine is in force, and the copy is not taken for known.
        self.vault.commit(Submission::default()).map_err(failed())?;
        let chunks = vec![copy];
        self.vault.commit(Submission { chunks, ..Submission::default() }).map_err(failed())?;
        Ok(())
    }
}
