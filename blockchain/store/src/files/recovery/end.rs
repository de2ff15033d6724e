//! Where the log and the chunks end: whether the last commit is torn, whether something proves that there was more,
//! and what is cut.

use super::log_files::facts_match;
use super::{Batch, FirstOfFile, Recovery};
use crate::files::disk::DiskFile;
use crate::files::log::FileHeader;
use crate::files::segment::Footer;
use crate::files::{ChunksAre, ToRecover, disk, log, rewrite, segment};
use crate::frame::{Scanner, Step};
use crate::vault::unit_rows;
use crate::{Damage, StoreError, frame};

impl Recovery<'_> {
    /// Judges the last commit: torn if it is not wholly there and nothing vouches for it.
    pub(super) fn judge_last(&mut self) -> Result<(), StoreError> {
        let Some(batch) = self.last.take() else { return Ok(()) };
        self.settle_doubt(&batch)?;
        // What vouches for a part of it, or for the place behind it, vouches for all of it.
        let vouched = (batch.log, batch.start) < self.bound;
        if vouched || self.is_whole(&batch)? {
            if !vouched {
                // It may be in the page cache alone, and the index must not be ahead of it.
                self.sync(&log::path(batch.log))?;
                if batch.commit.segment > 0 {
                    self.sync(&segment::path(batch.commit.segment))?;
                }
            }
            self.bound = self.bound.max((batch.log, batch.end));
            return self.accept(batch);
        }
        // Damage named while walking this batch was only its tear.
        let (path, start) = (log::path(batch.log), batch.start);
        self.damage.retain(|damage| damage.file != path || damage.offset < start);
        tracing::info!(commit = batch.commit.number, "the last commit was torn and is cut off");
        self.torn.0 = Some(batch);
        Ok(())
    }

    fn is_whole(&self, batch: &Batch) -> Result<bool, StoreError> {
        let commit = &batch.commit;
        let follows = self.follows(commit);
        // This batch was begun after the one before it was synced. So if all of its own is there, what
        // is damaged in front of it, or at the end of the file before, and broke the chain, is no part
        // of a tear. A file's own first record says behind what it was begun, even if that was not the
        // last commit: the one that was could not be read then, and can be now.
        let behind_damage = (batch.group.damaged || batch.first == FirstOfFile::Unknown)
            && commit.number > self.at.commit;
        if !facts_match(batch) || !(follows || behind_damage || batch.first == FirstOfFile::Follows)
        {
            return Ok(false);
        }
        if commit.segment == 0 {
            return Ok(true);
        }
        let ToRecover { disk, store, .. } = &self.parts;
        let range = (commit.segment_from, commit.segment_to);
        segment::is_not_torn(disk.as_ref(), store, commit.segment, range, &commit.segment_digest)
    }

    /// Whether the log ends before something that vouches for more.
    pub(super) fn missing_end(&mut self, found: (u32, u64)) -> Result<Option<String>, StoreError> {
        let (path, have, why) = if found < self.bound {
            let (number, offset) = self.bound;
            let have = if found.0 == number { found.1 } else { 0 };
            let why =
                format!("the log ended at byte {offset} here once, and what was there is missing");
            (log::path(number), have, why)
        } else if let Some(why) = self.segment_without_commits(found)? {
            (log::path(found.0.max(1)), found.1, why)
        } else if let Some(segment) = self.switched_behind_the_end()? {
            let why = commits_missing(&segment);
            (log::path(found.0.max(1)), found.1, why)
        } else {
            return Ok(None);
        };
        self.damage.push(Damage::new(path.as_str(), have, &why));
        if self.parts.accept_loss {
            // What is there is kept, whether or not it was torn, and counts from now on.
            self.bound = found.max(self.at.place());
            if let Some(batch) = self.torn.0.take() {
                self.accept(batch)?;
            }
            if let Some((group, path)) = self.torn.1.take() {
                self.replay(&group, &path)?;
            }
            // A new copy of a chunk is newer than what was copied.
            if let Some((last, _)) = self.newest_unsaid()? {
                self.at.pass(last);
            }
            // Chunks may have outlived the facts that named them: keep every one.
            self.take_in_all_chunks()?;
            return Ok(None);
        }
        Ok(Some(lost(&path, &why)))
    }

    /// A segment that was switched to, as its sources show, and has records that are newer than the log's end.
    fn switched_behind_the_end(&mut self) -> Result<Option<String>, StoreError> {
        if let Some(mark) = self.mark.filter(|mark| mark.place() == self.at.place()) {
            self.at.sequence = self.at.sequence.max(mark.sequence);
        }
        if self.commits_are_missing {
            return Ok(None);
        }
        // Of those that the log names, the index knows.
        self.write_changes()?;
        let newest = self.newest_unsaid()?.filter(|(last, _)| *last >= self.at.sequence);
        Ok(newest.map(|(_, number)| segment::path(number)))
    }

    fn newest_unsaid(&self) -> Result<Option<(u64, u32)>, StoreError> {
        rewrite::newest_unsaid(&self.units(), self.parts.index)
    }

    /// What proves that commits are missing: a segment's footer is written when they are durable, and it is
    /// not begun before the first log file is; so what is behind the last commit without such a proof is
    /// torn, and with it must not be removed. What cannot be read is no tear, and there may be a proof in it.
    fn segment_without_commits(&self, found: (u32, u64)) -> Result<Option<String>, StoreError> {
        if self.commits_are_missing {
            return Ok(None);
        }
        if let ChunksAre::Elsewhere(blobs) = self.parts.chunks {
            // Nothing is put there before the first file of the log is begun.
            let first = if found == (0, 0) { blobs.numbers()?.first().copied() } else { None };
            return Ok(first.map(|unit| commits_missing(&blobs.title(unit))));
        }
        // One that was written from others was so because of commits.
        if found == (0, 0)
            && let Some(number) = segment::numbers(self.parts.disk.as_ref())?.last().copied()
            && number & segment::REWRITTEN != 0
        {
            return Ok(Some(commits_missing(&segment::path(number))));
        }
        let marked = self.mark.map_or((0, 0), |mark| (mark.segment, mark.segment_offset));
        let place = marked.max((self.at.segment, self.at.segment_offset));
        for number in self.segments.range(place.0..).rev() {
            let path = segment::path(*number);
            let context = || StoreError::io(format!("reading {path}"));
            let is_behind = *number > place.0;
            let Ok(file) = disk::find(self.parts.disk.as_ref(), &path)? else {
                if is_behind {
                    return Ok(Some(commits_maybe_missing(&path)));
                }
                continue;
            };
            let length = file.length().map_err(context())?;
            let ended_behind = match Footer::find(file.as_ref(), *number)? {
                Some(Ok((footer_at, footer))) => {
                    (*number, footer_at) > place && !footer.entries.is_empty()
                }
                _ => false,
            };
            if ended_behind || (found == (0, 0) && length > 0) {
                return Ok(Some(commits_missing(&path)));
            }
            if is_behind && is_unreadable(file.as_ref(), &path, 0, length)? {
                return Ok(Some(commits_maybe_missing(&path)));
            }
        }
        Ok(None)
    }

    /// What the medium does not give back behind the last chunk is no tear, so it is not cut off: the next segment
    /// is begun behind it.
    pub(super) fn keep_unreadable_end(&mut self) -> Result<(), StoreError> {
        let (number, end) = (self.at.segment, self.at.segment_offset);
        if !self.segments.contains(&number) || unit_rows::is_retired(self.parts.index, number)? {
            return Ok(());
        }
        let path = segment::path(number);
        let Ok(file) = disk::find(self.parts.disk.as_ref(), &path)? else { return Ok(()) };
        let length = file.length().map_err(StoreError::io(format!("reading {path}")))?;
        // A sound footer there is not cut off.
        if length <= end
            || matches!(Footer::find(file.as_ref(), number)?, Some(Ok((at, _))) if at == end)
            || !is_unreadable(file.as_ref(), &path, end, length)?
        {
            return Ok(());
        }
        // Of what is taken in now, no commit says that it is whole.
        self.commits_are_missing = true;
        match self.segments.last() {
            // An earlier start has begun it.
            Some(last) if *last > number => self.take_in_all_chunks(),
            _ => self.begin_behind(number),
        }
    }

    /// Takes in every chunk before the newest segment, which cannot be read to its end, and begins another one behind
    /// it: where it ends is not known, and so nothing is cut off should it be read again. Does nothing where chunks
    /// are written behind it anyway.
    pub(super) fn begin_behind(&mut self, newest: u32) -> Result<(), StoreError> {
        if self.at.segment > newest {
            // Commits name a segment behind it that is missing: nothing is written before that one anyway, and its
            // number is not used twice.
            return Ok(());
        }
        let number = newest.saturating_add(1);
        if number > log::FILE_MAX {
            let path = segment::path(newest);
            return Err(StoreError::Folder(format!(
                "{path} cannot be read, and no number is free behind it: move it away"
            )));
        }
        self.take_in_chunks((number, 0))?;
        if self.foreign.contains(&number) {
            // Nothing is written until that one is moved away.
            return Ok(());
        }
        let ToRecover { disk, store, .. } = self.parts;
        let header = FileHeader { store, role: "chunks", number, previous: [0; 32] };
        let first = header.to_record(self.at.sequence)?;
        let path = segment::path(number);
        disk.create(&path)
            .and_then(|file| {
                file.append(&[&first.header.encode(), &first.payload])?;
                file.sync()
            })
            .and_then(|()| disk.sync_folder(segment::FOLDER))
            .map_err(StoreError::io(format!("writing {path}")))?;
        self.segments.insert(number);
        self.at.sequence += 1;
        self.at.segment_offset = first.record_bytes();
        Ok(())
    }

    /// Cuts what is torn, and makes durable what is kept: everything up to the last commit, or to the
    /// last place that something vouches for, however damaged.
    pub(super) fn cut_tail(&mut self, begun: &[u32]) -> Result<(), StoreError> {
        let disk = self.parts.disk;
        for number in begun {
            let path = log::path(*number);
            disk.unlink(&path).map_err(StoreError::io(format!("removing {path}")))?;
        }
        let (last, mut keep) = self.at.place().max(self.bound);
        let path = log::path(last);
        if let Ok(file) = disk::find(disk.as_ref(), &path)? {
            let length = file.length().map_err(StoreError::io(format!("cutting {path}")))?;
            if keep == 0 {
                // It holds no commit yet: its first record stands, or what is left of that.
                let mut scanner = Scanner::new(file.as_ref(), &path, 0, length);
                while keep == 0
                    && let Some(step) = scanner.step()?
                {
                    if let Step::Record(0, header) = &step {
                        self.at.pass(header.sequence);
                    }
                    keep = scanner.offset();
                }
            }
            self.cut(file.as_ref(), &path, length, keep)?;
            (self.at.log, self.at.offset) = (last, keep.min(length));
        }
        self.cut_segments()?;
        // A log begun just before a kill is written on, and its name may not be durable; a segment's is,
        // before a commit refers to it. The root holds the folders' own names.
        for folder in [log::FOLDER, ""] {
            disk.sync_folder(folder).map_err(StoreError::io(format!("syncing {folder}/")))?;
        }
        Ok(())
    }

    /// Cuts a file and makes it durable. Where the medium does not let it be cut, it stays as it is: it is
    /// not written on, and what is behind is read as damage.
    fn cut(
        &mut self,
        file: &dyn DiskFile,
        path: &str,
        length: u64,
        keep: u64,
    ) -> Result<(), StoreError> {
        if length > keep {
            match file.truncate(keep).map_err(StoreError::reading(path, keep)) {
                Err(StoreError::Damaged(damage)) => self.damage.push(damage),
                cut => cut?,
            }
        }
        file.sync().map_err(StoreError::io(format!("cutting {path}")))
    }

    fn cut_segments(&mut self) -> Result<(), StoreError> {
        let disk = self.parts.disk;
        for number in self.segment_numbers()? {
            let path = segment::path(number);
            let context = || StoreError::io(format!("cutting {path}"));
            // One that has been replaced is not cut: while others are missing, it may be what is left.
            if number < self.at.segment
                || self.foreign.contains(&number)
                || unit_rows::is_retired(self.parts.index, number)?
            {
                continue;
            }
            if number > self.at.segment {
                // Begun, and no commit refers to it.
                disk.unlink(&path).map_err(context())?;
                continue;
            }
            let Ok(file) = disk::find(disk.as_ref(), &path)? else { continue };
            let end = self.at.segment_offset;
            let length = file.length().map_err(context())?;
            let ended = matches!(
                Footer::find(file.as_ref(), number)?,
                Some(Ok((footer_at, _))) if footer_at == end
            );
            if ended {
                // The footer has a sequence of its own, which no commit has passed on.
                if let Some(Ok(footer)) = frame::read_header(file.as_ref(), &path, end)? {
                    self.at.pass(footer.sequence);
                }
            } else if length < end {
                let why =
                    format!("the segment reached byte {end} once, and what was there is missing");
                self.damage.push(Damage::new(path.as_str(), length, why));
            }
            let keep = if ended { length } else { end };
            self.cut(file.as_ref(), &path, length, keep)?;
        }
        Ok(())
    }
}

/// Whether the medium does not give back something of the records from one place to another.
fn is_unreadable(file: &dyn DiskFile, path: &str, from: u64, to: u64) -> Result<bool, StoreError> {
    let mut scanner = Scanner::new(file, path, from, to);
    while let Some(step) = scanner.step()? {
        if let Step::Record(offset, header) = step
            && frame::read_payload(file, path, offset, &header)? == Err(frame::UNREADABLE)
        {
            return Ok(true);
        }
    }
    Ok(scanner.unreadable_to() > 0)
}

fn commits_maybe_missing(segment: &str) -> String {
    format!("{segment} cannot be read, and may hold chunks whose commits are missing from the log")
}

fn commits_missing(segment: &str) -> String {
    format!("{segment} holds chunks whose commits are missing from the log")
}

/// Why nothing is written, and what to do.
fn lost(path: &str, why: &str) -> String {
    format!(
        "{path}: {why}; put the file back from a copy, or run `lucid reindex --accept-loss` to go on \
         without it"
    )
}
