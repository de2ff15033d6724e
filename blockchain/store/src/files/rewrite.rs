//! Segments written anew from others: how dead records give their space back, and how cold ones are
//! packed more tightly.
//!
//! A rewritten segment holds records of the segments that it replaces, each with the sequence it had,
//! and begins by naming them. So it explains itself: whichever of the two is lost, a fact of the log or
//! a file, what remains says how the store is made. The order is: write the new file, sync it and its
//! name; commit the fact that switches to it; remove the old files. Until the fact is durable the old
//! files are the store; from then on the new one is.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use lucid_core::digest::ChunkName;
use lucid_core::wire::{Reader, WireFault, Writer};

use crate::contract::blobs::{NewUnit, Units as _};
use crate::contract::index::{Changes, Index};
use crate::damage::DamageList;
use crate::files::disk::{self, Disk, DiskFile};
use crate::files::log;
use crate::files::segment::{self, Footer, FooterEntry, REWRITTEN, placement_of};
use crate::files::units::FileUnits;
use crate::frame::{self, Header, Record, RecordKind, Scanner, Step};
use crate::vault::unit_rows::{Switch, Unread};
use crate::vault::{chunk_rows, unit_rows};
use crate::{Damage, StoreError};

const ROLE: &str = "rewritten";
const RENAMED: &str = "the file was another one before it was renamed";

/// The first record of a rewritten segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RewrittenHeader {
    /// The store it belongs to.
    pub store: [u8; 16],
    /// Its number, with [`REWRITTEN`] set.
    pub number: u32,
    /// The zstd level that all of its records were packed at, at least; zero when they are as they came.
    pub level: u8,
    /// Every segment that it stands for, those included that its own sources had stood for.
    pub replaces: Vec<u32>,
}

impl RewrittenHeader {
    /// The record.
    pub fn to_record(&self) -> Result<Record, StoreError> {
        let mut to = Writer::new();
        to.raw(&self.store).text(ROLE).u32(self.number).u8(self.level);
        to.count(self.replaces.len());
        for number in &self.replaces {
            to.u32(*number);
        }
        let payload = to.finish();
        let name = *blake3::hash(&payload).as_bytes();
        Record::plain(RecordKind::File, name, payload)
    }

    /// Reads the payload.
    pub fn decode(payload: &[u8]) -> Result<Self, WireFault> {
        let mut from = Reader::new(payload);
        let store = from.array("store id")?;
        if from.text("file role")? != ROLE {
            return Err(WireFault::Invalid { what: "file role" });
        }
        let number = from.u32("file number")?;
        let level = from.u8("level")?;
        let mut replaces = Vec::new();
        for _ in 0..from.u32("count of replaced segments")? {
            let number = from.u32("replaced segment")?;
            if !segment::is_number(number) {
                return Err(WireFault::Invalid { what: "replaced segment" });
            }
            replaces.push(number);
        }
        from.finish()?;
        if !segment::is_rewritten(number) {
            return Err(WireFault::Invalid { what: "file number" });
        }
        Ok(Self { store, number, level, replaces })
    }

    /// Reads the beginning of a file; says what is wrong with it instead.
    pub fn read(
        file: &dyn DiskFile,
        number: u32,
        store: &[u8; 16],
    ) -> Result<Result<Self, Damage>, StoreError> {
        let path = segment::path(number);
        let fault = |why: &str| Ok(Err(Damage::new(path.as_str(), 0, why)));
        let header = match frame::read_header(file, &path, 0)? {
            Some(Ok(header)) if header.kind == RecordKind::File => header,
            Some(Err(why)) => return fault(why),
            _ => return fault("the file does not begin as a segment does"),
        };
        let payload = match frame::read_payload(file, &path, 0, &header)? {
            Ok(payload) => payload,
            Err(why) => return fault(why),
        };
        match Self::decode(&payload) {
            Err(why) => fault(&why.to_string()),
            Ok(begin) if begin.store != *store => fault(log::ANOTHERS),
            Ok(begin) if begin.number != number => fault(RENAMED),
            Ok(begin) => Ok(Ok(begin)),
        }
    }
}

/// Records are handed to the file in pieces of this size.
const BUFFER_BYTES: usize = 4 << 20;

/// A rewritten segment on its way.
pub(super) struct NewSegment {
    disk: Arc<dyn Disk>,
    number: u32,
    path: String,
    file: Arc<dyn DiskFile>,
    entries: Vec<FooterEntry>,
    length: u64,
    buffer: Vec<u8>,
}

impl NewSegment {
    /// Begins a file; what an earlier attempt left under its name never counted.
    pub(super) fn begin(disk: Arc<dyn Disk>, header: &RewrittenHeader) -> Result<Self, StoreError> {
        let path = segment::path(header.number);
        let context = || StoreError::io(format!("writing {path}"));
        let first = header.to_record()?;
        disk.unlink(&path).map_err(context())?;
        let file = disk.create(&path).map_err(context())?;
        let mut buffer = Vec::with_capacity(BUFFER_BYTES);
        buffer.extend_from_slice(&first.header.encode());
        buffer.extend_from_slice(&first.payload);
        let (number, length) = (header.number, first.record_bytes());
        Ok(Self { disk, number, path, file, entries: Vec::new(), length, buffer })
    }

    fn write_out(&mut self) -> Result<(), StoreError> {
        let context = StoreError::io(format!("writing {}", self.path));
        self.file.append(&[&self.buffer]).map_err(context)?;
        self.buffer.clear();
        Ok(())
    }
}

impl NewUnit for NewSegment {
    fn number(&self) -> u32 {
        self.number
    }

    fn add(&mut self, header: &Header, payload: &[u8]) -> Result<(), StoreError> {
        let bytes = header.encode();
        self.entries.push(FooterEntry {
            name: ChunkName::new(header.name),
            sequence: header.sequence,
            placement: placement_of(self.number, self.length, header),
            header_digest: *blake3::hash(&bytes).as_bytes(),
        });
        self.length += header.record_bytes();
        if self.buffer.len() + bytes.len() + payload.len() > BUFFER_BYTES {
            self.write_out()?;
        }
        self.buffer.extend_from_slice(&bytes);
        self.buffer.extend_from_slice(payload);
        Ok(())
    }

    /// Ends the file with its footer and makes all of it durable, its name included.
    fn finish(mut self: Box<Self>) -> Result<u64, StoreError> {
        let mut footer =
            Footer { segment: self.number, entries: std::mem::take(&mut self.entries) };
        footer.entries.sort_by_key(|entry| (entry.name, entry.sequence));
        let (record, trailer) = footer.to_record(self.length, 0)?;
        self.buffer.extend_from_slice(&record.header.encode());
        self.buffer.extend_from_slice(&record.payload);
        self.buffer.extend_from_slice(&trailer);
        self.write_out()?;
        let context = || StoreError::io(format!("writing {}", self.path));
        self.file.sync().map_err(context())?;
        self.disk.sync_folder(segment::FOLDER).map_err(context())?;
        Ok(self.length + record.record_bytes() + trailer.len() as u64)
    }
}

/// Why a segment's file is no part of the store, if its first record says so. One that cannot be read says
/// nothing.
pub fn foreign(
    file: &dyn DiskFile,
    number: u32,
    store: &[u8; 16],
) -> Result<Option<String>, StoreError> {
    if number & REWRITTEN == 0 {
        return Ok(segment::foreign(file, number, store)?.map(str::to_owned));
    }
    let damage = RewrittenHeader::read(file, number, store)?.err();
    let is_read = |why: &String| [log::ANOTHERS, RENAMED].contains(&why.as_str());
    Ok(damage.map(|damage| damage.why).filter(is_read))
}

/// Whether a segment's file is another store's: then it is not ours to remove.
pub fn is_anothers(disk: &dyn Disk, number: u32, store: &[u8; 16]) -> Result<bool, StoreError> {
    let Ok(file) = disk::find(disk, &segment::path(number))? else { return Ok(false) };
    Ok(foreign(file.as_ref(), number, store)?.is_some_and(|why| why == log::ANOTHERS))
}

/// A rewritten segment that the index does not know, and that is all that is left of a source: so it was
/// switched to, for the sources are removed after that.
struct Unsaid {
    number: u32,
    file: Arc<dyn DiskFile>,
    replaces: Vec<u32>,
    /// Its footer, if the file is whole. Without, the writing of it may have died half-way.
    footer: Option<Footer>,
}

fn unsaid(
    FileUnits { disk, store }: &FileUnits,
    index: &dyn Index,
    there: &BTreeSet<u32>,
) -> Result<Vec<Unsaid>, StoreError> {
    let known = BTreeSet::from_iter(unit_rows::rewritten(index)?);
    let mut found = Vec::new();
    for number in there.iter().filter(|n| **n & REWRITTEN != 0 && !known.contains(n)) {
        let path = segment::path(*number);
        let Ok(file) = disk::find(disk.as_ref(), &path)? else { continue };
        let Ok(begin) = RewrittenHeader::read(file.as_ref(), *number, store)? else { continue };
        let mut switched = false;
        for old in begin.replaces.iter().filter(|old| !there.contains(old)) {
            switched |= !unit_rows::is_retired(index, *old)?;
        }
        if switched {
            let footer = match Footer::find(file.as_ref(), *number)? {
                Some(Ok((_, footer))) if is_whole(file.as_ref(), &footer)? => Some(footer),
                _ => None,
            };
            found.push(Unsaid { number: *number, file, replaces: begin.replaces, footer });
        }
    }
    Ok(found)
}

/// Whether all of a segment's records are what its footer says: after a power cut, the end of a file may be
/// there, and what is in front of it not.
fn is_whole(file: &dyn DiskFile, footer: &Footer) -> Result<bool, StoreError> {
    let path = segment::path(footer.segment);
    for entry in &footer.entries {
        let offset = entry.placement.offset;
        let Some(Ok(header)) = frame::read_header(file, &path, offset)? else { return Ok(false) };
        if header.name != *entry.name.as_bytes()
            || frame::read_payload(file, &path, offset, &header)?.is_err()
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The highest sequence in a segment that was switched to though the index knows nothing of it, and which
/// segment that is: all its records were in the log then.
pub fn newest_unsaid(
    units: &FileUnits,
    index: &dyn Index,
) -> Result<Option<(u64, u32)>, StoreError> {
    let there = BTreeSet::from_iter(segment::numbers(units.disk.as_ref())?);
    let whole = unsaid(units, index, &there)?;
    let newest = |one: Unsaid| {
        let sequences = one.footer?.entries.into_iter().map(|entry| entry.sequence);
        Some((sequences.max()?, one.number))
    };
    Ok(whole.into_iter().filter_map(newest).max())
}

/// Brings the files of rewritten segments and the index together, at the end of recovery: takes in what
/// the log lost the fact of, and says which files are missing. `missing` are segments that recovery
/// looked for in vain; those that have been replaced are no loss. While the log `lacks` its end, which may be
/// put back, only chunks are taken in, and nothing is noted that the log will say.
pub fn settle(
    units: &FileUnits,
    index: &dyn Index,
    lacks: bool,
    missing: &mut Vec<RangeInclusive<u32>>,
) -> Result<(), StoreError> {
    let there = BTreeSet::from_iter(segment::numbers(units.disk.as_ref())?);
    let mut stood_for = BTreeSet::new();
    for Unsaid { number, file, replaces, footer } in unsaid(units, index, &there)? {
        tracing::warn!(number, "a rewritten segment is taken in without its fact");
        let mut changes = Changes::new(index);
        match footer {
            Some(_) if !lacks => {
                Switch::read(units, number, &replaces, &changes)?.project(&mut changes)?;
            }
            whole => {
                take_in_copies(file.as_ref(), number, &there, &mut changes)?;
                if whole.is_some() {
                    stood_for.extend(replaces);
                } else if !lacks {
                    unit_rows::note_rewritten(&mut changes, number);
                }
            }
        }
        changes.write()?;
    }
    let gone = unit_rows::rewritten(index)?.into_iter().filter(|number| !there.contains(number));
    missing.extend(gone.map(|number| number..=number));
    unit_rows::keep_lost(index, missing)?;
    unit_rows::leave_out(&stood_for, missing);
    Ok(())
}

/// Makes rows of a segment that stands for no other, or not yet: a record of it counts only where the copy
/// that counted is not there.
fn take_in_copies(
    file: &dyn DiskFile,
    number: u32,
    there: &BTreeSet<u32>,
    changes: &mut Changes<'_>,
) -> Result<(), StoreError> {
    let path = segment::path(number);
    let length = file.length().map_err(StoreError::io(format!("reading {path}")))?;
    let mut scanner = Scanner::new(file, &path, 0, length);
    while let Some(step) = scanner.step()? {
        let Step::Record(offset, header) = step else { continue };
        // After a power cut a header may be whole, and its payload not.
        if header.kind == RecordKind::Chunk
            && frame::read_payload(file, &path, offset, &header)?.is_ok()
        {
            let at = placement_of(number, offset, &header);
            chunk_rows::find_chunk(changes, &ChunkName::new(header.name), &at, |known| {
                Ok(there.contains(&known.unit))
            })?;
        }
    }
    Ok(())
}

/// So many segments that are not there are remembered: a number from a damaged disk may make a gap of any
/// width.
const UNREAD_MAX: usize = 1 << 16;

/// Segments that are not what they were, at the end of recovery.
pub struct Absent<'a> {
    /// Those that are not there.
    pub lost: &'a [RangeInclusive<u32>],
    /// Those that are there and could not be opened, or are too short: with where records are to be that the
    /// file does not reach, if so.
    pub unopened: &'a BTreeMap<u32, u64>,
    /// Whether the loss of the former is accepted.
    pub accepted: bool,
    /// Whether commits themselves say where their chunks are: then rows of chunks as they came need no segment, and
    /// one that is there again may have chunks that no commit names.
    pub log_has_places: bool,
}

/// Takes in segments that could not be read when their rows were to be made and now can, up to `end`, where
/// the last commit's chunks are. Chunks that were dropped meanwhile come back so, and are dropped again by
/// the next collection. Notes which segments are not there now, and gives them, accepted losses among them;
/// those that are there all the same are named in `damage`.
pub fn settle_unread(
    units: &FileUnits,
    index: &dyn Index,
    end: (u32, u64),
    absent: &Absent<'_>,
    damage: &mut DamageList,
) -> Result<BTreeMap<u32, Unread>, StoreError> {
    let mut unread = unit_rows::unread(index)?;
    let there = BTreeSet::from_iter(segment::numbers(units.disk.as_ref())?);
    for (number, known) in unread.clone() {
        let mut changes = Changes::new(index);
        let found = match unit_rows::is_retired(index, number)? {
            true => Ok(()),
            false if !there.contains(&number) => Err(None),
            false => {
                let is_whole = absent.log_has_places && number & REWRITTEN == 0;
                find_again(units, (number, known.end), end, is_whole, &mut changes)?.map_err(Some)
            }
        };
        match found {
            Ok(()) => {
                unit_rows::forget_unread(&mut changes, number);
                unread.remove(&number);
            }
            // One that is not there is named as a gap.
            Err(None) => {}
            Err(Some(why)) => damage.push(why),
        }
        changes.write()?;
    }
    let mut changes = Changes::new(index);
    let lost = absent.lost.iter().cloned().flatten().take(UNREAD_MAX);
    let lost = lost.map(|number| (number, Unread { accepted: absent.accepted, end: 0 }));
    // The loss of an end that was accepted is not waited for.
    let unopened = absent.unopened.iter().filter(|(_, end)| !absent.accepted || **end == 0);
    let unopened = unopened.map(|(number, end)| (*number, Unread { accepted: false, end: *end }));
    for (number, mut now) in lost.chain(unopened) {
        let known = unread.get(&number).copied();
        if let Some(known) = known {
            now.accepted |= known.accepted;
            now.end = now.end.max(known.end);
        }
        if known != Some(now) {
            unread.insert(number, now);
            unit_rows::note_unread(&mut changes, number, now);
        }
    }
    changes.write()?;
    Ok(unread)
}

/// Makes the rows of a segment that is there again, where no newer copy has one. When it is not as it was, it
/// says why.
fn find_again(
    units: &FileUnits,
    (number, reaches): (u32, u64),
    end: (u32, u64),
    has_rows: bool,
    changes: &mut Changes<'_>,
) -> Result<Result<(), Damage>, StoreError> {
    let path = segment::path(number);
    let file = match disk::find(units.disk.as_ref(), &path)? {
        Ok(file) => file,
        Err(why) => return Ok(Err(why)),
    };
    if let Some(why) = foreign(file.as_ref(), number, &units.store)? {
        return Ok(Err(Damage::new(path, 0, why)));
    }
    let length = file.length().map_err(StoreError::io(format!("reading {path}")))?;
    if has_rows && length >= reaches {
        return Ok(Ok(()));
    }
    let footer = match Footer::find(file.as_ref(), number)? {
        Some(Ok((_, footer))) if number != end.0 && !has_rows => footer,
        _ if length < reaches => {
            return Ok(Err(Damage::new(path, length, segment::TOO_SHORT)));
        }
        _ => {
            let end = if number == end.0 { end.1.min(length) } else { length };
            Footer::of(file.as_ref(), number, end, &mut Vec::new())?
        }
    };
    tracing::warn!(path, "a segment that was away is taken in");
    for entry in &footer.entries {
        chunk_rows::find_chunk(changes, &entry.name, &entry.placement, |known| {
            Ok(units.sequence(&entry.name, known)? > Some(entry.sequence))
        })?;
    }
    Ok(Ok(()))
}

/// Removes files of this store that have been replaced, and rewritten ones whose switch never came: only while no
/// segment is missing, or one of them might be what is left of it. The latter stay where a switch may still come, and
/// are given.
pub fn clear(
    FileUnits { disk, store }: &FileUnits,
    index: &dyn Index,
    may_be_switched_to: bool,
    damage: &mut DamageList,
) -> Result<Vec<u32>, StoreError> {
    let known = BTreeSet::from_iter(unit_rows::rewritten(index)?);
    let mut left = Vec::new();
    for number in segment::numbers(disk.as_ref())? {
        let never_switched_to = number & REWRITTEN != 0 && !known.contains(&number);
        if never_switched_to && may_be_switched_to {
            left.push(number);
        } else if never_switched_to || unit_rows::is_retired(index, number)? {
            let path = segment::path(number);
            if is_anothers(disk.as_ref(), number, store)? {
                damage.push(Damage::new(path, 0, log::ANOTHERS));
                continue;
            }
            disk.unlink(&path).map_err(StoreError::io(format!("removing {path}")))?;
        }
    }
    Ok(left)
}
