//! The walk through the log: which of its files count, what is accepted of each, and what that makes of the rows.

use super::{Batch, CHANGES_MAX, FirstOfFile, Group, Recovery};
use crate::crypt::Unopened;
use crate::files::disk::DiskFile;
use crate::files::log::{Beginning, COMMIT_RECORD_BYTES, Commit, FileHeader, Places, Summary};
use crate::files::{disk, log, segment_rows};
use crate::frame::{Header, HeadersDigest, RecordKind, Scanner, Step};
use crate::vault::chunk_rows;
use crate::{Damage, StoreError, frame};

/// What is to be done with a log file.
pub(super) enum Looked {
    /// It is read.
    Walk(LogFile),
    /// It stays as it is, and nothing in it counts.
    PassOver,
    /// Nothing came into it before a crash: it goes.
    OnlyBegun,
}

/// A log file that has to be walked.
pub(super) struct LogFile {
    pub(super) number: u32,
    path: String,
    pub(super) begin: u64,
    pub(super) length: u64,
    /// What the file before it ended with, where that is known.
    previous: Option<[u8; 32]>,
}

impl Recovery<'_> {
    /// The commit the index stopped at must be where the index says, or the two do not belong together.
    pub(super) fn check_watermark(&mut self, numbers: &[u32]) -> Result<(), StoreError> {
        if self.at.commit == 0 || !numbers.contains(&self.at.log) {
            return Ok(());
        }
        let path = log::path(self.at.log);
        let Ok(file) = disk::find(self.parts.disk.as_ref(), &path)? else { return Ok(()) };
        let Some(begin) = self.at.offset.checked_sub(COMMIT_RECORD_BYTES) else { return Ok(()) };
        match frame::read_header(file.as_ref(), &path, begin)? {
            Some(Ok(header))
                if header.kind == RecordKind::Commit && header.name == self.at.digest => {}
            Some(Ok(header)) if header.kind == RecordKind::Summary => {
                match frame::read_payload(file.as_ref(), &path, begin, &header)? {
                    Ok(payload) => {
                        let stands_for = Summary::decode(&payload).map(|summary| summary.digest);
                        if stands_for != Ok(self.at.digest) {
                            return Err(other_log());
                        }
                    }
                    Err(why) => {
                        self.watermark_in_doubt = true;
                        self.damage.push(Damage::new(path, begin, why));
                    }
                }
            }
            Some(Ok(_)) => return Err(other_log()),
            Some(Err(why @ frame::NEWER_RECORD)) => return Err(frame::unread(&path, begin, why)),
            Some(Err(why)) => {
                // Either the commit is damaged, or the index is another log's: the next commit tells.
                self.watermark_in_doubt = true;
                self.damage.push(Damage::new(path, begin, why));
            }
            // It has been condensed since, unless it is the newest, whose end may be missing.
            None if numbers.iter().any(|number| *number > self.at.log) => return Err(other_log()),
            None => {}
        }
        Ok(())
    }

    /// Opens a log file and judges how it begins. Later ones have been looked at.
    pub(super) fn look_at(&mut self, number: u32) -> Result<Looked, StoreError> {
        let path = log::path(number);
        let file = match disk::find(self.parts.disk.as_ref(), &path)? {
            Ok(file) => file,
            Err(damage) => {
                self.damage.push(damage);
                self.keep_file(number);
                return Ok(Looked::PassOver);
            }
        };
        let length = file.length().map_err(StoreError::io(format!("reading {path}")))?;
        let begin = if number == self.at.log { self.at.offset } else { 0 };
        let mut previous = None;
        if begin > 0
            && let Beginning::Foreign(why) =
                log::beginning(file.as_ref(), number, &path, &self.parts.store)?
        {
            // The index stopped in it, so it was this store's: it is read on, and not written on.
            self.damage.push(Damage::new(path.as_str(), 0, why));
        }
        if begin == 0 {
            match log::beginning(file.as_ref(), number, &path, &self.parts.store)? {
                Beginning::Sound(digest) => {
                    // A new file is begun only after the commits before it were synced.
                    self.bound = self.bound.max((number, 0));
                    previous = Some(digest);
                }
                Beginning::Foreign(why) => {
                    self.damage.push(Damage::new(path, 0, why));
                    self.keep_file(number);
                    return Ok(Looked::PassOver);
                }
                // The first record is synced before anything follows it: so a file in which nothing is
                // sound and that is no longer than that was only just begun, if nothing vouches for it.
                Beginning::Damaged(_)
                    if self.bound < (number, 1)
                        && length <= self.first_bytes(number)?
                        && !holds_any(file.as_ref(), &path, length)? =>
                {
                    return Ok(Looked::OnlyBegun);
                }
                Beginning::Damaged(why) => {
                    self.damage.push(Damage::new(path.as_str(), 0, why));
                    self.bound = self.bound.max((number, 0));
                }
            }
        }
        self.keep_file(number);
        Ok(Looked::Walk(LogFile { number, path, begin, length, previous }))
    }

    /// The next log file is begun behind this one.
    fn keep_file(&mut self, number: u32) {
        self.newest_log = self.newest_log.max(number);
    }

    /// Bytes of a log file's first record.
    fn first_bytes(&self, number: u32) -> Result<u64, StoreError> {
        let store = self.parts.store;
        let first = FileHeader { store, role: "log", number, previous: [0; 32] }.to_record(0)?;
        Ok(first.record_bytes())
    }

    /// Names the files that are missing before this one: unless it follows the very commit at which the
    /// walk stands, so that nothing was in them. `known` was there once in any case.
    pub(super) fn name_gap(&mut self, expected: u32, known: u32, file: &LogFile) {
        let stands_at = self.last.as_ref().map_or(self.at.digest, |batch| batch.digest);
        let nothing_lost = expected != known && file.previous == Some(stands_at);
        if expected < file.number && !nothing_lost {
            self.damage.push(Damage::missing(expected..=file.number - 1, log::path));
        }
    }

    /// What the medium does not give back is no tear: a crash leaves old bytes, new ones, or none. So it
    /// was written, and stays.
    fn vouch_unreadable(&mut self, number: u32, to: u64) {
        if to > 0 {
            self.bound = self.bound.max((number, to));
        }
    }

    /// Walks one file.
    pub(super) fn walk(&mut self, walked: &LogFile) -> Result<(), StoreError> {
        let LogFile { number, path, begin, length, .. } = walked;
        let (number, begin, length) = (*number, *begin, *length);
        // Opened once more: there may be more files than may be open.
        let file = match disk::find(self.parts.disk.as_ref(), path)? {
            Ok(file) => file,
            Err(damage) => {
                self.damage.push(damage);
                return Ok(());
            }
        };
        let file = file.as_ref();
        let mut group = Group::default();
        let mut first = begin == 0;
        let mut start = begin;
        let mut scanner = Scanner::new(file, path, begin, length);
        let mut unsure: Vec<Damage> = Vec::new();
        let first_bytes = self.first_bytes(number)?;
        while let Some(step) = scanner.step()? {
            let (offset, header) = match step {
                Step::Damaged(damage) => {
                    // The file's first record is judged by itself, and has no part in any batch; what is
                    // damaged behind it has.
                    if damage.offset > 0 || begin > 0 || scanner.offset() > first_bytes {
                        unsure.push(damage);
                        group.damaged = true;
                    }
                    self.vouch_unreadable(number, scanner.unreadable_to());
                    continue;
                }
                Step::Record(offset, header) => (offset, header),
            };
            let end = offset + header.record_bytes();
            let read = match header.kind {
                RecordKind::Fact
                | RecordKind::Places
                | RecordKind::Commit
                | RecordKind::Summary => frame::read_payload(file, path, offset, &header)?,
                _ => Ok(Vec::new()),
            };
            let payload = match read {
                Ok(payload) => payload,
                Err(why) => {
                    if why == frame::UNREADABLE {
                        self.vouch_unreadable(number, end);
                    }
                    unsure.push(Damage::new(path, offset, why));
                    group.damaged = true;
                    continue;
                }
            };
            if !(self.parts.progress)(self.passed + offset.saturating_sub(begin), self.total) {
                return Err(StoreError::Stopped);
            }
            match header.kind {
                RecordKind::File if offset == 0 => start = end,
                RecordKind::Fact => group.facts.push((offset, header, payload)),
                RecordKind::Places if self.has_segments() => {
                    return Err(chunks_are_not("in segments beside it", path));
                }
                RecordKind::Places => group.facts.push((offset, header, payload)),
                RecordKind::Commit => {
                    let sound = header.name == header.payload_digest;
                    let Some(commit) = Commit::decode(&payload).ok().filter(|_| sound) else {
                        unsure.push(Damage::new(
                            path,
                            offset,
                            "the record is no commit that can be",
                        ));
                        group.damaged = true;
                        continue;
                    };
                    if commit.segment > 0 && !self.has_segments() {
                        return Err(chunks_are_not("kept elsewhere", path));
                    }
                    // A sound commit: what was in doubt before the previous one is damage for sure.
                    self.accept_last()?;
                    let previous = commit.previous;
                    self.last = Some(Batch {
                        group: std::mem::take(&mut group),
                        digest: header.name,
                        sequence: header.sequence,
                        commit,
                        log: number,
                        start,
                        end,
                        first: match walked.previous {
                            Some(behind) if first && behind == previous => FirstOfFile::Follows,
                            None if first => FirstOfFile::Unknown,
                            _ => FirstOfFile::No,
                        },
                    });
                    first = false;
                    start = end;
                    self.damage_in_last(&mut unsure, path);
                }
                RecordKind::Summary => {
                    let sound = header.name == header.payload_digest;
                    let Some(summary) = Summary::decode(&payload).ok().filter(|_| sound) else {
                        let why = "the record is no summary that can be";
                        unsure.push(Damage::new(path, offset, why));
                        group.damaged = true;
                        continue;
                    };
                    // It was written when all that it stands for had long been durable.
                    self.accept_last()?;
                    self.damage.extend(unsure.drain(..));
                    self.accept_summary(
                        std::mem::take(&mut group),
                        &summary,
                        (number, start, end),
                    )?;
                    first = false;
                    start = end;
                }
                _ => {
                    unsure.push(Damage::new(path, offset, "the record does not belong in a log"));
                    group.damaged = true;
                }
            }
        }
        // What is left has no commit: torn if nothing vouches for it, damage if something does.
        for damage in unsure {
            if (number, damage.offset) < self.bound {
                self.damage.push(damage);
            }
        }
        if (number, start) < self.bound && (group.damaged || !group.facts.is_empty()) {
            // The commit record itself is damaged, and its facts were acknowledged: those that are kept.
            self.miss_commits();
            self.accept_last()?;
            group.facts.retain(|(offset, ..)| (number, *offset) < self.bound);
            self.replay(&group, path)?;
        } else if !group.facts.is_empty() {
            self.torn.1 = Some((group, path.clone()));
        }
        Ok(())
    }

    /// Damage inside a batch that has its commit is kept aside until the batch is judged.
    fn damage_in_last(&mut self, unsure: &mut Vec<Damage>, path: &str) {
        let Some(last) = &mut self.last else { return };
        if unsure.is_empty() {
            return;
        }
        last.group.damaged = true;
        tracing::warn!(path, count = unsure.len(), "damage before a commit");
        self.damage.extend(unsure.drain(..));
    }

    /// The batch before a sound later commit: it had been synced, so what is wrong in it is damage.
    fn accept_last(&mut self) -> Result<(), StoreError> {
        let Some(batch) = self.last.take() else { return Ok(()) };
        self.accept(batch)
    }

    /// The first commit behind the watermark must follow the one that the index names.
    pub(super) fn settle_doubt(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let doubt = std::mem::replace(&mut self.watermark_in_doubt, false);
        if doubt && !self.follows(&batch.commit) { Err(other_log()) } else { Ok(()) }
    }

    pub(super) fn follows(&self, commit: &Commit) -> bool {
        commit.number == self.at.commit + 1 && commit.previous == self.at.digest
    }

    pub(super) fn accept(&mut self, batch: Batch) -> Result<(), StoreError> {
        self.settle_doubt(&batch)?;
        let path = log::path(batch.log);
        let at = batch.end - COMMIT_RECORD_BYTES;
        if !self.follows(&batch.commit) {
            let (number, before) = (batch.commit.number, self.at.commit);
            let why = match number > before {
                true => {
                    // It would have said how far its chunks go.
                    self.miss_commits();
                    format!(
                        "commit {number} does not follow commit {before}: what was between them is \
                         missing"
                    )
                }
                false => format!("commit {number} stands behind commit {before}"),
            };
            self.damage.push(Damage::new(path.as_str(), batch.start, why));
        } else if !batch.group.damaged && !facts_match(&batch) {
            self.damage.push(Damage::new(
                path.as_str(),
                at,
                "the commit's facts are not the ones before it",
            ));
        }
        self.miss_places(batch.group.damaged || !facts_match(&batch));
        self.replay(&batch.group, &path)?;
        if batch.commit.segment > 0 {
            // The commit's own chunks begin where it says, even if something is wrong with what is before them; also
            // where a commit before it says that others reach into them: it could not be read when these were written.
            let (segment, to) = (batch.commit.segment, batch.commit.segment_to);
            let from = batch.commit.segment_from.min(to);
            self.take_in_chunks((segment, from))?;
            let reached = self.at.segment_offset;
            if self.at.segment == segment && (from..to).contains(&reached) {
                self.at.segment_offset = from;
            }
            self.take_in_chunks((segment, to))?;
        }
        self.at.log = batch.log;
        self.at.offset = batch.end;
        self.at.commit = batch.commit.number;
        self.at.digest = batch.digest;
        self.at.pass(batch.sequence);
        segment_rows::set_watermark(&mut self.changes, &self.at);
        if self.changes.len() >= CHANGES_MAX {
            self.write_changes()?;
        }
        Ok(())
    }

    fn accept_summary(
        &mut self,
        group: Group,
        summary: &Summary,
        (log, start, end): (u32, u64, u64),
    ) -> Result<(), StoreError> {
        if std::mem::replace(&mut self.watermark_in_doubt, false) {
            return Err(other_log());
        }
        let path = log::path(log);
        if summary.previous != self.at.digest {
            let why = format!("what was before commit {} here is missing", summary.number);
            self.damage.push(Damage::new(path.as_str(), start, why));
        }
        let mut digest = HeadersDigest::new();
        group.facts.iter().for_each(|(_, header, _)| digest.add(header));
        let same =
            group.facts.len() == summary.facts as usize && digest.finish() == summary.facts_digest;
        if !group.damaged && !same {
            let why = "the summary's facts are not the ones before it";
            self.damage.push(Damage::new(path.as_str(), end - COMMIT_RECORD_BYTES, why));
        }
        self.miss_places(group.damaged || !same);
        // The chunks first: some of the facts may be about them.
        self.take_in_chunks((summary.segment, summary.segment_to))?;
        self.replay(&group, &path)?;
        self.at.log = log;
        self.at.offset = end;
        self.at.commit = summary.number;
        self.at.digest = summary.digest;
        self.at.sequence = self.at.sequence.max(summary.sequence);
        segment_rows::set_watermark(&mut self.changes, &self.at);
        if self.changes.len() >= CHANGES_MAX {
            self.write_changes()?;
        }
        Ok(())
    }

    pub(super) fn replay(&mut self, group: &Group, path: &str) -> Result<(), StoreError> {
        for (offset, header, payload) in &group.facts {
            self.at.pass(header.sequence);
            if header.kind == RecordKind::Places {
                self.place(header, payload, path, *offset);
                continue;
            }
            match self.parts.cipher.open(&mut self.packer, header, payload.clone()) {
                Ok(plain) => self.parts.projection.apply(&plain, &mut self.changes)?,
                // Without the key nothing is passed over, unless that is accepted: the facts would be behind
                // the watermark. They stay in the log, and are read when it is gone through anew.
                Err(why @ Unopened::NoKey(_)) if self.parts.accept_loss => {
                    self.damage.push(Damage::new(path, *offset, why.to_string()));
                }
                Err(why @ Unopened::NoKey(_)) => {
                    return Err(StoreError::Key(format!(
                        "{why}, or run `lucid reindex --accept-loss` to go on without the facts that it opens"
                    )));
                }
                Err(Unopened::Damaged(why)) => self.damage.push(Damage::new(path, *offset, why)),
            }
        }
        Ok(())
    }

    /// Where a batch is not what it was, a record may be missing that said where chunks are that are kept elsewhere.
    fn miss_places(&mut self, is_damaged: bool) {
        if is_damaged && !self.has_segments() {
            self.miss_commits();
        }
    }

    /// Notes where chunks are that are kept elsewhere.
    fn place(&mut self, header: &Header, payload: &[u8], path: &str, offset: u64) {
        let why = match Places::decode(payload) {
            Ok(places) if header.name == header.payload_digest => {
                for (name, placement) in &places.chunks {
                    chunk_rows::place(&mut self.changes, name, placement);
                }
                return;
            }
            Ok(_) => "the record's name is not its digest".to_owned(),
            Err(fault) => fault.to_string(),
        };
        self.damage.push(Damage::new(path, offset, why));
        self.miss_places(true);
    }
}

/// A log beside other chunks than its own: what is not there must not be taken for lost.
fn chunks_are_not(so: &str, path: &str) -> StoreError {
    StoreError::Folder(format!(
        "the chunks that {path} names are not {so}: name the place that this store was made with"
    ))
}

/// Whether anything is in a file that was not torn: a sound record, or something that cannot be read.
fn holds_any(file: &dyn DiskFile, path: &str, length: u64) -> Result<bool, StoreError> {
    let mut scanner = Scanner::new(file, path, 0, length);
    while let Some(step) = scanner.step()? {
        if matches!(step, Step::Record(..)) || scanner.unreadable_to() > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

fn other_log() -> StoreError {
    StoreError::Index("it belongs to another log; run `lucid reindex` to rebuild it".into())
}

/// Whether a batch's facts are those its commit was made for. Facts of an earlier batch, whose own
/// commit is damaged, may stand in front of them.
pub(super) fn facts_match(batch: &Batch) -> bool {
    let first = batch.commit.first_sequence;
    let (own, earlier): (Vec<_>, Vec<_>) =
        batch.group.facts.iter().partition(|(_, header, _)| header.sequence >= first);
    let mut digest = HeadersDigest::new();
    for (_, header, _) in &own {
        digest.add(header);
    }
    own.len() == batch.commit.facts as usize
        && digest.finish() == batch.commit.facts_digest
        && (earlier.is_empty() || batch.group.damaged)
}
