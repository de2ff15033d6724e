//! What appends to the chain's files.
//!
//! Invariant: append bodies and records, sync both, set the tip mark, publish, in this order, one run of blocks at
//! a time. A failed run is taken back before the next one; what cannot be taken back stops all writing.

use std::io;

use lucid_core::record::encode_body;
use lucid_core::validate::ValidBlock;

use crate::contract::index::Changes;
use crate::files::append::{Failure, PANICKED, Tail, both};
use crate::files::chain::ChainParts;
use crate::files::chain::FOLDER;
use crate::files::chain::rows::{self, ListedTransactions, Part, Row, Totals};
use crate::files::chain::tip::{self, FilesEnd, FoundTip, Pruned, TIP, TipMark};
use crate::files::chain::walk::{FileRole, join_record};
use crate::files::disk;
use crate::files::log::{FILE_MAX, FileHeader};
use crate::frame::Record;
use crate::{CommitError, StoreError};

/// Rows are written when so many of them have gathered.
const CHANGES_MAX: usize = 8_192;

/// A block whose two records are in the files.
struct WrittenBlock {
    row: Row,
    listed: ListedTransactions,
    mark: TipMark,
}

pub(super) struct Writer {
    /// Set while a run is being written: found set, its writer panicked.
    is_writing: bool,
    parts: ChainParts,
    /// What `TIP` says.
    tip: Option<TipMark>,
    /// Files that are open for writing: of records, and of bodies, with their numbers.
    tails: [Option<(u32, Tail)>; 2],
    /// What all blocks up to the tip have together.
    totals: Totals,
    broken: Option<String>,
}

impl Writer {
    pub(super) fn open(parts: ChainParts, tip: Option<TipMark>) -> Result<Self, StoreError> {
        let mut writer = Self {
            is_writing: false,
            parts,
            tip,
            tails: [None, None],
            totals: Totals::default(),
            broken: None,
        };
        let Some(mark) = tip else { return Ok(writer) };
        if let Some(row) = rows::row(writer.parts.index.as_ref(), mark.height)? {
            writer.totals = row.before.and(&row);
        }
        writer.open_tails().map_err(StoreError::io(format!("opening the ends of {FOLDER}/")))?;
        Ok(writer)
    }

    /// Why nothing can be written any more, if so.
    pub(super) fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// What `TIP` says.
    pub(super) fn tip(&self) -> Option<TipMark> {
        self.tip
    }

    fn ends(&self) -> [(FileRole, FilesEnd); 2] {
        let (blocks, bodies) =
            self.tip.map_or((FilesEnd::START, FilesEnd::START), |tip| (tip.blocks, tip.bodies));
        [(FileRole::Blocks, blocks), (FileRole::Bodies, bodies)]
    }

    fn open_tails(&mut self) -> io::Result<()> {
        for (role, end) in self.ends() {
            let path = role.path(end.file);
            // A new file is begun where this one cannot be read at its end, or goes on behind it.
            let file = match self.parts.disk.open(&path) {
                Err(error) if disk::is_media_error(&error) => None,
                opened => match opened? {
                    Some(file) if disk::ends_readably(file.as_ref(), end.offset)? => Some(file),
                    _ => None,
                },
            };
            *self.tail(role) = file.map(|file| (end.file, Tail::on(file, path, end.offset)));
        }
        Ok(())
    }

    fn tail(&mut self, role: FileRole) -> &mut Option<(u32, Tail)> {
        let [blocks, bodies] = &mut self.tails;
        match role {
            FileRole::Blocks => blocks,
            FileRole::Bodies => bodies,
        }
    }

    /// Stores consecutive blocks that follow the tip: all of them, or none.
    pub(super) fn append(&mut self, run: &[ValidBlock]) -> Result<(), CommitError> {
        if std::mem::replace(&mut self.is_writing, true) {
            // An earlier write panicked half-way: what it wrote must not come to lie below a tip mark.
            let why = "an earlier write broke off half-way: a restart puts it in order".to_owned();
            self.broken = Some(why.clone());
            return Err(CommitError::Broken(why));
        }
        let outcome = self.append_whole(run);
        self.is_writing = false;
        outcome
    }

    fn append_whole(&mut self, run: &[ValidBlock]) -> Result<(), CommitError> {
        let written = match self.write(run) {
            Ok(written) => written,
            Err(failure) => return Err(self.undo(failure)),
        };
        let Some(mark) = written.last().map(|written| written.mark) else { return Ok(()) };
        self.set_tip_mark(&mark)?;
        self.publish(written)
    }

    /// Appends the records of all blocks, then syncs both files at once.
    fn write(&mut self, run: &[ValidBlock]) -> Result<Vec<WrittenBlock>, Failure> {
        let mut written = Vec::with_capacity(run.len());
        let mut before = self.totals;
        let pruned = self.tip.map(|tip| tip.pruned).unwrap_or_default();
        for block in run {
            let one = self.write_block(block, before, pruned)?;
            before = before.and(&one.row);
            written.push(one);
        }
        let [Some((_, blocks)), Some((_, bodies))] = &mut self.tails else { return Err(no_file()) };
        let panicked = || Err(Failure { at_sync: true, ..Failure::before(PANICKED) });
        match both(|| blocks.sync(), || bodies.sync(), panicked) {
            (Ok(()), Ok(())) => Ok(written),
            (Err(failure), Ok(())) | (Ok(()), Err(failure)) => Err(failure),
            (Err(first), Err(second)) => Err(first.and(second)),
        }
    }

    fn write_block(
        &mut self,
        block: &ValidBlock,
        before: Totals,
        pruned: Pruned,
    ) -> Result<WrittenBlock, Failure> {
        let record = block.record();
        let size_bytes = block.size_bytes() as u64;
        let body = self.write_part(FileRole::Bodies, block, encode_body(&block.transactions))?;
        let kept =
            self.write_part(FileRole::Blocks, block, join_record(size_bytes, &record.encode()))?;
        let at =
            |(start, _): (FilesEnd, FilesEnd)| Part::At { file: start.file, offset: start.offset };
        Ok(WrittenBlock {
            row: Row {
                hash: block.hash,
                record: at(kept),
                body: at(body),
                size_bytes,
                transactions: block.transactions.len(),
                before,
            },
            listed: ListedTransactions::of_record(&record),
            mark: TipMark {
                height: block.index,
                hash: block.hash,
                blocks: kept.1,
                bodies: body.1,
                pruned,
            },
        })
    }

    /// Appends one record, and says where it begins and ends.
    fn write_part(
        &mut self,
        role: FileRole,
        block: &ValidBlock,
        payload: Vec<u8>,
    ) -> Result<(FilesEnd, FilesEnd), Failure> {
        let mut record =
            Record::plain(role.kind(), *block.hash.as_bytes(), payload).map_err(Failure::unmade)?;
        record.header.sequence = block.index + 1;
        self.begin_if_needed(role, block)?;
        let (file, tail) = self.tail(role).as_mut().ok_or_else(no_file)?;
        let start = FilesEnd { file: *file, offset: tail.length() };
        tail.push(&record)?;
        Ok((start, FilesEnd { offset: tail.length(), ..start }))
    }

    /// Goes on in a new file when there is none, or the last one is full. The body of the genesis has a
    /// file of its own, so that all others can be pruned.
    fn begin_if_needed(&mut self, role: FileRole, block: &ValidBlock) -> Result<(), Failure> {
        let full = self.parts.file_bytes_max;
        let behind_genesis = role == FileRole::Bodies && block.index == 1;
        let number = match self.tail(role) {
            Some((_, tail)) if tail.length() < full && !behind_genesis => return Ok(()),
            Some((file, tail)) => {
                tail.sync()?;
                *file + 1
            }
            None => {
                self.ends().iter().find(|(of, _)| *of == role).map_or(0, |(_, end)| end.file) + 1
            }
        };
        let path = role.path(number);
        if number > FILE_MAX {
            return Err(Failure::before(format!("no number is free for {path}")));
        }
        let header = FileHeader {
            store: self.parts.store,
            role: role.name(),
            number,
            previous: *block.previous_hash.as_bytes(),
        };
        let first = header.to_record(block.index + 1).map_err(Failure::unmade)?;
        // Its content is made durable with the block's.
        let tail = Tail::begin(self.parts.disk.as_ref(), FOLDER, path, &first)?;
        *self.tail(role) = Some((number, tail));
        Ok(())
    }

    /// Names the last block in `TIP`: from here on the run is final.
    fn set_tip_mark(&mut self, mark: &TipMark) -> Result<(), CommitError> {
        let disk = self.parts.disk.clone();
        let Err(error) = tip::write(disk.as_ref(), mark) else {
            self.tip = Some(*mark);
            return Ok(());
        };
        let failure = Failure::append(&format!("writing {TIP}"))(error);
        let still = match tip::read(disk.as_ref()) {
            Ok(FoundTip::At(found)) => self.tip == Some(found),
            Ok(FoundTip::Absent) => self.tip.is_none(),
            _ => false,
        };
        if still {
            // The old tip mark stands, so the run can be taken back.
            return Err(self.undo(failure));
        }
        self.broken = Some(failure.why.clone());
        Err(CommitError::Broken(failure.why))
    }

    /// Notes in `TIP` which bodies are about to go.
    pub(super) fn note_pruned(&mut self, pruned: Pruned) -> Result<(), CommitError> {
        let Some(tip) = self.tip else { return Ok(()) };
        let mark = TipMark { pruned, ..tip };
        if let Err(error) = tip::write(self.parts.disk.as_ref(), &mark) {
            // Either tip mark is sound, and nothing was removed yet; the next block writes a whole one.
            return Err(CommitError::Failed(format!("writing {TIP}: {error}")));
        }
        self.tip = Some(mark);
        let mut changes = Changes::new(self.parts.index.as_ref());
        rows::set_watermark(&mut changes, &mark);
        changes.write().map_err(|error| CommitError::Partly(error.to_string()))
    }

    fn publish(&mut self, written: Vec<WrittenBlock>) -> Result<(), CommitError> {
        let index = self.parts.index.clone();
        let mut changes = Changes::new(index.as_ref());
        let mut totals = self.totals;
        let last = written.len();
        for (count, WrittenBlock { row, listed, mark }) in (1..).zip(written) {
            totals = totals.and(&row);
            rows::publish(&mut changes, mark.height, &row, Some(&listed));
            if changes.len() < CHANGES_MAX && count < last {
                continue;
            }
            rows::set_watermark(&mut changes, &mark);
            let ready = std::mem::replace(&mut changes, Changes::new(index.as_ref()));
            if let Err(error) = ready.write() {
                // Committed, but not findable until a restart: stop before anyone is told wrong.
                let why = format!("the index could not follow: {error}");
                self.broken = Some(why.clone());
                return Err(CommitError::Broken(why));
            }
        }
        self.totals = totals;
        Ok(())
    }

    /// Takes back a run that failed: durably removes what was written of it.
    fn undo(&mut self, failure: Failure) -> CommitError {
        self.tails = [None, None];
        let cut = self.cut().and_then(|()| {
            // What a file says after a failed sync is not to be trusted: go on in new ones.
            if failure.at_sync { Ok(()) } else { self.open_tails() }
        });
        let error = failure.after(cut);
        tracing::error!(%error, "blocks could not be written");
        if let CommitError::Broken(why) = &error {
            self.broken = Some(why.clone());
        }
        error
    }

    /// Cuts the files to where `TIP` has them end.
    fn cut(&self) -> io::Result<()> {
        let disk = self.parts.disk.as_ref();
        for (role, end) in self.ends() {
            let numbers = role.numbers(disk).map_err(io::Error::other)?;
            for number in numbers.into_iter().filter(|number| *number > end.file) {
                disk.unlink(&role.path(number))?;
            }
            if let Some(file) = disk.open(&role.path(end.file))? {
                file.truncate(end.offset)?;
                file.sync()?;
            }
        }
        disk.sync_folder(FOLDER)
    }
}

fn no_file() -> Failure {
    Failure::before("no file is open")
}
