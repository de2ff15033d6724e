//! Chunk records in segments: what is written goes to the end of the newest one.

use std::cmp::Ordering;
use std::sync::Arc;

use lucid_core::digest::ChunkName;
use parking_lot::Mutex;

use crate::contract::blobs::{Blobs, Extent, Placement, Written};
use crate::files::Limits;
use crate::files::append::{Failure, Tail};
use crate::files::disk::{self, Disk};
use crate::files::log::{FILE_MAX, FileHeader, HeadersDigest};
use crate::files::segment::{self, FOLDER, Footer, Segments, placement_of};
use crate::files::watermark::Ends;
use crate::frame::{self, Header, Sealed};
use crate::{CommitError, StoreError};

/// The segments of a folder.
pub struct FileBlobs {
    disk: Arc<dyn Disk>,
    store: [u8; 16],
    limits: Limits,
    ends: Ends,
    segments: Segments,
    open: Mutex<Open>,
}

/// The segment that is written to.
#[derive(Default)]
struct Open {
    tail: Option<Tail>,
    /// The sequence of its first record: bounds how many records it has.
    first_sequence: u64,
    /// The digest that the next segment's header names: the last footer's, or zeros.
    last_footer: [u8; 32],
    /// Whether what was written last has been synced, or should have been.
    is_settled: bool,
}

impl Open {
    /// What is in the segment stays, and nothing is added to it. It has no footer.
    fn leave(&mut self) {
        self.tail = None;
        self.last_footer = [0; 32];
    }
}

impl FileBlobs {
    /// Segments that are only read, until [`FileBlobs::go_on`].
    pub(super) fn new(disk: Arc<dyn Disk>, store: [u8; 16], limits: Limits, ends: Ends) -> Self {
        let most = (segment::RECORDS_MAX as u64).min(limits.segment_records).max(1);
        let segment_bytes = limits.segment_bytes.max(1);
        let limits = Limits { segment_records: most, segment_bytes, ..limits };
        let segments = Segments::new(disk.clone());
        Self { disk, store, limits, ends, segments, open: Mutex::default() }
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
        let Some(tail) = Tail::reopen(self.disk.as_ref(), path, at.segment_offset)? else {
            return Ok(());
        };
        let context = || StoreError::io(format!("reading {}", tail.path()));
        match tail.file().length().map_err(context())?.cmp(&tail.length()) {
            // Nor is anything written into a page that the medium does not give back.
            Ordering::Equal
                if !disk::ends_readably(tail.file(), tail.length()).map_err(context())? => {}
            Ordering::Equal => {
                // How many records it has is told by its first one. Without that the next one is begun.
                if segment::begins_soundly(tail.file(), at.segment, &self.store)?
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

    /// Reads single records by their place.
    pub(crate) fn segments(&self) -> &Segments {
        &self.segments
    }

    /// Begins the next segment, if none is open.
    fn begin<'a>(&self, open: &'a mut Open) -> Result<&'a mut Tail, Failure> {
        if open.tail.is_none() {
            let mut ends = self.ends.lock();
            let number = ends.segment + 1;
            if number > FILE_MAX {
                return Err(Failure::no_number(&segment::path(number - 1)));
            }
            let previous = open.last_footer;
            let header = FileHeader { store: self.store, role: "chunks", number, previous };
            let first = header.seal(ends.sequence).map_err(Failure::unmade)?;
            let path = segment::path(number);
            let tail = Tail::begin_durably(self.disk.as_ref(), FOLDER, path, &first)?;
            open.first_sequence = ends.sequence;
            ends.sequence += 1;
            (ends.segment, ends.segment_offset) = (number, tail.length());
            open.tail = Some(tail);
        }
        open.tail.as_mut().ok_or_else(|| Failure::before("no segment is open"))
    }

    fn append(&self, open: &mut Open, records: &mut [Sealed]) -> Result<Written, Failure> {
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
    fn end(&self, open: &mut Open) -> Result<(), CommitError> {
        let Some(tail) = &mut open.tail else { return Ok(()) };
        let mut ends = self.ends.lock();
        let failed = |error: &dyn std::fmt::Display| CommitError::Failed(error.to_string());
        let mut damage = Vec::new();
        let footer = Footer::of(tail.file(), ends.segment, tail.length(), &mut damage)
            .map_err(|error| failed(&error))?;
        for found in &damage {
            tracing::error!(damage = %found, "a record is damaged; the footer leaves it out");
        }
        let (sealed, trailer) = match footer.seal(tail.length(), ends.sequence) {
            Ok(sealed) => sealed,
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
            tail.append(std::iter::once(&sealed), &trailer).and_then(|()| tail.sync())
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
        open.last_footer = sealed.header.name;
        Ok(())
    }
}

impl Blobs for FileBlobs {
    /// The one that reaches a segment's size still belongs to it, but none beyond its number of records does.
    fn fits(&self, records: &[Sealed]) -> usize {
        let open = self.open.lock();
        let (mut count, mut bytes) = match &open.tail {
            Some(tail) => (self.ends.lock().sequence - open.first_sequence, tail.length()),
            None => (0, 0),
        };
        let fits = |record: &&Sealed| {
            let fits = count < self.limits.segment_records && bytes < self.limits.segment_bytes;
            count += 1;
            bytes += record.record_bytes();
            fits
        };
        records.iter().take_while(fits).count()
    }

    fn write(&self, records: &mut [Sealed]) -> Result<Written, CommitError> {
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

    fn seal(&self, now: bool) -> Result<(), CommitError> {
        let mut open = self.open.lock();
        let is_full = open.tail.as_ref().is_some_and(|tail| {
            tail.length() >= self.limits.segment_bytes
                || self.ends.lock().sequence - open.first_sequence >= self.limits.segment_records
        });
        if now || is_full { self.end(&mut open) } else { Ok(()) }
    }

    fn places(&self, extent: &Extent) -> Result<Vec<(ChunkName, Placement)>, StoreError> {
        segment::places(self.disk.as_ref(), extent)
    }

    fn read(
        &self,
        name: &ChunkName,
        placement: &Placement,
    ) -> Result<(Header, Vec<u8>), StoreError> {
        self.segments.read(name, placement)
    }
}
