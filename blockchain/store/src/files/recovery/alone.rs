//! Segments whose log is kept elsewhere: what of them is there, and where the next chunk goes.
//!
//! Commits are made when their chunks are durable, and the log says all that has to be known of chunks. So nothing is
//! taken in here; it is found out what is missing, and where segments end. Behind the last chunk that a commit names
//! there may be more: chunks that were written for commits that never came, or whose fate their writer did not live to
//! hear of. A commit of which nobody heard may come to the log after this start. So whole records stay where they are,
//! and nothing else is ever written in their places; what is not whole was never durable, and goes.

use std::collections::BTreeMap;

use super::Recovery;
use crate::files::disk::DiskFile;
use crate::files::segment::Footer;
use crate::files::segment_rows::Named;
use crate::files::watermark::Watermark;
use crate::files::{ToRecover, disk, rewrite, segment};
use crate::frame::{RecordKind, Scanner, Step};
use crate::vault::unit_rows::{self, Unread};
use crate::{Damage, StoreError, damage::DamageList, frame};

/// What was found of segments without a log.
pub struct SegmentsAlone {
    /// Where they end; of a log it says nothing.
    pub at: Watermark,
    /// What is wrong, none of it in the way of the rest.
    pub damage: DamageList,
    /// Why nothing may be written, if so.
    pub loss: Option<String>,
    /// Those that are not there, or not whole.
    pub unread: BTreeMap<u32, Unread>,
    /// Those that were made of others and that no commit switched to: one that does may still come.
    pub left: Vec<u32>,
}

/// Where the records of a segment end.
enum End {
    /// The file ends with them, or with a footer behind them.
    Whole(u64),
    /// What is behind them is not whole.
    Torn(u64),
    /// What is behind them is there, and cannot be read, or nobody knows what it is.
    Kept(u64, Damage),
}

/// Looks at segments when the index has followed the log to its end.
pub fn recover_segments(parts: ToRecover<'_>) -> Result<SegmentsAlone, StoreError> {
    let named = Named::of(parts.index)?;
    let sequence = named.sequence.max(1);
    let (segment, segment_offset) = (named.segment, named.end);
    let start = Watermark { segment, segment_offset, sequence, ..Watermark::START };
    let mut recovery = Recovery::at(start, parts, None)?;
    recovery.list_segments()?;
    recovery.find_ends()?;
    recovery.settle_segments(false)?;
    let mut loss = recovery.segment_of_others_ahead();
    if loss.is_none() && !parts.accept_loss {
        loss = recovery.no_segment_is_there()?;
    }
    let mut left = Vec::new();
    if loss.is_none() && recovery.missing.is_empty() {
        left = rewrite::clear(&recovery.units(), parts.index, true, &mut recovery.damage)?;
    }
    let Recovery { at, damage, unread, .. } = recovery;
    Ok(SegmentsAlone { at, damage, loss, unread, left })
}

impl Recovery<'_> {
    /// Goes behind all whole records, from the last one on that a commit names, and cuts what is torn.
    fn find_ends(&mut self) -> Result<(), StoreError> {
        let ToRecover { disk, index, .. } = self.parts;
        let known = unit_rows::unread(index)?;
        let from = self.at.segment.max(1);
        for number in self.segments.range(from..).copied().collect::<Vec<_>>() {
            if unit_rows::is_retired(index, number)? {
                continue;
            }
            let path = segment::path(number);
            let before = (self.at.segment, self.at.segment_offset);
            let begin = if number == before.0 { before.1 } else { 0 };
            (self.at.segment, self.at.segment_offset) = (number, begin);
            let file = match disk::find(disk.as_ref(), &path)? {
                Ok(file) => file,
                Err(damage) => {
                    self.damage.push(damage);
                    self.unopened.entry(number).or_insert(0);
                    continue;
                }
            };
            let length = file.length().map_err(StoreError::io(format!("reading {path}")))?;
            if length < begin {
                if !known.contains_key(&number) {
                    let why = format!(
                        "the segment reached byte {begin} once, and what was there is missing"
                    );
                    self.damage.push(Damage::new(path, length, why));
                }
                self.unopened.insert(number, begin);
                continue;
            }
            match self.end_of(file.as_ref(), number, (begin, length))? {
                End::Whole(end) => self.at.segment_offset = end,
                End::Torn(0) => {
                    // It was only just begun, and its number is nobody's.
                    disk.unlink(&path).map_err(StoreError::io(format!("removing {path}")))?;
                    self.segments.remove(&number);
                    (self.at.segment, self.at.segment_offset) = before;
                }
                End::Torn(end) => {
                    file.truncate(end).map_err(StoreError::io(format!("cutting {path}")))?;
                    self.at.segment_offset = end;
                }
                End::Kept(end, damage) => {
                    self.damage.push(damage);
                    self.at.segment_offset = end;
                }
            }
        }
        Ok(())
    }

    /// Where the records of a segment end that are whole, from a place on up to its length.
    fn end_of(
        &mut self,
        file: &dyn DiskFile,
        number: u32,
        (begin, length): (u64, u64),
    ) -> Result<End, StoreError> {
        let path = segment::path(number);
        let footer = Footer::find(file, number)?.and_then(Result::ok).map(|(at, _)| at);
        let mut scanner = Scanner::new(file, &path, begin, length);
        let mut end = begin;
        while let Some(step) = scanner.step()? {
            let (offset, header) = match step {
                Step::Record(offset, header) => (offset, header),
                Step::Damaged(damage) if scanner.unreadable_to() > 0 => {
                    return Ok(End::Kept(end, damage));
                }
                // The first record was durable before any other was written.
                Step::Damaged(damage) if end == 0 && scanner.step()?.is_some() => {
                    return Ok(End::Kept(end, damage));
                }
                Step::Damaged(_) => return Ok(End::Torn(end)),
            };
            if header.kind == RecordKind::Footer {
                if footer != Some(offset) {
                    return Ok(End::Torn(end));
                }
                self.at.pass(header.sequence);
                return Ok(End::Whole(end));
            }
            match frame::read_payload(file, &path, offset, &header)? {
                Ok(_) => {}
                Err(why @ frame::UNREADABLE) => {
                    return Ok(End::Kept(end, Damage::new(path, offset, why)));
                }
                Err(_) => return Ok(End::Torn(end)),
            }
            self.at.pass(header.sequence);
            end = offset + header.record_bytes();
        }
        Ok(End::Whole(end))
    }
}
