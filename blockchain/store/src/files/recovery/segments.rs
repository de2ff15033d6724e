//! Segments: which are there, which chunks of them are taken in, and which are missing.

use std::time::{Duration, Instant};

use lucid_core::digest::ChunkName;

use super::{CHANGES_MAX, Recovery};
use crate::files::disk::DiskFile;
use crate::files::segment::{Footer, placement_of};
use crate::files::{ToRecover, disk, log, rewrite, segment, segment_rows};
use crate::frame::{Header, RecordKind, Scanner, Step};
use crate::vault::{chunk_rows, unit_rows};
use crate::{Damage, StoreError, frame};

/// A start looks at the first records of old segments for so long at most: enough for all of some hundred
/// thousand, but for those of a disk that has to seek for each.
const LOOKING_MAX: Duration = Duration::from_secs(5);

impl Recovery<'_> {
    /// Lists the segments that are there. What is no part of the store is told by the first record of each,
    /// and is as if it were not there.
    pub(super) fn list_segments(&mut self) -> Result<(), StoreError> {
        self.segments = self.segment_numbers()?.into_iter().collect();
        // The walk and the writing begin at the watermark's: none from there on goes unlooked at.
        let (mut older, ahead): (Vec<u32>, Vec<u32>) =
            self.segments.iter().partition(|number| **number < self.at.segment);
        let there = segment::numbers(self.parts.disk.as_ref())?;
        older.extend(there.into_iter().filter(|number| number & segment::REWRITTEN != 0));
        for number in ahead {
            self.tell_foreign(number)?;
        }
        let begun = Instant::now();
        for (looked, number) in older.iter().enumerate() {
            if begun.elapsed() > LOOKING_MAX {
                let left = older.len() - looked;
                tracing::warn!(left, "segments are looked at by the next scrub: the disk is slow");
                break;
            }
            self.tell_foreign(*number)?;
        }
        self.segments.retain(|number| !self.foreign.contains(number));
        Ok(())
    }

    pub(super) fn segment_numbers(&self) -> Result<Vec<u32>, StoreError> {
        let names = self
            .parts
            .disk
            .list(segment::FOLDER)
            .map_err(StoreError::io(format!("listing {}", segment::FOLDER)))?;
        Ok(names.iter().filter_map(|name| log::number_of(name, "seg")).collect())
    }

    /// Names a segment's file that is no part of the store: the segment is missing.
    fn tell_foreign(&mut self, number: u32) -> Result<(), StoreError> {
        let ToRecover { disk, store, index, .. } = &self.parts;
        let is_rewritten = number & segment::REWRITTEN != 0;
        // A rewritten one that was never switched to is looked at where it is taken in or removed.
        if is_rewritten && !unit_rows::is_rewritten(*index, number)? {
            return Ok(());
        }
        let path = segment::path(number);
        // One that cannot be opened is named where it is read.
        let Ok(file) = disk::find(disk.as_ref(), &path)? else { return Ok(()) };
        let Some(why) = rewrite::foreign(file.as_ref(), number, store)? else { return Ok(()) };
        self.damage.push(Damage::new(path, 0, why));
        if is_rewritten {
            self.missing.push(number..=number);
        } else {
            // Its number is a gap among those that are there.
            self.foreign.insert(number);
        }
        Ok(())
    }

    /// Takes in the chunk records up to a place, from where the last commit ended.
    pub(super) fn take_in_chunks(&mut self, to: (u32, u64)) -> Result<(), StoreError> {
        while to.0 > 0 && (self.at.segment, self.at.segment_offset) < to {
            let number = self.at.segment.max(1);
            if number != self.at.segment {
                (self.at.segment, self.at.segment_offset) = (number, 0);
            }
            let there = self.segments.range(number..=to.0).next().copied().unwrap_or(to.0);
            if number < there || !self.segments.contains(&number) {
                // However far ahead a number is: what is not there is one gap.
                let gap = number..=there.saturating_sub(1).max(number);
                if self.missing.last() != Some(&gap) {
                    self.missing.push(gap);
                }
                if number < there {
                    (self.at.segment, self.at.segment_offset) = (there, 0);
                    continue;
                }
            }
            let end = if number == to.0 { Some(to.1) } else { None };
            self.take_in_segment(number, end)?;
            if end.is_some() {
                self.at.segment_offset = to.1;
            } else {
                (self.at.segment, self.at.segment_offset) = (number + 1, 0);
            }
        }
        Ok(())
    }

    fn take_in_segment(&mut self, number: u32, end: Option<u64>) -> Result<(), StoreError> {
        let path = segment::path(number);
        if !self.segments.contains(&number) {
            return Ok(());
        }
        let context = || StoreError::io(format!("reading {path}"));
        let file = match disk::find(self.parts.disk.as_ref(), &path)? {
            Ok(file) => file,
            Err(damage) => {
                self.damage.push(damage);
                self.unopened.entry(number).or_insert(0);
                return Ok(());
            }
        };
        // Asked for only when the whole file is: it may be large, and is read for every commit otherwise.
        let footer = if end.is_none() { Footer::find(file.as_ref(), number)? } else { None };
        if self.at.segment_offset == 0
            && let Some(Ok((_, footer))) = &footer
        {
            for entry in &footer.entries {
                chunk_rows::place(&mut self.changes, &entry.name, &entry.placement);
                self.at.pass(entry.sequence);
            }
            return Ok(());
        }
        let length = file.length().map_err(context())?;
        if let Some(end) = end.filter(|end| *end > length) {
            let reaches = self.unopened.entry(number).or_insert(0);
            *reaches = end.max(*reaches);
        }
        let end = end.unwrap_or(length);
        let mut scanner = Scanner::new(file.as_ref(), &path, self.at.segment_offset, end);
        while let Some(step) = scanner.step()? {
            match step {
                Step::Record(offset, header) => {
                    self.at.pass(header.sequence);
                    match header.kind {
                        RecordKind::Chunk
                            if !self.is_less_than_whole(
                                file.as_ref(),
                                &path,
                                offset,
                                &header,
                            )? =>
                        {
                            let place = placement_of(number, offset, &header);
                            chunk_rows::place(
                                &mut self.changes,
                                &ChunkName::new(header.name),
                                &place,
                            );
                        }
                        // The segment's records end here; what follows is a trailer, not a record.
                        RecordKind::Footer => {
                            self.damage.extend(footer.and_then(Result::err));
                            break;
                        }
                        _ => {}
                    }
                }
                Step::Damaged(damage) => self.damage.push(damage),
            }
            if self.changes.len() >= CHANGES_MAX {
                self.write_changes()?;
            }
        }
        Ok(())
    }

    /// Whether a record that no commit vouches for is less than whole: that is damage, and must not be
    /// taken for a copy of the chunk.
    fn is_less_than_whole(
        &mut self,
        file: &dyn DiskFile,
        path: &str,
        offset: u64,
        header: &Header,
    ) -> Result<bool, StoreError> {
        if !self.commits_are_missing {
            return Ok(false);
        }
        let read = frame::read_payload(file, path, offset, header)?;
        if let Err(why) = read {
            self.damage.push(Damage::new(path, offset, why));
        }
        Ok(read.is_err())
    }

    /// The log lacks a commit that would have said how far its chunks go. The walk leaves that place behind, and
    /// the index with it: so it is told, lest a start after this one, if this one is killed, cuts them off.
    pub(super) fn miss_commits(&mut self) {
        self.commits_are_missing = true;
        segment_rows::note_commits_missing(&mut self.changes);
    }

    /// Takes in every chunk there is, when the commits that would say how many are missing.
    pub(super) fn take_in_all_chunks(&mut self) -> Result<(), StoreError> {
        self.commits_are_missing = true;
        let Some(last) = self.segments.last().copied() else { return Ok(()) };
        let path = segment::path(last);
        let Ok(file) = disk::find(self.parts.disk.as_ref(), &path)? else {
            return self.begin_behind(last);
        };
        let length = file.length().map_err(StoreError::io(format!("reading {path}")))?;
        let mut scanner = Scanner::new(file.as_ref(), &path, 0, length);
        let (mut end, mut is_ended) = (0, false);
        while let Some(step) = scanner.step()? {
            match step {
                Step::Record(_, header) if header.kind == RecordKind::Footer => {
                    is_ended = true;
                    break;
                }
                Step::Record(offset, header) => end = offset + header.record_bytes(),
                Step::Damaged(_) => {}
            }
            // Bytes that the medium does not give back are there nevertheless, and none of them is cut off.
            end = end.max(scanner.unreadable_to());
        }
        self.take_in_chunks((last, end))?;
        // A commit that is put back names what is behind, be it damaged: nothing else is written there.
        let is_behind = length > end && end > 0 && !is_ended;
        if is_behind && last < log::FILE_MAX { self.begin_behind(last) } else { Ok(()) }
    }

    /// Brings what is known of segments, and the files that are there, together.
    pub(super) fn settle_segments(&mut self, lacks_end: bool) -> Result<(), StoreError> {
        let ToRecover { index, accept_loss, .. } = self.parts;
        let units = self.units();
        self.find_gaps();
        rewrite::settle(&units, index, lacks_end, &mut self.missing)?;
        if !lacks_end {
            self.pass_replaced_segments()?;
        }
        let absent = rewrite::Absent {
            lost: &self.missing,
            unopened: &self.unopened,
            accepted: accept_loss,
            log_has_places: self.is_log_elsewhere(),
        };
        let end = (self.at.segment, self.at.segment_offset);
        let damage = &mut self.damage;
        self.unread = rewrite::settle_unread(&units, index, end, &absent, damage)?;
        unit_rows::leave_accepted(&self.unread, &mut self.missing);
        let lost = self.missing.iter().cloned();
        self.damage.extend(lost.map(|gap| Damage::missing(gap, segment::path)));
        Ok(())
    }

    /// Looks for every segment that chunks were written to, whether or not its rows are made already.
    fn find_gaps(&mut self) {
        let last = self.at.last_segment();
        let mut expected = 1;
        for number in self.segments.range(..=last).copied().chain([last.saturating_add(1)]) {
            if expected < number {
                self.missing.push(expected..=number - 1);
            }
            expected = number.saturating_add(1);
        }
    }

    /// No new segment gets the number of one that has been replaced, regardless of what the log lost: it would
    /// be removed with that one. Nor is a new record older than one that was copied.
    fn pass_replaced_segments(&mut self) -> Result<(), StoreError> {
        let (disk, index) = (self.parts.disk.as_ref(), self.parts.index);
        let retired = unit_rows::retired(index)?;
        let newest = retired.range(..segment::REWRITTEN).next_back().copied().unwrap_or(0);
        if newest <= self.at.segment {
            return Ok(());
        }
        (self.at.segment, self.at.segment_offset) = (newest, 0);
        for number in segment::numbers(disk)? {
            if number & segment::REWRITTEN == 0 {
                continue;
            }
            let Ok(file) = disk::find(disk, &segment::path(number))? else { continue };
            if let Some((_, footer)) = Footer::of_ended(file.as_ref(), number, true)? {
                let last = footer.entries.iter().map(|entry| entry.sequence).max().unwrap_or(0);
                self.at.pass(last);
            }
        }
        if !self.is_log_elsewhere() {
            segment_rows::set_watermark(&mut self.changes, &self.at);
        }
        self.write_changes()
    }

    /// A segment that is another store's, where new ones of this one would be: it is neither taken in nor
    /// written over.
    pub(super) fn segment_of_others_ahead(&self) -> Option<String> {
        let path = segment::path(*self.foreign.range(self.at.segment..).next()?);
        Some(format!(
            "{path} is no part of this store, and stands where its next chunks would: move the file out \
             of the folder"
        ))
    }

    /// Where every segment is missing, their folder is not the one that it was.
    pub(super) fn no_segment_is_there(&self) -> Result<Option<String>, StoreError> {
        if self.missing.is_empty() || !segment::numbers(self.parts.disk.as_ref())?.is_empty() {
            return Ok(None);
        }
        let folder = segment::FOLDER;
        Ok(Some(format!(
            "{folder}/: none of the segments that the store wrote is there; if the folder is on another \
             disk, mount that, or put the files back from a copy, or run `lucid reindex --accept-loss` to \
             go on without them"
        )))
    }
}
