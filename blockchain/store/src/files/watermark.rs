//! How far log and segments go: the row of the index that says up to where its rows are complete, and the
//! mark that says where a store that was closed in order ended.

use std::sync::Arc;

use lucid_core::wire::{Reader, WireFault, Writer};

use parking_lot::Mutex;

use crate::contract::fact_log::Position;
use crate::files::disk::{self, Disk};
use crate::files::log::{self, FILE_MAX};
use crate::files::segment;
use crate::{Damage, StoreError, frame};

/// The file that says how far the log went when the store was last closed in order.
pub const MARK: &str = "CLOSED";

/// Where log and segments end, as both see it that write to them: their records share one sequence.
pub(super) type Ends = Arc<Mutex<Watermark>>;

/// Up to where the log has been taken in, and where the next commit goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermark {
    /// The log file.
    pub log: u32,
    /// The end of the last commit in it.
    pub offset: u64,
    /// The last commit's number; zero before the first.
    pub commit: u64,
    /// The last commit's digest.
    pub digest: [u8; 32],
    /// The next record's sequence.
    pub sequence: u64,
    /// The segment the last chunk was written to; zero before the first.
    pub segment: u32,
    /// The end of the last chunk in it.
    pub segment_offset: u64,
}

impl Watermark {
    /// Before anything was written.
    pub const START: Self = Self {
        log: 0,
        offset: 0,
        commit: 0,
        digest: [0; 32],
        sequence: 1,
        segment: 0,
        segment_offset: 0,
    };

    /// The next record comes behind one of this sequence, however high that claims to stand: where only one
    /// more could, nothing is written any more, and what the row says can still be read.
    pub fn pass(&mut self, sequence: u64) {
        self.sequence = self.sequence.max(sequence.saturating_add(1).min(frame::NUMBER_MAX - 1));
    }

    /// The place that it is.
    pub fn position(&self) -> Position {
        Position::new(self.encode())
    }

    /// The watermark at a place.
    pub fn at(position: &Position) -> Result<Self, StoreError> {
        Self::decode(position.as_bytes())
            .map_err(|fault| StoreError::Index(format!("the watermark: {fault}")))
    }

    /// The row's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Writer::new();
        to.u32(self.log).u64(self.offset).u64(self.commit).raw(&self.digest);
        to.u64(self.sequence).u32(self.segment).u64(self.segment_offset);
        to.finish()
    }

    /// Reads [`Watermark::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, WireFault> {
        let mut from = Reader::new(bytes);
        let mark = Self {
            log: from.u32("log")?,
            offset: frame::number(&mut from, "offset")?,
            commit: frame::number(&mut from, "commit")?,
            digest: from.array("digest")?,
            sequence: frame::number(&mut from, "sequence")?,
            segment: from.u32("segment")?,
            segment_offset: frame::number(&mut from, "segment offset")?,
        };
        from.finish()?;
        if mark.log.max(mark.segment) > FILE_MAX {
            return Err(WireFault::Invalid { what: "file number" });
        }
        Ok(mark)
    }

    /// The newest segment that must be there: of one without a byte, only the number is taken.
    pub fn last_segment(&self) -> u32 {
        self.segment.saturating_sub(u32::from(self.segment_offset == 0))
    }

    /// The place in the log, for comparing.
    pub fn place(&self) -> (u32, u64) {
        (self.log, self.offset)
    }
}

const MARK_MAGIC: &[u8; 8] = b"LCDRmark";

/// Writes the mark, durably.
pub fn write_mark(disk: &dyn Disk, at: &Watermark) -> Result<(), StoreError> {
    let mut to = Writer::new();
    to.raw(MARK_MAGIC).raw(&at.encode());
    let covered = to.finish();
    let bytes = [covered.as_slice(), blake3::hash(&covered).as_bytes()].concat();
    disk::replace(disk, "", MARK, &bytes).map_err(StoreError::io(format!("writing {MARK}")))
}

/// Makes the mark before the first log file, so that a store with records and without a mark has lost it.
pub fn begin_mark(disk: &dyn Disk) -> Result<(), StoreError> {
    // One that the medium does not give back is there: reading it names the damage.
    let there = match disk.open(MARK) {
        Err(error) if disk::is_media_error(&error) => true,
        opened => opened.map_err(StoreError::io(format!("reading {MARK}")))?.is_some(),
    };
    if there || has_records(disk)? { Ok(()) } else { write_mark(disk, &Watermark::START) }
}

/// Whether there is a log, or what was begun after one.
fn has_records(disk: &dyn Disk) -> Result<bool, StoreError> {
    Ok(!log::numbers(disk)?.is_empty() || !segment::numbers(disk)?.is_empty())
}

/// Reads the clean-close mark. A damaged or missing one is named and then does not count.
pub fn read_mark(
    disk: &dyn Disk,
    damage: &mut Vec<Damage>,
) -> Result<Option<Watermark>, StoreError> {
    let read = disk::read_all(disk, MARK).map_err(StoreError::io(format!("reading {MARK}")))?;
    let Some(bytes) = read else {
        if has_records(disk)? {
            damage.push(Damage::new(MARK, 0, "the file is missing"));
        }
        return Ok(None);
    };
    let mark = bytes.split_last_chunk::<32>().and_then(|(covered, digest)| {
        let sound = blake3::hash(covered) == blake3::Hash::from(*digest);
        let rest = covered.strip_prefix(MARK_MAGIC).filter(|_| sound)?;
        Watermark::decode(rest).ok()
    });
    if mark.is_none() {
        damage.push(Damage::new(MARK, 0, "the mark does not match its digest"));
    }
    Ok(mark)
}
