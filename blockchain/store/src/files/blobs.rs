//! Chunk records in segments: what is written goes to the end of the newest one.

mod alone;

use std::cmp::Ordering;
use std::sync::Arc;

use lucid_core::digest::ChunkName;
use parking_lot::Mutex;

use self::alone::Alone;
use crate::contract::blobs::{
    Blobs, Contents, Entry, Extent, NewUnit, Origin, Placement, Unit, UnitKind, UnitState, Units,
    Written,
};
use crate::contract::index::Changes;
use crate::files::Limits;
use crate::files::append::{Failure, Tail};
use crate::files::disk::lengths::Lengths;
use crate::files::disk::{self, Disk, DiskFile};
use crate::files::log::{FILE_MAX, FileHeader};
use crate::files::rewrite::{self, NewSegment, RewrittenHeader};
use crate::files::room::Room;
use crate::files::segment::{self, FOLDER, Footer, REWRITTEN, Segments, placement_of};
use crate::files::units::FileUnits;
use crate::files::watermark::Ends;
use crate::frame::{self, Header, HeadersDigest, Record, RecordKind, Scanner, Step};
use crate::{CommitError, Damage, StoreError};

/// The segments of a folder.
pub struct FileBlobs {
    units: FileUnits,
    limits: Limits,
    ends: Ends,
    segments: Segments,
    lengths: Lengths,
    open: Mutex<OpenSegment>,
    room: Room,
    /// Held while a unit gets its number and its file: the next one is behind it.
    numbering: Mutex<()>,
    /// What is to be known of a log that is kept elsewhere, if so.
    alone: Option<Alone>,
}

/// The segment that is written to.
#[derive(Default)]
struct OpenSegment {
    tail: Option<Tail>,
    /// The sequence of its first record: bounds how many records it has.
    first_sequence: u64,
    /// The digest that the next segment's header names: the last footer's, or zeros.
    last_footer: [u8; 32],
    /// Whether what was written last has been synced, or should have been.
    is_settled: bool,
}

impl OpenSegment {
    /// What is in the segment stays, and nothing is added to it. It has no footer.
    fn leave(&mut self) {
        self.tail = None;
        self.last_footer = [0; 32];
    }
}

impl FileBlobs {
    /// Segments that are only read, until [`FileBlobs::go_on`].
    pub(super) fn new(units: FileUnits, limits: Limits, ends: Ends) -> Self {
        let most = (segment::RECORDS_MAX as u64).min(limits.segment_records).max(1);
        let segment_bytes = limits.segment_bytes.max(1);
        let limits = Limits { segment_records: most, segment_bytes, ..limits };
        let segments = Segments::new(units.disk.clone());
        let room = Room::new(units.disk.clone(), FOLDER);
        let (lengths, open, numbering) = (Lengths::default(), Mutex::default(), Mutex::default());
        Self { units, limits, ends, segments, lengths, open, room, numbering, alone: None }
    }

    /// The same segments under a log that is kept elsewhere.
    pub(super) fn under_a_log_elsewhere(self) -> Self {
        Self { alone: Some(Alone::default()), ..self }
    }

    /// Removes segments that were made of others once a commit tells that none will switch to them any more.
    pub(super) fn remove_later(&self, left: Vec<u32>) {
        if let Some(alone) = &self.alone {
            alone.remove_later(left);
        }
    }

    /// Writes on where the last commit's chunks end, if that can be: otherwise the next chunk begins a segment.
    pub(super) fn go_on(&self) -> Result<(), StoreError> {
        let at = *self.ends.lock();
        let mut open = self.open.lock();
        open.first_sequence = at.sequence;
        if at.segment == 0 {
            return Ok(());
        }
        let path = segment::path(at.segment);
        let Some(tail) = Tail::reopen(self.disk(), path, at.segment_offset)? else {
            return Ok(());
        };
        let context = || StoreError::io(format!("reading {}", tail.path()));
        match tail.file().length().map_err(context())?.cmp(&tail.length()) {
            // Nor is anything written into a page that the medium does not give back.
            Ordering::Equal
                if !disk::ends_readably(tail.file(), tail.length()).map_err(context())? => {}
            Ordering::Equal => {
                // How many records it has is told by its first one. Without that the next one is begun.
                if segment::begins_soundly(tail.file(), at.segment, &self.units.store)?
                    && let Some(Ok(first)) = frame::read_header(tail.file(), tail.path(), 0)?
                    && first.sequence <= at.sequence
                {
                    open.first_sequence = first.sequence;
                    open.tail = Some(tail);
                }
            }
            // Recovery left a footer there, but the next one was not begun: the next chunk does.
            Ordering::Greater => {
                if let Some(Ok((_, footer))) = Footer::find(tail.file(), at.segment)? {
                    open.last_footer = footer.digest();
                }
            }
            // Its end is missing. Records behind the gap would not be where the index says.
            Ordering::Less => {}
        }
        Ok(())
    }

    fn disk(&self) -> &dyn Disk {
        self.units.disk.as_ref()
    }

    /// The segment's file, if it is there.
    fn file(&self, number: u32) -> Result<Result<Arc<dyn DiskFile>, Damage>, StoreError> {
        disk::find(self.disk(), &segment::path(number))
    }

    /// Begins the next segment, if none is open.
    fn begin<'a>(&self, open: &'a mut OpenSegment) -> Result<&'a mut Tail, Failure> {
        if open.tail.is_none() {
            let mut ends = self.ends.lock();
            let number = ends.segment + 1;
            if number > FILE_MAX {
                return Err(Failure::no_number(&segment::path(number - 1)));
            }
            if self.alone.is_some() {
                ends.sequence = ends.sequence.max(alone::first_sequence(number));
            }
            let previous = open.last_footer;
            let header = FileHeader { store: self.units.store, role: "chunks", number, previous };
            let first = header.to_record(ends.sequence).map_err(Failure::unmade)?;
            let path = segment::path(number);
            let tail = Tail::begin_durably(self.disk(), FOLDER, path, &first)?;
            open.first_sequence = ends.sequence;
            ends.sequence += 1;
            (ends.segment, ends.segment_offset) = (number, tail.length());
            open.tail = Some(tail);
        }
        open.tail.as_mut().ok_or_else(|| Failure::before("no segment is open"))
    }

    fn append(&self, open: &mut OpenSegment, records: &mut [Record]) -> Result<Written, Failure> {
        open.is_settled = false;
        let tail = self.begin(open)?;
        let mut ends = self.ends.lock();
        let (unit, from, first_sequence) = (ends.segment, tail.length(), ends.sequence);
        let mut digest = HeadersDigest::new();
        let mut places = Vec::with_capacity(records.len());
        let mut to = from;
        for record in records.iter_mut() {
            // Sequences are never used again, even those of a batch that fails.
            record.header.sequence = ends.sequence;
            ends.sequence += 1;
            digest.add(&record.header);
            let name = ChunkName::new(record.header.name);
            places.push((name, placement_of(unit, to, &record.header)));
            to += record.record_bytes();
        }
        drop(ends);
        tail.append(records.iter(), &[])?;
        let extent = Extent { unit, from, to, digest: digest.finish(), first_sequence };
        Ok(Written { extent, places })
    }

    /// Writes the footer of the open segment behind its records, if it has one.
    fn end(&self, open: &mut OpenSegment) -> Result<(), CommitError> {
        let Some(tail) = &mut open.tail else { return Ok(()) };
        let mut ends = self.ends.lock();
        let failed = |error: &dyn std::fmt::Display| CommitError::Failed(error.to_string());
        let mut damage = Vec::new();
        let footer = Footer::of(tail.file(), ends.segment, tail.length(), &mut damage)
            .map_err(|error| failed(&error))?;
        for found in &damage {
            tracing::error!(damage = %found, "a record is damaged; the footer leaves it out");
        }
        let (record, trailer) = match footer.to_record(tail.length(), ends.sequence) {
            Ok(record) => record,
            Err(error) => {
                // An earlier version filled it beyond any footer. It stays without one, and the next one is
                // begun; the next collection looks after it.
                tracing::error!(%error, path = tail.path(), "a segment stays without its footer");
                open.leave();
                return Ok(());
            }
        };
        ends.sequence += 1;
        if let Err(failure) =
            tail.append(std::iter::once(&record), &trailer).and_then(|()| tail.sync())
        {
            // The records are safe; only the footer is not there. But behind what is left of it no record would
            // be where the index says.
            if let Err(cut) = tail.cut() {
                return Err(CommitError::Broken(format!("{}, and then {cut}", failure.why)));
            }
            if failure.at_sync {
                open.leave();
            }
            return Err(failure.taken_back());
        }
        open.tail = None;
        open.last_footer = record.header.name;
        Ok(())
    }
}

impl Blobs for FileBlobs {
    /// The one that reaches a segment's size still belongs to it, but none beyond its number of records does.
    fn fits(&self, records: &[Record]) -> usize {
        let open = self.open.lock();
        let (mut count, mut bytes) = match &open.tail {
            Some(tail) => (self.ends.lock().sequence - open.first_sequence, tail.length()),
            None => (0, 0),
        };
        let fits = |record: &&Record| {
            let fits = count < self.limits.segment_records && bytes < self.limits.segment_bytes;
            count += 1;
            bytes += record.record_bytes();
            fits
        };
        records.iter().take_while(fits).count()
    }

    fn room(&self, bytes: u64) -> Result<(), CommitError> {
        self.room.ask(bytes)
    }

    fn write(&self, records: &mut [Record]) -> Result<Written, CommitError> {
        let mut open = self.open.lock();
        self.append(&mut open, records).map_err(|failure| {
            let cut = open.tail.as_mut().map_or(Ok(()), Tail::cut);
            failure.after(cut)
        })
    }

    fn settle(&self, written: &Written) -> Result<(), CommitError> {
        let mut open = self.open.lock();
        open.is_settled = true;
        let synced = open.tail.as_mut().map_or(Ok(()), Tail::sync);
        synced.map_err(Failure::taken_back)?;
        self.ends.lock().segment_offset = written.extent.to;
        Ok(())
    }

    fn take_back(&self, written: &Written) -> Result<(), CommitError> {
        let mut open = self.open.lock();
        if let Some(tail) = &mut open.tail {
            tail.cut_to(written.extent.from).map_err(|error| {
                CommitError::Broken(format!(
                    "what was written could not be cut off {}: {error}",
                    tail.path()
                ))
            })?;
            self.ends.lock().segment_offset = written.extent.from;
        }
        if open.is_settled {
            // What a file says after a failed sync is not to be trusted: the next chunk begins another.
            open.leave();
        }
        Ok(())
    }

    fn end(&self, now: bool) -> Result<(), CommitError> {
        let left = self.alone.as_ref().map(Alone::take_left).unwrap_or_default();
        if !left.is_empty()
            && let Err(error) = self.remove(&left)
        {
            tracing::warn!(%error, "what an interrupted rewriting left stays until the next start");
        }
        let mut open = self.open.lock();
        let is_full = open.tail.as_ref().is_some_and(|tail| {
            tail.length() >= self.limits.segment_bytes
                || self.ends.lock().sequence - open.first_sequence >= self.limits.segment_records
        });
        if now || is_full { self.end(&mut open) } else { Ok(()) }
    }

    fn note(&self, named: Option<(&Extent, usize)>, changes: &mut Changes<'_>) {
        if let Some(alone) = &self.alone {
            alone.note(named, changes);
        }
    }

    fn places(&self, extent: &Extent) -> Result<Vec<(ChunkName, Placement)>, StoreError> {
        segment::places(self.disk(), extent)
    }

    fn read(
        &self,
        name: &ChunkName,
        placement: &Placement,
    ) -> Result<(Header, Vec<u8>), StoreError> {
        self.segments.read(name, placement)
    }

    fn title(&self, unit: u32) -> String {
        segment::path(unit)
    }

    fn place_of(&self, damage: &Damage) -> Option<(u32, u64)> {
        Some((segment::number_of(&damage.file)?, damage.offset))
    }

    fn open_unit(&self) -> Result<Option<(u32, u64)>, StoreError> {
        let open = self.open.lock();
        let number = self.ends.lock().segment;
        Ok(open.tail.as_ref().map(|tail| (number, tail.length())))
    }

    /// Without segments behind the newest one: they are not the store's.
    fn numbers(&self) -> Result<Vec<u32>, StoreError> {
        let newest = self.ends.lock().segment;
        let mut numbers = segment::numbers(self.disk())?;
        numbers.retain(|number| *number <= newest || number & REWRITTEN != 0);
        Ok(numbers)
    }

    fn begun(&self) -> u32 {
        self.ends.lock().last_segment()
    }

    fn bytes(&self) -> Result<u64, StoreError> {
        let measured = self.lengths.total(self.disk(), &[FOLDER]);
        measured.map_err(StoreError::io("measuring segments"))
    }

    fn records_max(&self) -> usize {
        segment::RECORDS_MAX
    }

    fn draft_bytes(&self) -> u64 {
        segment::DRAFT_BYTES
    }

    /// It has ended when it has a footer, or was left behind without one.
    fn state(&self, unit: u32) -> Result<UnitState, StoreError> {
        let at = *self.ends.lock();
        let is_rewritten = unit & REWRITTEN != 0;
        let Ok(file) = self.file(unit)? else { return Ok(UnitState::Damaged) };
        if unit == at.segment {
            // A payload at the end of the open one may look like its footer: that is where the records end.
            let ends_at = match Footer::find(file.as_ref(), unit)? {
                Some(Ok((footer_at, _))) => footer_at,
                Some(Err(damage)) => damage.offset,
                None => return Ok(UnitState::Open),
            };
            if ends_at != at.segment_offset {
                return Ok(UnitState::Open);
            }
        }
        if !is_rewritten {
            if unit > at.segment {
                return Ok(UnitState::Open);
            }
            if segment::foreign(file.as_ref(), unit, &self.units.store)?.is_some() {
                return Ok(UnitState::Damaged);
            }
        }
        let may_lack_footer = is_rewritten || unit < at.segment;
        let Some((records_bytes, footer)) = Footer::of_ended(file.as_ref(), unit, may_lack_footer)?
        else {
            return Ok(UnitState::Damaged);
        };
        let bytes = file.length().map_err(reading(unit))?;
        let entries = footer.entries.into_iter().map(Entry::from).collect();
        Ok(UnitState::Ended(Unit { bytes, records_bytes, entries }))
    }

    fn origin(&self, unit: u32) -> Result<Result<Origin, Damage>, StoreError> {
        if unit & REWRITTEN == 0 {
            return Ok(Ok(Origin::default()));
        }
        let file = match self.file(unit)? {
            Ok(file) => file,
            Err(damage) => return Ok(Err(damage)),
        };
        let begin = RewrittenHeader::read(file.as_ref(), unit, &self.units.store)?;
        Ok(begin.map(|RewrittenHeader { replaces, level, .. }| Origin { replaces, level }))
    }

    /// As its footer lists them, or as they lie in it.
    fn contents(&self, unit: u32, from: u64) -> Result<Result<Contents, Damage>, StoreError> {
        let file = match self.file(unit)? {
            Ok(file) => file,
            Err(damage) => return Ok(Err(damage)),
        };
        let path = segment::path(unit);
        let mut contents = Contents::default();
        if from == 0
            && let Some(why) = rewrite::foreign(file.as_ref(), unit, &self.units.store)?
        {
            contents.damage.push(Damage::new(path, 0, why));
            return Ok(Ok(contents));
        }
        let at = *self.ends.lock();
        let is_open = unit == at.segment;
        match Footer::find(file.as_ref(), unit)? {
            // A payload at the end of the open one may look like its footer.
            Some(Ok((footer_at, footer))) if !is_open || footer_at == at.segment_offset => {
                let entries = footer.entries.into_iter();
                contents.chunks = entries.map(|entry| (entry.name, entry.placement)).collect();
                return Ok(Ok(contents));
            }
            Some(Err(damage)) if !is_open => contents.damage.push(damage),
            _ => {}
        }
        let length = file.length().map_err(reading(unit))?;
        let end = if is_open { at.segment_offset.min(length) } else { length };
        let mut scanner = Scanner::new(file.as_ref(), &path, from.min(end), end);
        while let Some(step) = scanner.step()? {
            match step {
                Step::Record(offset, header) if header.kind == RecordKind::Chunk => {
                    let placement = placement_of(unit, offset, &header);
                    contents.chunks.push((ChunkName::new(header.name), placement));
                }
                Step::Record(..) => {}
                Step::Damaged(damage) => contents.damage.push(damage),
            }
        }
        Ok(Ok(contents))
    }

    fn begin(&self, behind: u32, origin: Origin) -> Result<Box<dyn NewUnit>, StoreError> {
        let _numbering = self.numbering.lock();
        let newest = segment::numbers(self.disk())?.last().copied().unwrap_or(0).max(REWRITTEN);
        let last = newest.max(behind);
        let number = last.checked_add(1).filter(|next| segment::is_rewritten(*next));
        let number = number.ok_or_else(|| {
            let last = segment::path(last);
            StoreError::Folder(format!("no number is free behind {last}: nothing can be rewritten"))
        })?;
        let Origin { replaces, level } = origin;
        let header = RewrittenHeader { store: self.units.store, number, level, replaces };
        Ok(Box::new(NewSegment::begin(self.units.disk.clone(), &header)?))
    }

    fn remove(&self, units: &[u32]) -> Result<(), StoreError> {
        self.segments.forget(units);
        for number in units {
            let path = segment::path(*number);
            if !rewrite::is_anothers(self.disk(), *number, &self.units.store)? {
                self.disk().unlink(&path).map_err(StoreError::io(format!("removing {path}")))?;
            }
        }
        // Once more: another thread may have opened one in between. A name that comes back after a power cut is
        // removed by the next start, so nothing is synced.
        self.segments.forget(units);
        Ok(())
    }
}

impl Units for FileBlobs {
    fn kind(&self, unit: u32) -> Option<UnitKind> {
        self.units.kind(unit)
    }

    fn entries(&self, unit: u32) -> Result<Option<Vec<Entry>>, StoreError> {
        self.units.entries(unit)
    }

    fn sequence(&self, name: &ChunkName, at: &Placement) -> Result<Option<u64>, StoreError> {
        self.units.sequence(name, at)
    }
}

fn reading(number: u32) -> impl FnOnce(std::io::Error) -> StoreError {
    StoreError::io(format!("reading {}", segment::path(number)))
}
