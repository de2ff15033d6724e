//! The files of chunk records: names, the footer that ends a full one, and reading single chunks.
//!
//! A segment is appended to until it is full, then ended with a footer: its records sorted by name,
//! and a trailer that says where the footer begins. From then on the file never changes, and its
//! footer answers for the range of every commit in it.
//!
//! In one file because a segment's footer, its reader and the writer's view of it are one format.

use std::collections::BTreeMap;
use std::sync::Arc;

use lucid_core::digest::ChunkName;
use lucid_core::wire::{Reader, WireFault, Writer};
use parking_lot::Mutex;

use crate::contract::blobs::{Entry, Extent, Placement, flag};
use crate::files::descriptors::{self, Keeper};
use crate::files::disk::{self, Disk, DiskFile};
use crate::files::log::{self, Beginning};
use crate::frame::{
    CipherId, HEADER_BYTES, Header, HeadersDigest, PAYLOAD_BYTES_MAX, Record, RecordKind, Scanner,
    Step,
};

use crate::{Damage, StoreError, frame};

/// The folder of the segments.
pub const FOLDER: &str = "chunks";

/// Bytes of the trailer at the very end of a ended segment.
pub const TRAILER_BYTES: usize = 24;
const TRAILER_MAGIC: [u8; 8] = *b"LCDRfoot";

/// Set in the numbers of segments that were written from others, by [`crate::files::rewrite`]; all others are
/// those that the committer appended to.
pub const REWRITTEN: u32 = 1 << 31;

/// The highest number of a rewritten segment: its name has seven digits.
const REWRITTEN_MAX: u32 = REWRITTEN | 9_999_999;

/// Whether a rewritten segment may have this number.
pub fn is_rewritten(number: u32) -> bool {
    (REWRITTEN + 1..=REWRITTEN_MAX).contains(&number)
}

/// Whether any segment may have this number.
pub fn is_number(number: u32) -> bool {
    is_rewritten(number) || (1..=log::FILE_MAX).contains(&number)
}

/// The path of a segment: `chunks/00000001.seg`, and `chunks/R0000001.seg` for a rewritten one.
pub fn path(number: u32) -> String {
    match number & REWRITTEN {
        0 => format!("{FOLDER}/{number:08}.seg"),
        _ => format!("{FOLDER}/R{:07}.seg", number & !REWRITTEN),
    }
}

/// The number in a file name of this folder, if it is a segment's.
pub fn number_in(name: &str) -> Option<u32> {
    match name.strip_prefix('R') {
        Some(rest) if rest.len() == 11 => {
            log::number_of(&format!("0{rest}"), "seg").map(|number| number | REWRITTEN)
        }
        _ => log::number_of(name, "seg"),
    }
}

/// The number of the segment at a path, if it is one.
pub fn number_of(path: &str) -> Option<u32> {
    number_in(path.strip_prefix(FOLDER)?.strip_prefix('/')?)
}

/// The segments that there are, in the order of their numbers: rewritten ones last.
pub fn numbers(disk: &dyn Disk) -> Result<Vec<u32>, StoreError> {
    let names = disk.list(FOLDER).map_err(StoreError::io(format!("listing {FOLDER}/")))?;
    Ok(names.iter().filter_map(|name| number_in(name)).collect())
}

/// What is said of a segment that lost its end.
pub const TOO_SHORT: &str = "the segment reached further once, and what was there is missing";

/// Why an appended segment's file is no part of the store, if its first record says so. One that cannot be
/// read says nothing.
pub fn foreign(
    file: &dyn DiskFile,
    number: u32,
    store: &[u8; 16],
) -> Result<Option<&'static str>, StoreError> {
    match log::beginning_as(file, "chunks", number, &path(number), store)? {
        Beginning::Foreign(why) => Ok(Some(why)),
        Beginning::Sound(_) | Beginning::Damaged(_) => Ok(None),
    }
}

/// Whether an appended segment's first record is what it should be.
pub fn begins_soundly(
    file: &dyn DiskFile,
    number: u32,
    store: &[u8; 16],
) -> Result<bool, StoreError> {
    let begin = log::beginning_as(file, "chunks", number, &path(number), store)?;
    Ok(matches!(begin, Beginning::Sound(_)))
}

/// Whether the chunks that the last commit names are whole, or what is wrong with them is no tear. The
/// segment's name and first record were durable, and all that is before the commit's own chunks, before it was
/// begun: so without them it is the segment that is missing or damaged, or another one. Nor is what the medium
/// does not give back a tear.
pub(crate) fn is_not_torn(
    disk: &dyn Disk,
    store: &[u8; 16],
    number: u32,
    (from, to): (u64, u64),
    headers: &[u8; 32],
) -> Result<bool, StoreError> {
    let path = path(number);
    let Ok(file) = disk::find(disk, &path)? else { return Ok(true) };
    let length = file.length().map_err(StoreError::io(format!("reading {path}")))?;
    if length < from || foreign(file.as_ref(), number, store)?.is_some() {
        return Ok(true);
    }
    let mut digest = HeadersDigest::new();
    let mut scanner = Scanner::new(file.as_ref(), &path, from, to);
    while let Some(step) = scanner.step()? {
        let Step::Record(offset, header) = step else {
            return Ok(scanner.unreadable_to() > 0);
        };
        if let Err(why) = frame::read_payload(file.as_ref(), &path, offset, &header)? {
            return Ok(why == frame::UNREADABLE);
        }
        digest.add(&header);
    }
    Ok(digest.finish() == *headers)
}

/// Where the records are that a commit names, by the headers there; what cannot be read has no place.
pub(super) fn places(
    disk: &dyn Disk,
    extent: &Extent,
) -> Result<Vec<(ChunkName, Placement)>, StoreError> {
    let mut places = Vec::new();
    let path = path(extent.unit);
    let Ok(file) = disk::find(disk, &path)? else { return Ok(places) };
    let mut scanner = Scanner::new(file.as_ref(), &path, extent.from, extent.to);
    while let Some(step) = scanner.step()? {
        if let Step::Record(offset, header) = step
            && header.kind == RecordKind::Chunk
        {
            let place = placement_of(extent.unit, offset, &header);
            places.push((ChunkName::new(header.name), place));
        }
    }
    Ok(places)
}

/// One record in a footer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FooterEntry {
    /// The chunk's name.
    pub name: ChunkName,
    /// The record's sequence.
    pub sequence: u64,
    /// Where and how large it is.
    pub placement: Placement,
    /// BLAKE3 of its header.
    pub header_digest: [u8; 32],
}

impl From<FooterEntry> for Entry {
    fn from(FooterEntry { name, sequence, placement, .. }: FooterEntry) -> Self {
        Self { name, sequence, placement }
    }
}

/// The index of a ended segment, sorted by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footer {
    /// The segment.
    pub segment: u32,
    /// Its records.
    pub entries: Vec<FooterEntry>,
}

/// Bytes of an entry in a footer.
const ENTRY_BYTES: usize = 32 + 8 + 8 + 4 + 4 + 1 + 32;
/// Records that one segment may have: its footer lists them all, and is one record.
pub const RECORDS_MAX: usize = (PAYLOAD_BYTES_MAX as usize - 8) / ENTRY_BYTES;

/// Bytes of records that are put together into one rewritten segment: as many as an appended one takes.
pub const DRAFT_BYTES: u64 = 256 << 20;

/// A footer with the place where it begins, or what is wrong with it.
pub type FoundFooter = Result<(u64, Footer), Damage>;

impl Footer {
    /// Lists what the segment holds between its start and `end`, by walking the headers.
    pub fn of(
        file: &dyn DiskFile,
        number: u32,
        end: u64,
        damage: &mut Vec<Damage>,
    ) -> Result<Self, StoreError> {
        let path = path(number);
        let mut entries = Vec::new();
        let mut scanner = Scanner::new(file, &path, 0, end);
        while let Some(step) = scanner.step()? {
            match step {
                Step::Record(offset, header) if header.kind == RecordKind::Chunk => {
                    entries.push(FooterEntry {
                        name: ChunkName::new(header.name),
                        sequence: header.sequence,
                        placement: placement_of(number, offset, &header),
                        header_digest: *blake3::hash(&header.encode()).as_bytes(),
                    });
                }
                Step::Record(..) => {}
                Step::Damaged(found) => damage.push(found),
            }
        }
        entries.sort_by_key(|entry| (entry.name, entry.sequence));
        Ok(Self { segment: number, entries })
    }

    /// The footer's record and the trailer that follows it. More than [`RECORDS_MAX`] entries are refused.
    pub fn to_record(
        &self,
        at: u64,
        sequence: u64,
    ) -> Result<(Record, [u8; TRAILER_BYTES]), StoreError> {
        let payload = self.payload();
        let name = *blake3::hash(&payload).as_bytes();
        let mut record = Record::plain(RecordKind::Footer, name, payload)?;
        record.header.sequence = sequence;
        Ok((record, trailer(at)))
    }

    /// The name of its record, which the next segment's first record holds.
    pub fn digest(&self) -> [u8; 32] {
        *blake3::hash(&self.payload()).as_bytes()
    }

    fn payload(&self) -> Vec<u8> {
        let mut to = Writer::new();
        to.u32(self.segment).count(self.entries.len());
        for entry in &self.entries {
            let place = &entry.placement;
            to.raw(entry.name.as_bytes()).u64(entry.sequence).u64(place.offset);
            to.u32(place.stored_length).u32(place.plain_length).u8(u8::from(place.encrypted));
            to.raw(&entry.header_digest);
        }
        to.finish()
    }

    /// Reads the payload.
    pub fn decode(payload: &[u8]) -> Result<Self, WireFault> {
        let mut from = Reader::new(payload);
        let segment = from.u32("segment")?;
        let count = from.u32("entry count")?;
        let mut entries = Vec::new();
        for _ in 0..count {
            let name = ChunkName::new(from.array("chunk name")?);
            let sequence = frame::number(&mut from, "sequence")?;
            let placement = Placement {
                unit: segment,
                offset: frame::number(&mut from, "offset")?,
                stored_length: from.u32("stored length")?,
                plain_length: from.u32("plain length")?,
                encrypted: flag(from.u8("encrypted")?)?,
            };
            let header_digest = from.array("header digest")?;
            entries.push(FooterEntry { name, sequence, placement, header_digest });
        }
        from.finish()?;
        Ok(Self { segment, entries })
    }

    /// Finds the footer of a segment through its trailer: `None` when the file has none, `Err` when
    /// there is one and it is damaged.
    pub fn find(file: &dyn DiskFile, number: u32) -> Result<Option<FoundFooter>, StoreError> {
        let path = path(number);
        let length = file.length().map_err(StoreError::io(format!("reading {path}")))?;
        let Some(at) = length.checked_sub(TRAILER_BYTES as u64) else { return Ok(None) };
        let mut bytes = [0; TRAILER_BYTES];
        match file.read_at(at, &mut bytes).map_err(StoreError::reading(&path, at)) {
            Err(StoreError::Damaged(damage)) => return Ok(Some(Err(damage))),
            read => read?,
        };
        let Some(offset) = read_trailer(&bytes) else { return Ok(None) };
        let found = Self::read(file, &path, offset, at)?;
        // Bytes of a chunk can look like another segment's footer and trailer.
        Ok(Some(found.and_then(|footer| match footer.segment == number {
            true => Ok((offset, footer)),
            false => Err(Damage::new(path, offset, ANOTHER)),
        })))
    }

    /// The footer of a segment that never changes any more, with the place where its records end. One that
    /// is damaged, or as the open-ended segment `without` one is not there, is made by walking the records;
    /// `None` if these are damaged too.
    pub fn of_ended(
        file: &dyn DiskFile,
        number: u32,
        without: bool,
    ) -> Result<Option<(u64, Self)>, StoreError> {
        let end = match Self::find(file, number)? {
            Some(Ok(found)) => return Ok(Some(found)),
            // Where the trailer says, which a payload that looks like one says too: then a record reaches
            // beyond it, and the walk finds that damaged.
            Some(Err(damage)) => damage.offset,
            None if without => {
                file.length().map_err(StoreError::io(format!("reading {}", path(number))))?
            }
            None => return Ok(None),
        };
        let mut damage = Vec::new();
        let footer = Self::of(file, number, end, &mut damage)?;
        Ok(damage.is_empty().then_some((end, footer)))
    }

    fn read(
        file: &dyn DiskFile,
        path: &str,
        offset: u64,
        end: u64,
    ) -> Result<Result<Self, Damage>, StoreError> {
        let fault = |why: &str| Ok(Err(Damage::new(path, offset, why)));
        match frame::read_header(file, path, offset)? {
            // Looked at before its bytes are: what it says of its length may be anything.
            Some(Ok(header)) if offset.checked_add(header.record_bytes()) != Some(end) => {
                fault(ANOTHER)
            }
            Some(Ok(header)) if header.kind == RecordKind::Footer => {
                let payload = match frame::read_payload(file, path, offset, &header)? {
                    Ok(payload) => payload,
                    Err(why) => return fault(&format!("the footer: {why}")),
                };
                match Self::decode(&payload) {
                    Ok(footer) => Ok(Ok(footer)),
                    Err(why) => fault(&format!("the footer: {why}")),
                }
            }
            Some(Err(why)) => fault(why),
            _ => fault("the footer is not where the trailer says"),
        }
    }
}

const ANOTHER: &str = "the footer is another segment's";

pub(crate) fn trailer(footer_at: u64) -> [u8; TRAILER_BYTES] {
    let covered = [TRAILER_MAGIC.as_slice(), &footer_at.to_le_bytes()].concat();
    let hash = blake3::hash(&covered);
    let mut bytes = [0; TRAILER_BYTES];
    for (to, from) in bytes.iter_mut().zip(covered.iter().chain(hash.as_bytes())) {
        *to = *from;
    }
    bytes
}

/// Where the footer begins, if these are a sound trailer.
pub fn read_trailer(bytes: &[u8; TRAILER_BYTES]) -> Option<u64> {
    let at = u64::from_le_bytes(*bytes.get(8..)?.first_chunk()?);
    (trailer(at) == *bytes).then_some(at)
}

/// The row of a chunk record.
pub fn placement_of(unit: u32, offset: u64, header: &Header) -> Placement {
    Placement {
        unit,
        offset,
        stored_length: header.stored_length,
        plain_length: header.plain_length,
        encrypted: header.cipher != CipherId::Plain,
    }
}

/// Reads single records out of segments, keeping the files open.
pub struct Segments {
    disk: Arc<dyn Disk>,
    open: Mutex<OpenFiles>,
    open_max: usize,
}

/// Open files, with the turn in which each was last asked for.
#[derive(Default)]
struct OpenFiles {
    files: BTreeMap<u32, (u64, Arc<dyn DiskFile>)>,
    turn: u64,
    /// How often files were forgotten: what was opened before that may have been removed since.
    forgotten: u64,
}

/// Files kept open at once, as far as descriptors go: enough for 128 GiB.
const OPEN_FILES_MAX: usize = 512;

impl Segments {
    /// Reads through this disk.
    pub fn new(disk: Arc<dyn Disk>) -> Self {
        let open_max = descriptors::share(Keeper::Segments, OPEN_FILES_MAX);
        Self { disk, open: Mutex::default(), open_max }
    }

    fn file(&self, number: u32) -> Result<Option<Arc<dyn DiskFile>>, StoreError> {
        let forgotten = {
            let mut open = self.open.lock();
            open.turn += 1;
            let turn = open.turn;
            if let Some((last, file)) = open.files.get_mut(&number) {
                *last = turn;
                return Ok(Some(file.clone()));
            }
            open.forgotten
        };
        let path = path(number);
        let file = match self.disk.open(&path) {
            Err(error) if disk::is_media_error(&error) => {
                return Err(StoreError::Damaged(Damage::unreadable(path, 0, &error)));
            }
            opened => opened.map_err(StoreError::io(format!("opening {path}")))?,
        };
        let mut open = self.open.lock();
        if let Some(file) = &file
            && open.forgotten == forgotten
        {
            if open.files.len() >= self.open_max {
                let idle = open.files.iter().min_by_key(|(_, (turn, _))| *turn);
                let idle = idle.map(|(number, _)| *number);
                idle.and_then(|number| open.files.remove(&number));
            }
            let turn = open.turn;
            open.files.insert(number, (turn, file.clone()));
        }
        Ok(file)
    }

    /// Closes files that are about to be removed, so that their space returns once nobody reads them.
    pub fn forget(&self, numbers: &[u32]) {
        let mut open = self.open.lock();
        open.forgotten += 1;
        for number in numbers {
            open.files.remove(number);
        }
    }

    /// Reads the record of a chunk in one piece. What is not as the placement says is damage.
    pub fn read(
        &self,
        name: &ChunkName,
        placement: &Placement,
    ) -> Result<(Header, Vec<u8>), StoreError> {
        let path = path(placement.unit);
        let damaged =
            |why: &str| StoreError::Damaged(Damage::new(path.as_str(), placement.offset, why));
        let file = self.file(placement.unit).map_err(|error| match error {
            StoreError::Damaged(found) => damaged(&found.why),
            ours => ours,
        })?;
        let Some(file) = file else { return Err(damaged("the file is missing")) };
        if placement.stored_length > PAYLOAD_BYTES_MAX {
            return Err(damaged("it claims to be larger than any record may be"));
        }
        let mut bytes = vec![0; HEADER_BYTES + placement.stored_length as usize];
        let count = file
            .read_at(placement.offset, &mut bytes)
            .map_err(StoreError::reading(&path, placement.offset))?;
        bytes.truncate(count);
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(damaged("the file ends early"));
        };
        let header = Header::decode(header)
            .map_err(|why| frame::unread(path.as_str(), placement.offset, why))?;
        if header.kind != RecordKind::Chunk || header.name != *name.as_bytes() {
            return Err(damaged("another record is where the chunk should be"));
        }
        let payload = bytes.split_off(HEADER_BYTES);
        if payload.len() != header.stored_length as usize {
            return Err(damaged("the record's payload is cut short"));
        }
        Ok((header, payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Compression, Packer};
    use crate::crypt::{ChunkKey, Cipher};
    use crate::files::disk::faulty::FaultyDisk;
    use crate::files::disk::simulated::SimulatedDisk;

    #[test]
    fn a_footer_of_as_many_records_as_a_segment_may_have_fits_into_a_record() {
        let bytes = |records: usize| 8 + records * ENTRY_BYTES;
        assert_eq!(ENTRY_BYTES, 89);
        assert!(bytes(RECORDS_MAX) <= PAYLOAD_BYTES_MAX as usize);
        assert!(bytes(RECORDS_MAX + 1) > PAYLOAD_BYTES_MAX as usize);
    }

    #[test]
    fn rewritten_segments_have_numbers_of_their_own() {
        let numbers = [REWRITTEN - 1, REWRITTEN, REWRITTEN + 1, REWRITTEN_MAX, REWRITTEN_MAX + 1];
        assert_eq!(numbers.map(is_rewritten), [false, false, true, true, false]);
    }

    #[test]
    fn only_so_many_segments_are_kept_open_and_the_one_asked_for_last_among_them() {
        let disk = FaultyDisk::over(Arc::new(SimulatedDisk::new()));
        disk.create_folder(FOLDER).unwrap();
        let cipher = Cipher::new(None);
        let mut packer = Packer::new();
        let mut places = Vec::new();
        for number in 1..=10_u32 {
            let bytes = number.to_le_bytes();
            let key = ChunkKey::from(&lucid_core::digest::ChunkId::from(blake3::hash(&bytes)));
            let how = Compression::None;
            let record = cipher.chunk_record(&mut packer, how, false, key, &bytes).unwrap();
            let file = disk.create(&path(number)).unwrap();
            file.append(&[&record.header.encode(), &record.payload]).unwrap();
            let name = ChunkName::new(record.header.name);
            places.push((name, placement_of(number, 0, &record.header), bytes));
        }
        let segments = Segments { open_max: 3, ..Segments::new(Arc::new(disk.clone())) };
        for _ in 0..2 {
            for (name, placement, bytes) in &places {
                assert_eq!(segments.read(name, placement).unwrap().1, bytes);
                // The first one is asked for all the time, and stays: it is read, and not opened.
                let calls = disk.calls();
                segments.read(&places[0].0, &places[0].1).unwrap();
                assert_eq!(disk.calls(), calls + 1);
                assert!(disk.open_files() <= 3);
            }
        }
        assert_eq!(disk.open_files(), 3);
        let calls = disk.calls();
        segments.read(&places[0].0, &places[0].1).unwrap();
        segments.read(&places[9].0, &places[9].1).unwrap();
        assert_eq!(disk.calls(), calls + 2, "two reads, and nothing is opened");
        segments.forget(&[1, 10]);
        assert_eq!(disk.open_files(), 1);
    }
}
